"""``forward_stages_intermediates``: timm's ``forward_intermediates`` from an embedding on."""

import functools
import itertools

import pytest
import timm
import torch
from timm.models.deepseek_vit import DeepseekVitClassifier
from timm.models.mlp_mixer import MlpMixer
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.nn import functional as F

import generated
from codegen.proof.intermediates import combinations, from_embedding, whole
from generated.deepseek_vit import DeepseekVitClassifierSplit

NAMES = ("test_vit", "test_vit3", "test_eva", "test_convnext", "test_efficientnet")
IMAGES = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))


def pair(name: str = "test_vit", **options: object) -> tuple[nn.Module, nn.Module]:
    """timm's model and a split one with the same weights, in eval mode."""
    torch.manual_seed(0)
    model = timm.create_model(name, **options).eval()
    split = generated.create_model(name, **options).eval()
    split.load_state_dict(model.state_dict())
    return model, split


def leaves(value: object) -> list[torch.Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def equal(one: object, other: object) -> bool:
    mine, its = leaves(one), leaves(other)
    assert mine
    return len(mine) == len(its) and all(map(torch.equal, mine, its))


def attempt(run, *arguments):
    try:
        return run(*arguments)
    except AssertionError as error:
        return str(error)


@pytest.mark.parametrize("name", [name for name in NAMES if timm.is_model(name)])
@torch.no_grad()
def test_all_keyword_arguments_give_what_timm_gives(name):
    model, split = pair(name)
    ran = 0
    for keywords in itertools.islice(combinations(model), 0, None, 5):
        expected, actual = (
            attempt(whole, model, IMAGES, keywords),
            attempt(from_embedding, split, IMAGES, keywords),
        )
        if isinstance(expected, str):
            assert actual == expected
        else:
            ran += 1
            assert equal(expected, actual), keywords
            assert type(expected) is type(actual)
    assert ran


# One of each way in which a feature is taken inside the stem, and how many are: in a statement between two, in a loop
# over its parts, by a copy, where the last part makes the embedding, by a method of the stem, between slices of it, in
# a loop over names of layers
INSIDE_STEM = {
    "resnet18": 1,
    "cspresnet50": 1,
    "darknet53": 0,
    "nf_regnet_b0": 0,
    "resnetv2_50": 1,
    "test_byobnet": 0,
    "resnet26t": 1,
    "ese_vovnet19b_dw": 1,
    "inception_resnet_v2": 0,
    "hrnet_w18_small": 1,
}


@pytest.mark.parametrize("name", [name for name in INSIDE_STEM if timm.is_model(name)])
def test_features_inside_the_stem_are_refused_and_no_others(name):
    with torch.device("meta"):
        split = generated.create_model(name).eval()
        images = torch.randn(1, 3, 96, 96)
        total = len(split.forward_intermediates(images, intermediates_only=True))
        embedding = split.embed(images)
        for index in range(total):
            if index < INSIDE_STEM[name]:
                with pytest.raises(ValueError, match=r"inside the stem, .* or pass indices without it"):
                    split.forward_stages_intermediates(embedding, indices=[-1, index])
                continue
            expected, actual = (
                run(split, images, {"indices": [index], "intermediates_only": True}) for run in (whole, from_embedding)
            )
            assert [x.shape for x in actual] == [x.shape for x in expected]
        if INSIDE_STEM[name]:
            with pytest.raises(ValueError, match="inside the stem"):
                split.forward_stages_intermediates(embedding)


@torch.no_grad()
def test_a_resnet_gives_what_timm_gives_from_index_1_on():
    model, split = pair("resnet18")
    keywords = {"indices": [1, 2, 3, 4]}
    assert equal(whole(model, IMAGES, keywords), from_embedding(split, IMAGES, keywords))
    with pytest.raises(ValueError, match=r"^feature 0 is made inside the stem, before the embedding is complete: "):
        split.forward_stages_intermediates(split.embed(IMAGES), indices=[0])


@torch.no_grad()
def test_a_pruned_model_that_ends_in_its_stem_says_so():
    split = generated.create_model("hrnet_w18_small").eval()
    split.prune_intermediate_layers([0])
    with pytest.raises(ValueError, match="the model ends in its stem"):
        split.forward_stages_intermediates(split.embed(IMAGES), indices=[0])


@pytest.mark.parametrize("split_inside", [True, False])
@torch.no_grad()
def test_a_class_that_delegates_calls_its_inner_model(split_inside):
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 3}
    torch.manual_seed(0)
    model = DeepseekVitClassifier(**options).eval()
    split = DeepseekVitClassifierSplit(**options).eval()
    split.load_state_dict(model.state_dict())
    if split_inside:
        generated.split(split)
    assert isinstance(split.encoder, generated.SplitModel) is split_inside
    images = IMAGES[..., :32, :32]
    for keywords in itertools.islice(combinations(model), 0, None, 7):
        expected, actual = (
            attempt(whole, model, images, keywords),
            attempt(from_embedding, split, images, keywords),
        )
        assert actual == expected if isinstance(expected, str) else equal(expected, actual)


