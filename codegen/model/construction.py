"""What is known of a module by the call that makes it: its class, its settings, the parts of a container."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from codegen.model.facts import Facts, alternatives
from codegen.source.index import Class
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import dotted, returns
from codegen.syntax.parameters import defaults_of, positional_names
from codegen.syntax.walking import walk

_TORCH = "torch.nn."
_BUILDERS = "mmcv.cnn.build_"  # build_conv_layer, build_norm_layer
_ENUMERATION = "Format."
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
# What an argument or a function of timm makes, by the words in its name, as a kind of module.
_PURPOSES = {
    "norm": "Identity",
    "act": "Identity",
    "drop": "Identity",
    "dropout": "Identity",
    "conv": "Conv",
    "pool": "Pool",
    "aa": "Pool",  # anti-aliasing
}


@dataclass(frozen=True)
class Construction:
    """A call that makes a module.

    Attributes:
        facts: The class whose module it makes.
        call: It; a default of an argument of the constructor stands in the place of the argument.
        home: The class in whose constructor it stands: that one, or one that it derives from.
        hidden: Names of the module that mean something else where it stands.
        defaulted: Whether it does: another class may be given instead.
    """

    facts: Facts
    call: ast.Call
    home: Class
    hidden: frozenset[str]
    defaulted: bool = False

    @staticmethod
    def of(facts: Facts, node: ast.expr, home: Class) -> Construction | None:
        """What an expression in the constructor of a class makes; ``None`` where it is no call."""
        match node:
            case ast.Subscript(value=ast.Call() as call, slice=ast.Constant(value=1)):  # a name and the layer
                made = Construction(facts, call, home, home.constructor_names)
                return made if made.origin.startswith(_BUILDERS) else None
        if not isinstance(node, ast.Call):
            return None
        given = _default(home, node)
        if given is not None:
            return Construction(
                facts, given, home, frozenset(), defaulted=not _is_left_out(facts, home, dotted(node.func))
            )
        return Construction(facts, node, home, home.constructor_names)

    @cached_property
    def name(self) -> str:
        """The dotted name of what is called; of ``conv_nd(2)(...)`` that of the inner call."""
        function = self.call.func
        return dotted(function.func if isinstance(function, ast.Call) else function)

    @cached_property
    def is_local(self) -> bool:
        """Whether the name is one of the constructor's own, so that the module's says nothing."""
        head = self.name.partition(".")[0]
        return head in self.hidden

    @cached_property
    def cls(self) -> Class | None:
        """Its class, if the release has it."""
        if not self.name or self.is_local:
            return None
        return self.facts.index.resolve(self.home.module, self.name)

    @cached_property
    def origin(self) -> str:
        """The full name of what is called, ``torch.nn.Conv2d``."""
        if not self.name or self.is_local:
            return ""
        head, _, rest = self.name.partition(".")
        return self.home.module.origin(head, rest)

    @property
    def torch(self) -> str:
        """Its class in ``torch.nn``, ``Conv2d``; empty if it is none of these."""
        name = self.origin.removeprefix(_TORCH)
        return name if self.origin.startswith(_TORCH) and "." not in name else ""

    @property
    def purpose(self) -> str:
        """What it does by its name, as a kind of module: ``norm_layer(...)``, ``timm.layers.create_conv2d(...)``.

        Believed are the names of functions of timm, torch and mmcv that choose a class, and of what a constructor of
        timm is given; in a user's class, such a name says that what is given is like what it is by default.
        """
        named = self.is_local or (self.is_timms and self.name.startswith("self."))
        if not (named or self.origin.startswith(("timm.", "torch.nn.utils.", _BUILDERS))):
            return ""
        words = [word.lower() for word in _WORDS.findall(self.name.rpartition(".")[2])]
        return next((_PURPOSES[word] for word in reversed(words) if word in _PURPOSES), "")

    @property
    def is_timms(self) -> bool:
        """Whether it stands in timm's own code."""
        return self.home.module.is_timms

    def choices(self) -> Sequence[Construction]:
        """What a variable of the constructor may make, ``norm_layer or nn.LayerNorm``; empty if not in sight."""
        leaves = _choices(self.home, self.name, frozenset()) or []
        made = []
        for leaf in leaves:
            match leaf:
                case ast.Call(func=function, args=[cls], keywords=keywords) if _is_partial(function, self.home):
                    made.append(ast.Call(cls, self.call.args, [*keywords, *self.call.keywords]))
                case ast.Name() | ast.Attribute():
                    made.append(ast.Call(leaf, self.call.args, self.call.keywords))
                case _:
                    return ()
        return [Construction(self.facts, call, self.home, frozenset()) for call in made]

    def with_patterns(self) -> Sequence[ast.Call]:
        """The call with the text that its first argument may be: ``pattern`` of ``Rearrange(pattern)``, written out."""
        match self.call.args:
            case [ast.Name(id=name) as first, *others] if name in self.home.constructor_names:
                texts = _texts(self.home, first, 0)
                return [
                    ast.copy_location(ast.Call(self.call.func, [t, *others], self.call.keywords), self.call)
                    for t in texts
                ]
        return [self.call]

    def parts(self) -> Iterator[tuple[Construction | None, bool]]:
        """The parts of a container by the arguments of its call, and whether there may be any number of such."""
        yield from _parts(self.facts, self.call.args, self.home)
        if self.call.keywords:
            yield None, False

    @staticmethod
    def children(facts: Facts) -> Iterator[Construction | None]:
        """What the methods of a ``Sequential`` put into it, in some order; ``None`` for what cannot be read."""
        for home, member in ((cls, node) for cls in facts.lineage for node in cls.members.values()):
            for node in walk(member):
                match node:
                    case ast.Call(func=ast.Attribute(attr="add_module" | "register_module"), args=[_, part]):
                        yield Construction.of(facts, part, home)
                    case ast.Call(
                        func=ast.Attribute(value=ast.Name("self"), attr="append" | "insert" | "extend"), args=parts
                    ):
                        yield Construction.of(facts, parts[-1], home) if parts else None
                    case ast.Call(func=ast.Attribute(attr="__init__"), args=parts):
                        yield from (part for part, _ in _parts(facts, parts, home))
                    case ast.Assign(targets=[ast.Attribute(value=ast.Name("self"))], value=ast.Call() as part):
                        yield Construction.of(facts, part, home)

    def returned(self) -> Construction | None:
        """What a plain function makes that is called: ``def conv3x3(...): return nn.Sequential(...)``."""
        if self.is_local or not self.name:
            return None
        found = self.facts.index.function(self.home.module, self.name)
        if found is None or found[0] is not self.home.module or found[1].decorator_list:
            return None
        function, last = found[1], found[1].body[-1]
        if not isinstance(last, ast.Return) or last.value is None or sum(map(returns, function.body)) > 1:
            return None
        local = {
            *(argument.arg for argument in function.args.args),
            *(name for statement in function.body for name in bound_names(statement)),
        }
        called = {dotted(call.func) for call in walk(last.value) if isinstance(call, ast.Call)}
        believed = ("norm_layer", "act_layer") if self.is_timms else ()
        if any(name.partition(".")[0] in local and not name.endswith(believed) for name in called):
            return None
        made = last.value
        return Construction(self.facts, made, self.home, frozenset()) if isinstance(made, ast.Call) else None

    def settings(self, made: Facts, options: Options) -> Mapping[str, object]:
        """Attributes of ``self`` that the constructor of its class sets once, from constants, or to a module.

        A module stands there as what makes it, with what is passed: ``norm_layer(dim) if norm_layer else None``. There
        may be several, if what is passed does not say which.

        Args:
            made: Its class.
            options: What is assumed of the arguments of the constructor that the call stands in.
        """
        found = made.method("__init__")
        if found is None:
            return {}
        arguments = found[1].args
        names = positional_names(arguments)[1:]
        given: dict[str, ast.expr] = {**dict(zip(names, self.call.args, strict=False))}
        given |= {keyword.arg: keyword.value for keyword in self.call.keywords if keyword.arg}
        hidden = any(isinstance(argument, ast.Starred) for argument in self.call.args)
        for spread in (keyword.value for keyword in self.call.keywords if keyword.arg is None):
            entries = options.entries(self.home, dotted(spread))
            hidden |= entries is None
            given |= entries or {}
        if not hidden:
            given = {**defaults_of(arguments), **given}  # else what is hidden may set what the call does not
        rebound = found[0].constructor_bound
        values: dict[str, object] = {}
        for name, node in given.items():
            if isinstance(node, ast.Constant) and name not in rebound:
                values[name] = node.value
            elif dotted(node).startswith(_ENUMERATION) and name not in rebound:
                values[name] = dotted(node).removeprefix(_ENUMERATION)
        settings: dict[str, object] = {}
        count: dict[str, int] = {}
        _apply(found[1].body, values, settings, count)
        # what another method sets, too, or another branch, is not settled
        settled = {
            name: value
            for name, value in settings.items()
            if len(made.values.get(name.removeprefix("self."), ())) == count[name]
        }
        passed = {name: node for name, node in given.items() if name not in rebound}
        return {
            name: self._makers(made, found[0], value, passed) if isinstance(value, ast.expr) else value
            for name, value in settled.items()
        }

    def _makers(self, made: Facts, home: Class, value: ast.expr, given: Mapping[str, ast.expr]) -> Makers:
        """What may make a module of the class that this makes.

        Args:
            made: That class.
            home: Where its constructor stands.
            value: What that binds an attribute to.
            given: The constructor's arguments, as they are passed or by default.
        """
        makers = []
        for leaf in alternatives(value):
            named = leaf.func.id if isinstance(leaf, ast.Call) and isinstance(leaf.func, ast.Name) else ""
            chosen = given.get(named)
            believed = home.module.is_timms  # what such a name says
            if isinstance(leaf, ast.Call) and isinstance(chosen, ast.Name | ast.Attribute) and not believed:
                memory, key = made.index.memory, ("chosen", id(leaf), id(chosen))
                call = memory.setdefault(key, ast.Call(chosen, leaf.args, leaf.keywords))
                by_default = home.constructor is not None and chosen is defaults_of(home.constructor.args).get(named)
                makers.append(
                    Construction(made, call, home, frozenset())
                    if by_default
                    else Construction.of(self.facts, call, self.home)
                )
            else:
                makers.append(Construction.of(made, leaf, home))
        return tuple(makers)


