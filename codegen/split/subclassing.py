"""What Python runs when a subclass is made, as the import of a generated package makes one of each class."""

from __future__ import annotations

import ast

from codegen.source.index import Class, Index
from codegen.syntax.dataflow import Unsound, dotted

_HOOK = "__init_subclass__"
# They do nothing to the classes that they make.
_METACLASSES = frozenset({"type", "ABCMeta", "abc.ABCMeta"})


def check_subclassing(index: Index, cls: Class) -> None:
    """Refuse a class of which a subclass cannot be made without a trace elsewhere, as in a registry of classes.

    Args:
        index: The release.
        cls: The class.

    Raises:
        Unsound: With the construct and why.
    """
    for ancestor in index.lineage(cls):
        for keyword in ancestor.node.keywords:
            if keyword.arg == "metaclass" and dotted(keyword.value) not in _METACLASSES:
                reason = f"the metaclass `{ast.unparse(keyword.value)}` of {ancestor.name} would run for its split too"
                raise Unsound(keyword.value, reason, ancestor.module.path)
        hook = ancestor.members.get(_HOOK)
        if hook is not None and not _only_passes_on(hook):
            reason = (
                f"`{_HOOK}` of {ancestor.name} would run for its split too, and may register it or refuse it: "
                "register classes by a call or a decorator instead"
            )
            raise Unsound(hook, reason, ancestor.module.path)


def _only_passes_on(hook: ast.stmt) -> bool:
    """Whether a method does nothing but call that of the parent."""
    return isinstance(hook, ast.FunctionDef) and all(_is_idle(statement) for statement in hook.body)


def _is_idle(statement: ast.stmt) -> bool:
    match statement:
        case ast.Pass() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name("super")), attr=attr))):
            return attr == _HOOK
    return False
