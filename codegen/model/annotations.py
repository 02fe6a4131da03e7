"""The types of what crosses, for the fields of an embedding.

TorchScript compiles a ``NamedTuple`` by its annotations, and readers go by them. They come from annotations in the
release where there are some, else from plain inference; what neither tells is a tensor, as it is to TorchScript.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from codegen.model.facts import Facts
from codegen.source.index import Index, Module
from codegen.syntax.dataflow import dotted

TENSOR = "torch.Tensor"
_ALIASES = {"Tensor": TENSOR}
_KNOWN = frozenset(
    {"torch", "Optional", "Union", "List", "Tuple", "Dict", "Any", "Sequence", "Callable"}
    | {"int", "bool", "float", "str", "None", "list", "tuple", "dict"}
)
_INT_CALLS = frozenset({"len", "int", "round"})


def annotate(
    facts: Facts, statements: Sequence[ast.stmt], parameters: Mapping[str, ast.expr | None]
) -> Mapping[str, str]:
    """Infer the type of every name that statements bind, as source text over ``torch`` and ``typing``.

    Args:
        facts: The class whose method they are in.
        statements: The statements up to the boundary.
        parameters: The method's parameters and their annotations.
    """
    scope = _Scope(facts.index, facts.cls.module, facts, 0)
    names = {name: scope.spell(node) if node is not None else TENSOR for name, node in parameters.items()}
    _run(scope, statements, names)
    return names


@dataclass(frozen=True)
class _Scope:
    index: Index
    module: Module
    facts: Facts | None
    depth: int

    def spell(self, node: ast.expr) -> str:
        """An annotation in terms of ``torch`` and ``typing``, aliases of the module written out."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                node = ast.parse(node.value, mode="eval").body
            except SyntaxError:
                return TENSOR  # a remark, not a type
        text = ast.unparse(_Spell(self.module).visit(ast.parse(ast.unparse(node), mode="eval").body))
        heads = {n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name)}
        return text if heads <= _KNOWN else TENSOR


class _Spell(ast.NodeTransformer):
    def __init__(self, module: Module, aliases: frozenset[str] = frozenset()) -> None:
        self.module = module
        self.aliases = aliases

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in _ALIASES:
            return ast.parse(_ALIASES[node.id], mode="eval").body
        bindings = self.module.bindings.get(node.id, [])
        if node.id not in _KNOWN | self.aliases and len(bindings) == 1 and isinstance(bindings[0], ast.Assign):
            value = ast.parse(ast.unparse(bindings[0].value), mode="eval").body
            return ast.Expression(_Spell(self.module, self.aliases | {node.id}).visit(value)).body
        return node


def _run(scope: _Scope, statements: Sequence[ast.stmt], names: dict[str, str]) -> None:
    for statement in statements:
        match statement:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    _bind(target, _infer(scope, value, names), names)
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                names[name] = scope.spell(annotation)
            case ast.If(body=body, orelse=orelse):
                left, right = dict(names), dict(names)
                _run(scope, body, left)
                _run(scope, orelse, right)
                for name in left.keys() | right.keys():
                    names[name] = _join(left.get(name, ""), right.get(name, ""))
            case ast.For() | ast.With():
                _run(scope, statement.body, names)


def _bind(target: ast.expr, kind: str, names: dict[str, str]) -> None:
    match target:
        case ast.Name(id=name):
            names[name] = kind
        case ast.Tuple(elts=elements):
            parts = _elements(kind, len(elements))
            for element, part in zip(elements, parts, strict=True):
                _bind(element, part, names)


def _elements(kind: str, count: int) -> Sequence[str]:
    tree = ast.parse(kind, mode="eval").body
    match tree:
        case ast.Subscript(value=ast.Name(id="Tuple" | "tuple"), slice=ast.Tuple(elts=elements)) if (
            len(elements) == count
        ):
            return [ast.unparse(element) for element in elements]
        case ast.Subscript(value=ast.Name(id="List" | "list" | "Sequence"), slice=inner):
            return [ast.unparse(inner)] * count
    return [TENSOR] * count


def _join(left: str, right: str) -> str:
    if left == right or not left or not right:
        return left or right
    if "None" in (left, right):
        other = left if right == "None" else right
        return other if other.startswith("Optional[") else f"Optional[{other}]"
    for one, other in ((left, right), (right, left)):
        if one == f"Optional[{other}]":
            return one
    return TENSOR


