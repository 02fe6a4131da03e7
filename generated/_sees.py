"""How far the tokens of a model see, found by trying: which tokens change when the pixels of some patches do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from ._tokens import TokenLayout, fields_of

_ROUNDS = 4  # of masks and their complements: a pair of patches is on one side of all of them once in 16 times

Embed = Callable[[torch.Tensor], Any]


def sees(embed: Embed, layout: TokenLayout, like: torch.Tensor) -> int:
    """How many pixels beyond its own patch a token sees.

    Not a number is what reaches furthest: no weight that is zero, as it may be before training, stops it. Other pixels
    are tried as well, for what compares or clamps.

    Args:
        embed: The method that makes the tokens, of a model in eval mode.
        layout: Where the patches are in what it returns.
        like: Two images that it takes.

    Returns:
        0 if no token sees any pixel of another patch. The longer side of the images if a token sees all of them, or if
        that cannot be tried, as on the device ``meta``.
    """
    (stream, *_), (height, width) = layout.streams, like.shape[-2:]
    whole, (rows, columns) = max(height, width), stream.grid
    if like.device.type == "meta":
        return whole
    generator = torch.Generator().manual_seed(0)
    images, others = (torch.randn(like.shape, generator=generator).to(like) for _ in range(2))
    for _ in range(_ROUNDS):
        half = torch.rand(rows * columns, generator=generator) < 0.5
        masks = torch.stack([half, ~half]).to(like.device)
        pixels = stream.pixels(masks, (height, width))
        if _reached(embed, layout, images, others, pixels, [layout.spread(masks, s) for s in layout.streams]):
            break
    else:
        return 0
    return _distance(embed, layout, images, others) or whole


def mixes_batch(model: nn.Module, run: Callable[[], object]) -> bool:
    """Whether a batch norm runs in ``run``: its statistics, in training, are of all places of all images."""
    ran: list[bool] = []
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) or hasattr(m, "running_var")]
    hooks = [m.register_forward_hook(lambda *_: ran.append(True)) for m in norms]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return bool(ran)


def _distance(embed: Embed, layout: TokenLayout, images: torch.Tensor, others: torch.Tensor) -> int:
    """How many pixels beyond its patch the token in the middle sees: at least 1, and 0 if it sees the whole image."""
    (stream, *_), (height, width) = layout.streams, images.shape[-2:]
    grid, size = stream.grid, (height, width)
    masks = [torch.ones(2, s.grid[0] * s.grid[1], dtype=torch.bool, device=images.device) for s in layout.streams]
    masks[0][:, (grid[0] // 2) * grid[1] + grid[1] // 2] = False
    place = (~stream.pixels(masks[0][:1], size))[0, 0].nonzero()
    (top, left), (bottom, right) = place.amin(0).tolist(), place.amax(0).tolist()

    def reaches(distance: int) -> bool:
        outside = torch.ones((2, 1, *size), dtype=torch.bool, device=images.device)
        outside[..., max(top - distance, 0) : bottom + distance + 1, max(left - distance, 0) : right + distance + 1] = (
            False
        )
        return _reached(embed, layout, images, others, outside, masks, prefixes=False)

    low, high = 0, max(top, left, height - 1 - bottom, width - 1 - right)  # it reaches beyond low, not beyond high
    covering = high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if reaches(middle) else (low, middle)
    return high if high < covering else 0


def _reached(
    embed: Embed,
    layout: TokenLayout,
    images: torch.Tensor,
    others: torch.Tensor,
    pixels: torch.Tensor,
    masks: Sequence[torch.Tensor],
    *,
    prefixes: bool = True,
) -> bool:
    """Whether pixels, (B, 1, H, W), reach anything but the patches under the masks, one (B, N) of each stream."""
    try:
        undefined = embed(images.masked_fill(pixels, torch.nan))
        if any(bool(x.any()) for x in _visible(layout, undefined, masks, prefixes, torch.isnan)):
            return True
        straight, changed = embed(images), embed(torch.where(pixels, others * 3, images))
    except Exception:  # whatever its own code raises where it looks at pixels
        return True
    same = zip(  # noqa: B905 - both are of one form
        _visible(layout, straight, masks, prefixes), _visible(layout, changed, masks, prefixes)
    )
    return any(_differ(a.float(), b.float(), 1e-3 if images.dtype == torch.float32 else 1e-1) for a, b in same)


def _differ(a: torch.Tensor, b: torch.Tensor, limit: float) -> bool:
    finite = a.isfinite() & b.isfinite()  # masks of attention say no to a pair with -inf
    if not torch.equal(a[~finite], b[~finite]):
        return True
    a, b = a[finite], b[finite]
    return a.numel() > 0 and bool((a - b).abs().max() > limit * a.std(correction=0).clamp(min=1e-12))


def _visible(
    layout: TokenLayout,
    embedding: Any,
    masks: Sequence[torch.Tensor],
    prefixes: bool,
    ask: Callable[[torch.Tensor], torch.Tensor] = lambda x: x,
) -> list[torch.Tensor]:
    """What stages get of an embedding but the patches under the masks, each asked something."""
    found, tokens = [], layout.tokens(embedding)
    for stream, x, mask in zip(layout.streams, tokens, masks):  # noqa: B905
        found.append(ask(stream.patches(x)[~mask]))
        if prefixes and stream.order == "NLC":
            found.append(ask(x[:, : stream.prefix]))
    for name, value in fields_of(embedding).items() if prefixes else ():
        for x in _floating(value):
            if not any(x is one for one in tokens):  # which are replaced wherever they are
                found.append(ask(x[~masks[0].flatten()] if name in layout.content else x))
    return found


def _floating(value: Any) -> list[torch.Tensor]:
    """The tensors of real numbers in a field."""
    if isinstance(value, torch.Tensor):
        return [value] if value.is_floating_point() else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [x for one in inner for x in _floating(one)]
