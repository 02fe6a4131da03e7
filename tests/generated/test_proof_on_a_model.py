"""``check``: the proof on a model that a user has, of splits that are right and of some that are wrong in each way."""

import copy
import random
import threading
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import timm
import torch
from torch import nn

import generated
from generated import CheckError, SplitModel, check

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Tiny(nn.Module):
    """A transformer without attention."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 6, 4, 4)
        self.pos_embed = nn.Parameter(torch.randn(1, 4, 6))
        self.blocks = nn.Sequential(nn.Linear(6, 6), nn.GELU(), nn.Dropout(0.5), nn.Linear(6, 6))
        self.norm = nn.LayerNorm(6)
        self.seen = 0
        self.cache: list[torch.Tensor] = []

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        return self.norm(self.blocks(x))


class Right(Tiny, SplitModel):
    def embed(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        return x + self.pos_embed

    def forward_stages(self, x):
        return self.norm(self.blocks(x))

    def forward_features(self, x):
        return self.forward_stages(self.embed(x))


class OtherNumbers(Right):
    def forward_stages(self, x):
        return super().forward_stages(x) + 0.25


class OtherInTraining(Right):
    def embed(self, x):
        return super().embed(x) * (2 if self.training else 1)


class NoGradient(Right):
    def embed(self, x):
        return super().embed(x).detach()


class MoreRandomNumbers(Right):
    def embed(self, x):
        torch.rand(1)
        return super().embed(x)


class PythonsRandomNumbers(Right):
    def embed(self, x):
        random.random()
        return super().embed(x)


class LeavesItsMode(Right):
    def forward_stages(self, x):
        features = super().forward_stages(x)
        self.norm.eval()
        return features


class Counts(Right):
    def embed(self, x):
        self.seen += 1
        return super().embed(x)


class Collects(Right):
    def embed(self, x):
        self.cache.append(x.detach())
        return super().embed(x)


class MovesAWeight(Right):
    def forward_stages(self, x):
        features = super().forward_stages(x)
        with torch.no_grad():
            self.pos_embed.add_(0.5)
        return features


class SpoilsTheBackwardPass(Right):
    def forward_stages(self, x):
        features = super().forward_stages(x)
        with torch.no_grad():
            self.norm.weight.add_(0.5)
        return features


class OtherFeatures(Right):
    def forward_features(self, x):
        return super().forward_features(x) * 2


class OtherPatches(Right):
    def embed_patches(self, x):
        return self.patch_embed(x)

    def embed_positions(self, x):
        return x.flatten(2).transpose(1, 2)


class Raises(Right):
    def forward_stages(self, x):
        raise RuntimeError("no stages")


@pytest.mark.parametrize(
    ("split_class", "message"),
    [
        (OtherNumbers, r"eval: forward_stages\(embed\(...\)\): feature 0 differs by up to 0.25"),
        (OtherInTraining, r"train: forward_stages\(embed\(...\)\): feature 0 differs"),
        (NoGradient, r"gradient of patch_embed.weight is None and not a tensor \(6, 3, 4, 4\)"),
        (NoGradient, r"gradient of the images is None"),
        (MoreRandomNumbers, r"state of torch's random numbers differs"),
        (PythonsRandomNumbers, r"state of Python's random numbers"),
        (LeavesItsMode, r"train: .*norm.training is False and not True"),
        (Counts, r"eval: .*: seen is 1 and not 0"),
        (Collects, r"cache is list of 1 and not list of 0"),
        (MovesAWeight, r"pos_embed differs by up to 0.5"),
        (SpoilsTheBackwardPass, r"raises backward: RuntimeError: one of the variables .*; the original raises nothing"),
        (OtherFeatures, r"eval: forward_features: feature 0 differs"),
        (OtherPatches, r"embed_positions\(embed_patches\(...\)\): feature 0 differs"),
        (Raises, r"raises RuntimeError: no stages; the original raises nothing"),
    ],
)
def test_what_differs_is_said_by_name(split_class: type[Right], message: str) -> None:
    with pytest.raises(CheckError, match=message) as raised:
        check(split_class(), IMAGES)
    assert str(raised.value).startswith(f"{split_class.__name__} is split wrongly:\n  ")
    assert raised.value.differences


def test_a_right_split_passes() -> None:
    check(Right(), IMAGES)


# Two embeddings alive


class Stem(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.proj, self.pos = nn.Conv2d(3, 6, 4, 4), nn.Parameter(torch.randn(1, 1, 6))
        self.scale = torch.ones(())
        self.grid = (0, 0)

    def forward(self, x):
        x = self.proj(x)
        self.scale, self.grid = x.std(), tuple(x.shape[-2:])
        return x.flatten(2).transpose(1, 2)


class WithStem(Tiny):
    def __init__(self) -> None:
        super().__init__()
        self.stem = Stem(self)

    def forward_features(self, x):
        return self.blocks(self.stem(x)) * self.stem.scale


class SharesContent(WithStem, SplitModel):
    def embed(self, x):
        return self.stem(x)

    def forward_stages(self, x):
        return self.blocks(x) * self.stem.scale

    def forward_features(self, x):
        return self.forward_stages(self.embed(x))


class OfASize(WithStem):
    def forward_features(self, x):
        x = self.stem(x)
        return self.blocks(x).reshape(x.shape[0], *self.stem.grid, -1)


class SharesSize(OfASize, SplitModel):
    def embed(self, x):
        return self.stem(x)

    def forward_stages(self, x):
        return self.blocks(x).reshape(x.shape[0], *self.stem.grid, -1)

    def forward_features(self, x):
        return self.forward_stages(self.embed(x))


@pytest.mark.parametrize(
    ("split_class", "message"),
    [
        (SharesContent, r"eval: with another embedding alive \(other images\): features differ by up to"),
        (SharesSize, r"with another embedding alive \(images of 4 x 4\): returns Tensor"),
    ],
)
def test_two_embeddings_that_share_state_are_found(split_class: type[nn.Module], message: str) -> None:
    with pytest.raises(CheckError, match=message) as raised:
        check(split_class(), IMAGES)
    assert all("alive" in line for line in raised.value.differences), "in a row, the halves are right"


# Used again


class ReluFirst(Tiny):
    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        return self.norm(self.blocks(torch.relu_(x + self.pos_embed)))


class ChangesIt(ReluFirst, SplitModel):
    embed = Right.embed
    forward_features = Right.forward_features

    def forward_stages(self, x):
        return self.norm(self.blocks(torch.relu_(x)))


def test_stages_that_change_the_embedding_are_found() -> None:
    with pytest.raises(CheckError, match=r"eval: forward_stages changes the embedding in place: it differs by"):
        check(ChangesIt(), IMAGES)


# Rows, and masked tokens


class Turned(Right):
    """The images are in the second dimension of the tokens."""

    def embed(self, x):
        return super().embed(x).transpose(0, 1)

    def forward_stages(self, x):
        return super().forward_stages(x.transpose(0, 1))


class InHalves(Right):
    """The tokens of an image are in two rows."""

    def embed(self, x):
        return super().embed(x).reshape(-1, 2, 6)

    def forward_stages(self, x):
        return super().forward_stages(x.reshape(-1, 4, 6))


@pytest.mark.parametrize("split_class", [Turned, InHalves])
def test_tokens_whose_rows_are_no_images_are_found(split_class: type[nn.Module]) -> None:
    with pytest.raises(CheckError, match="no row of the tokens is an image"):
        check(split_class(), IMAGES)


class Sized(NamedTuple):
    x: torch.Tensor
    batch: int


class BatchAsNumber(Right):
    def embed(self, x):
        return Sized(super().embed(x), x.shape[0])

    def forward_stages(self, embedding):
        x, batch = embedding
        return super().forward_stages(x.reshape(batch, -1, 6))


class Original(NamedTuple):
    x: torch.Tensor
    untouched: torch.Tensor


class MaskedInVain(Right):
    def embed(self, x):
        x = super().embed(x)
        return Original(x, x)

    def forward_stages(self, embedding):
        return super().forward_stages(embedding.untouched)


class MixesRows(Right):
    def embed(self, x):
        x = super().embed(x)
        return Original(x, x.flip(0))

    def forward_stages(self, embedding):
        x, other = embedding
        return super().forward_stages(x + (x.flip(0) - other))


@pytest.mark.parametrize(
    ("split_class", "message"),
    [
        (BatchAsNumber, r"eval: rows \[1, 0, 0, 1\] of the embedding: "),
        (MaskedInVain, r"eval: other tokens in row 0: its features stay as they were"),
        (MixesRows, r"eval: other tokens in row 0: in other rows, features differ by up to"),
    ],
)
def test_rows_and_tokens(split_class: type[Right], message: str) -> None:
    with pytest.raises(CheckError, match=message):
        check(split_class(), IMAGES)


def test_the_number_of_rows_differs_for_any_number_of_images() -> None:
    with pytest.raises(CheckError, match=r"rows \[1, 0, 0, 1, 2\] of the embedding"):
        check(BatchAsNumber(), torch.cat([IMAGES, IMAGES[:1] + 1]))


class BatchDependent(Tiny):
    def forward_features(self, x):
        return super().forward_features(x - x.mean(0))


class BatchDependentSplit(BatchDependent, SplitModel):
    forward_stages = Right.forward_stages

    def embed(self, x):
        return Right.embed(self, x - x.mean(0))

    def forward_features(self, x):
        return self.forward_stages(self.embed(x))


def test_an_original_that_mixes_the_rows_of_a_batch_itself_is_not_asked_for_rows() -> None:
    check(BatchDependentSplit(), IMAGES)


# What it leaves behind, and what it refuses


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("split_class", [Right, Counts, MovesAWeight, MoreRandomNumbers])
def test_the_model_is_left_as_it_was(split_class: type[Right], training: bool) -> None:
    model = split_class().train(training)
    model.norm.requires_grad_(False)
    model.forward_features(IMAGES).sum().backward()
    state = copy.deepcopy(model.state_dict())
    gradients = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    attributes, modes = dict(vars(model)), [module.training for module in model.modules()]
    images, torchs, pythons = IMAGES.clone(), torch.get_rng_state(), random.getstate()
    try:
        check(model, IMAGES)
    except CheckError:
        assert split_class is not Right
    assert vars(model) == attributes
    assert type(model) is split_class
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == (gradients[name] is None)
        assert parameter.grad is None or torch.equal(parameter.grad, gradients[name])
    assert torch.equal(IMAGES, images)
    assert torch.equal(torch.get_rng_state(), torchs)
    assert random.getstate() == pythons


def test_a_model_that_is_not_split_is_refused() -> None:
    with pytest.raises(TypeError, match=r"a Tiny is not split: give it to generated.split\(\) first"):
        check(Tiny(), IMAGES)


def test_a_model_that_cannot_be_copied_is_refused() -> None:
    model = Right()
    model.lock = threading.Lock()
    with pytest.raises(TypeError, match=r"this Right cannot be copied \(TypeError: cannot pickle .*lock"):
        check(model, IMAGES)


def test_images_that_the_original_does_not_take_are_refused() -> None:
    with pytest.raises(ValueError, match="Tiny does not run on these images: RuntimeError"):
        check(Right(), IMAGES[:, :2])


class Restless(Tiny):
    times = 0

    def forward_features(self, x):
        Restless.times += 1
        return super().forward_features(x) + Restless.times


class RestlessSplit(Restless, SplitModel):
    embed, forward_stages = Right.embed, Right.forward_stages


def test_an_original_that_does_not_repeat_itself_proves_nothing() -> None:
    with pytest.raises(ValueError, match="Restless gives other features each time"):
        check(RestlessSplit(), IMAGES)


# Split classes of timm


def test_hooks_run_in_both() -> None:
    model = generated.split(timm.create_model("test_vit", img_size=32, patch_size=16)).eval()
    model.blocks[0].register_forward_hook(lambda module, args, output: output * 2)
    check(model, torch.randn(2, 3, 32, 32))


class Own(timm.models.vision_transformer.VisionTransformer):
    def _pos_embed(self, x):
        return super()._pos_embed(x) * 2


SMALL = {"img_size": 32, "patch_size": 16, "embed_dim": 16, "depth": 2, "num_heads": 2}


def test_a_users_own_class_is_held_against_itself() -> None:
    check(generated.split(Own(**SMALL, pos_drop_rate=0.5)), torch.randn(2, 3, 32, 32))


def test_a_class_that_delegates_is_held_against_an_encoder_that_is_not_split() -> None:
    model = timm.models.deepseek_vit.DeepseekVitClassifier(**SMALL)
    check(generated.split(model), torch.randn(2, 3, 32, 32))


def test_arguments_go_where_they_are_read() -> None:
    model = generated.split(timm.models.vision_transformer.VisionTransformer(**SMALL))
    check(model, torch.randn(2, 3, 32, 32), attn_mask=torch.zeros(5, 5))


def test_a_row_of_an_embedding_may_be_several_elements_of_a_field() -> None:
    tnt = timm.models.tnt.TNT(img_size=32, patch_size=16, embed_dim=16, inner_dim=8, depth=2, num_heads_outer=2)
    check(generated.split(tnt), torch.randn(2, 3, 32, 32))
