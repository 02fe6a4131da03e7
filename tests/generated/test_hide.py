"""Pixels under the mask reach nothing: redrawing them alone changes nothing that the stages are given."""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy
import pytest
import torch
from names import PACKAGE, QUICK_NAMES, class_of
from sources import RECORDED
from test_tokens import build, smallest
from timm.layers import DropPath
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import generated
from generated.masking import MaskedImageModel, TokenLayout, hide, random_mask, token_layout


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(layout: TokenLayout, mask: torch.Tensor) -> torch.Tensor:
    return layout.streams[0].pixels(mask, layout.streams[0].image_size)


def masked_model(model: nn.Module, **options: Any) -> MaskedImageModel:
    """Without stages, which may take no images that are so small: what they get is looked at, not what they give."""
    model.forward_stages = lambda embedding: embedding[0] if hasattr(embedding, "_fields") else embedding
    try:
        return MaskedImageModel(model, final_norm=False, **options)
    finally:
        del model.forward_stages


def tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [x for one in inner for x in tensors(one)]


def given_to_stages(masked: MaskedImageModel, images: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
    """What the stages get; dropout in the embedding draws the same each time."""
    torch.manual_seed(0)
    masked.backbone.forward_stages = lambda embedding: embedding
    try:
        with torch.no_grad():
            return tensors(masked(images, mask).features)
    finally:
        del masked.backbone.forward_stages


def leaks(masked: MaskedImageModel, *, training: bool = False) -> bool:
    """Whether redrawing the pixels under a mask, and no others, changes what the stages get."""
    masked.train(training)
    stream = masked.layout.streams[0]
    mask = random_mask(2, stream.grid, 0.5, unit=masked.unit, generator=seeded(1))
    images = torch.rand(2, getattr(masked.backbone, "in_chans", 3), *stream.image_size, generator=seeded(2))
    other = torch.where(pixels(masked.layout, mask), torch.randn(images.shape, generator=seeded(3)), images)
    assert not torch.equal(images, other)
    first, second = (given_to_stages(masked, x, mask) for x in (images, other))
    return any(not torch.equal(a, b) for a, b in zip(first, second, strict=True))


def masked_in_each_way(model: nn.Module, size: tuple[int, int], layout: TokenLayout) -> Iterator[MaskedImageModel]:
    """Masked by each strategy, in units of 1 and of 8 where the grid takes them."""
    position = "before" if hasattr(model, "embed_patches") else "after"
    for strategy in ("replace",) if layout.whole_grid else ("replace", "drop"):
        masked = masked_model(model, strategy=strategy, image_size=size, position=position)
        for unit in sorted({masked.unit, 8}):
            if not any(side % unit for side in layout.streams[0].grid):
                masked.unit = unit
                yield masked


DOCS = (Path(generated.__file__).parents[1] / "docs" / "masking.md").read_text(encoding="utf-8")
SEES = {
    name: told
    for told, names in re.findall(r"^\| (\w+(?:, batch norm)?) \| (`.*) \|$", DOCS, re.MULTILINE)
    for name in re.findall(r"`(\w+)`", names)
}


@pytest.mark.parametrize("name", QUICK_NAMES)
def test_pixels_under_the_mask_reach_no_stage(name):
    model = build(name)
    layout, size = smallest(model)
    if PACKAGE.timm_version == RECORDED:
        told = f"{'all' if layout.sees == max(size) else layout.sees}{', batch norm' if layout.batch_norm else ''}"
        assert told == SEES[class_of(name)]
    for masked in masked_in_each_way(model, size, layout):
        assert not leaks(masked)
        assert not leaks(masked, training=True)


# Stems that overlap, that are convolutional, that have squeeze-and-excitation, and whose inner tokens overlap
LEAKING = ["pvt_v2_b0", "hiera_tiny_224", "xcit_nano_12_p8_224", "gcvit_xxtiny", "tnt_s_legacy_patch16_224"]


@pytest.mark.parametrize("name", LEAKING)
def test_they_would_if_they_were_not_hidden(name):
    model = build(name)
    position = "before" if hasattr(model, "embed_patches") else "after"
    assert leaks(masked_model(model, leak="allow", position=position))
    assert not leaks(masked_model(model, position=position))


def test_batch_norm_of_a_stem_mixes_places_in_training_alone():
    model = build("inception_next_atto")
    allowing = masked_model(model, leak="allow", image_size=(64, 64))
    assert (allowing.layout.sees, allowing.layout.batch_norm) == (0, True)
    assert not leaks(allowing)
    assert leaks(allowing, training=True)


class NormOfOnesOwn(nn.Module):
    """A batch norm that no name and no buffer tells."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("m", torch.zeros(dim))
        self.register_buffer("v", torch.ones(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.batch_norm(x, self.m, self.v, training=self.training)


def test_so_does_one_that_is_a_function():
    model = Stem(nn.Sequential(patches(), NormOfOnesOwn(8), nn.Dropout(0.5)))
    before = {name: x.clone() for name, x in model.state_dict().items()}
    layout = token_layout(model)
    assert (layout.sees, layout.batch_norm, layout.leaks) == (0, True, True)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[name], x) for name, x in model.state_dict().items())


@pytest.mark.parametrize("size", [(64, 64), (12, 20), (9, 9), (33, 47), (35, 70), (36, 27)])
def test_the_pixels_of_patches_that_are_padded_at_the_end(size):
    torch.manual_seed(0)
    options = {"img_size": 64, "patch_size": 8, "embed_dim": 32, "depth": 1, "num_heads": 2, "dynamic_img_size": True}
    model = generated.create_model("vit_tiny_patch16_224", **options, dynamic_img_pad=True).eval()
    layout, images = token_layout(model), torch.randn(1, 3, *size, requires_grad=True)
    embedding = model.embed(images)
    mask = random_mask(1, layout.grid_of(embedding, size), 0.5, generator=seeded())
    (seen,) = torch.autograd.grad(layout.patches(embedding)[mask].square().sum(), images)
    assert torch.equal(layout.streams[0].pixels(mask, size), seen.any(1, keepdim=True))


@pytest.mark.parametrize("size", [(64, 64), (75, 129), (33, 80)])
def test_the_pixels_of_patches_that_are_not_padded(size):
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3))
    layout, images = token_layout(Stem(stem)), torch.zeros(1, 3, *size)
    height, width = stem(images).shape[2:]
    for patch in (0, width - 1, width, height * width - 1):
        mask = torch.arange(height * width).eq(patch)[None]
        hidden = hide(images + 1, mask, layout)
        rows, columns = (hidden == 0)[0, 0].nonzero().float().mean(0).tolist()
        assert abs(rows - (patch // width * 2 + 3)) <= 4  # the middle of the 7 x 7 pixels that it sees
        assert abs(columns - (patch % width * 2 + 3)) <= 4


@pytest.mark.parametrize("noise", [nn.Dropout(0.5), nn.Dropout2d(0.5), nn.GELU()])
def test_dropout_in_training_is_no_leak(noise):
    assert not token_layout(Stem(nn.Sequential(patches(), noise))).leaks


class Stem(nn.Module):
    """A model around a stem, split by hand."""

    def __init__(self, stem: nn.Module) -> None:
        super().__init__()
        self.stem = stem
        self.default_cfg = {"input_size": (3, 64, 64)}

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return self.stem(images)

    def forward_stages(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens


def patches(channels: int = 3) -> nn.Module:
    return nn.Conv2d(channels, 8, 8, 8)


class Resized(nn.Module):
    """Brings any image to 64 x 64 pixels first: patches of others are of another size, and mix their pixels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.interpolate(x, (64, 64), mode="bilinear")


def test_patches_of_images_that_are_resized_are_not_those_of_others():
    model = Stem(nn.Sequential(Resized(), patches()))
    layout = token_layout(model)
    assert layout.sees == 0
    with pytest.raises(ValueError, match=r"of images of 100 x 64 pixels tokens see other pixels.*image_size"):
        layout.grid_of(model.embed(torch.zeros(1, 3, 100, 64)), (100, 64))
    assert token_layout(model, (100, 64)).sees > 0


class ToWholePatches(nn.Module):
    """Resizes images to the next multiple of a patch, and leaves alone what is one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.interpolate(x, [-(-side // 8) * 8 for side in x.shape[2:]], mode="bilinear")


@pytest.mark.parametrize(("resize", "sizes"), [(ToWholePatches(), "whole"), (Resized(), "one")])
@pytest.mark.parametrize("flat", [nn.Identity(), nn.Flatten(2)])
def test_what_is_not_resized_tells_nothing_of_what_is(resize, sizes, flat):
    """As many patches as there would be without: 8 x 8 of 60 x 60 pixels, 16 x 4 of 128 x 32."""

    class Sequence(Stem):
        def embed(self, images: torch.Tensor) -> torch.Tensor:
            x = flat(super().embed(images))
            return x.mT if x.ndim == 3 else x

    model = Sequence(nn.Sequential(resize, patches())).eval()
    layout = token_layout(model)
    assert (layout.sees, layout.sizes) == (0, sizes)
    for size in ((60, 60), (128, 32))[: 2 if sizes == "one" else 1]:
        mask = torch.zeros(1, 64, dtype=torch.bool)
        with pytest.raises(ValueError, match="as if they were resized: find the layout for them"):
            hide(torch.rand(1, 3, *size), mask, layout)
        with pytest.raises(ValueError, match="as if they were resized: find the layout for them"):
            layout.grid_of(model.embed(torch.rand(1, 3, *size)), size)
    assert token_layout(model, (60, 60)).sees > 0


class Sometimes(nn.Module):
    """Blurs a few batches in training, by the random numbers of torch, of numpy or of Python."""

    def __init__(self, draw: Callable[[], float]) -> None:
        super().__init__()
        self.draw = draw

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rare = self.training and self.draw() < 0.01
        return nn.functional.avg_pool2d(x, 3, 1, 1) if rare else x


@pytest.mark.parametrize("draw", [lambda: float(torch.rand(())), numpy.random.rand, random.random])
def test_what_a_stem_may_draw_in_training_is_hidden_from(draw):
    torch.manual_seed(1)
    layout = token_layout(Stem(nn.Sequential(Sometimes(draw), patches())))
    assert (layout.sees, layout.leaks) == (0, True)


def test_dropout_draws_for_each_token_by_itself():
    stem = nn.Sequential(patches(), nn.Dropout(0.5), DropPath(0.5), nn.Dropout2d(0.5))
    assert not token_layout(Stem(stem)).leaks


@pytest.mark.parametrize("stem", [patches(), nn.Sequential(nn.ZeroPad2d((0, 7, 0, 7)), patches())])
def test_images_that_are_padded_or_cut_are_of_any_size(stem):
    assert token_layout(Stem(stem).eval()).sizes == "any"


# How far tokens see


class Global(nn.Module):
    """A gate for all places, as of squeeze-and-excitation."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * nn.functional.hardsigmoid(x.mean((2, 3), keepdim=True))


class Residual(nn.Module):
    """What a branch adds, whose weights are zero before training."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.branch = nn.Conv2d(dim, dim, 3, padding=1)
        nn.init.zeros_(self.branch.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.branch(x)


class Shifted(nn.Module):
    """Takes from a neighbour what no NaN shows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + (x.roll((0, 1), (2, 3)) > 0)


@pytest.mark.parametrize(
    ("stem", "sees"),
    [
        (patches(), 0),
        (nn.Sequential(nn.Conv2d(3, 8, 1), patches(8)), 0),
        (nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.GELU(), nn.Conv2d(8, 8, 2, 2)), 0),
        (nn.Sequential(nn.AvgPool2d(8), nn.Conv2d(3, 8, 1)), 0),
        (nn.Conv2d(3, 8, 16, 8, padding=4), 4),
        (nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(8, 8, 2, 2)), 3),
        (nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), patches(8)), 1),
        (nn.Conv2d(3, 8, 8, 8, dilation=2, padding=4), 4),
        (nn.Sequential(patches(), Residual(8)), 8),
        (nn.Sequential(patches(), nn.GroupNorm(1, 8)), 64),
        (nn.Sequential(patches(), nn.InstanceNorm2d(8)), 64),
        (nn.Sequential(patches(), Global()), 64),
        (nn.Sequential(patches(), Shifted()), 8),
        (nn.Sequential(patches(), nn.Upsample(scale_factor=2, mode="bilinear"), nn.AvgPool2d(2)), 8),
    ],
    ids=lambda value: "" if isinstance(value, nn.Module) else str(value),
)
def test_how_far_a_token_sees_is_found_by_trying(stem, sees):
    torch.manual_seed(0)
    assert token_layout(Stem(stem).eval()).sees == sees


