"""The check of the cut between patches and positions, on timm's models with cuts that are right and that are wrong."""

import pytest
import timm
import torch

from codegen.proof.models import input_size
from codegen.proof.patch_halves import judge_patches
from codegen.proof.placement import Parts
from codegen.proof.trace import record


def judgement(name, patches, positions, **options):
    """What is wrong with two halves, functions of the model and their argument."""
    with torch.device("meta"):
        model = timm.create_model(name, **options).eval()
        image = torch.zeros(2, *input_size(model))
        parts = Parts(model, lambda: record(model, lambda recorder: model.forward_features(image)).events)

        def halves(recorder):
            made = patches(model, image)
            recorder.cut()
            embedding = positions(model, made)
            recorder.cut()
            return embedding

        return judge_patches(record(model, halves), parts)


def test_a_vision_transformer_has_its_patches_after_its_patch_embedding():
    assert not judgement("test_vit", lambda m, x: m.patch_embed(x), lambda m, x: m._pos_embed(x))


@pytest.mark.parametrize(
    ("patches", "positions", "what"),
    [
        pytest.param(
            lambda m, x: m._pos_embed(m.patch_embed(x)),
            lambda m, x: x,
            "embed_patches reads cls_token, which is no part of the patches",
            id="prefix tokens in the patches",
        ),
        pytest.param(
            lambda m, x: m.patch_embed(x) + m.pos_embed[:, :1],
            lambda m, x: x,
            "embed_patches reads pos_embed, which gives position",
            id="position in the patches",
        ),
        pytest.param(
            lambda m, x: m.pos_drop(m.patch_embed(x)),
            lambda m, x: m._pos_embed(x),
            "embed_patches runs pos_drop, which gives position",
            id="dropout on the position in the patches",
        ),
        pytest.param(
            lambda m, x: x,
            lambda m, x: m._pos_embed(m.patch_embed(x)),
            "embed_patches runs no part of the stem",
            id="no patches",
        ),
        pytest.param(
            lambda m, x: m.patch_embed(x),
            lambda m, x: m.patch_embed.norm(m.patch_embed.proj(x.new_zeros(1, 3, 32, 32))),
            "embed_positions runs patch_embed.proj, which makes the patches",
            id="patches in the positions",
        ),
        pytest.param(
            lambda m, x: m.patch_embed(x),
            lambda m, x: x + m.patch_embed.proj.bias,
            "embed_positions reads patch_embed.proj.bias, which makes the patches",
            id="a parameter of the patch embedding in the positions",
        ),
    ],
)
def test_a_vision_transformer_that_is_cut_elsewhere_is_found_out(patches, positions, what):
    assert judgement("test_vit", patches, positions) == what


def test_a_position_that_is_a_module_with_parameters_is_no_patch_embedding():
    def positions(model, made):
        x, (height, width) = made
        return x + model.pos_embed(x.shape[0], height, width).flatten(2).transpose(1, 2)

    assert not judgement("xcit_nano_12_p16_224", lambda m, x: m.patch_embed(x), positions)


def test_a_position_inside_a_module_of_the_patches_is_found_out():
    assert "pixel_pos, which gives position" in judgement(
        "tnt_s_legacy_patch16_224", lambda m, x: m.pixel_embed(x, m.pixel_pos), lambda m, x: x
    )


def test_the_inner_model_of_a_class_that_delegates_is_judged_as_a_model_is():
    wrong = judgement(
        "deepseek_vit_412m", lambda m, x: m.encoder.patch_embed(x), lambda m, x: m.encoder.patch_embed.proj.bias + 0
    )
    assert wrong == "embed_positions reads encoder.patch_embed.proj.bias, which makes the patches"
