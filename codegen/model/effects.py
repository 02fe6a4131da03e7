"""What code may read and write beside its own variables: attributes of the model, arguments, globals.

An embedding and its stages are called apart, and other embeddings may be made in between. So nothing that the stages
read may be what the embedding writes. That is asked of every path that the code may take, whatever the order, through
the methods, functions and modules that it runs. What cannot be read may write all that can be reached from what it is
given.

Objects have several names: ``self.rope`` and the ``rope`` of each block. Two accesses may mean the same if they are of
attributes of one name and of classes of which one derives from the other, and if what the model holds may be shared.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from codegen.model.facts import Facts
from codegen.model.kinds import CONTAINERS, Kind, children_of, kinds_of
from codegen.model.library import (
    ALLOCATING_FUNCTIONS,
    ALLOCATING_METHODS,
    MODULE_METHODS,
    MUTATING_METHODS,
    PURE_BUILTINS,
    PURE_LIBRARIES,
    PURE_METHODS,
    READING_MODULE_METHODS,
    TENSOR_METHODS,
    TORCH_SETTERS,
)
from codegen.model.sharing import is_aliased, may_share
from codegen.source.imports import imports
from codegen.source.index import Class, Index, Module
from codegen.syntax.dataflow import dotted
from codegen.syntax.walking import walk

_TRAPS = ("__getattr__", "__getattribute__", "__setattr__", "__delattr__")
_ANY = "*"


@dataclass(frozen=True)
class Place:
    """Where code finds what outlives it.

    Attributes:
        kind: ``attribute``, ``argument`` or ``global``.
        name: Of the attribute, parameter or global; ``*`` for any.
        owner: The class whose attribute it is, empty for any.
        root: The attribute of the model by way of which code gets there, empty for the model itself; ``*`` for any.
        whole: Whether everything that can be reached from there is meant.
        beneath: Whether that is meant without what is kept there itself: a module does not change who holds it.
    """

    kind: str
    name: str
    owner: Class | None = None
    root: str = ""
    whole: bool = False
    beneath: bool = False


_SELF = Place("attribute", "self", whole=True)
EVERYTHING = Place("attribute", _ANY, root=_ANY, whole=True)
MODE = Place("attribute", "training", root=_ANY)


@dataclass(frozen=True)
class Effects:
    """What code may do beside binding its own variables.

    Attributes:
        reads: Places that it may read.
        writes: Places that it may write.
        changes: Those of them where it may change what is kept there, and not only what is kept.
        names: Where else what each variable holds may be found.
        values: What each variable holds, for statements that follow.
    """

    reads: frozenset[Place] = frozenset()
    writes: frozenset[Place] = frozenset()
    changes: frozenset[Place] = frozenset()
    names: Mapping[str, frozenset[Place]] = field(default_factory=dict)
    values: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class _Value:
    """What an expression may give.

    Attributes:
        places: Where else it may be found; none if nobody else has it.
        held: Where else what it holds may be found.
        kinds: What module it, or what it holds, may be.
        methods: Methods of objects that it may be.
    """

    places: frozenset[Place] = frozenset()
    held: frozenset[Place] = frozenset()
    kinds: frozenset[Kind] = frozenset()
    methods: frozenset[tuple[Facts, ast.FunctionDef, Module, str]] = frozenset()

    def __or__(self, other: _Value) -> _Value:
        return _Value(
            self.places | other.places,
            self.held | other.held,
            self.kinds | other.kinds,
            self.methods | other.methods,
        )

    @property
    def all(self) -> frozenset[Place]:
        """Where it, or what it holds, may be found."""
        return self.places | self.held

    @property
    def inside(self) -> _Value:
        """What may be taken out of it: a tensor's row, an element of a list."""
        return replace(self, places=self.all)

    @property
    def boxed(self) -> _Value:
        """A container that is made here and holds it."""
        return replace(self, places=frozenset(), held=self.all, kinds=self.kinds | {"box"})


_FRESH = _Value()


def effects(
    facts: Facts, statements: Sequence[ast.stmt], parameters: Iterable[str] = (), before: Effects | None = None
) -> Effects:
    """What statements of a method may read and write.

    Args:
        facts: The model's class.
        statements: They may return and loop.
        parameters: Parameters of the method that they may read.
        before: What statements that run before them do, for the variables that these bind.
    """
    values = {} if before is None else before.values
    known = {name: _apart(value) for name, value in values.items() if isinstance(value, _Value)}
    code = _Code(facts.index, facts.cls.module, facts, known)
    code.bind_parameters(parameters)
    code.settle(statements)
    reads, writes, changes = (frozenset(map(_rooted, found)) for found in (code.reads, code.writes, code.changes))
    names = {name: frozenset(map(_rooted, value.all)) for name, value in code.names.items()}
    return Effects(reads, writes, changes, names, dict(code.names))


def _apart(value: _Value) -> _Value:
    """What code that cannot be read gave is taken to be no part of what it was given."""
    places, held = (frozenset(p for p in found if not p.whole) for found in (value.places, value.held))
    return replace(value, places=places, held=held)


def _rooted(place: Place) -> Place:
    """A place as the model sees it, by way of an attribute of its own."""
    if place == _SELF:
        return EVERYTHING
    return replace(place, root=place.name) if place.kind == "attribute" and not place.root else place


