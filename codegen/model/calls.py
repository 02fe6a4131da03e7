"""Which code a call runs: a helper method, the ``forward`` of a module that the constructor makes, a function."""

from __future__ import annotations

import ast
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic

from codegen.model.construction import Construction, container_parts
from codegen.model.decorators import are_as_they_read, called
from codegen.model.domain import Domain, Result, Scope, Value
from codegen.model.facts import Facts, alternatives
from codegen.model.library import SHAPE_KEEPING_MODULES, SPATIAL_MODULES, TENSOR_METHODS
from codegen.source.index import Class, Module
from codegen.syntax.dataflow import dotted
from codegen.syntax.parameters import defaults_of, positional_names
from codegen.syntax.walking import walk

DEPTH = 6  # of calls: deeper ones give what is not known
_EINOPS = "einops.layers.torch."
_ROUNDS = 6  # of modules one after the other
# Decorators that leave what a function returns as it is.
_TRANSPARENT_DECORATORS = frozenset(
    {"timm.layers._fx.register_notrace_module", "timm.layers.register_notrace_module"}
    | {"staticmethod", "torch.jit.ignore", "torch.jit.export", "torch.jit.unused", "torch.no_grad", "torch.fx.wrap"}
    | {"torch.compiler.disable", "timm.layers._fx.register_notrace_function", "timm.layers.register_notrace_function"}
)
# Libraries, and functions of Python, that leave the tensors that they are given as they are, but for names with `_`.
_HARMLESS = ("torch.", "math.")
_HARMLESS_BUILTINS = frozenset(
    {"abs", "all", "any", "bool", "dict", "enumerate", "float", "hasattr", "id", "int", "isinstance", "len"}
    | {
        "list",
        "max",
        "min",
        "print",
        "range",
        "repr",
        "reversed",
        "round",
        "set",
        "sorted",
        "str",
        "sum",
        "tuple",
        "type",
    }
    | {"zip", "super", "callable", "issubclass", "slice", "divmod", "pow"}
)
# Methods of lists and dictionaries, which leave the tensors in them as they are.
_CONTAINER_METHODS = frozenset(
    {"append", "extend", "insert", "pop", "get", "items", "keys", "values", "update", "copy"}
)

# Of these what calls `forward` says what it gives as well as what makes them.
_AS_THEY_READ = SHAPE_KEEPING_MODULES | SPATIAL_MODULES.keys() | {"Linear"}


@dataclass(frozen=True, eq=False)
class Modules:
    """The modules that may stand in one place.

    Attributes:
        facts: The class that holds them.
        made: The expressions that make them, or what is known of these.
        put: The calls that make what is put into them later.
        mixed: Whether that may be in the place of any of their parts.
    """

    facts: Facts
    made: tuple[ast.expr | Construction | None, ...]
    put: tuple[ast.Call, ...] = ()
    mixed: bool = False


@dataclass(frozen=True)
class Arguments(Generic[Value]):
    """What a call passes, by position and by name; ``None`` where ``*`` or ``**`` hides it."""

    given: Mapping[int | str, Value] | None

    def first(self, domain: Domain[Value]) -> Value:
        """The first positional argument."""
        return (self.given or {}).get(0, domain.unknown)

    def bind(
        self, domain: Domain[Value], function: ast.FunctionDef, module: Module, facts: Facts | None, skip: int
    ) -> dict[str, Value]:
        """What is known of each parameter of a function, the first ``skip`` of which are given otherwise."""
        args = function.args
        positional = [*args.posonlyargs, *args.args]
        defaults = defaults_of(args)
        extra = [p.arg for p in (args.vararg, args.kwarg) if p is not None]
        values: dict[str, Value] = dict.fromkeys([p.arg for p in positional[:skip]] + extra, domain.unknown)
        for number, parameter in enumerate([*positional[skip:], *args.kwonlyargs]):
            name = parameter.arg
            default = defaults.get(name)
            kind = annotated_as(domain, parameter.annotation, module, facts)
            nothing = isinstance(default, ast.Constant) and default.value is None
            if kind is not None:
                values[name] = domain.join(kind, domain.nothing) if nothing else kind
            elif self.given is None:
                values[name] = domain.unknown
            elif name in self.given:
                values[name] = self.given[name]
            elif number in self.given and number < len(positional) - skip:
                values[name] = self.given[number]
            else:
                values[name] = domain.nothing if nothing else domain.unknown
        return values


