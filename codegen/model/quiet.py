"""Code that only calculates with numbers, flags and lists: it runs no tensor and no module, and changes nothing.

``take_indices, max_index = feature_take_indices(len(self.blocks), indices)`` may run before an embedding or after it.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable

from codegen.model.facts import Facts
from codegen.model.kinds import kinds_of
from codegen.source.index import Class, Module
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import dotted
from codegen.syntax.walking import children, walk_for

_CALLS = frozenset(
    {"len", "isinstance", "hasattr", "list", "tuple", "set", "dict", "range", "enumerate", "zip", "min", "max", "sum"}
    | {"int", "bool", "str", "sorted", "abs", "any", "all", "math.ceil", "math.floor"}
    | {"ValueError", "torch.jit.is_scripting", "torch.jit.is_tracing", "torch._assert", "timm.layers._assert"}
)
_FILLS = frozenset({"append", "extend"})
_DEEPEST = 4  # functions that call functions
_STATEMENTS = (
    ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Delete | ast.Expr | ast.Pass | ast.If | ast.For | ast.Assert
) | ast.Raise
_LEAVES = ast.Constant | ast.operator | ast.unaryop | ast.boolop | ast.cmpop
_EXPRESSIONS = (ast.Tuple | ast.List | ast.Set | ast.Dict | ast.Subscript | ast.Slice | ast.Starred | ast.keyword) | (
    ast.IfExp | ast.BoolOp | ast.ListComp | ast.SetComp | ast.DictComp | ast.comprehension
)
_TEXTS = ast.JoinedStr | ast.FormattedValue


def is_quiet(
    facts: Facts, module: Module, statement: ast.stmt, own: Collection[str], *, asks_parts: bool = False
) -> bool:
    """Whether a statement of a method only calculates with numbers, flags and lists.

    Args:
        facts: The class.
        module: The file in which the method stands.
        statement: It. What it reads is taken to be no tensor, but for what the model holds.
        own: Variables that nobody else has, bound by such statements before it, so that it may fill lists of them.
        asks_parts: Whether it may call methods of what the model holds that do so as well,
            ``self.patch_embed.dynamic_feat_size(size)``. What these look at is not among what the statement names.
    """
    return _Quiet(facts, module, frozenset(own), _DEEPEST, asks_parts=asks_parts).block([statement])


class _Quiet:
    """The statements of a method.

    Attributes:
        own: Variables that nobody else has.
        deeper: How many calls may still be followed.
        asks_parts: Whether methods of what the model holds may be called.
    """

    def __init__(
        self, facts: Facts, module: Module, own: Iterable[str], deeper: int, *, asks_parts: bool = False
    ) -> None:
        self.facts = facts
        self.module = module
        self.own = set(own)
        self.deeper = deeper
        self.asks_parts = asks_parts

    def block(self, statements: Iterable[ast.stmt]) -> bool:
        return all(self.statement(statement) for statement in statements)

    def statement(self, node: ast.stmt) -> bool:
        if not isinstance(node, _STATEMENTS):
            return False
        if isinstance(node, ast.AugAssign) and not (isinstance(node.target, ast.Name) and node.target.id in self.own):
            return False
        if any(isinstance(n.ctx, ast.Store | ast.Del) for n in walk_for(node, ast.Attribute, ast.Subscript)):
            return False
        unread = node.annotation if isinstance(node, ast.AnnAssign) and node.simple else None  # of a local variable
        for child in children(node):
            if child is unread:
                continue
            if isinstance(child, ast.stmt):
                if not self.statement(child):
                    return False
            elif not self.quiet(child):
                return False
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and _is_new(node.value):
            self.own |= set(bound_names(node))
        return True

    def quiet(self, node: ast.AST) -> bool:
        match node:
            case ast.Name() | ast.Constant():
                return True
            case ast.Attribute():
                return self._is_plain(node)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr), args=args, keywords=[]) if (
                name in self.own and attr in _FILLS
            ):
                return all(map(self.quiet, args))
            case ast.Call(func=function, args=args, keywords=keywords):
                return self._is_known(function) and all(map(self.quiet, [*args, *keywords]))
            case ast.BinOp() | ast.Compare() | ast.UnaryOp():
                inner = children(node)
                looks = isinstance(node, ast.Compare) and all(isinstance(op, ast.Is | ast.IsNot) for op in node.ops)
                numbers = looks or not any(map(self._is_tensor, inner))
                return numbers and all(self.quiet(part) for part in inner)
        return isinstance(node, _LEAVES) or (
            isinstance(node, _EXPRESSIONS | _TEXTS) and all(map(self.quiet, children(node)))
        )

    def _is_plain(self, node: ast.Attribute) -> bool:
        """Whether an attribute is stored, and no code makes it when it is looked up."""
        head, *rest = dotted(node).split(".")
        if head != "self" or not rest:
            return head not in self.own and self._is_class(head, rest)
        path = [*self.facts.prefix.split(".")[1:]]
        if rest[: len(path)] == path:
            rest = rest[len(path) :]
        if not rest:
            return True
        if self.facts.has_member(rest[0]) or len(rest) > 2:
            return False
        return len(rest) == 1 or not any(
            rest[1] in ancestor.members
            for cls in self.facts.classes(rest[0])
            for ancestor in self.facts.index.lineage(cls)
        )

    def _is_class(self, head: str, rest: list[str]) -> bool:
        """Whether a dotted name is one of torch's modules, as it is asked for by ``isinstance``."""
        path = self.module.origin(head, ".".join(rest)).split(".") if head else []
        return len(path) == 3 and path[:2] == ["torch", "nn"] and path[2][:1].isupper()

    def _is_tensor(self, node: ast.AST) -> bool:
        """Whether an operand may be a module or a parameter of the model."""
        if isinstance(node, ast.Attribute):
            made = self.facts.constructors(node.attr)
            return any(not self._gives_number(call) for call in made)
        return False

    def _gives_number(self, call: ast.Call) -> bool:
        """Whether a call of a constructor gives a number or a list: ``len(...)``, ``[...].index(...)``."""
        match call.func:
            case ast.Attribute(value=ast.List() | ast.ListComp(), attr="index" | "count"):
                return True
        return self.module.origin(*dotted(call.func).partition(".")[::2]) in _CALLS

    def _is_known(self, function: ast.expr) -> bool:
        name = dotted(function)
        head, _, rest = name.partition(".")
        if not name or head in self.own:
            return False
        if self.asks_parts and head == "self" and rest.count(".") == 1:
            return self._asks_quietly(*rest.split("."))
        origin = self.module.origin(head, rest)
        if origin in _CALLS:
            return True
        found = self.facts.index.function(self.module, name) if not rest else None
        return found is not None and self._runs_quietly(*found)

    def _asks_quietly(self, part: str, name: str) -> bool:
        """Whether a method of what an attribute holds does no more either, whichever of its classes that is of."""
        kinds = kinds_of(self.facts, part)
        if not kinds or not self.deeper or self.facts.prefix != "self" or self.facts.has_member(part):
            return False
        for kind in kinds:
            made = Facts.of(self.facts.index, kind) if isinstance(kind, Class) else None
            found = made.method(name) if made is not None and name not in made.values else None
            if made is None or found is None or found[1].decorator_list:
                return False
            if any(made.has_member(trap) for trap in ("__getattr__", "__getattribute__")):
                return False
            if not _QuietMethod(made, found[0].module, (), self.deeper - 1).block(found[1].body):
                return False
        return True

    def _runs_quietly(self, module: Module, function: ast.FunctionDef) -> bool:
        if function.decorator_list or not self.deeper:
            return False
        inner = _QuietFunction(self.facts, module, (), self.deeper - 1)
        return inner.block(function.body)


class _QuietMethod(_Quiet):
    """A method of what the model holds, which may return."""

    def statement(self, node: ast.stmt) -> bool:
        if isinstance(node, ast.Return):
            return node.value is None or self.quiet(node.value)
        return super().statement(node)


class _QuietFunction(_QuietMethod):
    """A function of a module, which has no ``self``."""

    def _is_plain(self, node: ast.Attribute) -> bool:
        return False


def _is_new(value: ast.expr) -> bool:
    """Whether an expression makes a list of its own, or a number."""
    return isinstance(value, ast.Constant | ast.List | ast.ListComp | ast.Dict | ast.DictComp)
