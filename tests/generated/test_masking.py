"""Replacing, dropping and repeating, and the model that does it all."""

import copy
import io
import random
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy
import pytest
import timm
import torch
from timm.models.hiera import Hiera
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

import generated
from generated.masking import (
    MaskedImageModel,
    TokenLayout,
    WholeGridError,
    block_mask,
    drop,
    feature_layout,
    hide,
    patch_layout,
    random_mask,
    repeat,
    replace,
    token_layout,
)

VIT = {"img_size": 64, "patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 2}
SMALL = {
    "vit": ("vit_tiny_patch16_224", VIT),
    "registers": ("vit_tiny_patch16_224", {**VIT, "reg_tokens": 3}),
    "eva": ("eva02_tiny_patch14_224", VIT),
    "swin": (
        "swin_tiny_patch4_window7_224",
        {"img_size": 64, "embed_dim": 24, "depths": (1, 1, 1, 1), "window_size": 2},
    ),
    "sam": ("samvit_base_patch16", {**VIT, "window_size": 2, "global_attn_indexes": (1,)}),
    "nchw": ("pit_s_224", {"img_size": 64}),
    "lists": ("crossvit_tiny_240", {"img_size": 240}),
    "two streams": ("tnt_s_patch16_224", {"img_size": 64, "depth": 2}),
    "hiera": ("hiera_tiny_224", {"img_size": (64, 64), "embed_dim": 16, "num_heads": 1, "stages": (1, 1, 1, 1)}),
}


def build(kind: str) -> nn.Module:
    torch.manual_seed(0)
    name, options = SMALL[kind]
    return generated.create_model(name, **options).eval()


def layout_of(model: nn.Module) -> TokenLayout:
    return token_layout(model, (64, 64) if isinstance(model, Hiera) else None)


def images_for(model: nn.Module, batch: int = 2) -> torch.Tensor:
    size = layout_of(model).streams[0].image_size
    return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(1))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# The layout


@pytest.mark.parametrize(
    ("kind", "order", "prefix", "grid"),
    [
        ("vit", "NLC", 1, (4, 4)),
        ("registers", "NLC", 4, (4, 4)),
        ("eva", "NLC", 1, (4, 4)),
        ("swin", "NHWC", 0, (16, 16)),
        ("sam", "NHWC", 0, (4, 4)),
        ("nchw", "NCHW", 0, (7, 7)),
        ("two streams", "NLC", 1, (4, 4)),
        ("hiera", "NLC", 0, (16, 16)),
    ],
)
def test_the_layout_of_tokens_is_found(kind, order, prefix, grid):
    (stream,) = layout_of(build(kind)).streams
    assert (stream.order, stream.prefix, stream.grid) == (order, prefix, grid)


def test_every_scale_of_a_list_has_a_layout_of_its_own():
    layout = token_layout(build("lists"))
    assert layout.listed
    assert [(s.prefix, s.grid) for s in layout.streams] == [(1, (20, 20)), (1, (14, 14))]


@pytest.mark.parametrize("kind", SMALL)
def test_patches_that_are_put_back_are_the_embedding_again(kind):
    model = build(kind)
    layout = layout_of(model)
    embedding = model.embed(images_for(model))
    again = layout.put(embedding, layout.patches(embedding))
    assert all(torch.equal(a, b) for a, b in zip(layout.tokens(again), layout.tokens(embedding), strict=True))


