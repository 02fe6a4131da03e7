"""Which parts of a model may hold the same object: a rotary embedding that the stem and every block are given."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from codegen.model.bound import bindings_of
from codegen.model.bound import remembered as remembered_of
from codegen.model.configured import is_configured
from codegen.model.facts import Facts
from codegen.model.kinds import kinds_of
from codegen.model.library import ALLOCATING_FUNCTIONS, ALLOCATING_METHODS, FILLED
from codegen.model.making import Making
from codegen.model.module_kind import STATISTICS, Kind, is_believed
from codegen.model.outside_objects import objects_outside
from codegen.model.purity import is_library
from codegen.model.tampering import code_that_makes
from codegen.source.index import Class, Index, Module
from codegen.source.stores import makes_container
from codegen.syntax.dataflow import dotted
from codegen.syntax.parameters import defaults_of, positional_names
from codegen.syntax.reaching import reaching
from codegen.syntax.walking import remembered, walk, walk_for

_WHOLE = "self"
_MAKING = (ast.Call, ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp, ast.Attribute, ast.Name)


def is_made_with(facts: Facts, one: str, other: str) -> bool:
    """Whether two attributes are made from the same objects, or one from the other: ``self.alias = self.seen``."""
    return not _ingredients(facts, one).isdisjoint(_ingredients(facts, other))


def shares_module(facts: Facts, one: str, other: str) -> bool:
    """Whether two attributes are made with the same module, or one with a copy of what the other holds."""
    common = _ingredients(facts, one) & _ingredients(facts, other)
    copies = any("copy" in cls.module.text for cls in facts.lineage if not cls.module.is_timms)
    return any(name.startswith(_MODULE) for name in common) or (copies and is_made_of(facts, one, other))


def shares_norm(facts: Facts, one: str, other: str) -> bool:
    """Whether two attributes are made with the same module, which may be a norm that keeps statistics, or hold one."""
    common = _ingredients(facts, one) & _ingredients(facts, other)
    for cls in facts.lineage:
        if cls.constructor is not None and not cls.module.is_timms:
            bound = remembered_of(facts, "bound", cls.constructor, bindings_of)
            making = Making(facts, cls.module, bound, kinds_of)
            for values in _assigned(facts, cls.constructor).values():
                if any(made_at(value) in common and any(map(may_be_norm, making.of(value))) for value in values):
                    return True
    return False


def may_be_norm(kind: Kind) -> bool:
    """Whether a module of a kind may keep statistics, or hold one that does: those of torch are told apart."""
    return isinstance(kind, Class) or kind in (STATISTICS, "?", "foreign")


_MODULE = "the module that a constructor calls "
"""How an ingredient is called that is surely a module."""


def is_made_of(facts: Facts, one: str, other: str) -> bool:
    """Whether an attribute holds what is made of another's module: ``self.norm = copy.copy(self.bn)``."""
    return bool(kinds_of(facts, one)) and f"self.{other}" in _ingredients(facts, one)


def may_share(facts: Facts, one: str, other: str) -> bool:
    """Whether what two attributes of a model hold may have an object in common.

    They have if one is made from the other, or both from one variable that holds an object. What is given to a
    constructor and only measured or called there (``dim``, ``norm_layer``) is no object that it keeps.

    Args:
        facts: The model's class.
        one: An attribute, by way of which something is written.
        other: Another, by way of which something is read.
    """
    first, second = _ingredients(facts, one), _ingredients(facts, other)
    if _WHOLE in first | second or one in _escaping(facts) or not first.isdisjoint(second):
        return True
    return is_given_objects(facts)


def is_given_objects(facts: Facts) -> bool:
    """Whether code that may run when a model is made puts an object into parts of it: ``part.context = context``."""
    memory, key = facts.index.memory, ("is given objects", id(facts.cls))
    if key not in memory:
        memory[key] = any(_puts_object(node) for code in code_that_makes(facts) for node in walk(code))
    given: bool = memory[key]
    return given


