"""A CNN that runs sparsely computes what it would if the masked places had never been there.

The reference knows no masked place: a map is the features of its visible places, (n, C), and where each of them is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from test_tokens import build
from torch import nn
from torch.utils.checkpoint import checkpoint

from generated import SplitModel
from generated.masking import MaskedImageModel, random_mask


@dataclass(frozen=True)
class Sparse:
    """Places of some images: features, (n, C), and the image, row and column of each, (n, 3)."""

    x: torch.Tensor
    at: torch.Tensor

    @classmethod
    def of(cls, images: torch.Tensor, hidden: torch.Tensor) -> Sparse:
        at = (~hidden).nonzero()
        return cls(images[at[:, 0], :, at[:, 1], at[:, 2]], at)

    def dense(self, shape: tuple[int, int, int]) -> torch.Tensor:
        out = self.x.new_zeros(*shape, self.x.shape[1])
        out[tuple(self.at.T)] = self.x
        return out.permute(0, 3, 1, 2)

    def windows(self, kernel: int, stride: int, padding: int):
        """The places of a coarser map that have any visible place under them, and pairs of what is in whose window."""
        places = {tuple(p): n for n, p in enumerate(self.at.tolist())}
        made = sorted({(b, r // stride, c // stride) for b, r, c in places})
        for dy in range(kernel):
            for dx in range(kernel):
                pairs = [
                    (n, places[b, r * stride + dy - padding, c * stride + dx - padding])
                    for n, (b, r, c) in enumerate(made)
                    if (b, r * stride + dy - padding, c * stride + dx - padding) in places
                ]
                yield dy, dx, torch.tensor(made), torch.tensor(pairs, dtype=torch.long).view(-1, 2).T


def convolve(conv: nn.Conv2d, s: Sparse) -> Sparse:
    out, made = None, s.at
    for dy, dx, made, (to, of) in s.windows(conv.kernel_size[0], conv.stride[0], conv.padding[0]):
        out = s.x.new_zeros(len(made), conv.out_channels) if out is None else out
        groups = s.x[of].view(len(of), conv.groups, conv.in_channels // conv.groups)
        weight = conv.weight[:, :, dy, dx].view(conv.groups, -1, groups.shape[2])
        out = out.index_add(0, to, torch.einsum("ngi,goi->ngo", groups, weight).flatten(1))
    return Sparse(out if conv.bias is None else out + conv.bias, made)


def max_pool(pool: nn.MaxPool2d, s: Sparse) -> Sparse:
    out, made = None, s.at
    for _, _, made, (to, of) in s.windows(pool.kernel_size, pool.stride, pool.padding):
        out = s.x.new_full((len(made), s.x.shape[1]), -torch.inf) if out is None else out
        out = out.index_reduce(0, to, s.x[of], "amax")
    return Sparse(out, made)


def batch_norm(bn: nn.BatchNorm2d, s: Sparse) -> Sparse:
    mean, var = (s.x.mean(0), s.x.var(0, correction=0)) if bn.training else (bn.running_mean, bn.running_var)
    return replace(s, x=(s.x - mean) / (var + bn.eps).sqrt() * bn.weight + bn.bias)


def layer_norm(norm: nn.LayerNorm, s: Sparse) -> Sparse:
    return replace(s, x=F.layer_norm(s.x, norm.normalized_shape, norm.weight, norm.bias, norm.eps))


def response_norm(grn: nn.Module, s: Sparse) -> Sparse:
    batch = int(s.at[:, 0].max()) + 1
    norm = s.x.new_zeros(batch, s.x.shape[1]).index_add(0, s.at[:, 0], s.x.square()).sqrt()
    norm = norm / (norm.mean(1, keepdim=True) + grn.eps)
    return replace(s, x=s.x + grn.bias + grn.weight * s.x * norm[s.at[:, 0]])


def resnet(model: nn.Module, s: Sparse) -> Sparse:
    def relu(s: Sparse) -> Sparse:
        return replace(s, x=s.x.relu())

    s = max_pool(model.maxpool, relu(batch_norm(model.bn1, convolve(model.conv1, s))))
    for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
        for block in layer:
            x = relu(batch_norm(block.bn1, convolve(block.conv1, s)))
            x = batch_norm(block.bn2, convolve(block.conv2, x))
            if block.downsample is not None:
                s = batch_norm(block.downsample[1], convolve(block.downsample[0], s))
            s = relu(replace(x, x=x.x + s.x))
    return s


def convnext(model: nn.Module, s: Sparse) -> Sparse:
    s = layer_norm(model.stem[1], convolve(model.stem[0], s))
    for stage in model.stages:
        if isinstance(stage.downsample, nn.Sequential):
            s = convolve(stage.downsample[1], layer_norm(stage.downsample[0], s))
        for block in stage.blocks:
            x = layer_norm(block.norm, convolve(block.conv_dw, s))
            x = replace(x, x=F.gelu(x.x @ block.mlp.fc1.weight.flatten(1).T + block.mlp.fc1.bias))
            x = response_norm(block.mlp.grn, x) if hasattr(block.mlp, "grn") else x
            x = x.x @ block.mlp.fc2.weight.flatten(1).T + block.mlp.fc2.bias
            s = replace(s, x=s.x + (x if block.gamma is None else x * block.gamma))
    return layer_norm(model.head.norm, s)


def waken(model: nn.Module) -> nn.Module:
    """Other weights than those that a model begins with, of which many are zero."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    return model.double()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("name", "reference"), [("resnet18", resnet), ("convnextv2_atto", convnext), ("convnext_atto", convnext)]
)
def test_features_are_those_of_what_never_had_the_masked_places(name, reference, training):
    masked = MaskedImageModel(build(name), strategy="sparse", image_size=(96, 128), mask_ratio=0.5)
    model = waken(masked.backbone)
    masked.train(training)
    for module in model.modules():  # what drops at random would drop other things
        if type(module).__name__ in ("Dropout", "DropPath"):
            module.eval()
    images = torch.randn(2, 3, 96, 128, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    mask = random_mask(2, masked.grid((96, 128)), 0.5, unit=masked.unit, generator=torch.Generator().manual_seed(2))
    hidden = masked.layout.streams[0].pixels(mask, (96, 128))[:, 0]
    with torch.no_grad():
        expected = reference(model, Sparse.of(images, hidden)).dense((2, 3, 4))
        features = masked(images, mask).features
    assert features.shape == expected.shape
    assert expected.abs().sum() > 1
    assert torch.allclose(features, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["resnet18", "convnextv2_atto", "resnetv2_50", "regnetx_002", "convnext_atto_ols"])
def test_nothing_under_the_mask_reaches_features_or_gradients(name):
    masked = MaskedImageModel(build(name), strategy="sparse", image_size=(96, 96)).train()
    images = torch.randn(2, 3, 96, 96).requires_grad_()
    mask = masked(images, generator=torch.Generator().manual_seed(0)).mask
    masked(images, mask).features.square().sum().backward()
    hidden = masked.layout.streams[0].pixels(mask, (96, 96)).expand_as(images)
    assert not images.grad[hidden].any()
    assert images.grad[~hidden].any()
    assert all(p.grad.isfinite().all() for p in masked.parameters() if p.requires_grad)


def test_statistics_that_are_kept_are_of_visible_places():
    masked = MaskedImageModel(build("resnet18"), strategy="sparse", image_size=(64, 64)).train()
    bn = masked.backbone.bn1
    images = torch.randn(2, 3, 64, 64)
    mask = masked(images, generator=torch.Generator().manual_seed(0)).mask
    bn.reset_running_stats()
    masked(images, mask)
    hidden = masked.layout.streams[0].pixels(mask, (64, 64))
    x = masked.backbone.conv1(images.masked_fill(hidden, 0.0)).movedim(1, -1)[~hidden[:, 0, ::2, ::2]]
    assert torch.allclose(bn.running_mean, 0.1 * x.mean(0), atol=1e-6)


def test_hooks_are_there_only_while_it_runs():
    masked = MaskedImageModel(build("resnet18"), strategy="sparse", image_size=(64, 64))
    images = torch.randn(2, 3, 64, 64)
    before = masked.backbone(images)
    masked(images)
    with pytest.raises(ValueError, match="no multiple of the unit"):
        masked(torch.randn(2, 3, 64, 72))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in masked.modules())
    assert torch.equal(masked.backbone(images), before)


