"""Building timm's models for the proof, and images for them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import nn

RATES = {
    "drop_rate": 0.1,
    "pos_drop_rate": 0.1,
    "patch_drop_rate": 0.25,
    "proj_drop_rate": 0.1,
    "attn_drop_rate": 0.1,
    "drop_path_rate": 0.1,
}
"""Every way in which timm's constructors are told to drop something in training."""

BATCH = 2
"""Images in a batch: more than one, so that a batch size that was mistaken for a constant shows."""


def build(name: str, device: str, options: Mapping[str, Any] | None = None) -> nn.Module:
    """Build a registered model without pretrained weights.

    Args:
        name: The registered name.
        device: ``meta`` or ``cpu``.
        options: Further keyword arguments of its constructor.

    Raises:
        Exception: Whatever timm raises, on ``meta`` more than elsewhere.
    """
    with torch.device(device):
        model: nn.Module = timm.create_model(name, pretrained=False, **(options or {}))
    return model


def input_size(model: nn.Module) -> tuple[int, int, int]:
    """Channels, height and width of the images that a model was made for."""
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None) or {}
    channels, height, width = config.get("input_size") or (3, 224, 224)
    return channels, height, width


def accepted(model_class: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that the constructor of ``model_class`` names."""
    parameters = inspect.signature(model_class).parameters
    return {name: value for name, value in options.items() if name in parameters}