Makers: TypeAlias = tuple[Construction | None, ...]
"""What may make the module that stands in one place; ``None`` for what cannot be read."""


@dataclass
class Options:
    """What is assumed of a model's options, the arguments of its constructor that are true or false.

    A constructor may choose by one what its patch embedding is told, ``if dynamic_img_size: embed_args.update(...)``,
    and the method ask for the same later, ``if self.dynamic_img_size``. The two go together only if one answer is
    assumed in both.

    Attributes:
        models: The class of the model, and those that it derives from.
        assumed: The answers.
        asked: Options on which something was seen to depend that are not answered.
        count: Whether what is being worked out may be another for other models, or by other answers.
    """

    models: tuple[Class, ...]
    assumed: Mapping[str, bool]
    asked: set[str]
    count: bool = False
    _entries: dict[tuple[int, str], tuple[Mapping[str, ast.expr] | None, bool]] = field(default_factory=dict)

    def settings(self, facts: Facts) -> Mapping[str, object]:
        """What the answers say of attributes of ``self`` that keep an option."""
        found: dict[str, object] = {}
        for name, values in facts.values.items():
            match values:
                case [ast.Name(id=option)] if option in self.assumed:
                    found[f"self.{name}"] = self.assumed[option]
        return found

    def entries(self, home: Class, name: str) -> Mapping[str, ast.expr] | None:
        """What a dictionary of the constructor holds, by the statements that fill it; ``None`` if that is not known."""
        key = id(home), name
        if key not in self._entries:
            counted, self.count = self.count, False
            self._entries[key] = self._read(home, name), self.count
            self.count |= counted
        entries, count = self._entries[key]
        self.count |= count
        return entries

    def _read(self, home: Class, name: str) -> Mapping[str, ast.expr] | None:
        function = home.constructor
        if function is None or name not in home.constructor_bound or name in home.constructor_parameters:
            return None
        entries: dict[str, ast.expr] = {}
        seen = self._fill(home, function.body, name, entries)
        return entries if seen == home.constructor_mentions[name] else None

    def _fill(self, home: Class, statements: Sequence[ast.stmt], name: str, entries: dict[str, ast.expr]) -> int:
        """Follow what fills a dictionary, and count how often that mentions it."""
        seen = 0
        for statement in statements:
            filled: Mapping[str, ast.expr] | None = None
            match statement:
                case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                    filled = _literal(value)
                    entries.clear()
                case ast.Assign(
                    targets=[ast.Subscript(value=ast.Name(id=target), slice=ast.Constant(value=str(key)))], value=value
                ) if target == name:
                    filled = {key: value}
                case ast.Expr(
                    value=ast.Call(func=ast.Attribute(value=ast.Name(id=target), attr="update"), args=a, keywords=k)
                ) if target == name:
                    filled = _literal(ast.Call(ast.Name("dict", ast.Load()), a, k))
                case ast.If(test=test, body=body, orelse=orelse):
                    answer = None
                    if isinstance(test, ast.Name) and _mentions([*body, *orelse], name):
                        self.count = True
                        answer = self._answer(test.id) if home in self.models else None
                    arms: list[dict[str, ast.expr]] = [dict(entries), dict(entries)]
                    seen += self._fill(home, body, name, arms[0]) + self._fill(home, orelse, name, arms[1])
                    same = {key: value for key, value in arms[0].items() if arms[1].get(key) is value}
                    open_ = dict.fromkeys([*arms[0], *arms[1]], _OPEN) | same
                    entries.clear()
                    entries.update(open_ if answer is None else arms[0] if answer else arms[1])
            if filled is not None:
                entries.update(filled)
                seen += 1
        return seen

    def _answer(self, option: str) -> bool | None:
        """What is assumed of an option."""
        if option not in self.assumed:
            self.asked.add(option)
        return self.assumed.get(option)