def test_where_nothing_is_masked_it_is_the_backbone():
    masked = MaskedImageModel(build("convnext_atto_ols"), strategy="sparse", image_size=(64, 64), final_norm=False)
    (rows, columns), images = masked.grid((64, 64)), torch.randn(2, 3, 64, 64)
    none = torch.zeros(2, rows * columns, dtype=torch.bool)
    masked.eval()
    assert torch.allclose(masked(images, none).features, masked.backbone.forward_features(images), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("test_vit", "as a sequence"),
        ("efficientnet_b0", "se.*mixes places"),
        ("coatnet_nano_rw_224", "mixes places"),
        ("swin_tiny_patch4_window7_224", "mixes places"),
        ("poolformer_s12", "mixes places"),
        ("test_maxvit", "se.*mixes places"),  # and its attention is over windows, which are no images
    ],
)
def test_what_mixes_places_in_other_ways_is_refused(name, message):
    with pytest.raises(TypeError, match=message):
        MaskedImageModel(build(name), strategy="sparse")


class NormOfOnesOwn(nn.Module):
    """A batch norm that is a function, of maps whose channels come last."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("m", torch.zeros(dim))
        self.register_buffer("v", torch.ones(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.batch_norm(x.movedim(-1, 1), self.m, self.v, training=self.training)
        return x.movedim(1, -1)


def test_what_mixes_places_in_training_alone_is_refused():
    model = build("test_convnext")
    block = model.stages[-1].blocks[-1]
    block.norm = norm = NormOfOnesOwn(64)
    with pytest.raises(TypeError, match=r"blocks.1.norm`, a NormOfOnesOwn, mixes places"):
        MaskedImageModel(model, strategy="sparse", image_size=(64, 64))
    assert not norm.m.any()


def test_masks_must_hold_at_every_stage():
    model = build("resnet18")
    with pytest.raises(ValueError, match="unit is 3: a feature is made of 8 x 8 patches"):
        MaskedImageModel(model, strategy="sparse", image_size=(64, 64), unit=3)
    masked = MaskedImageModel(model, strategy="sparse", image_size=(64, 64))
    with pytest.raises(ValueError, match="whole units of 8 x 8"):
        masked(torch.randn(2, 3, 64, 64), random_mask(2, (16, 16), 0.5))


def test_checkpointing_is_refused():
    masked = MaskedImageModel(build("convnext_atto"), strategy="sparse", image_size=(64, 64))
    masked.set_grad_checkpointing()
    with pytest.raises(ValueError, match="checkpointing"):
        masked(torch.randn(2, 3, 64, 64))


class Plain(SplitModel):
    """Blocks of convolutions, run as some method says."""

    def __init__(self, run=lambda block, x: block(x), give=lambda maps: maps[-1]) -> None:
        super().__init__()
        self.stem, self.run, self.give = nn.Conv2d(3, 8, 4, 4), run, give
        self.blocks = nn.ModuleList(nn.Conv2d(8, 8, 3, stride, 1) for stride in (1, 2))
        self.default_cfg = {"input_size": (3, 32, 32)}

    def embed(self, images):
        return self.stem(images)

    def forward_stages(self, x):
        maps = []
        for block in self.blocks:
            x = self.run(block, x).sigmoid()
            maps.append(x)
        return self.give(maps)

    def forward_features(self, images):
        return self.forward_stages(self.embed(images))


@pytest.fixture
def plain(monkeypatch):
    """What makes a masked model of blocks, which is taken for split as it stands."""
    monkeypatch.setattr("generated.masking.split", lambda model: model)
    torch.manual_seed(0)
    return lambda **options: MaskedImageModel(Plain(**options), strategy="sparse", mask_ratio=0.5)


IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("reentrant", [True, False])
def test_activation_checkpointing_of_ones_own_is_refused_where_it_trains(plain, reentrant):
    def run(block, x):
        return checkpoint(block, x, use_reentrant=reentrant) if block.training else block(x)

    masked = plain(run=run)
    with pytest.raises(ValueError, match=r"a Conv2d is under torch\.utils\.checkpoint"):
        masked(IMAGES)
    assert not any(m._forward_pre_hooks for m in masked.modules())
    with torch.no_grad():
        masked(IMAGES)


def test_a_sparse_model_may_be_frozen_in_part_and_checkpointed_as_a_whole(plain):
    def frozen(block, x):
        with torch.set_grad_enabled(torch.is_grad_enabled() and block.stride == (2, 2)):
            return block(x)

    masked = plain(run=frozen)
    mask = random_mask(2, (8, 8), 0.5, unit=2)
    expected = masked(IMAGES, mask).features
    expected.sum().backward()
    gradient = masked.backbone.blocks[1].weight.grad.clone()
    masked.zero_grad()
    features = checkpoint(lambda images: masked(images, mask).features, IMAGES, use_reentrant=False)
    features.sum().backward()
    assert torch.equal(features, expected)
    assert torch.equal(masked.backbone.blocks[1].weight.grad, gradient)


@pytest.mark.parametrize("early", [True, False])
def test_parts_that_are_compiled_by_themselves_are_refused(plain, early):
    masked, model = plain(), Plain()
    (model if early else masked.backbone).blocks[0].compile(backend="eager")
    with pytest.raises(ValueError, match=r"`blocks.0` is compiled by itself.*compile the whole MaskedImageModel"):
        MaskedImageModel(model, strategy="sparse") if early else masked(IMAGES)


@pytest.mark.parametrize(
    "give", [lambda maps: (maps[-1].mean((2, 3)), maps[-1]), lambda maps: {"fine": maps[0], "coarse": maps[1]}]
)
def test_several_maps_are_refused(plain, give):
    with pytest.raises(TypeError, match=r"gives a tensor of shape .*, and sparse features are one map.*intermediates="):
        plain(give=give)


def test_one_map_may_be_in_a_dict(plain):
    features = plain(give=lambda maps: {"map": maps[-1], "stages": 2})(IMAGES).features
    assert features["map"].eq(0).any()


def mean_of_numbers(x):
    return x.nanmean((2, 3), keepdim=True)


def larger_than_the_next(x):
    return (x > x.roll(1, 3)).to(x)


def mean_without_what_is_none(x):
    return x.nan_to_num().mean((2, 3), keepdim=True)


@pytest.mark.parametrize("mix", [mean_of_numbers, larger_than_the_next, mean_without_what_is_none])
def test_what_mixes_places_but_swallows_what_is_no_number_is_refused(plain, mix):
    with pytest.raises(TypeError, match="its own code mixes places"):
        plain(run=lambda block, x: block(x) + 0.1 * mix(block(x)))
