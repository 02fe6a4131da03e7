"""What an interpretation of a model is about, and what it has worked out so far."""

from __future__ import annotations

import ast
import contextlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from codegen.model.construction import Options
from codegen.model.facts import Facts
from codegen.source.index import Index, Module
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import dotted
from codegen.syntax.walking import children, walk

Value = TypeVar("Value", bound=Hashable)
_Known = TypeVar("_Known")


class Domain(ABC, Generic[Value]):
    """What is known of values: a join-semilattice whose top is ``unknown``, and what operations do in it.

    Attributes:
        unknown: Nothing is known.
        nothing: ``None``, which a function gives that returns no value.
        asks: Whether what is bound depends on the answers to questions, :meth:`depending`.
        believes_defaults: Whether an argument of a constructor that chooses a class, ``embed_layer=PatchEmbed``, is
            taken to be what it is by default.
        doubted: Names that say what they make, ``norm_layer``, and are not believed to, ``*`` for all of them.
    """

    unknown: Value
    nothing: Value
    asks: bool = False
    believes_defaults: bool = True
    doubted: Collection[str] = ()

    @property
    def question(self) -> Hashable | None:
        """What is asked, if all that ask it get the same answers; ``None`` for a domain that takes notes of its own."""
        return None

    @abstractmethod
    def join(self, left: Value, right: Value) -> Value:
        """What is true of both."""

    @abstractmethod
    def expression(self, node: ast.expr, scope: Scope[Value]) -> Value:
        """What an expression gives that is no name, no conditional, no call."""

    @abstractmethod
    def method(self, owner: Value, name: str, call: ast.Call, scope: Scope[Value]) -> Value:
        """What a method of a value gives."""

    @abstractmethod
    def function(self, path: str, call: ast.Call, scope: Scope[Value]) -> Value:
        """What a function gives that is no part of the release, by its full name: ``torch.cat``, ``len``."""

    @abstractmethod
    def module(self, kind: str, call: ast.Call, argument: Value) -> Value:
        """What a module of torch gives for its first argument.

        Args:
            kind: Name of its class in ``torch.nn``; ``Conv`` or ``Pool`` for one of these that is not known.
            call: What makes it.
            argument: What it is given.
        """

    def unpack(self, value: Value, count: int) -> Sequence[Value]:
        """The elements of a value that is taken apart into some targets."""
        return [self.unknown] * count

    def element(self, iterable: ast.expr, scope: Scope[Value]) -> Value:
        """What a loop over an expression gives in each round."""
        return self.unknown

    def declared(self, annotation: ast.expr | None, module: Module) -> Value | None:
        """What an annotation says, if annotations say anything."""
        return None

    def leave(self, value: Value, depth: int) -> Value:
        """What is true of a value outside of the function that returns it, ``depth`` calls deep."""
        return value

    def effects(self, nodes: Sequence[ast.AST], scope: Scope[Value]) -> None:
        """Forget what the expressions of a statement may change in place."""

    def given(self, call: ast.Call, value: Value, scope: Scope[Value]) -> Value:
        """What a call gives, where the code that it runs gives a value as far as it can be read."""
        return value

    def depending(self, value: Value, answer: Value) -> Value:
        """What is known of a value that is what it is by the answer to a question."""
        return value

    def touched(self, names: Set[str], scope: Scope[Value]) -> Set[str]:
        """The names of what code may change in place, and cannot be read, that is given what some names stand for."""
        return frozenset()


@dataclass(eq=False)
class Code:
    """What the text of a function says whatever its values are. Worked out once, for it is asked again and again.

    Attributes:
        parameters: Names of its parameters.
        bound: Names that its statements may bind, and in how many places.
        shared: Names of which others may change the value at any time: those that functions and classes inside it
            mention, ``nonlocal``, ``global``.
        opaque: Whether it does something else than to run and to return.
        walrus: Whether expressions in it may bind names.
    """

    parameters: tuple[str, ...]
    bound: Counter[str]
    shared: frozenset[str]
    opaque: bool
    walrus: bool = False
    _heads: dict[int, Sequence[ast.AST]] = field(default_factory=dict)
    _bound_by: dict[int, Sequence[str]] = field(default_factory=dict)
    _jumps: dict[int, bool] = field(default_factory=dict)

    @staticmethod
    def of(statements: Sequence[ast.stmt], arguments: ast.arguments | None = None) -> Code:
        """The text of some statements."""
        nodes = [node for statement in statements for node in walk(statement)]
        inside = [inner for node in nodes if isinstance(node, _SCOPES) for inner in walk(node)]
        captured = [node.id for node in inside if isinstance(node, ast.Name)]
        captured += [name for n in nodes if isinstance(n, ast.Nonlocal | ast.Global) for name in n.names]
        opaque = any(isinstance(n, ast.Yield | ast.YieldFrom | ast.Await | ast.Global) for n in nodes)
        walrus = any(isinstance(n, ast.NamedExpr) for n in nodes)
        names = (name for s in statements for name in bound_names(s, expressions=walrus))
        return Code(tuple(_parameters(arguments)), Counter(names), frozenset(captured), opaque, walrus)

    def head(self, node: ast.stmt) -> Sequence[ast.AST]:
        """The nodes of a statement, those of the statements inside it aside."""
        if id(node) not in self._heads:
            pending: list[ast.AST] = [node]
            for inner in pending:  # it grows while it is read
                pending += [child for child in children(inner) if not isinstance(child, _BLOCKS)]
            self._heads[id(node)] = pending
        return self._heads[id(node)]

    def bound_by(self, node: ast.stmt) -> Sequence[str]:
        """Names that a statement and those inside it may bind."""
        if id(node) not in self._bound_by:
            self._bound_by[id(node)] = tuple(bound_names(node))
        return self._bound_by[id(node)]

    def jumps(self, node: ast.stmt) -> bool:
        """Whether a statement may leave a loop, a round of it, or the function."""
        if id(node) not in self._jumps:
            self._jumps[id(node)] = any(isinstance(n, ast.Return | ast.Break | ast.Continue) for n in walk(node))
        return self._jumps[id(node)]