def _root(place: Place) -> str:
    """The attribute by way of which code gets to what an object holds that is kept in a place."""
    return place.root or ("" if place == _SELF else place.name)


def may_meet(facts: Facts, one: Place, other: Place) -> bool:
    """Whether two places that code of a model gets to may be the same."""
    if EVERYTHING in (one, other):
        return True
    if one.kind != other.kind:
        return False
    if one.beneath or other.beneath:
        deep, place = (one, other) if one.beneath else (other, one)
        if place.kind == "attribute" and not place.whole and place.owner is not None and deep.root == place.root:
            return False
    same = _ANY in (one.name, other.name) or one.name == other.name
    if one.kind != "attribute":
        return same
    if one.root == other.root or _ANY in (one.root, other.root):
        if (one.beneath and other.owner is None) or (other.beneath and one.owner is None):
            return True
        return same and _related(facts.index, one.owner, other.owner)
    if not may_share(facts, one.root, other.root):
        return False
    return one.whole or other.whole or (same and _related(facts.index, one.owner, other.owner))


def _related(index: Index, one: Class | None, other: Class | None) -> bool:
    """Whether an object may be of both classes."""
    return one is None or other is None or one in index.lineage(other) or other in index.lineage(one)


@dataclass(eq=False)
class _Code:
    """One function that is read, or the statements of a method.

    Attributes:
        index: The release.
        module: Where it stands.
        facts: The class whose method it is, if any.
        names: What each variable may hold, at any time.
        reads: Places that it may read.
        writes: Places that it may write.
        changes: Those of them where it may change what is kept there.
        returned: What it may return.
        home: The class that defines the method, which ``super()`` begins after.
    """

    index: Index
    module: Module
    facts: Facts | None
    names: dict[str, _Value] = field(default_factory=dict)
    reads: set[Place] = field(default_factory=set)
    writes: set[Place] = field(default_factory=set)
    changes: set[Place] = field(default_factory=set)
    returned: _Value = _FRESH
    home: Class | None = None

    def bind_parameters(self, parameters: Iterable[str]) -> None:
        self.names |= {name: _Value(frozenset({Place("argument", name)})) for name in parameters}

    def settle(self, statements: Sequence[ast.stmt]) -> None:
        """Read statements until the variables hold nothing new."""
        while True:
            before = dict(self.names), self.returned
            self.block(statements)
            if (dict(self.names), self.returned) == before:
                return

    # Statements

    def block(self, statements: Iterable[ast.stmt]) -> None:
        for statement in statements:
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign(targets=targets, value=value):
                given = self.of(value)
                for target in targets:
                    self.bind(target, given)
            case ast.AnnAssign(target=target, value=value):
                if value is not None:
                    self.bind(target, self.of(value))
            case ast.AugAssign(target=target, value=value):
                given = self.of(value)
                old = self.of(target)
                self.change(replace(old, places=frozenset(p for p in old.places if not self._is_number(p))))
                self.bind(target, replace(old | given, places=old.places) if "box" in old.kinds else old)
            case ast.For(target=target, iter=iterable, body=body, orelse=orelse):
                self.bind_elements(target, iterable)
                self.block([*body, *orelse])
            case ast.If(test=test, body=body, orelse=orelse) | ast.While(test=test, body=body, orelse=orelse):
                self.of(test)
                self.block([*body, *orelse])
            case ast.With(items=items, body=body):
                for item in items:
                    given = self.of(item.context_expr)
                    if item.optional_vars is not None:
                        self.bind(item.optional_vars, given)
                self.block(body)
            case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=finalbody):
                self.block([*body, *(s for handler in handlers for s in handler.body), *orelse, *finalbody])
            case ast.Return(value=value) | ast.Expr(value=value):
                given = _FRESH if value is None else self.of(value)
                if isinstance(node, ast.Return):
                    self.returned |= given
            case ast.Raise(exc=exc, cause=cause):
                for value in (exc, cause):
                    if value is not None:
                        self.of(value)
            case ast.Assert(test=test):
                self.of(test)
            case ast.FunctionDef(name=name, args=args, body=body, decorator_list=[]):
                self.bind_name(name, self.inner(args, body))
            case ast.Delete(targets=targets):
                for target in targets:
                    if not isinstance(target, ast.Name):
                        self.bind(target, _FRESH)
            case ast.Pass() | ast.Break() | ast.Continue() | ast.Import() | ast.ImportFrom():
                pass
            case _:
                self.anything()

    def bind(self, target: ast.expr, value: _Value) -> None:
        match target:
            case ast.Name(id=name):
                self.bind_name(name, value)
            case ast.Attribute(value=owner, attr=attr):
                self.store(self.of(owner), attr)
            case ast.Subscript(value=owner, slice=index):
                held = self.of(owner)
                self.of(index)
                self.change(held)
                self.put(owner, value)
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                for element in elements:
                    self.bind(element, value.inside)
            case ast.Starred(value=inner):
                self.bind(inner, value.boxed)
            case _:
                self.anything()

    def bind_elements(self, target: ast.expr, iterable: ast.expr) -> None:
        """Bind the target of a loop to each of what it is over."""
        match target, iterable:
            case ast.Tuple(elts=[number, inner]), ast.Call(func=ast.Name("enumerate"), args=[sequence, *_]):
                self.of(iterable)
                self.bind(number, _FRESH)
                self.bind_elements(inner, sequence)
            case ast.Tuple(elts=parts), ast.Call(func=ast.Name("zip"), args=sequences) if len(parts) == len(sequences):
                self.of(iterable)
                for part, sequence in zip(parts, sequences, strict=True):
                    self.bind_elements(part, sequence)
            case _:
                self.bind(target, self.elements(iterable))

    def bind_name(self, name: str, value: _Value) -> None:
        self.names[name] = self.names.get(name, _FRESH) | value

    def put(self, container: ast.expr, value: _Value) -> None:
        """Note that what a variable holds may hold something more from now on. A tensor takes a copy."""
        head = next((n.id for n in walk(container) if isinstance(n, ast.Name)), "")
        held = self.names.get(head, _FRESH)
        if head != self.receiver and (held.kinds & {"box", "?"} or any(p.kind == "argument" for p in held.places)):
            self.bind_name(head, value.boxed)

    @property
    def receiver(self) -> str:
        return "self" if self.facts is not None else ""

    # Effects

    def anything(self) -> _Value:
        """Code that is not understood, which has everything at hand."""
        self.reads.add(EVERYTHING)
        self.writes.add(EVERYTHING)
        return _Value(frozenset({EVERYTHING}), kinds=frozenset({"?"}))

    def change(self, value: _Value) -> None:
        """Something changes what an object holds, and leaves it where it is."""
        for place in value.places:
            changed = EVERYTHING if self._has_other_names(place) else place
            self.writes.add(changed)
            self.changes.add(changed)

    def _is_number(self, place: Place) -> bool:
        """Whether what is kept in a place is a number or a text, which nobody can change in place."""
        if place.kind != "attribute" or place.owner is None or place.whole:
            return False
        values = Facts.of(self.index, place.owner).values.get(place.name, ())
        return bool(values) and all(_is_constant(value) for value in values)

    def _has_other_names(self, place: Place) -> bool:
        if place.kind != "attribute" or place.whole:
            return False
        return place.owner is None or is_aliased(Facts.of(self.index, place.owner), place.name)

    def unread(self, *given: _Value) -> _Value:
        """Code that cannot be read is given some values."""
        places = frozenset(
            replace(place, whole=True, beneath=place.beneath or (bool(value.kinds) and not place.whole))
            for value in given
            for place in value.all
        )
        if any(value.methods for value in given):
            places |= {EVERYTHING}
        self.reads |= places
        self.writes |= places
        return _Value(places, kinds=frozenset({"?"}))

    def unread_module(self, module: _Value, *given: _Value) -> _Value:
        """A module whose code cannot be read is given some values: it has those, and all that it holds."""
        inside = frozenset(replace(p, whole=True, beneath=True) for p in module.all if not p.whole)
        self.reads |= inside
        self.writes |= inside
        return self.unread(*given) | _Value(inside)

    def store(self, owner: _Value, attr: str) -> None:
        """An attribute of an object is bound."""
        for place in self.attributes(owner, attr):
            self.writes.add(place)
        for cls in owner.kinds:
            if isinstance(cls, Class):
                facts = Facts.of(self.index, cls)
                if any(facts.has_member(trap) for trap in _TRAPS) or _is_property(facts, attr):
                    self.anything()

    def attributes(self, owner: _Value, attr: str) -> Iterator[Place]:
        """The places of an attribute of an object."""
        classes = [kind for kind in owner.kinds if isinstance(kind, Class)]
        for place in owner.places:
            if place.kind != "attribute":
                of_class = place.kind == "global" and place.owner is not None
                yield Place("attribute", attr, place.owner, _ANY) if of_class else place
                continue
            root = _root(place)
            for cls in classes:
                yield Place("attribute", attr, cls, root)
            if "?" in owner.kinds:
                yield Place("attribute", attr, None, root)
            if not owner.kinds or owner.kinds & {"torch", "view"}:
                yield place  # of a tensor

    # Expressions

    def of(self, node: ast.expr) -> _Value:
        match node:
            case ast.Constant():
                return _FRESH
            case ast.Name(id=name):
                return self.name(name)
            case ast.Attribute(value=owner, attr=attr):
                return self.attribute(node, owner, attr)
            case ast.Subscript(value=owner, slice=index):
                self.of(index)
                held = self.of(owner)
                return self.unread(held) if self._is_special(held, "__getitem__") else self._inside(held)
            case ast.Call():
                return self.call(node)
            case ast.BinOp(left=left, op=op, right=right):
                both = self.of(left) | self.of(right)
                if any(isinstance(kind, Class) for kind in both.kinds):
                    return self.unread(both)
                return both.boxed if "box" in both.kinds and isinstance(op, ast.Add | ast.Mult) else _FRESH
            case ast.BoolOp(values=values) | ast.Tuple(elts=values) | ast.List(elts=values) | ast.Set(elts=values):
                found = self.all_of(values)
                return found if isinstance(node, ast.BoolOp) else found.boxed
            case ast.Dict(keys=keys, values=values):
                return self.all_of([*(key for key in keys if key is not None), *values]).boxed
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self.of(test)
                return self.of(body) | self.of(orelse)
            case ast.Compare(left=left, comparators=others):
                self.all_of([left, *others])
                return _FRESH
            case ast.UnaryOp(operand=operand) | ast.FormattedValue(value=operand):
                self.of(operand)
                return _FRESH
            case ast.JoinedStr(values=values):
                self.all_of(values)
                return _FRESH
            case ast.Starred(value=inner):
                return self.of(inner).inside
            case ast.Slice(lower=lower, upper=upper, step=step):
                self.all_of([part for part in (lower, upper, step) if part is not None])
                return _FRESH
            case ast.NamedExpr(target=target, value=value):
                given = self.of(value)
                self.bind(target, given)
                return given
            case ast.Lambda(args=args, body=body):
                return self.inner(args, [ast.Expr(body)])
            case ast.ListComp(generators=generators) | ast.SetComp(generators=generators):
                return self.comprehension(generators, [node.elt])
            case ast.GeneratorExp(generators=generators, elt=elt):
                return self.comprehension(generators, [elt])
            case ast.DictComp(generators=generators, key=key, value=value):
                return self.comprehension(generators, [key, value])
        return self.anything()

    def all_of(self, nodes: Iterable[ast.expr]) -> _Value:
        found = _FRESH
        for node in nodes:
            found |= self.of(node)
        return found

    def comprehension(self, generators: Sequence[ast.comprehension], results: Sequence[ast.expr]) -> _Value:
        for generator in generators:
            self.bind_elements(generator.target, generator.iter)
            self.all_of(generator.ifs)
        return self.all_of(results).boxed

    def elements(self, iterable: ast.expr) -> _Value:
        """What a loop over an expression may give."""
        given = self.of(iterable)
        return self.unread(given) if self._is_special(given, "__iter__") else self._inside(given)

    def _inside(self, value: _Value) -> _Value:
        """What may be taken out of a value; of a module that derives from a container what that holds."""
        if "?" in value.kinds:
            self.reads |= set(self.attributes(value, _ANY))
        kinds: set[Kind] = set()
        for kind in value.kinds:
            facts = Facts.of(self.index, kind) if isinstance(kind, Class) else None
            holds = facts is not None and facts.torch_parent in CONTAINERS
            kinds |= children_of(facts) if facts is not None and holds else {kind}
        return replace(value.inside, kinds=frozenset(kinds))

    def _is_special(self, value: _Value, method: str) -> bool:
        """Whether a value may be of a class that gives an operation of Python a meaning of its own."""
        classes = (kind for kind in value.kinds if isinstance(kind, Class))
        return any(Facts.of(self.index, cls).has_member(method) for cls in classes)

    def inner(self, arguments: ast.arguments, body: Sequence[ast.stmt]) -> _Value:
        """A function that is made here: it may be called at any time, with anything that there is."""
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        names = [a.arg for a in [*every, *(extra for extra in (arguments.vararg, arguments.kwarg) if extra)]]
        shared = {name: value for name, value in self.names.items() if name not in names}
        code = _Code(
            self.index, self.module, self.facts, dict(shared), self.reads, self.writes, self.changes, home=self.home
        )
        given = self.all_of([d for d in (*arguments.defaults, *arguments.kw_defaults) if d is not None])
        code.names |= dict.fromkeys(names, _Value(frozenset({Place("argument", _ANY)})) | given)
        code.settle(body)
        for name, value in code.names.items():
            if name in shared:
                self.bind_name(name, value)
        return replace(code.returned | self.all_of_names(shared, body), kinds=frozenset({"inner"})).boxed

    def all_of_names(self, names: Mapping[str, _Value], body: Sequence[ast.stmt]) -> _Value:
        found = _FRESH
        for node in (inner for statement in body for inner in walk(statement)):
            if isinstance(node, ast.Name) and node.id in names:
                found |= names[node.id]
        return found

    def name(self, name: str) -> _Value:
        if name == self.receiver and name not in self.names:
            assert self.facts is not None
            return _Value(frozenset({_SELF}), kinds=frozenset({self.facts.cls}))
        if name in self.names:
            found = self.names[name]
            self.reads |= {place for place in found.all if place.kind == "argument"}
            return found
        return self.of_global(name)

    def of_global(self, name: str) -> _Value:
        """A name of the module, or of Python."""
        nodes = self.module.bindings.get(name, [])
        if not nodes and hasattr(builtins, name):
            return _FRESH
        cls = self.index.resolve(self.module, name)
        if cls is not None or self.index.function(self.module, name) is not None:
            return _Value(frozenset({Place("global", self._full(name), cls)}))
        origin = self.module.origin(name)
        if _is_pure(origin) or (len(nodes) == 1 and self._is_constant(nodes[0])):
            return _FRESH
        place = Place("global", origin or f"{self.module.name}.{name}")
        self.reads.add(place)
        return _Value(frozenset({place}))

    def _is_constant(self, node: ast.stmt) -> bool:
        """Whether the module binds a name to what nobody can change, or to a logger."""
        match node:
            case ast.Assign(targets=[ast.Name(name)], value=value) if self.module.is_settled(name):
                match value:
                    case ast.Constant():
                        return True
                    case ast.Call(func=function):
                        return self._path(function).startswith("logging.")
        return False

    def _full(self, name: str) -> str:
        return self.module.origin(name) or f"{self.module.name}.{name}"

    def attribute(self, node: ast.Attribute, owner: ast.expr, attr: str) -> _Value:
        if self.facts is not None and self.facts.prefix != "self" and dotted(node) == self.facts.prefix:
            return _Value(frozenset({_SELF}), kinds=frozenset({self.facts.cls}))
        if dotted(node) and _is_pure(self._path(node)):
            return _FRESH
        held = self.of(owner)
        if not held.places:
            return _Value(held=held.held)
        places = frozenset(self.attributes(held, attr))
        found = _Value()
        for kind in held.kinds or {""}:
            found |= self._attribute_of(held, kind, attr, places)
        return found

    def _attribute_of(self, held: _Value, kind: Class | str, attr: str, places: frozenset[Place]) -> _Value:
        """What an attribute of an object of one class may be."""
        if not isinstance(kind, Class):
            self.reads |= places
            return _Value(places, held.held, frozenset({"?"}) if kind == "?" else frozenset())
        facts = Facts.of(self.index, kind)
        if any(facts.has_member(trap) for trap in _TRAPS):
            return self.anything()
        found = facts.method(attr)
        if found is not None and attr not in facts.values:
            if found[1].decorator_list and _is_property(facts, attr):
                return self.run(found[0].module, found[1], kind, held, {}, [])
            roots = {_root(place) for place in held.places}
            methods = frozenset((facts, found[1], found[0].module, root) for root in roots)
            return _Value(held=held.places, methods=methods)
        if attr not in facts.values and facts.has_member(attr):  # of the class, not of the object
            places = frozenset(replace(place, root=_ANY) for place in places)
        self.reads |= places
        return _Value(places, kinds=kinds_of(facts, attr))

    # Calls

    def call(self, call: ast.Call) -> _Value:
        function = call.func
        given = self.all_of([*call.args, *(keyword.value for keyword in call.keywords)])
        if isinstance(function, ast.Name) and function.id not in self.names:
            return self.call_global(function.id, call, given)
        path = self._path(function)
        if path and (self.index.function(self.module, dotted(function)) or not isinstance(function, ast.Attribute)):
            return self.call_global(dotted(function), call, given)
        if path:
            return self.library(path, call, given)
        if isinstance(function, ast.Attribute) and not self._is_inner_model(function):
            if isinstance(function.value, ast.Call) and dotted(function.value.func) == "super":
                return self.of_parent(function.attr, call, given)
            owner = self.of(function.value)
            if not owner.methods:
                return self.method(owner, function, call, given)
        return self.run_value(self.of(function), call, given)

    def _is_inner_model(self, function: ast.expr) -> bool:
        return self.facts is not None and self.facts.prefix != "self" and dotted(function) == self.facts.prefix

    def _path(self, node: ast.expr) -> str:
        """The full name of what an expression imports; empty for what is no import."""
        head, _, rest = dotted(node).partition(".")
        if not head or head in self.names or (head == self.receiver):
            return ""
        imported = self.module.import_of(head) is not None or head not in self.module.bindings
        return self.module.origin(head, rest) if imported else ""

    def call_global(self, name: str, call: ast.Call, given: _Value) -> _Value:
        """A function or class of the release is called, one of Python's, or one of a library."""
        found = self.index.function(self.module, name)
        if found is not None:
            module, function = found
            place = _Value(frozenset({Place("global", f"{module.name}.{function.name}")}))
            if all(_keeps_code(module, decorator) for decorator in function.decorator_list):
                remembers = any("cache" in ast.unparse(decorator) for decorator in function.decorator_list)
                memo = place if remembers else _FRESH  # what it returned before, it returns again
                self.reads |= memo.places
                return self.run(module, function, None, _FRESH, self._by_name(function, call, 0), [given]) | memo
            return self.unread(given, place)
        home, local = self._home(name)
        several = home.bindings.get(local, ())
        match several:
            case [ast.Assign(value=ast.Call(func=ast.Name(id=maker)))] if f := self.index.function(home, maker):
                return self.run(*f, None, _FRESH, {}, [given]) | given  # to_2tuple = _ntuple(2)
        if several and all(self._is_harmless(home, node, local) for node in several):  # try: from torch import _assert
            return _FRESH if local in ALLOCATING_FUNCTIONS else _Value(given.all, given.held)
        cls = self.index.resolve(self.module, name)
        if cls is not None:
            constructor = Facts.of(self.index, cls).method("__init__")
            if constructor is not None:
                self.run(
                    constructor[0].module, constructor[1], cls, _FRESH, self._by_name(constructor[1], call, 1), [given]
                )
            return replace(given.boxed, kinds=frozenset({cls}))
        if name in self.module.bindings:
            return self.library(self._path(call.func), call, given)
        return self.builtin(name, call, given)

    def _home(self, name: str) -> tuple[Module, str]:
        """The module that binds a name otherwise than by one import, and how it is called there."""
        module = self.module
        for _ in range(8):
            origin = module.import_of(name)
            target = self.index.module(origin.module) if origin is not None and origin.name else None
            if origin is None or target is None:
                break
            module, name = target, origin.name
        return module, name

    def _is_harmless(self, module: Module, node: ast.stmt, name: str) -> bool:
        """Whether one of several bindings of a name is a function that does nothing to what it is given."""
        if isinstance(node, ast.FunctionDef):
            summary = _summary(self.index, module, node, None, {})
            return summary is not None and not summary.writes
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            return True  # except ImportError: fused = None
        found = imports(node, module.path).get(name)
        return found is not None and _is_pure(found.module)

    def builtin(self, name: str, call: ast.Call, given: _Value) -> _Value:
        match name, call.args:
            case "getattr", [owner, ast.Constant(str(attr)), *_]:
                return self.attribute(ast.Attribute(owner, attr, ast.Load()), owner, attr) | given
            case "hasattr", [owner, ast.Constant(str(attr))]:
                self.attribute(ast.Attribute(owner, attr, ast.Load()), owner, attr)
                return _FRESH
            case "setattr", [owner, ast.Constant(str(attr)), _]:
                self.store(self.of(owner), attr)
                return _FRESH
            case "getattr", [owner, *_]:
                held = self.of(owner)
                places = frozenset(replace(p, whole=True) for p in self.attributes(held, _ANY))
                self.reads |= places
                return _Value(places, kinds=frozenset({"?"}))
            case "super", []:
                return self.name(self.receiver) if self.receiver else self.anything()
        if name == "next":  # of an iterator that may be kept
            self.change(given)
            return given
        if name in PURE_BUILTINS:
            if name in ("len", "isinstance", "type", "callable", "id"):
                return _FRESH
            return given.boxed
        if name in ("print", "vars", "dir"):
            self.reads |= {replace(place, whole=True) for place in given.all}
            return given if name == "vars" else _FRESH
        if isinstance(getattr(builtins, name, None), type) and issubclass(getattr(builtins, name), BaseException):
            return given
        return self.anything()

    def library(self, path: str, call: ast.Call, given: _Value) -> _Value:
        """A function of a library is called."""
        if path.endswith(("utils.checkpoint.checkpoint", "utils.checkpoint.checkpoint_sequential")) and call.args:
            return self.run_value(self.of(call.args[0]), call, given) | given
        name = path.rpartition(".")[2]
        in_place = any(keyword.arg in ("out", "inplace") for keyword in call.keywords)
        if path.startswith("torch.") and (name.startswith(TORCH_SETTERS) or path in TORCH_SETTERS):
            return self.anything()
        if _is_pure(path):
            if in_place or (name.endswith("_") and not name.endswith("__")):
                self.change(given)
            if given.methods:
                return self.unread(given)
            return _FRESH if name in ALLOCATING_FUNCTIONS else _Value(given.all, given.held)
        return self.unread(given, _Value(frozenset({Place("global", path.partition(".")[0] or _ANY)})))

    def of_parent(self, name: str, call: ast.Call, given: _Value) -> _Value:
        """``super().name(...)`` in a method of the class ``home``."""
        if self.facts is None or self.home is None:
            return self.anything()
        lineage = self.facts.lineage
        after = lineage[lineage.index(self.home) + 1 :]
        found = next(((c.module, c.members[name]) for c in after if name in c.members), None)
        if found is None and name in ("forward", "__call__") and self.facts.torch_parent:
            if self.facts.torch_parent != "Sequential":
                return replace(given, kinds=frozenset())
            holder = replace(self.name("self"), kinds=children_of(self.facts) | {"view"})
            return self.run_value(holder, call, given)
        if found is None:
            return self._of_module(self.facts.cls, self.name("self"), name, given)
        module, function = found
        if not isinstance(function, ast.FunctionDef):
            return self.anything()
        return self.run(module, function, self.facts.cls, self.name("self"), self._by_name(function, call, 1), [given])

    def method(self, owner: _Value, function: ast.Attribute, call: ast.Call, given: _Value) -> _Value:
        """A method of an object is called."""
        name = function.attr
        classes = [kind for kind in owner.kinds if isinstance(kind, Class)]
        result = _FRESH
        for cls in classes:
            facts = Facts.of(self.index, cls)
            if any(facts.has_member(trap) for trap in _TRAPS):
                return self.anything()
            found = facts.method(name)
            if found is not None and name not in facts.values:
                if not all(_keeps_code(found[0].module, decorator) for decorator in found[1].decorator_list):
                    result |= self.unread(owner, given)
                    continue
                static = any(dotted(decorator) == "staticmethod" for decorator in found[1].decorator_list)
                arguments = self._by_name(found[1], call, 0 if static else 1)
                result |= self.run(found[0].module, found[1], cls, owner, arguments, [given])
            elif name in facts.values:
                result |= self.run_value(self.attribute(function, function.value, name), call, given)
            else:
                others = (kind for kind in classes if kind is not cls)
                if self._is_readable(cls) and any(Facts.of(self.index, kind).method(name) for kind in others):
                    continue  # if hasattr(self.rope, "get_batch_embeds"): only where it has one
                result |= self._of_module(cls, owner, name, given)
        if not classes or owner.kinds - set(classes):
            result |= self._of_data(owner, name, given, function, call)
        return result

    def _of_module(self, cls: Class | None, owner: _Value, name: str, given: _Value) -> _Value:
        """A method that the class does not define: one of ``nn.Module``, or of a base that cannot be read."""
        if name in ("train", "eval"):
            roots = {_root(place) for place in owner.places}
            self.writes |= {replace(MODE, root=root or _ANY) for root in roots}
            return owner
        if name in READING_MODULE_METHODS:
            everything = frozenset(replace(p, whole=True) for p in self.attributes(owner, _ANY))
            self.reads |= everything
            return _Value(everything, kinds=frozenset({"?"}))
        if name in ("forward", "__call__"):
            return self.run_value(owner, ast.Call(ast.Name("_"), [], []), given)
        if name not in MODULE_METHODS and not name.startswith("_") and cls is not None and self._is_readable(cls):
            if name in TENSOR_METHODS:  # it is a tensor then, for no class has such a method
                return owner.inside
            # no method of any class: something was registered under a computed name
            return self.unread(_Value(frozenset(self.attributes(owner, name))), given)
        return self.anything() if _SELF in owner.places else self.unread(owner, given)

    def _is_readable(self, cls: Class) -> bool:
        """Whether all that a class derives from can be read, but for what torch has."""
        for ancestor in self.index.lineage(cls):
            for base in map(dotted, ancestor.node.bases):
                head, _, rest = base.partition(".")
                known = base and (ancestor.module.origin(head, rest).startswith("torch.") or base == "object")
                if not (known or self.index.resolve(ancestor.module, base) is not None):
                    return False
        return True

    def _of_data(self, owner: _Value, name: str, given: _Value, function: ast.Attribute, call: ast.Call) -> _Value:
        """A method of a tensor, a list, a module of torch, or of what is not known."""
        if name in ("forward", "__call__"):
            return self.run_value(owner, call, given)
        if name in ("train", "eval") and owner.kinds:
            return self._of_module(None, owner, name, given)
        if name in MUTATING_METHODS or (name.endswith("_") and not name.endswith("__")):
            self.change(owner)
            self.put(function.value, given)
            return owner.inside | given
        if name in ALLOCATING_METHODS:
            return _FRESH
        if name in TENSOR_METHODS:  # a view
            return owner.inside
        if name in PURE_METHODS:
            return self._inside(owner) | given.inside
        return self.unread_module(owner, given) if "?" in owner.kinds else self.unread(owner, given)

    def run_value(self, value: _Value, call: ast.Call, given: _Value) -> _Value:
        """Something is called that is no name: a module, a method that was kept, a function that was made here."""
        result = _FRESH
        for facts, function, module, root in value.methods:
            owner = _Value(
                frozenset({_SELF if not root else Place("attribute", root, facts.cls, root)}),
                kinds=frozenset({facts.cls}),
            )
            result |= self.run(module, function, facts.cls, owner, self._by_name(function, call, 1), [given])
        for kind in value.kinds:
            if isinstance(kind, Class):
                result |= self._run_module(value, kind, call, given)
            elif kind == "view":
                result |= replace(given, kinds=frozenset())
            elif kind == "box":
                continue
            elif kind == "inner":  # what it does was noted where it was made
                result |= (value | given).inside
            elif kind != "torch":
                result |= self.unread(value, given)
        if not value.kinds - {"box"} and not value.methods:
            result |= self.unread(value, given)
        return result

    def _run_module(self, value: _Value, cls: Class, call: ast.Call, given: _Value) -> _Value:
        facts = Facts.of(self.index, cls)
        found = facts.method("__call__") or facts.method("forward")
        if "forward" in facts.values or found is None or found[1].decorator_list:
            if found is None and facts.torch_parent and not facts.has_member("forward"):
                if facts.torch_parent != "Sequential":
                    return replace(given, kinds=frozenset())
                return self.run_value(replace(value, kinds=children_of(facts) | {"view"}), call, given)
            if found is None or not all(_keeps_code(found[0].module, d) for d in found[1].decorator_list):
                return self.unread(value, given)
        assert found is not None
        return self.run(found[0].module, found[1], cls, value, self._by_name(found[1], call, 1), [given])

    @staticmethod
    def _within(holder: Place, place: Place) -> Place:
        """A place as it is seen from where the object is held that its path begins with."""
        return replace(place, root=_root(holder)) if holder.kind == "attribute" else holder

    def _by_name(self, function: ast.FunctionDef, call: ast.Call, skip: int) -> dict[str, _Value]:
        """What each parameter is given, where the call tells."""
        if any(isinstance(argument, ast.Starred) for argument in call.args):
            return {}
        positional = [a.arg for a in (*function.args.posonlyargs, *function.args.args)][skip:]
        given = {name: self.of(node) for name, node in zip(positional, call.args, strict=False)}
        if len(call.args) > len(positional) and function.args.vararg is None:
            return {}
        if any(keyword.arg is None for keyword in call.keywords):
            return {}
        every = {*positional, *(a.arg for a in function.args.kwonlyargs)}
        given |= {keyword.arg: self.of(keyword.value) for keyword in call.keywords if keyword.arg in every}
        return given

    def run(
        self,
        module: Module,
        function: ast.FunctionDef,
        cls: Class | None,
        owner: _Value,
        arguments: Mapping[str, _Value],
        others: Sequence[_Value],
    ) -> _Value:
        """Code of the release runs.

        Args:
            module: Where it stands.
            function: It.
            cls: The class of its ``self``, if it has one.
            owner: What its ``self`` is.
            arguments: What its parameters are given, by their names; empty if the call does not tell.
            others: All that the call passes, for the parameters that ``arguments`` leaves out.
        """
        kinds = {name: value.kinds for name, value in arguments.items() if value.kinds}
        summary = _summary(self.index, module, function, cls, kinds)
        if summary is None:  # recursion
            return self.anything()
        outside = _Value()
        for value in others:
            outside |= value
        objects = [replace(place, whole=True) if place.kind != "attribute" else place for place in owner.places]

        def translated(places: Iterable[Place]) -> Iterator[Place]:
            for place in places:
                if place.kind == "argument":
                    given = arguments.get(place.name, _FRESH if arguments else outside)
                    if place.name == _ANY:
                        given = outside
                    reached = given.all if place.whole else given.places
                    beneath = place.whole and bool(given.kinds - {"box"})
                    yield from (
                        replace(p, whole=p.whole or place.whole, beneath=p.beneath or (beneath and not p.whole))
                        for p in reached
                    )
                elif place == _SELF:
                    yield from owner.places
                elif place.kind == "attribute" and place.root != _ANY:
                    for found in objects:
                        yield place if found == _SELF else self._within(found, place)
                else:
                    yield place

        self.reads |= set(translated(summary.reads))
        arguments_changed = [place for place in summary.writes if place.kind == "argument"]
        self.change(_Value(frozenset(translated(arguments_changed))))
        self.writes |= set(translated(summary.writes - set(arguments_changed)))
        self.changes |= set(translated(summary.changes - set(arguments_changed)))
        value = summary.returned
        back = _Value(frozenset(translated(value.places)), frozenset(translated(value.held)), value.kinds)
        for place in value.all:
            if place.kind == "argument":
                given = arguments.get(place.name, _FRESH if arguments else outside)
                given = outside if place.name == _ANY else given
                back |= _Value(frozenset(), given.held, given.kinds, given.methods)
        return back


