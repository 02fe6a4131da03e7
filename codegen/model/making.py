"""What modules an expression makes, the functions and factories that it calls included."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from codegen.model.bound import CLASS, FUNCTION, OPEN, Imported, bindings_of, remembered
from codegen.model.configured import configured, is_configured
from codegen.model.decorators import are_as_they_read
from codegen.model.facts import Facts
from codegen.model.library import IN_PLACE_MODULES, TORCH_HANDING_ON, TORCH_STATISTICS, TORCH_WRAPPERS
from codegen.model.module_kind import (
    CONTAINERS,
    IN_PLACE,
    STATISTICS,
    TORCHS,
    Function,
    Kind,
    is_believed,
    is_of_layers,
)
from codegen.model.outside import Elsewhere, Outside
from codegen.model.purity import (
    changes_what_it_is_given,
    is_false,
    is_library,
    is_pure,
    is_told,
    may_tell_in_place,
    works_in_place,
)
from codegen.model.tuples import hands_on
from codegen.source.index import Class, Module
from codegen.syntax.dataflow import dotted, free_names
from codegen.syntax.walking import walk

_FUNCTIONS = 8  # that call each other to make a module
_NUMBERS = frozenset({"int", "float", "bool", "str", "len", "max", "min", "sum", "range", "round", "isinstance"})
_KNOWN = TORCHS - {IN_PLACE}
_HOLDERS = frozenset(
    {"filter", "list", "tuple", "reversed", "zip", "enumerate", "sorted", "set", "dict", "iter", "next"}
    | {"collections.OrderedDict", "copy.copy", "copy.deepcopy"}
)
PARTIAL = frozenset({"partial", "functools.partial"})


def _named(node: ast.Lambda) -> ast.FunctionDef:
    """A ``lambda`` as a function, one and the same whenever it is asked for."""
    known: ast.FunctionDef | None = getattr(node, "_codegen_function", None)
    if known is None:
        body: list[ast.stmt] = [ast.copy_location(ast.Return(node.body), node)]
        known = ast.copy_location(ast.FunctionDef("<lambda>", node.args, body, []), node)
        node._codegen_function = known  # type: ignore[attr-defined]
    return known


class Passed(ast.expr):
    """An expression that a call passes to the function that is being read.

    Attributes:
        value: The expression.
        making: Where it stands.
        seen: Variables that are being followed there.
    """

    def __init__(self, value: ast.expr, making: Making, seen: frozenset[str]) -> None:
        super().__init__()
        self.value, self.making, self.seen = value, making, seen


@dataclass(eq=False)
class Making:
    """What the expressions of one function may make.

    Attributes:
        facts: The class whose modules are made.
        module: Where the function stands.
        values: What its variables may be bound to.
        kinds_of: Finds what an attribute of a class may hold.
        depth: How many functions call each other.
    """

    facts: Facts
    module: Module
    values: Mapping[str, list[ast.expr]]
    kinds_of: Callable[[Facts, str], frozenset[Kind]]
    depth: int = 0

    def of(self, node: ast.expr, seen: frozenset[str] = frozenset()) -> Iterator[Kind]:
        match node:
            case Elsewhere() | Passed():
                there, already = self.there(node)
                yield from there.of(node.value, already) if self.depth < _FUNCTIONS else "?"
            case ast.Call(func=ast.Name("getattr"), args=[_, ast.Constant(str(attr))]) if works_in_place(attr):
                yield IN_PLACE
            case ast.Call(func=ast.Name("getattr"), args=[ast.Name("self"), ast.Constant(str(attr)), *others]) if (
                attr not in self.facts.methods and not self._is_named("getattr")
            ):
                yield from self.kinds_of(self.facts, attr)
                for other in others:  # if there is none; or the name, as it is computed
                    yield from self.of(other, seen)
            case ast.Call(func=function, args=args, keywords=keywords):
                if any(keyword.arg in ("max_norm", "track_running_stats") for keyword in keywords):
                    yield STATISTICS
                told = is_told(keywords) or (not self.module.is_timms and may_tell_in_place(node))
                for kind in self.call(function, args, keywords, seen):
                    works = kind == "view" and self._works_in_place(function, args, keywords)
                    works |= kind in ("view", "torch") and self._may_be_told(function, keywords)
                    yield IN_PLACE if works or (kind == "?" and told) else kind  # ACTIVATIONS[name](inplace=True)
            case ast.Name(id=name) if name in self.values and FUNCTION not in self.values[name]:
                if name not in seen:
                    for value in self.values[name]:
                        yield from self.of(value, seen | {name})
            case ast.Name() | ast.Attribute() | ast.Lambda() if self._is_code(node):
                yield self._function(node) or "function"
            case ast.Attribute() if dotted(node).startswith("self.") and dotted(node).count(".") == 1:
                yield from self.kinds_of(self.facts, dotted(node).removeprefix("self."))
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
                    number = isinstance(part, ast.Constant | ast.Attribute)
                    if not (number or (isinstance(part, ast.Name) and not self._is_list(part.id))):
                        yield from self.of(part, seen)
            case ast.Attribute() | ast.Name():
                head, _, rest = dotted(node).partition(".")
                if not head and not self.module.is_timms and may_tell_in_place(node):  # DataParallel(act).module
                    yield IN_PLACE
                if head and self._assigned(head):
                    changing = (changes_what_it_is_given(self.module, n) for n in self.module.bindings.get(head, ()))
                    yield from [IN_PLACE] if any(changing) else self._variable(head)
                elif not (head and head not in self.values and is_library(origin := self.module.origin(head, rest))):
                    yield "?"
                elif works_in_place(origin):  # self.act = F.relu_
                    yield IN_PLACE
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
        return not all(map(is_false, told)) or (spread and kind in IN_PLACE_MODULES)

    def _may_be_told(self, function: ast.expr, keywords: Sequence[ast.keyword]) -> bool:
        """Whether a class that a variable holds is given options that are not in sight: ``act_layer(**act_kwargs)``."""
        hidden = dotted(function) in self.values and any(keyword.arg is None for keyword in keywords)
        return (
            hidden
            and not self.module.is_timms
            and any("inplace" in module.text for module in self.facts.index.user_modules)
        )

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

    def there(self, node: Elsewhere | Passed) -> tuple[Making, frozenset[str]]:
        """Where an expression stands that is passed from elsewhere, and the variables that are being followed there."""
        if isinstance(node, Passed):
            return replace(node.making, depth=self.depth + 1), node.seen
        facts = self.facts if node.owner is None else Facts.of(self.facts.index, node.owner)
        bound = {} if node.function is None else remembered(facts, "bound", node.function, bindings_of)
        return Making(facts, node.module, bound, self.kinds_of, self.depth + 1), frozenset()

    def in_constructor(self, value: ast.expr) -> Making:
        """Where an expression stands that an attribute is bound to."""
        home = self.facts.home(value)
        bound = {} if home.constructor is None else remembered(self.facts, "bound", home.constructor, bindings_of)
        return Making(self.facts, home.module, with_passed(self.facts, home, bound), self.kinds_of, self.depth + 1)

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
            if isinstance(value, Imported):
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
            yield from self.returned(method[0].module, method[1], rest, self.passed(method[1], args, keywords, 1, seen))
        elif not name and isinstance(function, ast.Attribute):
            yield from self.of_method(function)
            for argument in arguments if function.attr in ("append", "extend", "insert") else ():
                yield from self.of(argument, seen)
        elif isinstance(function, ast.Call) and dotted(function.func) in PARTIAL:  # partial(nn.ReLU, inplace=True)()
            yield from self.made_by(function, seen)
        elif not name:
            yield from self._in_table(function, seen)
        elif head == "self":
            yield from self._by_attribute(rest, seen)
        elif CLASS in self.values.get(head, ()):
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
            yield from self.returned(*found, name, self.passed(found[1], args, keywords, 0, seen))
        elif hands_on(self.facts.index, self.module, name):
            for argument in arguments:
                yield from self.of(argument, seen)
        else:
            origin = self.module.origin(head, rest)
            kind = origin.removeprefix("torch.nn.")
            if kind in ("Parameter", "Buffer"):
                return  # a tensor
            if origin.startswith("torch.nn.") and kind in ("ParameterList", "ParameterDict"):  # tensors, in a container
                for argument in arguments:
                    yield from self.of(argument, seen)
                return
            if origin.startswith("torch.nn.") and kind in CONTAINERS:
                if kind == "Sequential" or not arguments:  # of none, it gives what it is given
                    yield "view"
                for argument in arguments:
                    yield from self.of(argument, seen)
            elif origin.startswith("torch.nn.") and "." not in kind and kind not in TORCH_WRAPPERS:
                yield _kind_of_torch(kind)
            elif origin in PARTIAL and arguments and is_told(keywords):  # partial(F.relu, inplace=True)
                yield IN_PLACE
            elif origin in PARTIAL and arguments and self._is_code(arguments[0]):
                yield from self.of(arguments[0], seen)
            elif origin in _HOLDERS:
                for argument in arguments:
                    yield from self.of(argument, seen)
            elif is_library(origin) and not is_pure(origin):  # nn.utils.spectral_norm(...), torch.hub.load(...)
                changes = any(kind == IN_PLACE for argument in arguments for kind in self.of(argument, seen))
                yield IN_PLACE if changes else "?"
            elif origin.startswith("torch.compiler."):
                for argument in arguments:
                    yield from self.of(argument, seen)
            elif is_of_layers(self.facts.index, origin) and is_configured(origin):
                for made in configured(self, origin, ast.Call(function, list(args), list(keywords))):
                    yield self._as_read(made) if isinstance(made, Class) else made
            elif is_of_layers(self.facts.index, origin):
                yield "foreign"
            elif not (is_pure(origin) and not origin.startswith("torch.nn.")) and origin not in _NUMBERS:
                yield from self._by_name(name)

    def _is_code(self, node: ast.expr) -> bool:
        """Whether an expression is a function: of the release, a method of ``self``, or made here."""
        made_here = isinstance(node, ast.Lambda) and node is not OPEN
        return made_here or FUNCTION in self.values.get(dotted(node), ()) or self._function(node) is not None

    def _function(self, node: ast.expr) -> Function | None:
        """The function that an expression is, if its code can be read where it is called."""
        name = dotted(node)
        if name.startswith("self."):
            method = self.facts.method(name.removeprefix("self."))
            return None if method is None else Function(method[0].module, method[1], self.facts.cls)
        if isinstance(node, ast.Lambda) and node not in (OPEN, FUNCTION, CLASS):
            free = set(free_names(node))
            closed = all(n not in self.values and n != "self" and self._is_bound(n) for n in free)
            return Function(self.module, _named(node)) if closed else None
        found = self.facts.index.function(self.module, name) if name and name not in self.values else None
        return None if found is None else Function(*found)

    def _is_partial(self, name: str, arguments: Sequence[ast.expr]) -> bool:
        """Whether a call makes a function that is given numbers beforehand."""
        return name in PARTIAL and all(map(self._is_number, arguments[1:]))

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
        outside = Making(self.facts, self.module, {}, self.kinds_of, self.depth + 1)
        for value in self._assigned(name):
            if isinstance(value, ast.Call) or self.depth >= _FUNCTIONS:
                yield "?"
            elif not isinstance(value, ast.Constant):
                yield from outside.of(value)
                if not isinstance(value, ast.Name | ast.Attribute):
                    yield "function"  # which is put there later

    def _is_list(self, name: str) -> bool:
        """Whether a variable holds a list that is written out, and no number: ``down`` of ``down + up``."""
        return any(isinstance(value, ast.List | ast.ListComp) for value in self.values.get(name, ()))

    def _is_named(self, name: str) -> bool:
        """Whether a name of Python means something else here."""
        return name in self.values or name in self.module.bindings or "*" in self.module.bindings

    def _is_bound(self, name: str) -> bool:
        """Whether a name means anything in the module, as far as can be known."""
        return name in self.module.bindings or "*" in self.module.bindings or hasattr(builtins, name)

    def of_method(self, function: ast.Attribute) -> Iterator[Kind]:
        """What a method of what a call gives makes: a tensor of a tensor, ``torch.linspace(...).view(-1)``."""
        inner = function.value
        while isinstance(inner, ast.Call | ast.Attribute | ast.Subscript | ast.BinOp):
            path = dotted(inner.func) if isinstance(inner, ast.Call) else ""
            head, _, rest = path.partition(".")
            origin = self.module.origin(head, rest) if path and head not in self.values else ""
            if origin.startswith("torch.nn.") and origin.rpartition(".")[2][:1].isupper():  # nn.ReLU(True).eval()
                yield from self.of(inner)
                return
            if origin and is_pure(origin):
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
            if isinstance(value, Elsewhere | Passed):
                there, already = self.there(value)
                yield from there.made_by(value.value, already) if self.depth < _FUNCTIONS else "?"
                continue
            target = (
                value.args[0] if isinstance(value, ast.Call) and dotted(value.func) in PARTIAL and value.args else value
            )
            found = self.facts.index.resolve(self.module, dotted(target)) if dotted(target) else None
            head, _, tail = dotted(target).partition(".")
            origin = self.module.origin(head, tail) if head and head not in self.values else ""
            if isinstance(value, ast.Lambda) and not self.module.is_timms:
                yield from self.of(value.body, seen)
                yield "?"
            elif found is not None:
                classes.append(self._as_read(found))
            elif origin.startswith("torch.nn.") and origin.removeprefix("torch.nn.") not in TORCH_WRAPPERS:
                told = isinstance(value, ast.Call) and self._works_in_place(target, value.args[1:], value.keywords)
                kind = origin.removeprefix("torch.nn.")
                yield IN_PLACE if told else _kind_of_torch(kind)
            elif not isinstance(value, ast.Constant):
                yield "view" if is_believed(self.module, name) else "?"
        yield from classes
        if not self.values[name]:
            yield "?"

    def _tells_more(self, callee: str, arguments: Sequence[ast.expr], seen: frozenset[str]) -> bool:
        """Whether a class that a variable holds is made with modules that its own code does not tell of."""
        given = {kind for argument in arguments for kind in self.of(argument, seen)} - _KNOWN
        if any(isinstance(value, Passed) for value in self._alternatives(callee, seen)):
            return bool(given)
        return not self.module.is_timms and any(isinstance(kind, Class) for kind in given)

    def made_by(self, callee: ast.expr, seen: frozenset[str] = frozenset()) -> Iterator[Kind]:
        """What a call makes of what an expression gives: a class, or a module that is there already."""
        match callee:
            case ast.Call(func=function, args=[made, *_]) if dotted(function) in PARTIAL:
                yield from [IN_PLACE] if may_tell_in_place(callee) else self.made_by(made, seen)
            case ast.IfExp(body=body, orelse=orelse):
                yield from (*self.made_by(body, seen), *self.made_by(orelse, seen))
            case ast.BoolOp(values=parts):
                for part in parts:
                    yield from self.made_by(part, seen)
            case ast.Constant():
                return
            case ast.Lambda(body=body) if not self.module.is_timms:
                yield from self.of(body, seen)
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

    def _in_table(self, function: ast.expr, seen: frozenset[str]) -> Iterator[Kind]:
        """What one of the classes or functions in a dictionary makes: ``ACTIVATIONS[name]()``."""
        match function:
            case ast.Subscript(value=ast.Name(id=table)) if table not in seen and not self.module.is_timms:
                values = self.values[table] if table in self.values else self._assigned(table)
                for value in values:
                    if not isinstance(value, ast.Dict):
                        yield "?"
                        continue
                    for part in value.values:
                        yield from self.made_by(part, seen | {table})
                if values and (table in self.values or self._is_filled_once(table)):
                    return
        yield "?"

    def _is_filled_once(self, table: str) -> bool:
        """Whether nothing is put into a dictionary of the file later."""
        nodes = self.module.tree.body
        stores = (n for node in nodes for n in walk(node) if isinstance(n, ast.Subscript) and dotted(n.value) == table)
        return all(isinstance(node.ctx, ast.Load) for node in stores)

    def _by_attribute(self, name: str, seen: frozenset[str]) -> Iterator[Kind]:
        """What a class makes that an attribute of ``self`` holds, or of its class: ``act_layer = nn.ReLU``."""
        member = self.facts.members.get(name)
        values = [] if self.module.is_timms or self.depth >= _FUNCTIONS else self.facts.values.get(name, ())
        for value in values:
            yield from self.in_constructor(value).made_by(value)
        match member:
            case (owner, ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value)) if (
                not self.module.is_timms and self.depth < _FUNCTIONS
            ):
                yield from Making(self.facts, owner.module, {}, self.kinds_of, self.depth + 1).made_by(value, seen)
                return
        if not values:
            yield from self._by_name(name)

    def _by_name(self, name: str) -> Iterator[Kind]:
        yield "view" if is_believed(self.module, name.rpartition(".")[2]) else "?"

    def passed(
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
        return {name: [Passed(value, self, seen)] for name, value in given if name is not None}

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
        bound = remembered(self.facts, "bound", function, bindings_of)
        given = {name: [*values, *bound[name][1:]] for name, values in passed.items() if name in bound}
        inner = Making(self.facts, module, {**bound, **given}, self.kinds_of, self.depth + 1)
        for node in walk(function):
            if isinstance(node, ast.Return) and node.value is not None:
                yield from inner.of(node.value)


def with_passed(facts: Facts, home: Class, bound: Mapping[str, list[ast.expr]]) -> dict[str, list[ast.expr]]:
    """What the variables of a constructor may be, with what the user's code passes to it elsewhere."""
    passed = {name: Outside.of(facts.index).passed(home, name) for name in home.constructor_parameters}
    return {**bound, **{name: [*bound.get(name, ()), *values] for name, values in passed.items() if values}}


def _kind_of_torch(name: str) -> Kind:
    """What a class of ``torch.nn`` is, ``BatchNorm2d``."""
    if name.startswith(TORCH_STATISTICS):
        return STATISTICS
    return "view" if name in TORCH_HANDING_ON else "torch"
