"""Whether a decorator of a class is a registration: on every path it returns the class and writes nothing on it.

The decorator is interpreted on one value, the class, and on what is known of its own arguments: ``name is None`` is
answered by the default of ``name``, and where nothing answers a question both ways are followed. The class may be put
into a plain dictionary, list or set, and be asked for its name. Whatever else happens to it is :class:`Unproven`, as is
every construct, function and object that is not known here.
"""

from __future__ import annotations

import ast
import builtins
import enum
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from codegen.source.imports import imports
from codegen.source.index import Class, Index, Module
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import dotted
from codegen.syntax.parameters import defaults_of, positional_names
from codegen.syntax.walking import walk

_DEEPEST = 12  # calls inside calls
_STEPS = 5_000


class Unproven(Exception):
    """A decorator that is no registration, or not known to be one.

    Attributes:
        node: The construct in the way.
        module: Where it stands.
        reason: Why, as part of a sentence.
        unread: Whether the reason is that code cannot be read.
    """

    def __init__(self, node: ast.AST, module: Module, reason: str, *, unread: bool = False) -> None:
        super().__init__(reason)
        self.node = node
        self.module = module
        self.reason = reason
        self.unread = unread


class _Known(enum.Enum):
    CLASS = "the class that is decorated"
    PLAIN = "a string, number or the like, from which no class is reached"
    STORE = "a plain dictionary, list or set"
    UNKNOWN = "anything; perhaps the class"


@dataclass(frozen=True)
class _Constant:
    value: object


@dataclass(frozen=True, eq=False)
class _Function:
    """A function that can be read, with what its first parameters are given already."""

    module: Module
    node: ast.FunctionDef | ast.Lambda
    closure: Mapping[str, Value]
    given: tuple[Value, ...] = ()
    named: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Instance:
    """An object of a class that can be read."""

    cls: Class


@dataclass(frozen=True, eq=False)
class _Maker:
    """A class that can be read, not the one that is decorated."""

    cls: Class


@dataclass(frozen=True, eq=False)
class _File:
    """A module that can be read."""

    module: Module


@dataclass(frozen=True)
class _Library:
    """What cannot be read, by its full name."""

    path: str


@dataclass(frozen=True)
class _Method:
    """A method of a plain object or container."""

    owner: _Known
    name: str


@dataclass(frozen=True)
class _Partial:
    """``functools.partial`` itself."""


Value: TypeAlias = "_Known | _Constant | _Function | _Instance | _Maker | _File | _Library | _Method | _Partial"

_NAMES = frozenset({"__name__", "__qualname__", "__module__", "__doc__"})
_STORES = frozenset({"dict", "list", "set", "collections.OrderedDict", "collections.defaultdict"})
_STORING = frozenset(
    {"append", "add", "insert", "extend", "update", "setdefault", "get", "keys", "values", "items", "copy"}
)
# Builtins that tell something of an object and leave it as it is.
_TELLING = frozenset(
    {"isinstance", "issubclass", "callable", "hasattr", "len", "str", "repr", "print", "id", "hash", "bool", "int"}
)
_TELLING_PATHS = frozenset(
    {"inspect.isclass", "inspect.isfunction", "inspect.getfile", "warnings.warn"}
    | {f"logging.getLogger.{name}" for name in ("debug", "info", "warning", "error")}
    | {f"logging.{name}" for name in ("debug", "info", "warning", "error", "getLogger")}
)
_BASES = frozenset({"object", "dict", "collections.OrderedDict"})
_INTERCEPTING = ("__getattr__", "__getattribute__", "__setattr__", "__new__", "__class_getitem__", "__slots__")
_TOLD_BY = ("__str__", "__repr__", "__format__", "__len__", "__bool__", "__hash__", "__int__", "__subclasscheck__")
_ITEMS = frozenset({"__setitem__", "__getitem__", "__contains__", "__missing__", *_STORING})


