"""Masks made of rectangles are drawn as the papers draw them.

Each sampler is held against an implementation of the paper that is written here, one image after the other, by the mean
of what 2,000 masks of each look like.
"""

import math
import random

import pytest
import torch
import torch.nn.functional as F

from generated.masking import MaskedImageModel, block_mask, inverse_block_mask, target_masks

DRAWS = 2000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def parts(masks: torch.Tensor) -> torch.Tensor:
    """The connected parts of each mask, (B, H, W): places that touch take over the highest number among them."""
    height, width = masks.shape[1:]
    number = (torch.arange(1.0, height * width + 1).view(height, width) * masks).unsqueeze(1)
    start = number
    while True:
        rows, columns = F.max_pool2d(number, (3, 1), 1, (1, 0)), F.max_pool2d(number, (1, 3), 1, (0, 1))
        grown = torch.maximum(rows, columns) * masks.unsqueeze(1)
        if torch.equal(grown, number):
            return ((number == start) & masks.unsqueeze(1)).sum(dim=(1, 2, 3)).float()
        number = grown


LOOKS = {
    "connected parts": parts,
    "rows that are masked from edge to edge": lambda masks: masks.all(dim=2).sum(dim=1).float(),
    "borders": lambda m: (m[:, 1:] != m[:, :-1]).sum(dim=(1, 2)).float() + (m[..., 1:] != m[..., :-1]).sum((1, 2)),
    "masked in the middle": lambda m: m[:, 4:-4, 4:-4].float().mean(dim=(1, 2)),
    "masked in a corner": lambda m: m[:, :2, :2].float().mean(dim=(1, 2)),
    "masked at the lower edge": lambda m: m[:, -1].float().mean(dim=1),
}


def assert_alike(ours: torch.Tensor, theirs: torch.Tensor, what: str) -> None:
    """The means of two samples differ by no more than those of one distribution do in 99 of 100 cases."""
    error = math.sqrt(float(ours.var() / len(ours) + theirs.var() / len(theirs)))
    difference = float(ours.mean() - theirs.mean())
    assert abs(difference) <= 2.576 * error, f"{what}: {ours.mean():.4f}, and the paper's have {theirs.mean():.4f}"


