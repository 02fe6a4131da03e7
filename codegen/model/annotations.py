"""The types of what crosses, for the fields of an embedding.

TorchScript compiles a ``NamedTuple`` by its annotations, and readers go by them. They come from annotations in the
source where there are some, else from plain inference. What is not known is not annotated.
"""

from __future__ import annotations

import ast
import builtins
import functools
import re
from collections.abc import Hashable, Mapping, Sequence

from codegen.model.domain import Domain, Scope
from codegen.model.facts import Facts
from codegen.model.interpreter import interpret
from codegen.model.library import FUNCTIONAL, TENSOR_FUNCTIONS, TENSOR_METHODS, TENSOR_MODULES
from codegen.source.index import Module
from codegen.syntax.dataflow import dotted
from codegen.syntax.walking import walk

UNKNOWN = ""
TENSOR = "torch.Tensor"
# Types that are told apart here and are spelled `List` in the end: a shape, which TorchScript takes for a list of
# numbers and which nobody can change, and a list that the method itself makes and may change. A `List` is what an
# annotation in the source promises to stay.
_SHAPE = "Shape"
_OWN_LIST = "OwnList"
_NEVER = "Never"  # what an empty list holds

_TYPING = frozenset({"Optional", "Union", "List", "Tuple", "Dict", "Any", "Sequence", "Callable"})
_BUILTIN_TYPES = frozenset({"int", "bool", "float", "str", "None", "list", "tuple", "dict"})
_PLAIN = frozenset({"int", "float", "bool", "str"})
_BUILTINS = {"len": "int", "int": "int", "float": "float", "bool": "bool", "str": "str"} | {
    "isinstance": "bool",
    "hasattr": "bool",
}
# Methods that change a list.
_CHANGES = frozenset({"append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse"})
# Calls that leave a list as it is.
_READERS = TENSOR_FUNCTIONS | {"len", "isinstance", "enumerate", "zip", "range", "tuple", "list", "sum", "min", "max"}


def annotate(
    facts: Facts, statements: Sequence[ast.stmt], parameters: Mapping[str, ast.expr | None], images: str
) -> Mapping[str, str]:
    """Infer the type of every name that statements bind, as source text over ``torch`` and ``typing``.

    Args:
        facts: The class whose method they are in.
        statements: The statements up to the boundary.
        parameters: The method's parameters and their annotations.
        images: The parameter that takes the images: a tensor, if it is not annotated.

    Returns:
        The types by name; empty where one is not known.
    """
    types = Types(facts.index.memory.setdefault("annotations", {}))
    module = facts.cls.module
    declared = {name: kind for name, node in parameters.items() if (kind := types.declared(node, module))}
    given = dict.fromkeys(parameters, UNKNOWN) | declared
    if parameters.get(images) is None:
        given[images] = TENSOR
    return {name: _spelled(kind) for name, kind in interpret(types, facts, statements, given, declared).items()}


def _spelled(kind: str) -> str:
    if _NEVER in kind:
        return UNKNOWN
    return re.sub(rf"\b{_SHAPE}\b", "List[int]", re.sub(rf"\b{_OWN_LIST}\b", "List", kind))