class Faint(nn.Module):
    """Passes on next to nothing of the places around, and no NaN: before training, or all the time."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.mix = nn.Conv2d(8, 8, 3, padding=1)
        self.scale = nn.Parameter(torch.full((8, 1, 1), scale))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.scale * self.mix(x).nan_to_num() if bool(self.scale.any()) else x


@pytest.mark.parametrize("scale", [0.0, 1e-5])
def test_what_hardly_reaches_another_patch_is_seen(scale):
    torch.manual_seed(0)
    assert token_layout(Stem(nn.Sequential(patches(), Faint(scale))).eval()).sees == 8


class Beside(Stem):
    """Gives the stages more than tokens that see their own patch alone."""

    def __init__(self, more: Any) -> None:
        super().__init__(patches())
        self.more = more

    def embed(self, images: torch.Tensor) -> Any:
        return WithMore(super().embed(images), self.more(images))


class WithMore(NamedTuple):
    x: torch.Tensor
    more: Any


@dataclass
class Held:
    images: torch.Tensor


MORE = {
    "nothing": (lambda x: None, False),
    "its size": (lambda x: [x.shape[-2:], x.dtype, 3, "NCHW"], False),
    "positions": (lambda x: torch.arange(64), False),
    "numbers": (lambda x: x.mean(1), True),
    "whole numbers": (lambda x: x.flatten(1).argsort(1), True),
    "yes and no": (lambda x: x > 0, True),
    "complex numbers": (lambda x: torch.fft.fft(x), True),
    "one number": (lambda x: float(x.mean()), True),
    "as many as are bright": (lambda x: x[x > 1], True),
    "in a dictionary": (lambda x: {"a": [{"b": x}]}, True),
    "in a dataclass": (Held, True),
    "in an object": (lambda x: SimpleNamespace(images=x), True),
    "in a function": (lambda x: lambda: x, True),
}


@pytest.mark.parametrize("kind", MORE)
def test_whatever_the_stages_get_besides_tokens_may_tell_of_pixels(kind):
    more, tells = MORE[kind]
    assert token_layout(Beside(more).eval()).leaks == tells


def test_tokens_finer_than_pixels_are_no_patches():
    with pytest.raises(TypeError, match="is no grid of patches"):
        token_layout(Stem(nn.ConvTranspose2d(3, 8, 2, 2)).eval(), (8, 8))


class Normed(nn.Module):
    """Normalises each patch, and puts its pixels into channels: more than its convolution has of images."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pixels = nn.functional.unfold(x, 8, stride=8)
        return nn.functional.normalize(pixels, dim=1).unflatten(2, (8, 8))


