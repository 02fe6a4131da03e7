"""Masks: as many in each row as were asked for, where the method has them, the same again from the same generator."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from generated.masking import (
    block_mask,
    cell_mask,
    centre_mask,
    complementary_masks,
    inverse_block_mask,
    mask_ratios,
    random_mask,
    region_mask,
    target_masks,
)

GRIDS = st.tuples(st.integers(2, 12), st.integers(2, 12))
RATIOS = st.floats(0.01, 0.99)
RANDOM = [random_mask, block_mask, inverse_block_mask]
SAMPLERS = pytest.mark.parametrize("sampler", RANDOM)
SAMPLERS_OF_ANY_RATIO = pytest.mark.parametrize("sampler", [*RANDOM, centre_mask])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@SAMPLERS_OF_ANY_RATIO
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


@SAMPLERS_OF_ANY_RATIO
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
@SAMPLERS_OF_ANY_RATIO
def test_a_ratio_that_masks_nothing_or_everything_is_refused(sampler, ratio):
    with pytest.raises(ValueError, match=r"must lie between 0 and 1"):
        sampler(2, (4, 4), ratio)


@pytest.mark.parametrize("unit", [0, -1])
@SAMPLERS_OF_ANY_RATIO
def test_a_unit_that_is_none_is_refused(sampler, unit):
    with pytest.raises(ValueError, match=f"has no units of {unit} x {unit}: choose one of 1, 2, 4"):
        sampler(2, (4, 8), 0.5, unit=unit)


# A ratio for each image


@SAMPLERS_OF_ANY_RATIO
def test_each_image_may_have_a_ratio_of_its_own(sampler):
    mask = sampler(5, (8, 8), torch.tensor([0.0, 0.25, 0.5, 0.999, 0.0001]), unit=2, generator=seeded())
    assert mask.sum(dim=1).tolist() == [0, 16, 32, 60, 4]  # of 16 units one at least is masked, and not all


@SAMPLERS_OF_ANY_RATIO
@pytest.mark.parametrize("ratio", [[0.5], [0.5, 1.0], [0.5, -0.1], [0.5, float("nan")], [[0.5, 0.5]]])
def test_ratios_that_are_none_of_each_image_are_refused(sampler, ratio):
    with pytest.raises(ValueError, match="ratio"):
        sampler(2, (4, 4), torch.tensor(ratio))


def test_ratios_are_spread_as_dinov2_has_them():
    # dinov2/data/collate.py: half of the images, each in its own part of the range, in any order
    for seed in range(200):
        ratios = mask_ratios(16, (0.1, 0.5), masked=0.5, generator=seeded(seed))
        drawn = ratios[ratios > 0].sort().values
        assert len(drawn) == 8
        edges = torch.linspace(0.1, 0.5, 9)
        assert ((drawn >= edges[:-1] - 1e-6) & (drawn <= edges[1:] + 1e-6)).all()


def test_ratios_are_drawn_by_each_image_alone_as_ibot_has_them():
    ratios = mask_ratios(20000, (0.1, 0.5), masked=0.5, even=False, generator=seeded())
    drawn = ratios[ratios > 0]
    assert abs(len(drawn) - 10000) < 2.576 * 20000**0.5 / 2
    assert abs(float(drawn.mean()) - 0.3) < 2.576 * (0.4 / 12**0.5) / len(drawn) ** 0.5
    assert float(drawn.min()) >= 0.1
    assert float(drawn.max()) <= 0.5


def test_any_image_may_be_left_unmasked():
    rows = torch.stack([mask_ratios(4, (0.1, 0.5), masked=0.5, generator=seeded(seed)) > 0 for seed in range(400)])
    assert (rows.float().mean(dim=0) - 0.5).abs().max() < 0.08
    assert not mask_ratios(4, (0.1, 0.5), masked=0.0).any()


@pytest.mark.parametrize("arguments", [((0.5, 0.1), 1.0), ((0.1, 1.0), 1.0), ((-0.1, 0.5), 1.0), ((0.1, 0.5), 1.5)])
def test_a_range_that_is_none_is_refused(arguments):
    with pytest.raises(ValueError, match="ratios lie between 0 and 1"):
        mask_ratios(4, arguments[0], masked=arguments[1])


# Cells, the middle, a region


@pytest.mark.parametrize(("ratio", "side"), [(0.75, 2), (8 / 9, 3), (0.8889, 3), (15 / 16, 4)])
@pytest.mark.parametrize("unit", [1, 2])
def test_one_patch_of_each_cell_is_visible_any_as_likely_as_the_others(ratio, side, unit):
    mask = cell_mask(2000, (2 * side * unit, 3 * side * unit), ratio, unit=unit, generator=seeded())
    units = mask.view(2000, 2 * side, unit, 3 * side, unit)
    visible = ~units[:, :, 0, :, 0]
    assert torch.equal(visible, ~units.all(dim=4).all(dim=2))
    assert (visible.view(2000, 2, side, 3, side).sum(dim=(2, 4)) == 1).all()
    share = 1 / side**2
    assert ((visible.float().mean(dim=0) - share).abs() < 4 * (share * (1 - share) / 2000) ** 0.5).all()


@pytest.mark.parametrize(
    ("ratio", "grid", "message"),
    [
        (0.7, (12, 12), "leaves a ratio of 1 - 1 / k"),
        (0.0, (12, 12), "leaves a ratio of"),
        (torch.tensor([0.75, 0.75]), (12, 12), "leaves a ratio of"),
        (0.75, (6, 9), "6 x 9 patches has no units of 2 x 2"),
    ],
)
def test_cells_that_do_not_fit_are_refused(ratio, grid, message):
    with pytest.raises(ValueError, match=message):
        cell_mask(2, grid, ratio)


def test_the_middle_is_masked_in_the_proportions_of_the_grid():
    mask = centre_mask(2, (8, 16), 0.25).view(2, 8, 16)
    assert mask[:, 2:6, 4:12].all()
    assert mask.sum() == 2 * 32


def test_a_region_is_masked():
    mask = region_mask(2, (4, 6), (1, 2, 3, 4)).view(2, 4, 6)
    assert mask[:, 1:, 2:].all()
    assert mask.sum() == 2 * 12


@pytest.mark.parametrize("region", [(0, 0, 5, 1), (-1, 0, 2, 2), (0, 0, 0, 2), (3, 3, 1, 4)])
def test_a_region_outside_the_grid_is_refused(region):
    with pytest.raises(ValueError, match="is not inside a grid of 4 x 6"):
        region_mask(2, (4, 6), region)


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
