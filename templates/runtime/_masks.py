"""Masks over a grid of patches: at random, one in each cell, in the middle; and the numbers that samplers share.

Every mask is boolean, ``(B, N)`` over the ``N = H * W`` patches in row-major order (``T * H * W`` of videos), and
**True where a patch is masked**. Each row masks exactly as many patches as its ratio says, so that rows of one ratio
can be stacked when patches are dropped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

Grid = tuple[int, ...]
"""Height and width of a grid, in patches; of videos frames of patches before them."""

Ratio = float | torch.Tensor
"""The part of the patches to mask: a number between 0 and 1, or one for each image, (B,), where 0 masks nothing."""


def random_mask(
    batch: int,
    grid: Grid,
    ratio: Ratio,
    *,
    unit: int = 1,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """Mask patches at random, each as likely as any other.

    This is ``random_masking`` of MAE, https://arxiv.org/abs/2111.06377 (``models_mae.py``), and with units the
    ``MaskGenerator`` of SimMIM, https://arxiv.org/abs/2111.09886 (``data/data_simmim.py``), which rounds up where this
    rounds.

    Args:
        batch: Rows, B.
        grid: Height and width of the grid, in patches.
        ratio: The part of the patches to mask, between 0 and 1; rounded to whole units. Or (B,), one for each image, of
            which those that are 0 stay unmasked.
        unit: Mask squares of ``unit`` x ``unit`` patches at once, as SimMIM does on a Swin, where one mask then holds
            at every stage.
        generator: Where the random numbers come from; torch's own of ``device`` by default.
        device: Where the mask is made; that of the generator, or else the CPU, by default.

    Returns:
        (B, N), bool, True where masked.

    Raises:
        ValueError: The ratio is not between 0 and 1, or the grid is no multiple of the unit.
    """
    units = in_units(grid, unit)
    noise = uniform((batch, math.prod(units)), generator, device)
    return enlarge(lowest(noise, units_to_mask(batch, ratio, units)), units, unit)


def tube_mask(
    batch: int,
    grid: Grid,
    ratio: Ratio,
    *,
    unit: int = 1,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """Mask the same patches, at random, in all frames of a video: what moves little is not seen beside its mask.

    This is the ``TubeMaskingGenerator`` of VideoMAE, https://arxiv.org/abs/2203.12602 (``masking_generator.py``), which
    rounds down where this rounds.

    Args:
        batch: Rows, B.
        grid: Frames, height and width of the grid, in patches.
        ratio: As in :func:`random_mask`.
        unit: As in :func:`random_mask`.
        generator: As in :func:`random_mask`.
        device: As in :func:`random_mask`.

    Returns:
        (B, N), bool, True where masked.

    Raises:
        ValueError: As :func:`random_mask` does, or the grid has no frames.
    """
    if len(grid) != 3:
        raise ValueError(f"a grid of {by(grid)} patches has no frames for tubes: take random_mask")
    frames, *sides = grid
    frame = random_mask(batch, tuple(sides), ratio, unit=unit, generator=generator, device=device)
    return frame.repeat(1, frames)


def cell_mask(
    batch: int,
    grid: Grid,
    ratio: Ratio,
    *,
    unit: int = 1,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """Leave one patch visible in each square cell, anywhere in it: 3 of 4 masked are cells of 2 x 2.

    This is the uniform sampling of UM-MAE, https://arxiv.org/abs/2205.10063 (section 3.1), by which the visible patches
    make a grid of their own that a pyramid with windows can take. Its second step replaces some of them by mask tokens.

    Args:
        batch: Rows, B.
        grid: Height and width of the grid, in patches.
        ratio: The part of the patches to mask: 3/4, 8/9, 15/16 and so on.
        unit: Cells are made of squares of ``unit`` x ``unit`` patches.
        generator: Where the random numbers come from; torch's own of ``device`` by default.
        device: Where the mask is made; that of the generator, or else the CPU, by default.

    Returns:
        (B, N), bool, True where masked.

    Raises:
        ValueError: No cell has one visible patch at this ratio, or the grid is no multiple of the cell.
    """
    side = round((1 - ratio) ** -0.5) if isinstance(ratio, (int, float)) and 0 < ratio < 1 else 0
    rows, columns = plane(plane(grid, unit), side) if side > 1 else (0, 0)
    whole = rows * side, columns * side
    if side < 2 or units_to_mask(batch, ratio, whole) != rows * columns * (side**2 - 1):
        raise ValueError(f"one patch in each cell of k x k leaves a ratio of 1 - 1 / k**2, such as 0.75, not {ratio}")
    noise = uniform((batch, rows, columns, side * side), generator, device)
    masked = torch.ones_like(noise, dtype=torch.bool).scatter(3, noise.argmin(dim=3, keepdim=True), False)
    cells = masked.view(batch, rows, columns, side, side).transpose(2, 3).flatten(1)
    return enlarge(cells, whole, unit)


def centre_mask(
    batch: int,
    grid: Grid,
    ratio: Ratio,
    *,
    unit: int = 1,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """Mask the middle of each image, in the proportions of the grid: the central region of Context Encoders.

    https://arxiv.org/abs/1604.07379. Takes what :func:`random_mask` takes; nothing of it is random. Where the number of
    patches makes no rectangle, the last ring is filled row by row.

    Returns:
        (B, N), bool, True where masked.

    Raises:
        ValueError: The ratio is not between 0 and 1, or the grid is no multiple of the unit.
    """
    height, width = plane(grid, unit)
    device = device if device is not None or generator is None else generator.device
    down, across = ((torch.arange(n, device=device) * 2 + 1 - n).abs() / n for n in (height, width))
    ring = torch.maximum(down[:, None], across).flatten()
    rank = ring + torch.arange(len(ring), device=device) * 1e-3 / len(ring)  # the first of equal ones
    return enlarge(lowest(rank.expand(batch, -1), units_to_mask(batch, ratio, (height, width))), (height, width), unit)


def region_mask(
    batch: int, grid: Grid, region: tuple[int, int, int, int], *, device: torch.device | str | None = None
) -> torch.Tensor:
    """Mask one rectangle of each image.

    Args:
        batch: Rows, B.
        grid: Height and width of the grid, in patches.
        region: Top, left, height and width of the rectangle, in patches.
        device: Where the mask is made.

    Returns:
        (B, N), bool, True where masked.

    Raises:
        ValueError: The rectangle is empty, or not inside the grid.
    """
    plane(grid)
    top, left, height, width = region
    if min(top, left) < 0 or min(height, width) < 1 or top + height > grid[0] or left + width > grid[1]:
        raise ValueError(
            f"the region {region} (top, left, height, width) is not inside a grid of {grid[0]} x {grid[1]}"
        )
    mask = torch.zeros((batch, *grid), dtype=torch.bool, device=device)
    mask[:, top : top + height, left : left + width] = True
    return mask.flatten(1)


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
    units = in_units(grid, unit)
    count = math.prod(units)
    if parts < 2 or count % parts:
        raise ValueError(f"{count} units cannot be divided evenly into {parts} parts, two at least")
    rank = uniform((batch, count), generator, device).argsort(dim=1).argsort(dim=1)
    part = rank // (count // parts)
    masked = part != torch.arange(parts, device=part.device).view(-1, 1, 1)
    return enlarge(masked, units, unit)


def mask_ratios(
    batch: int,
    ratios: tuple[float, float],
    *,
    masked: float = 1.0,
    even: bool = True,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """Draw a ratio for each image, and leave some images unmasked, as iBOT and DINOv2 do.

    Args:
        batch: Rows, B.
        ratios: Least and greatest ratio of an image that is masked.
        masked: The part of the images that is masked.
        even: As DINOv2, https://arxiv.org/abs/2304.07193 (``dinov2/data/collate.py``): exactly ``int(B * masked)``
            images are masked, one at random in each of as many equal parts of the range. Else as iBOT,
            https://arxiv.org/abs/2111.07832 (``loader.py``): each image by itself is masked, at a ratio anywhere in the
            range.
        generator: Where the random numbers come from; torch's own of ``device`` by default.
        device: Where the ratios are made; that of the generator, or else the CPU, by default.

    Returns:
        (B,), float32, 0 where an image is left unmasked: a sampler takes them as its ratio.

    Raises:
        ValueError: The ratios are no range between 0 and 1, or ``masked`` is no part.
    """
    low, high = ratios
    if not 0 <= low <= high < 1 or not 0 <= masked <= 1:
        raise ValueError(f"ratios lie between 0 and 1, the lower first, and so does masked: not {ratios} and {masked}")
    place, order = uniform((2, batch), generator, device)
    if not even:
        return torch.where(order < masked, low + place * (high - low), 0.0)
    count = int(batch * masked)
    rank = order.argsort()
    return torch.where(rank < count, low + (rank + place) / max(count, 1) * (high - low), 0.0)


def by(sizes: Sequence[int]) -> str:
    """Sizes in words, ``14 x 14``."""
    return " x ".join(map(str, sizes))


def in_units(grid: Grid, unit: int) -> Grid:
    """A grid of patches in units of ``unit`` x ``unit``, each of one frame.

    Raises:
        ValueError: It is no multiple of the unit.
    """
    *frames, height, width = grid
    if unit < 1 or height % unit or width % unit:
        fitting = [u for u in range(1, min(height, width) + 1) if height % u == 0 == width % u]
        raise ValueError(
            f"a grid of {by(grid)} patches has no units of {unit} x {unit}: "
            f"choose one of {', '.join(map(str, fitting))}, or another image size"
        )
    return (*frames, height // unit, width // unit)


def plane(grid: Grid, unit: int = 1) -> tuple[int, int]:
    """A grid of height and width in units of ``unit`` x ``unit``, for masks that have a shape.

    Raises:
        ValueError: It has frames, or is no multiple of the unit.
    """
    if len(grid) != 2:
        raise ValueError(
            f"a grid of {by(grid)} patches has frames, and such a mask has a height and a width alone: draw it for "
            f"{by(grid[-2:])} and repeat it, mask.repeat(1, {grid[0]}), or take random_mask or tube_mask"
        )
    height, width = in_units(grid, unit)
    return height, width


def masked_count(grid: Grid, ratio: float, unit: int = 1) -> int:
    """Patches that a mask of some ratio masks in each row: whole units, one at least, and not all.

    Raises:
        ValueError: The ratio is not between 0 and 1, or the grid is no multiple of the unit.
    """
    return _count(ratio, in_units(grid, unit)) * unit**2


def units_to_mask(batch: int, ratio: Ratio, units: Grid) -> int | torch.Tensor:
    """Units to mask in every row, or (B,), int64, those to mask in each.

    Raises:
        ValueError: A ratio is out of range; ratios on a device are not looked at, which would wait for it.
    """
    if not isinstance(ratio, torch.Tensor):
        return _count(ratio, units)
    if ratio.shape != (batch,):
        one = ": ratio.item() is one for all" if ratio.ndim == 0 else ""
        raise ValueError(f"a ratio for each image is of shape {(batch,)}, not {tuple(ratio.shape)}{one}")
    if (
        ratio.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not bool(((ratio >= 0) & (ratio < 1)).all())
    ):
        raise ValueError(f"mask ratios lie between 0, which masks nothing, and 1: not {ratio.tolist()}")
    total = math.prod(units)
    return torch.where(ratio > 0, (ratio * total).round().clamp(1, max(total - 1, 1)), 0).long()


def _count(ratio: float, units: Grid) -> int:
    if isinstance(ratio, (list, tuple, str)) or ratio is None:
        kind = "list" if isinstance(ratio, tuple) else type(ratio).__name__
        raise TypeError(f"a mask ratio is a number, or a tensor with one for each image, (B,), not a {kind}")
    if not 0 < ratio < 1:
        raise ValueError(f"the mask ratio is {ratio}: it must lie between 0 and 1, as 0.75 does")
    total = math.prod(units)
    if total < 2:
        raise ValueError(f"a grid of {by(units)} units cannot be masked in part: take smaller units, or larger images")
    return min(max(round(ratio * total), 1), total - 1)


def uniform(
    shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device | str | None
) -> torch.Tensor:
    """Random numbers in [0, 1), float32. A generator of the CPU serves every device, and gives the same on each."""
    if generator is None:
        return torch.rand(shape, device=device)
    made = torch.rand(shape, generator=generator, device=generator.device)
    return made if device is None else made.to(device)


def normal_like(x: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    """Random numbers of a normal distribution, of the shape, type and device of ``x``; else as :func:`uniform`."""
    device = x.device if generator is None else generator.device
    return torch.randn(x.shape, generator=generator, device=device).to(x)


def lowest(score: torch.Tensor, count: int | torch.Tensor) -> torch.Tensor:
    """(B, n), True at the ``count`` lowest scores of each row."""
    order = score.argsort(dim=1)
    if isinstance(count, torch.Tensor):
        within = torch.arange(score.shape[1], device=score.device) < count.to(score.device)[:, None]
        return torch.zeros_like(within).scatter(1, order, within)
    return torch.zeros_like(score, dtype=torch.bool).scatter(1, order[:, :count], True)


def enlarge(mask: torch.Tensor, units: Grid, unit: int) -> torch.Tensor:
    """A mask of units, (..., units), as one of patches, (..., N)."""
    if unit == 1:
        return mask
    patches = torch.unflatten(mask, -1, units).repeat_interleave(unit, dim=-1).repeat_interleave(unit, dim=-2)
    return patches.flatten(-len(units))
