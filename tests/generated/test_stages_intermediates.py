"""``forward_stages_intermediates``: timm's ``forward_intermediates`` from an embedding on."""

import functools
import itertools

import pytest
import timm
import torch
from timm.models.mlp_mixer import MlpMixer
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.nn import functional as F

import generated
from codegen.proof.intermediates import combinations, from_embedding, whole

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
