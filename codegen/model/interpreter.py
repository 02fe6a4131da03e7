"""An abstract interpreter of models: one walk over statements, for every question about the values in them.

What is asked (the dimensions of a tensor, the type of a value) is a :class:`~codegen.model.domain.Domain`. The
interpreter knows Python: branches, loops, targets, and by :mod:`codegen.model.calls` which code a call runs. One rule
makes it safe: a statement or target that it does not model makes unknown whatever it may bind.
"""

from __future__ import annotations

import ast
import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from typing import Generic

from codegen.model.calls import DEPTH, Calls, Modules, annotated_as
from codegen.model.construction import Options
from codegen.model.domain import Code, Domain, Result, Session, Value
from codegen.model.facts import Facts
from codegen.source.index import Module
from codegen.syntax.bindings import bound_names
from codegen.syntax.computed_names import looked_up
from codegen.syntax.dataflow import dotted, is_transparent
from codegen.syntax.walking import walk

_ROUNDS = 6  # of a loop: one that still teaches something new then makes unknown what it binds
_OPTIONS = 3  # that are assumed one way and the other: eight runs at the most


def interpret(
    domain: Domain[Value],
    facts: Facts,
    statements: Sequence[ast.stmt],
    names: Mapping[str, Value],
    declared: Mapping[str, Value] | None = None,
) -> Mapping[str, Value]:
    """What is known of every name after some statements of a method.

    Args:
        domain: What is asked.
        facts: The class whose method they are in.
        statements: They.
        names: What is known before.
        declared: What annotations of the method's parameters say.
    """

    def run(assumed: Mapping[str, bool]) -> tuple[dict[str, Value], set[str]]:
        options = Options(facts.lineage, assumed, set())
        session = Session(domain, options, facts.index, common=common)
        scope = Interpreter(session, facts.cls.module, facts, code, frozenset([*code.bound, *names]), dict(names))
        scope.settings, scope.declared = options.settings(facts), dict(declared or {})
        scope.forget(code.shared & names.keys())
        scope.run(statements)
        return scope.names, options.asked

    code = Code.of(statements)
    method = facts.method(facts.index.method)
    parameters = Code.of([], method[1].args).parameters[1:] if method is not None else ()
    names = dict.fromkeys(parameters, domain.unknown) | dict(names)
    memory = facts.index.memory
    common = {} if domain.question is None else memory.setdefault(("results", domain.question), {})
    # what these statements asked before, for another domain, they ask again
    key = ("asked", id(facts.cls), tuple(map(id, statements)))
    _, asked = memory.get(key, (statements, set()))
    if not asked:
        found, asked = run({})
        if not asked or len(asked) > _OPTIONS:
            return found
        memory[key] = statements, asked  # with the statements, or others might have their addresses
    ways = [dict(zip(asked, answers, strict=True)) for answers in itertools.product([True, False], repeat=len(asked))]
    return _joined(domain, [run(assumed)[0] for assumed in ways])


class _Circular(Exception):
    """What an attribute holds is made of what it holds."""


