"""Whether functions of some files keep anything outside of the objects that they work on: in globals, or in classes."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from codegen.model.library import LOGGING_METHODS, MUTATING_METHODS, TENSOR_METHODS
from codegen.source.index import Index, Module
from codegen.syntax.bindings import bound_names
from codegen.syntax.parameters import defaults_of
from codegen.syntax.walking import walk

_CONTAINERS = ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp | ast.Call
_READING = frozenset({"get", "items", "keys", "values", "index", "count", "copy", "split", "join", "format"})
_Code = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(frozen=True)
class Keeping:
    """What of a file outlives the objects at hand, and so the functions that keep something there.

    Attributes:
        objects: Globals that are no classes, functions or libraries.
        modules: Names of the user's modules, and of what is imported from them.
        classes: Names of classes.
        attributes: Containers that all objects of a class have in common.
        reads: Names of methods that leave alone what they are called on.
    """

    objects: frozenset[str]
    modules: frozenset[str]
    classes: frozenset[str]
    attributes: frozenset[str]
    reads: frozenset[str]

    @staticmethod
    def of(tree: ast.Module, taken: Collection[str], modules: Collection[str], others: Iterable[ast.Module]) -> Keeping:
        """What a file has in common.

        Args:
            tree: The file.
            taken: Names that it imports which are such globals of other files.
            modules: Names that it imports from other files of the user.
            others: These files.
        """
        nodes = list(walk(tree))
        classes = frozenset(node.name for node in nodes if isinstance(node, ast.ClassDef))
        attributes = {name for each in (tree, *others) for name in _class_attributes(each)}
        own = {node.name for node in nodes if isinstance(node, _Code) and not isinstance(node, ast.Lambda)}
        reads = (_READING | TENSOR_METHODS) - own - MUTATING_METHODS
        objects = global_objects(tree).union(taken)
        return Keeping(objects, frozenset(modules), classes, frozenset(attributes), reads)

    def functions(self, tree: ast.Module) -> Iterator[ast.AST]:
        """The functions of the file that may change a global, a class, a default or a variable of an outer function."""
        return (node for node in walk(tree) if isinstance(node, _Code) and _keeps(node, self))


def global_objects(tree: ast.Module) -> frozenset[str]:
    """Names that the top level of a file binds to what is no class, no function, no logger and nothing imported."""
    loggers = {name for name in _loggers(tree) if only_logs(tree, name)}
    return frozenset(_objects(tree.body)) - loggers


def _loggers(tree: ast.Module) -> Iterator[str]:
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Attribute(ast.Name("logging"), attr))):
                if attr in ("getLogger", "get_logger"):
                    yield name


def only_logs(tree: ast.Module, logger: str) -> bool:
    """Whether a file asks no more of a logger than to log."""
    nodes = list(walk(tree))
    asked = {id(n.value) for n in nodes if isinstance(n, ast.Attribute) and n.attr in LOGGING_METHODS}
    used = (n for n in nodes if isinstance(n, ast.Name) and n.id == logger and isinstance(n.ctx, ast.Load))
    return all(id(node) in asked for node in used)


def is_listened_to(index: Index) -> bool:
    """Whether a user's code may run when something is logged: a handler, a filter or the like of its own."""
    key, memory = "listens to loggers", index.memory
    if key not in memory:
        memory[key] = any("logging" in module.text and _listens(module) for module in index.user_modules)
    listened: bool = memory[key]
    return listened


