"""What features consist of, where they are more than a tensor."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import torch


def leaves_of(features: Any) -> list[Any]:
    """All that features hold, in dicts, lists, tuples and dataclasses."""
    if isinstance(features, dict):
        return [x for value in features.values() for x in leaves_of(value)]
    if isinstance(features, (list, tuple)):
        return [x for value in features for x in leaves_of(value)]
    if is_dataclass(features):
        return [x for field in fields(features) for x in leaves_of(getattr(features, field.name))]
    return [features]


def told(leaves: list[Any]) -> str:
    """What came, in words."""
    words = [
        f"a tensor of shape {tuple(x.shape)}" if isinstance(x, torch.Tensor) else f"a {type(x).__name__}"
        for x in leaves
    ]
    return ", ".join(words) or "nothing"
