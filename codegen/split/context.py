"""A context around the whole body, ``with torch.no_grad():``, which both halves enter where that is the same.

The decorator ``@torch.no_grad()`` is one, too.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from codegen.model.effects import effects
from codegen.model.facts import Facts
from codegen.source.index import Module
from codegen.syntax.dataflow import Unsound
from codegen.syntax.statements import Statement, context_body

# They set the mode in which gradients are recorded, and set it back; nothing is kept in between.
_STATELESS = frozenset({"torch.no_grad", "torch.enable_grad", "torch.autograd.no_grad", "torch.autograd.enable_grad"})
_SETTING = frozenset({"torch.set_grad_enabled", "torch.autograd.set_grad_enabled"})
_WHY = {
    "autocast": "keeps the weights that it has cast until it ends, so that two halves would cast a shared weight twice",
    "inference_mode": "makes tensors that cannot be changed outside of it, as masking between two halves does",
}


def decorating_context(module: Module, method: ast.stmt) -> str:
    """The context that the one decorator of a method enters around all of it; empty for any other decorators."""
    match method:
        case ast.FunctionDef(decorator_list=[ast.Call(args=[], keywords=[]) as decorator]):
            return ast.unparse(decorator) if module.origin_of(decorator.func) in _STATELESS else ""
        case ast.FunctionDef(decorator_list=[ast.Name() | ast.Attribute() as decorator]):  # torch makes it one itself
            return f"{ast.unparse(decorator)}()" if module.origin_of(decorator) in _STATELESS else ""
    return ""


def without_context(
    facts: Facts, module: Module, statements: Sequence[Statement], parameters: Sequence[str], decorating: str = ""
) -> tuple[str, tuple[Statement, ...]]:
    """The contexts around a whole body, ``torch.no_grad()``, and the statements inside; no text where there is none.

    Args:
        facts: The class.
        module: The file of the method.
        statements: Those of the method.
        parameters: Its parameters.
        decorating: What the decorator of the method enters.

    Raises:
        Unsound: If two halves cannot enter them as the whole does.
    """
    match [statement.tree for statement in statements]:
        case [ast.With() as node]:
            after: tuple[Statement, ...] = ()
        case [ast.With() as node, ast.Return(value=ast.Name())]:  # it reads a name, which is the same inside
            after = (statements[1],)
        case trees:
            if decorating:
                _check_modes(facts, trees, parameters, decorating)
            return decorating, tuple(statements)
    for item in node.items:
        _check(module, item)
    _check_modes(facts, node.body, parameters, ast.unparse(node.items[0].context_expr))
    text, inner = context_body(statements[0])
    return ", ".join(filter(None, (decorating, text))), (*inner, *after)


def _check_modes(facts: Facts, body: Sequence[ast.stmt], parameters: Sequence[str], entered: str) -> None:
    if any(place.kind != "argument" for place in effects(facts, body, parameters).writes):
        raise Unsound(body[0], f"`{entered}` spans the whole method, and what runs in it may change such modes")


def _check(module: Module, item: ast.withitem) -> None:
    call = item.context_expr
    function = call.func if isinstance(call, ast.Call) else call
    path = module.origin_of(function)
    arguments = (call.args, call.keywords) if isinstance(call, ast.Call) else ((), ())
    match arguments:
        case [[], []] if path in _STATELESS and isinstance(call, ast.Call) and item.optional_vars is None:
            return
        case [[ast.Constant(bool())], []] if path in _SETTING and item.optional_vars is None:
            return
    name = ast.unparse(function)
    known = path.startswith("torch.")
    why = next(
        (w for part, w in _WHY.items() if known and part in path), "may do something else when it is entered twice"
    )
    raise Unsound(call, f"`with {name}` spans the whole method, and {why}: enter it where the model is called")