def _puts_object(node: ast.AST) -> bool:
    """Whether a statement sets an attribute of something else than ``self`` to what may have other names."""
    match node:
        case ast.Assign(targets=targets, value=value):
            stored = [t for target in targets for t in walk(target) if isinstance(getattr(t, "ctx", None), ast.Store)]
            others = [t for t in stored if isinstance(t, ast.Attribute) and dotted(t.value) != "self"]
            tables = [t for t in stored if isinstance(t, ast.Subscript) and _is_table(t.value)]
            return bool(tables) or (bool(others) and _may_be_object(value))
        case ast.Call(func=ast.Name("setattr"), args=[owner, _, value]):
            return dotted(owner) != "self" and _may_be_object(value)
    return False


def _is_table(owner: ast.expr) -> bool:
    """Whether an expression is the dictionary in which a module keeps its parts: ``self._modules``."""
    return isinstance(owner, ast.Attribute) and owner.attr in _TABLES


_TABLES = frozenset({"_modules", "_parameters", "_buffers", "__dict__"})


def _may_be_object(value: ast.expr) -> bool:
    return any(isinstance(v, ast.Name | ast.Attribute | ast.Call) for v in _bare(value))


def _escaping(facts: Facts) -> frozenset[str]:
    """Attributes that hold a module or a list, and that some method gives another name, or hands on."""
    memory, key = facts.index.memory, ("escaping", id(facts.cls))
    if key not in memory:
        found: set[str] = set()
        for cls in facts.lineage:
            for name, method in cls.members.items():
                if not name.startswith("forward"):  # what runs is asked for its effects
                    found |= remembered(method, "handed on", partial(_handed_on_by, method))
        memory[key] = frozenset(
            name for name in found if kinds_of(facts, name) or any(map(makes_container, facts.values.get(name, ())))
        )
    escaping: frozenset[str] = memory[key]
    return escaping


def _handed_on_by(method: ast.AST) -> frozenset[str]:
    return frozenset(_handed_on(method, _only_asked(method), inside=False))


def _handed_on(node: ast.AST, asked: Collection[str], *, inside: bool) -> Iterator[str]:
    """Attributes of ``self`` that code hands on as they are, or that a function which is made there may use.

    Not to variables that are only ``asked``.
    """
    match node:
        case ast.Lambda():
            inside = True
        case ast.Attribute(value=ast.Name("self"), attr=attr):
            if inside:
                yield attr
            return
        case ast.Attribute(value=owner) | ast.Subscript(value=owner):
            yield from _handed_on(owner, asked, inside=inside) if inside or not isinstance(owner, ast.Attribute) else ()
            return
        case ast.Assign(targets=targets, value=value):
            kept = not all(_own(target) == _own(value) or dotted(target) in asked for target in targets)
            yield from (_own(value),) if _own(value) and kept else _handed_on(value, asked, inside=inside)
            return
        case ast.Call(func=function, args=args, keywords=keywords):
            yield from _handed_on(function, asked, inside=False)
            given = [*args, *(keyword.value for keyword in keywords)]
            harmless = dotted(function).rpartition(".")[2] in _LOOKS or dotted(function).startswith(
                ("nn.init.", "torch.")
            )
            for argument in given:
                if not (harmless and _own(argument)):
                    yield from (_own(argument),) if _own(argument) else _handed_on(argument, asked, inside=inside)
            return
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts) | ast.Dict(values=parts):
            for part in parts:
                yield from (_own(part),) if _own(part) else _handed_on(part, asked, inside=inside)
            return
        case ast.For(target=ast.Name(id=name), iter=ast.List() | ast.Tuple()) if name in asked:
            for statement in (*node.body, *node.orelse):
                yield from _handed_on(statement, asked, inside=inside)
            return
    for child in ast.iter_child_nodes(node):
        yield from _handed_on(child, asked, inside=inside)


