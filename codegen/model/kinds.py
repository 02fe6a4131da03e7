"""What modules an attribute may hold, by everything that the class ever binds it to, lists and factories included."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from codegen.model.decorators import are_as_they_read
from codegen.model.facts import Facts
from codegen.model.library import IN_PLACE_MODULES, TORCH_HANDING_ON, TORCH_STATISTICS, TORCH_WRAPPERS
from codegen.model.neighbours import files_seen_by
from codegen.model.outside import Elsewhere, Outside
from codegen.model.purity import is_library, is_pure
from codegen.model.tuples import hands_on
from codegen.source.index import Class, Index, Module
from codegen.source.reached import made_and_run
from codegen.source.stores import stores_in
from codegen.syntax.dataflow import dotted, free_names
from codegen.syntax.parameters import defaults_of
from codegen.syntax.walking import walk


@dataclass(frozen=True)
class Function:
    """A function that an attribute holds.

    Attributes:
        module: Where it stands.
        node: It.
        owner: The class whose method it is, if it is one of ``self``.
    """

    module: Module
    node: ast.FunctionDef
    owner: Class | None = None


Kind = Class | Function | str
"""A class or a function of the release, or a word: ``torch`` for a module of torch that makes another tensor of what
it is given, ``view`` for one that may hand it on, ``in place`` for one that changes it, ``statistics`` for one that
keeps some of what it has seen,
``foreign`` for one of a library of layers, ``hooked`` for what has hooks, ``function`` for code of the release of which
no more is known, ``inner`` for a function
and ``box`` for a list or the like that are made in the method, ``?`` for what is not known."""
STATISTICS = "statistics"
IN_PLACE = "in place"
TORCHS = frozenset({"torch", "view", STATISTICS, IN_PLACE})
"""The kinds of torch's modules."""

_LAYERS = tuple(f"{name}." for name in ("mmcv", "mmengine", "torchvision", "xformers", "flash_attn", "apex", "fvcore"))
"""Libraries whose layers know nothing of the files of users, unless these hand them something."""
CONTAINERS = frozenset({"Sequential", "ModuleList", "ModuleDict"})
_FUNCTIONS = 8  # that call each other to make a module
_CHOICES = re.compile(
    r"(^|_)(norm|act|drop|dropout|conv|pool|aa|bn|ln)(\d?d?|_layer|_cls|_fn)*$|(^|_)(norm|act|activation)_"
)
_NUMBERS = frozenset({"int", "float", "bool", "str", "len", "max", "min", "sum", "range", "round", "isinstance"})


def is_of_layers(index: Index, path: str) -> bool:
    """Whether a name is of a library of layers, whose files are not those of the user."""
    return path.startswith(_LAYERS) and index.module(path.partition(".")[0]) is None


def is_believed(module: Module, name: str) -> bool:
    """Whether a name says what is made: in timm, ``norm_layer`` and the like make modules that compute and no more."""
    return module.is_timms and _CHOICES.search(name) is not None


def kinds_of(facts: Facts, attribute: str) -> frozenset[Kind]:
    """What modules an attribute of a class may hold; of a container what it holds. Numbers and tensors are none.

    A constructor's argument that chooses a class, ``embed_layer=PatchEmbed``, is taken to be what it is by default.
    """
    memory, key = facts.index.memory, ("kinds", id(facts.cls), attribute)
    if key in memory:
        known: frozenset[Kind] = memory[key]
        return known
    search: _Search | None = memory.get("search for kinds")
    if search is not None:
        return search.kinds_of(facts, attribute, key)
    memory["search for kinds"] = search = _Search()
    try:
        found = search.first(facts, attribute, key)
    finally:
        del memory["search for kinds"]
    memory.update(search.found)
    return found


@dataclass(eq=False)
class _Search:
    """The kinds of one attribute, and of all that they depend on, be it on each other: ``self.layers[:2]``.

    Where they do, all are found again with what is known by then, until nothing new is found.

    Attributes:
        found: What each attribute is known to hold.
        seen: The attributes that have been looked at in this round.
        open: Those of them that are not done.
        is_round: Whether one depends on itself.
        grows: Whether something new was found in this round.
    """

    found: dict[object, frozenset[Kind]] = field(default_factory=dict)
    seen: set[object] = field(default_factory=set)
    open: set[object] = field(default_factory=set)
    is_round: bool = False
    grows: bool = True

    def first(self, facts: Facts, attribute: str, key: object) -> frozenset[Kind]:
        while self.grows:
            self.grows = False
            self.seen.clear()
            found = self.kinds_of(facts, attribute, key)
            if not self.is_round:
                break
        return found

    def kinds_of(self, facts: Facts, attribute: str, key: object) -> frozenset[Kind]:
        if key in self.seen:
            self.is_round |= key in self.open
            return self.found.get(key, frozenset())
        self.seen.add(key)
        self.open.add(key)
        found = frozenset(_find(facts, attribute))
        self.open.discard(key)
        self.grows |= found != self.found.get(key)
        self.found[key] = found
        return found


def begins_in_place(facts: Facts, attribute: str) -> bool:
    """Whether an attribute may hold layers of torch the first of which changes what it is given."""
    made = ((facts.home(value), value) for value in facts.values.get(attribute, ()))
    return any(_Making(facts, home.module, {}, attribute).begins_in_place(value) for home, value in made)