def test_looking_leaves_no_trace():
    model = generated.create_model("vit_tiny_patch16_224", **VIT, drop_rate=0.1, norm_layer="batchnorm1d").train()
    model.norm.eval()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    token_layout(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert not model.norm.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_the_grid_of_other_images_follows_from_the_size_of_a_patch():
    layout = token_layout(generated.create_model("vit_tiny_patch16_224", dynamic_img_size=True, depth=1))
    assert layout.grid((224, 224)) == (14, 14)
    assert layout.grid((160, 320)) == (10, 20)


def test_a_model_of_any_device_has_a_layout():
    with torch.device("meta"):
        model = generated.create_model("vit_tiny_patch16_224", **VIT)
    layout = layout_of(model)
    assert layout.streams[0].grid == (4, 4)
    assert not layout.whole_grid
    assert MaskedImageModel(model)(torch.empty(2, 3, 64, 64, device="meta")).features.shape == (2, 17, 32)
    with pytest.raises(ValueError, match="a model on the device meta has no values for it"):
        MaskedImageModel(model, strategy="drop")


@pytest.mark.parametrize("strategy", ["replace", "drop", "sparse"])
def test_nothing_of_a_model_is_tried_on_the_default_device(strategy):
    model = generated.create_model("convnext_atto") if strategy == "sparse" else build("vit")
    with torch.device("meta"):
        masked = MaskedImageModel(model, strategy=strategy, image_size=(64, 64))
    assert masked.layout.sees == 0
    assert masked(torch.rand(2, 3, 64, 64)).features.device.type == "cpu"


def test_what_never_gets_a_gradient_is_refused():
    with torch.inference_mode():
        made = build("vit")
        with pytest.raises(RuntimeError, match=r"make the model, and the masked one, outside"):
            MaskedImageModel(build("vit"))
    with pytest.raises(RuntimeError, match=r"under torch\.inference_mode\(\) never gets a gradient"):
        MaskedImageModel(made)


class Restless(nn.Module):
    """A stem that counts its calls in buffers, one of which it replaces, and draws from every generator."""

    def __init__(self, proj: nn.Module) -> None:
        super().__init__()
        self.proj = proj
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("replaced", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.replaced = self.replaced + 1
        random.random(), numpy.random.rand(), torch.rand(1)
        return self.proj(x)


@pytest.mark.parametrize("find", [token_layout, patch_layout, feature_layout, MaskedImageModel])
def test_trying_a_model_leaves_its_buffers_and_all_random_numbers_as_they_were(find):
    model = build("vit").train()
    model.blocks[0].eval()
    model.patch_embed.proj = Restless(model.patch_embed.proj)
    modes = [module.training for module in model.modules()]
    torch.manual_seed(0)
    before = random.getstate(), numpy.random.get_state()[2], torch.get_rng_state().tolist()
    find(model) if find is not MaskedImageModel else find(model, mask_token="zero")
    assert (random.getstate(), numpy.random.get_state()[2], torch.get_rng_state().tolist()) == before
    assert (model.patch_embed.proj.calls, model.patch_embed.proj.replaced) == (0, 0)
    assert [module.training for module in model.modules()] == modes


@pytest.mark.parametrize(
    ("embed", "message"),
    [
        (lambda x: x.flatten(1), r"has no patches: it is of shape \(2, 49152\)"),
        (lambda x: {"tokens": x}, "has no patches: it is a dict"),
        (lambda x: x.flatten(2)[:, :, :3], "the 3 tokens of .* are no grid of patches"),
    ],
)
def test_what_has_no_patches_is_refused(embed, message):
    model = build("vit")
    model.embed = embed
    with pytest.raises(TypeError, match=message):
        token_layout(model, (128, 128))


@pytest.mark.parametrize(
    ("size", "patches"), [((16, 16), 1), ((16, 32), 2), ((48, 16), 3), ((32, 32), 4), ((32, 48), 6)]
)
def test_few_patches_can_be_dropped_if_one_can_be_left(size, patches):
    model = generated.create_model("vit_tiny_patch16_224", **{**VIT, "img_size": size})
    layout = token_layout(model)
    if patches > 2:
        assert not layout.whole_grid
        assert MaskedImageModel(model, strategy="drop", mask_ratio=0.5)(torch.rand(2, 3, *size)).restore is not None
    else:
        assert layout.whole_grid.endswith("too few to try it")


# A model that drops patches itself


@pytest.mark.parametrize("strategy", ["replace", "drop"])
@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("vit_tiny_patch16_224", "model.backbone.patch_drop.prob = 0.0"),
        ("eva02_tiny_patch14_224", "model.backbone.patch_drop.prob = 0.0"),
        ("naflexvit_base_patch16_gap", "model.backbone.patch_drop.prob = 0.0"),
        ("hiera_tiny_224", "model.backbone.patch_drop_rate = 0.0"),
    ],
)
def test_patch_dropout_under_a_mask_is_refused_in_training_with_the_remedy(name, remedy, strategy):
    options = {} if "naflex" in name or "hiera" in name else VIT
    position = "after" if "naflex" in name else "before"
    backbone = generated.create_model(name, patch_drop_rate=0.25, **options)
    model = MaskedImageModel(backbone, strategy=strategy, position=position, unit=8 if "hiera" in name else 1)
    images = torch.rand(1, 3, *model.layout.streams[0].image_size)
    model.eval()(images)
    with pytest.raises(ValueError, match="patch_drop_rate=0") as caught:
        model.train()(images)
    assert remedy in str(caught.value)
    exec(remedy, {"model": model})
    model(images)


# Replacing


@pytest.mark.parametrize("kind", SMALL)
def test_masked_patches_become_the_token_and_the_rest_stays(kind):
    model = build(kind)
    layout = layout_of(model)
    embedding = model.embed(images_for(model))
    mask = random_mask(2, layout.streams[0].grid, 0.5, generator=seeded())
    tokens = [torch.arange(1.0, s.channels + 1) for s in layout.streams]
    masked = replace(layout, embedding, mask, tokens if layout.listed else tokens[0])
    masks = [layout.spread(mask, stream) for stream in layout.streams]
    for stream, m, token, old, new in zip(
        layout.streams, masks, tokens, layout.tokens(embedding), layout.tokens(masked), strict=True
    ):
        assert torch.equal(stream.patches(new)[m], token.expand(int(m.sum()), -1))
        assert torch.equal(stream.patches(new)[~m], stream.patches(old)[~m])
        if stream.order == "NLC":
            assert torch.equal(new[:, : stream.prefix], old[:, : stream.prefix])


