"""What statements read and write, in Python's own terms: scopes, branches, loops.

Everything here errs on the side of refusing: a construct that is not understood raises :class:`Unsound`.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from codegen.syntax.bindings import bound_names
from codegen.syntax.walking import children, remembered, walk

BUILTINS = frozenset(dir(builtins))

# Context managers of torch that never swallow an exception, so that what their body binds is bound afterwards.
_TRANSPARENT_CONTEXTS = frozenset(
    {"no_grad", "enable_grad", "set_grad_enabled", "inference_mode", "autocast", "record_function", "nullcontext"}
    | {"fork_rng", "sdpa_kernel", "sdp_kernel", "device"}
)
# Calls that consume a generator before they return.
CONSUMERS = frozenset({"all", "any", "sum", "min", "max", "tuple", "list", "set", "frozenset", "dict", "sorted"})


class Unsound(Exception):
    """A construct that must not be cut, moved or copied.

    Attributes:
        node: The construct, for its line.
        reason: Why, as part of a sentence.
        file: Path of its file, if that is not the file of the method.
    """

    def __init__(self, node: ast.AST, reason: str, file: str = "") -> None:
        super().__init__(reason)
        self.node = node
        self.reason = reason
        self.file = file


@dataclass(frozen=True)
class Flow:
    """What a run of statements needs and leaves behind.

    Attributes:
        needs: Names that may be read before the statements bind them, globals and builtins included.
        bound: Names bound at the end on every path that reaches it, those bound before included.
        may_bind: Names bound on some path.
        falls_through: Whether some path reaches the end.
    """

    needs: frozenset[str]
    bound: frozenset[str]
    may_bind: frozenset[str]
    falls_through: bool


def flow(statements: Iterable[ast.stmt], bound: Iterable[str] = ()) -> Flow:
    """Work out what statements need and bind, given the names that are bound before them.

    Raises:
        Unsound: If they hold a construct that is not understood.
    """
    block, before = list(statements), frozenset(bound)
    analysis = _DefiniteAssignment()
    after = analysis.block(block, before)
    return Flow(
        needs=frozenset(analysis.needs),
        bound=before if after is None else after,
        may_bind=frozenset(name for statement in block for name in bound_names(statement, expressions=False)),
        falls_through=after is not None,
    )


class _DefiniteAssignment:
    """Which names are bound at each place on every path to it, as compilers work it out, and which are read before.

    Methods take the names that are bound before some code and give those that are bound after it; ``None`` is the
    state of code that is never reached.

    Attributes:
        needs: Names that may be read before they are bound.
    """

    def __init__(self) -> None:
        self.needs: set[str] = set()

    def block(self, statements: Sequence[ast.stmt], bound: frozenset[str] | None) -> frozenset[str] | None:
        for statement in statements:
            if bound is None:
                flow([statement])  # never reached, and refused all the same if it is not understood
            else:
                bound = self.statement(statement, bound)
        return bound

    def statement(self, node: ast.stmt, bound: frozenset[str]) -> frozenset[str] | None:
        match node:
            case ast.If(test=test, body=body, orelse=orelse):
                self.read(test, bound)
                return _join(self.block(body, bound), self.block(orelse, bound))
            case ast.For() | ast.While():
                return self.loop(node, bound)
            case ast.With():
                return self.context(node, bound)
            case ast.Try():
                return self.attempt(node, bound)
            case ast.Return(value=value):
                self.read(value, bound)
                return None
            case ast.Raise(exc=exc, cause=cause):
                self.read(exc, bound)
                self.read(cause, bound)
                return None
            case ast.Break() | ast.Continue():
                return None  # what follows the loop assumes that its body bound nothing
        return self.simple(node, bound)

    def loop(self, node: ast.For | ast.While, bound: frozenset[str]) -> frozenset[str] | None:
        if isinstance(node, ast.For):
            self.read(node.iter, bound)
            self.block(node.body, self.bind(node.target, bound))
        else:
            self.read(node.test, bound)
            self.block(node.body, bound)
        after = self.block(node.orelse, bound)
        return bound if after is None and _breaks(node.body) else after

    def context(self, node: ast.With, bound: frozenset[str]) -> frozenset[str] | None:
        for item in node.items:
            self.read(item.context_expr, bound)
            if item.optional_vars is not None:
                bound = self.bind(item.optional_vars, bound)
        after = self.block(node.body, bound)
        return after if all(is_transparent(item.context_expr) for item in node.items) else bound

    def attempt(self, node: ast.Try, bound: frozenset[str]) -> frozenset[str] | None:
        after = self.block(node.orelse, self.block(node.body, bound))
        for handler in node.handlers:
            self.read(handler.type, bound)
            if handler.name:
                raise Unsound(handler, f"`except ... as {handler.name}` unbinds its name")
            after = _join(after, self.block(handler.body, bound))
        if node.finalbody:
            last = self.block(node.finalbody, bound)
            after = None if after is None or last is None else after | last
        return after

    def simple(self, node: ast.stmt, bound: frozenset[str]) -> frozenset[str]:
        """A statement without blocks of its own, after which the next one runs."""
        match node:
            case ast.Pass():
                pass
            case ast.Expr(value=value):
                self.read(value, bound)
            case ast.Assert(test=test, msg=msg):
                self.read(test, bound)
                self.read(msg, bound)
            case ast.Assign(targets=targets, value=value):
                self.read(value, bound)
                for target in targets:
                    bound = self.bind(target, bound)
            case ast.AugAssign(target=target, value=value):
                if isinstance(target, ast.Name):
                    self.read(ast.Name(target.id, ast.Load()), bound)
                self.read(value, bound)
                bound = self.bind(target, bound)
            case ast.AnnAssign(target=target, value=value, annotation=annotation):
                self.read(annotation, bound)
                self.read(value, bound)
                declared = self.bind(target, bound)  # without a value, the name is local and remains unbound
                bound = bound if value is None else declared
            case ast.ImportFrom(level=level) if level:
                raise Unsound(node, "a relative import would be relative to another package")
            case ast.ImportFrom(names=[ast.alias(name="*")]):
                raise Unsound(node, "`import *` binds names that cannot be known")
            case ast.Import() | ast.ImportFrom():
                bound = bound.union(bound_names(node))
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                self.read(node, bound)
                bound |= {name}
            case ast.Delete(targets=targets):
                for target in targets:
                    self.read(target, bound)
                    bound = bound.difference(bound_names(target))
            case _:
                raise Unsound(node, f"`{type(node).__name__.lower()}` is not analysed")
        return bound

    def read(self, node: ast.AST | None, bound: frozenset[str]) -> None:
        if node is not None:
            self.needs |= remembered(node, "free names", lambda: frozenset(free_names(node))) - bound

    def bind(self, target: ast.expr, bound: frozenset[str]) -> frozenset[str]:
        for node in walk(target):
            if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
                self.read(node.value, bound)
                if isinstance(node, ast.Subscript):
                    self.read(node.slice, bound)
        return bound.union(bound_names(target))


def _join(left: frozenset[str] | None, right: frozenset[str] | None) -> frozenset[str] | None:
    if left is None or right is None:
        return right if left is None else left
    return left & right


def _breaks(body: Sequence[ast.stmt]) -> bool:
    for node in body:
        if isinstance(node, ast.Break):
            return True
        if isinstance(node, ast.For | ast.While | ast.FunctionDef | ast.ClassDef):
            if isinstance(node, ast.For | ast.While) and _breaks(node.orelse):
                return True
            continue
        inner = [child for child in walk(node) if isinstance(child, ast.Break)]
        if inner:
            return True
    return False


def is_transparent(context: ast.expr) -> bool:
    """Whether a context manager never swallows an exception."""
    function = context.func if isinstance(context, ast.Call) else context
    return dotted(function).rpartition(".")[2] in _TRANSPARENT_CONTEXTS


def free_names(node: ast.AST) -> Iterator[str]:
    """Names that an expression, a nested function or a class reads from the scope around it."""
    match node:
        case ast.Name(id=name):
            if not isinstance(node.ctx, ast.Store):
                yield name
        case ast.Constant():
            return
        case ast.Attribute(value=value):  # as most expressions are
            yield from free_names(value)
        case ast.NamedExpr():
            raise Unsound(node, "`:=` binds inside an expression")
        case ast.Lambda(args=args, body=body):
            yield from _defaults(args)
            names = _arguments(args)
            yield from (name for name in free_names(body) if name not in names)
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
            local: set[str] = set()
            for generator in node.generators:
                yield from (name for name in free_names(generator.iter) if name not in local)
                read = set(free_names(generator.target))  # for a[i] in x
                yield from read - local
                local |= {n.id for n in walk(generator.target) if isinstance(n, ast.Name)} - read
                for test in generator.ifs:
                    yield from (name for name in free_names(test) if name not in local)
            parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
            for part in parts:
                yield from (name for name in free_names(part) if name not in local)
        case ast.FunctionDef(args=args, body=body, decorator_list=decorators):
            for decorator in decorators:
                yield from free_names(decorator)
            yield from _defaults(args)
            for annotation in _annotations(node):
                yield from free_names(annotation)
            inner = flow(body, _arguments(args))
            yield from inner.needs - inner.may_bind
        case ast.ClassDef():
            raise Unsound(node, "a class is defined inside the method")
        case ast.Await() | ast.Yield() | ast.YieldFrom():
            raise Unsound(node, "it suspends")
        case _:
            for child in children(node):
                yield from free_names(child)


def signature_names(function: ast.FunctionDef) -> frozenset[str]:
    """Names that the default values and annotations of a function read from the scope around it."""
    read = {name for annotation in _annotations(function) for name in free_names(annotation)}
    return frozenset({*read, *_defaults(function.args)})


def _arguments(args: ast.arguments) -> frozenset[str]:
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs]
    every += [extra for extra in (args.vararg, args.kwarg) if extra]
    return frozenset(arg.arg for arg in every)


def _defaults(args: ast.arguments) -> Iterator[str]:
    for default in [*args.defaults, *args.kw_defaults]:
        if default is not None:
            yield from free_names(default)


def _annotations(node: ast.FunctionDef) -> Iterator[ast.expr]:
    args = node.args
    for arg in [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]:
        if arg is not None and arg.annotation is not None:
            yield arg.annotation
    if node.returns is not None:
        yield node.returns


def dotted(node: ast.AST) -> str:
    """``self.patch_embed.proj`` of an attribute chain that starts at a name, else the empty string."""
    path = ""
    while isinstance(node, ast.Attribute):
        path = f".{node.attr}{path}"
        node = node.value
    return f"{node.id}{path}" if isinstance(node, ast.Name) else ""


def returns(node: ast.AST) -> bool:
    """Whether a statement may leave the method that it is in; a function nested in it only leaves itself."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return False
    return isinstance(node, ast.Return) or any(returns(child) for child in children(node))


def escaping_scopes(statements: Iterable[ast.stmt]) -> Iterator[ast.AST]:
    """Functions and generators that could run after the statement that makes them, when names may have changed."""
    for statement in statements:
        consumed = {
            id(arg)
            for call in walk(statement)
            if isinstance(call, ast.Call) and dotted(call.func) in CONSUMERS
            for arg in call.args
        }
        for node in walk(statement):
            if isinstance(node, ast.Lambda | ast.FunctionDef | ast.AsyncFunctionDef):
                yield node
            if isinstance(node, ast.GeneratorExp) and id(node) not in consumed:
                yield node
