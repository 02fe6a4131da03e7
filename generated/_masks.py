"""Masks over a grid of patches: random, in blocks, several for an image.

Every mask is boolean, ``(B, N)`` over the ``N = H * W`` patches in row-major order, and **True where a patch is
masked**. Each row masks exactly as many patches as the others, so that rows can be stacked when patches are dropped.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

Grid = tuple[int, int]
"""Height and width of a grid, in patches."""


def random_mask(
    batch: int,
    grid: Grid,
    ratio: float,
    *,
    unit: int = 1,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """Mask patches at random, each as likely as any other: MAE, https://arxiv.org/abs/2111.06377.

    Args:
        batch: Rows, B.
        grid: Height and width of the grid, in patches.
        ratio: The part of the patches to mask, between 0 and 1; rounded to whole units.
        unit: Mask squares of ``unit`` x ``unit`` patches at once, as SimMIM does on a Swin, where one mask then holds
            at every stage: https://arxiv.org/abs/2111.09886.
        generator: Where the random numbers come from; torch's own of ``device`` by default.
        device: Where the mask is made; that of the generator, or else the CPU, by default.

    Returns:
        (B, N), bool, True where masked.

    Raises:
        ValueError: The ratio is not between 0 and 1, or the grid is no multiple of the unit.
    """
    units = _units(grid, unit)
    noise = _uniform((batch, units[0] * units[1]), generator, device)
    return _enlarge(_lowest(noise, _count(ratio, units)), units, unit)


def block_mask(
    batch: int,
    grid: Grid,
    ratio: float,
    *,
    unit: int = 1,
    smallest: int = 16,
    aspect: tuple[float, float] = (0.3, 1 / 0.3),
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """Mask rectangles until enough is masked, and no more: BEiT, https://arxiv.org/abs/2106.08254.

    Rectangles are laid down one after the other; the last one is cut off, row by row, where the count is reached.

    Args:
        batch: Rows, B.
        grid: Height and width of the grid, in patches.
        ratio: The part of the patches to mask, between 0 and 1; rounded to whole units.
        unit: Rectangles are made of squares of ``unit`` x ``unit`` patches.
        smallest: Units that a rectangle has at the least, as far as the grid has room.
        aspect: Least and greatest ratio of a rectangle's height to its width.
        generator: Where the random numbers come from; torch's own of ``device`` by default.
        device: Where the mask is made; that of the generator, or else the CPU, by default.

    Returns:
        (B, N), bool, True where masked.

    Raises:
        ValueError: The ratio is not between 0 and 1, the grid is no multiple of the unit, or no rectangle can be drawn.
    """
    units = height, width = _units(grid, unit)
    count = _count(ratio, units)
    if smallest < 1 or not 0 < aspect[0] <= aspect[1]:
        raise ValueError(f"no rectangle has at least {smallest} units and an aspect in {aspect}")
    smallest = min(smallest, count)
    # Enough for the rarest of rows; what none of them covers comes last, at random
    rectangles = 4 * math.ceil(height * width / smallest)
    random = _uniform((batch, rectangles, 4), generator, device)
    area = smallest + random[..., 0] * (max(count, smallest) - smallest)
    low, high = math.log(aspect[0]), math.log(aspect[1])
    shape = torch.exp(low + random[..., 1] * (high - low))
    tall = (area * shape).sqrt().round().clamp(1, height)
    wide = (area / shape).sqrt().round().clamp(1, width)
    top, left = _place(random[..., 2], height, tall), _place(random[..., 3], width, wide)
    covered = _inside(top, tall, height)[..., :, None] & _inside(left, wide, width)[..., None, :]
    order = torch.arange(rectangles, device=random.device).view(1, -1, 1)
    first = torch.where(covered.flatten(2), order, rectangles).amin(dim=1)
    raster = torch.arange(height * width, device=random.device)
    rest = _uniform(first.shape, generator, device).argsort(dim=1)
    within = torch.where(first < rectangles, raster, rest)
    return _enlarge(_lowest(first * (height * width) + within, count), units, unit)


def complementary_masks(
    batch: int,
    grid: Grid,
    parts: int,
    *,
    unit: int = 1,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """Masks that leave each patch visible exactly once between them.

    Args:
        batch: Rows, B.
        grid: Height and width of the grid, in patches.
        parts: Masks for each row.
        unit: Squares of ``unit`` x ``unit`` patches stay together.
        generator: Where the random numbers come from; torch's own of ``device`` by default.
        device: Where the masks are made; that of the generator, or else the CPU, by default.

    Returns:
        (parts, B, N), bool, True where masked.

    Raises:
        ValueError: The units cannot be divided evenly into that many parts, two at least.
    """
    units = height, width = _units(grid, unit)
    if parts < 2 or height * width % parts:
        raise ValueError(f"{height * width} units cannot be divided evenly into {parts} parts, two at least")
    rank = _uniform((batch, height * width), generator, device).argsort(dim=1).argsort(dim=1)
    part = rank // (height * width // parts)
    masked = part != torch.arange(parts, device=part.device).view(-1, 1, 1)
    return _enlarge(masked, units, unit)


class TargetMasks(NamedTuple):
    """What I-JEPA predicts, and from what.

    Attributes:
        context: (B, N), bool, True where a patch is hidden from the context encoder.
        targets: (B, targets, N), bool, True where a patch belongs to a target.
    """

    context: torch.Tensor
    targets: torch.Tensor


def target_masks(
    batch: int,
    grid: Grid,
    targets: int = 4,
    *,
    scale: tuple[float, float] = (0.15, 0.2),
    aspect: tuple[float, float] = (0.75, 1.5),
    context: tuple[float, float] = (0.85, 1.0),
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> TargetMasks:
    """Draw target rectangles, and a context without them: I-JEPA, https://arxiv.org/abs/2301.08243.

    The rectangles have one size for the whole batch. As in I-JEPA, every context is cut down to the smallest one of the
    batch, so that all rows see equally many patches; finding that number waits for the device.

    Args:
        batch: Rows, B.
        grid: Height and width of the grid, in patches.
        targets: Rectangles for each row.
        scale: Least and greatest part of the patches in a target.
        aspect: Least and greatest ratio of a target's height to its width.
        context: Least and greatest part of the patches in the square context, before the targets are taken out.
        generator: Where the random numbers come from; torch's own of ``device`` by default.
        device: Where the masks are made; that of the generator, or else the CPU, by default.

    Raises:
        ValueError: A range is not one, or the targets leave no context.
    """
    height, width = grid
    for name, (low, high) in {"scale": scale, "context": context, "aspect": aspect}.items():
        if not 0 < low <= high or (name != "aspect" and high > 1):
            raise ValueError(f"{name} is the least and the greatest of a range, not {(low, high)}")

    def rectangles(count: int, part: tuple[float, float], ratio: tuple[float, float]) -> torch.Tensor:
        random = _uniform((2,), generator, device)
        area = (part[0] + random[0] * (part[1] - part[0])) * height * width
        shape = ratio[0] + random[1] * (ratio[1] - ratio[0])
        tall = (area * shape).sqrt().round().clamp(1, height)
        wide = (area / shape).sqrt().round().clamp(1, width)
        where = _uniform((batch, count, 2), generator, device)
        top, left = _place(where[..., 0], height, tall), _place(where[..., 1], width, wide)
        return (_inside(top, tall, height)[..., :, None] & _inside(left, wide, width)[..., None, :]).flatten(2)

    predicted = rectangles(targets, scale, aspect)
    visible = rectangles(1, context, (1.0, 1.0))[:, 0] & ~predicted.any(dim=1)
    fewest = int(visible.sum(dim=1).min())
    if not fewest:
        raise ValueError("the targets leave no context: draw fewer or smaller ones")
    noise = _uniform(visible.shape, generator, device).masked_fill(~visible, 2.0)
    return TargetMasks(~_lowest(noise, fewest), predicted)


def _units(grid: Grid, unit: int) -> Grid:
    height, width = grid
    if unit < 1 or height % unit or width % unit:
        fitting = [u for u in range(1, min(grid) + 1) if height % u == 0 == width % u]
        raise ValueError(
            f"a grid of {height} x {width} patches has no units of {unit} x {unit}: "
            f"choose one of {', '.join(map(str, fitting))}, or another image size"
        )
    return height // unit, width // unit


def masked_count(grid: Grid, ratio: float, unit: int = 1) -> int:
    """Patches that a mask of some ratio masks in each row: whole units, one at least, and not all.

    Raises:
        ValueError: The ratio is not between 0 and 1, or the grid is no multiple of the unit.
    """
    return _count(ratio, _units(grid, unit)) * unit**2


def _count(ratio: float, units: Grid) -> int:
    if not 0 < ratio < 1:
        raise ValueError(f"the mask ratio is {ratio}: it must lie between 0 and 1, as 0.75 does")
    total = units[0] * units[1]
    if total < 2:
        raise ValueError(f"a grid of {units[0]} x {units[1]} units cannot be masked in part: take smaller units")
    return min(max(round(ratio * total), 1), total - 1)


def _uniform(
    shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device | str | None
) -> torch.Tensor:
    if generator is None:
        return torch.rand(shape, device=device)
    # A generator of the CPU serves every device, and gives the same masks on each
    made = torch.rand(shape, generator=generator, device=generator.device)
    return made if device is None else made.to(device)


def _lowest(score: torch.Tensor, count: int) -> torch.Tensor:
    """(B, n), True at the ``count`` lowest scores of each row."""
    order = score.argsort(dim=1)
    return torch.zeros_like(score, dtype=torch.bool).scatter(1, order[:, :count], True)


def _place(random: torch.Tensor, length: int, size: torch.Tensor) -> torch.Tensor:
    """The first of ``size`` places in a row of ``length``."""
    return torch.minimum((random * (length - size + 1)).floor(), length - size)


def _inside(start: torch.Tensor, size: torch.Tensor, length: int) -> torch.Tensor:
    places = torch.arange(length, device=start.device)
    return (places >= start[..., None]) & (places < (start + size)[..., None])


def _enlarge(mask: torch.Tensor, units: Grid, unit: int) -> torch.Tensor:
    """A mask of units, (..., units), as one of patches, (..., N)."""
    if unit == 1:
        return mask
    patches = torch.unflatten(mask, -1, units).repeat_interleave(unit, dim=-1).repeat_interleave(unit, dim=-2)
    return patches.flatten(-2)
