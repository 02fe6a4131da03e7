"""Which tokens are which patches, shown by trying: those that change most when the pixels of one patch do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from ._masks import Grid, normal_like
from ._tokens import Stream

_PLACES = 11  # that are tried: a prime number, so that they differ in row and column; all of smaller grids
_LOUD = 3.0  # times as strong as the image is what is drawn into a patch
_KERNEL = 8  # pixels: smaller patches of a map are redrawn together, as its kernels are larger than they are


def first_shown(
    run: Callable[[torch.Tensor], torch.Tensor], candidates: Sequence[Stream], like: torch.Tensor
) -> Stream | None:
    """The first of some ways in which tokens may lie that trying it confirms.

    Args:
        run: From images to tokens, of a model in eval mode.
        candidates: How they may lie.
        like: Two images that it takes, of any content. On the device ``meta`` nothing can be tried or confirmed.
    """
    tries = [(stream, 1) for stream in candidates]
    for stream in candidates:
        pixels = min(size // patches for size, patches in zip(stream.image_size[-2:], stream.grid[-2:]))  # noqa: B905
        if stream.order != "NLC" and pixels < _KERNEL:
            tries.append((stream, -(-_KERNEL // max(pixels, 1))))
    return next((stream for stream, side in tries if _is_shown(run, stream, like, side)), None)


def _is_shown(run: Callable[[torch.Tensor], torch.Tensor], stream: Stream, like: torch.Tensor, side: int) -> bool:
    """Whether the token that changes most with the pixels of a patch is that patch, or nearly, for each that is tried.

    Stems that overlap centre a token's field between patches (LeViT's on a corner), so a neighbour may change more, but
    not much more. Frames of a video do not overlap so. Prefix tokens must not change as patches do. What is said of
    patches holds of squares of ``side`` x ``side`` of them.
    """
    if like.device.type == "meta":
        return False
    size = tuple(like.shape[2:])
    sides = tuple(1 if axis < len(size) - 2 else side for axis in range(len(size)))  # frames stay apart
    squares = tuple(-(-patches // side) for patches, side in zip(stream.grid, sides))  # noqa: B905
    square = place_of_each(stream.grid, squares, like.device, sides)  # in which each patch lies
    generator = torch.Generator().manual_seed(0)
    images = normal_like(like, generator)
    straight, count = run(images), math.prod(squares)
    places = torch.linspace(0, count - 1, min(count, _PLACES), device="cpu").round().int().tolist()
    for place in places:
        mask = square.eq(place).unsqueeze(0)
        noise = (torch.randn(like.shape, generator=generator, device="cpu") * _LOUD).to(like)
        change = (run(torch.where(stream.pixels(mask, size), noise, images)) - straight).float()
        energy = stream.patches(change).square().sum(dim=(0, 2))
        patches = energy.new_zeros(count).index_add(0, square, energy).sqrt()
        prefix = change[:, : stream.prefix].norm(dim=(0, 2))
        found = int(patches.argmax())
        both = torch.tensor([found, place], device="cpu")
        *frames, down, across = sides_apart(both[0], both[1], squares).tolist()
        if any(frames) or max(down, across) > 1 or not bool(patches[place] * 3 > patches[found]):
            return False
        if stream.prefix and bool(prefix.max() * 2 > patches[found]):
            return False
    return True


def place_of_each(fine: Grid, coarse: Grid, device: torch.device, sides: Sequence[int] | None = None) -> torch.Tensor:
    """The place of a coarser grid in which each of a fine one lies, (N,).

    Args:
        fine: The fine grid.
        coarse: The coarser one.
        device: Where the result is made.
        sides: How many of the fine grid make a place in each direction, where the last may be of fewer; as even as can
            be by default.
    """
    place = torch.zeros(1, dtype=torch.int64, device=device)
    for axis, (patches, places) in enumerate(zip(fine, coarse)):  # noqa: B905
        along = torch.arange(patches, device=device)
        along = along * places // patches if sides is None else along // sides[axis]
        place = (place[:, None] * places + along).flatten()
    return place


def sides_apart(first: torch.Tensor, second: torch.Tensor, grid: Grid) -> torch.Tensor:
    """How far some places of a grid, (n,) or one, are from others along each of its sides, (sides, n)."""
    found = []
    for places in reversed(grid):
        found.append((first % places - second % places).abs())
        first, second = first // places, second // places
    return torch.stack(found[::-1])