class Types(Domain[str]):
    """Types, as annotations spell them.

    Args:
        spelled: Annotations that were read before, to be added to.
    """

    unknown = UNKNOWN
    nothing = "None"

    def __init__(self, spelled: dict[Hashable, str | None]) -> None:
        self._known = spelled

    @property
    def question(self) -> Hashable:
        return Types

    def join(self, left: str, right: str) -> str:
        if left == right:
            return left
        if not left or not right:
            return UNKNOWN
        if "None" in (left, right):
            other = left if right == "None" else right
            return other if other.startswith("Optional[") else f"Optional[{other}]"
        if left.startswith("Optional[") or right.startswith("Optional["):
            inner = self.join(_present(left), _present(right))
            return f"Optional[{inner}]" if inner else UNKNOWN
        if _NEVER in (left, right):
            return right if left == _NEVER else left
        head = _head(left)
        pairs = list(zip(_arguments(left), _arguments(right), strict=False))
        if head == _head(right) and head in ("Tuple", _OWN_LIST) and len(_arguments(left)) == len(_arguments(right)):
            joined = [self.join(*pair) for pair in pairs]
            return f"{head}[{', '.join(joined)}]" if joined and all(joined) else UNKNOWN
        return UNKNOWN

    # Annotations in the source

    def declared(self, annotation: ast.expr | None, module: Module) -> str | None:
        """An annotation in terms of ``torch`` and ``typing``, aliases of the module written out."""
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            try:
                annotation = ast.parse(annotation.value, mode="eval").body
            except SyntaxError:
                return None  # a remark, not a type
        if annotation is None:
            return None
        key = (module.name, ast.unparse(annotation))
        if key not in self._known:
            spell = _Spell(module)
            spelled = spell.visit(ast.parse(ast.unparse(annotation), mode="eval").body)
            self._known[key] = None if spell.foreign else ast.unparse(spelled)
        return self._known[key]

    # Expressions

    def expression(self, node: ast.expr, scope: Scope[str]) -> str:
        match node:
            case ast.Constant(value=value):
                kind = "None" if value is None else type(value).__name__
                return kind if kind in _PLAIN | {"None"} else UNKNOWN
            case ast.Compare(ops=ops):
                if all(isinstance(op, ast.Is | ast.IsNot | ast.In | ast.NotIn) for op in ops):
                    return "bool"
                operands = [scope.of(operand) for operand in (node.left, *node.comparators)]
                if TENSOR in operands:
                    return TENSOR if len(operands) == 2 else UNKNOWN
                return "bool" if all(kind in _PLAIN for kind in operands) else UNKNOWN
            case ast.UnaryOp(op=ast.Not()):
                return "bool"
            case ast.UnaryOp(operand=operand):
                kind = scope.of(operand)
                return kind if kind in (TENSOR, "int", "float") else UNKNOWN
            case ast.BoolOp(values=values):
                kinds = {scope.of(value) for value in values}
                return kinds.pop() if len(kinds) == 1 else UNKNOWN
            case ast.BinOp(left=left, right=right, op=op):
                return _calculated(op, scope.of(left), scope.of(right))
            case ast.Tuple(elts=elements):
                parts = [scope.of(element) for element in elements]
                return f"Tuple[{', '.join(parts)}]" if parts and all(parts) else UNKNOWN
            case ast.List(elts=[]):
                return f"{_OWN_LIST}[{_NEVER}]"
            case ast.List(elts=elements):
                first, *others = [scope.of(element) for element in elements]
                return f"{_OWN_LIST}[{first}]" if first and all(kind == first for kind in others) else UNKNOWN
            case ast.ListComp():
                return _comprehended(node, scope)
            case ast.Attribute(value=owner, attr=attr):
                return self._attribute(node, owner, attr, scope)
            case ast.Subscript(value=owner, slice=index):
                return _item(_present(scope.of(owner)), index)
            case ast.JoinedStr():
                return "str"
        return UNKNOWN

    def _attribute(self, node: ast.Attribute, owner: ast.expr, attr: str, scope: Scope[str]) -> str:
        if name := scope.attribute(node):
            kind = "bool" if name == "training" else scope.held(name)
            return UNKNOWN if _OWN_LIST in kind else kind  # any method may put something else into a list
        kind = _present(scope.of(owner))
        if kind != TENSOR:
            return UNKNOWN
        known = {"shape": _SHAPE, "ndim": "int", "T": TENSOR, "mT": TENSOR, "data": TENSOR}
        return known.get(attr, f"torch.{attr}" if attr in ("dtype", "device") else UNKNOWN)

    # Calls

    def method(self, owner: str, name: str, call: ast.Call, scope: Scope[str]) -> str:
        owner = _present(owner)
        if owner == TENSOR:
            if name in ("size", "stride") and (call.args or call.keywords):
                return "int"
            if name == "size":
                return _SHAPE
            if name == "type" and not (call.args or call.keywords):
                return "str"
            if name in ("dim", "numel", "ndimension"):
                return "int"
            if name in ("max", "min", "median"):  # of all elements
                return UNKNOWN if call.args or call.keywords else TENSOR
            if name in ("chunk", "split", "unbind", "tensor_split"):
                return "List[torch.Tensor]"  # as TorchScript has it; a tuple, which cannot change
            return TENSOR if name in TENSOR_METHODS or (name.endswith("_") and not name.startswith("_")) else UNKNOWN
        if _head(owner) == "Dict" and name == "get" and len(_arguments(owner)) == 2:
            default = scope.of(call.args[1]) if len(call.args) > 1 else "None"
            return self.join(_arguments(owner)[1], default)
        if _head(owner) == _OWN_LIST and name == "copy":
            return owner
        return UNKNOWN

    def function(self, path: str, call: ast.Call, scope: Scope[str]) -> str:
        head, _, name = path.rpartition(".")
        asks_indices = any(keyword.arg == "return_indices" for keyword in call.keywords)
        if not head:
            return _BUILTINS.get(name, UNKNOWN)
        if path == "torch.nn.Parameter":
            return TENSOR
        if head == "torch" and name in TENSOR_FUNCTIONS:  # of a condition alone, where() gives a tuple
            return UNKNOWN if name == "where" and len(call.args) < 3 else TENSOR
        if head == "torch.nn.functional" and name in FUNCTIONAL and not asks_indices:
            return TENSOR
        return UNKNOWN

    def module(self, kind: str, call: ast.Call, argument: str) -> str:
        if kind == "Identity":
            return argument
        asks_indices = any(keyword.arg == "return_indices" for keyword in call.keywords)
        return TENSOR if kind in TENSOR_MODULES | {"Conv", "Pool"} and not asks_indices else UNKNOWN

    def unpack(self, value: str, count: int) -> Sequence[str]:
        value = _present(value)
        head, arguments = _head(value), _arguments(value)
        if value == TENSOR:
            return [TENSOR] * count
        if value == _SHAPE:
            return ["int"] * count
        if head == "Tuple" and len(arguments) == 2 and arguments[1] == "...":
            return [arguments[0]] * count
        if head == "Tuple" and len(arguments) == count:
            return arguments
        if head in ("List", "Sequence", _OWN_LIST) and len(arguments) == 1:
            return arguments * count
        return [UNKNOWN] * count

    def element(self, iterable: ast.expr, scope: Scope[str]) -> str:
        parts = iterable.args if isinstance(iterable, ast.Call) else []
        path = scope.path(iterable.func) if isinstance(iterable, ast.Call) else ""
        if path == "range":
            return "int"
        if path in ("enumerate", "zip"):
            kinds = (["int"] if path == "enumerate" else []) + [self.element(part, scope) for part in parts[:9]]
            return f"Tuple[{', '.join(kinds)}]" if len(kinds) > 1 and all(kinds) else UNKNOWN
        value = scope.of(iterable)
        return UNKNOWN if _head(value) == "Tuple" else self.unpack(value, 1)[0]

    # What changes in place

    def effects(self, nodes: Sequence[ast.AST], scope: Scope[str]) -> None:
        """Lists hold what is put into them; of a list that code is given which may put in more, nothing is known."""
        appends = set()
        for node in nodes:
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(name), attr="append") as function, args=[value]) if (
                    _head(scope.names.get(name, UNKNOWN)) == _OWN_LIST
                ):
                    self._append(name, scope.of(value), scope)
                    appends.add(function)
                case ast.Attribute(attr=attr) if (attr in _CHANGES or attr.endswith("__")) and node not in appends:
                    self._forget_all_lists(scope)
                case ast.AugAssign(target=target) if not (
                    isinstance(target, ast.Name) and scope.names.get(target.id) in _PLAIN | {TENSOR}
                ):
                    self._forget_all_lists(scope)
                case ast.Subscript(value=ast.Name(name), ctx=ast.Store()):
                    self._forget_lists([name], scope)
                case ast.Subscript(ctx=ast.Store()):
                    self._forget_all_lists(scope)
                case ast.Assign(targets=targets, value=value) if any(isinstance(t, ast.Attribute) for t in targets):
                    self._forget_lists(_names_in(value), scope)  # from now on others may change it: self.sizes = sizes
            if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] not in _READERS:
                given = [*node.args, *(keyword.value for keyword in node.keywords)]
                self._forget_lists([name for argument in given for name in _names_in(argument)], scope)

    def _append(self, name: str, kind: str, scope: Scope[str]) -> None:
        old = scope.names[name]
        joined = self.join(_arguments(old)[0], kind) if kind else UNKNOWN
        for other, found in scope.names.items():  # another name of the same type may mean the same list
            if found == old:
                scope.names[other] = f"{_OWN_LIST}[{joined}]" if joined else UNKNOWN
            elif old in found:
                scope.names[other] = UNKNOWN

    def _forget_lists(self, names: Sequence[str], scope: Scope[str]) -> None:
        """Forget all lists if one of them may change: other names may mean the same."""
        if any(_OWN_LIST in scope.names.get(name, UNKNOWN) for name in names):
            self._forget_all_lists(scope)

    def _forget_all_lists(self, scope: Scope[str]) -> None:
        scope.forget([name for name, kind in scope.names.items() if _OWN_LIST in kind])