_BLOCKS = (ast.stmt, ast.ExceptHandler, ast.match_case)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def _parameters(arguments: ast.arguments | None) -> Iterator[str]:
    if arguments is not None:
        extra = [argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
        for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *extra]:
            yield argument.arg


@dataclass(frozen=True)
class Result(Generic[Value]):
    """What a function gives for some arguments.

    Attributes:
        value: What it returns.
        touched: Parameters of which it may change the value in place in a way that cannot be read.
    """

    value: Value
    touched: frozenset[str] = frozenset()


@dataclass(eq=False)
class Session(Generic[Value]):
    """What the interpretations of one method have in common.

    Attributes:
        domain: What is asked.
        options: What is assumed of the model.
        index: The release.
        results: Of the functions that were interpreted, by their arguments.
        held: What attributes of classes hold.
        open: Those of them that are being found out.
        step: How many statements were interpreted so far.
        common: Results, and what attributes hold, of which the options are no part: others have them too.
        own: Those of ``results`` and of ``held`` that are not of that kind, or not finished.
    """

    domain: Domain[Value]
    options: Options
    index: Index
    results: dict[Hashable, Result[Value]] = field(default_factory=dict)
    held: dict[Hashable, Value] = field(default_factory=dict)
    open: set[Hashable] = field(default_factory=set)
    step: int = 0
    common: dict[Hashable, Any] = field(default_factory=dict)
    own: set[Hashable] = field(default_factory=set)

    def known(self, known: dict[Hashable, _Known], key: Hashable, depth: int) -> bool:
        """Whether something was worked out, here or by others at the same depth of calls."""
        if key not in known and (depth, key) in self.common:
            known[key] = self.common[depth, key]
        self.options.count |= key in self.own
        return key in known

    @contextlib.contextmanager
    def working_out(self, known: dict[Hashable, _Known], key: Hashable, depth: int) -> Iterator[None]:
        """Work something out, for others too where the options are no part of it."""
        counted, self.options.count = self.options.count, False
        self.own.add(key)
        yield
        if not self.options.count:
            self.own.discard(key)
            self.common[depth, key] = known[key]
        self.options.count |= counted

    def code(self, function: ast.FunctionDef) -> Code:
        """The text of a function of the release."""
        key, memory = ("code", id(function)), self.index.memory
        if key not in memory:
            memory[key] = Code.of(function.body, function.args)
        found: Code = memory[key]
        return found

    def agreed(self, values: Sequence[Value]) -> Value:
        """What is true of all of some values."""
        if not values:
            return self.domain.unknown
        joined, *others = values
        for value in others:
            joined = self.domain.join(joined, value)
        return joined


@dataclass(eq=False)
class Scope(ABC, Generic[Value]):
    """The local names of one function that is interpreted, as a domain sees them.

    Attributes:
        session: What the interpretation shares with others.
        module: Where the function stands.
        facts: The class whose method it is, if it is one.
        code: Its text.
        local: Names that are local to it, bound or not.
        names: What is known of those that are bound.
        settings: Constants that are known of ``self``, ``self.flatten``, and of parameters; and the calls that make
            what ``self`` holds, if it is known which of several do.
        depth: How many calls deep.
        domain: What the session asks, which is asked for at every step.
    """

    session: Session[Value]
    module: Module
    facts: Facts | None
    code: Code
    local: frozenset[str]
    names: dict[str, Value]
    settings: Mapping[str, object] = field(default_factory=dict)
    depth: int = 0
    domain: Domain[Value] = field(init=False)

    def __post_init__(self) -> None:
        self.domain = self.session.domain

    def attribute(self, node: ast.expr) -> str:
        """The name of an attribute of ``self``, ``pos_embed``; empty if an expression is none."""
        return node.attr if isinstance(node, ast.Attribute) and self.facts and self.facts.is_attribute(node) else ""

    def path(self, node: ast.expr) -> str:
        """The full name of what an expression imports, ``torch.nn.functional.relu`` for ``F.relu``; else empty."""
        head, _, rest = dotted(node).partition(".")
        if not head or head in self.local or head in self.names:
            return ""
        return self.module.origin(head, rest)

    def bind(self, target: ast.expr, value: Value) -> None:
        """Bind a target, and the targets inside it."""
        match target:
            case ast.Name(id=name):
                self.names[name] = self.domain.unknown if name in self.code.shared else value
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                plain = not any(isinstance(element, ast.Starred) for element in elements)
                parts = self.domain.unpack(value, len(elements)) if plain else [self.domain.unknown] * len(elements)
                for element, part in zip(elements, parts, strict=True):
                    self.bind(element, part)
            case ast.Starred(value=inner):
                self.bind(inner, self.domain.unknown)

    def forget(self, names: Iterable[str]) -> None:
        """Make names unknown that may be bound to anything."""
        for name in names:
            self.names[name] = self.domain.unknown

    @abstractmethod
    def of(self, node: ast.expr) -> Value:
        """What is known of an expression."""

    @abstractmethod
    def held(self, attribute: str) -> Value:
        """What an attribute of ``self`` holds, by everything that the class ever sets it to."""

    @abstractmethod
    def touch(self, names: Set[str]) -> None:
        """Forget what code may change in place that is given what these names stand for."""

    @abstractmethod
    def nested(self, local: Sequence[str]) -> Scope[Value]:
        """The scope of a comprehension, which has names of its own."""
