"""Intermediate features under a mask: those of the whole pass, with the features of the plain call."""

import functools

import pytest
import torch
from names import DROPPING, NAMES, PACKAGE, TAPPED, class_of
from test_features import hiera
from test_leak import size_for
from test_tokens import build
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

import generated
from generated.masking import MaskedImageModel, MaskedIntermediates, MaskedOutput, WholeGridError, feature_layout

QUICK = {"VisionTransformer", "Eva", "ConvNeXt"}
# timm's method runs no block behind the last one that is asked for
STOPPING = {"HieraDet"}
SPARSE = {"convnext_atto"}
IMAGES = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))


def masked(name: str = "test_vit", **options: object) -> MaskedImageModel:
    torch.manual_seed(0)
    model = generated.create_model(name, num_classes=0)
    return MaskedImageModel(model, image_size=tuple(IMAGES.shape[2:]), **options).eval()


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def equal(one: object, other: object) -> bool:
    pairs = zip(pytree.tree_leaves(one), pytree.tree_leaves(other), strict=True)
    return all(a is b is None or torch.equal(a, b) for a, b in pairs)


def strategies(name: str, model: nn.Module, size: tuple[int, int]) -> list[MaskedImageModel]:
    """A masked model of each strategy that a model has; how CNNs are sparse is tested on one of them."""
    position = "before" if hasattr(model, "embed_patches") else "after"
    named = ["replace", *(["drop"] if class_of(name) in DROPPING else []), *(["sparse"] if name in SPARSE else [])]
    return [MaskedImageModel(model, strategy=each, image_size=size, position=position) for each in named]


@pytest.mark.parametrize(
    "name", [n if class_of(n) in QUICK else pytest.param(n, marks=pytest.mark.exhaustive) for n in NAMES]
)
@torch.no_grad()
def test_features_are_those_of_the_plain_call(name):
    """In training as well: with dropout, stochastic depth and batch norm, from one seed."""
    model = build(name)
    size = size_for(model)
    images = torch.randn(2, getattr(model, "in_chans", 3), *size, generator=seeded())
    for encoder in strategies(name, model, size):
        if PACKAGE.classes[name] not in TAPPED:
            with pytest.raises(TypeError, match="gives no intermediate features: "):
                encoder(images, intermediates=1)
            continue
        for module in encoder.modules():  # dropouts that are there, and do nothing
            if isinstance(module, nn.Dropout) and module.p == 0:
                module.p = 0.1
        mask = encoder(images, generator=seeded()).mask
        for training in (False, True):
            encoder.train(training)
            state = {key: value.clone() for key, value in encoder.state_dict().items()}
            torch.manual_seed(0)
            plain = encoder(images, mask)
            for indices in (1, [0, -1] if class_of(name) in STOPPING else [0]):
                encoder.load_state_dict(state)  # running statistics
                torch.manual_seed(0)
                result = encoder(images, mask, intermediates=indices)
                assert equal(plain.features, result.features)


@torch.no_grad()
def test_the_plain_call_is_as_it_was():
    encoder = masked()
    assert type(encoder(IMAGES)) is MaskedOutput
    features, mask, restore, intermediates = encoder(IMAGES, intermediates=[0, -1], generator=seeded())
    assert type(encoder(IMAGES, intermediates=2)) is MaskedIntermediates
    assert equal(encoder(IMAGES, mask).features, features)
    assert restore is None
    assert [x.shape for x in intermediates] == [(2, 64, 10, 10)] * 2


@pytest.mark.parametrize("strategy", ["sparse", "replace"])
@torch.no_grad()
def test_all_but_what_the_stem_makes_on_its_way(strategy):
    encoder = masked("resnet18", strategy=strategy)
    features, mask, _, intermediates = encoder(IMAGES, intermediates=[1, 2, 3, 4], generator=seeded())
    assert equal(encoder(IMAGES, mask).features, features)
    assert [x.shape[1] for x in intermediates] == [info["num_chs"] for info in encoder.backbone.feature_info[1:]]
    assert equal(encoder(IMAGES, mask, intermediates=[2]).intermediates, intermediates[1:2])
    with pytest.raises(ValueError, match="feature 0 is made inside the stem"):
        encoder(IMAGES, intermediates=[0, 1])
    if strategy == "sparse":
        assert all(bool((x == 0).any()) for x in intermediates)