_OPEN = ast.Name("_", ast.Load())  # what an entry may be that is filled under a condition


def _mentions(statements: Sequence[ast.stmt], name: str) -> bool:
    return any(isinstance(n, ast.Name) and n.id == name for s in statements for n in walk(s))


def _literal(node: ast.expr) -> Mapping[str, ast.expr] | None:
    """The entries of a dictionary that is written out: ``dict(a=1)``, ``{'a': 1}``, ``dict({'a': 1}, b=2)``."""
    match node:
        case ast.Dict(keys=keys, values=values):
            names = [key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
            return dict(zip(names, values, strict=True)) if len(names) == len(keys) else None
        case ast.Call(func=ast.Name(id="dict"), args=args, keywords=keywords):
            parts = [_literal(argument) for argument in args]
            if any(part is None for part in parts) or any(keyword.arg is None for keyword in keywords):
                return None
            entries = {name: value for part in parts for name, value in (part or {}).items()}
            return entries | {keyword.arg: keyword.value for keyword in keywords if keyword.arg}
    return None


def container_parts(facts: Facts, container: str) -> Sequence[ast.Call] | None:
    """The calls that make the elements of a container, ``None`` if it may hold others."""
    for value in facts.values.get(container, ()):
        for argument in value.args if isinstance(value, ast.Call) else ():
            known = isinstance(argument, ast.ListComp) and isinstance(argument.elt, ast.Call)
            listed = isinstance(argument, ast.List) and all(isinstance(e, ast.Call) for e in argument.elts)
            if not (known or listed):
                return None
    if container in facts.altered | facts.replaced:
        return None
    return list(facts.elements(container))


def _parts(facts: Facts, arguments: Sequence[ast.expr], home: Class) -> Iterator[tuple[Construction | None, bool]]:
    for argument in arguments:
        match argument:
            case ast.Starred(value=ast.List(elts=elements) | ast.Tuple(elts=elements)):
                yield from _parts(facts, elements, home)
            case ast.Starred(
                value=ast.Call(func=ast.Name("filter"), args=[ast.Constant(None), ast.List(elts=elements)])
            ):
                yield from _parts(facts, [leaf for element in elements for leaf in alternatives(element)], home)
            case ast.Starred(value=ast.ListComp(elt=element) | ast.GeneratorExp(elt=element)):
                yield Construction.of(facts, element, home), True
            case ast.Call(func=function, args=[ast.List(elts=entries)]) if _is_ordered(function, home):
                for entry in entries:
                    part = entry.elts[1] if isinstance(entry, ast.Tuple) and len(entry.elts) == 2 else entry
                    yield Construction.of(facts, part, home), False
            case _:
                yield Construction.of(facts, argument, home), False


def _is_ordered(function: ast.expr, home: Class) -> bool:
    return _origin(function, home) == "collections.OrderedDict"


def _texts(home: Class, node: ast.expr, depth: int) -> list[ast.expr]:
    """What a text may be, with the variables of a constructor in it written out; itself if that is not known."""
    match node:
        case ast.Name(id=name) if home.constructor is not None and name not in home.constructor_parameters:
            values = [
                n.value for n in walk(home.constructor) if isinstance(n, ast.Assign) and name in map(dotted, n.targets)
            ]
            bound = [name for n in walk(home.constructor) if _binds_here(n) for name in home.module.bound_names(n)]
            if depth < _DEPTH and values and len(values) == bound.count(name):
                return [text for value in values for text in _texts(home, value, depth + 1)]
        case ast.JoinedStr(values=parts):
            whole: list[ast.expr] = []
            for part in parts:
                inner = _texts(home, part.value, depth + 1) if isinstance(part, ast.FormattedValue) else [part]
                known = inner[0] if len(inner) == 1 and isinstance(inner[0], ast.JoinedStr | ast.Constant) else part
                whole += known.values if isinstance(known, ast.JoinedStr) else [known]
            return [ast.JoinedStr(whole)]
    return [node]


_DEPTH = 4  # of variables in the texts of others


def _choices(home: Class, name: str, seen: frozenset[str]) -> list[ast.expr] | None:
    """What a variable of a constructor may be bound to, ``None`` aside; ``None`` if some of it is not in sight."""
    function = home.constructor
    if function is None or name in seen:
        return [] if name in seen else None
    values = []
    if name in home.constructor_parameters:
        default = defaults_of(function.args).get(name)
        if default is None:
            return None
        values.append(default)
    bound = 0
    for node in walk(function):
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=target)], value=ast.expr() as value)
                | ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value)
            ) if target == name:
                values.append(value)
                bound += 1
    if bound != sum(name in home.module.bound_names(node) for node in walk(function) if _binds_here(node)):
        return None
    return _leaves(home, values, seen | {name})