def _names_in(node: ast.AST) -> list[str]:
    return [inner.id for inner in walk(node) if isinstance(inner, ast.Name)]


def _present(kind: str) -> str:
    """A type where its value is used, which fails if that is ``None``."""
    return _arguments(kind)[0] if kind.startswith("Optional[") else kind


def _calculated(op: ast.operator, left: str, right: str) -> str:
    left, right = _present(left), _present(right)
    kinds = {left, right}
    if TENSOR in kinds:
        return TENSOR
    if kinds <= {"int", "bool"} and "int" in kinds:
        return "float" if isinstance(op, ast.Div) else UNKNOWN if isinstance(op, ast.Pow) else "int"
    if kinds <= {"int", "float"}:
        return "float"
    return left if left == right and _head(left) == _OWN_LIST and isinstance(op, ast.Add) else UNKNOWN


def _comprehended(node: ast.ListComp, scope: Scope[str]) -> str:
    """The type of ``[element for target in iterable]``."""
    if any(isinstance(inner, ast.NamedExpr) for inner in walk(node)):
        return UNKNOWN
    targets = [generator.target for generator in node.generators]
    inner = scope.nested([n.id for target in targets for n in walk(target) if isinstance(n, ast.Name)])
    for generator in node.generators:
        inner.bind(generator.target, scope.domain.element(generator.iter, inner))
    kind = inner.of(node.elt)
    return f"{_OWN_LIST}[{kind}]" if kind else UNKNOWN


