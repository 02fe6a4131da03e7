"""Whether the first dimension of the tokens is still the batch of the images.

The stages may then read the batch size from the tokens, so that a caller can repeat or select rows (several masks an
image). Code is believed only as far as it can be read: a call into the unknown answers no, and the number crosses.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from codegen.dataflow import dotted
from codegen.facts import Facts
from codegen.index import Class, Index, Module
from codegen.tokens import reads, token_targets

_ELEMENTWISE = frozenset({"contiguous", "to", "float", "half", "type_as", "clone", "detach", "mean", "sum"})
_ELEMENTWISE_FUNCTIONS = frozenset({"pad", "interpolate", "relu", "gelu", "layer_norm", "normalize", "dropout"})


def batch_size(tree: ast.stmt) -> tuple[str, str] | None:
    """The name that a statement gives to the size of a tensor's first dimension, and the tensor.

    ``B = x.shape[0]``, ``B = x.size(0)``, ``B, N, C = x.shape`` and ``B, N = x.shape[:2]``.
    """
    match tree:
        case ast.Assign(
            targets=[ast.Name(id=name)],
            value=ast.Subscript(value=ast.Attribute(value=ast.Name(id=x), attr="shape"), slice=ast.Constant(value=0)),
        ):
            return name, x
        case ast.Assign(
            targets=[ast.Name(id=name)],
            value=ast.Call(func=ast.Attribute(value=ast.Name(id=x), attr="size"), args=[ast.Constant(value=0)]),
        ):
            return name, x
        case ast.Assign(targets=[ast.Tuple(elts=[ast.Name(id=name), *_])], value=value):
            match value:
                case (
                    ast.Attribute(value=ast.Name(id=x), attr="shape")
                    | ast.Subscript(
                        value=ast.Attribute(value=ast.Name(id=x), attr="shape"), slice=ast.Slice(lower=None, step=None)
                    )
                    | ast.Call(func=ast.Attribute(value=ast.Name(id=x), attr="size"), args=[])
                ):
                    return name, x
    return None


def keeps_batch(facts: Facts, statements: Sequence[ast.stmt], tokens: Iterable[str]) -> frozenset[str]:
    """Variables whose first dimension is still the batch after some statements, as far as code can be followed.

    Args:
        facts: The class whose method they are in.
        statements: From where the batch size was read to the boundary.
        tokens: Variables whose first dimension is the batch before them.
    """
    scope = _Scope(facts.index, facts.cls.module, facts)
    return _Reader(scope, 0).block(statements, frozenset(tokens)) or frozenset()


@dataclass(frozen=True)
class _Scope:
    index: Index
    module: Module
    facts: Facts | None


@dataclass
class _Reader:
    scope: _Scope
    depth: int

    def block(self, statements: Sequence[ast.stmt], tokens: frozenset[str]) -> frozenset[str] | None:
        sizes: set[str] = set()
        for statement in statements:
            for node in ast.walk(statement):
                if isinstance(node, ast.stmt) and (found := batch_size(node)) and found[1] in tokens:
                    sizes.add(found[0])
            # a loop or an if may feed its own head: take every variable that any part of it makes from tokens
            grown = tokens | set(token_targets(statement, tokens))
            if not all(self._tame(node, grown, sizes) for node in ast.walk(statement)):
                return None
            tokens = grown
        return tokens

    def _tame(self, node: ast.AST, tokens: frozenset[str], sizes: set[str]) -> bool:
        match node:
            case ast.Subscript(value=value, slice=index) if reads(value, tokens):
                first = index.elts[0] if isinstance(index, ast.Tuple) else index
                return (isinstance(first, ast.Slice) and first.lower is first.upper is None) or _is_key(first)
            case ast.Call():
                taken = [*node.args, *(keyword.value for keyword in node.keywords)]
                receiver = node.func.value if isinstance(node.func, ast.Attribute) else None
                if receiver is not None and reads(receiver, tokens):
                    return self._tame_method(node, node.func.attr, sizes)  # type: ignore[attr-defined]
                if any(reads(argument, tokens) for argument in taken):
                    return self._tame_call(node)
        return True

    def _tame_method(self, call: ast.Call, name: str, sizes: set[str]) -> bool:
        args = [argument.value if isinstance(argument, ast.Constant) else argument for argument in call.args]
        match name:
            case "reshape" | "view":
                return bool(args) and _is_batch_size(call.args[0], sizes)
            case "flatten" | "unsqueeze" | "squeeze" | "unflatten":
                return bool(args) and isinstance(args[0], int) and args[0] >= 1
            case "transpose":
                return all(_is_number(argument) and _number(argument) != 0 for argument in call.args)
            case "permute":
                return bool(args) and args[0] == 0
            case "get":
                return True
        return name in _ELEMENTWISE

    def _tame_call(self, call: ast.Call) -> bool:
        name = dotted(call.func)
        if isinstance(call.func, ast.Subscript):  # self.patch_embeds[0](x)
            return self._element(dotted(call.func.value))
        head, _, last = name.rpartition(".")
        if name in ("torch.cat", "torch.concat"):
            dim = next((k.value for k in call.keywords if k.arg == "dim"), call.args[1] if len(call.args) > 1 else None)
            return dim is not None and _is_number(dim) and _number(dim) >= 1
        if head in ("F", "torch.nn.functional", "nn.functional"):
            return last in _ELEMENTWISE_FUNCTIONS
        if name in ("isinstance", "len"):
            return True
        if self.depth > 4:
            return False
        facts = self.scope.facts
        if facts is not None and head == facts.prefix:
            method = facts.method(last)
            if method is not None:
                owner, function = method
                return self._function(owner.module, function, Facts(facts.index, facts.cls), skip=1)
            values = [value for value in facts.values.get(last, ()) if not _is_none(value)]
            return self._modules(facts, list(facts.constructors(last)), len(values))
        return self._global(name)

    def _element(self, container: str) -> bool:
        facts = self.scope.facts
        head, _, last = container.rpartition(".")
        if facts is None or head != facts.prefix:
            return False
        return self._modules(facts, list(facts.elements(last)), 1)

    def _modules(self, facts: Facts, calls: Sequence[ast.Call], expected: int) -> bool:
        """Whether every module that may be called here keeps the batch, given the calls that make them."""
        if len(calls) < max(expected, 1):
            return False
        for call in calls:
            name = dotted(call.func)
            if name.startswith(("nn.", "torch.nn.")):
                if name.rpartition(".")[2] in ("Flatten", "Unflatten", "Sequential", "ModuleList"):
                    return False
            elif name.endswith(("norm_layer", "act_layer")):
                pass  # keeps every shape by what it is for
            else:
                cls = next((c for owner in facts.lineage if (c := self.scope.index.resolve(owner.module, name))), None)
                if cls is None or not self._forward(cls):
                    return False
        return True

    def _forward(self, cls: Class) -> bool:
        facts = Facts(self.scope.index, cls)
        found = facts.method("forward")
        return found is not None and self._function(found[0].module, found[1], facts, skip=1)

    def _global(self, name: str) -> bool:
        module: Module | None = self.scope.module
        for _ in range(8):
            if module is None or "." in name:
                return False
            nodes = module.bindings.get(name, [])
            if len(nodes) == 1 and isinstance(nodes[0], ast.FunctionDef):
                return self._function(module, nodes[0], None, skip=0)
            origin = module.import_of(name)
            if origin is None or not origin.name:
                return False
            module, name = self.scope.index.module(origin.module), origin.name
        return False

    def _function(self, module: Module, function: ast.FunctionDef, facts: Facts | None, skip: int) -> bool:
        arguments = [*function.args.posonlyargs, *function.args.args][skip:]
        if not arguments:
            return False
        reader = _Reader(_Scope(self.scope.index, module, facts), self.depth + 1)
        return reader.block(function.body, frozenset({arguments[0].arg})) is not None


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_key(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_number(node: ast.AST) -> bool:
    try:
        return isinstance(ast.literal_eval(node), int)
    except ValueError:
        return False


def _number(node: ast.AST) -> int:
    return int(ast.literal_eval(node))


def _is_batch_size(node: ast.expr, sizes: set[str]) -> bool:
    match node:
        case ast.Name(id=name):
            return name in sizes
        case ast.Subscript(value=ast.Attribute(attr="shape"), slice=ast.Constant(value=0)):
            return True
    return False