def test_a_stem_may_rearrange_pixels_before_its_convolution():
    stem = nn.Sequential(Normed(), nn.Conv2d(192, 8, 1))
    assert token_layout(Stem(stem).eval()).sees == 0


@pytest.mark.parametrize(
    ("padding", "size", "grid"), [(0, (64, 70), (8, 8)), (0, (60, 64), (7, 8)), (7, (60, 70), (8, 9))]
)
def test_patches_are_whole_where_images_are_not(padding, size, grid):
    stem = nn.Sequential(nn.ZeroPad2d((0, padding, 0, padding)), nn.Conv2d(3, 8, 8, 8))
    layout = token_layout(Stem(stem).eval(), size)
    (stream,) = layout.streams
    assert (stream.grid, stream.stride, layout.sees) == (grid, (8, 8), 0)


@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_lets_a_token_see_no_further(autocast):
    """The kernels of some processors multiply pixels beside a patch by zero, which a NaN shows and no number does."""
    model = build("test_vit")
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        assert token_layout(model if autocast else model.bfloat16()).sees == 0


def test_on_the_meta_device_a_token_is_taken_to_see_everything():
    with torch.device("meta"):
        model = generated.create_model("test_vit")
    assert token_layout(model).sees == 160


# Hiding by hand


def test_only_pixels_under_the_mask_are_erased():
    layout = token_layout(build("pvt_v2_b0"), (64, 64))
    images, mask = torch.rand(2, 3, 64, 64) + 1, random_mask(2, (16, 16), 0.5, unit=4)
    hidden = hide(images, mask, layout)
    blocks = mask.view(2, 1, 16, 1, 16, 1).expand(2, 3, 16, 4, 16, 4).reshape(2, 3, 64, 64)
    assert torch.equal(hidden == 0, blocks)
    assert torch.equal(hidden[~blocks], images[~blocks])