@dataclass(eq=False)
class Interpreter(Calls[Value]):
    """Interprets one function.

    Attributes:
        returned: What the function may return.
        declared: What annotations say of names: one that is bound to something not known is that, as to a type checker.
    """

    returned: list[Value] = field(default_factory=list)
    declared: dict[str, Value] = field(default_factory=dict)
    _loops: list[_Loop[Value]] = field(default_factory=list)
    _answers: list[Value] = field(default_factory=list)  # by which the function, or a loop, may have been left
    _forgotten: set[str] = field(default_factory=set)  # because the statement that is being read may change them

    def bind(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name) and value == self.domain.unknown:
            value = self.declared.get(target.id, value)
        super().bind(target, value)

    # Statements

    def run(self, statements: Iterable[ast.stmt]) -> bool:
        """Interpret statements, and say whether some path reaches their end."""
        return all(self._statement(statement) for statement in statements)

    def _statement(self, node: ast.stmt) -> bool:
        self.session.step += 1
        match node:
            case ast.Assign(targets=targets, value=value):
                self._forget_bound_inside(node)
                given = self.of(value)
                for target in targets:
                    self.bind(target, given)
                    self.name_module(target, value)
                self._settle(node)
            case ast.AnnAssign(target=target, annotation=annotation, value=ast.expr() as value):
                self._forget_bound_inside(node)
                declared = self.domain.declared(annotation, self.module)
                if declared is not None and isinstance(target, ast.Name):
                    self.declared[target.id] = declared
                given = self.of(value)
                self.bind(target, given if declared is None else declared)
                self._settle(node)
            case ast.AugAssign(target=ast.Name(id=name) as target, op=op, value=value):
                self._forget_bound_inside(node)
                operation = ast.copy_location(ast.BinOp(ast.Name(name, ast.Load()), op, value), node)
                result = self.domain.expression(operation, self)
                self._settle(node)  # before the name is bound: others may mean what it meant
                self.bind(target, result)
            case ast.AnnAssign() | ast.AugAssign() | ast.Assert() | ast.Expr() | ast.Pass():
                self._look(node)
            case ast.If(test=test, body=body, orelse=orelse):
                self._look(node)
                decided = self.decide(test)
                if decided is not None:
                    return self._branch([body if decided else orelse])
                return self._asked(node, test, lambda: self._branch([body, orelse]))
            case ast.For(target=target, iter=iterable, body=body, orelse=orelse):
                self._look(node)
                self.name_elements(target, iterable)
                start = partial(self._next, target, iterable)
                return self._asked(node, iterable, lambda: self._loop(body, orelse, start))
            case ast.While(body=body, orelse=orelse):  # each round asks anew
                return self._asked(node, None, lambda: self._loop(body, orelse, lambda: self._look(node), asks=True))
            case ast.With(items=items, body=body):
                self._look(node)
                return self._with(items, body)
            case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=finalbody):
                others = [handler.body for handler in handlers]
                run = partial(self._try, node, [*body, *orelse], others, finalbody)
                return self._asked(node, None, run)
            case ast.Match(subject=subject, cases=cases):
                self._look(node)
                # a pattern may bind names although its guard fails
                self.forget(name for case in cases for name in bound_names(case.pattern))
                guards = [node for case in cases if case.guard is not None for node in walk(case.guard)]
                self.forget(node.target.id for node in guards if isinstance(node, ast.NamedExpr))
                return self._asked(node, subject, lambda: self._branch([*(case.body for case in cases), []]))
            case ast.Return(value=value):
                self._forget_bound_inside(node)
                self.returned.append(self.domain.nothing if value is None else self.of(value))
                self._settle(node)
                return False
            case ast.Raise():
                return False
            case ast.Break():
                self._loops[-1].breaks.append(dict(self.names))
                return False
            case ast.Continue():
                self._loops[-1].ends.append(dict(self.names))
                return False
            case ast.Delete(targets=targets):
                for target in targets:
                    if isinstance(target, ast.Name):
                        self.names.pop(target.id, None)
                self._look(node)
            case _:
                self.forget(self.code.bound_by(node))
                if any(isinstance(inner, ast.Return) for inner in walk(node)):
                    self.returned.append(self.domain.unknown)
        return True

    def _asked(self, node: ast.stmt, question: ast.expr | None, run: Callable[[], bool]) -> bool:
        """Interpret what runs, or how often, by the answer to a question; ``None`` for one that is not in sight."""
        if not self.domain.asks:
            return run()
        answer = self.domain.unknown if question is None else self.of(question)
        number = len(self._answers)
        reached = run()
        answers = [answer, *self._answers[number:]]
        for name in self.code.bound_by(node):
            if name in self.names:
                self.names[name] = self._depending(self.names[name], answers)
        if self.code.jumps(node):  # and so does what comes after it
            self._answers.append(answer)
        return reached

    def _depending(self, value: Value, answers: Sequence[Value]) -> Value:
        for answer in answers:
            value = self.domain.depending(value, answer)
        return value

    def _next(self, target: ast.expr, iterable: ast.expr) -> None:
        self.bind(target, self.domain.element(iterable, self))

    def _look(self, node: ast.stmt) -> None:
        """Take note of what the expressions of a statement may change, those of the statements inside it aside."""
        self._forget_bound_inside(node)
        for inner in self.code.head(node):
            if isinstance(inner, ast.Call):
                self.call(inner)
        self._settle(node)

    def _forget_bound_inside(self, node: ast.stmt) -> None:
        if self.code.walrus:
            self.forget(inner.target.id for inner in self.code.head(node) if isinstance(inner, ast.NamedExpr))

    def _settle(self, node: ast.stmt) -> None:
        """Forget what a statement may have changed in place."""
        head = self.code.head(node)
        self.domain.effects(head, self)
        if self._forgotten:
            # read twice: the other time it may have been what it was before, or after
            reads = Counter(n.id for n in head if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))
            if any(reads[name] > 1 for name in self._forgotten):
                self.forget(bound_names(node, blocks=False))
            self._forgotten.clear()

    def touch(self, names: Set[str]) -> None:
        if self.facts is not None:
            names -= set(self.code.parameters[:1])  # self, which is no tensor
        forgotten = self.domain.touched(names & self.names.keys(), self) if names else ()
        self.forget(forgotten)
        self._forgotten.update(forgotten)
        self.touched |= names & frozenset(self.code.parameters)

    def _branch(self, branches: Sequence[Sequence[ast.stmt]]) -> bool:
        """Interpret branches of which one runs."""
        before, ends = dict(self.names), []
        for branch in branches:
            self.names = dict(before)
            if self.run(branch):
                ends.append(self.names)
        self.names = _joined(self.domain, ends)
        return bool(ends)

    def _loop(
        self, body: Sequence[ast.stmt], orelse: Sequence[ast.stmt], start: Callable[[], None], *, asks: bool = False
    ) -> bool:
        """Interpret a loop until another round teaches nothing new.

        Args:
            body: What it repeats.
            orelse: What it ends with.
            start: What each round begins with.
            asks: Whether that is a question, which is asked once more when there is no other round.
        """
        bound = self._bound_in(body)
        breaks: list[dict[str, Value]] = []
        for number in itertools.count():
            entry = dict(self.names)
            start()
            if number >= _ROUNDS:
                self.forget(bound)
            self._loops.append(_Loop())
            reached = self.run(body)
            loop = self._loops.pop()
            breaks += loop.breaks
            self.names = _joined(self.domain, [entry, *([self.names] if reached else []), *loop.ends])
            if number >= _ROUNDS:
                self.forget(bound)
            if self.names == entry or number > _ROUNDS:
                break
        if asks:
            start()
        ended = self.run(orelse)
        self.names = _joined(self.domain, [*([self.names] if ended else []), *breaks])
        return ended or bool(breaks)

    def _with(self, items: Sequence[ast.withitem], body: Sequence[ast.stmt]) -> bool:
        for item in items:
            if item.optional_vars is not None:
                self.bind(item.optional_vars, self.domain.unknown)
        before = dict(self.names)
        reached = self.run(body)
        if all(is_transparent(item.context_expr) for item in items):
            return reached
        # it may swallow an exception from anywhere in its body
        self.names = _joined(self.domain, [self._stopped(before, body), *([self.names] if reached else [])])
        return True

    def _try(
        self, node: ast.Try, body: Sequence[ast.stmt], handlers: Sequence[Sequence[ast.stmt]], last: Sequence[ast.stmt]
    ) -> bool:
        before = dict(self.names)
        left = [(states, len(states)) for loop in self._loops[-1:] for states in (loop.breaks, loop.ends)]
        ends = [self.names] if self.run(body) else []
        stopped = self._stopped(before, body)
        names = [handler.name for handler in node.handlers if handler.name]
        stopped |= dict.fromkeys(names, self.domain.unknown)
        for handler in handlers:
            self.names = dict(stopped)
            if self.run(handler):
                ends.append(self.names)
        for states, count in left:  # a round that is left on the way runs the last statements, too
            for number in range(count, len(states)) if last else ():
                self.names = states[number]
                self.run(last)
                states[number] = self.names
        self.names = _joined(self.domain, ends)
        return self.run(last) and bool(ends)

    def _stopped(self, before: dict[str, Value], body: Sequence[ast.stmt]) -> dict[str, Value]:
        """What is known if statements stopped at some place: of what they bind, or change in place, nothing."""
        changed = [name for name, value in before.items() if self.names.get(name, value) != value]
        return before | dict.fromkeys([*self._bound_in(body), *changed], self.domain.unknown)

    def _bound_in(self, statements: Iterable[ast.stmt]) -> Sequence[str]:
        return [name for statement in statements for name in self.code.bound_by(statement)]

    def decide(self, test: ast.expr) -> bool | None:
        """The answer to a question about settings: ``self.flatten``, ``fmt == Format.NHWC``, ``size is not None``."""
        match test:
            case ast.Attribute() | ast.Name() if self._is_constant(test):
                return bool(self.settings[dotted(test)])
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                answer = self.decide(operand)
                return None if answer is None else not answer
            case ast.Compare(left=left, ops=[op], comparators=[other]) if self._is_constant(left):
                value, equal = self.settings[dotted(left)], isinstance(op, ast.Eq | ast.Is)
                if not isinstance(op, ast.Eq | ast.NotEq | ast.Is | ast.IsNot):
                    return None
                match other:
                    case ast.Attribute(attr=attr) if isinstance(value, str):  # of an enumeration
                        return (value == attr) is equal
                    case ast.Constant(value=constant):
                        return (type(value) is type(constant) and value == constant) is equal
        return None

    def _is_constant(self, node: ast.expr) -> bool:
        """Whether the value of a setting is known; of a module it is known what makes it."""
        name = dotted(node)
        return name in self.settings and not isinstance(self.settings[name], tuple)

    # Expressions

    def of(self, node: ast.expr) -> Value:
        match node:
            case ast.Name(id=name) if name in self.names:
                return self.names[name]
            case ast.NamedExpr(value=value):
                return self.of(value)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                decided = self.decide(test)
                if decided is not None:
                    return self.of(body if decided else orelse)
                either = self.domain.join(self.of(body), self.of(orelse))
                return self.domain.depending(either, self.of(test)) if self.domain.asks else either
            case ast.Call():
                held = looked_up(node)
                if held is not None and self.path(node.func) == "getattr" and self.attribute(held):
                    return self.of(held)
                return self.call(node)
            case ast.Starred() | ast.Await() | ast.Yield() | ast.YieldFrom():
                return self.domain.unknown
        return self.domain.expression(node, self)

    def enter(
        self,
        module: Module,
        function: ast.FunctionDef,
        facts: Facts | None,
        arguments: dict[str, Value],
        settings: Mapping[str, object],
        modules: dict[str, Modules],
    ) -> Result[Value]:
        code = self.session.code(function)
        local = frozenset([*code.bound, *code.parameters])
        inner = Interpreter(
            self.session, module, facts, code, local, dict(arguments), settings, self.depth + 1, modules
        )
        annotated = {argument.arg: argument.annotation for argument in function.args.args}
        types = {name: annotated_as(self.domain, annotation, module, facts) for name, annotation in annotated.items()}
        inner.declared = {name: kind for name, kind in types.items() if kind is not None}
        inner.forget(code.shared & local)
        if inner.run(function.body):
            inner.returned.append(self.domain.nothing)
        value = inner._depending(self.session.agreed(inner.returned), inner._answers)
        value = self.domain.leave(value, self.depth)
        return Result(value, frozenset(inner.touched) - ({code.parameters[0]} if facts and code.parameters else set()))

    def held(self, attribute: str) -> Value:
        assert self.facts is not None
        session, key = self.session, (id(self.facts.cls), attribute)
        if session.known(session.held, key, self.depth):
            return session.held[key]
        if key in session.open:  # self.x = f(self.x): it holds what it holds otherwise
            session.options.count = True
            raise _Circular
        if self.depth >= DEPTH or any(attribute in cls.members for cls in self.facts.lineage):
            return self.domain.unknown
        with session.working_out(session.held, key, self.depth):
            self._hold(attribute, key)
        return session.held[key]

    def _hold(self, attribute: str, key: Hashable) -> None:
        """Find out what an attribute holds."""
        assert self.facts is not None
        session = self.session
        results = dict(session.results)
        session.open.add(key)
        found, circular = [], []
        for value in self.facts.values.get(attribute, ()):
            try:
                found.append(self._outside(value).of(value))
            except _Circular:
                circular.append(value)
        session.open.discard(key)
        session.held[key] = session.agreed(found)
        for number in itertools.count() if circular else ():
            before = session.held[key]
            after = session.agreed([before, *(self._outside(value).of(value) for value in circular)])
            session.held[key] = after if number < _ROUNDS else self.domain.unknown
            session.results = dict(results)  # without those that rest on what was held before
            if session.held[key] == before:
                break

    def _outside(self, node: ast.expr) -> Interpreter[Value]:
        """The scope of what a constructor computes: nothing is known of its own names."""
        assert self.facts is not None
        home = self.facts.home(node)
        return Interpreter(
            self.session, home.module, self.at_home(), _NO_CODE, home.constructor_names, {}, depth=self.depth + 1
        )

    def nested(self, local: Sequence[str]) -> Interpreter[Value]:
        names = {name: value for name, value in self.names.items() if name not in local}
        return Interpreter(
            self.session, self.module, self.facts, self.code, self.local.union(local), names, self.settings, self.depth
        )


@dataclass(eq=False)
class _Loop(Generic[Value]):
    """What is known where a loop is left, and where a round of it ends before the end of its body."""

    breaks: list[dict[str, Value]] = field(default_factory=list)
    ends: list[dict[str, Value]] = field(default_factory=list)


_NO_CODE = Code((), Counter(), frozenset(), opaque=False)


def _joined(domain: Domain[Value], ends: Sequence[dict[str, Value]]) -> dict[str, Value]:
    """What is true at several ends. A name that is bound at some of them alone fails where it is not."""
    joined: dict[str, Value] = {}
    for end in ends:
        for name, value in end.items():
            joined[name] = domain.join(joined[name], value) if name in joined else value
    return joined