def _only_asked(method: ast.AST) -> frozenset[str]:
    """Variables of a method by which it freezes layers, ``m.eval()``, and does no more with what they hold."""
    nodes = list(walk(method))
    freezing = {id(owner) for node in nodes for owner in _frozen_by(node)}
    loaded = [node for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
    return frozenset(node.id for node in loaded) - {node.id for node in loaded if id(node) not in freezing}


def _frozen_by(node: ast.AST) -> Iterator[ast.expr]:
    """What a statement freezes: ``m.eval()``, and ``for p in m.parameters(): p.requires_grad = False``."""
    match node:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=owner, attr=attr), args=args, keywords=[])):
            if attr in ("eval", "train", "requires_grad_") and all(isinstance(a, ast.Constant) for a in args):
                yield owner
        case ast.Assign(targets=[ast.Attribute(value=owner, attr="requires_grad")], value=ast.Constant()):
            yield owner
        case ast.For(
            target=ast.Name(id=name), iter=ast.Call(func=ast.Attribute(value=owner, attr="parameters"), args=[])
        ):
            frozen = [list(_frozen_by(inner)) for inner in node.body]
            names = {part.id for parts in frozen for part in parts if isinstance(part, ast.Name)}
            if all(frozen) and names <= {name}:
                yield owner


_LOOKS = frozenset(
    {
        "len",
        "isinstance",
        "hasattr",
        "enumerate",
        "zip",
        "range",
        "print",
        "trunc_normal_",
        "normal_",
        "zeros_",
        "ones_",
    }
    | {"constant_", "xavier_uniform_", "named_apply", "numel", "type", "id", "init_weight_vit", "lecun_normal_"}
)


def _ingredients(facts: Facts, attribute: str) -> frozenset[str]:
    """Names of the objects that the values of an attribute are made from, itself among them."""
    memory, key = facts.index.memory, ("ingredients", id(facts.cls), attribute)
    if key not in memory:
        memory[key] = frozenset(_find(facts, attribute))
    found: frozenset[str] = memory[key]
    return found


def objects_of(facts: Facts, home: Class, value: ast.expr) -> frozenset[str]:
    """Names of the objects that an expression hands on which it has not made, and of those that they are made from.

    Args:
        facts: The model's class.
        home: The class in which the expression stands: that one, or one that it derives from.
        value: The expression.
    """
    return frozenset(_Objects(facts, home).of(value))


def made_at(node: ast.expr | ast.arg) -> str:
    """The name of the object that a variable is bound to by an expression, or as an argument."""
    return f"what line {node.lineno}, column {node.col_offset} makes"


def called_in_constructor(name: str) -> str:
    """The name of the module that a variable of a constructor holds."""
    return f"{_MODULE}{name}"


def _find(facts: Facts, attribute: str) -> Iterator[str]:
    yield f"self.{attribute}"
    if attribute not in facts.values and attribute != "training" and not facts.has_member(attribute):
        yield _WHOLE  # made out of sight
    for value in (*facts.values.get(attribute, ()), *facts.put(attribute)):
        yield from _Objects(facts, facts.home(value)).of(value)
    for cls in facts.lineage:
        for value in _put(facts, cls).get(attribute, ()):
            yield from _Objects(facts, cls).of(value)


def _put(facts: Facts, cls: Class) -> Mapping[str, list[ast.expr]]:
    """What the methods of a class bind to each attribute by a name, or put into what it holds."""
    memory, key = facts.index.memory, ("put", id(cls))
    if key not in memory:
        found: dict[str, list[ast.expr]] = {}
        for node in (node for method in cls.members.values() for node in walk(method)):
            match node:
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        for part in target.elts if isinstance(target, ast.Tuple | ast.List) else ():
                            if name := _own(part):  # self.put, self.get = make_pair()
                                common = ast.Name(f"line {node.lineno}", ast.Load())
                                found.setdefault(name, []).append(common)
                        others = [other for other in targets if other is not target]
                        named = [*others, *([value] if isinstance(value, ast.Name) else [])]
                        if name := _own(target):
                            found.setdefault(name, []).extend(named)
                        elif name := _own(_way(target)):  # self.names[0] = value, self.stem.owner = value
                            found.setdefault(name, []).append(value)
                case ast.Call(func=ast.Attribute(ast.Name("self"), attr), args=args, keywords=keywords) if (
                    attr in _REGISTERING
                ):
                    given = [*args, *(keyword.value for keyword in keywords)]
                    match given:
                        case [ast.Constant(value=str(name)), *values]:
                            found.setdefault(name, []).extend(values)
                case ast.Call(func=ast.Name("setattr"), args=[owner, _, value]) if name := _own(_way(owner)):
                    found.setdefault(name, []).append(value)
                case ast.Call(func=ast.Attribute(value=owner), args=args) if name := _own(_way(owner)):
                    found.setdefault(name, []).extend(args)
        memory[key] = found
    known: Mapping[str, list[ast.expr]] = memory[key]
    return known


