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
"""Every option of timm's constructors that drops something in training."""

BATCH = 2
"""Images in a batch: more than one, so that a batch size that was mistaken for a constant shows."""

_SIDES = (64, 96, 112, 126, 128, 144, 168, 192, 224)
"""Image sizes to try, in pixels, before the one that a model was made for: multiples of 14 and 16, and of windows."""
_LARGE = 100_000_000
"""Parameters from which a model is made shallow, where its constructor takes a depth."""

Size = tuple[int, int, int]
"""Channels, height and width."""


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


def build_anywhere(name: str) -> nn.Module:
    """Build a registered model to look at, on ``meta`` where timm can, which needs no memory for its parameters."""
    try:
        return build(name, "meta")
    except Exception:  # before timm 1.0.25, the stem of a hybrid is measured by running it
        return build(name, "cpu")


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


def runs(name: str, device: str, options: Mapping[str, Any], size: Size) -> bool:
    """Whether timm's ``forward_features`` runs in a model that is built with these options, on images of this size."""
    try:
        model: Any = build(name, device, options).eval()
        with torch.no_grad(), torch.device(device):
            model.forward_features(torch.zeros((BATCH, *size)))
    except Exception:
        return False
    return True


def configurations_by_cost(model: nn.Module) -> Iterator[tuple[dict[str, Any], Size]]:
    """Constructor options and sizes of images for a model of this kind, the cheapest to run first.

    A large one is first made shallow, where its constructor takes a depth. The last is the model as it is.
    """
    native = channels, *pixels = input_size(model)
    large = sum(parameter.numel() for parameter in model.parameters()) > _LARGE
    depth = accepted(type(model), {"depth": 2}) if large else {}
    for options in [depth, {}] if depth else [{}]:
        for side in _SIDES:
            if side < min(pixels):
                yield {**options, **accepted(type(model), {"img_size": (side, side)})}, (channels, side, side)
        yield options, native


def in_words(options: Mapping[str, Any], size: Size) -> str:
    """How a model was built and run."""
    return ", ".join([f"images of {size[1]} x {size[2]}", *(f"{key}={value}" for key, value in options.items())])


def input_size(model: nn.Module) -> Size:
    """The images that a model was made for."""
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None) or {}
    channels, height, width = config.get("input_size") or (3, 224, 224)
    return channels, height, width


def accepted(model_class: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that the constructor of ``model_class`` names."""
    parameters = inspect.signature(model_class).parameters
    return {name: value for name, value in options.items() if name in parameters}