@dataclass(eq=False)
class _Scope:
    """Where code runs: the names that are its own, and those around it."""

    module: Module
    env: dict[str, Value]
    local: frozenset[str] = frozenset()
    closure: Mapping[str, Value] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    results: list[Value] = field(default_factory=list)


def prove_registration(index: Index, module: Module, decorator: ast.expr) -> None:
    """Prove that a decorator returns the class that it is given, and writes nothing on it.

    Args:
        index: The release.
        module: The module in which the class stands.
        decorator: The expression after ``@``.

    Raises:
        Unproven: If it does not, or nobody can know.
    """
    reading = _Reading(index)
    scope = _Scope(module, {})
    result = reading.call(reading.evaluate(decorator, scope), [_Known.CLASS], {}, decorator, scope)
    if result is not _Known.CLASS:
        raise Unproven(decorator, module, "it returns something else than the class that it is given")


def _join(first: Value, second: Value) -> Value:
    if first == second and type(getattr(first, "value", None)) is type(getattr(second, "value", None)):
        return first
    plain = all(value is _Known.PLAIN or isinstance(value, _Constant) for value in (first, second))
    return _Known.PLAIN if plain else _Known.UNKNOWN


def _joined(values: Sequence[Value]) -> Value:
    first, *others = values
    for other in others:
        first = _join(first, other)
    return first


def _truth(value: Value) -> bool | None:
    """Whether a value counts as true; ``None`` where nobody knows."""
    if isinstance(value, _Constant):
        return bool(value.value)
    return True if value is _Known.CLASS or isinstance(value, _Function | _Maker | _File) else None


def _may_be_class(value: Value) -> bool:
    """Whether a class may be reached through a value, so that it must not be handed to what cannot be read."""
    return not (isinstance(value, _Constant) or value is _Known.PLAIN)