def test_a_token_may_be_a_number_or_another_for_each_patch():
    model = build("registers")
    layout = layout_of(model)
    embedding = model.embed(images_for(model))
    mask = random_mask(2, (4, 4), 0.5, generator=seeded())
    assert (layout.patches(replace(layout, embedding, mask))[mask] == 0).all()
    each = torch.rand(2, 16, 32)
    assert torch.equal(layout.patches(replace(layout, embedding, mask, each))[mask], each[mask])


def test_what_else_an_embedding_shows_of_a_masked_patch_is_hidden():
    model = build("two streams")
    layout = layout_of(model)
    mask = random_mask(2, (4, 4), 0.5, generator=seeded())
    images = images_for(model)
    other = images.clone()
    hidden = mask.view(2, 1, 4, 1, 4, 1).expand(-1, 3, -1, 16, -1, 16).reshape(images.shape)
    other[hidden] = 0.5
    inner = [replace(layout, model.embed(x), mask).pixel_embed.unflatten(0, (2, 16)) for x in (images, other)]
    assert not inner[0][mask].any()
    assert inner[0][~mask].any()


def test_the_masks_of_a_list_agree_on_what_is_hidden():
    layout = token_layout(build("lists"))
    mask = torch.zeros(1, 20, 20, dtype=torch.bool)
    mask[:, :10] = True  # the upper half
    coarse = layout.spread(mask.flatten(1), layout.streams[1]).view(14, 14)
    assert coarse[:7].all()
    assert not coarse[7:].any()


# Dropping


def test_what_is_dropped_can_be_put_in_the_order_of_the_grid_again():
    model = build("registers")
    layout = layout_of(model)
    embedding = model.embed(images_for(model))
    mask = random_mask(2, (4, 4), 0.75, generator=seeded())
    dropped = drop(layout, embedding, mask)
    assert dropped.visible.shape == (2, 4)
    assert torch.equal(dropped.visible, dropped.visible.sort(dim=1).values)
    visible = layout.patches(dropped.embedding)
    assert visible.shape == (2, 4, 32)
    filled = torch.cat([visible, torch.full((2, 12, 32), torch.inf)], dim=1)
    grid = filled.gather(1, dropped.restore.unsqueeze(-1).expand_as(filled))
    assert torch.equal(grid[~mask], layout.patches(embedding)[~mask])
    assert grid[mask].isinf().all()


def test_what_a_rotary_embedding_says_goes_with_its_patch():
    model = build("eva")
    layout = layout_of(model)
    embedding = model.embed(images_for(model))
    mask = random_mask(2, (4, 4), 0.5, generator=seeded())
    dropped = drop(layout, embedding, mask)
    rope = dropped.embedding.rot_pos_embed
    assert rope.shape == (2, 1, 8, embedding.rot_pos_embed.shape[-1])  # (B, heads, n, D), as its attention takes it
    for row in range(2):
        assert torch.equal(rope[row, 0], embedding.rot_pos_embed[dropped.visible[row]])


def test_a_rotary_embedding_may_be_as_wide_as_the_grid_has_patches():
    # 64 patches, and 64 numbers for each: sine and cosine of 32
    model = generated.create_model("eva02_tiny_patch14_224", **{**VIT, "patch_size": 8, "embed_dim": 64})
    assert model.embed(torch.rand(1, 3, 64, 64)).rot_pos_embed.shape == (64, 64)
    assert not token_layout(model).whole_grid


@pytest.mark.parametrize("kind", ["swin", "sam", "nchw", "lists"])
def test_stages_that_need_the_whole_grid_are_said_to_replace_instead(kind):
    model = build(kind)
    layout = layout_of(model)
    mask = random_mask(2, layout.streams[0].grid, 0.5)
    with pytest.raises(WholeGridError, match=r"need the whole grid of patches: .*Replace masked patches instead"):
        drop(layout, model.embed(images_for(model)), mask)
    with pytest.raises(ValueError, match="strategy='replace'"):
        MaskedImageModel(model, strategy="drop")


