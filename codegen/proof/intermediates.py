"""The keyword arguments with which ``forward_intermediates`` and its split are compared, and both ways to call them."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

Keywords = Mapping[str, Any]

_FORMATS = ("NCHW", "NLC", "NHWC")
_INDICES = (None, 1, [0, -1])


def is_offered(model: nn.Module, timm_class: type) -> bool:
    """Whether a split model has ``forward_stages_intermediates`` from its split class."""
    name = "forward_stages_intermediates"
    return hasattr(model, name) and not hasattr(timm_class, name)


def combinations(model: nn.Module) -> Iterator[Keywords]:
    """All combinations of keyword arguments that a model's ``forward_intermediates`` takes, the defaults first.

    Flags are set and not, ``indices`` are none, a number and a list, ``output_fmt`` is each of timm's formats. Other
    keyword arguments keep their defaults. Not all that is combined has to be accepted.
    """
    choices: dict[str, tuple[Any, ...]] = {}
    for parameter in inspect.signature(model.forward_intermediates).parameters.values():  # type: ignore[arg-type]
        if parameter.name == "indices":
            choices[parameter.name] = _INDICES
        elif parameter.name == "output_fmt":
            choices[parameter.name] = _FORMATS
        elif isinstance(parameter.default, bool):
            choices[parameter.name] = (parameter.default, not parameter.default)
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


def covering(model: nn.Module) -> Iterator[Keywords]:
    """A few of the combinations, in which each value of each keyword argument comes up."""
    for parameters in (list(combinations(model)),):
        every = {(name, repr(value)) for keywords in parameters for name, value in keywords.items()}
        for keywords in (parameters[0], *reversed(parameters)):
            new = {(name, repr(value)) for name, value in keywords.items()} & every
            if new:
                every -= new
                yield keywords


def whole(model: Any, images: torch.Tensor, keywords: Keywords) -> Any:
    """What timm's method gives for images."""
    return model.forward_intermediates(images, **keywords)


def from_embedding(model: Any, images: torch.Tensor, keywords: Keywords) -> Any:
    """What the split gives for the embedding of images."""
    embedding = model.embed(images)
    taken = inspect.signature(model.forward_stages_intermediates).parameters
    size = (images.shape[-2:],) if "image_size" in taken else ()
    return model.forward_stages_intermediates(embedding, *size, **keywords)
