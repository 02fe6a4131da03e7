"""Which class each registered model name builds, read from timm's source without running any of it.

``@register_model`` registers a function under its name. The function calls helpers, of its own module or imported,
and the last of them hands a class to ``build_model_with_cfg``. So each registered function is interpreted the way
``create_model(name)`` calls it, over values that are known (literals, dictionaries, classes, functions) or
``_UNKNOWN`` (everything else). Where a test cannot be decided, the function is interpreted once more with the other
answer; a pass never mixes the two.

Nothing is guessed: a name has no class as soon as one pass over it ends without an instance of a known class.
Environment variables are taken as unset, and dictionaries of a module as its top level writes them.
"""

from __future__ import annotations

import ast
import builtins
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Final, TypeAlias

from codegen.source.imports import imports
from codegen.source.index import Module
from codegen.syntax.walking import children, walk

# A dict, shared by reference. A key of unknown value may be absent; the key `...` says that there may be others.
_Dict: TypeAlias = dict[Any, Any]
_Callable: TypeAlias = Callable[[Sequence[object], _Dict], object]
_Definition: TypeAlias = ast.FunctionDef | ast.Lambda

_UNKNOWN: Final = object()
_GOES_ON: Final = object()  # what a statement gives that does not return
_MOST_PASSES: Final = 256  # eight undecidable tests in a row
_MOST_STEPS: Final = 200_000  # expressions and statements of one function, some 15 times what timm's take
_MOST_STEPS_IN_A_FILE: Final = 3_000_000  # some 25 times what all functions of timm take
_LONGEST_TEXT: Final = 1_000  # characters of a name, which few methods make longer
_CALLED_WITH: Final = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")  # by create_model
_NOT_ASKED_FOR: Final = "features_only"  # absent unless the source itself gives it: it wraps models
_TEXT_METHODS: Final = ("endswith", "lower", "replace", "startswith", "upper")
_COMPARISONS: Final[Mapping[type[ast.cmpop], Callable[[Any, Any], bool]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Is: lambda left, right: type(left) is type(right) and left == right,
    ast.IsNot: lambda left, right: type(left) is not type(right) or left != right,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


class _GivenUp(Exception):
    """The source does what is not understood here: the name has no class."""


class _Raised(Exception):
    """The source raises: this pass builds nothing."""


@dataclass(frozen=True)
class _Path:
    """A module, one of timm's two primitives, or something of a module whose source is not at hand."""

    dotted: str


@dataclass(frozen=True)
class _Class:
    module: str
    name: str


@dataclass(frozen=True)
class _Instance:
    of: _Class


@dataclass
class _Lazy:
    """A value that is worked out when asked for. Most, such as decoded layer definitions, never are."""

    compute: Callable[[], object]

    @cached_property
    def value(self) -> object:
        return _force(self.compute())


@dataclass(frozen=True)
class _Frame:
    """The names of a call. The frame of a module itself has none: the module is asked for them."""

    module: str
    names: dict[str, object] = field(default_factory=dict)


Registered: TypeAlias = Mapping[str, Sequence[Set[tuple[str, str]]]]
"""Names, each with the (module, class) that its functions may build; none of a function that is not understood."""


def registered_in(module: Module, modules: Mapping[str, Module]) -> Registered:
    """Find the names that timm's ``@register_model`` registers in a file, and what they build.

    Args:
        module: The file.
        modules: The files of the release in which models are registered, by their names.
    """
    interpreter = _Interpreter(modules)
    found: dict[str, list[set[tuple[str, str]]]] = {}
    for node, home in _decorated_functions(module):
        interpreter.steps = 0
        try:
            ours = [interpreter.registers(decorator, home) for decorator in node.decorator_list]
        except _GivenUp:
            break
        if any(ours):
            found.setdefault(node.name, []).append(interpreter.classes(node, home) if all(ours) else set())
    # functions in the frames that they see are cycles, which would keep all trees alive
    interpreter.modules, interpreter.members = {}, {}
    return found


def registered_models(files: Iterable[Registered]) -> Mapping[str, tuple[tuple[str, str], ...]]:
    """The names that the files of a release register, and what they build.

    Returns:
        For each name, in alphabetical order, the module and the name of each class that ``create_model(name)`` may
        build: one, or more where the source asks what only a run can tell, or none where that was not found out.
        Deprecated aliases are not names.
    """
    found: dict[str, list[Set[tuple[str, str]]]] = {}
    for file in files:
        for name, built in file.items():
            found.setdefault(name, []).extend(built)
    return {name: tuple(sorted(set().union(*built))) if all(built) else () for name, built in sorted(found.items())}


def _decorated_functions(module: Module) -> Iterator[tuple[ast.FunctionDef, _Frame]]:
    """The decorated functions of a module, those under a condition too."""
    home = _Frame(module.name)
    for nodes in module.bindings.values():
        yield from ((node, home) for node in nodes if isinstance(node, ast.FunctionDef) and node.decorator_list)


def _force(value: object) -> Any:
    return value.value if isinstance(value, _Lazy) else value


def _then(value: object, work: Callable[[object], object]) -> object:
    return _Lazy(lambda: work(_force(value))) if isinstance(value, _Lazy) else work(value)


def _truth(value: object) -> bool | None:
    """Whether a value is true, None if that is not known."""
    value = _force(value)
    if isinstance(value, dict):
        return True if any(item is not _UNKNOWN for item in value.values()) else None if value else False
    return None if value is _UNKNOWN or isinstance(value, (_Instance, _Path)) else bool(value)


def _compare(test: ast.cmpop, left: object, right: object) -> object:
    operands = [left, right]
    if isinstance(test, (ast.In, ast.NotIn)) and isinstance(right, (dict, tuple)):
        if isinstance(right, dict):
            right = _UNKNOWN if _get(right, left, None) is _UNKNOWN else tuple(key for key in right if key == left)
        operands = [left, *right] if isinstance(right, tuple) else [right]
    for value in operands:
        plain = value is None or isinstance(value, (str, int, float, _Class))
        if value is _UNKNOWN or isinstance(value, (_Lazy, _Path)) or not (plain or None in operands):
            return _UNKNOWN
    try:
        return _COMPARISONS[type(test)](left, right)
    except TypeError:
        return _UNKNOWN


def _get(owner: object, key: object, default: object) -> object:
    if not isinstance(owner, dict) or not isinstance(key, (str, int)):
        return _UNKNOWN
    others = ... in owner and key != _NOT_ASKED_FOR
    return owner.get(key, _UNKNOWN if others else default)


def _set(owner: _Dict, key: object, value: object) -> None:
    if isinstance(key, (str, int)):
        owner[key] = value
    else:
        _blur(owner)


def _update(owner: _Dict, other: object) -> None:
    other = _force(other)
    if not isinstance(other, dict) or ... in other:
        _blur(owner)
    if isinstance(other, dict):
        owner.update(other)


def _merge(*others: object) -> _Dict:
    merged: _Dict = {}
    for other in others:
        _update(merged, other)
    return merged


def _blur(value: object) -> None:
    if isinstance(value, dict):
        value.clear()
        value[...] = _UNKNOWN


def _call_dict(owner: _Dict, method: str, args: Sequence[object], keywords: _Dict) -> object:
    key = _force(args[0]) if args else None
    value = _get(owner, key, args[1] if len(args) > 1 else None)
    match method:
        case "get" | "items" | "keys" | "values":
            return value if method == "get" else _UNKNOWN
        case "pop" if isinstance(key, str):
            owner.pop(key, None)
            return value
        case "setdefault":
            _set(owner, key, value)
            return value
        case "update":
            _update(owner, _merge(*args, keywords))
        case _:
            _blur(owner)
    return _UNKNOWN


def _call_text(method: Callable[..., object], args: Sequence[object], keywords: _Dict) -> object:
    if keywords or not all(isinstance(arg, str) and len(arg) <= _LONGEST_TEXT for arg in args):
        return _UNKNOWN
    text = method(*args)
    return _UNKNOWN if isinstance(text, str) and len(text) > _LONGEST_TEXT else text


class _Interpreter:
    def __init__(self, modules: Mapping[str, Module]) -> None:
        self.modules = modules
        self.members: dict[tuple[str, str], object] = {}
        self.answers: list[bool] = []
        self.asked = 0
        self.pending: list[list[bool]] = []
        self.steps = 0
        self.steps_in_all = 0

    def step(self) -> None:
        """Count a step of the function that is interpreted.

        Raises:
            _GivenUp: It has taken too many, or all functions of the file together have.
        """
        self.steps += 1
        self.steps_in_all += 1
        if self.steps > _MOST_STEPS or self.steps_in_all > _MOST_STEPS_IN_A_FILE:
            raise _GivenUp

    def registers(self, decorator: ast.expr, home: _Frame) -> bool:
        """Whether ``decorator`` is timm's own ``register_model``."""
        value = self.evaluate(decorator, home) if isinstance(decorator, (ast.Name, ast.Attribute)) else None
        module, _, name = value.dotted.rpartition(".") if isinstance(value, _Path) else ("", "", "")
        return name == "register_model" and module.startswith("timm.") and module != home.module

    def classes(self, node: ast.FunctionDef, home: _Frame) -> set[tuple[str, str]]:
        """What a registered function may build; nothing if that is not known for certain."""
        found = set()
        self.pending = [[]]
        for _ in range(_MOST_PASSES):
            self.answers, self.asked = self.pending.pop(), 0
            try:
                built = _force(self.enter(node, home, (), dict.fromkeys(_CALLED_WITH, _UNKNOWN)))
                if not isinstance(built, _Instance):
                    return set()
                found.add((built.of.module, built.of.name))
            except _Raised:
                pass
            except (_GivenUp, RecursionError):
                return set()
            if not self.pending:
                return found
        return set()

    def decide(self, value: object) -> bool:
        """Whether ``value`` is true. If that is not known: in this pass it is, in a later one it is not."""
        truth = _truth(value)
        if truth is not None:
            return truth
        if self.asked == len(self.answers):
            self.pending.append([*self.answers, False])
            self.answers.append(True)
        self.asked += 1
        return self.answers[self.asked - 1]

    def lookup(self, name: str, frame: _Frame) -> object:
        if name in frame.names:
            return frame.names[name]
        module = self.modules[frame.module]
        if name in module.bindings:
            return self.member(module, name)
        return _Path(f"builtins.{name}") if hasattr(builtins, name) else _UNKNOWN

    def member(self, module: Module, name: str) -> object:
        """What the top level of ``module`` binds to ``name``."""
        key = module.name, name
        if key in self.members:
            return self.members[key]
        found = self.last_bound(module, name)
        if isinstance(found, (_Class, _Path)) or callable(found):  # of anything else, each has one of its own
            self.members[key] = found
        return found

    def last_bound(self, module: Module, name: str) -> object:
        """The same by the last of its statements that bind it."""
        home, last = _Frame(module.name), module.bindings[name][-1]
        if last is module.conditional.get(name):
            return _UNKNOWN
        match last:
            case ast.FunctionDef(name="register_model" | "build_model_with_cfg"):
                return _Path(f"{module.name}.{name}")
            case ast.FunctionDef() as node if all(self.registers(decorator, home) for decorator in node.decorator_list):
                return self.function(node, home)
            case ast.ClassDef():
                return _Class(module.name, name)
            case (
                ast.Assign(targets=[ast.Name()], value=value)
                | ast.AnnAssign(target=ast.Name(), value=ast.expr() as value)
            ):
                return _Lazy(lambda: self.evaluate(value, home))
            case ast.Import() | ast.ImportFrom():
                return self.resolve(imports(last, module.path)[name].path)
        return _UNKNOWN

    def resolve(self, dotted: str) -> object:
        owner, _, name = dotted.rpartition(".")
        known = owner in self.modules and name in self.modules[owner].bindings
        return self.member(self.modules[owner], name) if known else _Path(dotted)

    def evaluate(self, node: ast.AST, frame: _Frame) -> object:
        self.step()
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return self.lookup(name, frame)
            case ast.Tuple(elts=elements):
                return tuple([self.evaluate(element, frame) for element in elements])
            case ast.Call():
                return self.evaluate_call(node, frame)
            case ast.Attribute(value=base, attr=name):
                return _then(self.evaluate(base, frame), lambda owner: self.attribute(owner, name))
            case ast.Dict(keys=keys, values=values):
                display: _Dict = {}
                for key, entry in zip(keys, values, strict=True):
                    if key:
                        _set(display, _force(self.evaluate(key, frame)), self.entry(entry, frame))
                    else:
                        _update(display, self.evaluate(entry, frame))
                return display
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self.evaluate(body if self.decide(self.evaluate(test, frame)) else orelse, frame)
            case ast.BoolOp(op=op, values=[*firsts, last]):
                for first in firsts:
                    operand = self.evaluate(first, frame)
                    if self.decide(operand) is isinstance(op, ast.Or):
                        return operand
                return self.evaluate(last, frame)
            case ast.UnaryOp(op=ast.Not(), operand=negated):
                truth = _truth(self.evaluate(negated, frame))
                return _UNKNOWN if truth is None else not truth
            case ast.Compare(left=left, ops=[comparison], comparators=[right]):
                second = ast.Tuple(right.elts) if isinstance(right, (ast.List, ast.Set)) else right
                return _compare(comparison, *(_force(self.evaluate(operand, frame)) for operand in (left, second)))
            case ast.Subscript(value=base, slice=index):
                key = _force(self.evaluate(index, frame))
                return _then(self.evaluate(base, frame), lambda owner: _get(owner, key, _UNKNOWN))
            case ast.Lambda():
                return self.function(node, frame)
            case ast.NamedExpr():
                raise _GivenUp
        for generator in getattr(node, "generators", ()):
            self.assign(generator.target, _UNKNOWN, frame)
        for child in children(node):  # for what they do to dictionaries
            self.evaluate(child, frame)
        return _UNKNOWN

    def entry(self, node: ast.expr, frame: _Frame) -> object:
        """A value in a dictionary. Most of the large tables that modules have are never asked for theirs."""
        if isinstance(node, ast.Constant):
            return node.value
        return self.evaluate(node, frame) if frame.names else _Lazy(lambda: self.evaluate(node, frame))

    def attribute(self, owner: object, name: str) -> object:
        match owner:
            case _Path(dotted=dotted):
                return self.resolve(f"{dotted}.{name}")
            case dict():
                return partial(_call_dict, owner, name)
            case str() if name in _TEXT_METHODS:
                return partial(_call_text, getattr(owner, name))
        return _UNKNOWN

    def evaluate_call(self, node: ast.Call, frame: _Frame) -> object:
        callee = _force(self.evaluate(node.func, frame))
        args = [self.evaluate(arg, frame) for arg in node.args]
        unpacked: _Dict = {}
        named: _Dict = {}
        for keyword in node.keywords:
            if keyword.arg:
                named[keyword.arg] = self.entry(keyword.value, frame)
            else:
                _update(unpacked, self.evaluate(keyword.value, frame))
        starred = any(isinstance(arg, ast.Starred) for arg in node.args)
        return self.call(_UNKNOWN if starred else callee, args, unpacked | named)

    def call(self, callee: object, args: Sequence[object], keywords: _Dict) -> object:
        if callable(callee):
            return callee(args, keywords)
        name = callee.dotted if isinstance(callee, _Path) else ""
        if name.endswith(".build_model_with_cfg"):
            if _truth(keywords.get(_NOT_ASKED_FOR, False)):
                return _UNKNOWN  # a wrapper around the model
            model_cls = args[0] if args else keywords.get("model_cls")
            return self.call(_force(model_cls), (), {...: _UNKNOWN})
        match name:
            case "builtins.dict":
                return _merge(*args, keywords)
            case "functools.partial" if args:
                return lambda more, named: self.call(_force(args[0]), (*args[1:], *more), _merge(keywords, named))
            case "os.environ.get" | "os.getenv":
                return args[1] if len(args) > 1 else None
        if not name.startswith("builtins."):
            for value in (*args, *keywords.values()):
                _blur(value)
        return _Instance(callee) if isinstance(callee, _Class) else _UNKNOWN

    def function(self, node: _Definition, home: _Frame) -> _Callable:
        def call(args: Sequence[object], keywords: _Dict) -> object:
            if home.names or any(isinstance(value, dict) for value in (*args, *keywords.values())):
                return self.enter(node, home, args, keywords)  # at once, for what it does to the dictionaries
            return _Lazy(lambda: self.enter(node, home, args, keywords))

        return call

    def enter(self, node: _Definition, home: _Frame, args: Sequence[object], keywords: _Dict) -> object:
        """What a function returns."""
        frame, rest, signature = _Frame(home.module, dict(home.names)), dict(keywords), node.args
        positional = [*signature.posonlyargs, *signature.args]
        required = [None] * (len(positional) - len(signature.defaults))
        defaults = [*required, *signature.defaults, *signature.kw_defaults]
        for position, parameter in enumerate([*positional, *signature.kwonlyargs]):
            default, name = defaults[position], parameter.arg
            if position < min(len(args), len(positional)):
                frame.names[name] = args[position]
            elif default and name not in rest and ... not in rest:
                frame.names[name] = self.evaluate(default, home)
            else:
                frame.names[name] = rest.pop(name, _UNKNOWN)
        if signature.vararg:
            frame.names[signature.vararg.arg] = _UNKNOWN
        if signature.kwarg:
            frame.names[signature.kwarg.arg] = rest
        if isinstance(node, ast.Lambda):
            return self.evaluate(node.body, frame)
        returned = self.execute(node.body, frame)
        return None if returned is _GOES_ON else returned

    def execute(self, body: Sequence[ast.stmt], frame: _Frame) -> object:
        """What the ``return`` returns that is reached, else ``_GOES_ON``."""
        for node in body:
            returned: object = _GOES_ON
            self.step()
            match node:
                case ast.Expr(value=value) | ast.Assert(test=value):
                    self.evaluate(value, frame)
                case (
                    ast.Assign(targets=[target], value=value) | ast.AnnAssign(target=target, value=ast.expr() as value)
                ):
                    self.assign(target, self.evaluate(value, frame), frame)
                case ast.Return(value=result):
                    return self.evaluate(result, frame) if result else None
                case ast.If(test=test, body=inner, orelse=orelse):
                    returned = self.execute(inner if self.decide(self.evaluate(test, frame)) else orelse, frame)
                case ast.With(items=items, body=inner):
                    for item in items:
                        self.blur(item, frame)
                    returned = self.execute(inner, frame)
                case ast.FunctionDef(name=name, decorator_list=decorators):
                    frame.names[name] = _UNKNOWN if decorators else self.function(node, frame)
                case ast.Import() | ast.ImportFrom():
                    found = imports(node, self.modules[frame.module].path)
                    frame.names.update({name: self.resolve(origin.path) for name, origin in found.items()})
                case ast.Raise():
                    raise _Raised
                case _:
                    self.blur(node, frame)
            if returned is not _GOES_ON:
                return returned
        return _GOES_ON

    def assign(self, target: ast.expr, value: object, frame: _Frame) -> None:
        match target:
            case ast.Name(id=name):
                frame.names[name] = value
            case ast.Tuple(elts=elements) if isinstance(value, tuple) and len(value) == len(elements):
                for element, item in zip(elements, value, strict=True):
                    self.assign(element, item, frame)
            case ast.Subscript(value=base, slice=index) if isinstance(owner := self.evaluate(base, frame), dict):
                _set(owner, _force(self.evaluate(index, frame)), value)
            case _:
                self.blur(target, frame)

    def blur(self, node: ast.AST, frame: _Frame) -> None:
        """Take a loop, or what else is not followed, to do anything to what it mentions."""
        for inner in walk(node):
            if isinstance(inner, (ast.Return, ast.Global, ast.Nonlocal, ast.Import, ast.ImportFrom)):
                raise _GivenUp
            if isinstance(inner, ast.Name):
                _blur(self.lookup(inner.id, frame))
                if not isinstance(inner.ctx, ast.Load):
                    frame.names[inner.id] = _UNKNOWN
