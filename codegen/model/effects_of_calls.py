"""What calls may read and write: of methods, functions and modules of the release, of torch, of what cannot be read."""

from __future__ import annotations

import ast
import builtins
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from codegen.model.attached import is_attached
from codegen.model.decorators import called, keeps_code, remembers, runs_as_written
from codegen.model.facts import Facts
from codegen.model.first_layers import leaves_alone
from codegen.model.in_place_layers import changes_its_input
from codegen.model.kinds import children_of, kinds_of
from codegen.model.library import (
    ALLOCATING_FUNCTIONS,
    ALLOCATING_METHODS,
    IN_PLACE_METHODS,
    IN_PLACE_MODULES,
    MODULE_METHODS,
    MUTATING_METHODS,
    PURE_BUILTINS,
    PURE_METHODS,
    READING_MODULE_METHODS,
    TAKING_BUILTINS,
    TENSOR_METHODS,
    TORCH_HANDING_ON,
    TORCH_STATISTICS,
)
from codegen.model.makers import is_sequential
from codegen.model.making import Making
from codegen.model.module_kind import CONTAINERS, IN_PLACE, STATISTICS, TORCHS, Function, Kind
from codegen.model.neighbours import files_seen_by, keeping_operations, shares_state
from codegen.model.object_model import (
    has_trap,
    is_descriptor,
    is_made_by_its_constructor,
    is_operated_on,
    is_property,
    may_be_called_by_torch,
)
from codegen.model.outside import Outside
from codegen.model.places import ANY, BOXES, EVERYTHING, FRESH, MODE, SELF, Place, Value, root_of
from codegen.model.purity import (
    changed_arguments,
    changes_in_place,
    changes_what_it_is_given,
    is_library,
    is_pure,
    is_told_in_place,
    may_be_told_in_place,
    sets_mode,
)
from codegen.model.sharing import is_aliased
from codegen.model.special import ASKED, CONTEXT, EVERY, INSIDE, ITEMS
from codegen.source.imports import imports
from codegen.source.index import Class, Index, Module
from codegen.syntax.dataflow import dotted
from codegen.syntax.parameters import defaults_of, positional_names

CONSUMERS = frozenset(
    {"all", "any", "dict", "enumerate", "filter", "frozenset", "list", "map", "max", "min", "set", "sorted", "sum"}
    | {"tuple", "zip"}
)
"""Functions of Python that loop over what they are given, at once or later."""
_KNOWN_LIBRARIES = frozenset({"torch", "numpy"}) | sys.stdlib_module_names
"""Those whose functions are known: one that is not may do anything to what it is given."""
_ASKING = frozenset({"callable", "id", "type", "isinstance", "issubclass"})
"""Functions of Python that look at what they are given, and run nothing of it."""


KEPT = "<kept>"
"""Stands for a variable that holds what was put where other code finds it: on the model, in a global."""


@dataclass(frozen=True)
class Summary:
    """What a function may do, and what it may return."""

    reads: frozenset[Place]
    writes: frozenset[Place]
    changes: frozenset[Place]
    returned: Value
    kept: frozenset[Place] = frozenset()  # what it puts where other code finds it


class Handed(NamedTuple):
    """What a function does to what it is given, by the names of its parameters.

    Attributes:
        changed: Those that it changes in place.
        returned: Those that it may give back as they are, or a view of them.
    """

    changed: frozenset[str] = frozenset()
    returned: frozenset[str] = frozenset()


Reader = Callable[[Module, ast.FunctionDef, "Class | None", Mapping[str, frozenset[Kind]]], Handed]
"""Says what a function does to parameters of some kinds, which is ``self`` of a class, if it is a method."""