def _summary(
    index: Index,
    module: Module,
    function: ast.FunctionDef,
    cls: Class | None,
    kinds: Mapping[str, frozenset[Kind]],
) -> _Summary | None:
    """What a function may do, in terms of its ``self`` and its parameters; ``None`` while it is being read."""
    key, memory = ("effects", id(function), id(cls), frozenset(kinds.items())), index.memory
    if key not in memory:
        memory[key] = None
        code = _Code(index, module, None if cls is None else Facts.of(index, cls))
        lineage = () if cls is None else index.lineage(cls)
        code.home = next((c for c in lineage if c.members.get(function.name) is function), None)
        args = function.args
        every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
        names = [argument.arg for argument in every if argument is not None]
        static = any(dotted(decorator) == "staticmethod" for decorator in function.decorator_list)
        own = names[1:] if cls is not None and not static else names
        code.bind_parameters(own)
        for name in kinds.keys() & set(own):
            code.names[name] = replace(code.names[name], kinds=kinds[name])
        if cls is not None and not static and names[:1] != ["self"]:
            code.anything()
        code.settle(function.body)
        if any(isinstance(n, ast.Global | ast.Nonlocal | ast.Yield | ast.YieldFrom) for n in walk(function)):
            code.anything()
        memory[key] = _Summary(frozenset(code.reads), frozenset(code.writes), frozenset(code.changes), code.returned)
    found: _Summary | None = memory[key]
    return found


