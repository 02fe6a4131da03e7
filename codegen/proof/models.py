"""Building timm's models for the proof, and images for them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

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
    make = functools.partial(timm.create_model, name, pretrained=False, **(options or {}))
    try:
        with torch.device(device):
            model: nn.Module = make()
    except Exception:
        if device != "meta":
            raise
        # constructors of timm before 1.0.25 read values, ``linspace(...).item()``: only what they keep is on meta then
        with _kept_on_meta():
            model = make()
    return model


@contextmanager
def _kept_on_meta() -> Iterator[None]:
    """Move parameters and buffers to ``meta`` as modules register them."""
    register_parameter, register_buffer = nn.Module.register_parameter, nn.Module.register_buffer

    def parameter(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        moved = None if param is None else nn.Parameter(param.to("meta"), requires_grad=param.requires_grad)
        register_parameter(self, name, moved)

    def buffer(self: nn.Module, name: str, tensor: torch.Tensor | None, persistent: bool = True) -> None:
        register_buffer(self, name, None if tensor is None else tensor.to("meta"), persistent)

    with patch.object(nn.Module, "register_parameter", parameter), patch.object(nn.Module, "register_buffer", buffer):
        yield


def input_size(model: nn.Module) -> tuple[int, int, int]:
    """Channels, height and width of the images that a model was made for."""
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None) or {}
    channels, height, width = config.get("input_size") or (3, 224, 224)
    return channels, height, width


def accepted(model_class: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that the constructor of ``model_class`` names."""
    parameters = inspect.signature(model_class).parameters
    return {name: value for name, value in options.items() if name in parameters}
