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
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from codegen.model.attached import is_attached, is_given
from codegen.model.decorators import runs_as_written
from codegen.model.effects_of_calls import KEPT, CallEffects, Reader, Summary, beneath
from codegen.model.facts import Facts
from codegen.model.kinds import children_of, kinds_of
from codegen.model.module_kind import CONTAINERS, STATISTICS, TORCHS, Kind, is_of_layers
from codegen.model.object_model import PLAIN, has_trap, is_descriptor, is_property
from codegen.model.outside import Outside
from codegen.model.places import ANY, BOXES, EVERYTHING, FRESH, SELF, Place, Value, root_of
from codegen.model.purity import changes_in_place, is_library, is_pure, works_in_place
from codegen.model.shared_state import is_listened_to, only_logs
from codegen.model.special import ARITHMETIC, COMPARISON, CONTEXT, ITEMS, KEYS, STORING, TEXT, TRUTH
from codegen.source.imports import imports
from codegen.source.index import Class, Index, Module
from codegen.syntax.dataflow import dotted
from codegen.syntax.parameters import defaults_of
from codegen.syntax.walking import walk, walk_for

_INSIDES = frozenset(
    {"__defaults__", "__kwdefaults__", "__globals__", "__closure__", "__code__", "__self__", "__func__"}
)
"""What functions are made of: by these, code gets at what others read and keep."""
_MEASURES = frozenset({"shape", "ndim", "dtype", "device"})
"""What is asked of a tensor and cannot be changed in place: numbers, and tuples of them."""

_T = TypeVar("_T")

_LATER = (ast.Lambda, ast.FunctionDef, ast.AsyncFunctionDef, ast.GeneratorExp)
"""What sees the variables around it whenever it runs."""


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


def effects(
    facts: Facts,
    statements: Sequence[ast.stmt],
    parameters: Iterable[str] = (),
    before: Effects | None = None,
    *,
    reader: Reader | None = None,
) -> Effects:
    """What statements of a method may read and write.

    Args:
        facts: The model's class.
        statements: They may return and loop.
        parameters: Parameters of the method that they may read.
        before: What statements that run before them do, for the variables that these bind.
        reader: Says what the methods and functions that they call do to what they are given; else all that these may
            do counts, and what cannot be read may do anything.
    """
    return effects_in(facts.index, facts.cls.module, facts, statements, parameters, before, reader)


def effects_in(
    index: Index,
    module: Module,
    facts: Facts | None,
    statements: Sequence[ast.stmt],
    parameters: Iterable[str] = (),
    before: Effects | None = None,
    reader: Reader | None = None,
    home: Class | None = None,
) -> Effects:
    """What statements of any function may read and write: of a method of the class ``home``, or of a file."""
    values = {} if before is None else before.values
    kept = _apart if reader is None else lambda value: value
    known = {name: kept(value) for name, value in values.items() if isinstance(value, Value)}
    code = _Code(index, module, facts, known, home=home, reader=reader)
    code.bind_parameters(parameters)
    code.settle(statements)
    reads, writes, changes = (frozenset(map(_rooted, found)) for found in (code.reads, code.writes, code.changes))
    names = {name: frozenset(map(_rooted, value.all)) for name, value in code.names.items()}
    again = frozenset(map(_rooted, code.kept_and_changed))
    writes, changes = writes | again, changes | again
    return Effects(reads, writes, changes, names, dict(code.names))


def _apart(value: Value) -> Value:
    """What code that cannot be read gave is taken to be no part of what it was given."""
    places, held = (frozenset(p for p in found if not p.whole) for found in (value.places, value.held))
    return value._replace(places=places, held=held)


def _rooted(place: Place) -> Place:
    """A place as the model sees it, by way of an attribute of its own."""
    if place == SELF:
        return EVERYTHING
    return place._replace(root=place.name) if place.kind == "attribute" and not place.root else place