class Placed(nn.Module):
    """Stages that tell patches apart by their number, in a way that shows once it is trained."""

    def __init__(self, scale: float, position: float) -> None:
        super().__init__()
        self.proj, self.block = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 8)
        self.scale = nn.Parameter(torch.full((8,), scale))
        self.position = nn.Parameter(torch.randn(1, 16, 8) * position)
        self.default_cfg = {"input_size": (3, 32, 32)}

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)

    def forward_stages(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens + self.scale * self.block(tokens + self.position[:, : tokens.shape[1]])


@pytest.mark.parametrize(("scale", "position"), [(1.0, 0.0), (1e-6, 1.0), (0.0, 1.0), (0.0, 0.0)])
def test_what_is_zero_before_training_is_seen_as_well(scale, position):
    model = Placed(scale, position)
    before, versions = copy.deepcopy(model.state_dict()), [p._version for p in model.parameters()]
    assert token_layout(model).whole_grid == "its stages look at the place of patches in the grid"
    assert all(torch.equal(before[name], x) for name, x in model.state_dict().items())
    assert versions == [p._version for p in model.parameters()]


class Mixing(nn.Module):
    """Stages whose tokens look at others by their number in the sequence, 64 of a whole image."""

    def __init__(self, mix: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.proj, self.mix = nn.Conv2d(3, 8, 8, 8), mix
        self.default_cfg = {"input_size": (3, 64, 64)}

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)

    def forward_stages(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens + self.mix(tokens)


def windows(x: torch.Tensor, radius: int = 8) -> torch.Tensor:
    place = torch.arange(x.shape[1])
    near = (place[:, None] - place).abs() <= radius
    return nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=near)


def chunks(x: torch.Tensor, size: int = 8) -> torch.Tensor:
    return torch.cat([part.mean(1, keepdim=True).expand_as(part) for part in x.split(size, dim=1)], dim=1)


def special(x: torch.Tensor) -> torch.Tensor:
    return torch.where(torch.arange(x.shape[1])[:, None] == 40, 1.0, x)


def rotary(x: torch.Tensor) -> torch.Tensor:
    """Weak logits, as before training, of what is turned by its number."""
    angle = torch.arange(x.shape[1])[:, None] * 0.3 ** torch.arange(4)
    a, b = x.chunk(2, dim=-1)
    turned = torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], dim=-1)
    return nn.functional.scaled_dot_product_attention(turned * 0.3, turned * 0.3, x)


@pytest.mark.parametrize("mix", [windows, chunks, special, rotary])
def test_stages_whose_tokens_look_further_than_a_few_patches_need_the_whole_grid(mix):
    torch.manual_seed(0)
    model = Mixing(mix)
    assert token_layout(model).whole_grid == "its stages look at the place of patches in the grid"


@pytest.mark.parametrize("mix", [lambda x: nn.functional.scaled_dot_product_attention(x, x, x), torch.relu])
def test_stages_that_do_the_same_to_each_need_no_whole_grid(mix):
    assert token_layout(Mixing(mix)).whole_grid == ""


def test_a_model_that_is_made_in_inference_mode_has_a_layout():
    with torch.inference_mode():
        model = Placed(1.0, 1.0)
    assert token_layout(model).streams[0].grid == (4, 4)


def test_stages_that_look_at_the_place_of_patches_need_the_whole_grid():
    class Shifted(nn.Module):
        def forward(self, x: torch.Tensor, **options: object) -> torch.Tensor:
            return x + x.roll(1, dims=1)

    model = build("vit")
    model.blocks.append(Shifted())
    assert "look at the place of patches" in token_layout(model).whole_grid


def test_a_hiera_drops_whole_units_by_its_own_mask():
    model = build("hiera")
    masked = MaskedImageModel(model, strategy="drop", mask_ratio=0.5, image_size=(64, 64), final_norm=False)
    assert masked.unit == 8
    images = images_for(model)
    features, mask, restore = masked(images, generator=seeded())
    assert features.shape[:2] == (2, 2)  # of 2 x 2 units
    assert mask.shape == (2, 256)
    assert restore.shape == (2, 4)
    # timm's own way: (B, units), True where kept
    units = mask.view(2, 2, 8, 2, 8)[:, :, 0, :, 0].flatten(1)
    assert isinstance(model, Hiera)
    assert torch.equal(features, Hiera.forward_features(model, images, mask=~units))
    with pytest.raises(ValueError, match="drops whole units of 8 x 8"):
        masked(images, mask=random_mask(2, (16, 16), 0.5))
    with pytest.raises(ValueError, match=r"model\.embed"):
        drop(masked.layout, model.embed(images), mask)


# Several masks of an image


@pytest.mark.parametrize("kind", SMALL)
def test_an_image_that_is_embedded_once_can_be_masked_in_several_ways(kind):
    model = build(kind)
    layout = layout_of(model)
    images = images_for(model)
    with torch.no_grad():
        repeated = repeat(layout, model.embed(images), 3)
        expected = model.forward_stages(model.embed(images.repeat_interleave(3, dim=0)))
        actual = model.forward_stages(repeated)
    for a, b in zip(*(x if isinstance(x, (list, tuple)) else [x] for x in (actual, expected)), strict=True):
        torch.testing.assert_close(a, b)