def assert_look_alike(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    for what, look in LOOKS.items():
        assert_alike(look(ours), look(theirs), what)


# BEiT


def beit(height: int, width: int, count: int, smallest: int, largest: int) -> torch.Tensor:
    """Algorithm 1 of BEiT, with what its code adds: ten attempts for each block, none as long as the grid."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    while (left := count - int(mask.sum())) > 0:
        most = min(left, largest)
        for _ in range(10):
            area = random.uniform(smallest, most)
            aspect = math.exp(random.uniform(math.log(0.3), math.log(1 / 0.3)))
            tall, wide = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if tall >= height or wide >= width:
                continue
            top, start = random.randint(0, height - tall), random.randint(0, width - wide)
            block = torch.zeros_like(mask)
            block[top : top + tall, start : start + wide] = True
            if 0 < int((block & ~mask).sum()) <= most:
                mask |= block
                break
        else:
            break
    free = (~mask).flatten().nonzero().flatten()
    mask.view(-1)[free[torch.randperm(len(free))[: count - int(mask.sum())]]] = True
    return mask


@pytest.mark.parametrize(
    ("side", "ratio", "smallest", "largest"),
    [(14, 0.4, 16, None), (16, 0.5, 4, None), (16, 0.5, 4, 128), (14, 0.3, 4, 20)],
    ids=["BEiT", "small blocks", "DINOv2", "many small blocks"],
)
def test_block_masks_look_like_those_of_beit(side, ratio, smallest, largest):
    random.seed(0)
    torch.manual_seed(0)
    count = round(ratio * side**2)
    theirs = torch.stack([beit(side, side, count, smallest, largest or count) for _ in range(DRAWS)])
    ours = block_mask(DRAWS, (side, side), ratio, smallest=smallest, largest=largest, generator=seeded())
    assert (ours.sum(dim=1) == count).all()
    assert_look_alike(ours.view(-1, side, side), theirs)


@pytest.mark.parametrize("options", [{"smallest": 0}, {"largest": 0}, {"aspect": (2.0, 1.0)}])
def test_blocks_that_cannot_be_drawn_are_refused(options):
    with pytest.raises(ValueError, match="no rectangle has at least"):
        block_mask(2, (8, 8), 0.5, **options)


# data2vec 2


def data2vec2(side: int, ratio: float, block: int, adjust: float) -> torch.Tensor:
    """Section 3.2 of data2vec 2: visible blocks, then what is too much or too little of them, at random."""
    total = side * side
    visible = torch.zeros(side, side, dtype=torch.bool)
    for _ in range(int(total * (1 - ratio + adjust) / block**2)):
        row, column = random.randrange(side), random.randrange(side)
        for down in range(-(block // 2), block - block // 2):
            for right in range(-(block // 2), block - block // 2):
                visible[min(max(row + down, 0), side - 1), min(max(column + right, 0), side - 1)] = True
    wanted = total - round(ratio * total)
    while (missing := wanted - int(visible.sum())) != 0:
        places = (visible != (missing > 0)).flatten().nonzero().flatten()
        visible.view(-1)[places[random.randrange(len(places))]] = missing > 0
    return ~visible


@pytest.mark.parametrize(("ratio", "block", "adjust"), [(0.8, 3, 0.07), (0.5, 5, 0.1), (0.75, 2, 0.0)])
def test_inverse_blocks_look_like_those_of_data2vec_2(ratio, block, adjust):
    random.seed(0)
    theirs = torch.stack([data2vec2(14, ratio, block, adjust) for _ in range(DRAWS)])
    ours = inverse_block_mask(DRAWS, (14, 14), ratio, side=block, adjust=adjust, generator=seeded(1))
    assert (ours.sum(dim=1) == round(ratio * 196)).all()
    assert_look_alike(~ours.view(-1, 14, 14), ~theirs)


def test_the_clones_of_an_image_are_masked_independently():
    clones = inverse_block_mask(2 * 8, (14, 14), 0.8, generator=seeded()).view(2, 8, 196)
    assert len({tuple(row.tolist()) for row in clones[0]}) == 8
    # complementary masks would show each patch exactly once; independent ones show some twice
    assert int((~clones[0]).sum(dim=0).max()) > 1


# I-JEPA


def ijepa(side: int, batch: int, min_keep: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """A batch of I-JEPA, as its code has it: sizes for all images, the last row and column never reached."""

    def size(scale, aspect):
        draw = random.random()
        area = int(side * side * (scale[0] + draw * (scale[1] - scale[0])))
        ratio = aspect[0] + draw * (aspect[1] - aspect[0])
        return min(round(math.sqrt(area * ratio)), side - 1), min(round(math.sqrt(area / ratio)), side - 1)

    def block(tall, wide):
        mask = torch.zeros(side, side, dtype=torch.bool)
        top, left = random.randrange(side - tall), random.randrange(side - wide)
        mask[top : top + tall, left : left + wide] = True
        return mask

    target, whole = size((0.15, 0.2), (0.75, 1.5)), size((0.85, 1.0), (1.0, 1.0))
    contexts, targets = [], []
    for _ in range(batch):
        targets.append(torch.stack([block(*target) for _ in range(4)]))
        context = block(*whole) & ~targets[-1].any(dim=0)
        while int(context.sum()) <= min_keep:
            context = block(*whole) & ~targets[-1].any(dim=0)
        contexts.append(context.flatten().nonzero().flatten())
    shortest = min(len(c) for c in contexts)
    kept = torch.zeros(batch, side * side, dtype=torch.bool)
    for row, context in zip(kept, contexts, strict=True):
        row[context[:shortest]] = True
    return list(kept.view(batch, side, side)), targets


def test_targets_and_contexts_look_like_those_of_i_jepa():
    random.seed(0)
    generator = seeded()
    contexts, targets, ours, our_targets = [], [], [], []
    for _ in range(DRAWS):  # one size a batch, so that only batches are independent
        context, target = ijepa(14, 8, 10)
        contexts.append(torch.stack(context))
        targets.append(torch.stack(target))
        drawn = target_masks(8, (14, 14), min_keep=10, reach_edge=False, generator=generator)
        ours.append(~drawn.context.view(8, 14, 14))
        our_targets.append(drawn.targets.view(8, 4, 14, 14))
    looks = {
        "patches of a context": lambda masks: masks[:, 0].sum(dim=(1, 2)).float(),
        "of them in the upper half": lambda masks: masks[:, :, :7].float().mean(dim=(1, 2, 3)),
        "of them in the left half": lambda masks: masks[..., :7].float().mean(dim=(1, 2, 3)),
        "of them at the lower edge": lambda masks: masks[:, :, -2].float().mean(dim=(1, 2)),
    }
    theirs, mine = torch.stack(contexts), torch.stack(ours)
    for what, look in looks.items():
        assert_alike(look(mine), look(theirs), what)
    theirs, mine = torch.stack(targets), torch.stack(our_targets)
    for masks in (theirs, mine):
        assert not masks[..., -1, :].any()
        assert not masks[..., :, -1].any()
    looks = {
        "patches of a target": lambda masks: masks[:, 0, 0].sum(dim=(1, 2)).float(),
        "rows of a target": lambda masks: masks[:, 0, 0].any(dim=2).sum(dim=1).float(),
        "of them in the middle": lambda masks: masks[..., 5:9, 5:9].float().mean(dim=(1, 2, 3, 4)),
    }
    for what, look in looks.items():
        assert_alike(look(mine), look(theirs), what)


@pytest.mark.parametrize(
    "grid", [(8, 32), (8, 64), (4, 4), (5, 16), (32, 8), (14, 14), (3, 3), (1, 40), (7, 9), (64, 64)]
)
def test_targets_leave_a_context_on_every_grid(grid):
    for seed in range(20):
        context, targets = target_masks(64, grid, generator=seeded(seed))
        visible = ~context
        assert int(visible.sum(dim=1).min()) > 4
        assert len(set(visible.sum(dim=1).tolist())) == 1
        assert targets.flatten(2).any(dim=2).all()
        assert not (visible & targets.any(dim=1)).any()


@pytest.mark.parametrize("crop", ["first", "random"])
def test_targets_of_no_image(crop):
    masks = target_masks(0, (4, 4), crop=crop)
    assert [x.shape for x in masks] == [(0, 16), (0, 4, 16)]
    assert [masks.context_indices.shape, masks.target_indices.shape] == [(0, 0), (0, 4, 0)]


def test_a_context_has_the_proportions_of_the_grid():
    context, _ = target_masks(64, (8, 32), 1, scale=(0.01, 0.01), context=(0.9, 0.9), generator=seeded())
    seen = (~context).view(64, 8, 32)
    assert int(seen.any(dim=2).sum(dim=1).max()) == 8  # a square of 90 % of the patches would be 8 x 15
    assert int(seen.any(dim=1).sum(dim=1).max()) >= 29


def test_a_context_is_cut_down_at_the_end_or_at_random():
    first, drawn = (target_masks(64, (14, 14), crop=crop, generator=seeded()) for crop in ("first", "random"))
    rows = torch.arange(14.0)
    heights = [((~m.context).view(-1, 14, 14).sum(dim=2) * rows).sum() / (~m.context).sum() for m in (first, drawn)]
    assert heights[0] < heights[1] - 1
    assert torch.equal(first.targets, drawn.targets)


def test_a_predictor_is_given_indices():
    masks = target_masks(8, (14, 14), generator=seeded())
    context, targets = masks.context_indices, masks.target_indices
    assert torch.equal(torch.zeros(8, 196).scatter(1, context, 1.0).bool(), ~masks.context)
    assert torch.equal(torch.zeros(8, 4, 196).scatter(2, targets, 1.0).bool(), masks.targets)
    assert context.shape[0] == 8
    assert targets.shape[:2] == (8, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": 0}, "targets is 0"),
        ({"min_keep": -1}, "min_keep is -1"),
        ({"crop": "last"}, "crop is 'last'"),
        ({"min_keep": 64}, "leave no context of more than 64 patches"),
    ],
)
def test_what_i_jepa_cannot_draw_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        target_masks(2, (8, 8), **options)


# In a model


@pytest.mark.parametrize("sampler", ["block", "inverse_block", "cell", "centre"])
def test_a_model_takes_samplers_by_name_in_one_graph(sampler):
    torch.compiler.reset()
    masked = MaskedImageModel("test_vit", mask_ratio=0.75, strategy="drop", sampler=sampler, image_size=(160, 160))
    compiled = torch.compile(masked, fullgraph=True, backend="eager")
    images = torch.rand(2, 3, 160, 160)
    torch.manual_seed(0)
    expected = masked(images)
    torch.manual_seed(0)
    actual = compiled(images)
    assert expected.features.shape[1] == 1 + 25
    assert torch.equal(actual.mask, expected.mask)
    torch.testing.assert_close(actual.features, expected.features)