class _Code(CallEffects):
    """One function that is read, or the statements of a method."""

    def bind_parameters(self, parameters: Iterable[str]) -> None:
        self.names |= {name: Value(frozenset({Place("argument", name)})) for name in parameters}

    def settle(self, statements: Sequence[ast.stmt], *, once: bool = True) -> None:
        """Read statements until the variables hold nothing new.

        Args:
            statements: They run in this order.
            once: Whether they do so once, so that ``x = ...`` among them leaves nothing of what ``x`` was.
        """
        if not once or any(True for statement in statements for _ in walk_for(statement, *_LATER)):
            self._until_settled(partial(self.block, statements))
            return
        for statement in statements:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self.names[name] = self._until_settled(partial(self.of, value))
                case _:
                    self._until_settled(partial(self.statement, statement))

    def _until_settled(self, read: Callable[[], _T]) -> _T:
        self.repeats = False
        while True:
            before = dict(self.names), self.returned
            last = read()
            if not self.repeats or (dict(self.names), self.returned) == before:
                return last

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
                self.operate(old, ARITHMETIC)
                self.change(old._replace(places=frozenset(p for p in old.places if not self._is_number(p))))
                self.bind(target, (old | given)._replace(places=old.places) if "box" in old.kinds else old)
            case ast.For(target=target, iter=iterable, body=body, orelse=orelse):
                self.repeats = True
                self.bind_elements(target, iterable)
                self.block([*body, *orelse])
            case ast.If(test=test, body=body, orelse=orelse) | ast.While(test=test, body=body, orelse=orelse):
                self.repeats |= isinstance(node, ast.While)
                self.operate(self.of(test), TRUTH)
                self.block([*body, *orelse])
            case ast.With(items=items, body=body):
                for item in items:
                    given = self.of(item.context_expr)
                    self.operate(given, CONTEXT)
                    if item.optional_vars is not None:
                        self.bind(item.optional_vars, given)
                self.block(body)
            case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=finalbody):
                self.block([*body, *(s for handler in handlers for s in handler.body), *orelse, *finalbody])
            case ast.Return(value=value) | ast.Expr(value=value):
                given = FRESH if value is None else self.of(value)
                if isinstance(node, ast.Return):
                    self.returned |= given
            case ast.Raise(exc=exc, cause=cause):
                for value in (exc, cause):
                    if value is not None:
                        self.of(value)
            case ast.Assert(test=test):
                self.operate(self.of(test), TRUTH)
            case ast.FunctionDef(name=name, args=args, body=body, decorator_list=[]):
                self.bind_name(name, self.inner(args, body))
            case ast.Delete(targets=targets):
                for target in targets:
                    if not isinstance(target, ast.Name):
                        self.bind(target, FRESH)
            case ast.Import() | ast.ImportFrom():
                found = imports(node, self.module.path)
                if any(works_in_place(origin.path) for origin in found.values()):  # from operator import iadd
                    self.may_change_anything()
                if any(self._is_users(origin.module) or self._is_users(origin.path) for origin in found.values()):
                    self.anything()  # by names that only this function has, it may get at whatever these files hold
                else:
                    self.imported |= {name: origin.path for name, origin in found.items() if origin.path}
            case ast.Pass() | ast.Break() | ast.Continue():
                pass
            case _:
                self.anything()

    def _is_users(self, path: str) -> bool:
        """Whether a name is that of a file of the user."""
        module = self.index.module(path)
        return module is not None and not module.is_timms

    def bind(self, target: ast.expr, value: Value) -> None:
        match target:
            case ast.Name(id=name):
                self.bind_name(name, value)
            case ast.Attribute(value=owner, attr=attr):
                if self.path_of(owner):  # torch.backends.cudnn.benchmark = ...
                    self.anything()
                held = self.of(owner)
                self.store(held, attr)
                self.keep(owner, held, value)
            case ast.Subscript(value=owner, slice=index):
                held = self.of(owner)
                self.key(index)
                self.operate(held, STORING)
                self.change(held)
                self.keep(owner, held, value)
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                self.operate(value, ITEMS)
                for element in elements:
                    self.bind(element, value.taken)
            case ast.Starred(value=inner):
                self.bind(inner, value.boxed)
            case _:
                self.anything()

    def bind_elements(self, target: ast.expr, iterable: ast.expr) -> None:
        """Bind the target of a loop to each of what it is over."""
        match target, iterable:
            case ast.Tuple(elts=[number, inner]), ast.Call(func=ast.Name("enumerate"), args=[sequence, *_]):
                self.of(iterable)
                self.bind(number, FRESH)
                self.bind_elements(inner, sequence)
            case ast.Tuple(elts=parts), ast.Call(func=ast.Name("zip"), args=sequences) if len(parts) == len(sequences):
                self.of(iterable)
                for part, sequence in zip(parts, sequences, strict=True):
                    self.bind_elements(part, sequence)
            case _:
                self.bind(target, self.elements(iterable))

    def bind_name(self, name: str, value: Value) -> None:
        self.names[name] = self.names.get(name, FRESH) | value

    def put(self, container: ast.expr, value: Value) -> None:
        """Note that what a variable holds may hold something more from now on. A tensor takes a copy."""
        head = next((n.id for n in walk(container) if isinstance(n, ast.Name)), "")
        held = self.names.get(head, FRESH)
        if head != self.receiver and (held.kinds & {"box", "?"} or any(p.kind == "argument" for p in held.places)):
            self.bind_name(head, value.boxed)

    def keep(self, container: ast.expr, held: Value, value: Value) -> None:
        """Note that something is put where other code finds it, or into what is made here."""
        if self.module.is_timms:  # proved by running it, too
            pass
        elif held.places and not all(place.kind == "argument" for place in held.places):
            self.bind_name(KEPT, Value(value.all))
        elif not held.places and held.kinds - BOXES:  # box = Box(); box.tensor = x
            head = next((n.id for n in walk(container) if isinstance(n, ast.Name)), "")
            if head in self.names:
                self.bind_name(head, Value(held=value.all))
        self.put(container, value)

    # Expressions

    def of(self, node: ast.expr) -> Value:
        match node:
            case ast.Constant():
                return FRESH
            case ast.Name(id=name):
                return self.name(name)
            case ast.Attribute(value=owner, attr=attr):
                return self.attribute(node, owner, attr)
            case ast.Subscript(value=owner, slice=index):
                self.key(index)
                held = self.of(owner)
                self.look_up(held)
                self.operate(held, ITEMS)
                return self.inside(held)
            case ast.Call():
                return self.call(node)
            case ast.BinOp(left=left, op=op, right=right):
                both = self.of(left) | self.of(right)
                self.operate(both, ARITHMETIC)
                if isinstance(op, ast.Mod):  # "%r" % self.note
                    self.operate(both, TEXT)
                    self.operate(both.inside, TEXT)
                if any(isinstance(kind, Class) and self._calculates(kind) for kind in both.kinds):
                    return self.unread(both)
                return both.boxed if "box" in both.kinds and isinstance(op, ast.Add | ast.Mult | ast.BitOr) else FRESH
            case ast.BoolOp(values=values) | ast.Tuple(elts=values) | ast.List(elts=values) | ast.Set(elts=values):
                found = self.all_of(values)
                if isinstance(node, ast.Set):
                    self.operate(found, KEYS)
                if isinstance(node, ast.BoolOp):
                    self.operate(found, TRUTH)
                return found if isinstance(node, ast.BoolOp) else found.boxed
            case ast.Dict(keys=keys, values=values):
                for key in keys:
                    if key is not None:
                        self.key(key)
                return self.all_of([*(key for key in keys if key is not None), *values]).boxed
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self.operate(self.of(test), TRUTH)
                return self.of(body) | self.of(orelse)
            case ast.Compare(left=left, ops=ops, comparators=others):
                given = self.all_of([left, *others])
                if not all(isinstance(op, ast.Is | ast.IsNot) for op in ops):
                    self.operate(given, COMPARISON)
                for asked, other in zip(ops, others, strict=True):
                    if isinstance(asked, ast.In | ast.NotIn):  # goes through an iterator until it is met
                        self.advance(self.of(other))
                return FRESH
            case ast.UnaryOp(op=op, operand=operand):
                given = self.of(operand)
                self.operate(given, TRUTH | ARITHMETIC)
                return given if isinstance(op, ast.UAdd) else FRESH  # +x is x
            case ast.FormattedValue(value=operand):
                self.operate(self.of(operand), TEXT)
                return FRESH
            case ast.JoinedStr(values=values):
                self.all_of(values)
                return FRESH
            case ast.Starred(value=inner):
                return self.elements(inner)
            case ast.Slice(lower=lower, upper=upper, step=step):
                self.all_of([part for part in (lower, upper, step) if part is not None])
                return FRESH
            case ast.NamedExpr(target=target, value=value):
                self.repeats = True  # in a comprehension
                given = self.of(value)
                self.bind(target, given)
                return given
            case ast.Lambda(args=args, body=body):
                return self.inner(args, [ast.Expr(body)])
            case ast.ListComp(generators=generators) | ast.SetComp(generators=generators):
                found = self.comprehension(generators, [node.elt])
                if isinstance(node, ast.SetComp):
                    self.operate(found.inside, KEYS)
                return found
            case ast.GeneratorExp(generators=generators, elt=elt):
                return self.comprehension(generators, [elt])
            case ast.DictComp(generators=generators, key=key, value=value):
                found = self.comprehension(generators, [key, value])
                self.key(key)
                return found
        return self.anything()

    def key(self, node: ast.expr) -> None:
        """An expression is what something is looked up by: its hash or its number is asked for."""
        parts = node.elts if isinstance(node, ast.Tuple) else [node]
        for part in parts:
            bounds = [part.lower, part.upper, part.step] if isinstance(part, ast.Slice) else [part]
            for bound in bounds:
                if bound is not None:
                    self.operate(self.of(bound), KEYS)

    def all_of(self, nodes: Iterable[ast.expr]) -> Value:
        found = FRESH
        for node in nodes:
            found |= self.of(node)
        return found

    def comprehension(self, generators: Sequence[ast.comprehension], results: Sequence[ast.expr]) -> Value:
        for generator in generators:
            self.bind_elements(generator.target, generator.iter)
            self.operate(self.all_of(generator.ifs), TRUTH)
        return self.all_of(results).boxed

    def elements(self, iterable: ast.expr) -> Value:
        """What a loop over an expression may give."""
        given = self.of(iterable)
        self.advance(given)
        self.operate(given, ITEMS)
        return self.inside(given)

    def inside(self, value: Value) -> Value:
        """What may be taken out of a value; of a module that derives from a container what that holds."""
        if "?" in value.kinds:
            self.reads |= set(self.attributes(value, ANY))
        kinds: set[Kind] = set()
        for kind in value.kinds:
            facts = Facts.of(self.index, kind) if isinstance(kind, Class) else None
            holds = facts is not None and facts.torch_parent in CONTAINERS
            kinds |= children_of(facts) if facts is not None and holds else {kind}
        return value.inside._replace(kinds=frozenset(kinds))

    def inner(self, arguments: ast.arguments, body: Sequence[ast.stmt]) -> Value:
        """A function that is made here: it may be called at any time, with anything that there is."""
        self.repeats = True
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        names = [a.arg for a in [*every, *(extra for extra in (arguments.vararg, arguments.kwarg) if extra)]]
        shared = {name: value for name, value in self.names.items() if name not in names}
        # what it does, this function may do
        code = replace(self, names=dict(shared), returned=FRESH, given={}, repeats=False)
        given = self.all_of([d for d in (*arguments.defaults, *arguments.kw_defaults) if d is not None])
        code.names |= dict.fromkeys(names, Value(frozenset({Place("argument", ANY)})) | given)
        code.settle(body, once=False)
        for name, value in code.names.items():
            if name in shared:
                self.bind_name(name, value)
        return (code.returned | self.all_of_names(shared, body))._replace(kinds=frozenset({"inner"})).boxed

    def all_of_names(self, names: Mapping[str, Value], body: Sequence[ast.stmt]) -> Value:
        found = FRESH
        for node in (inner for statement in body for inner in walk(statement)):
            if isinstance(node, ast.Name) and node.id in names:
                found |= names[node.id]
        return found

    def name(self, name: str) -> Value:
        if name == self.receiver and name not in self.names:
            assert self.facts is not None
            return Value(frozenset({SELF}), kinds=frozenset({self.facts.cls}))
        if name in self.names:
            found = self.names[name]
            self.reads |= {place for place in found.all if place.kind == "argument"}
            return found
        return self.of_global(name)

    def of_global(self, name: str) -> Value:
        """A name of the module, or of Python."""
        nodes = self.module.bindings.get(name, [])
        if not nodes and hasattr(builtins, name):
            return FRESH
        cls = self.index.resolve(self.module, name)
        if cls is not None or self.index.function(self.module, name) is not None:
            return Value(frozenset({Place("global", self._full(name), cls)}), kinds=frozenset({"function"}))
        origin = self.module.origin(name)
        if is_library(origin) or (len(nodes) == 1 and self._is_constant(nodes[0])):
            return FRESH
        if any(map(self._is_logger, nodes)) and is_listened_to(self.index):
            return self.anything()
        names = {name} if self.module.is_timms else _other_names(self.module, name)
        places = {Place("global", self._full(each)) for each in names}
        self.reads |= places
        known = self.module.is_timms or all(map(self._is_data, nodes))
        return Value(frozenset(places), kinds=frozenset() if known else frozenset({"?", "function"}))

    def _is_data(self, node: ast.stmt) -> bool:
        """Whether the module binds a name to a tensor, or to a container that Python has."""
        match node:
            case ast.Assign(value=ast.expr() as value) | ast.AnnAssign(value=ast.expr() as value):
                pass
            case _:
                return False
        match value:
            case ast.Call(func=function):
                path = self.path_of(function)
                return path in PLAIN or is_pure(path) or path.startswith("collections.")
            case ast.Constant() | ast.Dict() | ast.List() | ast.Tuple() | ast.Set() | ast.UnaryOp() | ast.BinOp():
                return True
            case ast.ListComp() | ast.DictComp() | ast.SetComp() | ast.JoinedStr():
                return True
        return False

    def _is_constant(self, node: ast.stmt) -> bool:
        """Whether the module binds a name to what nobody can change, or to a logger that it only writes to."""
        match node:
            case ast.Assign(targets=[ast.Name(name)], value=value) if self._is_settled(name):
                match value:
                    case ast.Constant():
                        return True
                    case ast.Call():
                        alone = only_logs(self.module.tree, name) and not is_listened_to(self.index)
                        return self._is_logger(node) and alone
        return False

    def _is_logger(self, node: ast.stmt) -> bool:
        """Whether the module binds a name to a logger."""
        made = node.value if isinstance(node, ast.Assign) else None
        return isinstance(made, ast.Call) and self.path_of(made.func).startswith("logging.")

    def _is_settled(self, name: str) -> bool:
        return self.module.is_settled(name) and (self.module.name, name) not in self.index.rebound_elsewhere

    def _full(self, name: str) -> str:
        return self.module.origin(name) or f"{self.module.name}.{name}"

    def attribute(self, node: ast.Attribute, owner: ast.expr, attr: str) -> Value:
        if self.facts is not None and self.facts.prefix != "self" and dotted(node) == self.facts.prefix:
            return Value(frozenset({SELF}), kinds=frozenset({self.facts.cls}))
        if dotted(node) and is_library(self.path_of(node)):
            if self.reader is not None and works_in_place(self.path_of(node)):  # map(torch.relu_, tensors)
                self.may_change_anything()
            return FRESH
        if attr in _INSIDES or self._is_computed(owner, attr):
            return self.anything()
        if attr in _MEASURES and _is_any_parameter(owner):
            return FRESH
        held = self.of(owner)
        if attr == "__class__":
            return held
        if attr == "__dict__" and SELF not in held.places:  # of a module, perhaps, which holds all that it binds
            self.change_if_asked(held)
            return self.anything()
        if not held.places:
            of_class = frozenset(self._of_classes(held, attr))
            self.reads |= of_class
            found = Value(of_class | held.held, held.held)
            for kind in held.kinds:  # a property runs, and may change what the object holds
                if isinstance(kind, Class) and is_property(Facts.of(self.index, kind), attr):
                    found |= self._attribute_of(held._replace(places=held.held), kind, attr, frozenset())
            return found
        places = frozenset(self.attributes(held, attr))
        found = Value()
        for kind in held.kinds or {""}:
            found |= self._attribute_of(held, kind, attr, places)
        return found

    def _is_computed(self, owner: ast.expr, attr: str) -> bool:
        """Whether a file of the user gives the attribute by a function of its own, ``__getattr__``."""
        module = self.index.module(self.path_of(owner)) if dotted(owner) else None
        return module is not None and "__getattr__" in module.bindings and attr not in module.bindings

    def _of_classes(self, held: Value, attr: str) -> Iterator[Place]:
        """Where the attribute of an object that is made here is kept, if its class has it and not the object."""
        for facts in (Facts.of(self.index, kind) for kind in held.kinds if isinstance(kind, Class)):
            if attr not in facts.values and facts.has_member(attr) and facts.method(attr) is None:
                owner = next(cls for cls in facts.lineage if attr in cls.members)
                yield Place("attribute", attr, owner, ANY)

    def _attribute_of(self, held: Value, kind: Kind, attr: str, places: frozenset[Place]) -> Value:
        """What an attribute of an object of one class may be."""
        if not isinstance(kind, Class):
            self.reads |= places
            if changes_in_place(attr):  # of a list or tensor, handed on for another to call: map(self.seen.append, ...)
                self.change(held)
            if kind in TORCHS:  # self.norm.weight
                self.reads |= set(beneath(held.places))
            if kind == STATISTICS:  # self.bn.running_mean
                self.reads |= {Place(kind, place.name) for place in held.places}
            if attr in _MEASURES and ((not kind and self.module.is_timms) or self.reader is not None):
                return FRESH
            return Value(places, held.held, frozenset({"?"}) if kind == "?" else frozenset())
        facts = Facts.of(self.index, kind)
        if has_trap(facts) or is_descriptor(self.index, facts, attr):
            return self.anything()
        found = facts.method(attr)
        if found is not None and (attr not in facts.values or is_property(facts, attr)):
            if is_property(facts, attr):
                value = FRESH
                for function in found[0].node.body:  # by one name, what reads it and what binds it
                    if isinstance(function, ast.FunctionDef) and function.name == attr:
                        value |= self.run(found[0].module, function, kind, held, {}, [])
                if any("cached" in dotted(decorator) for decorator in found[1].decorator_list):
                    self.reads |= places  # it is kept from then on
                    self.writes |= places
                    value |= Value(places)
                return value
            if not runs_as_written(found[0].module, found[1]):
                return self.anything()
            roots = {root_of(place) for place in held.places}
            methods = frozenset((facts, found[1], found[0].module, root) for root in roots)
            return Value(held=held.places, methods=methods)
        if attr not in facts.values and facts.has_member(attr):  # of the class, not of the object
            owner = next(cls for cls in facts.lineage if attr in cls.members)
            places = frozenset(place._replace(root=ANY, owner=owner) for place in places)
        places |= _globals_in(facts, attr)
        self.reads |= places
        return Value(places, kinds=kinds_of(facts, attr))

    def _calculates(self, cls: Class) -> bool:
        """Whether an object of a class may be added to others, or the like: a tensor may be meant otherwise."""
        memory, key = self.index.memory, ("calculates", cls)
        if key not in memory:
            facts = Facts.of(self.index, cls)
            attached = any(is_attached(self.index, facts.lineage, name) for name in ARITHMETIC)
            memory[key] = bool(facts.special & ARITHMETIC) or attached or has_trap(facts) or not facts.is_readable
        found: bool = memory[key]
        return found

    def summary(
        self, module: Module, function: ast.FunctionDef, cls: Class | None, kinds: Mapping[str, frozenset[Kind]]
    ) -> Summary | None:
        return _summary(self.index, module, function, cls, kinds)


