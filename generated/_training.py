"""What optimizers and DDP ask of a model that holds another one: its groups of parameters, and which get gradients."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from ._leaves import leaves_of

Matcher = Mapping[str, Any] | Callable[[str], Any]
"""What timm's ``group_matcher`` gives: patterns of names by group, or a function from a name to its group."""


def inside(matcher: Matcher, module: str, *stem: str) -> Matcher:
    """The groups of a model's parameters, seen from the model that holds it.

    Args:
        matcher: Of the model inside, as timm has it (``timm/models/_manipulate.py``).
        module: The name of the model inside.
        stem: Names of further parameters that are in the group of the stem, the first one, as BEiT's mask token is
            (https://arxiv.org/abs/2106.08254, ``optim_factory.py``).
    """
    if callable(matcher):
        of_name = matcher
        return lambda name: 0 if name.startswith(stem) else of_name(name.removeprefix(f"{module}."))
    first = next(iter(matcher), "")
    return {group: _inside(of, module, stem if group == first else ()) for group, of in matcher.items()}


def _inside(patterns: Any, module: str, more: tuple[str, ...]) -> Any:
    if isinstance(patterns, (list, tuple)):
        return [*((f"^{name}", None) for name in more), *((_moved(p, module), order) for p, order in patterns)]
    found = [*(f"^{name}" for name in more), *([] if patterns is None else [_moved(patterns, module)])]
    return "|".join(found) if found else None


def _moved(pattern: str, module: str) -> str:
    """A pattern of names, which timm matches from their beginning, with a module before them."""
    unanchored = re.sub(r"(?<![\\\[])\^", "", pattern)
    return rf"^{re.escape(module)}\.(?:{unanchored})"


def without_gradient(model: nn.Module, run: Callable[[], Any]) -> list[str]:
    """The parameters of a model that are to be trained, and that what it computes does not depend on.

    Args:
        model: The model.
        run: Runs it, and returns tensors in any structure.
    """
    with torch.enable_grad(), _not_checkpointed(model):
        results = [x for x in leaves_of(run()) if isinstance(x, torch.Tensor) and x.requires_grad]
    nodes, reached, used = [x.grad_fn for x in results], set(), set()
    while nodes:
        node = nodes.pop()
        if node is None or node in reached:
            continue
        reached.add(node)
        if hasattr(node, "variable"):  # where the gradient of a parameter is accumulated
            used.add(id(node.variable))
        nodes.extend(following for following, _ in node.next_functions)
    return [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in used]


@contextlib.contextmanager
def _not_checkpointed(model: nn.Module) -> Iterator[None]:
    """Run a model without gradient checkpointing, which hides parameters from the graph."""
    checkpointed = [m for m in model.modules() if getattr(m, "grad_checkpointing", False) is True]
    for module in checkpointed:
        module.grad_checkpointing = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in checkpointed:
            module.grad_checkpointing = True  # type: ignore[assignment]