@dataclass(eq=False)
class CallEffects(ABC):
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
    names: dict[str, Value] = field(default_factory=dict)
    reads: set[Place] = field(default_factory=set)
    writes: set[Place] = field(default_factory=set)
    changes: set[Place] = field(default_factory=set)
    returned: Value = FRESH
    home: Class | None = None
    given: dict[ast.expr, Value] = field(default_factory=dict)  # what calls were passed, each argument read once
    ran: dict[Hashable, Value] = field(default_factory=dict)  # what ran, by what it was given: again, it does no more
    imported: dict[str, str] = field(default_factory=dict)  # what the code itself imports, by its full names
    reader: Reader | None = None  # who says what functions do to what they are given; else all that they may do counts
    repeats: bool = False  # whether what is bound late may be read by what stands before it

    @property
    def receiver(self) -> str:
        """The name of the object whose method it is; empty for a function."""
        return "self" if self.facts is not None else ""

    @abstractmethod
    def of(self, node: ast.expr) -> Value:
        """What an expression may give."""

    @abstractmethod
    def all_of(self, nodes: Iterable[ast.expr]) -> Value:
        """What any of some expressions may give."""

    @abstractmethod
    def name(self, name: str) -> Value:
        """What a variable may hold, or a name of the module or of Python."""

    @abstractmethod
    def attribute(self, node: ast.Attribute, owner: ast.expr, attr: str) -> Value:
        """What an attribute of what an expression gives may be."""

    @abstractmethod
    def inside(self, value: Value) -> Value:
        """What may be taken out of a value."""

    @abstractmethod
    def put(self, container: ast.expr, value: Value) -> None:
        """Note that what a variable holds may hold something more from now on."""

    @abstractmethod
    def summary(
        self, module: Module, function: ast.FunctionDef, cls: Class | None, kinds: Mapping[str, frozenset[Kind]]
    ) -> Summary | None:
        """What a function may do for parameters of some kinds; ``None`` while it is being read."""

    @abstractmethod
    def keep(self, container: ast.expr, held: Value, value: Value) -> None:
        """Note that something is put where other code finds it."""

    @property
    def kept_and_changed(self) -> frozenset[Place]:
        """What was put where other code finds it, if anything was changed that was found in such a place."""
        kept = self.names.get(KEPT, FRESH).places
        return kept if any(place.kind != "argument" for place in self.changes) else frozenset()

    # Effects

    def anything(self) -> Value:
        """Code that is not understood, which has everything at hand."""
        self.reads.add(EVERYTHING)
        self.writes.add(EVERYTHING)
        return Value(frozenset({EVERYTHING}), kinds=frozenset({"?"}))

    def change(self, value: Value) -> None:
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

    def operate(self, value: Value, methods: frozenset[str]) -> None:
        """An operation of Python is applied to a value, which the methods of its class may make anything of."""
        if "box" in value.kinds and not value.places:  # a list of such objects
            value, methods = value.inside, methods & INSIDE
        for kind in value.kinds:
            if isinstance(kind, Class):
                facts = Facts.of(self.index, kind)
                for name in facts.special & methods:
                    self._special(facts, name, value)
                if methods == CONTEXT and "__enter__" not in facts.special:
                    self.anything()  # a library's context, which may run what the class overrides
        for owner in (place.owner for place in value.places if place.kind == "global" and place.owner is not None):
            if is_operated_on(Facts.of(self.index, owner), methods):
                self.anything()
        unknown = value.kinds & {"?", "function"} and not self.module.is_timms
        if unknown and not methods.isdisjoint(keeping_operations(self.index, self.module)):
            self.anything()

    def _special(self, facts: Facts, name: str, value: Value) -> None:
        self.reads |= set(beneath(value.places))
        found = facts.method(name)
        if has_trap(facts) or found is None or not runs_as_written(found[0].module, found[1]):
            self.anything()
            self.change_if_asked(value)
        else:
            self.run(found[0].module, found[1], facts.cls, value, {}, [value])

    def change_if_asked(self, value: Value) -> None:
        """What is not read may change a value in place, and what that holds, if that is what a reader asks."""
        if self.reader is not None:
            self.change(Value(value.all))

    def unread(self, *given: Value) -> Value:
        """Code that cannot be read is given some values."""
        places = frozenset(
            place.opened(beneath=place.beneath or (bool(value.kinds - BOXES) and not place.whole))
            for value in given
            for place in value.all
        )
        if any(value.methods or "function" in value.kinds for value in given):
            places |= {EVERYTHING}
        self.reads |= places
        self.writes |= places
        return Value(places, kinds=frozenset({"?"}))

    def advance(self, value: Value) -> None:
        """A loop goes over a value: an iterator that is kept is further on after it."""
        self._use(value, _is_iterator)

    def look_up(self, value: Value) -> None:
        """Something is taken out of a value by its key, which a ``defaultdict`` puts there first."""
        self._use(value, _is_defaultdict)

    def _use(self, value: Value, changes: Callable[[ast.expr], bool]) -> None:
        for place in value.places:
            if any(changes(node) for node in self._made(place)):
                self.change(value._replace(places=frozenset({place})))

    def _made(self, place: Place) -> Iterable[ast.expr]:
        """What is kept in a place from the beginning."""
        if place.kind == "attribute" and place.owner is not None and not place.whole:
            return Facts.of(self.index, place.owner).values.get(place.name, ())
        path, _, name = place.name.rpartition(".")
        module = self.index.module(path) if place.kind == "global" else None
        bound = module.bindings.get(name, ()) if module is not None else ()
        return [node.value for node in bound if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None]

    def unread_module(self, module: Value, *given: Value) -> Value:
        """A module whose code cannot be read is given some values: it has those, and all that it holds."""
        inside = frozenset(p if p.whole else p.opened(beneath=True) for p in module.all)
        self.reads |= inside
        self.writes |= inside
        return self.unread(*given) | Value(inside)

    def store(self, owner: Value, attr: str) -> None:
        """An attribute of an object is bound."""
        if self.reader is not None and not owner.kinds & {"box", "boxes"}:  # x.data = ...
            self.change(Value(frozenset(place for place in owner.places if place.kind == "argument")))
        self.writes |= set(self.attributes(owner, attr))
        if owner.kinds & TORCHS:
            self.writes |= set(beneath(owner.places))
        for cls in owner.kinds:
            if isinstance(cls, Class):
                facts = Facts.of(self.index, cls)
                if has_trap(facts) or is_property(facts, attr) or is_descriptor(self.index, facts, attr):
                    self.anything()
                    self.change_if_asked(owner)

    def attributes(self, owner: Value, attr: str) -> Iterator[Place]:
        """The places of an attribute of an object."""
        classes = [kind for kind in owner.kinds if isinstance(kind, Class)]
        for place in owner.places:
            if place.kind != "attribute":
                of_class = place.kind == "global" and place.owner is not None
                yield Place("attribute", attr, place.owner, ANY) if of_class else place
                continue
            root = root_of(place)
            for cls in classes:
                yield Place("attribute", attr, cls, root)
            if _UNREAD & owner.kinds:  # of what unread code gave, what it was given may hold
                yield place if place.whole and place.beneath else Place("attribute", attr, None, root)
            if not owner.kinds or owner.kinds & TORCHS:
                yield place  # of a tensor

    # Calls

    def call(self, call: ast.Call) -> Value:
        given = FRESH
        for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
            self.given[argument] = self.of(argument)
            given |= self.given[argument]
        for keyword in call.keywords:
            if keyword.arg == "generator":  # of random numbers, which goes on to the next ones
                self.change(self.given[keyword.value])
            if keyword.arg == "out" and self.reader is not None:
                self.change(self.given[keyword.value].inside)
        if self.reader is not None and is_told_in_place(call):
            self.change(given.inside)
            if not given.all:  # act = partial(F.relu, inplace=True)
                return self._called(call, given) | Value(kinds=frozenset({IN_PLACE}))
        return self._called(call, given)

    def _called(self, call: ast.Call, given: Value) -> Value:
        function = call.func
        if dotted(function).partition(".")[0] in self.imported:
            return self.library(self.path_of(function), call, given)
        if isinstance(function, ast.Name) and function.id not in self.names:
            return self.call_global(function.id, call, given)
        path = self.path_of(function)
        if path and (self.index.function(self.module, dotted(function)) or not isinstance(function, ast.Attribute)):
            return self.call_global(dotted(function), call, given)
        if path:
            return self.library(path, call, given)
        match function:  # getattr(torch, "set_grad_enabled")(True)
            case ast.Call(func=ast.Name("getattr"), args=[library, ast.Constant(str(attr)), *_]) if (
                path := self.path_of(library)
            ):
                return self.library(f"{path}.{attr}", call, given)
        if isinstance(function, ast.Attribute) and not self._is_inner_model(function):
            if self.reader is not None and function.attr == "apply":  # of an autograd function
                static = self._static(ast.Attribute(function.value, "forward", ast.Load()))
                if static is not None:
                    module, node, cls = static
                    return self.run(module, node, cls, FRESH, self._by_name(node, call, 1), [given])
            if isinstance(function.value, ast.Call) and dotted(function.value.func) == "super":
                return self.of_parent(function.attr, call, given)
            owner = self.of(function.value)
            static = self._static(function) if "function" in owner.kinds else None
            if static is not None:
                module, node, cls = static
                return self.run(module, node, cls, FRESH, self._by_name(node, call, 0), [given])
            if not owner.methods:
                return self.method(owner, function, call, given)
        return self.run_value(self.of(function), call, given)

    def may_change_anything(self) -> None:
        """Code runs of which it is not known that it leaves alone what it is given."""
        if self.reader is not None:
            self.change(Value(frozenset({Place("argument", ANY)})))

    def _call_bound(self, bound: Iterable[tuple[Module, ast.AST]], given: Value) -> None:
        """A name is called, or what it holds, that may be bound to what works in place."""
        if self.reader is not None and any(changes_what_it_is_given(*each) for each in bound):
            self.change(given.inside)

    def _static(self, function: ast.Attribute) -> tuple[Module, ast.FunctionDef, Class] | None:
        """The function that a class holds, ``Windows.partition``, and where it stands."""
        name = dotted(function.value)
        cls = None if name.partition(".")[0] in self.names else self.index.resolve(self.module, name)
        found = None if cls is None else Facts.of(self.index, cls).method(function.attr)
        if cls is None or found is None or [dotted(d) for d in found[1].decorator_list] != ["staticmethod"]:
            return None
        return found[0].module, found[1], cls

    def _is_inner_model(self, function: ast.expr) -> bool:
        return self.facts is not None and self.facts.prefix != "self" and dotted(function) == self.facts.prefix

    def path_of(self, node: ast.expr) -> str:
        """The full name of what an expression imports; empty for what is no import."""
        head, _, rest = dotted(node).partition(".")
        if head in self.imported:
            return ".".join(filter(None, [self.imported[head], rest]))
        if not head or head in self.names or (head == self.receiver):
            return ""
        imported = self.module.import_of(head) is not None or head not in self.module.bindings
        return self.module.origin(head, rest) if imported else ""

    def call_global(self, name: str, call: ast.Call, given: Value) -> Value:
        """A function or class of the release is called, one of Python's, or one of a library."""
        if sets_mode(self.path_of(call.func)):
            return self.anything()
        found = self.index.function(self.module, name)
        if found is not None:
            module, function = found
            place = Value(frozenset({Place("global", f"{module.name}.{function.name}")}))
            if runs_as_written(module, function):
                return self.run(module, function, None, FRESH, self._by_name(function, call, 0), [given])
            return self._decorated(module, function, None, place, given)
        home, local = self._home(name)
        several = home.bindings.get(local, ())
        match several:
            case [ast.Assign(value=ast.Call(func=ast.Name(id=maker)))] if f := self.index.function(home, maker):
                return self.run(*f, None, FRESH, {}, [given]) | given  # to_2tuple = _ntuple(2)
        if several and all(self._is_harmless(home, node, local) for node in several):  # try: from torch import _assert
            return FRESH if local in ALLOCATING_FUNCTIONS else Value(given.all, given.held)
        self._call_bound(((home, node) for node in several), given)
        cls = self.index.resolve(self.module, name)
        if cls is not None:
            facts = Facts.of(self.index, cls)
            if not is_made_by_its_constructor(facts):
                return self.anything()
            if facts.has_member("__del__"):
                self.change_if_asked(given)
            constructor = facts.method("__init__")
            if constructor is not None and not runs_as_written(constructor[0].module, constructor[1]):
                return self.anything()
            if constructor is not None:
                self.run(
                    constructor[0].module, constructor[1], cls, FRESH, self._by_name(constructor[1], call, 1), [given]
                )
            return given.boxed._replace(kinds=frozenset({cls}))
        if name in self.module.bindings or "*" in self.module.bindings:
            return self.library(self.path_of(call.func), call, given)
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
            summary = self.summary(module, node, None, {})
            return summary is not None and not summary.writes
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            return True  # except ImportError: fused = None
        found = imports(node, module.path).get(name)
        return found is not None and is_pure(f"{found.module}.{found.name}")

    def builtin(self, name: str, call: ast.Call, given: Value) -> Value:
        match name, call.args:
            case "getattr", [owner, ast.Constant(str(attr)), *others]:
                return self.attribute(ast.Attribute(owner, attr, ast.Load()), owner, attr) | self.all_of(others)
            case "hasattr", [owner, ast.Constant(str(attr))]:
                self.attribute(ast.Attribute(owner, attr, ast.Load()), owner, attr)
                return FRESH
            case "setattr", [owner, ast.Constant(str(attr)), value]:
                self.store(self.of(owner), attr)
                self.keep(owner, self.of(owner), self.of(value))
                return FRESH
            case "getattr", [owner, *_]:
                held = self.of(owner)
                places = frozenset(p._replace(whole=True) for p in self.attributes(held, ANY))
                self.reads |= places
                if self.path_of(owner):  # getattr(torch, name)
                    self.may_change_anything()
                return Value(places, kinds=frozenset({"?"}))
            case "super", []:
                return self.name(self.receiver) if self.receiver else self.anything()
        if name == "next":  # of an iterator that may be kept
            self.operate(given, ITEMS)
            self.change(given)
            return given.inside
        if name in CONSUMERS:
            for argument in call.args:
                self.advance(self.of(argument))
        if name in PURE_BUILTINS:
            if name in _ASKING:
                self.operate(given.inside, ASKED)
            else:
                self.operate(given, EVERY)
                self.operate(given.inside, EVERY)
                if given.methods or "function" in given.kinds:
                    return self.anything()  # map(self.note, ...)
                if name in ("map", "filter") and "?" in given.kinds and not self.module.is_timms:
                    return self.unread(given)
            if name == "type" and len(call.args) == 1:  # what an object's class has, it has
                return given
            if name in ("len", "isinstance", "callable", "id"):
                return FRESH
            return given.inside if name in TAKING_BUILTINS else given.boxed
        if name in ("print", "vars", "dir"):
            self.operate(given.inside, EVERY)
            for keyword in call.keywords:
                if keyword.arg == "file":
                    self.change(self.given[keyword.value])
            self.reads |= {place._replace(whole=True) for place in given.all}
            return given if name == "vars" else FRESH
        if isinstance(getattr(builtins, name, None), type) and issubclass(getattr(builtins, name), BaseException):
            return given
        return self.anything()

    def library(self, path: str, call: ast.Call, given: Value) -> Value:
        """A function of a library is called."""
        if path.endswith(("utils.checkpoint.checkpoint", "utils.checkpoint.checkpoint_sequential")) and call.args:
            return self.run_value(self.of(call.args[0]), call, given) | given
        name = path.rpartition(".")[2]
        if sets_mode(path) or (path == "importlib.import_module" and not self.module.is_timms):
            return self.anything()
        if path == "operator.methodcaller" and self.reader is not None:
            method = call.args[0] if call.args else None
            if not isinstance(method, ast.Constant) or changes_in_place(str(method.value)):
                self.may_change_anything()
        seen = call
        if self.reader is not None and not may_be_told_in_place(path):  # **options may hold `out`
            seen = ast.Call(call.func, call.args, [k for k in call.keywords if k.arg is not None])
        for argument in changed_arguments(path, seen):
            self.change(self.given[argument].inside)
        if is_pure(path):
            self.operate(given, EVERY)
            if given.methods or "function" in given.kinds:
                return self.unread(given)
            return FRESH if name in ALLOCATING_FUNCTIONS else self._made_of(path, call, given)
        if self.reader is not None:  # functional_call(self.act, {}, (x,)), vmap(self.act)(x)
            if path.partition(".")[0] in _KNOWN_LIBRARIES:
                self._change_given(call)
            for argument in call.args:
                if self.given[argument].kinds - BOXES:
                    self.run_value(self.given[argument], call, given.inside)
        self.operate(given.inside, EVERY)
        return self.unread(given, Value(frozenset({Place("global", path.partition(".")[0] or ANY)})))

    def _change_given(self, call: ast.Call) -> None:
        """What a call passes is changed, but for the dictionary of ``**options``, which is copied."""
        for argument in call.args:
            self.change(self.given[argument].inside)
        for keyword in call.keywords:
            value = self.given[keyword.value]
            self.change(value.inside if keyword.arg is not None else Value(value.held))

    def _made_of(self, path: str, call: ast.Call, given: Value) -> Value:
        """What a library makes of what it is given: a view of a tensor, a module of torch."""
        name = path.removeprefix("torch.nn.")
        if name == path or "." in name or not name[:1].isupper() or self.reader is None or self.facts is None:
            return Value(given.all, given.held)
        making = Making(self.facts, self.module, {name: [] for name in self.names}, kinds_of)
        kinds = frozenset(making.of(call))
        if IN_PLACE in kinds and name in CONTAINERS:
            first = {kind for argument in call.args[:1] for kind in making.of(argument)} or {"?"}
            if any(isinstance(argument, ast.Starred) for argument in call.args[:1]) or first - {"torch", STATISTICS}:
                self.may_change_anything()
        return Value(given.all, given.held, kinds)

    def of_parent(self, name: str, call: ast.Call, given: Value) -> Value:
        """``super().name(...)`` in a method of the class ``home``."""
        if self.facts is None or self.home is None:
            return self.anything()
        if is_attached(self.index, self.facts.lineage, name):
            return self.anything()
        found = self.facts.inherited(self.home, name)
        if found is None and name in ("forward", "__call__") and self.facts.torch_parent:
            if self.facts.torch_parent != "Sequential":
                return self._run_torch(self.name("self"), self.facts.torch_parent, given)
            holder = self.name("self")._replace(kinds=children_of(self.facts) | {"view"})
            return self.run_value(holder, call, given)
        if found is None and name in ("forward", "__call__") and self.reader is not None:
            return self._unread_layer(self.name("self"), given)
        if found is None:
            return self._of_module(self.facts.cls, self.name("self"), name, given)
        owner, function = found
        if not isinstance(function, ast.FunctionDef):
            return self.anything()
        return self.run(
            owner.module, function, self.facts.cls, self.name("self"), self._by_name(function, call, 1), [given]
        )

    def method(self, owner: Value, function: ast.Attribute, call: ast.Call, given: Value) -> Value:
        """A method of an object is called."""
        name = function.attr
        classes = [kind for kind in owner.kinds if isinstance(kind, Class)]
        result = FRESH
        for cls in classes:
            facts = Facts.of(self.index, cls)
            if has_trap(facts) or is_attached(self.index, facts.lineage, name):
                return self.anything()
            found = facts.method(name)
            if is_property(facts, name):
                result |= self.run_value(self.attribute(function, function.value, name), call, given)
            elif found is not None and name not in facts.values:
                if name in Outside.of(self.index).replaced:  # part.note = partial(note, part)
                    return self.anything()
                if not runs_as_written(found[0].module, found[1]):
                    result |= self._decorated(found[0].module, found[1], cls, owner, given)
                    continue
                static = any(dotted(decorator) == "staticmethod" for decorator in found[1].decorator_list)
                arguments = self._by_name(found[1], call, 0 if static else 1)
                result |= self.run(found[0].module, found[1], cls, owner, arguments, [given])
            elif name in facts.values or name in Outside.of(self.index).stored:
                result |= self.run_value(self.attribute(function, function.value, name), call, given)
            else:
                if facts.has_member(name):  # defined under a condition, or no plain method
                    self._call_bound(((c.module, c.members[name]) for c in facts.lineage if name in c.members), given)
                    result |= self.anything()
                    continue
                others = (kind for kind in classes if kind is not cls)
                if facts.is_readable and any(Facts.of(self.index, kind).method(name) for kind in others):
                    continue  # if hasattr(self.rope, "get_batch_embeds"): only where it has one
                result |= self._of_module(cls, owner, name, given)
        if not classes or owner.kinds - set(classes):
            result |= self._of_data(owner, name, given, function, call)
        return result

    def _of_module(self, cls: Class | None, owner: Value, name: str, given: Value) -> Value:
        """A method that the class does not define: one of ``nn.Module``, or of a base that cannot be read."""
        readable = cls is not None and Facts.of(self.index, cls).is_readable
        if name in ("train", "eval"):
            roots = {root_of(place) for place in owner.places}
            self.writes |= {MODE._replace(root=root or ANY) for root in roots}
            return owner
        if name in READING_MODULE_METHODS:
            everything = frozenset(p._replace(whole=True) for p in self.attributes(owner, ANY))
            self.reads |= everything
            holds = name in ("values", "children") and readable
            return Value(everything, kinds=children_of(Facts.of(self.index, cls)) if cls and holds else _UNKNOWN)
        if name in ("forward", "__call__"):
            return self.run_value(owner, ast.Call(ast.Name("_"), [], []), given)
        if name not in MODULE_METHODS and not name.startswith("_") and readable:
            if name in TENSOR_METHODS | ALLOCATING_METHODS:  # it is a tensor then, for no class has such a method
                return FRESH if name in ALLOCATING_METHODS else owner.inside
            # no method of any class: something was registered under a computed name
            return self.unread(Value(frozenset(self.attributes(owner, name))), given)
        return self.anything() if SELF in owner.places else self.unread(owner, given)

    def _of_data(self, owner: Value, name: str, given: Value, function: ast.Attribute, call: ast.Call) -> Value:
        """A method of a tensor, a list, a module of torch, or of what is not known."""
        if name in ("forward", "__call__"):
            return self.run_value(owner, call, given)
        self.operate(given, EVERY)
        if name == "backward":  # it adds to the gradients of whatever the tensor was made of
            return self.anything()
        if given.methods and name in _CALLING:  # x.apply_(self.note)
            return self.anything()
        if name in ("train", "eval") and owner.kinds:
            return self._of_module(None, owner, name, given)
        if name in MODULE_METHODS and owner.kinds & TORCHS and not self.module.is_timms:  # self.norm.double()
            return self.unread_module(owner, given)
        if "function" in owner.kinds:  # code of the release
            return self.anything()
        # what a method of an object is called says nothing of it; but what a user's stages are handed are tensors
        allocates = self.reader is not None and name in ALLOCATING_METHODS
        if "?" in owner.kinds and not self.module.is_timms and not allocates:
            if name not in PURE_METHODS | TENSOR_METHODS | ALLOCATING_METHODS | READING_MODULE_METHODS:
                self.change(owner)
            return self.unread_module(owner, given)
        if changes_in_place(name):
            self.change(owner)
            if name in MUTATING_METHODS:
                self.keep(function.value, owner, given)
            return owner.inside if name in IN_PLACE_METHODS else owner.inside | given
        if name in ALLOCATING_METHODS:
            return FRESH
        if name in TENSOR_METHODS:  # a view
            return owner.inside
        if name in PURE_METHODS:
            return self.inside(owner) | given.inside
        if self.reader is not None:  # nothing is known of such a method
            self.change(owner)
        return self.unread_module(owner, given) if "?" in owner.kinds else self.unread(owner, given)

    def run_value(self, value: Value, call: ast.Call, given: Value) -> Value:
        """Something is called that is no name: a module, a method that was kept, a function that was made here."""
        result = FRESH
        for facts, function, module, root in value.methods:
            owner = Value(
                frozenset({SELF if not root else Place("attribute", root, facts.cls, root)}),
                kinds=frozenset({facts.cls}),
            )
            result |= self.run(module, function, facts.cls, owner, self._by_name(function, call, 1), [given])
        for kind in value.kinds:
            if isinstance(kind, Class):
                result |= self._run_module(value, kind, call, given)
            elif kind in TORCHS:
                # it reads its own weights
                self.reads |= set(beneath(value.places))
                self.writes |= {Place(kind, p.name, root=root_of(p)) for p in value.places if kind == STATISTICS}
                later = self.reader is not None and self._is_later(value)
                if kind == IN_PLACE and not later:
                    self.change(given)
                hands_on = kind in ("view", IN_PLACE) and not (later and self._is_sequence(value))
                result |= given._replace(kinds=frozenset()) if hands_on else FRESH
            elif kind in BOXES:
                continue
            elif isinstance(kind, Function):
                holders = (SELF if p.root in ("", p.name) else p._replace(name=p.root) for p in value.places)
                result |= self._run_function(kind, Value(frozenset(holders)), given)
            elif kind in ("hooked", "function") or self._may_be_anyones(kind):
                result |= self.anything()
            elif kind == "foreign":  # a layer gives tensors
                result |= self._unread_layer(value, given)._replace(kinds=frozenset())
            elif kind == "inner":  # what it does was noted where it was made
                result |= value.taken | given.inside
            else:
                result |= self._unread_layer(value, given)
                held = any(place.kind == "attribute" for place in value.places)
                if self.reader is not None and held and self._is_in_place_in_sight():
                    self.change(given)
        if not value.kinds - BOXES and not value.methods:
            if any(place.kind == "global" for place in value.places):  # TABLE["name"](x)
                self._call_bound(((self.module, node) for place in value.places for node in self._made(place)), given)
                return self.anything()
            result |= self._unread_layer(value, given)
            if self.reader is not None:  # operator.itemgetter(0)(pair), attrgetter("mul_")(x)(2)
                self.change(value)
                result |= Value(given.all, given.held)
        return result

    def _unread_layer(self, layer: Value, given: Value) -> Value:
        """A layer that cannot be read is given a value; with a reader, it is believed to make a new one of it."""
        found = self.unread(layer, given)
        return found if self.reader is None else FRESH

    def _is_in_place_in_sight(self) -> bool:
        """Whether a layer of which nothing is known may be a class of the user's that changes what it is given."""
        return not self.module.is_timms and any(map(self._has_class_in_place, files_seen_by(self.index, self.module)))

    def _has_class_in_place(self, module: Module) -> bool:
        key, memory = ("in place in", module.path), self.index.memory
        if key not in memory:
            classes = self.index.classes(module).values()
            memory[key] = any(changes_its_input(Facts.of(self.index, cls)) for cls in classes)
        found: bool = memory[key]
        return found

    def _is_later(self, module: Value) -> bool:
        """Whether one of several layers that works in place surely comes after others, a convolution, say."""
        others = module.kinds - {IN_PLACE, "view"}
        return bool(module.places and others) and all(map(self._leaves_alone, module.places))

    def _leaves_alone(self, place: Place) -> bool:
        """Whether what an attribute holds leaves alone what it is given, but for what the code of its classes does."""
        if place.kind != "attribute" or place.owner is None:
            return False
        return leaves_alone(Facts.of(self.index, place.owner), place.name, self._makes_new)

    def _makes_new(self, cls: Class) -> bool:
        """Whether a layer of a class never gives back what it is given."""
        facts = Facts.of(self.index, cls)
        found = facts.method("forward")
        if found is None or "forward" in facts.values or self.reader is None:
            return found is None and bool(facts.torch_parent) and facts.torch_parent not in _HANDING_ON
        handed = self.reader(found[0].module, found[1], cls, {})
        return not found[1].decorator_list and handed.returned.isdisjoint(positional_names(found[1].args)[1:])

    def _is_sequence(self, module: Value) -> bool:
        """Whether some layers surely run one after the other, and not one of them."""
        return bool(module.places) and all(
            place.kind == "attribute" and place.owner and is_sequential(Facts.of(self.index, place.owner), place.name)
            for place in module.places
        )

    def _run_torch(self, module: Value, kind: str, given: Value) -> Value:
        """The ``forward`` runs that a class has of torch's ``kind``, which may work in place if it is told to."""
        for cls in () if self.module.is_timms else (k for k in module.kinds if isinstance(k, Class)):
            if any(
                may_be_called_by_torch(name, node) for c in self.index.lineage(cls) for name, node in c.members.items()
            ):
                return self.anything()
        if kind.startswith((*TORCH_STATISTICS, "InstanceNorm")):
            self.writes |= {Place(STATISTICS, place.name, root=root_of(place)) for place in module.places}
        if kind in IN_PLACE_MODULES:
            self.change(given)
        return given._replace(kinds=frozenset())

    def _may_be_anyones(self, kind: Kind) -> bool:
        """Whether a module may be one of a user's classes, of which some keep what others read."""
        return kind in _UNREAD and shares_state(self.index, self.module)

    def _run_function(self, function: Function, holder: Value, given: Value) -> Value:
        """A function runs that an attribute of an object holds."""
        if not runs_as_written(function.module, function.node):
            return self.anything()
        owner = FRESH if function.owner is None else holder._replace(kinds=frozenset({function.owner}))
        return self.run(function.module, function.node, function.owner, owner, {}, [given])

    def _decorated(
        self, module: Module, function: ast.FunctionDef, cls: Class | None, owner: Value, given: Value
    ) -> Value:
        """A function runs under decorators that may do more than it says.

        One that stands elsewhere has the function and what is passed to it alone, one of the release may do anything.
        """
        for decorator in function.decorator_list:
            head, _, rest = dotted(called(decorator)).partition(".")
            origin = module.import_of(head)
            foreign = origin is not None and self.index.module(origin.module) is None
            if not keeps_code(module, decorator) and not (foreign and not is_library(module.origin(head, rest))):
                return self.anything()
        return self.run(module, function, cls, owner, {}, [given]) | self.unread(owner, given)

    def _run_module(self, value: Value, cls: Class, call: ast.Call, given: Value) -> Value:
        facts = Facts.of(self.index, cls)
        odd = any(facts.has_member(name) and facts.method(name) is None for name in ("__call__", "forward"))
        odd = odd or any(is_attached(self.index, facts.lineage, name) for name in ("__call__", "forward"))
        if odd or facts.has_member("_call_impl") or facts.has_member("_wrapped_call_impl"):
            return self.anything()  # forward = fast
        found = facts.method("__call__") or facts.method("forward")
        for kind in kinds_of(facts, "forward") if "forward" in facts.values else ():  # self.forward = self.forward_fast
            if isinstance(kind, Function):
                self._run_function(kind, value, given)
            else:
                self.anything()
        if "forward" in facts.values or found is None or found[1].decorator_list:
            if found is None and facts.torch_parent and not facts.has_member("forward"):
                if facts.torch_parent != "Sequential":
                    return self._run_torch(value, facts.torch_parent, given)
                return self.run_value(value._replace(kinds=children_of(facts) | {"view"}), call, given)
            if found is None:
                return self.unread(value, given)
            if not runs_as_written(found[0].module, found[1]):
                return self._decorated(found[0].module, found[1], cls, value, given)
        assert found is not None
        return self.run(found[0].module, found[1], cls, value, self._by_name(found[1], call, 1), [given])

    def _by_name(self, function: ast.FunctionDef, call: ast.Call, skip: int) -> dict[str, Value]:
        """What each parameter is given; nothing where ``*`` or ``**`` in the call hides it."""
        spread = any(isinstance(argument, ast.Starred) for argument in call.args)
        if spread or any(keyword.arg is None for keyword in call.keywords):
            return {}
        args = function.args
        positional = positional_names(args)[skip:]
        every = {*positional, *(a.arg for a in args.kwonlyargs)}
        given = {name: self.given[node] for name, node in zip(positional, call.args, strict=False)}
        given |= {keyword.arg: self.given[keyword.value] for keyword in call.keywords if keyword.arg in every}
        rest = call.args[len(positional) :]
        others = [keyword.value for keyword in call.keywords if keyword.arg not in every]
        if (rest and args.vararg is None) or (others and args.kwarg is None):
            return {}
        given |= {args.vararg.arg: self._any_given(rest).boxed} if args.vararg is not None else {}
        given |= {args.kwarg.arg: self._any_given(others).boxed} if args.kwarg is not None else {}
        return given

    def _any_given(self, arguments: Iterable[ast.expr]) -> Value:
        found = FRESH
        for argument in arguments:
            found |= self.given[argument]
        return found

    def run(
        self,
        module: Module,
        function: ast.FunctionDef,
        cls: Class | None,
        owner: Value,
        arguments: Mapping[str, Value],
        others: Sequence[Value],
    ) -> Value:
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
        summary = self.summary(module, function, cls, kinds)
        if summary is None:  # recursion: what a function changes is read where it is called first
            return self.anything() if self.reader is None else FRESH
        outside = FRESH
        for value in others:
            outside |= value
        defaults = self._kept_defaults(module, function)

        def passed(name: str) -> Value:
            if name == ANY:
                return outside
            return arguments.get(name, (FRESH if arguments else outside) | defaults.get(name, FRESH))

        key = (function, cls, owner, frozenset(arguments.items()), outside)
        if key in self.ran:
            return self.ran[key]
        elsewhere = {place._replace(whole=True) for place in owner.places if place.kind != "attribute"}
        roots = {root_of(place) for place in owner.places if place.kind == "attribute" and place != SELF}

        def translated(places: Iterable[Place]) -> Iterator[Place]:
            for place in places:
                if place.kind == "argument":
                    given = passed(place.name)
                    if not place.whole:
                        yield from given.all  # of a list that is made for the call, what is in it
                        continue
                    beneath = bool(given.kinds - BOXES)
                    for p in given.all:
                        yield p if p.whole else p.opened(beneath=beneath)
                elif place.kind == STATISTICS:
                    yield from map(place.by_way_of, roots or {place.root})
                elif place == SELF:
                    yield from owner.places
                elif place.kind == "attribute" and place.root != ANY:
                    if SELF in owner.places:
                        yield place
                    yield from elsewhere
                    yield from map(place.by_way_of, roots)
                else:
                    yield place

        if summary.kept:
            kept = frozenset(translated(summary.kept))
            self.names[KEPT] = self.names.get(KEPT, FRESH) | Value(kept)
        self.reads |= set(translated(summary.reads))
        arguments_changed = [place for place in summary.writes if place.kind == "argument"]
        self.writes |= set(translated(summary.writes - set(arguments_changed)))
        if self.reader is not None:
            handed = self.reader(module, function, cls, kinds)
            if any(place.kind == "attribute" for place in summary.changes):  # of an object that holds what it was given
                self.change(Value(frozenset(place for place in owner.all if place.kind == "argument")))
            self.change(Value(frozenset(place for name in handed.changed for place in passed(name).all)))
            again = frozenset(place for name in handed.returned for place in passed(name).all)
            return Value(again, kinds=summary.returned.kinds)
        self.change(Value(frozenset(translated(arguments_changed))))
        self.changes |= set(translated(summary.changes - set(arguments_changed)))
        value = summary.returned
        back = Value(frozenset(translated(value.places)), frozenset(translated(value.held)), value.kinds)
        for place in value.all:
            if place.kind == "argument":
                given = passed(place.name)
                back |= Value(frozenset(), given.held, given.kinds, given.methods)
        if remembers(module, function):
            memo = Place("global", f"{module.name}.{function.name}")  # what it returned before, it returns again
            self.reads.add(memo)
            back |= Value(frozenset({memo}))
        self.ran[key] = back
        return back

    def _kept_defaults(self, module: Module, function: ast.FunctionDef) -> Mapping[str, Value]:
        """Parameters whose default value lives as long as the function: ``seen=[]``, ``log=LOG``."""
        key, memory = ("kept defaults", id(function)), self.index.memory
        if key not in memory:
            found: dict[str, Value] = {}
            plain = ast.Constant | ast.UnaryOp
            for name, default in defaults_of(function.args).items():
                if not isinstance(default, plain | ast.Attribute if module.is_timms else plain):
                    kept = Place("global", f"{name} of {function.name}, line {function.lineno}")
                    code = type(self)(self.index, module, None)
                    given = FRESH if module.is_timms else code.of(default)
                    found[name] = Value(given.all | {kept}, kinds=given.kinds)
            memory[key] = found
        defaults: Mapping[str, Value] = memory[key]
        return defaults


def beneath(places: Iterable[Place]) -> Iterator[Place]:
    """All that can be reached from where attributes are kept, without these."""
    return (place.opened(beneath=True) for place in places if place.kind == "attribute")


_HANDING_ON = TORCH_HANDING_ON | CONTAINERS
_UNKNOWN: frozenset[Kind] = frozenset({"?"})
_UNREAD: frozenset[Kind] = frozenset({"?", "foreign"})
"""A layer of a library may be one of the user's, registered where the library looks layers up."""


def _is_iterator(value: ast.expr) -> bool:
    """Whether an expression makes what gives its elements once: ``iter(...)``, ``itertools.count()``."""
    if isinstance(value, ast.Call):
        name = dotted(value.func)
        return name.startswith("itertools.") or name in _ITERATORS
    return isinstance(value, ast.GeneratorExp)


_CALLING = frozenset({"apply_", "map_", "map2_", "register_hook", "register_post_accumulate_grad_hook"})
"""Methods of a tensor that call what they are given, then or later."""
_ITERATORS = frozenset({"iter", "map", "zip", "filter", "enumerate", "reversed", "open", "count", "cycle", "chain"})


def _is_defaultdict(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and dotted(value.func).rpartition(".")[2] == "defaultdict"


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
