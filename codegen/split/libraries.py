"""Whether a user's file changes a library that models rest on: ``torch.relu = mine``, ``nn.Linear.forward = fast``."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from codegen.model.purity import is_library
from codegen.source.index import Index, Module
from codegen.syntax.dataflow import Unsound, dotted
from codegen.syntax.walking import walk

# What is set there changes how torch works, loads data or starts processes, and not what a model computes.
_SETTINGS = (
    *("torch.backends.", "torch._dynamo.config.", "torch._inductor.config.", "torch._functorch.config."),
    *("torch.utils.data.", "torch.multiprocessing.", "torch.hub."),
)
_GLOBAL_HOOK = "torch.nn.modules.module.register_module_forward"
_SETTING = frozenset({"setattr", "delattr"})


def check_libraries(index: Index, module: Module, *, importing: bool = False) -> None:
    """Refuse the classes of files one of which changes a library.

    Args:
        index: The files.
        module: One of them.
        importing: Whether only what runs when it is imported counts.

    Raises:
        Unsound: With the place and the name.
    """
    key = ("library changed by", module.path, importing)
    if key not in index.memory:
        nodes = module.running if importing else walk(module.tree)
        index.memory[key] = next(_changes(module, nodes), None)
    found: tuple[ast.AST, str] | None = index.memory[key]
    if found is not None:
        node, name = found
        raise Unsound(node, f"its module sets `{name}`, and every model may compute something else by it", module.path)


def _changes(module: Module, nodes: Iterable[ast.AST]) -> Iterator[tuple[ast.AST, str]]:
    for node in nodes:
        match node:
            case ast.Attribute(ctx=ast.Store() | ast.Del()):
                path = _path(module, node)
            case ast.Call(func=ast.Name(id=function), args=[owner, *_]) if function in _SETTING:
                path = _path(module, owner)
            case ast.Subscript(value=ast.Attribute(value=owner, attr="__dict__"), ctx=ast.Store() | ast.Del()):
                path = _path(module, owner)
            case ast.Subscript(value=ast.Call(func=ast.Name("vars"), args=[owner]), ctx=ast.Store() | ast.Del()):
                path = _path(module, owner)
            case ast.Call(func=ast.Attribute(value=ast.Attribute(value=owner, attr="__dict__"), attr="update")):
                path = _path(module, owner)
            case ast.Call(func=function) if _path(module, function).startswith(_GLOBAL_HOOK):
                yield node, "hooks of all modules"
                continue
            case _:
                continue
        if path and (is_library(path) or path.startswith("timm.")) and not path.startswith(_SETTINGS):
            yield node, path


def back_door(module: Module, node: ast.AST) -> str | None:
    """The way, if any, by which a piece of code that runs with a file may change anything, in words of the code."""
    match node:
        case ast.Call(func=ast.Name("exec" | "eval")):
            return ast.unparse(node)
        case ast.Attribute(attr="__subclasses__" | "__code__"):
            return ast.unparse(node)
        case ast.Subscript(value=ast.Call(func=ast.Name("globals" | "vars" | "locals")), ctx=ast.Store() | ast.Del()):
            return ast.unparse(node)
        case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name("globals" | "vars" | "locals")), attr="update")):
            return ast.unparse(node)
        case ast.Attribute(value=owner, ctx=ast.Store()) | ast.Call(func=ast.Name("setattr"), args=[owner, *_]):
            inside = [n for n in walk(owner) if isinstance(n, ast.Attribute | ast.Call)]
            paths = {_path(module, n.func if isinstance(n, ast.Call) else n) for n in inside}
            named = any(isinstance(n, ast.Call) and dotted(n.func) == "globals" for n in inside)
            if named or paths & {"sys.modules", "importlib.import_module"}:
                return ast.unparse(node)
        case ast.Call(func=function) if _path(module, function).startswith("unittest.mock."):
            return ast.unparse(function)
    return None


def _path(module: Module, node: ast.expr) -> str:
    """The full name of what an expression stands for, if that is imported, under another name perhaps."""
    head, _, rest = dotted(node).partition(".")
    for _ in range(8):
        match module.bindings.get(head):
            case [ast.Assign(targets=[ast.Name()], value=value)] if dotted(value):
                head, _, before = dotted(value).partition(".")
                rest = ".".join(filter(None, [before, rest]))
            case _:
                break
    return module.origin(head, rest) if head and module.import_of(head) is not None else ""