@dataclass(eq=False)
class Calls(Scope[Value]):
    """The part of a scope that resolves calls.

    Attributes:
        modules: Names that stand for a module of ``self`` wherever they are bound.
        touched: Parameters whose values code was given that may change them in place and cannot be read.
    """

    modules: dict[str, Modules] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    _alters: bool = False  # whether a module that is being called may change what it is given

    @abstractmethod
    def enter(
        self,
        module: Module,
        function: ast.FunctionDef,
        facts: Facts | None,
        arguments: dict[str, Value],
        settings: Mapping[str, object],
        modules: dict[str, Modules],
    ) -> Result[Value]:
        """Interpret a function in a scope of its own."""

    def _unread(self, call: ast.Call) -> Value:
        """What is known of a call whose code cannot be read: it may do anything to what it is given."""
        self._touch(call)
        return self.domain.unknown

    def _touch(self, call: ast.Call, names: frozenset[str] | None = None) -> None:
        """Note that a call may change its arguments, all of them or those of some names here."""
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        given += call.func.args if isinstance(call.func, ast.Call) else []  # getattr(x, 'squeeze_')(0)
        if isinstance(call.func, ast.Attribute) and self.of(call.func.value) != self.domain.unknown:
            given.append(call.func.value)
        believed = isinstance(call.func, ast.Attribute) and call.func.attr in TENSOR_METHODS
        for node in given:
            found = frozenset(_handed(node))
            if believed:  # gather, view: another name for what is not known is not what they change
                found = frozenset(name for name in found if self.names.get(name) != self.domain.unknown)
            self.touch(found if names is None else found & names)

    def call(self, call: ast.Call) -> Value:
        """What a call gives."""
        return self.domain.given(call, self._called(call), self)

    def _called(self, call: ast.Call) -> Value:
        function = call.func
        if self.facts is not None and dotted(function).startswith(f"{self.facts.prefix}."):
            return self._member(dotted(function).removeprefix(f"{self.facts.prefix}."), call)
        if isinstance(function, ast.Subscript) and (name := self.attribute(function.value)):
            return self._element(name, call)
        if isinstance(function, ast.Name) and function.id in self.modules:
            return self._modules(self.modules[function.id], call)
        match function:
            case ast.Attribute(value=ast.Call(func=ast.Name("super"), args=[]), attr=name) if self.facts is not None:
                return self._inherited(name, call)
        if path := self.path(function):
            return self._named(path, call)
        if isinstance(function, ast.Name):  # a function that is made here may change any name here
            self.touch(self.names.keys())
        if isinstance(function, ast.Attribute):
            owner = self.of(function.value)
            if owner == self.domain.unknown and function.attr not in _CONTAINER_METHODS:
                self._touch(call)
            return self.domain.method(owner, function.attr, call, self)
        return self._unread(call)

    def _named(self, path: str, call: ast.Call) -> Value:
        """What a function gives that a name of the module stands for."""
        found = self.session.index.function(self.module, dotted(call.func))
        if path in ("exec", "eval"):
            self.forget(list(self.names))
        if found is None:
            harmless = path.startswith(_HARMLESS) and not any(keyword.arg == "out" for keyword in call.keywords)
            if not (harmless or path in _HARMLESS_BUILTINS):
                self._touch(call)
            return self.domain.function(path, call, self)
        module, function = found
        # a plain function may be told a setting: nchw_to(x, self.output_fmt)
        given = _by_parameter(function, call, 0)
        kept = {name: node for name, node in given.items() if name not in self.session.code(function).bound}
        settings = {name: self.settings[dotted(n)] for name, n in kept.items() if dotted(n) in self.settings}
        arguments = self._arguments(call).bind(self.domain, function, module, None, 0)
        return self._run(module, function, None, arguments, settings, call, 0)

    def _member(self, name: str, call: ast.Call) -> Value:
        """What a method of ``self`` gives, or a module that it holds."""
        assert self.facts is not None
        found = self.facts.method(name)
        if found is not None and name not in self.facts.values:  # or an attribute of the instance hides it
            owner, function = found
            skip = 0 if any(dotted(decorator) == "staticmethod" for decorator in function.decorator_list) else 1
            return self._run_method(owner, function, call, skip)
        if isinstance(call.func, ast.Attribute) and "." in name:  # self.cls_token.expand(...)
            held = self.of(call.func.value)
            if held == self.domain.unknown:
                self._touch(call)
            return self.domain.method(held, call.func.attr, call, self)
        if name not in self.facts.values or name in self.facts.methods:
            return self._unread(call)
        return self._modules(self._held_by(name), call)

    def _inherited(self, name: str, call: ast.Call) -> Value:
        """What ``super().name(...)`` gives in a method of a class."""
        facts = self.at_home()
        assert facts is not None
        methods = [(cls, node) for cls in facts.lineage for node in cls.members.values()]
        functions = ((cls, node) for cls, node in methods if isinstance(node, ast.FunctionDef))
        home = next((cls for cls, node in functions if self.session.code(node) is self.code), None)
        if home is None:
            return self._unread(call)
        found = facts.inherited(home, name)
        if found is None:
            kind = facts.torch_parent if name == "forward" and facts.is_readable else ""
            given = self._arguments(call).first(self.domain)
            return self.domain.module(kind, call, given) if kind in _AS_THEY_READ else self._unread(call)
        owner, function = found
        if not isinstance(function, ast.FunctionDef) or function.decorator_list:
            return self._unread(call)
        return self._run_method(owner, function, call, 1)

    def _run_method(self, owner: Class, function: ast.FunctionDef, call: ast.Call, skip: int) -> Value:
        """What a method gives that the class, or one that it derives from, defines."""
        arguments = self._arguments(call).bind(self.domain, function, owner.module, self.facts, skip)
        settings = {name: value for name, value in self.settings.items() if name.startswith("self.")}
        return self._run(owner.module, function, self.at_home(), arguments, settings, call, skip)

    def _element(self, container: str, call: ast.Call) -> Value:
        """What an element of a container gives, if all that it may hold is in sight."""
        assert self.facts is not None
        parts = container_parts(self.facts, container)
        return self._unread(call) if parts is None else self._modules(Modules(self.facts, tuple(parts)), call)

    def _run(
        self,
        module: Module,
        function: ast.FunctionDef,
        facts: Facts | None,
        arguments: dict[str, Value],
        settings: Mapping[str, object],
        call: ast.Call,
        skip: int,
    ) -> Value:
        """What a function of the release returns for some arguments."""
        given = _by_parameter(function, call, skip)
        bound = self.session.code(function).bound
        passed = {name: self._module(node) for name, node in given.items() if name not in bound}
        modules = {name: found for name, found in passed.items() if found is not None and found.made}
        result = self._result(module, function, facts, arguments, settings, modules)
        collected = {p.arg for p in (function.args.vararg, function.args.kwarg) if p is not None}
        hidden = result.touched if _is_spread(call) else result.touched & collected
        names = frozenset(n for name, node in given.items() if name in result.touched for n in _handed(node))
        self._touch(call, None if hidden else names)
        return result.value

    def _result(
        self,
        module: Module,
        function: ast.FunctionDef,
        facts: Facts | None,
        arguments: dict[str, Value],
        settings: Mapping[str, object],
        modules: dict[str, Modules],
    ) -> Result[Value]:
        code = self.session.code(function)
        unknown = Result(self.domain.unknown, frozenset(code.parameters))
        transparent = all(_keeps_result(module, decorator) for decorator in function.decorator_list)
        if code.opaque or not transparent:
            return unknown
        kind = annotated_as(self.domain, function.returns, module, facts)
        if kind is not None:
            return Result(kind)
        if self.depth >= DEPTH:
            return unknown
        key = (
            function,
            facts and (facts.cls, facts.prefix),
            frozenset(settings.items()),
            tuple((name, passed.made) for name, passed in modules.items()),
            *arguments.items(),
        )
        results = self.session.results
        if not self.session.known(results, key, self.depth):
            with self.session.working_out(results, key, self.depth):
                results[key] = unknown  # for recursion
                results[key] = self.enter(module, function, facts, arguments, settings, modules)
        return results[key]

    def at_home(self) -> Facts | None:
        """The facts for code of the class itself, in which it is ``self`` whatever holds it."""
        if self.facts is None or self.facts.prefix == "self":
            return self.facts
        return Facts.of(self.facts.index, self.facts.cls)

    def _arguments(self, call: ast.Call) -> Arguments[Value]:
        if _is_spread(call):
            return Arguments(None)
        given: dict[int | str, Value] = {number: self.of(value) for number, value in enumerate(call.args)}
        return Arguments(given | {keyword.arg: self.of(keyword.value) for keyword in call.keywords if keyword.arg})

    # Modules

    def _module(self, node: ast.expr) -> Modules | None:
        """The modules that an expression may stand for: ``self.proj``, or a name for such."""
        if isinstance(node, ast.Name):
            return self.modules.get(node.id)
        name = self.attribute(node)
        if not name or self.facts is None or name in self.facts.methods:
            return None
        return self._held_by(name)

    def _held_by(self, attribute: str) -> Modules:
        """The modules that an attribute may hold; none if their parts are changed later."""
        assert self.facts is not None
        if attribute in self.facts.altered:
            return Modules(self.facts, ())
        put, mixed = self.facts.put(attribute), attribute in self.facts.replaced
        chosen = self.settings.get(f"self.{attribute}")  # norm_layer(dim) if norm_layer else nn.Identity()
        if isinstance(chosen, tuple):
            return Modules(self.facts, chosen, put, mixed)
        made = tuple(leaf for value in self.facts.values.get(attribute, ()) for leaf in alternatives(value))
        return Modules(self.facts, made, put, mixed)

    def name_elements(self, target: ast.expr, iterable: ast.expr) -> None:
        """Note that the variable of a loop stands for the elements of a container of modules."""
        match target, iterable:
            case ast.Tuple(elts=[_, inner]), ast.Call(func=ast.Name(id="enumerate"), args=[container]):
                self.name_elements(inner, container)
            case ast.Name(id=name), _ if (attribute := self.attribute(iterable)) and self.facts is not None:
                parts = container_parts(self.facts, attribute)
                # only a loop binds the name, or it would stand for something else elsewhere
                if parts is not None and self.code.bound[name] == 1:
                    self.modules[name] = Modules(self.facts, tuple(parts))

    def name_module(self, target: ast.expr, value: ast.expr) -> None:
        """Note that a variable stands for a module of ``self``: ``block = getattr(self, f"block{i}")``."""
        match target, value:
            case ast.Name(id=name), ast.Call(func=ast.Name("getattr"), args=[owner, ast.Constant(str(attr)), *_]):
                held = ast.Attribute(owner, attr, ast.Load())
            case ast.Name(id=name), ast.Attribute() as held:
                pass
            case _:
                return
        attribute = self.attribute(held)
        if attribute and self.facts is not None and attribute not in self.facts.methods and self.code.bound[name] == 1:
            self.modules[name] = self._held_by(attribute)

    def _modules(self, modules: Modules, call: ast.Call) -> Value:
        """What any of the modules may give that stand in one place."""
        arguments, facts = self._arguments(call), modules.facts
        made = [Construction.of(facts, m, facts.home(m)) if isinstance(m, ast.expr) else m for m in modules.made]
        self._alters = not made
        value = self.session.agreed([self._built(construction, arguments) for construction in made])
        if modules.put:
            parts = [Construction.of(facts, node, facts.home(node)) for node in modules.put]
            if modules.mixed:
                value = arguments.first(self.domain)
                parts += [part for one in made for part in self._parts_of(one)]
            value = self._repeated(parts, value)
        if self._alters:
            self._touch(call)
        return value

    def _built(self, made: Construction | None, arguments: Arguments[Value]) -> Value:
        """What a module gives, by the call that makes it."""
        domain = self.domain
        if made is None or self.depth >= DEPTH or (made.defaulted and not domain.believes_defaults):
            self._alters = True
            return domain.unknown
        if made.torch == "Sequential":
            return self._sequence(made.parts(), arguments.first(domain))
        if made.torch or made.origin.startswith(_EINOPS):
            kind = made.torch or made.origin.removeprefix(_EINOPS)
            return self.session.agreed([domain.module(kind, c, arguments.first(domain)) for c in made.with_patterns()])
        if made.cls is not None:
            return self._forward(made, made.cls, arguments)
        inner = made.returned()
        if inner is not None:  # def conv(...): return nn.Sequential(...)
            return self._built(inner, arguments)
        users = made.is_local and not made.is_timms  # what such a name says, its default has to bear out
        doubted = not {made.name.rpartition(".")[2], "*"}.isdisjoint(domain.doubted)
        choices = made.choices() if made.purpose and users and not doubted else ()
        if choices:  # what norm_layer is by default
            self.depth += 1
            try:
                return self.session.agreed([self._built(choice, arguments) for choice in choices])
            finally:
                self.depth -= 1
        if not made.purpose or users or doubted:
            self._alters = True
            return domain.unknown
        return domain.module(made.purpose, made.call, arguments.first(domain))

    @staticmethod
    def _is_plain(facts: Facts) -> bool:
        """Whether a call of a class gives what the class says: no decorator or metaclass, no other ``forward``."""
        metaclass = any(keyword.arg == "metaclass" for cls in facts.lineage for keyword in cls.node.keywords)
        return not metaclass and "forward" not in facts.values and are_as_they_read(facts.index, facts.lineage)

    @staticmethod
    def _parts_of(made: Construction | None) -> Iterator[Construction | None]:
        """The parts of a ``Sequential``; of any other module nothing is known."""
        if made is None or made.torch != "Sequential":
            yield None
        else:
            yield from (part for part, _ in made.parts())

    def _sequence(self, parts: Iterable[tuple[Construction | None, bool]], value: Value) -> Value:
        """What modules give one after the other, some of them any number of times."""
        for part, repeated in parts:
            value = self._repeated([part], value) if repeated else self._built(part, Arguments({0: value}))
        return value

    def _repeated(self, parts: Sequence[Construction | None], value: Value) -> Value:
        """What any number of modules gives, one after the other in any order."""
        for _ in range(_ROUNDS):
            after = self.session.agreed([value, *(self._built(part, Arguments({0: value})) for part in parts)])
            if after == value:
                return value
            value = after
        return self.domain.unknown

    def _forward(self, made: Construction, cls: Class, arguments: Arguments[Value]) -> Value:
        facts, domain = Facts.of(self.session.index, cls), self.domain
        if any(facts.has_member(name) for name in ("__call__", "__new__")) or not self._is_plain(facts):
            self._alters = True
            return domain.unknown
        found = facts.method("forward")
        if found is not None:
            owner, function = found
            given = arguments.bind(domain, function, owner.module, facts, 1)
            told = self.facts.told if self.facts is not None else frozenset()
            if any(isinstance(value, ast.Call) for name in told for value in facts.values.get(name, ())):
                self._alters = True
                return domain.unknown  # one of its modules may be another: self.stem.proj = nn.Identity()
            made_with = made.settings(facts, self.session.options)
            settings = {name: v for name, v in made_with.items() if name.removeprefix("self.") not in told}
            result = self._result(owner.module, function, facts, given, settings, {})
            self._alters |= bool(result.touched)
            return result.value
        parent = facts.torch_parent
        if not parent or facts.has_member("forward"):
            self._alters = True
            return domain.unknown
        if parent != "Sequential":
            return domain.module(parent, made.call, arguments.first(domain))
        self.depth += 1  # it may hold another of its own class
        try:
            if facts.method("__init__") is None:
                return self._sequence(made.parts(), arguments.first(domain))
            return self._repeated(list(Construction.children(facts)), arguments.first(domain))
        finally:
            self.depth -= 1