def _is_any_parameter(node: ast.expr) -> bool:
    """Whether an expression is ``next(self.parameters())``, of which code asks the device of the model."""
    match node:
        case ast.Call(func=ast.Name("next"), args=[ast.Call(func=ast.Attribute(attr="parameters"), args=[])]):
            return True
    return False


def _globals_in(facts: Facts, attribute: str) -> frozenset[Place]:
    """The globals of a user's modules that an attribute may be another name of: ``self.context = CONTEXT``.

    What code gives objects of other classes, or these classes, may be one object for all.
    """
    memory, key = facts.index.memory, ("globals in", id(facts.cls), attribute)
    if key not in memory:
        memory[key] = _find_globals_in(facts, attribute)
    known: frozenset[Place] = memory[key]
    return known


def _find_globals_in(facts: Facts, attribute: str) -> frozenset[Place]:
    found: set[Place] = set()
    for value in facts.values.get(attribute, ()):
        home = facts.home(value)
        if not home.module.is_timms:
            defaults = defaults_of(home.constructor.args) if home.constructor is not None else {}
            found.update(_globals_of(facts.index, home.module, value, home.constructor_names, defaults))
    for cls in facts.lineage:
        member = None if cls.module.is_timms else cls.members.get(attribute)
        if isinstance(member, ast.Assign):  # class Part: store = STORE
            found.update(_globals_of(facts.index, cls.module, member.value, (), {}))
    if is_given(facts.index, facts.lineage, attribute):
        found.add(Place("global", f"{attribute} of any object"))
    for given in Outside.of(facts.index).stored.get(attribute, ()):
        defaults = defaults_of(given.function.args) if given.function is not None else {}
        found.update(_globals_of(facts.index, given.module, given.value, (), defaults))
    return frozenset(found)