def _infer(scope: _Scope, node: ast.expr, names: Mapping[str, str]) -> str:
    match node:
        case ast.Constant(value=value):
            return "None" if value is None else type(value).__name__
        case ast.Name(id=name):
            return names.get(name, TENSOR)
        case ast.Compare():
            return "bool"
        case ast.UnaryOp(op=ast.Not()):
            return "bool"
        case ast.BoolOp(values=values):
            kinds = {_infer(scope, value, names) for value in values}
            return kinds.pop() if len(kinds) == 1 else TENSOR
        case ast.UnaryOp(operand=operand):
            return _infer(scope, operand, names)
        case ast.BinOp(left=left, right=right, op=op):
            kinds = {_infer(scope, left, names), _infer(scope, right, names)}
            if kinds == {"int"}:
                return "float" if isinstance(op, ast.Div) else "int"
            return "float" if kinds <= {"int", "float"} else TENSOR
        case ast.IfExp(body=body, orelse=orelse):
            return _join(_infer(scope, body, names), _infer(scope, orelse, names))
        case ast.Tuple(elts=elements):
            return f"Tuple[{', '.join(_infer(scope, element, names) for element in elements)}]"
        case ast.List(elts=elements):
            kinds = {_infer(scope, element, names) for element in elements} or {TENSOR}
            return f"List[{kinds.pop() if len(kinds) == 1 else TENSOR}]"
        case ast.ListComp(elt=element):
            return f"List[{_infer(scope, element, names)}]"
        case ast.Attribute(attr="shape"):
            return "List[int]"
        case ast.Attribute(attr="training"):
            return "bool"
        case ast.Subscript(value=value, slice=index):
            kind = _infer(scope, value, names)
            if kind.startswith(("Dict[str, ", "List[")) and not (isinstance(index, ast.Slice)):
                return kind.removeprefix("Dict[str, ").removeprefix("List[")[:-1]
            return kind
        case ast.Call(func=function):
            return _called(scope, node, function, names)
    return TENSOR


def _called(scope: _Scope, node: ast.Call, function: ast.expr, names: Mapping[str, str]) -> str:
    if isinstance(function, ast.Attribute):
        if function.attr == "size":
            return "int" if node.args else "List[int]"
        receiver = _infer(scope, function.value, names) if not dotted(function).startswith("self.") else ""
        if function.attr == "get" and receiver.startswith("Dict[str, "):
            return _join(receiver.removeprefix("Dict[str, ")[:-1], "None")
    name = dotted(function)
    if isinstance(function, ast.Subscript) and isinstance(function.slice, ast.Constant):
        name = f"{dotted(function.value)}.{function.slice.value!s}"
    if name in _INT_CALLS:
        return "int"
    if scope.depth > 4:
        return TENSOR
    if scope.facts is not None and name.startswith(f"{scope.facts.prefix}."):
        return _of_member(scope, scope.facts, name.removeprefix(f"{scope.facts.prefix}."))
    return TENSOR


def _of_member(scope: _Scope, facts: Facts, member: str) -> str:
    found = facts.method(member)
    if found is None:
        for cls in facts.classes(member):
            inner = Facts(facts.index, cls)
            forward = inner.method("forward")
            if forward is not None:
                return _returned(_Scope(scope.index, forward[0].module, inner, scope.depth + 1), forward[1])
        return TENSOR
    inner = Facts(facts.index, facts.cls)
    return _returned(_Scope(scope.index, found[0].module, inner, scope.depth + 1), found[1])


def _returned(scope: _Scope, function: ast.FunctionDef) -> str:
    if function.returns is not None:
        return scope.spell(function.returns)
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    names = {a.arg: scope.spell(a.annotation) if a.annotation is not None else TENSOR for a in arguments}
    _run(scope, function.body, names)
    kinds = [_infer(scope, value, names) for value in _return_values(function)]
    result = kinds[0] if kinds else "None"
    for kind in kinds[1:]:
        result = _join(result, kind)
    return result


def _return_values(function: ast.FunctionDef) -> Iterator[ast.expr]:
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value is not None:
            yield node.value