@pytest.mark.parametrize("fill", [0.0, -2.5, "mean", "noise"])
def test_what_is_filled_in_knows_nothing_of_what_was_there(fill):
    layout = token_layout(build("pvt_v2_b0"), (64, 64))
    images, mask = torch.rand(2, 3, 64, 64), random_mask(2, (16, 16), 0.5)
    other = torch.where(layout.streams[0].pixels(mask, (64, 64)), 100.0, images)
    first, second = (hide(x, mask, layout, fill, generator=seeded()) for x in (images, other))
    assert torch.equal(first, second)


def test_the_mean_is_of_the_visible_pixels_of_each_image_and_channel():
    layout = token_layout(build("pvt_v2_b0"), (64, 64))
    images = torch.arange(6.0).view(2, 3, 1, 1).expand(2, 3, 64, 64)
    assert torch.allclose(hide(images, random_mask(2, (16, 16), 0.5), layout, "mean"), images)
    everything = torch.ones(2, 256, dtype=torch.bool)
    assert not hide(images, everything, layout, "mean").any()


def test_where_tokens_see_their_own_patch_alone_nothing_is_done():
    layout = token_layout(build("test_vit"))
    images = torch.rand(2, 3, 160, 160)
    assert hide(images, random_mask(2, (10, 10), 0.5), layout) is images


