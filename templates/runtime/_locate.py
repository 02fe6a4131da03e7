"""Which tokens are which patches, shown by trying: those that change most when the pixels of one patch do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

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
        pixels = min(size // patches for size, patches in zip(stream.image_size, stream.grid))  # noqa: B905
        if stream.order != "NLC" and pixels < _KERNEL:
            tries.append((stream, -(-_KERNEL // max(pixels, 1))))
    return next((stream for stream, side in tries if _is_shown(run, stream, like, side)), None)


def _is_shown(run: Callable[[torch.Tensor], torch.Tensor], stream: Stream, like: torch.Tensor, side: int) -> bool:
    """Whether the token that changes most with the pixels of a patch is that patch, or nearly, for each that is tried.

    Stems that overlap centre a token's field between patches (LeViT's on a corner), so a neighbour may change more, but
    not much more. Prefix tokens must not change as patches do. What is said of patches holds of squares of ``side`` x
    ``side`` of them.
    """
    if like.device.type == "meta":
        return False
    size = (like.shape[-2], like.shape[-1])
    rows, columns = (-(-patches // side) for patches in stream.grid)
    down, across = (torch.arange(patches, device=like.device) // side for patches in stream.grid)
    square = (down[:, None] * columns + across).flatten()  # in which each patch lies
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(like.shape, generator=generator).to(like)
    straight, count = run(images), rows * columns
    places = torch.linspace(0, count - 1, min(count, _PLACES)).round().int().tolist()
    for place in places:
        mask = square.eq(place).unsqueeze(0)
        noise = (torch.randn(like.shape, generator=generator) * _LOUD).to(like)
        change = (run(torch.where(stream.pixels(mask, size), noise, images)) - straight).float()
        energy = stream.patches(change).square().sum(dim=(0, 2))
        patches = energy.new_zeros(count).index_add(0, square, energy).sqrt()
        prefix = change[:, : stream.prefix].norm(dim=(0, 2))
        found = int(patches.argmax())
        away = max(abs(found // columns - place // columns), abs(found % columns - place % columns))
        if away > 1 or not bool(patches[place] * 3 > patches[found]):
            return False
        if stream.prefix and bool(prefix.max() * 2 > patches[found]):
            return False
    return True
