"""Erases masked pixels before a stem whose tokens see more than their own patch."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Literal

import torch

from ._masks import normal_like
from ._tokens import TokenLayout, check_mask, check_masks, images_size

Fill = float | Literal["mean", "noise"]
"""What goes into masked pixels."""


def hide(
    images: torch.Tensor,
    mask: torch.Tensor | Sequence[torch.Tensor],
    layout: TokenLayout,
    fill: Fill = 0.0,
    *,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Erase the pixels of masked patches, if tokens of other patches would see them.

    To be called before ``embed`` or ``embed_patches``. If the stem is convolutional, overlapping or mixes places in any
    other way, pixels under the mask flow into visible tokens, and a model learns to read its target off them. As in
    SparK (arXiv 2301.03580), the stem is given nothing there.

    Args:
        images: (B, C, H, W), or videos, (B, C, T, H, W), normalised.
        mask: (B, N), bool, True where masked; a list of them, one for each grid, hides what any of them masks.
        layout: Of the model's embedding, ``token_layout(model)``; of its patches, ``patch_layout(model)``, if patches
            are replaced before their position.
        fill: A number; ``mean``, that of the visible pixels of each image and channel; or ``noise``, standard normal.
        generator: Where noise comes from.

    Returns:
        Of the same shape: ``images`` itself where each token sees its own patch alone.

    Raises:
        TypeError: The mask is not boolean, or the fill is neither a number nor a word.
        ValueError: The images are of another form than those of the layout, the mask is not for them or on another
            device, or there is no such fill.
    """
    check_fill(fill)
    size, pixels = images_size(images, layout), None
    layout.check_size(size)
    masks, streams = (mask, layout.streams) if isinstance(mask, (list, tuple)) else ([mask], layout.streams[:1])
    check_masks(masks, streams)
    for stream, one in zip(streams, masks):  # noqa: B905 - as many
        grid = stream.at(size, None if stream.is_even(size) else one.shape[-1])
        check_mask(one, images, math.prod(grid))
        if layout.leaks:
            under = stream.pixels(one, size)
            pixels = under if pixels is None else pixels | under
    if pixels is None:
        return images
    if fill == "mean":
        places = tuple(range(2, images.ndim))
        visible = (~pixels).sum(dim=places, keepdim=True).clamp(min=1)
        mean = images.masked_fill(pixels, 0.0).sum(dim=places, keepdim=True) / visible
        return torch.where(pixels, mean.to(images.dtype), images)
    if fill == "noise":
        return torch.where(pixels, normal_like(images, generator), images)
    return images.masked_fill(pixels, fill)


def check_fill(fill: object) -> None:
    """Raise what is wrong with what is to go into masked pixels."""
    if isinstance(fill, str) and fill in ("mean", "noise"):
        return
    message = "it must be a number, or one of mean, noise"
    if isinstance(fill, str):
        raise ValueError(f"fill is {fill!r}: {message}")
    if not isinstance(fill, numbers.Real):
        raise TypeError(f"fill is a {type(fill).__name__}: {message}")
    if not math.isfinite(fill):
        raise ValueError(f"fill is {fill}, which would spread to all that sees it: {message}")