def annotated_as(
    domain: Domain[Value], annotation: ast.expr | None, module: Module, facts: Facts | None
) -> Value | None:
    """What an annotation of a function says, unless the body of its class gives a name in it another meaning."""
    if facts is not None and annotation is not None:
        names = {node.id for node in walk(annotation) if isinstance(node, ast.Name)}
        if any(map(facts.has_member, names)):
            return None
    return domain.declared(annotation, module)


def _is_spread(call: ast.Call) -> bool:
    """Whether ``*`` or ``**`` hides which arguments a call passes."""
    return any(isinstance(argument, ast.Starred) for argument in call.args) or any(k.arg is None for k in call.keywords)


def _handed(node: ast.expr) -> Iterator[str]:
    """The names whose values an expression hands on as they are. A view of a tensor, ``x[0]``, has its own shape."""
    match node:
        case ast.Name(id=name):
            yield name
        case ast.Starred(value=inner) | ast.NamedExpr(value=inner):
            yield from _handed(inner)
        case ast.Tuple(elts=inner) | ast.List(elts=inner) | ast.Set(elts=inner) | ast.BoolOp(values=inner):
            yield from (name for element in inner for name in _handed(element))
        case ast.Dict(values=inner):
            yield from (name for element in inner for name in _handed(element))
        case ast.Lambda() | ast.ListComp() | ast.GeneratorExp() | ast.SetComp() | ast.DictComp():
            yield from (inner.id for inner in walk(node) if isinstance(inner, ast.Name))
        case ast.IfExp(body=body, orelse=orelse):
            yield from (*_handed(body), *_handed(orelse))


def _by_parameter(function: ast.FunctionDef, call: ast.Call, skip: int) -> dict[str, ast.expr]:
    """The expressions that a call gives to parameters, as far as they are in sight."""
    if any(isinstance(argument, ast.Starred) for argument in call.args):
        return {}
    parameters = positional_names(function.args)[skip:]
    named = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    return dict(zip(parameters, call.args, strict=False)) | named


def _keeps_result(module: Module, decorator: ast.expr) -> bool:
    """Whether a decorator is known to leave what a function returns as it is."""
    head, _, rest = dotted(called(decorator)).partition(".")
    return module.origin(head, rest) in _TRANSPARENT_DECORATORS