@dataclass(frozen=True)
class _Summary:
    """What a function may do, and what it may return."""

    reads: frozenset[Place]
    writes: frozenset[Place]
    changes: frozenset[Place]
    returned: _Value


def _is_constant(value: ast.expr) -> bool:
    """Whether a value is a number or a text, or made of such alone."""
    match value:
        case ast.Constant() | ast.JoinedStr() | ast.Compare():
            return True
        case ast.Subscript(value=ast.Attribute(attr="shape"), slice=ast.Constant() | ast.UnaryOp()):
            return True
        case ast.UnaryOp(operand=operand):
            return _is_constant(operand)
        case ast.BinOp(left=left, right=right):
            return _is_constant(left) or _is_constant(right)
        case ast.Call(func=ast.Name("int" | "float" | "bool" | "str" | "len")):
            return True
    return False


def _is_pure(path: str) -> bool:
    return path.partition(".")[0] in PURE_LIBRARIES


def _is_property(facts: Facts, attribute: str) -> bool:
    found = facts.method(attribute)
    if found is None:
        return False
    return any(
        dotted(decorator).rpartition(".")[2] in ("property", "setter", "cached_property")
        for decorator in found[1].decorator_list
    )


def _keeps_code(module: Module, decorator: ast.expr) -> bool:
    """Whether a decorator leaves what a function does as it is, or only remembers what it returned."""
    name = dotted(decorator.func if isinstance(decorator, ast.Call) else decorator)
    head, _, rest = name.partition(".")
    path = module.origin(head, rest) if head else ""
    timms = path.startswith("timm.") and path.rpartition(".")[2] in _TIMM_DECORATORS
    return timms or path in _DECORATORS or path.startswith(("torch.jit.", "torch.compiler.disable"))


_DECORATORS = frozenset(
    {"staticmethod", "classmethod", "functools.lru_cache", "functools.cache"}
    | {"torch.no_grad", "torch.enable_grad", "torch.inference_mode", "torch.fx.wrap"}
)
_TIMM_DECORATORS = frozenset({"register_notrace_function", "register_notrace_module", "disable_compiler"})