def is_tampered_with(facts: Facts, attribute: str) -> bool:
    """Whether a constructor may set an attribute in a way that is not in sight, or put a hook on what it holds."""
    return not {attribute, "*"}.isdisjoint(_hooked(facts) | _remade(facts))


def _find(facts: Facts, attribute: str) -> Iterator[Kind]:
    if attribute not in facts.values and not facts.has_member(attribute):
        yield "?"
    if {attribute, "*"} & _hooked(facts):
        yield "hooked"
    outside = Outside.of(facts.index)
    if {attribute, "*"} & _remade(facts):
        yield "?"
    elsewhere = _Making(facts, facts.cls.module, {}, attribute)
    for stored_there in outside.stored.get(attribute, ()):
        yield from elsewhere.of(stored_there)
    for cls in facts.lineage:
        for method in cls.members.values():
            if isinstance(method, ast.FunctionDef):
                stored = _remembered(facts, "stored", method, _stored)
                if attribute in stored:
                    bound = _remembered(facts, "bound", method, _bindings)
                    if method is cls.constructor:
                        bound = {**bound, **_passed_by_children(facts, cls)}
                        given = {name: outside.passed(cls, name) for name in cls.constructor_parameters}
                        bound |= {name: [*bound.get(name, ()), *values] for name, values in given.items() if values}
                    made = _Making(facts, cls.module, bound, attribute)
                    for value in stored[attribute]:
                        yield from made.of(value)


def _passed_by_children(facts: Facts, cls: Class) -> dict[str, list[ast.expr]]:
    """What the classes that derive from one pass to its constructor, as far as that says what modules are made.

    ``super().__init__(embed_layer=ConvStem)``. What they hand on of their own arguments is what those are by default.
    """
    memory, key = facts.index.memory, ("passed", id(facts.cls), id(cls))
    if key in memory:
        known: dict[str, list[ast.expr]] = memory[key]
        return known
    found: dict[str, list[ast.expr]] = {}
    place = facts.lineage.index(cls)
    child = next((c for c in reversed(facts.lineage[:place]) if c.constructor is not None), None)
    if child is not None and child.constructor is not None and cls.constructor is not None:
        arguments = cls.constructor.args
        names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)][1:]
        every = {*names, *(a.arg for a in arguments.kwonlyargs)}
        for name, value in _passed(child.constructor, names):
            if name in every:
                found.setdefault(name, []).extend(_of_child(facts, child, value))
    memory[key] = found = {name: values for name, values in found.items() if values}
    return found


def _passed(constructor: ast.FunctionDef, names: Sequence[str]) -> Iterator[tuple[str, ast.expr]]:
    """What a constructor passes to that of its parent: by place, by name, or by way of a dictionary."""
    for node in walk(constructor):
        match node:
            case ast.Call(func=ast.Attribute(value=owner, attr="__init__"), args=args, keywords=keywords):
                given = args if isinstance(owner, ast.Call) else args[1:]
                yield from zip(names, given, strict=False)
                yield from ((k.arg, k.value) for k in keywords if k.arg is not None)
            case ast.Call(func=ast.Name("dict") | ast.Attribute(attr="update"), keywords=keywords):
                yield from ((k.arg, k.value) for k in keywords if k.arg is not None)
            case ast.Call(func=ast.Attribute(attr="setdefault"), args=[ast.Constant(str(name)), value]):
                yield name, value
            case ast.Assign(targets=[ast.Subscript(slice=ast.Constant(str(name)))], value=value):
                yield name, value
            case ast.Dict(keys=keys, values=values):
                for key, value in zip(keys, values, strict=True):
                    if isinstance(key, ast.Constant) and isinstance(key.value, str):
                        yield key.value, value


def _of_child(facts: Facts, child: Class, value: ast.expr) -> list[ast.expr]:
    """What a class passes to a constructor, if it may make modules; nothing for numbers."""
    assert child.constructor is not None
    match value:
        case ast.Name(id=name) if name in child.constructor_parameters:
            default = defaults_of(child.constructor.args).get(name)
            passed = _passed_by_children(facts, child).get(name, [])
            return passed or ([] if default is None else _of_child(facts, child, default))
        case ast.Call(func=function, args=[made, *_]) if dotted(function) in _PARTIAL:
            return _of_child(facts, child, made)
        case ast.Lambda() | ast.IfExp():
            return [_OPEN]
    path = dotted(value)
    head, _, rest = path.partition(".")
    if not path or head in child.constructor_names or head not in child.module.bindings:
        return []
    if facts.index.resolve(child.module, path) is not None:
        return [_Imported(child.module.name, path)]
    return [] if is_library(child.module.origin(head, rest)) else [_OPEN]