class Counted(NamedTuple):
    x: torch.Tensor
    batch: object


def test_a_batch_size_that_crosses_as_a_number_is_repeated():
    model = build("vit")
    embed = model.embed
    model.embed = lambda images: Counted(embed(images), 2 * len(images))
    layout = token_layout(model)
    repeated = repeat(layout, model.embed(images_for(build("vit"), 3)), 4)
    assert len(repeated.x) == 12
    assert repeated.batch == 24


@pytest.mark.parametrize("count", [lambda n: n + 1, lambda n: {"rows": [n]}, lambda n: (n, 3), lambda n: -(n**2)])
def test_a_number_that_changes_otherwise_with_the_batch_is_refused(count):
    model = build("vit")
    embed = model.embed
    model.embed = lambda images: Counted(embed(images), count(len(images)))
    with pytest.raises(ValueError, match="`batch` of the embedding changes with the batch"):
        repeat(token_layout(model), model.embed(images_for(build("vit"))), 2)


def test_other_numbers_stay():
    model = build("vit")
    embed = model.embed
    model.embed = lambda images: Counted(embed(images), {"scale": 2.5, "grid": (4, 4), "dropped": None, "rope": True})
    embedding = model.embed(images_for(build("vit")))
    assert repeat(token_layout(model), embedding, 2).batch == embedding.batch


# The model


def test_a_name_a_model_of_timm_and_a_split_model_may_be_masked():
    ours = build("vit")
    theirs = timm.create_model("vit_tiny_patch16_224", **VIT)
    assert MaskedImageModel("test_vit").backbone.num_prefix_tokens == 1
    assert MaskedImageModel(theirs).backbone is theirs
    assert MaskedImageModel(ours).backbone is ours
    assert hasattr(theirs, "forward_stages")


@pytest.mark.parametrize("kind", SMALL)
def test_a_learnable_token_learns_and_is_saved(kind):
    model = build(kind)
    masked = MaskedImageModel(model, position="after", image_size=layout_of(model).streams[0].image_size)
    features, _, restore = masked(images_for(masked.backbone))
    assert restore is None
    sum(f.square().sum() for f in (features if isinstance(features, list) else [features])).backward()
    tokens = dict(masked.named_parameters(recurse=True))
    tokens = {name: p for name, p in tokens.items() if name.startswith("mask_token")}
    assert len(tokens) == len(masked.layout.streams)
    assert all(p.grad is not None and p.grad.any() for p in tokens.values())
    assert tokens.keys() <= masked.state_dict().keys()


def test_a_zero_token_is_no_parameter():
    masked = MaskedImageModel(build("vit"), mask_token="zero", position="after")
    assert "mask_token" not in masked.state_dict()
    assert [name for name, _ in masked.named_parameters() if not name.startswith("backbone.")] == []


@pytest.mark.parametrize("strategy", ["replace", "drop"])
def test_what_it_computes_is_what_its_parts_compute(strategy):
    masked = MaskedImageModel(build("eva"), strategy=strategy, position="after", mask_ratio=0.5)
    model, layout = masked.backbone, masked.layout
    images = images_for(model)
    mask = block_mask(2, (4, 4), 0.5, smallest=2, generator=seeded())
    embedding = model.embed(images)
    if strategy == "drop":
        expected = model.fc_norm(model.forward_stages(drop(layout, embedding, mask).embedding))
    else:
        expected = model.fc_norm(model.forward_stages(replace(layout, embedding, mask, masked.mask_token)))
    assert torch.equal(masked(images, mask).features, expected)
    assert torch.equal(masked(images, mask, count=8).features, expected)


def test_a_generator_masks_the_same_patches_again():
    masked = MaskedImageModel(build("vit"), mask_ratio=0.5, position="after")
    images = images_for(masked.backbone)
    first, second = (masked(images, generator=seeded(7)).mask for _ in range(2))
    assert torch.equal(first, second)


def test_a_sampler_may_be_a_function():
    def upper_half(batch, grid, ratio, *, unit, generator, device):
        mask = torch.zeros(batch, *grid, dtype=torch.bool, device=device)
        mask[:, : round(ratio * grid[0])] = True
        return mask.flatten(1)

    masked = MaskedImageModel(build("vit"), sampler=upper_half, strategy="drop", mask_ratio=0.5)
    assert masked(images_for(masked.backbone)).mask.view(2, 4, 4)[:, :2].all()


def test_a_mask_on_units_holds_at_every_stage():
    masked = MaskedImageModel(build("swin"), unit=8, mask_ratio=0.5, mask_token="zero")
    features, mask, _ = masked(images_for(masked.backbone))
    assert features.shape == (2, 2, 2, 192)
    units = mask.view(2, 2, 8, 2, 8).transpose(2, 3).flatten(3)
    assert torch.equal(units.all(3), units.any(3))