def _binds_here(node: ast.AST) -> bool:
    """Whether a node of a function is one that binds names by itself, and not the statement around it."""
    if isinstance(node, ast.Name):
        return not isinstance(node.ctx, ast.Load)
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom)


def _leaves(home: Class, values: Sequence[ast.expr], seen: frozenset[str]) -> list[ast.expr] | None:
    found: list[ast.expr] = []
    for value in (leaf for given in values for leaf in alternatives(given)):
        inner: list[ast.expr] | None
        match value:
            case ast.BoolOp(op=ast.Or(), values=parts):
                inner = _leaves(home, parts, seen)
            case ast.Name(id=other) if other in home.constructor_names:
                inner = _choices(home, other, seen)
            case ast.Attribute() if dotted(value).partition(".")[0] in home.constructor_names:
                inner = None
            case _:
                inner = [value]
        if inner is None:
            return None
        found += inner
    return found


def _is_partial(function: ast.expr, home: Class) -> bool:
    return _origin(function, home) == "functools.partial"


def _origin(function: ast.expr, home: Class) -> str:
    """The full name of what a constructor calls; empty for what is its own."""
    head, _, rest = dotted(function).partition(".")
    return "" if head in home.constructor_names else home.module.origin(head, rest)


def _default(home: Class, call: ast.Call) -> ast.Call | None:
    """A call of an argument of the constructor, ``embed_layer(...)``, with what the argument is by default."""
    if home.constructor is None or not isinstance(call.func, ast.Name) or call.func.id in home.constructor_bound:
        return None
    names = [argument.arg for argument in home.constructor.args.args]
    defaults = dict(zip(reversed(names), reversed(home.constructor.args.defaults), strict=False))
    is_timms, believed = home.module.is_timms, call.func.id.endswith(("act_layer", "norm_layer"))
    match defaults.get(call.func.id):
        case ast.Call(func=ast.Name("partial"), args=[made], keywords=keywords) if is_timms or not believed:
            return ast.Call(made, call.args, [*keywords, *call.keywords])
        case ast.Name() as made if not believed:
            return ast.Call(made, call.args, call.keywords)
    return None