@pytest.mark.parametrize(
    ("mask", "fill", "error", "message"),
    [
        (torch.zeros(2, 256), 0.0, TypeError, "torch.bool"),
        (torch.zeros(2, 255, dtype=torch.bool), 0.0, ValueError, r"\(2, 255\), and there are \(2, 256\)"),
        (torch.zeros(2, 256, dtype=torch.bool), "median", ValueError, "fill is 'median'"),
        (torch.zeros(2, 256, dtype=torch.bool), torch.zeros(3), TypeError, "fill is a Tensor: it must be a number"),
        (torch.zeros(2, 256, dtype=torch.bool), None, TypeError, "fill is a NoneType: it must be a number"),
    ],
)
def test_what_cannot_be_hidden_is_refused(mask, fill, error, message):
    layout = token_layout(build("pvt_v2_b0"), (64, 64))
    with pytest.raises(error, match=message):
        hide(torch.rand(2, 3, 64, 64), mask, layout, fill)


@pytest.mark.parametrize("size", [(64, 96), (60, 52), (57, 71)])
def test_images_of_another_size_are_hidden_in_their_patches(size):
    masked = masked_model(build("pvt_v2_b0"), image_size=(64, 64), position="after")
    mask = masked(torch.rand(2, 3, *size), generator=seeded()).mask
    under = masked.layout.streams[0].pixels(mask, size)
    images = torch.rand(2, 3, *size)
    other = torch.where(under, 9.0, images)
    first, second = (given_to_stages(masked, x, mask) for x in (images, other))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


# The cost


class Operations(TorchDispatchMode):
    """Notes each operation."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("strategy", ["replace", "drop"])
def test_a_vit_costs_no_operation_more(strategy):
    model, images, mask = build("test_vit"), torch.rand(2, 3, 160, 160), random_mask(2, (10, 10), 0.5)
    counted = []
    for leak in ("hide", "allow"):
        masked = masked_model(model, strategy=strategy, leak=leak)
        with Operations() as operations:
            masked(images, mask, count=50)
        counted.append(operations.names)
    assert counted[0] == counted[1]