def _listens(module: Module) -> bool:
    nodes = list(walk(module.tree))
    own = {
        target.id
        for node in nodes
        if isinstance(node, ast.Assign) and _is_loggings(module, node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return any(_lets_code_in(module, node, own) for node in nodes)


def _lets_code_in(module: Module, node: ast.AST, handlers: Collection[str]) -> bool:
    """Whether it may give a logger something of the user's; ``handlers`` are variables that hold what logging made."""
    match node:
        case ast.ClassDef(bases=bases):
            return any(module.origin_of(base).startswith("logging.") for base in bases)
        case ast.Call(func=ast.Attribute(attr="addHandler"), args=[ast.Name(id=name)]):
            return name not in handlers
        case ast.Call(func=ast.Attribute(attr="addHandler"), args=args):
            return not all(_is_loggings(module, argument) for argument in args)
        case ast.Attribute(attr=attr) | ast.keyword(arg=attr):
            return attr in _LISTENERS
    return False


def _is_loggings(module: Module, node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and module.origin_of(node.func).startswith("logging.")


_LISTENERS = frozenset(
    {"addFilter", "filters", "handlers", "setLogRecordFactory", "setLoggerClass", "makeRecord", "callHandlers"}
)
"""What else of logging's takes code of others, or holds it."""


def _objects(statements: Sequence[ast.stmt]) -> Iterator[str]:
    for statement in statements:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Import() | ast.ImportFrom():
                continue
            case (
                ast.If(body=body, orelse=orelse)
                | ast.For(body=body, orelse=orelse)
                | ast.While(body=body, orelse=orelse)
            ):
                yield from _objects([*body, *orelse])
            case ast.With(body=body):
                yield from _objects(body)
            case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=last):
                yield from _objects([*body, *(s for handler in handlers for s in handler.body), *orelse, *last])
            case ast.Assign(value=ast.Constant()):
                continue  # which nobody changes in place
            case _:
                yield from bound_names(statement)


def _class_attributes(tree: ast.Module) -> Iterator[str]:
    for cls in (node for node in walk(tree) if isinstance(node, ast.ClassDef)):
        for statement in cls.body:
            if isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(statement.value, _CONTAINERS):
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                yield from (target.id for target in targets if isinstance(target, ast.Name))


def _keeps(function: _Code, shared: Keeping) -> bool:
    arguments = function.args
    remembered = {name for name, default in defaults_of(arguments).items() if isinstance(default, _CONTAINERS)}
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    own = {argument.arg for argument in every if argument is not None}
    own |= {node.id for node in walk(function) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    objects = (shared.objects - own) | remembered
    classes = (shared.classes - own) | {"cls"}
    known = classes | (shared.modules - own)
    for node in walk(function):
        match node:
            case ast.Global() | ast.Nonlocal():
                return True
            case ast.Attribute(value=owner, ctx=ast.Store() | ast.Del()):
                common = {*objects, *known, "type", "__class__", "getattr", "[]"}
                kept = _root(owner, shared.attributes) in common
            case ast.Subscript(value=owner, ctx=ast.Store() | ast.Del()):
                common = {*objects, *known, "globals", "vars", "getattr", "[]"}
                kept = _root(owner, shared.attributes) in common
            case ast.Call(func=ast.Name("setattr" | "delattr"), args=[owner, *_]):
                kept = _root(owner, shared.attributes) in {*objects, *classes, "type", "__class__", "getattr"}
            case ast.Call(func=ast.Attribute(value=owner, attr=attr)) if attr not in shared.reads:
                deep = isinstance(owner, ast.Attribute | ast.Subscript)  # Norm.seen.append, but not Norm.make
                kept = _root(owner, shared.attributes) in {*objects, "globals", "[]", *(known if deep else ())}
            case ast.Call(args=given) if not _looks(node):  # remember(SEEN, x)
                kept = any(isinstance(argument, ast.Name) and argument.id in objects - remembered for argument in given)
            case _:
                continue
        if kept:
            return True
    return False


def _looks(call: ast.Call) -> bool:
    """Whether a call is one of Python's functions that leave what they are given as it is."""
    return isinstance(call.func, ast.Name) and call.func.id in {
        *("len", "isinstance", "print", "range", "enumerate", "zip", "list", "tuple", "dict", "set", "sorted", "int"),
        *("float", "str", "getattr", "hasattr", "min", "max", "sum", "type", "issubclass", "super"),
    }


def _root(node: ast.expr, attributes: Collection[str]) -> str:
    """What an expression begins with; ``[]`` for what all objects of a class have in common."""
    while True:
        match node:
            case ast.Name(id=name):
                return name
            case ast.Attribute(attr=attr) if attr in attributes:
                return "[]"
            case ast.Attribute(attr="__class__"):
                return "__class__"
            case ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.Call(func=inner):
                node = inner
            case _:
                return ""