def _hooked(facts: Facts) -> frozenset[str]:
    """Attributes of ``self`` on which a method registers a hook that runs with them; ``*`` for what is not known."""
    memory, key = facts.index.memory, ("hooked", id(facts.cls))
    if key not in memory:
        found = set()
        made = [cls.constructor for cls in facts.lineage if cls.constructor is not None]
        called = {name for function in made for name in facts.calls(function)}
        made += [method[1] for name in called if (method := facts.method(name)) is not None]
        made += _given_self(facts)
        for node in (node for function in made for node in walk(function)):
            if isinstance(node, ast.Attribute) and (node.attr in _HOOKS | _HOOK_TABLES or _replaces_code(node)):
                path = dotted(node.value).split(".")
                found.add(path[1] if path[0] == "self" and len(path) > 1 else "*")
            elif isinstance(node, ast.Subscript) and _replaces_code(node):
                found.add("*")
        if _is_hooked_elsewhere(facts, made):
            found.add("*")
        memory[key] = frozenset(found)
    hooked: frozenset[str] = memory[key]
    return hooked


def _is_hooked_elsewhere(facts: Facts, own: Collection[ast.FunctionDef]) -> bool:
    """Whether code that may run when the model is made registers hooks, or replaces what runs, other than its own."""
    files = [module for cls in facts.lineage for module in _files_of(facts, cls)]
    if not any(word in module.text for module in files for word in _HOOKING):
        return False
    seen = {id(node) for function in own for node in walk(function)}
    for code in code_that_makes(facts):
        for node in walk(code):
            match node:
                case ast.Attribute(attr=attr) if attr in _HOOKS | _HOOK_TABLES and id(node) not in seen:
                    return True
                case ast.Attribute() | ast.Subscript() if _replaces_code(node) and id(node) not in seen:
                    return True
                case ast.Call(func=ast.Name("setattr"), args=[_, ast.Constant(value="forward"), *_]):
                    return True
    return False


def code_that_makes(facts: Facts) -> Sequence[ast.AST]:
    """The code of a user's files that may run when a model of a class is made."""
    memory, key = facts.index.memory, ("code that makes", id(facts.cls))
    if key not in memory:
        classes = [cls for cls in facts.lineage if not cls.module.is_timms]
        trees = {module.path: module.tree for cls in classes for module in _files_of(facts, cls)}
        memory[key] = made_and_run(trees.values(), [cls.node for cls in classes], {"__init__"})
    code: Sequence[ast.AST] = memory[key]
    return code


def _files_of(facts: Facts, cls: Class) -> Sequence[Module]:
    return [] if cls.module.is_timms else files_seen_by(facts.index, cls.module)


def _replaces_code(node: ast.AST) -> bool:
    """Whether a node gives another object than ``self`` another ``forward``, or another class."""
    match node:
        case ast.Attribute(value=owner, attr="forward" | "__class__", ctx=ast.Store()):
            return dotted(owner) != "self"
        case ast.Subscript(slice=ast.Constant(value="forward"), ctx=ast.Store()):
            return True
    return False


def _remade(facts: Facts) -> frozenset[str]:
    """Attributes that a constructor may set to what is not in sight; ``*`` for any.

    By the dictionary of modules, under a name that is computed, in a function that it gives the model to, or by another
    ``forward`` of what an attribute holds.
    """
    memory, key = facts.index.memory, ("remade", id(facts.cls))
    if key not in memory:
        found = {name for cls in facts.lineage for name in cls.stores.rebound}
        made = [cls.constructor for cls in facts.lineage if cls.constructor is not None]
        called = {name for function in made for name in facts.calls(function)}
        made += [method[1] for name in called if (method := facts.method(name)) is not None]
        for function in made:
            found.update(name for node in walk(function) for name in _sets_unseen(node, "self"))
            if not facts.cls.module.is_timms and any(map(_registers_unseen, walk(function))):
                found.add("*")
        for function in _given_self(facts):
            for parameter in function.args.args:
                found.update(name for node in walk(function) for name in _sets_on(node, parameter.arg))
        memory[key] = frozenset(found)
    remade: frozenset[str] = memory[key]
    return remade


def _sets_unseen(node: ast.AST, model: str) -> Iterator[str]:
    """The attributes of a model that a piece of code may set without naming them as attributes."""
    match node:
        case ast.Call(func=ast.Name("setattr"), args=[ast.Name(id=name), ast.Name(), _]) if name == model:
            yield "*"
        case ast.Call(func=ast.Attribute(attr="set_submodule" | "__setattr__"), args=[*_, _]):
            yield "*"
        case ast.Subscript(value=value, ctx=ast.Store()) | ast.Call(func=ast.Attribute(value=value, attr="update")):
            inside = walk(value)
            if any(isinstance(n, ast.Attribute) and n.attr in ("_modules", "__dict__") for n in inside) or any(
                isinstance(n, ast.Call) and dotted(n.func) == "vars" for n in walk(value)
            ):
                yield "*"


def _registers_unseen(node: ast.AST) -> bool:
    """Whether a module is registered under a name that a variable holds."""
    match node:
        case ast.Call(func=ast.Attribute(attr="add_module" | "register_module"), args=[ast.Name(), _]):
            return True
    return False


def _sets_on(node: ast.AST, model: str) -> Iterator[str]:
    """The attributes of a parameter that a piece of code may set."""
    yield from _sets_unseen(node, model)
    match node:
        case ast.Attribute(value=ast.Name(id=name), attr=attr, ctx=ast.Store()) if name == model:
            yield attr
        case ast.Call(func=ast.Name("setattr"), args=[ast.Name(id=name), key, _]) if name == model:
            yield key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else "*"


