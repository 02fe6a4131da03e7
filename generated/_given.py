"""Which method of a split model takes what ``forward_features`` takes besides images."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Given:
    """Arguments by the method that takes them; one may go to several."""

    embed: Mapping[str, Any] = field(default_factory=dict)
    patches: Mapping[str, Any] = field(default_factory=dict)
    positions: Mapping[str, Any] = field(default_factory=dict)
    stages: Mapping[str, Any] = field(default_factory=dict)


_NOTHING = Given()


def divide(arguments: Mapping[str, Any], model: nn.Module, stages: str = "forward_stages") -> Given:
    """Divide arguments among ``embed``, its two parts, and the method that runs the stages.

    Raises:
        TypeError: The model takes no such argument.
    """
    if not arguments:
        return _NOTHING
    parts = [
        _taken(arguments, getattr(model, name, None)) for name in ("embed", "embed_patches", "embed_positions", stages)
    ]
    for name in arguments:
        if not any(name in part for part in parts):
            raise TypeError(f"neither embed() nor {stages}() of {type(model).__name__} takes `{name}`")
    return Given(*parts)


def _taken(arguments: Mapping[str, Any], method: Callable[..., Any] | None) -> dict[str, Any]:
    if method is None:
        return {}
    _, *parameters = inspect.signature(method).parameters.values()  # the first is what it works on
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return dict(arguments)
    names = {p.name for p in parameters}
    return {name: value for name, value in arguments.items() if name in names}