class _Reading:
    def __init__(self, index: Index) -> None:
        self.index = index
        self.depth = 0
        self.steps = 0

    # Names

    def _name(self, name: str, scope: _Scope, node: ast.AST) -> Value:
        if name in scope.env:
            return scope.env[name]
        if name in scope.local:
            return _Known.UNKNOWN
        if name in scope.closure:
            return scope.closure[name]
        return self._global(scope.module, name, node)

    def _global(self, module: Module, name: str, node: ast.AST) -> Value:
        """What a top-level name of a module stands for."""
        for _ in range(8):  # longer chains of re-exports are cycles
            if name not in module.bindings:
                if "*" in module.bindings or not hasattr(builtins, name):
                    submodule = self.index.module(f"{module.name}.{name}")
                    return _File(submodule) if submodule is not None else _Library("")
                return _Library(f"builtins.{name}")
            found = module.import_of(name)
            if found is None:
                return self._defined(module, name, node)
            target = self.index.module(found.path)
            if target is not None and (not found.name or self._lacks(found.module, found.name)):
                return _File(target)
            source = self.index.module(found.module) if found.name else None
            if source is None:
                return _Partial() if found.path == "functools.partial" else _Library(found.path)
            module, name = source, found.name
        return _Library("")

    def _imported(self, path: str) -> Value:
        """What an import inside a function gives."""
        ours = self.index.module(path) or self.index.module(path.rpartition(".")[0])
        return _Known.UNKNOWN if ours is not None else _Library(path)

    def _lacks(self, module: str, name: str) -> bool:
        found = self.index.module(module)
        return found is None or name not in found.bindings

    def _defined(self, module: Module, name: str, node: ast.AST) -> Value:
        if not module.is_settled(name) or self._stored_elsewhere(name):
            raise Unproven(module.bindings[name][-1], module, f"`{name}` is bound more than once, or under a condition")
        handed = next((n for n in module.tree.body if isinstance(n, ast.Expr) and _hands_on(n, name)), None)
        if handed is not None:
            raise Unproven(handed, module, f"`{name}` is handed to `{ast.unparse(handed)}`, which may change it")
        match module.bindings[name][0]:
            case ast.FunctionDef() as function:
                return self._plain_function(module, function, {})
            case ast.ClassDef():
                return _Maker(self.index.classes(module)[name])
            case ast.Assign(targets=[ast.Name()], value=value) | ast.AnnAssign(value=ast.expr() as value):
                if isinstance(value, ast.Call):  # it was made before, and saw no class
                    maker = self.evaluate(value.func, _Scope(module, {}))
                    if isinstance(maker, _Maker):
                        return self._instance(maker.cls, value, module)
                return self.evaluate(value, _Scope(module, {}))
        return _Known.UNKNOWN

    def _plain_function(self, module: Module, node: ast.FunctionDef, closure: Mapping[str, Value]) -> Value:
        for decorator in node.decorator_list:
            if not (isinstance(decorator, ast.Name) and decorator.id in ("staticmethod", "classmethod")):
                raise Unproven(decorator, module, f"`{node.name}` is decorated itself")
        return _Function(module, node, closure)

    def _stored_elsewhere(self, name: str) -> bool:
        """Whether some file stores under this name on an object that is not its ``self``."""
        key = "attributes stored from outside"
        if key not in self.index.memory:
            files = [path for path in self.index.release.files if not path.startswith("timm/")]
            self.index.memory[key] = frozenset(n for path in files for n in _outside(self.index.parse(path).tree))
        stored: frozenset[str] = self.index.memory[key]
        return name in stored

    # Objects

    def _instance(self, cls: Class, node: ast.AST, module: Module) -> _Instance:
        """An object of a class, whose methods are those that can be read."""
        for ancestor in self.index.lineage(cls):
            if ancestor.node.keywords or ancestor.node.decorator_list:
                raise Unproven(ancestor.node, ancestor.module, f"`{ancestor.name}` is no plain class")
            for base in ancestor.node.bases:
                head, _, rest = dotted(base).partition(".")
                known = head and ancestor.module.origin(head, rest) in _BASES
                if not known and self.index.resolve(ancestor.module, ast.unparse(base)) is None:
                    reason = f"`{ast.unparse(base)}`, the base of `{ancestor.name}`, cannot be read"
                    raise Unproven(base, ancestor.module, reason, unread=True)
            hidden = next(filter(_stores_unseen, walk(ancestor.node)), None)
            if hidden is not None:
                raise Unproven(hidden, ancestor.module, f"`{ast.unparse(hidden)}` may replace a method")
            for name in _INTERCEPTING:
                if name in ancestor.members:
                    raise Unproven(ancestor.members[name], ancestor.module, f"`{name}` may give anything for a name")
        return _Instance(cls)

    def _tells_itself(self, cls: Class) -> bool:
        """Whether an object has code of its own for ``str``, ``len`` and the like."""
        return any(name in ancestor.members for ancestor in self.index.lineage(cls) for name in _TOLD_BY)

    def _is_dictionary(self, cls: Class) -> bool:
        lineage = self.index.lineage(cls)
        bases = [(c.module, dotted(base).partition(".")) for c in lineage for base in c.node.bases]
        derived = any(module.origin(head, rest) in _BASES - {"object"} for module, (head, _, rest) in bases if head)
        return derived and not any(name in c.members for c in lineage for name in _ITEMS)

    def _member(self, cls: Class, name: str, receiver: Value, node: ast.AST, scope: _Scope) -> Value:
        """An attribute of an object, or of a class, that can be read."""
        lineage = self.index.lineage(cls)
        stored = [(c, value) for c in lineage for value in c.stores.values.get(name, ())]
        found = next(((c, c.members[name]) for c in lineage if name in c.members), None)
        if self._stored_elsewhere(name):
            raise Unproven(node, scope.module, f"`.{name}` is set from outside of its class")
        match found:
            case (owner, ast.FunctionDef() as function):
                if stored:
                    raise Unproven(stored[0][1], stored[0][0].module, f"`self.{name}` replaces the method")
                return self._bound(owner, function, receiver, node, scope)
            case (owner, ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value)):
                stored.append((owner, value))
            case (owner, statement) if not isinstance(statement, ast.AnnAssign):
                raise Unproven(statement, owner.module, f"`{name}` is no plain method")
        if stored and all(self._makes_store(c.module, value) for c, value in stored):
            return _Known.STORE
        if not stored and name in _STORING and self._is_dictionary(cls):
            return _Method(_Known.STORE, name)
        return _Known.UNKNOWN

    def _bound(self, owner: Class, function: ast.FunctionDef, receiver: Value, node: ast.AST, scope: _Scope) -> Value:
        match function.decorator_list:
            case []:
                given = (receiver,) if isinstance(receiver, _Instance) else ()
                return _Function(owner.module, function, {}, given)
            case [ast.Name("staticmethod")]:
                return _Function(owner.module, function, {})
            case [ast.Name("classmethod")]:
                cls = receiver.cls if isinstance(receiver, _Instance | _Maker) else owner
                return _Function(owner.module, function, {}, (_Maker(cls),))
            case [ast.Name("property")] if isinstance(receiver, _Instance):
                return self.call(_Function(owner.module, function, {}, (receiver,)), [], {}, node, scope)
        raise Unproven(function, owner.module, f"`{function.name}` is decorated itself")

    def _makes_store(self, module: Module, value: ast.expr) -> bool:
        match value:
            case ast.Dict() | ast.List() | ast.Set() | ast.DictComp() | ast.ListComp() | ast.SetComp():
                return True
            case ast.Call(func=function):
                head, _, rest = dotted(function).partition(".")
                return bool(head) and module.origin(head, rest) in _STORES
        return False

    # Expressions

    def evaluate(self, node: ast.expr, scope: _Scope) -> Value:
        """What an expression gives.

        Raises:
            Unproven: If it may do something to the class.
        """
        self.steps += 1
        if self.steps > _STEPS:
            raise Unproven(node, scope.module, "it takes too many steps to follow")
        match node:
            case ast.Constant(value=value):
                return _Constant(value)
            case ast.Name(id=name):
                return self._name(name, scope, node)
            case ast.Attribute(value=owner, attr=attr):
                return self._attribute(self.evaluate(owner, scope), attr, node, scope)
            case ast.Call():
                return self._called(node, scope)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                answer = _truth(self.evaluate(test, scope))
                if answer is not None:
                    return self.evaluate(body if answer else orelse, scope)
                return _join(self.evaluate(body, scope), self.evaluate(orelse, scope))
            case ast.BoolOp(op=op, values=values):
                return self._either(isinstance(op, ast.Or), values, scope)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                answer = _truth(self.evaluate(operand, scope))
                return _Known.PLAIN if answer is None else _Constant(not answer)
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self._compared(op, self.evaluate(left, scope), self.evaluate(right, scope), node, scope)
            case ast.JoinedStr(values=parts):
                for part in parts:
                    if isinstance(part, ast.FormattedValue):
                        told = self.evaluate(part.value, scope)
                        if isinstance(told, _Instance) and self._tells_itself(told.cls):
                            raise Unproven(node, scope.module, f"`{ast.unparse(part)}` may run anything")
                return _Known.PLAIN
            case ast.BinOp(left=left, right=right):
                if _may_be_class(self.evaluate(left, scope)) or _may_be_class(self.evaluate(right, scope)):
                    raise Unproven(node, scope.module, f"`{ast.unparse(node)}` may run anything")
                return _Known.PLAIN
            case ast.Dict(keys=keys, values=values) if None not in keys:
                self._all([*(key for key in keys if key is not None), *values], scope)
                return _Known.STORE
            case ast.List(elts=values) | ast.Set(elts=values) | ast.Tuple(elts=values):
                self._all(values, scope)
                return _Known.STORE
            case ast.Subscript(value=owner, slice=key):
                self.evaluate(key, scope)
                holder = self.evaluate(owner, scope)
                if holder is not _Known.STORE and _may_be_class(holder):
                    raise Unproven(node, scope.module, f"`{ast.unparse(node)}` may run anything")
                return _Known.UNKNOWN
            case ast.Lambda():
                return self._nested(node, scope)
        raise Unproven(node, scope.module, f"`{ast.unparse(node)}` is not followed")

    def _all(self, nodes: Iterable[ast.expr], scope: _Scope) -> None:
        for node in nodes:
            self.evaluate(node, scope)

    def _either(self, is_or: bool, values: Sequence[ast.expr], scope: _Scope) -> Value:
        """What ``or`` or ``and`` gives: one of the values."""
        possible: list[Value] = []
        for value in values:
            found = self.evaluate(value, scope)
            answer = _truth(found)
            if answer in (None, is_or) or value is values[-1]:
                possible.append(found)
            if answer is is_or:
                break
        return _joined(possible)

    def _compared(self, op: ast.cmpop, left: Value, right: Value, node: ast.expr, scope: _Scope) -> Value:
        if isinstance(op, ast.Is | ast.IsNot):
            known = isinstance(left, _Constant) and isinstance(right, _Constant)
            other = [value for value in (left, right) if not isinstance(value, _Constant)]
            certain = len(other) == 1 and (other[0] is _Known.CLASS or isinstance(other[0], _Function | _Instance))
            if known or certain:
                same = known and left.value is right.value  # type: ignore[union-attr]
                return _Constant(same is isinstance(op, ast.Is))
            return _Known.PLAIN
        if isinstance(op, ast.In | ast.NotIn):
            dictionary = isinstance(right, _Instance) and self._is_dictionary(right.cls)
            if dictionary or right in (_Known.STORE, _Known.PLAIN) or isinstance(right, _Constant):
                return _Known.PLAIN
        elif isinstance(left, _Constant) and isinstance(right, _Constant) and isinstance(op, ast.Eq | ast.NotEq):
            return _Constant((left.value == right.value) is isinstance(op, ast.Eq))
        elif not any(_may_be_class(value) and value is not _Known.CLASS for value in (left, right)):
            return _Known.PLAIN
        raise Unproven(node, scope.module, f"`{ast.unparse(node)}` may run anything")

    def _attribute(self, owner: Value, attr: str, node: ast.AST, scope: _Scope) -> Value:
        match owner:
            case _Known.CLASS:
                return _Known.PLAIN if attr in _NAMES else _Known.UNKNOWN
            case _Instance(cls=cls):
                return _Known.UNKNOWN if attr.startswith("__") else self._member(cls, attr, owner, node, scope)
            case _Maker(cls=cls):
                if attr in _NAMES:
                    return _Known.PLAIN
                self._instance(cls, node, scope.module)
                return self._member(cls, attr, owner, node, scope)
            case _File(module=module):
                return self._global(module, attr, node)
            case _Library(path="functools") if attr == "partial":
                return _Partial()
            case _Library(path=path):
                return _Library(f"{path}.{attr}" if path else "")
            case _Constant() | _Known.PLAIN:
                return _Method(_Known.PLAIN, attr)
            case _Known.STORE:
                return _Method(_Known.STORE, attr)
            case _Function() if attr in _NAMES:
                return _Known.PLAIN
        return _Known.UNKNOWN

    def _nested(self, node: ast.FunctionDef | ast.Lambda, scope: _Scope) -> Value:
        """A function that is made in another: it sees those of the outer names that are bound once."""
        seen = {name: value if scope.counts.get(name, 1) == 1 else _Known.UNKNOWN for name, value in scope.env.items()}
        later = dict.fromkeys(scope.local - seen.keys(), _Known.UNKNOWN)
        closure = {**scope.closure, **later, **seen}
        if isinstance(node, ast.Lambda):
            return _Function(scope.module, node, closure)
        return self._plain_function(scope.module, node, closure)

    # Calls

    def _called(self, node: ast.Call, scope: _Scope) -> Value:
        if any(isinstance(a, ast.Starred) for a in node.args) or any(k.arg is None for k in node.keywords):
            raise Unproven(node, scope.module, f"what `{ast.unparse(node)}` is given is not in sight")
        if isinstance(node.func, ast.Attribute) and dotted(node.func).startswith("super"):
            raise Unproven(node, scope.module, "`super` is not followed")
        function = self.evaluate(node.func, scope)
        args = [self.evaluate(argument, scope) for argument in node.args]
        named = {k.arg: self.evaluate(k.value, scope) for k in node.keywords if k.arg is not None}
        if function == _Library("builtins.isinstance") and len(node.args) == 2:
            return self._is_instance(args[0], node.args[1], scope)
        if function == _Library("builtins.getattr") and 2 <= len(args) <= 3:
            match args[:2]:
                case [_Known.CLASS, _Constant(str(name))] if name in _NAMES:
                    return _Known.PLAIN
                case [_Known.CLASS, _]:
                    return _Known.UNKNOWN
        return self.call(function, args, named, node, scope)

    def _is_instance(self, value: Value, kinds: ast.expr, scope: _Scope) -> Value:
        names = kinds.elts if isinstance(kinds, ast.Tuple) else [kinds]
        found = [self.evaluate(name, scope) for name in names]
        builtin = [getattr(builtins, f.path.partition(".")[2], None) for f in found if isinstance(f, _Library)]
        types = [kind for kind in builtin if isinstance(kind, type)]
        if value is _Known.CLASS and any(kind in (type, object) for kind in types):
            return _Constant(True)
        if len(types) == len(names):
            if isinstance(value, _Constant):
                return _Constant(isinstance(value.value, tuple(types)))
            if value is _Known.CLASS:
                return _Constant(False)
        return _Known.PLAIN

    def call(
        self, function: Value, args: Sequence[Value], named: Mapping[str, Value], node: ast.AST, scope: _Scope
    ) -> Value:
        """What a call gives.

        Raises:
            Unproven: If it may do something to the class.
        """
        handed = [*args, *named.values()]
        match function:
            case _Function():
                return self._run(function, args, named, node, scope)
            case _Instance(cls=cls):
                return self.call(self._member(cls, "__call__", function, node, scope), args, named, node, scope)
            case _Maker(cls=cls):
                return self._made(cls, args, named, node, scope)
            case _Partial() if args and isinstance(args[0], _Function):
                first = args[0]
                return replace(first, given=(*first.given, *args[1:]), named={**first.named, **named})
            case _Method(owner=_Known.PLAIN):
                return _Known.PLAIN
            case _Method(owner=_Known.STORE, name=name) if name in _STORING:
                return _Known.UNKNOWN
            case _Library(path=path):
                name = path.removeprefix("builtins.")
                if path == "inspect.isclass" and args:
                    known = args[0] is _Known.CLASS or isinstance(args[0], _Constant)
                    return _Constant(args[0] is _Known.CLASS) if known else _Known.PLAIN
                if path == "builtins.callable" and args and args[0] is _Known.CLASS:
                    return _Constant(True)
                if any(isinstance(value, _Instance) and self._tells_itself(value.cls) for value in handed):
                    raise Unproven(node, scope.module, "a method of an object that is told of may run")
                if path in _TELLING_PATHS or (path.startswith("builtins.") and name in _TELLING):
                    return _Library(path) if path == "logging.getLogger" else _Known.PLAIN
                if (path.startswith("builtins.") and name in _STORES) or path in _STORES:
                    return _Known.STORE
        what = ast.unparse(node.func if isinstance(node, ast.Call) else node)
        given = any(value is _Known.CLASS for value in handed)
        doing = "is given the class and cannot be read" if given else "cannot be read"
        raise Unproven(node, scope.module, f"`{what}` {doing}", unread=True)

    def _made(
        self, cls: Class, args: Sequence[Value], named: Mapping[str, Value], node: ast.AST, scope: _Scope
    ) -> Value:
        made = self._instance(cls, node, scope.module)
        if any(value is _Known.CLASS for value in (*args, *named.values())):
            raise Unproven(node, scope.module, f"it makes a `{cls.name}` of the class")
        if any("__init__" in ancestor.members for ancestor in self.index.lineage(cls)):
            self.call(self._member(cls, "__init__", made, node, scope), args, named, node, scope)
        return made

    def _run(
        self, function: _Function, args: Sequence[Value], named: Mapping[str, Value], node: ast.AST, scope: _Scope
    ) -> Value:
        if self.depth >= _DEEPEST:
            raise Unproven(node, scope.module, "it is nested too deeply to be followed")
        code, module = function.node, function.module
        env = self._parameters(function, args, named, node, scope)
        body = [ast.Return(code.body)] if isinstance(code, ast.Lambda) else code.body
        for inner in walk(code):
            if isinstance(inner, ast.Global | ast.Nonlocal | ast.Yield | ast.YieldFrom | ast.Await | ast.NamedExpr):
                raise Unproven(inner, module, f"a `{type(inner).__name__.lower()}` is not followed")
        counts = Counter([*env, *(name for statement in body for name in bound_names(statement))])
        local = frozenset(counts)
        inside = _Scope(module, env, local, function.closure, counts)
        self.depth += 1
        if self._block(body, inside):
            inside.results.append(_Constant(None))
        self.depth -= 1
        if not inside.results:
            return _Constant(None)  # it always raises, and no class is made
        return _joined(inside.results)

    def _parameters(
        self, function: _Function, args: Sequence[Value], named: Mapping[str, Value], node: ast.AST, scope: _Scope
    ) -> dict[str, Value]:
        signature, module = function.node.args, function.module
        positional = positional_names(signature)
        home = _Scope(module, {}, closure=function.closure)
        env: dict[str, Value] = {name: self.evaluate(d, home) for name, d in defaults_of(signature).items()}
        given = [*function.given, *args]
        env |= dict(zip(positional, given, strict=False))
        env |= {**function.named, **named}
        names = {*positional, *(argument.arg for argument in signature.kwonlyargs)}
        if len(given) > len(positional) or env.keys() != names or set(positional[: len(given)]) & named.keys():
            raise Unproven(node, scope.module, "what its parameters are given is not in sight")
        if signature.vararg is not None:
            env[signature.vararg.arg] = _Constant(())
        if signature.kwarg is not None:
            env[signature.kwarg.arg] = _Known.STORE
        return env

    # Statements

    def _block(self, statements: Sequence[ast.stmt], scope: _Scope) -> bool:
        """Run statements; whether they may come to their end."""
        return all(self._execute(statement, scope) for statement in statements)

    def _execute(self, node: ast.stmt, scope: _Scope) -> bool:
        match node:
            case ast.Pass():
                pass
            case ast.Raise() | ast.Break() | ast.Continue():
                return False
            case ast.Return(value=value):
                scope.results.append(_Constant(None) if value is None else self.evaluate(value, scope))
                return False
            case ast.Expr(value=value):
                self.evaluate(value, scope)
            case ast.Assert(test=test):
                self.evaluate(test, scope)
            case ast.Assign(targets=targets, value=value):
                found = self.evaluate(value, scope)
                for target in targets:
                    self._assign(target, found, scope)
            case ast.AnnAssign(target=target, value=value):
                if value is not None:
                    self._assign(target, self.evaluate(value, scope), scope)
            case ast.FunctionDef(name=name):
                scope.env[name] = self._nested(node, scope)
            case ast.Import() | ast.ImportFrom():
                found_by = imports(node, scope.module.path)
                scope.env.update({name: self._imported(origin.path) for name, origin in found_by.items()})
            case ast.If():
                return self._branch(node, scope)
            case ast.For() | ast.While():
                self._loop(node, scope)
            case _:
                raise Unproven(node, scope.module, f"`{type(node).__name__.lower()}` is not followed")
        return True

    def _branch(self, node: ast.If, scope: _Scope) -> bool:
        answer = _truth(self.evaluate(node.test, scope))
        if answer is not None:
            return self._block(node.body if answer else node.orelse, scope)
        before, after = dict(scope.env), []
        for block in (node.body, node.orelse):
            inner = replace(scope, env=dict(before))
            if self._block(block, inner):
                after.append(inner.env)
        if not after:
            return False
        scope.env.clear()
        first = after[0]
        for env in after[1:]:
            names = first.keys() | env.keys()
            first = {n: _join(first.get(n, _Known.UNKNOWN), env.get(n, _Known.UNKNOWN)) for n in names}
        scope.env.update(first)
        return True

    def _loop(self, node: ast.For | ast.While, scope: _Scope) -> None:
        if node.orelse:
            raise Unproven(node, scope.module, "`else` of a loop is not followed")
        bound = dict.fromkeys(bound_names(node), _Known.UNKNOWN)
        if isinstance(node, ast.For):
            over = self.evaluate(node.iter, scope)
            if over is _Known.CLASS or isinstance(over, _Instance | _Maker):
                raise Unproven(node.iter, scope.module, f"iterating over `{ast.unparse(node.iter)}` may run anything")
        scope.env.update(bound)
        if isinstance(node, ast.While):
            self.evaluate(node.test, scope)
        else:
            self._assign(node.target, _Known.UNKNOWN, scope)
        self._block(node.body, replace(scope, env=dict(scope.env)))

    def _assign(self, target: ast.expr, value: Value, scope: _Scope) -> None:
        match target:
            case ast.Name(id=name):
                scope.env[name] = value
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                for element in elements:
                    self._assign(element, _Known.UNKNOWN, scope)
            case ast.Attribute(value=owner):
                if not isinstance(self.evaluate(owner, scope), _Instance):
                    raise Unproven(target, scope.module, f"`{ast.unparse(target)}` is written")
            case ast.Subscript(value=owner, slice=key):
                self.evaluate(key, scope)
                holder = self.evaluate(owner, scope)
                dictionary = isinstance(holder, _Instance) and self._is_dictionary(holder.cls)
                if holder is not _Known.STORE and not dictionary:
                    reason = f"`{ast.unparse(owner)}` is not known to be a plain dictionary or list"
                    raise Unproven(target, scope.module, reason)
            case _:
                raise Unproven(target, scope.module, f"`{ast.unparse(target)}` is not followed")


def _stores_unseen(node: ast.AST) -> bool:
    """Whether code stores attributes whose names are not in sight."""
    match node:
        case ast.Attribute(attr="__dict__"):
            return True
        case ast.Call(func=ast.Name("setattr"), args=[_, ast.Constant(), _]):
            return False
        case ast.Call(func=ast.Name("setattr" | "vars")):
            return True
    return False


def _hands_on(statement: ast.Expr, name: str) -> bool:
    """Whether a statement calls something with what a name stands for."""
    calls = (node for node in walk(statement) if isinstance(node, ast.Call))
    given = (value for call in calls for value in (*call.args, *(keyword.value for keyword in call.keywords)))
    return any(isinstance(node, ast.Name) and node.id == name for value in given for node in walk(value))


def _outside(tree: ast.AST) -> Iterable[str]:
    """Names under which code stores on an object that is not its ``self``, by a statement or by ``setattr``."""
    for node in walk(tree):
        match node:
            case ast.Attribute(value=ast.Name("self"), ctx=ast.Store()):
                pass
            case ast.Attribute(attr=attr, ctx=ast.Store() | ast.Del()):
                yield attr
            case ast.Call(func=ast.Name("setattr"), args=[_, ast.Constant(str(name)), _]):
                yield name
