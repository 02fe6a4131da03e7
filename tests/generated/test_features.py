"""Features are where their layout says: each depends most on the pixels of its own place.

Which pixels a feature depends on is asked of autograd, not of what the layout itself tries.
"""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from names import NAMES, class_of
from test_tokens import build, smallest
from torch import nn

import generated
from generated.masking import FeatureLayout, MaskedImageModel, feature_layout, hide

QUICK = {"Eva", "PyramidVisionTransformerV2"}
# Before training no feature of theirs shows a place, and none is claimed
BLURRED = {
    *("CPUBone", "CoaT", "ConvMixer", "EfficientViM", "EfficientViMDistilled", "Levit", "LevitDistilled", "LowFormer"),
    *("MobileNetV5", "MobileNetV5Encoder", "MultiScaleVit", "TinyVit"),
}
# Their layout is found by redrawing patches. A gradient does not show it before training: it is largest elsewhere
WIDE = {"EfficientFormer", "XceptionAligned", "Xcit"}
# A stem of 4 x 4 pixels, units of 4 x 4 patches, which are pooled twice at most
HIERA = {"embed_dim": 16, "num_heads": 1, "stages": (1, 1, 1), "mask_unit_size": (4, 4), "mask_unit_attn": (True,) * 3}


def own_share(
    model: nn.Module, layout: FeatureLayout, size: tuple[int, int], tried: int = 64, draws: int = 4, away: int = 0
) -> float:
    """The share of places whose feature depends most on the pixels of its place, by gradient, in float64.

    Or on those of a place that is as far ``away``, in rows and columns.
    """
    model, (rows, columns) = model.double(), layout.grid
    generator = torch.Generator().manual_seed(5)
    count = rows * columns
    places = torch.randperm(count, generator=generator)[:tried].tolist()
    energy = torch.zeros(len(places), count, dtype=torch.float64)
    channels = getattr(model, "in_chans", 3)
    for _ in range(draws):  # each sees the features through one kernel
        images = torch.randn(1, channels, *size, generator=generator, dtype=torch.float64).requires_grad_()
        features = layout.patches(model.forward_stages(model.embed(images)))
        assert features.shape[:2] == (1, count)
        weights = torch.randn(features.shape[-1], generator=generator, dtype=torch.float64)
        for row, place in enumerate(places):
            (gradient,) = torch.autograd.grad((features[0, place] * weights).sum(), images, retain_graph=True)
            pixels = gradient[0].square().sum(0, keepdim=True)
            energy[row] += nn.functional.adaptive_avg_pool2d(pixels[None], (rows, columns)).flatten()
    found = energy.argmax(dim=1).tolist()
    return sum(
        max(abs(a // columns - b // columns), abs(a % columns - b % columns)) <= away
        for a, b in zip(found, places, strict=True)
    ) / len(places)


def hiera(q_pool: int, size: tuple[int, int] = (64, 64)) -> nn.Module:
    torch.manual_seed(0)
    options = HIERA | {"q_pool": q_pool, "img_size": size, "num_classes": 0}
    return generated.create_model("hiera_tiny_224", **options).eval()


@pytest.mark.parametrize("size", [(64, 64), (32, 96)])
@pytest.mark.parametrize(("q_pool", "indexed"), [(1, True), (2, False)])  # places of patches: the next test
def test_the_features_of_a_hiera_are_in_the_order_of_its_units(q_pool, indexed, size):
    model = hiera(q_pool, size)
    layout = feature_layout(model, size)
    side = 4 * 2**q_pool
    assert layout.grid == (size[0] // side, size[1] // side)
    assert (layout.index is not None) == indexed
    assert own_share(model, layout, size) >= 0.99


@pytest.mark.parametrize("size", [(64, 64), (32, 96)])
@pytest.mark.parametrize("q_pool", [0, 3])
def test_each_feature_of_a_hiera_of_four_stages_is_strictly_in_its_place(q_pool, size):
    """Units of 8 x 8 patches, which are not pooled at all, or to one feature each."""
    torch.manual_seed(0)
    options = HIERA | {"stages": (1,) * 4, "mask_unit_size": (8, 8), "mask_unit_attn": (True,) * 4, "q_pool": q_pool}
    model = generated.create_model("hiera_tiny_224", **options, img_size=size, num_classes=0).eval()
    layout = feature_layout(model, size)
    assert layout.grid == (size[0] // 4 // 2**q_pool, size[1] // 4 // 2**q_pool)
    assert own_share(model, layout, size, draws=12) >= 0.99


@pytest.mark.parametrize("q_pool", [0, 1, 2])
def test_an_image_of_features_is_what_timm_rerolls(q_pool):
    model = hiera(q_pool)
    with torch.no_grad():
        features, stages = model.forward_features(torch.randn(2, 3, 64, 64), return_intermediates=True)
    assert torch.equal(feature_layout(model, (64, 64)).image(features), stages[-1].permute(0, 3, 1, 2))


@pytest.mark.parametrize("q_pool", [0, 1, 2])
def test_features_of_visible_units_are_put_in_the_order_of_the_grid(q_pool):
    model = hiera(q_pool)
    masked = MaskedImageModel(model, mask_ratio=0.5, strategy="drop", final_norm=False, image_size=(64, 64))
    masked.eval()
    layout, images = feature_layout(model, (64, 64)), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features, mask, restore = masked(images, generator=torch.Generator().manual_seed(1))
        # where units see no other units, that those are not there changes nothing
        whole = layout.patches(model.forward_features(hide(images, mask, masked.layout)))
    hidden = layout.pool(mask)
    assert int(hidden.sum()) * 2 == hidden.numel()
    x = torch.cat([features, features.new_zeros(2, hidden.shape[1] - features.shape[1], features.shape[2])], dim=1)
    x = x.gather(1, restore.unsqueeze(-1).expand_as(x))
    assert torch.allclose(x, whole.masked_fill(hidden.unsqueeze(-1), 0.0), atol=1e-5)


def small_layout(model: nn.Module, size: tuple[int, int]) -> FeatureLayout:
    try:
        return feature_layout(model, size)
    except ValueError:  # its stages take none that are so small
        return feature_layout(model)


@pytest.mark.parametrize(
    "name",
    [n if class_of(n) in QUICK else pytest.param(n, marks=pytest.mark.exhaustive) for n in NAMES],
)
def test_each_feature_depends_most_on_its_own_pixels(name):
    model = build(name)
    _, size = smallest(model)
    if class_of(name) in BLURRED:
        with pytest.raises(TypeError, match="none depends most on a patch of its own"):
            small_layout(model, size)
        return
    layout = small_layout(model, size)
    if class_of(name) in WIDE:  # by row, as their code has them
        assert layout.index is None
        assert layout.grid == layout.stream.grid
        return
    away = int(layout.stream.order != "NLC")  # convolutions with a stride may be centred between two places
    assert own_share(model, layout, layout.stream.image_size, tried=10, draws=1, away=away) >= 0.99


# Orders that are no model's of timm


class Tokens(nn.Module):
    """A stem of 8 x 8 pixels and one block; what its stages give is in an order of its own."""

    def __init__(self, give: Any, size: tuple[int, int] = (32, 32)) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.proj = nn.Conv2d(3, 8, 8, 8)
        self.block = nn.Linear(8, 8)
        self.give = give
        self.default_cfg = {"input_size": (3, *size)}

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)

    def forward_stages(self, tokens: torch.Tensor) -> Any:
        x = tokens + self.block(tokens) + 0.1 * tokens.mean(1, keepdim=True)
        return self.give(x)


@dataclass
class Output:
    """As models of transformers return them."""

    pooled: torch.Tensor
    hidden: torch.Tensor


def windows(x: torch.Tensor) -> torch.Tensor:
    """4 x 4 patches as four windows of 2 x 2."""
    return x.view(len(x), 2, 2, 2, 2, -1).transpose(2, 3).flatten(1, 4)


def registers(x: torch.Tensor, first: int, middle: int, last: int) -> torch.Tensor:
    """More tokens, before, between and after patches."""
    mean = x.mean(1, keepdim=True)
    more = [mean.expand(-1, n, -1) for n in (first, middle, last)]
    return torch.cat([more[0], x[:, :7], more[1], x[:, 7:], more[2]], dim=1)


def merged(x: torch.Tensor) -> torch.Tensor:
    """Patches of 2 x 2 made one, in columns."""
    return x.view(len(x), 2, 2, 2, 2, -1).mean((2, 4)).transpose(1, 2).flatten(1, 2)


ORDERS = {
    "row by row": lambda x: x,
    "reversed": lambda x: x.flip(1),
    "pairs swapped": lambda x: x.unflatten(1, (8, 2)).flip(2).flatten(1, 2),
    "columns": lambda x: x.unflatten(1, (4, 4)).transpose(1, 2).flatten(1, 2),
    "windows": windows,
    "shuffled": lambda x: x[:, torch.randperm(16, generator=torch.Generator().manual_seed(0))],
    "prefix": lambda x: registers(x, 3, 0, 0),
    "suffix": lambda x: registers(x, 0, 0, 2),
    "registers in the middle": lambda x: registers(x, 1, 4, 1),
    "as many registers as patches": lambda x: registers(x, 0, 0, 16),
    "merged": merged,
    "NCHW": lambda x: x.transpose(1, 2).unflatten(2, (4, 4)),
    "NHWC": lambda x: x.unflatten(1, (4, 4)),
    "dict": lambda x: {"cls": x.mean(1), "patch_tokens": windows(x)},
    "tuple": lambda x: (x.mean(1), registers(x, 1, 0, 0)),
    "dataclass": lambda x: Output(pooled=x.mean(1), hidden=x),
    "nested": lambda x: {"all": [None, {"x": x}], "n": 3},
}


@pytest.mark.parametrize("order", ORDERS)
def test_any_order_is_found(order):
    model = Tokens(ORDERS[order]).eval()
    layout = feature_layout(model)
    assert layout.grid == ((2, 2) if order == "merged" else (4, 4))
    assert own_share(model, layout, (32, 32)) == 1
    features = model.forward_stages(model.embed(torch.randn(2, 3, 32, 32).double()))
    assert torch.equal(layout.image(features).flatten(2).transpose(1, 2), layout.patches(features))


@pytest.mark.parametrize("size", [(16, 64), (8, 8), (24, 40)])
def test_grids_need_not_be_square(size):
    layout = feature_layout(Tokens(lambda x: x.flip(1), size).eval())
    assert layout.grid == (size[0] // 8, size[1] // 8)


@pytest.mark.parametrize(
    ("give", "message"),
    [
        (lambda x: x.mean(1), r"a tensor of shape \(1, 8\)"),
        (lambda x: x.mean(1, keepdim=True).expand(-1, 16, -1), r"a tensor of shape \(1, 16, 8\)"),
        (lambda x: x[:, :13], "are on no grid"),
        (lambda x: "features", "a str"),
        (lambda x: {}, "gives nothing"),
        (lambda x: {"logits": x.mean(1), "loss": 0.5}, r"a tensor of shape \(1, 8\), a float"),
    ],
)
def test_features_on_no_grid_are_refused(give, message):
    with pytest.raises(TypeError, match=message):
        feature_layout(Tokens(give).eval())


def test_features_of_other_images_are_refused():
    layout = feature_layout(Tokens(windows).eval())
    with pytest.raises(ValueError, match=r"9 features, and of images of 32 x 32 pixels there are 16.*image_size"):
        layout.patches(torch.zeros(1, 9, 8))


def test_nothing_is_tried_on_the_meta_device():
    with torch.device("meta"):
        model = generated.create_model("test_vit")
    with pytest.raises(ValueError, match="device meta"):
        feature_layout(model)


def test_a_map_of_one_place_has_it():
    layout = feature_layout(build("convnext_atto"), (32, 32))
    assert layout.grid == (1, 1)
    assert layout.stream.order == "NCHW"


def test_a_fine_grid_is_found():
    """Of 12,544 places: as many random halves as tell a thousand places apart do not."""
    layout = feature_layout(build("efficientnet_b0"), (224, 224), intermediate=0)
    assert layout.grid == (112, 112)
    assert layout.stream.order == "NCHW"


def test_a_map_that_is_pooled_to_one_place_is_no_grid():
    class Pooled(type(generated.create_model("convnext_atto"))):
        def forward_stages(self, x):
            return super().forward_stages(x).mean((2, 3), keepdim=True)

    with pytest.raises(TypeError, match="are on no grid"):
        feature_layout(Pooled(depths=(1, 1, 1, 1), dims=(8, 8, 8, 8)), (64, 64))


@pytest.mark.parametrize("training", [False, True])
def test_gradients_of_patches_are_those_of_the_map(training):
    """For one image on a CPU, torch's batch norm takes a gradient whose dimensions were exchanged for another one."""
    torch.manual_seed(0)
    model = build("resnet18")
    layout, images = feature_layout(model, (64, 64)), torch.randn(1, 3, 64, 64)
    norm = nn.BatchNorm2d(512).train(training)
    weights = torch.randn(1, 4, 512)  # a head's, for each patch
    x = model.forward_stages(model.embed(images)).detach().requires_grad_()
    (expected,) = torch.autograd.grad((norm(x) * weights.mT.unflatten(2, (2, 2)).contiguous()).sum(), x)
    (found,) = torch.autograd.grad((layout.patches(norm(x)) * weights).sum(), x)
    torch.testing.assert_close(found, expected)