def test_the_backbone_is_saved_and_loaded_as_timms():
    masked = MaskedImageModel(build("vit"), position="after")
    file = io.BytesIO()
    torch.save(masked.backbone.state_dict(), file)
    file.seek(0)
    timm.create_model("vit_tiny_patch16_224", **VIT).load_state_dict(torch.load(file), strict=True)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("vit", {"position": "after"}),
        ("vit", {"position": "before"}),
        ("vit", {"strategy": "drop"}),
        ("eva", {"strategy": "drop", "sampler": "block"}),
        ("swin", {"unit": 8}),
    ],
)
def test_it_is_one_graph(kind, options):
    torch.compiler.reset()
    masked = MaskedImageModel(build(kind), mask_ratio=0.5, **options).train()
    images = images_for(masked.backbone)
    compiled = torch.compile(masked, fullgraph=True, backend="eager")
    torch.manual_seed(0)
    expected = masked(images)
    torch.manual_seed(0)
    actual = compiled(images)
    torch.testing.assert_close(actual.features, expected.features)
    assert torch.equal(actual.mask, expected.mask)


@pytest.mark.parametrize(("strategy", "given"), [("replace", False), ("drop", False), ("drop", True)])
def test_a_ratio_that_changes_is_not_compiled_each_time(strategy, given):
    """Once for the first one, and once for any: whether the ratio is given, or a mask and what it counts."""
    torch.compiler.reset()
    masked = MaskedImageModel(build("vit"), strategy=strategy)
    images, counter = images_for(masked.backbone), CompileCounter()
    compiled = torch.compile(masked, fullgraph=True, backend=counter)
    for count in (4, 6, 8, 10, 12):
        mask = random_mask(2, (4, 4), count / 16)
        result = compiled(images, mask, count=count) if given else compiled(images, ratio=count / 16)
        assert result.mask.sum(1).tolist() == [count, count]
    assert counter.frame_count <= 2


@pytest.mark.parametrize(
    ("kind", "options"),
    [("vit", {}), ("vit", {"strategy": "drop"}), ("eva", {"strategy": "drop"}), ("swin", {"unit": 8})],
)
def test_it_runs_in_bfloat16(kind, options):
    masked = MaskedImageModel(build(kind), **options)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = masked(images_for(masked.backbone)).features
    features.float().sum().backward()
    assert features.isfinite().all()


# Before the position


@pytest.mark.parametrize("kind", ["vit", "registers", "eva", "sam", "nchw", "hiera"])
def test_a_token_that_is_put_before_the_position_knows_where_it_is(kind):
    model = build(kind)
    size = layout_of(model).streams[0].image_size
    masked = MaskedImageModel(model, mask_ratio=0.5, image_size=size, final_norm=False).eval()
    model.forward_stages = lambda embedding: masked.layout.patches(embedding)
    for name, parameter in model.named_parameters():
        if "pos_embed" in name:
            nn.init.normal_(parameter)
    tokens, mask, _ = masked(images_for(model))
    rows = tokens[0][mask[0]]
    absolute = any("pos_embed" in name for name, _ in model.named_parameters())
    assert torch.equal(rows[0], rows[1]) != absolute
    assert not torch.equal(tokens[0][~mask[0]][0], tokens[0][~mask[0]][1])


@pytest.mark.parametrize("kind", ["lists", "two streams"])
def test_where_one_call_gives_patches_and_position_they_are_replaced_after_it(kind):
    with pytest.raises(ValueError, match=r"one call, .* gives the patches and their position.*position='after'"):
        MaskedImageModel(build(kind))
    with pytest.raises(TypeError, match=r"has no embed_patches\(\): one call"):
        patch_layout(build(kind))


def test_where_the_embedding_gives_no_position_before_and_after_are_the_same():
    images = images_for(build("swin"))
    masks = [MaskedImageModel(build("swin"), position=position, mask_token="zero") for position in ("before", "after")]
    before, after = (masked(images, generator=seeded()).features for masked in masks)
    assert torch.equal(before, after)


