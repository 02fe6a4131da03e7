"""How far the tokens of a model see, found by trying: which tokens change when the pixels of some patches do."""

from __future__ import annotations

import contextlib
import math
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from timm.layers import DropPath, PatchDropout
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from ._leaves import leaves_of
from ._masks import uniform
from ._tokens import Sizes, TokenLayout, fields_of

_STRONG = 1e4  # times as strong as images, at most, are others: so that what hardly passes on anything shows it
_ROUNDS = 4  # of masks and their complements: a pair of patches is on one side of all of them once in 16 times

Embed = Callable[[torch.Tensor], Any]


def sees(embed: Embed, layout: TokenLayout, like: torch.Tensor) -> int:
    """How many pixels, or frames, beyond its own patch a token sees.

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
    whole = max(like.shape[2:])
    if like.device.type == "meta":
        return whole
    images, others, generator = _drawn(like)
    with _without_onednn():
        if not _any_reached(embed, layout, images, others, generator):
            return 0
        return _distance(embed, layout, images, others) or whole


def sees_more_in_training(model: nn.Module, embed: Embed, layout: TokenLayout, like: torch.Tensor) -> bool:
    """Whether a token sees pixels of other patches in training, of a model whose tokens see none in eval mode.

    As behind a batch norm that is a function, or whose module is not known for one. Buffers are put back. What draws
    random numbers there beside dropout, as a blur of some images, may do so at another time: it is taken to see more.

    Args:
        model: The model, in eval mode, which it is in again afterwards.
        embed: Its method that makes the tokens.
        layout: Where the patches are in what it returns.
        like: Two images that it takes.
    """
    if like.device.type == "meta":
        return False
    with in_training(model), _without_onednn():

        def trained(images: torch.Tensor) -> Any:
            torch.manual_seed(0)  # for dropout
            return embed(images)

        images, others, generator = _drawn(like)
        if not _same_form(layout, trained, images):  # patches are dropped in training, which masking refuses
            return False
        return _any_reached(trained, layout, images, others, generator) or _draws(model, embed, images)


_DROPOUT = (_DropoutNd, DropPath, PatchDropout)
"""What draws random numbers, and leaves each token to itself."""


def _draws(model: nn.Module, embed: Embed, images: torch.Tensor) -> bool:
    """Whether random numbers are drawn on the way to the tokens, other than by dropout, of a model in training."""
    off = [module for module in model.modules() if isinstance(module, _DROPOUT) and module.training]
    for module in off:
        module.training = False
    before = _generators(images.device)
    try:
        embed(images)
    finally:
        for module in off:
            module.training = True
    return before != _generators(images.device)


def _generators(device: torch.device) -> list[object]:
    """The state of the generators that may be drawn from."""
    numpy = sys.modules.get("numpy")
    states: list[object] = [random.getstate(), torch.get_rng_state().tolist()]
    if numpy:
        name, keys, *others = numpy.random.get_state()
        states.append((name, keys.tolist(), others))
    if device.type not in ("cpu", "meta"):
        states.append(torch.get_device_module(device).get_rng_state(device).tolist())
    return states


@contextlib.contextmanager
def in_training(model: nn.Module) -> Iterator[None]:
    """A model in training, for a while; then in eval mode, its buffers as they were."""
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.train()
    try:
        yield
    finally:
        model.eval()
        for name, buffer in model.named_buffers():
            if name in kept:
                buffer.copy_(kept[name])


@contextlib.contextmanager
def _without_onednn() -> Iterator[None]:
    """By torch's own kernels: oneDNN's of bfloat16 multiply pixels beside a window by zero, and spread what is NaN."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "TF32 acceleration on top of oneDNN")  # it sets what it found
        with torch.backends.mkldnn.flags(enabled=False):
            yield