@torch.no_grad()
def test_targets_of_data2vec_are_those_of_hooks_on_timms_blocks():
    """The mean of the layer-normalised outputs of the top K blocks (Baevski et al., data2vec, section 3.3)."""
    model, split = pair()
    outputs: list[torch.Tensor] = []
    for block in model.blocks[-3:]:
        block.register_forward_hook(lambda module, args, output: outputs.append(output))
    model.forward_features(IMAGES)
    hooked = [output[:, model.num_prefix_tokens :] for output in outputs]

    taken = split.forward_stages_intermediates(
        split.embed(IMAGES), IMAGES.shape[-2:], indices=3, output_fmt="NLC", intermediates_only=True
    )
    targets = [torch.stack([F.layer_norm(x, x.shape[-1:]) for x in top]).mean(0) for top in (hooked, taken)]
    assert torch.equal(*targets)


@torch.no_grad()
def test_rows_of_an_embedding_may_be_selected_and_repeated():
    _, split = pair()
    embedding = split.embed(IMAGES)
    both = split.forward_stages_intermediates(embedding, IMAGES.shape[-2:])
    one = split.forward_stages_intermediates(embedding[[1, 1, 1]], IMAGES.shape[-2:])
    for many, few in zip(leaves(both), leaves(one), strict=True):
        assert few.shape[0] == 3
        torch.testing.assert_close(few[2], many[1], rtol=1e-4, atol=1e-5)


def test_gradients_and_dropout_are_timms():
    model, split = pair(pos_drop_rate=0.1, proj_drop_rate=0.1, drop_path_rate=0.1, patch_drop_rate=0.25)
    for checkpointing in (False, True):
        found = []
        for each, run in ((model, whole), (split, from_embedding)):
            each.train().set_grad_checkpointing(checkpointing)
            each.zero_grad()
            torch.manual_seed(1)
            keywords = {"output_fmt": "NLC", "norm": True}
            sum(out.square().mean() for out in leaves(run(each, IMAGES, keywords))).backward()
            found.append([p.grad for p in each.parameters() if p.grad is not None])
        assert len(found[0]) > 20
        assert equal(*found)


@torch.no_grad()
def test_a_pruned_model_gives_what_timms_gives():
    model, split = pair()
    for each in (model, split):
        each.prune_intermediate_layers([1, 2])
    expected = whole(model, IMAGES, {"indices": [1, 2]})
    assert equal(expected, from_embedding(split, IMAGES, {"indices": [1, 2]}))


@torch.no_grad()
def test_it_compiles_in_one_graph():
    _, split = pair()

    def taps(images):
        return split.forward_stages_intermediates(split.embed(images), images.shape[-2:], indices=2)

    compiled = torch.compile(taps, backend="eager", fullgraph=True)
    assert equal(compiled(IMAGES), taps(IMAGES))


class Scripted(nn.Module):
    """What calls the method where TorchScript compiles it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor):
        size = (images.shape[-2], images.shape[-1])
        return self.model.forward_stages_intermediates(self.model.embed(images), size, indices=[0, 1])


@torch.no_grad()
def test_torchscript_compiles_it():
    model = Scripted(generated.split(MlpMixer(img_size=32, num_blocks=2, embed_dim=16)).eval())
    images = IMAGES[..., :32, :32]
    assert equal(torch.jit.script(model)(images), model(images))


class OwnIntermediates(VisionTransformer):
    def forward_intermediates(self, x, **keywords):
        return super().forward_intermediates(self.norm_pre(x), **keywords)


class OwnStagesIntermediates(VisionTransformer):
    def forward_stages_intermediates(self, x):
        return x


OPTIONS = {"img_size": 32, "embed_dim": 16, "depth": 2, "num_heads": 2}


def test_an_own_forward_intermediates_has_none_from_an_embedding():
    split = generated.split(OwnIntermediates(**OPTIONS))
    assert callable(split.embed)
    assert not hasattr(split, "forward_stages_intermediates")


def test_an_own_method_of_that_name_is_in_the_way():
    with pytest.raises(TypeError, match="its own forward_stages_intermediates"):
        generated.split(OwnStagesIntermediates(**OPTIONS))


def test_timms_method_stays_timms():
    split = generated.split(VisionTransformer(**OPTIONS))
    assert type(split).forward_intermediates is VisionTransformer.forward_intermediates


def test_check_leaves_out_what_is_inside_the_stem():
    split = generated.create_model("resnet18")
    images = torch.randn(2, 3, 64, 64)
    generated.check(split, images)
    right = type(split).forward_stages_intermediates

    class Wrong(type(split)):
        @functools.wraps(right)
        def forward_stages_intermediates(self, x, **keywords):
            return right(self, x * 2, **keywords)

    split.__class__ = Wrong
    with pytest.raises(generated.CheckError, match=r"indices=\[1, -1\]"):
        generated.check(split, images)


def test_check_compares_them():
    split = generated.split(VisionTransformer(**OPTIONS))
    images = torch.randn(2, 3, 32, 32)
    generated.check(split, images)
    right = type(split).forward_stages_intermediates

    class Wrong(type(split)):
        @functools.wraps(right)
        def forward_stages_intermediates(self, x, image_size, norm=False, **keywords):
            return right(self, x, image_size, **keywords)

    split.__class__ = Wrong
    with pytest.raises(generated.CheckError) as error:
        generated.check(split, images)
    assert {line.partition(", norm=True)")[0] for line in error.value.differences} == {
        "eval: forward_stages_intermediates(embed(...)",
        "train: forward_stages_intermediates(embed(...)",
    }