# What cannot be


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask_ratio": 0.0}, "must lie between 0 and 1"),
        ({"mask_ratio": 1.0}, "must lie between 0 and 1"),
        ({"mask_token": "random"}, "mask_token is 'random': it must be one of learnable, zero"),
        ({"strategy": "hide"}, "strategy is 'hide': it must be one of replace, drop"),
        ({"position": "between"}, "position is 'between'"),
        ({"sampler": "grid"}, "sampler is 'grid': it must be one of random, block"),
        ({"unit": 3}, "multiple of the unit of 3"),
        ({"unit": 0}, "unit is 0: it is a whole number, of 1 at least"),
        ({"unit": 1.0}, r"unit is 1\.0: it is a whole number"),
        ({"image_size": (64.0, 64.0)}, r"image_size is \(64\.0, 64\.0\): it is a height and a width"),
        ({"image_size": (-1, 64)}, r"image_size is \(-1, 64\)"),
        ({"image_size": (50, 50)}, "takes no images of 50 x 50"),
        ({"fill": float("nan")}, "fill is nan, which would spread"),
        ({"fill": float("inf")}, "fill is inf"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MaskedImageModel(build("vit"), **options)


@pytest.mark.parametrize("ratio", ["0.5", None, [0.1, 0.5], (0.1,), (0.1, 0.3, 0.5), torch.tensor([0.5, 0.5])])
def test_what_is_no_ratio_is_refused(ratio):
    with pytest.raises(TypeError, match="it is a number, or the least and the greatest one"):
        MaskedImageModel(build("vit"), mask_ratio=ratio)


@pytest.mark.parametrize("kind", ["vit", "swin", "nchw"])
def test_a_mask_token_goes_into_patches_as_torch_broadcasts(kind):
    model = build(kind)
    layout, embedding = layout_of(model), model.embed(images_for(model))
    patches, stream = layout.patches(embedding), layout.streams[0]
    _, count, channels = patches.shape
    mask = random_mask(2, stream.grid, 0.5, generator=seeded())
    for shape in [(), (1,), (channels,), (1, 1, channels), (2, 1, channels), (count, channels), (2, count, channels)]:
        token = torch.randn(shape, generator=seeded())
        expected = torch.where(mask[..., None], token, patches)
        assert torch.equal(layout.patches(replace(layout, embedding, mask, token)), expected)
    for shape in [(channels + 1,), (2, channels), (2, count + 1, channels), (1, 1, 1, channels)]:
        with pytest.raises(ValueError, match=re.escape(f"{shape}, which does not go into patches of (2, {count},")):
            replace(layout, embedding, mask, torch.zeros(shape))
    with pytest.raises(TypeError, match="a mask token is a tensor or a number, not a str"):
        replace(layout, embedding, mask, "token")


def test_masks_and_tokens_in_lists_are_one_for_each_tensor():
    model = build("lists")
    layout, embedding = layout_of(model), model.embed(images_for(model))
    mask = random_mask(2, layout.streams[0].grid, 0.5)
    for given in ({"mask": [mask]}, {"mask": mask, "token": [torch.zeros(96)]}):
        with pytest.raises(ValueError, match="and the tokens are 2 tensors: one for each"):
            replace(layout, embedding, **given)
    with pytest.raises(ValueError, match="there are 1 masks, and the tokens are 2 tensors"):
        hide(images_for(model), [mask], layout)


@pytest.mark.parametrize("images", [torch.rand(64, 64), torch.rand(2, 64, 64), torch.rand(2, 3, 1, 64, 64)])
@pytest.mark.parametrize("name", ["test_vit", "resnet18"])
def test_what_are_no_images_are_refused(name, images):
    torch.manual_seed(0)
    options = {"img_size": 64} if name == "test_vit" else {}
    masked = MaskedImageModel(generated.create_model(name, **options), image_size=(64, 64))
    mask = random_mask(2, masked.grid((64, 64)), 0.5)
    for run in (masked, lambda images: hide(images, mask, masked.layout)):
        with pytest.raises(ValueError, match=re.escape(f"images are (B, C, H, W), not of shape {tuple(images.shape)}")):
            run(images)
        with pytest.raises(TypeError, match=r"images are \(B, C, H, W\), a tensor, not a list"):
            run(images.tolist())


def test_a_model_that_is_not_split_is_refused():
    with pytest.raises(TypeError, match=r"give it to generated\.split\(\) first"):
        token_layout(timm.create_model("test_vit"))
    with pytest.raises(TypeError, match="split"):
        MaskedImageModel(nn.Linear(2, 2))
    with pytest.raises(TypeError, match="VGG has no split"):
        MaskedImageModel("vgg11")


@pytest.mark.parametrize("strategy", ["replace", "drop"])
@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (torch.zeros(2, 16), TypeError, "not torch.float32: mask.bool"),
        ([[True] * 16] * 2, TypeError, "not a list$"),
        (torch.zeros(2, 17, dtype=torch.bool), ValueError, r"\(2, 17\), and there are \(2, 16\) patches"),
        (torch.zeros(3, 16, dtype=torch.bool), ValueError, r"\(3, 16\), and there are \(2, 16\) patches"),
        (torch.zeros(2, 4, 4, dtype=torch.bool), ValueError, r"there are \(2, 16\) patches"),
        (torch.zeros(2, 16, dtype=torch.bool, device="meta"), ValueError, "on meta, and the patches are on cpu"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(strategy, mask, error, message):
    masked = MaskedImageModel(build("vit"), strategy=strategy, position="after")
    with pytest.raises(error, match=message):
        masked(images_for(masked.backbone), mask)


def test_rows_that_keep_different_numbers_cannot_be_dropped():
    masked = MaskedImageModel(build("vit"), strategy="drop")
    mask = torch.zeros(2, 16, dtype=torch.bool)
    mask[0, :4] = mask[1, :5] = True
    with pytest.raises(ValueError, match="rows mask from 4 to 5 patches"):
        masked(images_for(masked.backbone), mask)


@pytest.mark.parametrize("strategy", ["replace", "drop"])
def test_images_of_a_size_that_the_model_does_not_take_are_refused(strategy):
    masked = MaskedImageModel(build("vit"), strategy=strategy)
    with pytest.raises(ValueError, match=r"does not take images of shape \(2, 3, 48, 48\)"):
        masked(torch.rand(2, 3, 48, 48))
    with pytest.raises(ValueError, match=r"images are \(B, C, H, W\)"):
        masked(torch.rand(3, 64, 64))


BATCHES = [
    ("test_convnext", {"strategy": "sparse"}, True),
    ("test_convnext", {"strategy": "replace", "unit": 8}, True),
    ("test_vit", {"strategy": "replace"}, False),
    ("test_vit", {"strategy": "replace", "mask_ratio": (0.1, 0.5), "masked_images": 0.5}, False),
    ("test_vit", {"strategy": "drop"}, False),
    ("pvt_v2_b0", {"fill": "mean"}, False),
    ("pvt_v2_b0", {"fill": "noise"}, False),
]


@pytest.mark.parametrize(("name", "options", "empty"), BATCHES)
@torch.no_grad()
def test_a_batch_of_one_or_none(name, options, empty):
    """timm's views of `-1` do not take a batch of none: that is said in one line."""
    masked = MaskedImageModel(name, image_size=(160, 160), **options)
    for training in (True, False):
        masked.train(training)
        features, mask, _ = masked(torch.randn(1, 3, 160, 160))
        assert len(features) == len(mask) == 1
        if empty:
            assert [len(x) for x in masked(torch.randn(0, 3, 160, 160))[:2]] == [0, 0]
        else:
            with pytest.raises(ValueError, match="takes no batch of 0 images: its code raises RuntimeError"):
                masked(torch.randn(0, 3, 160, 160))


# What is no longer as it was looked at


class Dropping(nn.Module):
    """Patch dropout of one's own, in training alone."""

    rate = 0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count = int(x.shape[1] * (1 - self.rate))
        return x[:, torch.randperm(x.shape[1])[:count]] if self.training else x


@pytest.mark.parametrize("strategy", ["replace", "drop"])
@pytest.mark.parametrize("at", ["norm_pre", "blocks"])
def test_patch_dropout_of_ones_own_is_refused_in_training(strategy, at):
    model = build("vit")
    dropping = Dropping()
    if at == "blocks":
        model.blocks.insert(0, dropping)
    else:
        model.norm_pre = dropping
    masked = MaskedImageModel(model, strategy=strategy, mask_ratio=0.5).eval()
    masked(images_for(model))
    with pytest.raises(ValueError, match=r"it drops or adds patches itself|drops patches itself must not"):
        masked.train()(images_for(model))
    dropping.rate = 0.0
    masked(images_for(model))


@pytest.mark.parametrize("strategy", ["replace", "drop"])
def test_a_stem_that_was_changed_is_refused(strategy):
    masked = MaskedImageModel(build("vit"), strategy=strategy)
    stem, images = masked.backbone.patch_embed, images_for(masked.backbone)
    stem.proj = nn.Conv2d(3, 32, 24, 16, 4)
    with pytest.raises(
        ValueError, match=r"the stem was changed .*`patch_embed.proj` had .*Make a new MaskedImageModel"
    ):
        masked(images)
    masked = MaskedImageModel(build("vit"), strategy=strategy)
    masked.backbone.set_input_size(patch_size=(8, 32))
    with pytest.raises(ValueError, match=r"`patch_embed` had patch_size=\(16, 16\), and has patch_size=\(8, 32\)"):
        masked(images)


def test_a_stem_that_is_wrapped_converted_or_of_other_channels_is_the_same():
    masked = MaskedImageModel(build("vit"), strategy="drop")
    images = images_for(masked.backbone)
    stem = masked.backbone.patch_embed
    stem.proj = checkpoint_wrapper(stem.proj)
    masked.backbone.blocks[0] = checkpoint_wrapper(masked.backbone.blocks[0])
    masked.backbone.reset_classifier(3)
    copy.deepcopy(masked).bfloat16()(images.bfloat16())
    masked(images)
    masked.backbone.patch_embed = checkpoint_wrapper(stem)
    masked(images)
    stem.proj = nn.Conv2d(1, 32, 16, 16)
    masked(images[:, :1])
