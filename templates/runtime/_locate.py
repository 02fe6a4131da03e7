"""Which tokens are which patches, shown by trying: those that change most when the pixels of one patch do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ._tokens import Stream

_PLACES = 11  # that are tried: a prime number, so that they differ in row and column; all of smaller grids
_LOUD = 3.0  # times as strong as the image is what is drawn into a patch


def first_shown(
    run: Callable[[torch.Tensor], torch.Tensor], candidates: Sequence[Stream], like: torch.Tensor
) -> Stream | None:
    """The first of some ways in which tokens may lie that trying it confirms.

    Args:
        run: From images to tokens, of a model in eval mode.
        candidates: How they may lie.
        like: Two images that it takes, of any content. On the device ``meta`` nothing can be tried or confirmed.
    """
    return next((stream for stream in candidates if _is_shown(run, stream, like)), None)


def _is_shown(run: Callable[[torch.Tensor], torch.Tensor], stream: Stream, like: torch.Tensor) -> bool:
    """Whether the token that changes most with the pixels of a patch is that patch, or nearly, for each that is tried.

    Stems that overlap centre a token's field between patches (LeViT's on a corner), so a neighbour may change more, but
    not much more. Prefix tokens must not change as patches do.
    """
    if like.device.type == "meta":
        return False
    (rows, columns), size = stream.grid, (like.shape[-2], like.shape[-1])
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(like.shape, generator=generator).to(like)
    straight, count = run(images), rows * columns
    places = torch.linspace(0, count - 1, min(count, _PLACES)).round().int().tolist()
    for place in places:
        mask = torch.arange(count, device=like.device).eq(place).unsqueeze(0)
        noise = (torch.randn(like.shape, generator=generator) * _LOUD).to(like)
        change = (run(torch.where(stream.pixels(mask, size), noise, images)) - straight).float()
        patches, prefix = stream.patches(change).norm(dim=(0, 2)), change[:, : stream.prefix].norm(dim=(0, 2))
        found = int(patches.argmax())
        away = max(abs(found // columns - place // columns), abs(found % columns - place % columns))
        if away > 1 or not bool(patches[place] * 3 > patches[found]):
            return False
        if stream.prefix and bool(prefix.max() * 2 > patches[found]):
            return False
    return True