def _given_self(facts: Facts) -> list[ast.FunctionDef]:
    """The functions that a constructor gives the model, or a part of it, and those that they call: ``attach(self)``."""
    pending = [
        (cls.module, dotted(node.func))
        for cls in facts.lineage
        if cls.constructor is not None
        for node in walk(cls.constructor)
        if isinstance(node, ast.Call) and any(dotted(a).partition(".")[0] == "self" for a in node.args)
    ]
    found: dict[int, ast.FunctionDef] = {}
    while pending:
        module, name = pending.pop()
        function = facts.index.function(module, name) if name else None
        if function is not None and id(function[1]) not in found:
            found[id(function[1])] = function[1]
            pending += [(function[0], dotted(n.func)) for n in walk(function[1]) if isinstance(n, ast.Call)]
    return list(found.values())


def _remembered(
    facts: Facts, what: str, function: ast.FunctionDef, read: Callable[[ast.FunctionDef], Mapping[str, list[ast.expr]]]
) -> Mapping[str, list[ast.expr]]:
    """What is read from a function, read once for all that ask."""
    memory, key = facts.index.memory, (what, id(function))
    if key not in memory:
        memory[key] = read(function)
    found: Mapping[str, list[ast.expr]] = memory[key]
    return found


def children_of(facts: Facts) -> frozenset[Kind]:
    """What a class that derives from ``nn.Sequential`` may hold."""
    memory, key = facts.index.memory, ("children", id(facts.cls))
    if key not in memory:
        memory[key] = frozenset({"?"})
        found: set[Kind] = set()
        for cls in facts.lineage:
            for method in cls.members.values():
                if isinstance(method, ast.FunctionDef):
                    made = _Making(facts, cls.module, _remembered(facts, "bound", method, _bindings), "")
                    found.update(kind for value in _registered(method) for kind in made.of(value))
        if facts.method("__init__") is None and not facts.cls.module.is_timms:
            found.add("?")  # its parts are arguments of the call that makes it
        memory[key] = frozenset(found)
    kinds: frozenset[Kind] = memory[key]
    return kinds


def _registered(method: ast.FunctionDef) -> Iterator[ast.expr]:
    for node in walk(method):
        match node:
            case ast.Assign(targets=targets, value=value) if any(map(_is_part, targets)):
                yield value
            case ast.Call(func=ast.Attribute(value=ast.Name("self"), attr=attr), args=args) if attr in _PUTS:
                yield from args
            case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name("super")), attr="__init__"), args=args):
                yield from args
            case ast.Call(func=ast.Attribute(attr="__init__"), args=[ast.Name("self"), *args]):
                yield from args


def _is_part(target: ast.expr) -> bool:
    """Whether what is bound is an attribute of ``self``, or what a container that ``self`` is holds under a name."""
    inner = target.value if isinstance(target, ast.Subscript) else target
    own = isinstance(inner, ast.Attribute) and dotted(inner.value) == "self"
    return own or (isinstance(target, ast.Subscript) and dotted(inner) == "self")


