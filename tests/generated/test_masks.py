"""Masks: as many in each row as were asked for, where the method has them, the same again from the same generator."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from generated.masking import block_mask, complementary_masks, random_mask, target_masks

GRIDS = st.tuples(st.integers(2, 12), st.integers(2, 12))
RATIOS = st.floats(0.01, 0.99)
SAMPLERS = pytest.mark.parametrize("sampler", [random_mask, block_mask])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@SAMPLERS
@settings(max_examples=60, deadline=None)
@given(grid=GRIDS, ratio=RATIOS, unit=st.integers(1, 3), batch=st.integers(1, 4))
def test_every_row_masks_whole_units_and_as_many_as_asked_for(sampler, grid, ratio, unit, batch):
    height, width = grid
    mask = sampler(batch, (height * unit, width * unit), ratio, unit=unit, generator=seeded())
    assert mask.dtype == torch.bool
    assert mask.shape == (batch, height * width * unit**2)
    units = mask.view(batch, height, unit, width, unit).transpose(2, 3).flatten(3)
    assert torch.equal(units.any(3), units.all(3))
    wanted = min(max(round(ratio * height * width), 1), height * width - 1)
    assert units.all(3).flatten(1).sum(1).tolist() == [wanted] * batch


@SAMPLERS
def test_a_generator_makes_the_same_masks_again_and_rows_differ(sampler):
    first, second = (sampler(8, (14, 14), 0.5, generator=seeded(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, sampler(8, (14, 14), 0.5, generator=seeded(4)))
    assert len({tuple(row.tolist()) for row in first}) == 8


@SAMPLERS
def test_torchs_own_random_numbers_are_taken_where_no_generator_is_given(sampler):
    torch.manual_seed(5)
    first = sampler(2, (14, 14), 0.5)
    torch.manual_seed(5)
    assert torch.equal(first, sampler(2, (14, 14), 0.5))


@SAMPLERS
def test_a_mask_is_made_where_it_is_wanted(sampler):
    assert sampler(2, (4, 4), 0.5, generator=seeded(), device="meta").device.type == "meta"
    assert sampler(2, (4, 4), 0.5, device="meta").device.type == "meta"


def test_each_patch_is_as_likely_as_any_other_at_random():
    share = random_mask(4000, (6, 6), 0.75, generator=seeded()).float().mean(dim=0)
    assert (share - 0.75).abs().max() < 0.04


def test_blocks_hang_together():
    def borders(mask: torch.Tensor) -> int:
        grid = mask.view(-1, 14, 14)
        return int((grid[:, 1:] != grid[:, :-1]).sum() + (grid[..., 1:] != grid[..., :-1]).sum())

    blocks, alone = (sampler(64, (14, 14), 0.4, generator=seeded()) for sampler in (block_mask, random_mask))
    assert borders(blocks) < 0.4 * borders(alone)


def test_the_first_block_is_a_rectangle_of_the_aspect_and_size_asked_for():
    # where a block may have all that is to be masked, one of them often does
    mask = block_mask(64, (20, 20), 0.25, smallest=100, aspect=(0.5, 2.0), generator=seeded()).view(-1, 20, 20)
    tall, wide = mask.any(2).sum(1), mask.any(1).sum(1)
    whole = tall * wide == 100
    assert whole.sum() > 8
    assert ((tall / wide)[whole] >= 0.4).all()
    assert ((tall / wide)[whole] <= 2.5).all()


@settings(max_examples=40, deadline=None)
@given(side=st.sampled_from([2, 4, 6]), parts=st.sampled_from([2, 4]), unit=st.integers(1, 2))
def test_complementary_masks_leave_each_patch_visible_once(side, parts, unit):
    masks = complementary_masks(3, (side * unit, side * unit), parts, unit=unit, generator=seeded())
    assert masks.shape == (parts, 3, (side * unit) ** 2)
    assert ((~masks).sum(dim=0) == 1).all()
    assert ((~masks).sum(dim=2) == (side * unit) ** 2 // parts).all()


def test_targets_are_rectangles_of_one_size_and_the_context_sees_none_of_them():
    context, targets = target_masks(16, (14, 14), 4, generator=seeded())
    assert context.shape == (16, 196)
    assert targets.shape == (16, 4, 196)
    grids = targets.view(-1, 14, 14)
    tall, wide = grids.any(2).sum(1), grids.any(1).sum(1)
    assert torch.equal(tall * wide, grids.sum(dim=(1, 2)))
    assert len(set(zip(tall.tolist(), wide.tolist(), strict=True))) == 1
    assert 0.1 < float(targets.float().mean()) < 0.25
    assert not (~context & targets.any(dim=1)).any()
    assert len(set((~context).sum(dim=1).tolist())) == 1


@pytest.mark.parametrize("ratio", [0, 1, -0.5, 1.5, float("nan")])
@SAMPLERS
def test_a_ratio_that_masks_nothing_or_everything_is_refused(sampler, ratio):
    with pytest.raises(ValueError, match=r"must lie between 0 and 1"):
        sampler(2, (4, 4), ratio)


@SAMPLERS
def test_a_unit_that_does_not_fit_is_refused_with_those_that_do(sampler):
    with pytest.raises(ValueError, match="6 x 9 patches has no units of 2 x 2: choose one of 1, 3"):
        sampler(2, (6, 9), 0.5, unit=2)


def test_parts_that_are_not_even_are_refused():
    with pytest.raises(ValueError, match="16 units cannot be divided evenly into 3 parts"):
        complementary_masks(2, (4, 4), 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": (0.5, 0.2)}, "scale"),
        ({"context": (0.9, 1.5)}, "context"),
        ({"targets": 60}, "leave no context"),
    ],
)
def test_targets_that_cannot_be_drawn_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        target_masks(8, (8, 8), generator=seeded(), **options)
