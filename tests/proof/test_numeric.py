"""The proof by numbers, of split classes that are right and that are wrong."""

import pytest
import timm
import torch
from timm.models._manipulate import checkpoint
from timm.models.convit import ConVit
from timm.models.tnt import TNT
from timm.models.vision_transformer import VisionTransformer

from codegen.proof.numeric import check_numbers
from generated import split

from .splits import VIT, Right, Tapped, splitting


class OtherOutput(Right):
    def forward_stages(self, x):
        return super().forward_stages(x) * 1.0000001


class OtherStructure(Right):
    def forward_stages(self, x):
        return (super().forward_stages(x),)


class OtherGradient(Right):
    def embed(self, x):
        return super().embed(x).detach()


class OtherGradientOfOne(Right):
    def forward_stages(self, x):
        x = self.blocks(self.norm_pre(self.patch_drop(x)))
        return torch.layer_norm(x, self.norm.normalized_shape, self.norm.weight.detach(), self.norm.bias, self.norm.eps)


class OtherRandomNumbers(Right):
    def forward_stages(self, x):
        x = super().forward_stages(x)
        torch.rand(1)
        return x


class NoDropout(Right):
    def forward_stages(self, x):
        self.patch_drop.train(False)
        return super().forward_stages(x)


class NotUnderCheckpointing(Right):
    def forward_stages(self, x):
        if self.grad_checkpointing:
            x = x + 1
        return super().forward_stages(x)


class ConVitSplit(ConVit):
    def embed(self, x):
        return self.pos_drop(self.patch_embed(x) + self.pos_embed)

    def forward_stages(self, x):
        for number, block in enumerate(self.blocks):
            if number == self.local_up_to_layer:
                x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1)
            x = block(x)
        return self.norm(x)


class TNTSplit(TNT):
    def embed(self, x):
        pixels = self.pixel_embed(x, self.pixel_pos)
        patches = self.norm2_proj(self.proj(self.norm1_proj(pixels.reshape(x.shape[0], self.num_patches, -1))))
        patches = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), patches), dim=1)
        return pixels, self.pos_drop(patches + self.patch_pos)

    def forward_stages(self, x):
        for block in self.blocks:
            x = checkpoint(block, *x) if self.grad_checkpointing else block(*x)
        return self.norm(x[1])


class OtherIntermediates(Tapped):
    def forward_stages_intermediates(self, x, image_size, **keywords):
        return super().forward_stages_intermediates(x * 1.0001, image_size, **keywords)


class OtherMask(Tapped):
    def forward_stages_intermediates(self, x, image_size, attn_mask=None, **keywords):
        return super().forward_stages_intermediates(x, image_size, **keywords)


class NoDropoutOfIntermediates(Tapped):
    def forward_stages_intermediates(self, x, image_size, **keywords):
        self.patch_drop.train(False)
        return super().forward_stages_intermediates(x, image_size, **keywords)


class OtherGradientOfIntermediates(Tapped):
    def forward_stages_intermediates(self, x, image_size, **keywords):
        return super().forward_stages_intermediates(x.detach() if self.training else x, image_size, **keywords)


def checks(split_class):
    result = check_numbers("test_vit", VIT, splitting(split_class))
    return {check.name: check.verdict for check in result.checks}, {check.name: check.detail for check in result.checks}


def test_a_right_split_holds_in_all():
    verdicts, _ = checks(Right)
    assert verdicts == {"eval": "holds", "train": "holds", "checkpointing": "holds", "intermediates": "not offered"}


def test_intermediate_features_are_compared():
    assert checks(Tapped)[0]["intermediates"] == "holds"


def test_other_intermediate_features_are_found_out():
    verdicts, details = checks(OtherIntermediates)
    assert [name for name, verdict in verdicts.items() if verdict == "fails"] == ["intermediates"]
    assert "indices=" in details["intermediates"]


def test_statistics_that_an_error_leaves_behind_are_no_difference():
    """timm refuses a format before its stem has run, the split after."""
    split_class = type(split(timm.create_model("test_efficientnet")))
    result = check_numbers("test_efficientnet", "timm.models.efficientnet.EfficientNet", splitting(split_class))
    assert {check.name: check.verdict for check in result.checks}["intermediates"] == "holds"


@pytest.mark.parametrize(
    ("split_class", "detail"),
    [
        (OtherMask, "attn_mask=a mask of"),
        (NoDropoutOfIntermediates, "in training, "),
        (OtherGradientOfIntermediates, "gradient of the images differs"),
    ],
)
def test_intermediate_features_are_compared_under_masks_and_in_training(split_class, detail):
    verdicts, details = checks(split_class)
    assert [name for name, verdict in verdicts.items() if verdict == "fails"] == ["intermediates"]
    assert detail in details["intermediates"]


@pytest.mark.parametrize(
    ("split_class", "fails", "detail"),
    [
        (OtherOutput, "eval", "output 0 differs"),
        (OtherStructure, "eval", "returns "),
        (OtherGradient, "eval", "gradient of the images differs"),
        (OtherGradientOfOne, "eval", "gradient of norm.weight differs"),
        (OtherRandomNumbers, "eval", "state of the random numbers differs"),
        (NoDropout, "train", "output 0 differs"),
        (NotUnderCheckpointing, "checkpointing", "output 0 differs"),
    ],
)
def test_a_wrong_split_is_found_out(split_class, fails, detail):
    verdicts, details = checks(split_class)
    assert verdicts[fails] == "fails"
    assert detail in details[fails]


def test_what_is_wrong_in_training_alone_holds_in_eval():
    assert checks(NoDropout)[0]["eval"] == "holds"


def test_checkpointing_that_timm_does_not_offer_is_not_a_failure():
    result = check_numbers("convit_tiny", "timm.models.convit.ConVit", splitting(ConVitSplit))
    assert {check.name: check.verdict for check in result.checks} == {
        "eval": "holds",
        "train": "holds",
        "checkpointing": "not offered",
        "intermediates": "not offered",
    }
    assert result.verdict == "holds"


def test_what_timm_cannot_build_was_not_run():
    result = check_numbers("no_such_model", VIT, splitting(Right))
    assert result.verdict == "not run"
    assert "no_such_model" in result.checks[0].detail


def test_what_timm_itself_cannot_train_with_is_left_out_and_said():
    result = check_numbers("test_vit", VIT, splitting(Right))
    assert "images of 64 x 64" in result.checks[1].detail
    assert "patch_drop_rate=0.25, proj_drop_rate=0.1, attn_drop_rate=0.1" in result.checks[1].detail
    # timm's TNT changes in place what the gradient of its attention dropout needs
    result = check_numbers("tnt_s_legacy_patch16_224", "timm.models.tnt.TNT", splitting(TNTSplit))
    assert result.verdict == "holds"
    assert "proj_drop_rate=0.1" in result.checks[1].detail
    assert "attn_drop_rate" not in result.checks[1].detail


def test_a_model_that_asks_for_values_is_made_as_small_as_any(monkeypatch):
    original = Right._pos_embed

    def asks(self, x):
        return original(self, x) if x.isfinite().all() else x  # which meta cannot tell

    monkeypatch.setattr(VisionTransformer, "_pos_embed", asks)
    result = check_numbers("test_vit", VIT, splitting(Right))
    assert result.verdict == "holds"
    assert "images of 64 x 64" in result.checks[1].detail
    assert "drop_path_rate=0.1" in result.checks[1].detail


def test_a_split_that_raises_fails():
    def split(model):
        raise TypeError("it has no stem")

    assert check_numbers("test_vit", VIT, split).verdict == "fails"