def _globals_of(
    index: Index, module: Module, value: ast.expr, own: Collection[str], defaults: Mapping[str, ast.expr]
) -> Iterator[Place]:
    """The globals that an expression hands on.

    Args:
        index: The files.
        module: Where it stands.
        value: It.
        own: Variables of the function that it stands in.
        defaults: What parameters of that are by default.
    """
    called = {id(n) for call in walk(value) if isinstance(call, ast.Call) for n in walk(call.func)}
    for node in (node for node in walk(value) if dotted(node)):
        head = dotted(defaults.get(dotted(node), node)).partition(".")[0]
        if id(node) in called and is_of_layers(index, module.origin(head)):
            continue  # what it makes is new
        nodes = module.bindings.get(head, []) if head not in own else []
        if nodes and not any(isinstance(n, ast.FunctionDef | ast.ClassDef) for n in nodes):
            origin = module.origin(head)
            known = index.resolve(module, head) or index.function(module, head)
            if not is_library(origin) and known is None and not _is_plain(nodes):
                yield Place("global", origin or f"{module.name}.{head}")


def _other_names(module: Module, name: str) -> set[str]:
    """The globals of a module that may be, or hold, what one of them does: ``A = B = {}``, ``A = B``, ``A = [B]``."""
    groups = []
    for node in module.tree.body:
        if isinstance(node, ast.Assign):
            given = {n.id for n in walk(node.value) if isinstance(n, ast.Name) and n.id in module.bindings}
            objects = {n for n in given if all(isinstance(b, ast.Assign | ast.AnnAssign) for b in module.bindings[n])}
            groups.append(objects.union(n.id for t in node.targets for n in walk(t) if isinstance(n, ast.Name)))
    found = {name}
    while more := [group for group in groups if group & found and not group <= found]:
        found.update(*more)
    return found


def _is_plain(nodes: Sequence[ast.stmt]) -> bool:
    """Whether a name is bound to a number or a text."""
    return all(isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) for node in nodes)


def _summary(
    index: Index,
    module: Module,
    function: ast.FunctionDef,
    cls: Class | None,
    kinds: Mapping[str, frozenset[Kind]],
) -> Summary | None:
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
            code.names[name] = code.names[name]._replace(kinds=kinds[name])
        if cls is not None and not static and names[:1] != ["self"]:
            code.anything()
        code.settle(function.body)
        if any(True for _ in walk_for(function, ast.Global, ast.Nonlocal, ast.Yield, ast.YieldFrom)):
            code.anything()
        kept = code.kept_and_changed
        memory[key] = Summary(
            frozenset(code.reads),
            frozenset(code.writes) | kept,
            frozenset(code.changes) | kept,
            code.returned,
            code.names.get(KEPT, FRESH).places,
        )
    found: Summary | None = memory[key]
    return found