_REGISTERING = frozenset({"register_buffer", "register_parameter"})


def _is_plain(value: ast.expr) -> bool:
    """Whether a value is a number or a text, or made of such alone."""
    match value:
        case ast.Constant() | ast.JoinedStr() | ast.Compare():
            return True
        case ast.UnaryOp(operand=operand):
            return _is_plain(operand)
        case ast.BinOp(left=left, right=right):
            return _is_plain(left) or _is_plain(right)
    return False


def _sizes(facts: Facts) -> frozenset[str]:
    """Attributes that are numbers, as sizes of tensors that are made: ``torch.zeros(1, n, self.embed_dims)``."""
    memory, key = facts.index.memory, ("sizes", id(facts.cls))
    if key not in memory:
        made = ((c, call) for c in facts.lineage if c.constructor for call in walk_for(c.constructor, ast.Call))
        memory[key] = frozenset(
            name
            for cls, call in made
            if cls.module.origin_of(call.func) in FILLED
            and dotted(call.func).partition(".")[0] not in cls.constructor_names
            for name in map(_own, call.args)
        )
    sizes: frozenset[str] = memory[key]
    return sizes


def _binds_plain(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and _is_plain(node.value)


def _way(node: ast.expr) -> ast.expr:
    """Where the path to what an expression means begins: an attribute of ``self``, or a variable."""
    while isinstance(node, ast.Attribute | ast.Subscript) and not _own(node):
        node = node.value
    return node


def _is_variable(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _own(node: ast.expr) -> str:
    """The name of an attribute of ``self``; empty if a node is none."""
    return node.attr if isinstance(node, ast.Attribute) and dotted(node.value) == "self" else ""


def gives_again(index: Index, home: Class, callee: ast.expr) -> bool:
    """Whether a call in a constructor may give an object that another call gave before.

    A function that remembers what it made, a class with a ``__new__``, a default value.
    """
    head = dotted(callee).partition(".")[0]
    return bool(head) and head not in home.constructor_names and _gives_again(index, home.module, callee, 0)


def _gives_again(index: Index, module: Module, callee: ast.expr, depth: int) -> bool:
    name = dotted(callee)
    cls = index.resolve(module, name) if name else None
    if cls is not None:
        lineage = [each for each in index.lineage(cls) if not each.module.is_timms]
        made = next((c.constructor for c in index.lineage(cls) if c.constructor is not None), None)
        odd = any("__new__" in each.members or each.node.keywords or _has_object(index, each) for each in lineage)
        return bool(lineage) and (odd or (made is not None and _keeps_defaults(made)))
    found = index.function(module, name) if name else None
    if found is None and any(_holds_objects(node) for node in module.bindings.get(name, ())):
        return True
    if found is None or found[0].is_timms:
        return False
    home, function = found
    if function.decorator_list or _keeps_defaults(function) or depth > _DEPTH:
        return True
    values = [n.value for n in walk(function) if isinstance(n, ast.Return) and n.value is not None]
    return not all(_is_new(index, home, function, value, depth) for value in values)


def _has_object(index: Index, cls: Class) -> bool:
    """Whether all objects of a class have one object by default, as those of a dataclass: ``act: nn.Module = ACT``."""
    values = [node.value for node in cls.members.values() if isinstance(node, ast.AnnAssign)]
    calls = [dotted(value.func) for value in values if isinstance(value, ast.Call)]
    names = [value.id for value in values if isinstance(value, ast.Name)]
    made = any(name.rpartition(".")[2] != "field" for name in calls)
    return made or any(not _is_code(index, cls.module, name) and name in cls.module.bindings for name in names)


def _is_code(index: Index, module: Module, name: str) -> bool:
    """Whether a name of a module is a class, a function or a number."""
    known = index.resolve(module, name) is not None or index.function(module, name) is not None
    return known or module.import_of(name) is not None or all(map(_binds_plain, module.bindings.get(name, ())))


def _holds_objects(node: ast.AST) -> bool:
    """Whether code makes what hands on the same objects at each call: ``partial(Block, rope=Rope())``."""
    partials = [n for n in walk(node) if isinstance(n, ast.Call) and dotted(n.func).rpartition(".")[2] == "partial"]
    given = [value for call in partials for value in (*call.args[1:], *(keyword.value for keyword in call.keywords))]
    return any(_may_be_object(value) for value in given)


def _is_new(index: Index, module: Module, function: ast.FunctionDef, value: ast.expr, depth: int) -> bool:
    """Whether a function makes what it returns, or is given it."""
    match value:
        case ast.Call(func=callee):
            return not _gives_again(index, module, callee, depth + 1)
        case ast.Name(id=name):
            given = any(isinstance(n, ast.arg) and n.arg == name for n in walk(function.args))
            made = [n.value for n in walk(function) if isinstance(n, ast.Assign) and name in _names(n)]
            several = [v for v in made if not (isinstance(v, ast.Name) and v.id == name)]
            return (given or bool(made)) and all(_is_new(index, module, function, v, depth + 1) for v in several)
        case ast.IfExp(body=body, orelse=orelse):
            return all(_is_new(index, module, function, part, depth) for part in (body, orelse))
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return all(_is_new(index, module, function, part, depth) for part in parts)
    displays = ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp | ast.GeneratorExp
    return isinstance(value, displays | ast.Constant | ast.BinOp | ast.JoinedStr | ast.Compare | ast.UnaryOp)


def _names(node: ast.Assign) -> set[str]:
    return {target.id for target in node.targets if isinstance(target, ast.Name)}


def _keeps_defaults(function: ast.FunctionDef) -> bool:
    """Whether a parameter has an object by default, the same for all calls."""
    defaults = defaults_of(function.args).values()
    return any(isinstance(n, ast.Call | ast.List | ast.Dict | ast.Set) for d in defaults for n in walk(d))


_DEPTH = 4  # of functions that call each other to make a module
_INSIDES = frozenset({"__dict__", "__defaults__", "__kwdefaults__", "__closure__", "__globals__", "_modules", "vars"})
"""What leads to objects past their names."""


@dataclass(frozen=True)
class _Objects:
    """The objects that expressions of a class hand on.

    Attributes:
        facts: The model's class.
        home: The class whose constructor makes them: that one, or one that it derives from.
        seen: Variables that have been followed.
    """

    facts: Facts
    home: Class
    seen: set[str] = field(default_factory=set)

    def of(self, value: ast.expr) -> Iterator[str]:
        """Names of the objects that an expression hands on, and of those that they are made from."""
        match value:
            case ast.Name("self"):
                yield _WHOLE
            case ast.Name(id=name):
                if name.startswith("line "):
                    yield name
                if name not in self.home.constructor_names:
                    yield from self._outside(value)
                    if not self.home.module.is_timms and self._is_made_elsewhere(name):
                        yield f"{name} of another method"
                    if not self.home.module.is_timms and self._is_global(name):
                        yield f"{name} of the module"
                    return
                if is_believed(self.home.module, name):
                    return
                bound_to = _bound_to(self.home, name, self.facts)
                if bound_to == "plain":
                    return
                if bound_to == "module":
                    yield called_in_constructor(name)
                made = list(_reaching(self.home.constructor, value))
                # variables that one expression is bound to, a, b = both(m), may be the same
                yield from map(made_at, made)
                if not made:
                    yield f"what {name} is bound to in another way"
                if name not in self.seen:
                    self.seen.add(name)
                    for source in made:
                        yield from self.of(source) if isinstance(source, ast.expr) else ()
                    for added in self._added(name):
                        yield from self.of(added)
            case ast.Attribute() if dotted(value).startswith("self."):
                attribute = dotted(value).split(".")[1]
                if attribute in _TABLES:
                    yield _WHOLE
                bound = self.facts.values.get(attribute, ())
                if attribute in _sizes(self.facts):
                    return
                if kinds_of(self.facts, attribute) or any(map(makes_container, bound)):
                    yield f"self.{attribute}"
                elif self.facts.is_parameter(attribute) or not (
                    self.home.module.is_timms or all(map(_is_plain, bound))
                ):
                    yield f"self.{attribute}"  # a tensor has the same numbers under each of its names
            case ast.Call(func=ast.Attribute(ast.Name("self"), attr)) if attr not in self.facts.methods and (
                attr not in self.facts.values
            ):
                yield _WHOLE  # self.get_submodule("stem.norm"), self.modules()
            case ast.Attribute(attr=attr) | ast.Call(func=ast.Name(attr)) if attr in _INSIDES:
                yield _WHOLE
            case ast.Call(func=function, args=args, keywords=keywords):
                if isinstance(function, ast.Attribute) and dotted(function.value) != "self":
                    copied = function.attr in ALLOCATING_METHODS and self.facts.is_parameter(_own(function.value))
                    yield from () if copied else self.of(function.value)
                if isinstance(function, ast.Call):  # partial(Wrap, stem)()
                    yield from self.of(function)
                if not self.home.module.is_timms:
                    yield from self._handed_on_by(function)
                yield from self._outside(function)
                if isinstance(function, ast.Name) and self._is_made_here(function.id):
                    yield f"what {function.id} has at hand"
                if gives_again(self.facts.index, self.home, function):
                    yield f"what {dotted(function)} gives"
                pairs = [*enumerate(args), *((keyword.arg, keyword.value) for keyword in keywords)]
                for place, given in pairs:
                    bare = isinstance(given, ast.Name) and given.id != "self"
                    if not bare or _keeps(self.facts, self.home, function, place, given):
                        yield from self.of(given)
            case ast.Lambda() | ast.ListComp() | ast.GeneratorExp() | ast.DictComp() | ast.SetComp():
                for inner in (n for child in ast.iter_child_nodes(value) for n in walk(child)):
                    if isinstance(inner, ast.Call):
                        yield from self.of(inner)
            case ast.Subscript(value=ast.Attribute() | ast.Call() | ast.List() | ast.Tuple() | ast.Dict() as inner):
                yield from self.of(inner)  # self.alias = self.blocks[0]
            case ast.Subscript(value=inner) if not self.home.module.is_timms:
                yield from self.of(inner)
            case ast.BinOp(left=left, op=ast.Add() | ast.Mult(), right=right):
                for part in (left, right):
                    yield from self.of(part) if isinstance(part, ast.List | ast.Tuple) else ()
            case ast.BinOp() | ast.Compare() | ast.Constant() | ast.Subscript():
                return
            case _:
                yield from self._outside(value) if isinstance(value, ast.Attribute) else ()
                for child in ast.iter_child_nodes(value):
                    if isinstance(child, ast.expr):
                        yield from self.of(child)

    def _handed_on_by(self, function: ast.expr) -> Iterator[str]:
        """What each call of a variable or an attribute hands on again: ``make = partial(Block, rope=Rope())``."""
        values: Iterable[ast.AST] = self.facts.values.get(_own(function), ())
        if isinstance(function, ast.Name) and function.id in self.home.constructor_names:
            values = list(_reaching(self.home.constructor, function))
            if any(map(_holds_objects, values)):
                yield from self.of(function)
        yield from (f"what line {getattr(node, 'lineno', 0)} hands on" for node in values if _holds_objects(node))

    def _outside(self, node: ast.expr) -> frozenset[str]:
        """What code that an expression names gets from elsewhere than from this constructor."""
        if self.home.module.is_timms:  # proved by running it, too
            return frozenset()
        return objects_outside(self.facts.index, self.home.module, node, self.home.constructor_names)

    def _is_global(self, name: str) -> bool:
        """Whether a name is a global of the module that may be changed in place."""
        nodes = self.home.module.bindings.get(name, ())
        known = self.facts.index.resolve(self.home.module, name) or self.facts.index.function(self.home.module, name)
        library = is_library(self.home.module.origin(name))
        return known is None and not library and any(not _binds_plain(node) for node in nodes)

    def _is_made_here(self, name: str) -> bool:
        """Whether the constructor makes a function of that name, which sees its variables."""
        for node in walk(self.home.constructor or ast.Pass()):
            match node:
                case ast.FunctionDef(name=found) if found == name and node is not self.home.constructor:
                    return True
                case ast.Assign(targets=[ast.Name(id=found)], value=ast.Lambda()) if found == name:
                    return True
        return False

    def _is_made_elsewhere(self, name: str) -> bool:
        """Whether another method than the constructor makes an object by this name."""
        methods = (m for m in self.home.members.values() if isinstance(m, ast.FunctionDef))
        values = [value for method in methods for value in _assigned(self.facts, method).get(name, ())]
        return any(isinstance(node, _MAKING) for value in values for node in walk(value))

    def _added(self, name: str) -> Iterator[ast.expr]:
        """What the constructor puts into what a variable holds."""
        for node in walk(self.home.constructor or ast.Pass()):
            match node:
                case ast.Call(func=ast.Attribute(value=owner), args=args) if _is_variable(_way(owner), name):
                    yield from args
                case ast.Call(args=args) if any(_is_variable(argument, name) for argument in args):
                    yield from (value for argument in args for value in _bare(argument) if dotted(value) == "self")
                case ast.AugAssign(target=ast.Name(id=found), value=value) if found == name:
                    yield value
                case ast.Assign(targets=targets, value=value):
                    if any(_is_variable(_way(target), name) and not isinstance(target, ast.Name) for target in targets):
                        yield value


def _reaching(function: ast.FunctionDef | None, use: ast.Name) -> Iterator[ast.expr | ast.arg]:
    """What a variable may have been bound to where it is used."""
    for node in reaching(function, use) if function is not None else ():
        match node:
            case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value) | ast.For(iter=value):
                yield value
            case ast.arg():
                yield node


def _keeps(facts: Facts, home: Class, function: ast.expr, place: int | str | None, given: ast.expr) -> bool:
    """Whether a call may keep the object that it is given by a bare name."""
    made = _bound_to(home, dotted(given), facts)
    if made in ("plain", "module"):
        return made == "module"
    if not home.module.is_timms and _may_be_tensor(facts, home, dotted(given)):
        return True
    name = dotted(function)
    head = name.partition(".")[0]
    cls = facts.index.resolve(home.module, name) if name and head not in home.constructor_names else None
    if cls is None:
        return made == "module" or (bool(name) and not home.module.is_timms and _gives_tensor_of(home, name))
    inner = Facts.of(facts.index, cls)
    found = inner.method("__init__")
    if found is None:
        return made == "module"
    parameters = positional_names(found[1].args)[1:]
    parameter = dict(enumerate(parameters)).get(place, "") if isinstance(place, int) else place
    if parameter not in {*parameters, *(a.arg for a in found[1].args.kwonlyargs)}:
        return made == "module"
    return _uses_as_object(inner, found[1], str(parameter))


def _may_be_tensor(facts: Facts, home: Class, name: str) -> bool:
    """Whether a variable of a constructor, or a global, is bound to what a function of torch or numpy gives."""
    if home.constructor is not None and name in home.constructor_names:
        values: Iterable[ast.AST] = _assigned(facts, home.constructor).get(name, ())
    else:
        values = home.module.bindings.get(name, ())
    calls = (node.value if isinstance(node, ast.Assign | ast.AnnAssign) else node for node in values)
    made = [home.module.origin_of(call.func) for call in calls if isinstance(call, ast.Call)]
    return any(path.partition(".")[0] in ("torch", "numpy") for path in made)


def _gives_tensor_of(home: Class, name: str) -> bool:
    """Whether a function of torch may give the tensor that it is given, or a view: ``nn.Parameter(table)``."""
    head, _, rest = name.partition(".")
    namespace, _, function = ("" if head in home.constructor_names else home.module.origin(head, rest)).rpartition(".")
    if namespace in ("torch.nn", "torch.nn.parameter"):
        return function in ("Parameter", "Buffer")
    return namespace == "torch" and function not in ALLOCATING_FUNCTIONS


def _uses_as_object(facts: Facts, constructor: ast.FunctionDef, parameter: str) -> bool:
    """Whether a class keeps a parameter of its constructor and calls it later, or looks at what it has."""
    kept = {
        name
        for name, values in facts.values.items()
        if any(isinstance(n, ast.Name) and n.id == parameter for value in values for n in _bare(value))
    }
    handed_on = any(
        isinstance(a, ast.Name) and a.id == parameter
        for call in walk(constructor)
        if isinstance(call, ast.Call) and dotted(call.func)[:1].isupper()
        for a in (*call.args, *(k.value for k in call.keywords))
    )
    used = {
        attr
        for cls in facts.lineage
        for method in cls.members.values()
        for node in walk(method)
        for attr in _looked_into(node)
    }
    return bool(kept & used) or (handed_on and not kept)


def _bare(value: ast.expr) -> Iterator[ast.expr]:
    """What an attribute is bound to as it is, in a list or by a condition too."""
    yield value
    for child in ast.iter_child_nodes(value):
        if isinstance(value, ast.IfExp | ast.BoolOp | ast.List | ast.Tuple | ast.Dict) and isinstance(child, ast.expr):
            yield from _bare(child)


def _looked_into(node: ast.AST) -> Iterator[str]:
    """Attributes of ``self`` that code calls, or of which it takes an attribute."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name("self"), attr=attr)):
            yield attr
        case ast.Attribute(value=ast.Attribute(value=ast.Name("self"), attr=attr)):
            yield attr
        case ast.For(iter=ast.Attribute(value=ast.Name("self"), attr=attr)):
            yield attr
        case ast.Subscript(value=ast.Attribute(value=ast.Name("self"), attr=attr), ctx=ast.Store()):
            yield attr


def _bound_to(home: Class, name: str, facts: Facts) -> str:
    """What a name of a constructor is bound to: a ``module``, something ``plain``, or what is ``unknown``."""
    function = home.constructor
    if function is None:
        return "unknown"
    values = list(_assigned(facts, function).get(name, ()))
    calls = [call for value in values for call in walk(value) if isinstance(call, ast.Call)]
    built = [dotted(call.func) for call in calls if is_configured(home.module.origin_of(call.func))]
    classes = [*built, *(name for call in calls if (name := dotted(call.func)).rpartition(".")[2][:1].isupper())]
    if classes:
        return "module" if any(_makes_module(facts, home, name) for name in classes) else "plain"
    plain = ast.Constant | ast.BinOp | ast.Compare | ast.Tuple | ast.JoinedStr | ast.ListComp
    default = defaults_of(function.args).get(name)
    if isinstance(default, ast.Constant) and default.value is not None:
        values.append(default)
    return "plain" if values and all(isinstance(v, plain) for v in values) else "unknown"


def _assigned(facts: Facts, function: ast.FunctionDef) -> Mapping[str, list[ast.expr]]:
    """What a function assigns to each of its variables."""
    memory, key = facts.index.memory, ("assigned", id(function))
    if key not in memory:
        found: dict[str, list[ast.expr]] = {}
        for node in walk(function):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        found.setdefault(target.id, []).append(node.value)
        memory[key] = found
    known: Mapping[str, list[ast.expr]] = memory[key]
    return known


def _makes_module(facts: Facts, home: Class, name: str) -> bool:
    """Whether a class may be one of modules, or of others that change."""
    cls = facts.index.resolve(home.module, name)
    if cls is None or not cls.module.is_timms:
        return True  # or of other objects, which hold what modules put there
    bases = [(c.module, dotted(base)) for c in facts.index.lineage(cls) for base in c.node.bases]
    heads = [(module, *base.partition(".")) for module, base in bases]
    known = [
        facts.index.resolve(module, head + dot + rest) or module.origin(head, rest) for module, head, dot, rest in heads
    ]
    return any(not found or (isinstance(found, str) and found.startswith("torch.")) for found in known)


def is_aliased(facts: Facts, attribute: str) -> bool:
    """Whether what an attribute holds may have another name: it was not made on the spot for it alone."""
    values = facts.values.get(attribute, ())
    if not values:
        return not facts.has_member(attribute)
    if any(isinstance(v, ast.Name | ast.Attribute | ast.Subscript) for value in values for v in _bare(value)):
        return True
    return any(
        value is other
        for name, others in facts.values.items()
        if name != attribute
        for other in others
        for value in values
    )
