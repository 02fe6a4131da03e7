"""Which decorators leave a class what it is, and which a function."""

from __future__ import annotations

import ast

from codegen.model.registration import Unproven, prove_registration
from codegen.source.index import Class, Index, Module
from codegen.syntax.dataflow import dotted
from codegen.syntax.walking import walk

# They are known to change the class, whoever trusts them.
_CHANGING = ("dataclasses.", "functools.total_ordering", "torch.jit.", "torch.compile", "attr.", "attrs.")


def called(decorator: ast.expr) -> ast.expr:
    """What a decorator names, with arguments or without: ``functools.lru_cache`` of ``@functools.lru_cache(8)``."""
    return decorator.func if isinstance(decorator, ast.Call) else decorator


def name_of(decorator: ast.expr) -> str:
    """The name by which a decorator is trusted: ``MODELS.register_module`` of ``@MODELS.register_module("x")``."""
    return ast.unparse(called(decorator))


def objection(index: Index, module: Module, decorator: ast.expr) -> Unproven | None:
    """Why the class under a decorator may be another one than it reads; ``None`` if it is the class as it is.

    A decorator whose code can be read is proved to be a registration; one that is named in ``release.trusted`` is taken
    for one, unless it is known to change classes.

    Args:
        index: The release.
        module: The module in which the class stands.
        decorator: The expression after ``@``.
    """
    key = ("decorator", id(decorator))
    if key not in index.memory:
        index.memory[key] = _objection(index, module, decorator)
    found: Unproven | None = index.memory[key]
    return found


def _objection(index: Index, module: Module, decorator: ast.expr) -> Unproven | None:
    origin = module.origin_of(called(decorator))
    if origin.startswith(_CHANGING):
        return Unproven(decorator, module, f"`{origin}` changes the class")
    if name_of(decorator) in index.release.trusted:
        return None
    try:
        prove_registration(index, module, decorator)
    except Unproven as unproven:
        return unproven
    # what else runs when a class is registered, a descriptor or an operator, stands beside it
    setting = next((node for node in walk(module.tree) if _sets_anything(node)), None)
    return None if setting is None else Unproven(setting, module, f"`{ast.unparse(setting)}` may set anything of it")


def _sets_anything(node: ast.AST) -> bool:
    """Whether code sets or deletes an attribute of something else than ``self`` by a computed name."""
    match node:
        case ast.Call(func=ast.Name("setattr" | "delattr"), args=[owner, name, *_]):
            return not isinstance(name, ast.Constant) and dotted(owner) != "self"
        case ast.Attribute(value=ast.Name("builtins"), ctx=ast.Store()):
            return True
    return False


def are_as_they_read(index: Index, lineage: tuple[Class, ...]) -> bool:
    """Whether no decorator of these classes may make them other classes than they read."""
    return all(objection(index, c.module, d) is None for c in lineage for d in c.node.decorator_list)


def runs_as_written(module: Module, function: ast.FunctionDef) -> bool:
    """Whether the decorators of a function leave what it does as it is."""
    return all(keeps_code(module, decorator) for decorator in function.decorator_list)


def remembers(module: Module, function: ast.FunctionDef) -> bool:
    """Whether a decorator of a function may remember what it returned, by its name here or where it is from."""
    names = ((ast.unparse(decorator), module.origin_of(called(decorator))) for decorator in function.decorator_list)
    return any("cache" in name for pair in names for name in pair)


def keeps_code(module: Module, decorator: ast.expr) -> bool:
    """Whether a decorator leaves what a function does as it is, or only remembers what it returned."""
    path = module.origin_of(called(decorator))
    timms = path.startswith("timm.") and path.rpartition(".")[2] in _TIMM_DECORATORS
    return timms or path in _DECORATORS or path.startswith(("torch.jit.", "torch.compiler.disable"))


_DECORATORS = frozenset(
    {"staticmethod", "classmethod", "functools.lru_cache", "functools.cache"}
    | {"torch.no_grad", "torch.enable_grad", "torch.inference_mode", "torch.fx.wrap"}
)
_TIMM_DECORATORS = frozenset({"register_notrace_function", "register_notrace_module", "disable_compiler"})
