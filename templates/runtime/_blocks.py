"""Masks made of rectangles: those of BEiT and DINOv2, of data2vec 2, and the targets and contexts of I-JEPA."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch

from ._masks import Grid, Ratio, enlarge, lowest, plane, uniform, units_to_mask

_FAILURES = 10  # in a row, after which BEiT stops to look for a place for a rectangle
_REDRAWN = 200  # times that targets which leave no context are drawn again


def block_mask(
    batch: int,
    grid: Grid,
    ratio: Ratio,
    *,
    unit: int = 1,
    smallest: int = 16,
    largest: int | None = None,
    aspect: tuple[float, float] = (0.3, 1 / 0.3),
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """Mask rectangles until enough is masked, and no more: BEiT, https://arxiv.org/abs/2106.08254 (algorithm 1).

    Its ``masking_generator.py`` draws the area of a rectangle between the smallest and what is still to be masked, and
    takes it where it is narrower and lower than the grid, and masks something new but not too much. After ten failures
    in a row it stops. What is missing then is made up at random, as in that of BEiT v2, so that counts are exact.
    DINOv2 (``dinov2/data/masking.py``) has ``smallest=4`` and half of the grid as ``largest``.

    Args:
        batch: Rows, B.
        grid: Height and width of the grid, in patches.
        ratio: The part of the patches to mask, between 0 and 1; rounded to whole units. Or (B,), one for each image, of
            which those that are 0 stay unmasked.
        unit: Rectangles are made of squares of ``unit`` x ``unit`` patches.
        smallest: Least area of a rectangle, in units, as far as so much is to be masked.
        largest: Units that a rectangle adds at the most; what is still to be masked, by default.
        aspect: Least and greatest ratio of a rectangle's height to its width.
        generator: Where the random numbers come from; torch's own of ``device`` by default.
        device: Where the mask is made; that of the generator, or else the CPU, by default.

    Returns:
        (B, N), bool, True where masked.

    Raises:
        ValueError: The ratio is not between 0 and 1, the grid is no multiple of the unit, or no rectangle can be drawn.
    """
    height, width = plane(grid, unit)
    total = height * width
    largest = total if largest is None else largest
    if smallest < 1 or largest < 1 or not 0 < aspect[0] <= aspect[1]:
        raise ValueError(
            f"no rectangle has at least {smallest} units, adds at most {largest} and has an aspect in {aspect}"
        )
    count = units_to_mask(batch, ratio, (height, width))
    attempts = 96 + 6 * math.ceil(total / min(largest, total))  # more than any of 1,000 draws has needed
    random = uniform((batch, attempts, 4), generator, device)
    noise = uniform((batch, total), generator, device)
    wanted = count.to(random.device) if isinstance(count, torch.Tensor) else count * torch.ones_like(noise[:, 0]).long()
    mask = _rectangles(random, wanted, height, width, smallest, largest, math.log(aspect[0]), math.log(aspect[1]))
    return enlarge(lowest(noise - mask.flatten(1).float(), count), (height, width), unit)


@torch.library.custom_op(f"{(__package__ or '').replace('.', '_')}::lay_rectangles", mutates_args=())
def _rectangles(
    random: torch.Tensor,
    wanted: torch.Tensor,
    height: int,
    width: int,
    smallest: int,
    largest: int,
    low: float,
    high: float,
) -> torch.Tensor:
    """Lay rectangles into each row of a batch, one after the other.

    One op to torch.compile, which would write a graph of some thousand for this loop. It waits for no GPU.

    Args:
        random: (B, attempts, 4), the random numbers of each attempt.
        wanted: (B,), units to mask.
        height: Of the grid, in units.
        width: Of the grid, in units.
        smallest: As :func:`block_mask` has it.
        largest: As :func:`block_mask` has it.
        low: Logarithm of the least aspect.
        high: Logarithm of the greatest aspect.

    Returns:
        (B, height, width), bool, True where masked, at most ``wanted`` in a row.
    """
    mask = torch.zeros((len(random), height, width), dtype=torch.bool, device=random.device)
    failures = torch.zeros_like(wanted)
    least = wanted.clamp(max=smallest)
    for attempt, (size, shape, down, right) in enumerate(random.permute(1, 2, 0)):
        room = (wanted - mask.sum(dim=(1, 2))).clamp(max=largest)
        area = least + size * (room - least)
        aspect = torch.exp(low + shape * (high - low))
        tall, wide = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
        rectangle = _rectangle(_place(down, height, tall), tall, height, _place(right, width, wide), wide, width)
        added = (rectangle & ~mask).sum(dim=(1, 2))
        # A grid of one row has no lower rectangles
        fits = (tall < max(height, 2)) & (wide < max(width, 2)) & (added > 0) & (added <= room) & (failures < _FAILURES)
        mask |= rectangle & fits[:, None, None]
        failures = torch.where(fits, 0, failures + 1)
        if attempt % 8 == 7 and mask.device.type == "cpu" and bool(((failures >= _FAILURES) | (room < 1)).all()):
            break
    return mask


@_rectangles.register_fake
def _(
    random: torch.Tensor,
    wanted: torch.Tensor,
    height: int,
    width: int,
    smallest: int,
    largest: int,
    low: float,
    high: float,
) -> torch.Tensor:
    return random.new_empty((random.shape[0], height, width), dtype=torch.bool)


def inverse_block_mask(
    batch: int,
    grid: Grid,
    ratio: Ratio,
    *,
    unit: int = 1,
    side: int = 3,
    adjust: float = 0.07,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """Leave blocks visible and mask the rest: data2vec 2, https://arxiv.org/abs/2212.07525 (section 3.2).

    This is ``compute_block_mask_2d`` of fairseq (``examples/data2vec/data_utils.py``) with ``inverse_mask``: so many
    blocks of ``side`` x ``side`` units are laid down that they would make up the visible part and ``adjust`` more if
    they did not overlap or reach beyond the edge; units are then masked or uncovered at random until the number is
    right. Rows are independent: for M clones of an image, draw M times as many rows, and ``repeat`` the embedding.

    Args:
        batch: Rows, B.
        grid: Height and width of the grid, in patches.
        ratio: The part of the patches to mask, between 0 and 1; rounded to whole units. Or (B,), one for each image, of
            which those that are 0 stay unmasked.
        unit: Blocks are made of squares of ``unit`` x ``unit`` patches.
        side: Of a block, in units.
        adjust: By how much more than is visible in the end the blocks have together, as a part of the grid.
        generator: Where the random numbers come from; torch's own of ``device`` by default.
        device: Where the mask is made; that of the generator, or else the CPU, by default.

    Returns:
        (B, N), bool, True where masked.

    Raises:
        ValueError: The ratio is not between 0 and 1, the grid is no multiple of the unit, or no block can be drawn.
    """
    height, width = plane(grid, unit)
    if side < 1 or adjust < 0:
        raise ValueError(f"no block has a side of {side}, and an adjustment of {adjust}")
    total = height * width
    count = units_to_mask(batch, ratio, (height, width))
    draws = math.ceil((1 + adjust) * total / side**2)
    centre = (uniform((batch, draws), generator, device) * total).long()
    noise = uniform((batch, total), generator, device)
    # int(), as the reference has it, but for a product such as 0.27 * 196 / 9 that floats put just below a whole number
    share = (1 - ratio + adjust) * (total / side**2) + 1e-4
    blocks = share.to(centre.device).floor()[:, None] if isinstance(share, torch.Tensor) else math.floor(share)
    centres = torch.zeros_like(noise).scatter_reduce(
        1, centre, (torch.arange(draws, device=centre.device) < blocks).to(noise.dtype).expand(batch, -1), "amax"
    )
    ahead, behind = side // 2, (side - 1) // 2
    padded = torch.nn.functional.pad(centres.view(batch, 1, height, width), (behind, ahead, behind, ahead))
    visible = torch.nn.functional.max_pool2d(padded, side, stride=1).flatten(1)
    return enlarge(lowest(visible + noise, count), (height, width), unit)


class TargetMasks(NamedTuple):
    """What I-JEPA predicts, and from what.

    Attributes:
        context: (B, N), bool, True where a patch is hidden from the context encoder.
        targets: (B, targets, N), bool, True where a patch belongs to a target.
    """

    context: torch.Tensor
    targets: torch.Tensor

    @property
    def context_indices(self) -> torch.Tensor:
        """(B, n), int64: the patches that the context encoder sees."""
        return _indices(~self.context)

    @property
    def target_indices(self) -> torch.Tensor:
        """(B, targets, m), int64: the patches of each target, for a predictor."""
        return _indices(self.targets)


def _indices(mask: torch.Tensor) -> torch.Tensor:
    """Where a mask is true, which is at equally many places in each row."""
    places = mask.nonzero()[:, -1]
    return places.view(*mask.shape[:-1], -1) if len(mask) else places.view(*mask.shape[:-1], 0)


def target_masks(
    batch: int,
    grid: Grid,
    targets: int = 4,
    *,
    scale: tuple[float, float] = (0.15, 0.2),
    aspect: tuple[float, float] = (0.75, 1.5),
    context: tuple[float, float] = (0.85, 1.0),
    min_keep: int = 4,
    crop: Literal["first", "random"] = "first",
    reach_edge: bool = True,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> TargetMasks:
    """Draw target rectangles, and a context without them: I-JEPA, https://arxiv.org/abs/2301.08243 (section 3).

    This follows ``src/masks/multiblock.py``: all rectangles of a kind have one size in the whole batch, one random
    number gives the area and the aspect of a target, and every context is cut down to the smallest one of the batch;
    finding that number waits for the device. The context has the proportions of the grid; the reference has square
    grids alone. Where targets leave too little context, both are drawn again, where the reference lets it see
    a target.

    Args:
        batch: Rows, B.
        grid: Height and width of the grid, in patches.
        targets: Rectangles for each row.
        scale: Least and greatest part of the patches in a target.
        aspect: Least and greatest ratio of a target's height to its width.
        context: Least and greatest part of the patches in the context, before the targets are taken out.
        min_keep: Each context has more patches than this, as in the reference, whose configurations have 10.
        crop: Which patches of a larger context stay: the ``first`` in row-major order, as in the reference, which sees
            less of the lower part of images, or some at ``random``.
        reach_edge: Whether rectangles may touch the last row and column, and be as large as the grid. In the reference
            they do not.
        generator: Where the random numbers come from; torch's own of ``device`` by default.
        device: Where the masks are made; that of the generator, or else the CPU, by default.

    Raises:
        ValueError: A range is not one, or the targets leave no context.
    """
    height, width = plane(grid)
    for name, (low, high) in {"scale": scale, "context": context, "aspect": aspect}.items():
        if not 0 < low <= high or (name != "aspect" and high > 1):
            raise ValueError(f"{name} is the least and the greatest of a range, not {(low, high)}")
    if targets < 1 or min_keep < 0 or crop not in ("first", "random"):
        raise ValueError(
            f"targets is {targets}, min_keep is {min_keep} and crop is {crop!r}: "
            "a number from 1, a number from 0, and one of first, random"
        )

    def size(part: tuple[float, float], shape: tuple[float, float]) -> tuple[torch.Tensor, torch.Tensor]:
        random = uniform((), generator, device)
        area = ((part[0] + random * (part[1] - part[0])) * height * width).floor()
        ratio = shape[0] + random * (shape[1] - shape[0])
        most = (height, width) if reach_edge else (max(height - 1, 1), max(width - 1, 1))
        return (area * ratio).sqrt().round().clamp(1, most[0]), (area / ratio).sqrt().round().clamp(1, most[1])

    def draw(number: int, tall: torch.Tensor, wide: torch.Tensor) -> torch.Tensor:
        where = uniform((batch, number, 2), generator, device)
        rows, columns = (height, width) if reach_edge else (max(height - 1, 1), max(width - 1, 1))
        top, left = _place(where[..., 0], rows, tall), _place(where[..., 1], columns, wide)
        return _rectangle(top, tall, height, left, wide, width).flatten(2)

    target, whole = size(scale, aspect), size(context, (height / width, height / width))
    predicted = draw(targets, *target)
    seen = draw(1, *whole)[:, 0] & ~predicted.any(dim=1)
    for _ in range(_REDRAWN):
        again = seen.sum(dim=1) <= min_keep
        if not bool(again.any()):
            break
        predicted = torch.where(again[:, None, None], draw(targets, *target), predicted)
        seen = torch.where(again[:, None], draw(1, *whole)[:, 0] & ~predicted.any(dim=1), seen)
    else:
        raise ValueError(
            f"on a grid of {height} x {width} patches, {targets} targets leave no context of more than {min_keep} "
            "patches: draw fewer or smaller targets, or lower min_keep"
        )
    if crop == "random":
        order = uniform(seen.shape, generator, device)
    else:
        order = (torch.arange(seen.shape[1], device=seen.device) / seen.shape[1]).expand_as(seen)
    fewest = int(seen.sum(dim=1).min()) if batch else 0
    return TargetMasks(~lowest(order.masked_fill(~seen, 2.0), fewest), predicted)


def _place(random: torch.Tensor, length: int, size: torch.Tensor) -> torch.Tensor:
    """The first of ``size`` places in a row of ``length``, each as likely as any other."""
    return torch.minimum((random * (length - size + 1)).floor(), length - size)


def _rectangle(
    top: torch.Tensor, tall: torch.Tensor, height: int, left: torch.Tensor, wide: torch.Tensor, width: int
) -> torch.Tensor:
    """(..., height, width), True inside of rectangles."""
    rows, columns = torch.arange(height, device=top.device), torch.arange(width, device=left.device)
    down = (rows >= top[..., None]) & (rows < (top + tall)[..., None])
    across = (columns >= left[..., None]) & (columns < (left + wide)[..., None])
    return down[..., :, None] & across[..., None, :]