def _item(kind: str, index: ast.expr) -> str:
    """The type of ``value[index]``."""
    head, arguments = _head(kind), _arguments(kind)
    if kind == TENSOR:
        return TENSOR
    if isinstance(index, ast.Slice):
        return kind if head in ("List", "Sequence", _OWN_LIST, _SHAPE) else UNKNOWN
    if kind == _SHAPE:
        return "int"
    if head in ("List", "Sequence", _OWN_LIST) and len(arguments) == 1:
        return arguments[0]
    if head == "Dict" and len(arguments) == 2:
        return arguments[1]
    number = index.operand if isinstance(index, ast.UnaryOp) and isinstance(index.op, ast.USub) else index
    if head == "Tuple" and isinstance(number, ast.Constant) and type(number.value) is int and "..." not in arguments:
        place = number.value if number is index else len(arguments) - number.value
        return arguments[place] if 0 <= place < len(arguments) else UNKNOWN
    return UNKNOWN


def _head(kind: str) -> str:
    """``Tuple`` of ``Tuple[int, int]``, and of ``tuple[int, int]``."""
    head = kind.partition("[")[0]
    return head.title() if head in ("list", "tuple", "dict") else head


@functools.cache
def _arguments(kind: str) -> list[str]:
    """``["torch.Tensor", "int"]`` of ``Tuple[torch.Tensor, int]``."""
    if "[" not in kind:
        return []
    tree = ast.parse(kind, mode="eval").body
    if not isinstance(tree, ast.Subscript):  # list[int] | None
        return []
    elements = tree.slice.elts if isinstance(tree.slice, ast.Tuple) else [tree.slice]
    return [ast.unparse(element) for element in elements]


class _Spell(ast.NodeTransformer):
    """Writes aliases of a module out, and notes names that are neither torch's nor those of ``typing``."""

    def __init__(self, module: Module, aliases: frozenset[str] = frozenset()) -> None:
        self.module = module
        self.aliases = aliases
        self.foreign = False

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        try:
            return self.visit(ast.parse(node.value, mode="eval").body) if isinstance(node.value, str) else node
        except SyntaxError:
            self.foreign = True
            return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        name = node.id
        bindings = self.module.bindings.get(name, [])
        alias = name not in self.aliases and name in self.module.bindings and self.module.is_settled(name)
        if alias and isinstance(bindings[0], ast.Assign):
            inner = _Spell(self.module, self.aliases | {name})
            spelled = inner.visit(ast.parse(ast.unparse(bindings[0].value), mode="eval").body)
            self.foreign |= inner.foreign
            return ast.Expression(spelled).body
        origin = self.module.origin(name) if bindings or hasattr(builtins, name) else name
        if name == "Tensor" and origin in ("Tensor", TENSOR):
            return ast.parse(TENSOR, mode="eval").body
        own = {f"typing.{name}", f"collections.abc.{name}", name} if name in _TYPING else {name}
        self.foreign |= name not in _TYPING | _BUILTIN_TYPES | {"torch"} or origin not in own
        return node