def _stored(method: ast.FunctionDef) -> Mapping[str, list[ast.expr]]:
    """What a method binds to each attribute of ``self``, or puts into what it holds."""
    found: dict[str, list[ast.expr]] = {}

    def store(target: ast.expr, value: ast.expr) -> None:
        inner = target.value if isinstance(target, ast.Subscript) else target
        if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id == "self":
            found.setdefault(inner.attr, []).append(value)
        elif isinstance(target, ast.Tuple | ast.List):
            plain = isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts)
            for number, element in enumerate(target.elts):
                store(element, value.elts[number] if plain and isinstance(value, ast.Tuple | ast.List) else _OPEN)

    for node in stores_in(method):
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    store(target, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.AugAssign(target=target, value=value):
                store(target, value)
            case ast.For(target=target) | ast.withitem(optional_vars=ast.expr() as target):
                store(target, _OPEN)
            case ast.Call(func=ast.Name("setattr"), args=[ast.Name("self"), ast.Constant(str(name)), value]):
                found.setdefault(name, []).append(value)
            case ast.Call(func=ast.Attribute(ast.Name("self"), "add_module" | "register_module"), args=[name, *values]):
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    found.setdefault(name.value, []).extend(values)
            case ast.Call(func=ast.Attribute(ast.Attribute(ast.Name("self"), attribute), attr), args=values):
                if attr in _PUTS:
                    found.setdefault(attribute, []).extend(values)
    return found


_HOOKS = frozenset(
    {"register_forward_hook", "register_forward_pre_hook", "register_module_forward_hook"}
    | {"register_module_forward_pre_hook", "register_parametrization"}
)
_HOOK_TABLES = frozenset({"_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs"})
_HOOKING = (*_HOOKS, *_HOOK_TABLES, ".forward =", "__class__ =", '"forward"', "'forward'")
_PUTS = frozenset({"append", "insert", "extend", "add_module", "register_module", "update"})
_NO_ARGUMENTS = ast.arguments([], [], None, [], [], None, [])
# These stand for what is not known, and for a function and a class that are made here.
_OPEN, _FUNCTION, _CLASS = (ast.Lambda(_NO_ARGUMENTS, ast.Constant(None)) for _ in range(3))


def _bindings(function: ast.FunctionDef) -> Mapping[str, list[ast.expr]]:
    """What the variables of a function may be bound to, or what is put into what they hold."""
    found: dict[str, list[ast.expr]] = {}
    args = function.args
    defaults = defaults_of(args)
    for parameter in [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]:
        if parameter is not None:
            found[parameter.arg] = [defaults.get(parameter.arg, _OPEN)]
    for node in walk(function):
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    if isinstance(target, ast.Name):
                        found.setdefault(target.id, []).append(value)
                    for number, inner in enumerate(target.elts if isinstance(target, ast.Tuple | ast.List) else ()):
                        if isinstance(inner, ast.Name):
                            element = ast.Subscript(value, ast.Constant(number), ast.Load())
                            found.setdefault(inner.id, []).append(element)
            case (
                ast.AugAssign(target=ast.Name(id=name), value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                found.setdefault(name, []).append(value)
            case ast.For(target=target, iter=iterable) | ast.comprehension(target=target, iter=iterable):
                for part in walk(target):
                    if isinstance(part, ast.Name):
                        found.setdefault(part.id, []).append(iterable)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr), args=values) if attr in _PUTS:
                found.setdefault(name, []).extend(values)
            case ast.NamedExpr(target=ast.Name(id=name), value=value):
                found.setdefault(name, []).append(value)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if node is not function:
                found.setdefault(name, []).append(_FUNCTION)
            case ast.ClassDef(name=name):
                found.setdefault(name, []).append(_CLASS)
            case ast.ImportFrom(level=0, module=str(module), names=names):
                for alias in names:
                    found.setdefault(alias.asname or alias.name, []).append(_Imported(module, alias.name))
            case ast.Import(names=names):
                for alias in names:
                    found.setdefault((alias.asname or alias.name).partition(".")[0], []).append(_OPEN)
    return found


def _named(node: ast.Lambda) -> ast.FunctionDef:
    """A ``lambda`` as a function, one and the same whenever it is asked for."""
    known: ast.FunctionDef | None = getattr(node, "_codegen_function", None)
    if known is None:
        body: list[ast.stmt] = [ast.copy_location(ast.Return(node.body), node)]
        known = ast.copy_location(ast.FunctionDef("<lambda>", node.args, body, []), node)
        node._codegen_function = known  # type: ignore[attr-defined]
    return known


class _Imported(ast.expr):
    """A class that a function imports for itself."""

    def __init__(self, module: str, name: str) -> None:
        super().__init__()
        self.module, self.name = module, name


class _Passed(ast.expr):
    """An expression that a call passes to the function that is being read.

    Attributes:
        value: The expression.
        making: Where it stands.
        seen: Variables that are being followed there.
    """

    def __init__(self, value: ast.expr, making: _Making, seen: frozenset[str]) -> None:
        super().__init__()
        self.value, self.making, self.seen = value, making, seen


@dataclass(eq=False)
class _Making:
    """What the expressions of one function may make.

    Attributes:
        facts: The class whose modules are made.
        module: Where the function stands.
        values: What its variables may be bound to.
        attribute: What is being made, for the name that it goes by.
        depth: How many functions call each other.
    """

    facts: Facts
    module: Module
    values: Mapping[str, list[ast.expr]]
    attribute: str
    depth: int = 0

    def of(self, node: ast.expr, seen: frozenset[str] = frozenset()) -> Iterator[Kind]:
        match node:
            case Elsewhere() | _Passed():
                there, already = self._there(node)
                yield from there.of(node.value, already) if self.depth < _FUNCTIONS else "?"
            case ast.Call(func=function, args=args, keywords=keywords):
                if any(keyword.arg in ("max_norm", "track_running_stats") for keyword in keywords):
                    yield STATISTICS
                for kind in self.call(function, args, keywords, seen):
                    yield IN_PLACE if kind == "view" and self._works_in_place(function, args, keywords) else kind
            case ast.Name(id=name) if name in self.values and _FUNCTION not in self.values[name]:
                if name not in seen:
                    for value in self.values[name]:
                        yield from self.of(value, seen | {name})
            case ast.Name() | ast.Attribute() | ast.Lambda() if self._is_code(node):
                yield self._function(node) or "function"
            case ast.Attribute() if dotted(node).startswith("self.") and dotted(node).count(".") == 1:
                yield from kinds_of(self.facts, dotted(node).removeprefix("self."))
            case ast.IfExp(body=body, orelse=orelse):
                yield from (*self.of(body, seen), *self.of(orelse, seen))
            case ast.BoolOp(values=parts) | ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
                for part in parts:
                    yield from self.of(part, seen)
            case ast.Dict(values=parts):
                for part in parts:
                    yield from self.of(part, seen)
            case ast.ListComp(elt=part) | ast.GeneratorExp(elt=part) | ast.DictComp(value=part):
                yield from self.of(part, seen)
            case ast.Starred(value=inner) | ast.Subscript(value=inner) | ast.NamedExpr(value=inner):
                yield from self.of(inner, seen)
            case ast.BinOp(left=left, right=right):
                for part in (left, right):
                    if not isinstance(part, ast.Name | ast.Constant | ast.Attribute):
                        yield from self.of(part, seen)
            case ast.Attribute() | ast.Name():
                head, _, rest = dotted(node).partition(".")
                if head and self._assigned(head):
                    yield from self._variable(head)
                elif not (head and head not in self.values and is_library(self.module.origin(head, rest))):
                    yield "?"
            case ast.Constant() | ast.Compare() | ast.UnaryOp() | ast.JoinedStr():
                return
            case _:
                yield "?"

    def _works_in_place(self, function: ast.expr, args: Sequence[ast.expr], keywords: Sequence[ast.keyword]) -> bool:
        """Whether a call makes a module that may change the tensor that it is given: ``nn.ReLU(inplace=True)``."""
        told = [keyword.value for keyword in keywords if keyword.arg == "inplace"]
        head, _, rest = dotted(function).partition(".")
        kind = self.module.origin(head, rest).removeprefix("torch.nn.") if head and head not in self.values else ""
        told += args[IN_PLACE_MODULES[kind] :][:1] if kind in IN_PLACE_MODULES else []
        spread = any(keyword.arg is None for keyword in keywords) or any(isinstance(a, ast.Starred) for a in args)
        spread = spread or "inplace" in Outside.of(self.facts.index).stored  # self.act.inplace = True
        return any(not (isinstance(node, ast.Constant) and not node.value) for node in told) or (
            spread and kind in IN_PLACE_MODULES
        )

    def begins_in_place(self, node: ast.expr) -> bool:
        """Whether a call makes a sequence of layers that begins with one in place: ``Sequential(ReLU(True), ...)``."""
        match node:
            case ast.Call(func=function, args=[ast.Call() as first, *_]) if dotted(function).endswith("Sequential"):
                return self._works_in_place(first.func, first.args, first.keywords) or self.begins_in_place(first)
        return False

    def _in_display(self, node: ast.expr, seen: frozenset[str]) -> Iterator[ast.expr]:
        """What an argument passes: ``create_act_layer(Mine)``, ``Stem(*[Mine])``, ``Stem(**{"act": Mine})``."""
        parts: Sequence[ast.expr] = ()
        match node:
            case ast.Starred(value=inner):
                parts = [inner]
            case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
                parts = elements
            case ast.Dict(values=values):
                parts = values
            case ast.Call(func=ast.Name("dict"), keywords=keywords):
                parts = [keyword.value for keyword in keywords]
            case ast.Name(id=name) if name in self.values and name not in seen:
                parts, seen = self.values[name], seen | {name}
            case ast.Name(id=name) if name not in seen and self._assigned(name):
                parts, seen = self._assigned(name), seen | {name}
            case _:
                yield node
        for part in parts:
            yield from self._in_display(part, seen)

    def _there(self, node: Elsewhere | _Passed) -> tuple[_Making, frozenset[str]]:
        """Where an expression stands that is passed from elsewhere, and the variables that are being followed there."""
        if isinstance(node, _Passed):
            return replace(node.making, depth=self.depth + 1), node.seen
        facts = self.facts if node.owner is None else Facts.of(self.facts.index, node.owner)
        bound = {} if node.function is None else _remembered(facts, "bound", node.function, _bindings)
        return _Making(facts, node.module, bound, self.attribute, self.depth + 1), frozenset()

    def _as_read(self, cls: Class) -> Kind:
        """A class, unless a decorator may make it another one than it reads."""
        index = self.facts.index
        return cls if are_as_they_read(index, index.lineage(cls)) else "?"

    def call(
        self,
        function: ast.expr,
        args: Sequence[ast.expr] = (),
        keywords: Sequence[ast.keyword] = (),
        seen: frozenset[str] = frozenset(),
    ) -> Iterator[Kind]:
        """What a call makes."""
        arguments = [*args, *(keyword.value for keyword in keywords)]
        name = dotted(function)
        head, _, rest = name.partition(".")
        if rest and self._assigned(head):
            yield from self._variable(head)  # TABLE.get(name)
        if any(self._is_code(argument) for argument in arguments) and not self._is_partial(name, arguments):
            yield "function"  # which what is made may run
        for value in self.values.get(head, ()):
            if isinstance(value, _Imported):
                source = self.facts.index.module(value.module)
                found_class = self.facts.index.resolve(source, value.name) if source is not None and not rest else None
                yield "?" if found_class is None else self._as_read(found_class)
                return
        passed = () if self.module.is_timms else arguments
        for part in (part for argument in passed for part in self._in_display(argument, seen)):
            given = self.facts.index.resolve(self.module, dotted(part)) if dotted(part) else None
            if given is not None and dotted(part).partition(".")[0] not in self.values:
                yield self._as_read(given)
        if head == "self" and (method := self.facts.method(rest)) is not None:
            yield from self.returned(
                method[0].module, method[1], rest, self._passed(method[1], args, keywords, 1, seen)
            )
        elif not name and isinstance(function, ast.Attribute):
            yield from self.of_method(function)
        elif not name:
            yield "?"  # ACTIVATIONS[name]()
        elif head == "self":
            yield from self._by_name(name)
        elif _CLASS in self.values.get(head, ()):
            yield "function"  # its methods see the variables of the function that it stands in
        elif head in self.values:
            yield from self.chosen(head, rest, seen) if not rest else ("?",)
            if self._tells_more(head, arguments, seen):
                yield "?"
        elif (cls := self.facts.index.resolve(self.module, name)) is not None:
            yield self._as_read(cls)
        elif not self._is_bound(head):
            yield "torch"  # the constructor fails: there is no such model
        elif (found := self.facts.index.function(self.module, name)) is not None:
            yield from self.returned(*found, name, self._passed(found[1], args, keywords, 0, seen))
        elif hands_on(self.facts.index, self.module, name):
            for argument in arguments:
                yield from self.of(argument, seen)
        else:
            origin = self.module.origin(head, rest)
            kind = origin.removeprefix("torch.nn.")
            if kind in ("Parameter", "Buffer"):
                return  # a tensor
            if origin.startswith("torch.nn.") and kind in CONTAINERS:
                if kind == "Sequential" or not arguments:  # of none, it gives what it is given
                    yield "view"
                for argument in arguments:
                    yield from self.of(argument, seen)
            elif origin.startswith("torch.nn.") and "." not in kind and kind not in TORCH_WRAPPERS:
                writes = kind.startswith(TORCH_STATISTICS)
                yield STATISTICS if writes else "view" if kind in TORCH_HANDING_ON else "torch"
            elif origin in _PARTIAL and arguments and self._is_code(arguments[0]):
                yield from self.of(arguments[0], seen)
            elif origin in _HOLDERS:
                for argument in arguments:
                    yield from self.of(argument, seen)
            elif is_library(origin) and not is_pure(origin):  # nn.utils.spectral_norm(...), torch.hub.load(...)
                yield "?"
            elif is_of_layers(self.facts.index, origin):
                yield "foreign"
            elif not (is_pure(origin) and not origin.startswith("torch.nn.")) and origin not in _NUMBERS:
                yield from self._by_name(name)

    def _is_code(self, node: ast.expr) -> bool:
        """Whether an expression is a function: of the release, a method of ``self``, or made here."""
        made_here = isinstance(node, ast.Lambda) and node is not _OPEN
        return made_here or _FUNCTION in self.values.get(dotted(node), ()) or self._function(node) is not None

    def _function(self, node: ast.expr) -> Function | None:
        """The function that an expression is, if its code can be read where it is called."""
        name = dotted(node)
        if name.startswith("self."):
            method = self.facts.method(name.removeprefix("self."))
            return None if method is None else Function(method[0].module, method[1], self.facts.cls)
        if isinstance(node, ast.Lambda) and node not in (_OPEN, _FUNCTION, _CLASS):
            free = set(free_names(node))
            closed = all(n not in self.values and n != "self" and self._is_bound(n) for n in free)
            return Function(self.module, _named(node)) if closed else None
        found = self.facts.index.function(self.module, name) if name and name not in self.values else None
        return None if found is None else Function(*found)

    def _is_partial(self, name: str, arguments: Sequence[ast.expr]) -> bool:
        """Whether a call makes a function that is given numbers beforehand."""
        return name in _PARTIAL and all(map(self._is_number, arguments[1:]))

    def _is_number(self, node: ast.expr) -> bool:
        """Whether an expression gives a number, as far as it tells: no list has a power or a difference."""
        values = self.facts.values.get(dotted(node).removeprefix("self."), [node])
        known = [v for value in values for v in (self.values.get(dotted(value), [value]))]
        divided = (ast.Pow, ast.Sub, ast.Div, ast.FloorDiv, ast.Mod)
        return all(
            isinstance(value, ast.Constant) or (isinstance(value, ast.BinOp) and isinstance(value.op, divided))
            for value in known
        )

    def _assigned(self, name: str) -> Sequence[ast.expr]:
        """What is assigned to a global of the module."""
        nodes = () if name in self.values else self.module.bindings.get(name, ())
        assigned = (node.value for node in nodes if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign))
        return [value for value in assigned if value is not None]

    def _variable(self, name: str) -> Iterator[Kind]:
        """What a global of the module may hold."""
        outside = _Making(self.facts, self.module, {}, self.attribute, self.depth + 1)
        for value in self._assigned(name):
            if isinstance(value, ast.Call) or self.depth >= _FUNCTIONS:
                yield "?"
            elif not isinstance(value, ast.Constant):
                yield from outside.of(value)
                if not isinstance(value, ast.Name | ast.Attribute):
                    yield "function"  # which is put there later

    def _is_bound(self, name: str) -> bool:
        """Whether a name means anything in the module, as far as can be known."""
        return name in self.module.bindings or "*" in self.module.bindings or hasattr(builtins, name)

    def of_method(self, function: ast.Attribute) -> Iterator[Kind]:
        """What a method of what a call gives makes: a tensor of a tensor, ``torch.linspace(...).view(-1)``."""
        inner = function.value
        while isinstance(inner, ast.Call | ast.Attribute | ast.Subscript | ast.BinOp):
            path = dotted(inner.func) if isinstance(inner, ast.Call) else ""
            head, _, rest = path.partition(".")
            if path and head not in self.values and is_pure(self.module.origin(head, rest)):
                return
            inner = (
                inner.left
                if isinstance(inner, ast.BinOp)
                else inner.func
                if isinstance(inner, ast.Call)
                else inner.value
            )
        yield "?"

    def chosen(self, name: str, rest: str, seen: frozenset[str]) -> Iterator[Kind]:
        """What a variable makes that stands for a class: ``embed_layer(...)``."""
        classes = []
        alternatives = list(self._alternatives(name, seen))
        if all(isinstance(value, ast.Constant) for value in alternatives):  # layer = layer or None
            alternatives = [value for value in self.values[name] if name not in seen]
        for value in alternatives:
            if isinstance(value, Elsewhere | _Passed):
                there, already = self._there(value)
                yield from there.made_by(value.value, already) if self.depth < _FUNCTIONS else "?"
                continue
            target = (
                value.args[0]
                if isinstance(value, ast.Call) and dotted(value.func) in _PARTIAL and value.args
                else value
            )
            found = self.facts.index.resolve(self.module, dotted(target)) if dotted(target) else None
            head, _, tail = dotted(target).partition(".")
            origin = self.module.origin(head, tail) if head and head not in self.values else ""
            if found is not None:
                classes.append(self._as_read(found))
            elif origin.startswith("torch.nn.") and origin.removeprefix("torch.nn.") not in TORCH_WRAPPERS:
                told = isinstance(value, ast.Call) and self._works_in_place(target, value.args[1:], value.keywords)
                yield IN_PLACE if told else "view"
            elif not isinstance(value, ast.Constant):
                yield "view" if is_believed(self.module, name) else "?"
        yield from classes
        if not self.values[name]:
            yield "?"

    def _tells_more(self, callee: str, arguments: Sequence[ast.expr], seen: frozenset[str]) -> bool:
        """Whether a class that a variable holds is made with modules that its own code does not tell of."""
        given = {kind for argument in arguments for kind in self.of(argument, seen)} - _KNOWN
        if any(isinstance(value, _Passed) for value in self._alternatives(callee, seen)):
            return bool(given)
        return not self.module.is_timms and any(isinstance(kind, Class) for kind in given)

    def made_by(self, callee: ast.expr, seen: frozenset[str] = frozenset()) -> Iterator[Kind]:
        """What a call makes of what an expression gives: a class, or a module that is there already."""
        match callee:
            case ast.Call(func=function, args=[made, *_]) if dotted(function) in _PARTIAL:
                yield from self.made_by(made, seen)
            case ast.IfExp(body=body, orelse=orelse):
                yield from (*self.made_by(body, seen), *self.made_by(orelse, seen))
            case ast.BoolOp(values=parts):
                for part in parts:
                    yield from self.made_by(part, seen)
            case ast.Constant():
                return
            case ast.Name(id=name) if name in self.values:
                yield from self.chosen(name, "", seen)
            case _:
                yield from self.call(callee, seen=seen) if dotted(callee) else "?"

    def _alternatives(self, name: str, seen: frozenset[str]) -> Iterator[ast.expr]:
        """What a variable may be bound to, each of ``norm_layer or nn.LayerNorm`` by itself."""
        pending = list(self.values[name]) if name not in seen else []
        looked_at = {name, *seen}
        while pending:
            value = pending.pop(0)
            match value:
                case ast.BoolOp(values=parts):
                    pending += parts
                case ast.IfExp(body=body, orelse=orelse):
                    pending += [body, orelse]
                case ast.Name(id=other) if other in self.values:
                    if not self.values[other]:
                        yield value
                    pending += self.values[other] if other not in looked_at else ()
                    looked_at.add(other)
                case _:
                    yield value

    def _by_name(self, name: str) -> Iterator[Kind]:
        yield "view" if is_believed(self.module, name.rpartition(".")[2]) else "?"

    def _passed(
        self,
        function: ast.FunctionDef,
        args: Sequence[ast.expr],
        keywords: Sequence[ast.keyword],
        skip: int,
        seen: frozenset[str],
    ) -> dict[str, list[ast.expr]]:
        """What a call passes to the parameters of a function; of those that ``*`` and ``**`` hide, nothing is said."""
        if any(isinstance(arg, ast.Starred) for arg in args) or any(keyword.arg is None for keyword in keywords):
            return {}
        parameters = [*function.args.posonlyargs, *function.args.args]
        given = [*zip((p.arg for p in parameters[skip:]), args, strict=False), *((k.arg, k.value) for k in keywords)]
        return {name: [_Passed(value, self, seen)] for name, value in given if name is not None}

    def returned(
        self, module: Module, function: ast.FunctionDef, name: str, passed: Mapping[str, list[ast.expr]]
    ) -> Iterator[Kind]:
        """What a function of the release may return that makes a module, by what its parameters are passed."""
        if is_believed(module, name.rpartition(".")[2]):
            yield "view"
            return
        if self.depth >= _FUNCTIONS or function.decorator_list:
            yield "?"
            return
        bound = _remembered(self.facts, "bound", function, _bindings)
        given = {name: [*values, *bound[name][1:]] for name, values in passed.items() if name in bound}
        inner = _Making(self.facts, module, {**bound, **given}, self.attribute, self.depth + 1)
        for node in walk(function):
            if isinstance(node, ast.Return) and node.value is not None:
                yield from inner.of(node.value)


_KNOWN = TORCHS - {IN_PLACE}
_HOLDERS = frozenset(
    {"filter", "list", "tuple", "reversed", "zip", "enumerate", "sorted", "set", "dict", "iter", "next"}
    | {"collections.OrderedDict", "copy.copy", "copy.deepcopy"}
)
_PARTIAL = frozenset({"partial", "functools.partial"})