@pytest.mark.parametrize("name", ["test_vit", "test_vit3", "eva02_tiny_patch14_224"])
@torch.no_grad()
def test_of_dropped_patches_those_that_are_visible_are_given(name):
    """They are what the blocks give, and ``restore`` puts them in the order of the grid as it does features."""
    model = build(name, num_classes=0, img_size=112)  # 14 x 14 pixels are a patch of Eva's
    encoder = MaskedImageModel(model, strategy="drop", mask_ratio=0.75).eval()
    outputs: list[torch.Tensor] = []
    for block in encoder.backbone.blocks:
        block.register_forward_hook(lambda module, args, output: outputs.append(output))
    features, mask, _, intermediates = encoder(IMAGES[..., :112, :112], intermediates=[0, 1], generator=seeded())
    prefix = encoder.backbone.num_prefix_tokens
    assert equal(intermediates, [x[:, prefix:] for x in outputs[:2]])
    assert intermediates[0].shape[:2] == (2, int((~mask[0]).sum()))
    assert features.shape[1] == intermediates[0].shape[1] + prefix


@torch.no_grad()
def test_a_map_is_zero_where_it_is_masked_at_each_stage():
    encoder = masked("convnext_atto", strategy="sparse")
    _, mask, _, intermediates = encoder(IMAGES, intermediates=4, generator=seeded())
    for index, x in enumerate(intermediates):
        layout = feature_layout(encoder.backbone, (160, 160), intermediate=index)
        assert layout.grid == x.shape[2:]
        hidden = layout.pool(mask).view(2, 1, *layout.grid).expand_as(x)
        assert hidden.any()
        assert not x[hidden].any()
        assert x[~hidden].all()


@torch.no_grad()
def test_masks_of_attention_go_along():
    encoder = masked("test_vit")
    mask = encoder(IMAGES, generator=seeded()).mask
    causal = torch.ones(101, 101, dtype=torch.bool).tril()
    plain, other = encoder(IMAGES, mask), encoder(IMAGES, mask, attn_mask=causal)
    assert not equal(plain.features, other.features)
    assert equal(other.features, encoder(IMAGES, mask, attn_mask=causal, intermediates=1).features)


@torch.no_grad()
def test_timms_keyword_arguments_are_taken():
    encoder = masked("test_vit")
    mask = encoder(IMAGES, generator=seeded()).mask
    ((patches, prefix),) = encoder(
        IMAGES, mask, intermediates=1, output_fmt="NLC", norm=True, return_prefix_tokens=True
    ).intermediates
    assert equal(torch.cat([prefix, patches], dim=1), encoder(IMAGES, mask).features)


@torch.no_grad()
def test_a_map_of_visible_patches_is_refused():
    encoder = masked("test_vit", strategy="drop")
    with pytest.raises(ValueError, match="those that are visible are no map: output_fmt='NLC'"):
        encoder(IMAGES, intermediates=1, output_fmt="NCHW")
    assert encoder(IMAGES, intermediates=1, output_fmt="NLC").intermediates[0].ndim == 3


@pytest.mark.parametrize("name", ["stop_early", "intermediates_only", "output_dict", "indices"])
def test_arguments_that_would_leave_no_features_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} is not taken with intermediates"):
        masked()(IMAGES, intermediates=1, **{name: True})


