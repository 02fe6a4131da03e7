"""What features consist of, where they are more than a tensor."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch


def leaves_of(features: Any) -> list[Any]:
    """All that features hold, in dicts, lists, tuples and dataclasses."""
    if isinstance(features, dict):
        return [x for value in features.values() for x in leaves_of(value)]
    if isinstance(features, (list, tuple)):
        return [x for value in features for x in leaves_of(value)]
    if is_dataclass(features) and not isinstance(features, type):
        return [x for field in fields(features) for x in leaves_of(getattr(features, field.name))]
    return [features]


def with_leaves(features: Any, leaves: Sequence[Any]) -> Any:
    """Features of the same form that hold other leaves, as many as :func:`leaves_of` gives. They are not changed."""
    return _put(features, iter(leaves))


def _put(features: Any, leaves: Iterator[Any]) -> Any:
    if isinstance(features, dict):
        changed = {key: _put(value, leaves) for key, value in features.items()}
        if not hasattr(features, "__dict__"):
            return changed
        same: Any = type(features).__new__(type(features))  # which may need more than its items to be made
        vars(same).update(vars(features))
        for key, value in changed.items():
            same[key] = value
        return same
    if isinstance(features, (list, tuple)):
        values = [_put(value, leaves) for value in features]
        return type(features)(*values) if hasattr(features, "_fields") else type(features)(values)
    if is_dataclass(features) and not isinstance(features, type):
        other: Any = copy.copy(features)
        for field in fields(features):
            object.__setattr__(other, field.name, _put(getattr(features, field.name), leaves))  # it may be frozen
        return other
    return next(leaves)


def told(leaves: list[Any]) -> str:
    """What came, in words."""
    words = [
        f"a tensor of shape {tuple(x.shape)}" if isinstance(x, torch.Tensor) else f"a {type(x).__name__}"
        for x in leaves
    ]
    return ", ".join(words) or "nothing"