def sizes_like(embed: Embed, layout: TokenLayout, like: torch.Tensor) -> Sizes:
    """Of images of which sizes tokens see their own patch alone as well, of those that the model takes.

    A stem that pads images to whole patches is like itself for any; one that resizes them mixes the pixels of patches.

    Args:
        embed: The method that makes the tokens, of a model in eval mode.
        layout: Where the patches are in what it returns, whose tokens see their own patch alone.
        like: Two images that it takes.
    """
    if like.device.type == "meta":
        return "any"
    (*frames, height, width), (*times, rows, columns) = like.shape[2:], layout.streams[0].grid
    longer = [pixels + pixels // patches for pixels, patches in zip(frames, times)]  # noqa: B905

    def same(*size: int) -> bool | None:
        return _sees_the_same(embed, layout, like.new_zeros((*like.shape[:2], *size)))

    if longer and same(*longer, height, width) is False:
        return "one"
    larger = height + height // rows
    uneven = same(*frames, larger, width + width // columns // 2)
    if uneven:
        return "any"
    if same(*frames, larger, width) is False:
        return "one"
    return "any" if uneven is None else "whole"


def _sees_the_same(embed: Embed, layout: TokenLayout, images: torch.Tensor) -> bool | None:
    """Whether tokens of images of another size see their own patch alone; ``None`` if the model takes none such."""
    size = tuple(images.shape[2:])
    try:
        tokens = layout.tokens(embed(images))
    except Exception:  # whatever its own code raises
        return None
    try:
        grids = [s.grid_of(x, size) for s, x in zip(layout.streams, tokens)]  # noqa: B905 - as many
    except ValueError:
        return False
    streams = (replace(s, grid=grid, image_size=size) for s, grid in zip(layout.streams, grids))  # noqa: B905
    return sees(embed, replace(layout, streams=tuple(streams)), images) == 0


def _same_form(layout: TokenLayout, trained: Embed, images: torch.Tensor) -> bool:
    """Whether there are as many tokens in training as the layout, of eval mode, has."""
    try:
        tokens = layout.tokens(trained(images))
    except Exception:  # whatever its own code raises: it does so in a step of training as well
        return False
    counts = [math.prod(s.grid) for s in layout.streams]
    return [s.count(x) for s, x in zip(layout.streams, tokens)] == counts  # noqa: B905


def _drawn(like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Generator]:
    """Two pairs of images, the second of pixels of all strengths, and what draws more."""
    generator = torch.Generator().manual_seed(0)
    images, others = (torch.randn(like.shape, generator=generator, device="cpu") for _ in range(2))
    strength = _STRONG ** uniform(tuple(like.shape), generator, None)
    return images.to(like), (others * strength).to(like), generator


def _any_reached(
    embed: Embed, layout: TokenLayout, images: torch.Tensor, others: torch.Tensor, generator: torch.Generator
) -> bool:
    """Whether a token sees any pixel of another patch."""
    (stream, *_), size = layout.streams, tuple(images.shape[2:])
    for _ in range(_ROUNDS):
        half = uniform((math.prod(stream.grid),), generator, None) < 0.5
        masks = torch.stack([half, ~half]).to(images.device)
        pixels = stream.pixels(masks, size)
        if _reached(embed, layout, images, others, pixels, [layout.spread(masks, s) for s in layout.streams]):
            return True
    return False


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
    (stream, *_), size = layout.streams, tuple(images.shape[2:])
    masks = [torch.ones(2, math.prod(s.grid), dtype=torch.bool, device=images.device) for s in layout.streams]
    centre: tuple[Any, ...] = (slice(None), *[patches // 2 for patches in stream.grid])
    torch.unflatten(masks[0], 1, stream.grid)[centre] = False
    place = (~stream.pixels(masks[0][:1], size))[0, 0].nonzero()
    first, last = place.amin(0).tolist(), place.amax(0).tolist()

    def reaches(distance: int) -> bool:
        outside = torch.ones((2, 1, *size), dtype=torch.bool, device=images.device)
        around = [slice(max(a - distance, 0), b + distance + 1) for a, b in zip(first, last)]  # noqa: B905 - as many
        box = (slice(None), slice(None), *around)
        outside[box] = False
        return _reached(embed, layout, images, others, outside, masks, prefixes=False)

    low, high = 0, max(*first, *(n - 1 - b for n, b in zip(size, last)))  # noqa: B905 - it reaches beyond low, not high
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
        straight, changed = embed(images), embed(torch.where(pixels, others, images))
        first, second = (_visible(layout, x, masks, prefixes) for x in (straight, changed))
    except Exception:  # whatever its own code raises where it looks at pixels, and what holds nobody knows what
        return True
    limit = 1e-3 if images.dtype == torch.float32 else 1e-1
    return len(first) != len(second) or any(_differ(a, b, limit) for a, b in zip(first, second))  # noqa: B905


def _differ(a: torch.Tensor, b: torch.Tensor, limit: float) -> bool:
    if a.shape != b.shape:
        return True
    if a.is_complex():
        a, b = torch.view_as_real(a), torch.view_as_real(b)
    if not a.is_floating_point():
        return not torch.equal(a, b)
    a, b = a.float(), b.float()
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
        for x in _held(value):
            if not any(x is one for one in tokens):  # which are replaced wherever they are
                found.append(ask(x[~masks[0].flatten()] if name in layout.content else x))
    return found


def _held(value: Any) -> list[torch.Tensor]:
    """All that may reveal pixels in a field, as tensors: numbers, too.

    Raises:
        TypeError: It may hold anything.
    """
    found = []
    for x in leaves_of(value):
        if isinstance(x, torch.Tensor):
            found.append(x)
        elif isinstance(x, (bool, int, float)):
            found.append(torch.tensor(x))
        elif x is not None and not isinstance(x, (str, type, torch.dtype, torch.device, nn.Module)):
            raise TypeError(f"what a {type(x).__name__} holds is not known")
    return found