def test_a_class_that_stops_early_must_be_asked_for_the_last():
    encoder = MaskedImageModel(build("hieradet_small"), image_size=(64, 64)).eval()
    images = IMAGES[..., :64, :64]
    with pytest.raises(ValueError, match=r"ask for the last as well, intermediates=\[0, -1\]"):
        encoder(images, intermediates=[0])
    mask = encoder(images).mask
    _, _, _, intermediates = result = encoder(images, mask, intermediates=[0, -1])
    assert len(intermediates) == 2
    assert torch.equal(result.features, encoder(images, mask).features)
    assert equal(result.features, encoder(images, mask, intermediates=[0, 3]).features)  # the last by its number


def test_a_class_without_them_says_which_line_is_in_the_way():
    encoder = MaskedImageModel(hiera(2), image_size=(64, 64))
    with pytest.raises(
        TypeError, match=r"Split gives no intermediate features: .*\(timm/models/hiera.py:\d+\); without"
    ):
        encoder(IMAGES[..., :64, :64], intermediates=1)
    with pytest.raises(TypeError, match=r"gives no intermediate features: .*hiera.py"):
        feature_layout(encoder.backbone, (64, 64), intermediate=1)


OPTIONS = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 0}


class Own(VisionTransformer):
    def forward_intermediates(self, x, **keywords):
        return super().forward_intermediates(self.norm_pre(x), **keywords)


Split = type(generated.split(VisionTransformer(**OPTIONS)))


class Ends(Split):
    @functools.wraps(Split.forward_stages_intermediates)
    def forward_stages_intermediates(self, *args, **keywords):
        features, taken = super().forward_stages_intermediates(*args, **keywords)
        return features + 1, taken


class Fails(Ends):
    def forward_stages_intermediates(self, *args, **keywords):
        raise RuntimeError("not today")


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (Own, "has its own forward_intermediates"),
        (Ends, "ends with other features than forward_stages"),
        (Fails, "fails .RuntimeError: not today."),
    ],
)
def test_other_features_than_those_of_the_plain_call_are_refused(cls, message):
    encoder = MaskedImageModel(generated.split(cls(**OPTIONS)))
    images = IMAGES[..., :32, :32]
    encoder(images)
    with pytest.raises(TypeError, match=message):
        encoder(images, intermediates=1)


@torch.no_grad()
def test_it_compiles_in_one_graph():
    for strategy in ("replace", "drop"):
        encoder = masked(strategy=strategy)
        mask = encoder(IMAGES, generator=seeded()).mask
        count = int(mask[0].sum())

        def run(images, encoder=encoder, mask=mask, count=count):
            return encoder(images, mask, count=count, intermediates=[0, 1])

        assert equal(torch.compile(run, backend="eager", fullgraph=True)(IMAGES), run(IMAGES))


def test_gradients_reach_every_parameter_through_them():
    encoder = masked(strategy="drop").train()
    sum(x.square().mean() for x in encoder(IMAGES, intermediates=2).intermediates).backward()
    assert encoder.backbone.blocks[0].attn.qkv.weight.grad is not None


@torch.no_grad()
def test_targets_of_data2vec_are_taken_under_a_mask():
    """Baevski et al., data2vec, section 3.3: the mean of the normalised outputs of the top K blocks."""
    encoder = masked()
    _, mask, _, top = encoder(IMAGES, intermediates=3, output_fmt="NLC")
    targets = torch.stack([F.layer_norm(x, x.shape[-1:]) for x in top]).mean(0)
    assert targets.shape == (*mask.shape, 64)


@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_each_intermediate_feature_is_where_its_layout_says(index):
    model = build("test_convnext2")
    layout = feature_layout(model, (160, 160), intermediate=index)
    with torch.no_grad():
        _, (x,) = model.forward_stages_intermediates(model.embed(IMAGES), indices=[index])
    assert layout.grid == x.shape[2:]
    assert torch.equal(layout.image(x), x)


def test_patches_that_cannot_be_dropped_are_not_for_intermediates_either():
    with pytest.raises(WholeGridError):
        masked("test_convnext", strategy="drop")