def _is_left_out(facts: Facts, home: Class, parameter: str) -> bool:
    """Whether the classes that derive from one never pass a parameter to its constructor: it is the default."""
    children = [c.constructor for c in facts.lineage[: facts.lineage.index(home)] if c.constructor is not None]
    calls = [n for child in children for n in walk(child) if isinstance(n, ast.Call) and _is_constructor(n.func)]
    names = [argument.arg for argument in home.constructor.args.args][1:] if home.constructor is not None else []
    spread = any(isinstance(a, ast.Starred) for call in calls for a in call.args)
    spread |= any(keyword.arg in (None, parameter) for call in calls for keyword in call.keywords)
    placed = any(parameter in names[: len(call.args)] for call in calls)
    plain = all(isinstance(call.func, ast.Attribute) and dotted(call.func.value) == "" for call in calls)
    return len(calls) == len(children) > 0 and plain and not spread and not placed


def _is_constructor(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and function.attr == "__init__"


def _apply(
    statements: Sequence[ast.stmt], values: Mapping[str, object], settings: dict[str, object], count: dict[str, int]
) -> None:
    """Follow a constructor, noting what it sets and in how many places.

    A statement that is not understood leaves what it sets uncounted, and so unsettled.
    """
    for statement in statements:
        match statement:
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=attr)], value=value):
                name = f"self.{attr}"
                settings.pop(name, None)
                count[name] = count.get(name, 0) + 1
                match _taken(value, values):
                    case ast.Constant(value=constant):
                        settings[name] = constant
                    case ast.Name(id=given) | ast.Call(func=ast.Name("Format"), args=[ast.Name(id=given)]) if (
                        given in values
                    ):
                        settings[name] = values[given]
                    case ast.Attribute() as value if dotted(value).startswith(_ENUMERATION):
                        settings[name] = value.attr
                    case ast.Call() | ast.IfExp() as made:
                        settings[name] = made
            case ast.If(test=test, body=body, orelse=orelse) if (answer := _answer(test, values)) is not None:
                taken, other = (body, orelse) if answer else (orelse, body)
                _apply(taken, values, settings, count)
                _apply(other, {}, {}, count)
            case ast.If(
                test=test,
                body=[ast.Assign(targets=[ast.Attribute(value=ast.Name("self"), attr=attr) as target], value=one)],
                orelse=[ast.Assign(targets=[ast.Attribute(value=ast.Name("self"), attr=same)], value=other)],
            ) if attr == same:
                _apply([ast.Assign([target], ast.IfExp(test, one, other))], values, settings, count)
                count[f"self.{attr}"] += 1


def _taken(value: ast.expr, values: Mapping[str, object]) -> ast.expr:
    """Which of two expressions a constructor takes, if its arguments say so."""
    if isinstance(value, ast.IfExp) and (answer := _answer(value.test, values)) is not None:
        return _taken(value.body if answer else value.orelse, values)
    return value


def _answer(test: ast.expr, values: Mapping[str, object]) -> bool | None:
    """What a question about one argument comes to, ``None`` if that is not known."""
    match test:
        case ast.Name(id=given) if given in values:
            return bool(values[given])
        case ast.Compare(
            left=ast.Name(id=given), ops=[ast.IsNot() | ast.Is() as asked], comparators=[ast.Constant(None)]
        ) if given in values:
            return (values[given] is None) is isinstance(asked, ast.Is)
        case ast.UnaryOp(op=ast.Not(), operand=operand) if (answer := _answer(operand, values)) is not None:
            return not answer
    return None
