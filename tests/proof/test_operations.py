"""The proof by ops, of split classes of a small VisionTransformer that are right and that are wrong."""

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from codegen.proof.operations import check_ops, rates

from . import delegating
from .delegating import CLASSIFIER, RightClassifier, RightEncoder
from .splits import VIT, Right, Tapped, splitting


class MoreOps(Right):
    def embed(self, x):
        return super().embed(x) + 0


class NoPatchDropout(Right):
    def forward_stages(self, x):
        return self.norm(self.blocks(self.norm_pre(x)))


class OtherFeatures(Right):
    def forward_features(self, x):
        return self.blocks(self.embed(x))


class Early(Right):
    def embed(self, x):
        return self.patch_embed(x)

    def forward_stages(self, x):
        return super().forward_stages(self._pos_embed(x))


class Halved(Right):
    def embed_patches(self, x):
        return self.patch_embed(x)

    def embed_positions(self, x):
        return self._pos_embed(x)


class HalvedInTrainingOtherwise(Halved):
    def embed_patches(self, x):
        return super().embed_patches(x + 0 if self.training else x)


class PositionInPatches(Halved):
    def embed_patches(self, x):
        return self._pos_embed(self.patch_embed(x))

    def embed_positions(self, x):
        return x


class PatchesInPositions(Halved):
    def embed_patches(self, x):
        return x

    def embed_positions(self, x):
        return self._pos_embed(self.patch_embed(x))


class Raising(Right):
    def embed(self, x):
        raise ValueError("no images\nsecond line")


class InTrainingOnly(Right):
    def embed(self, x):
        x = super().embed(x)
        return x * 1 if self.training else x


class TappedWithoutNorm(Tapped):
    def forward_stages_intermediates(self, x, image_size, norm=False, **keywords):
        return super().forward_stages_intermediates(x, image_size, **keywords)


class MoreOpsForANumber(Tapped):
    def forward_stages_intermediates(self, x, image_size, indices=None, **keywords):
        x = x + 0 if isinstance(indices, int) else x
        return super().forward_stages_intermediates(x, image_size, indices=indices, **keywords)


class WithoutMask(Tapped):
    def forward_stages_intermediates(self, x, image_size, attn_mask=None, **keywords):
        return super().forward_stages_intermediates(x, image_size, **keywords)


class MasksInEmbed(Tapped):
    """As NaFlexVit, whose embedding takes the mask."""

    def embed(self, x, attn_mask=None):
        x = super().embed(x)
        return x if attn_mask is None else (x, attn_mask)

    def forward_stages_intermediates(self, x, image_size, **keywords):
        x, mask = x if isinstance(x, tuple) else (x, None)
        return super().forward_stages_intermediates(x, image_size, attn_mask=mask, **keywords)


class TakesAnyFormat(Tapped):
    def forward_stages_intermediates(self, x, image_size, output_fmt="NCHW", **keywords):
        output_fmt = "NLC" if output_fmt == "NHWC" else output_fmt
        return super().forward_stages_intermediates(x, image_size, output_fmt=output_fmt, **keywords)


def checks(split, name="test_vit", model_class=VIT, **kwargs):
    result = check_ops(name, model_class, split, **kwargs)
    return {check.name: check.verdict for check in result.checks}, {check.name: check.detail for check in result.checks}


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_right_split_holds_in_all(device):
    result = check_ops("test_vit", VIT, splitting(Right), device)
    assert [(check.name, check.verdict) for check in result.checks] == [
        ("ops", "holds"),
        ("boundary", "holds"),
        ("patches", "not offered"),
        ("training", "holds"),
        ("intermediates", "not offered"),
    ]
    assert result.verdict == "holds"
    assert result.parameters == sum(parameter.numel() for parameter in timm.create_model("test_vit").parameters())


def test_a_model_that_cannot_be_built_on_meta_is_proved_on_the_cpu(monkeypatch):
    make = timm.create_model

    def measures_its_stem(name, **options):
        model = make(name, **options)
        assert torch.isfinite(torch.zeros(1) + next(model.parameters()).sum()).item()  # of values and devices both
        return model

    monkeypatch.setattr(timm, "create_model", measures_its_stem)
    verdicts, details = checks(splitting(Right))
    assert set(verdicts.values()) == {"holds", "not offered"}
    assert details["ops"].startswith("on the CPU")


@pytest.mark.parametrize(
    ("split_class", "fails"),
    [
        (MoreOps, {"ops", "training"}),
        (Early, {"boundary"}),
        (InTrainingOnly, {"training"}),
        (OtherFeatures, {"ops"}),
        (HalvedInTrainingOtherwise, {"training"}),
        (PositionInPatches, {"patches"}),
        (PatchesInPositions, {"patches"}),
    ],
)
def test_each_check_finds_its_own(split_class, fails):
    verdicts, details = checks(splitting(split_class))
    assert {name for name, verdict in verdicts.items() if verdict == "fails"} == fails
    assert all(details[name] for name in fails)


def test_an_embedding_in_two_is_run_in_two():
    verdicts, _ = checks(splitting(Halved))
    assert {verdicts[name] for name in ("ops", "boundary", "patches", "training")} == {"holds"}


def test_intermediate_features_are_compared():
    verdicts, _ = checks(splitting(Tapped))
    assert verdicts["intermediates"] == "holds"


def test_other_intermediate_features_are_found_out():
    verdicts, details = checks(splitting(TappedWithoutNorm))
    assert {name for name, verdict in verdicts.items() if verdict == "fails"} == {"intermediates"}
    assert "norm=True" in details["intermediates"]


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize(
    ("split_class", "detail"), [(MoreOpsForANumber, "indices=1, "), (WithoutMask, "attn_mask=a mask of")]
)
def test_each_value_comes_up_where_timm_takes_it(split_class, detail, device):
    verdicts, details = checks(splitting(split_class), device=device)
    assert verdicts["intermediates"] == "fails"
    assert detail in details["intermediates"]


def test_what_the_embedding_takes_is_given_to_it():
    verdicts, details = checks(splitting(MasksInEmbed))
    assert verdicts["intermediates"] == "holds", details


def test_an_error_that_timm_raises_is_to_be_raised():
    verdicts, details = checks(splitting(TakesAnyFormat))
    assert verdicts["intermediates"] == "fails"
    assert "output_fmt='NHWC'" in details["intermediates"]
    assert "it runs; timm: AssertionError" in details["intermediates"]


def test_methods_that_timms_own_class_has_under_these_names_are_not_taken_for_a_split_embedding(monkeypatch):
    for name in ("embed_patches", "embed_positions"):
        monkeypatch.setattr(VisionTransformer, name, None, raising=False)
    verdicts, _ = checks(splitting(Right))
    assert verdicts["patches"] == "not offered"
    assert verdicts["ops"] == "holds"


def test_patch_dropout_that_is_missing_in_training_is_found_out():
    verdicts, details = checks(splitting(NoPatchDropout))
    assert verdicts["ops"] == "holds"  # in eval it is an identity
    assert verdicts["training"] == "fails"
    assert verdicts["boundary"] == "fails"  # a hook on patch_drop would no longer run
    assert "op " in details["training"]


def test_a_split_class_that_raises_fails_with_the_first_line():
    verdicts, details = checks(splitting(Raising))
    assert verdicts["ops"] == "fails"
    assert details["ops"] == "ValueError: no images"


@pytest.mark.parametrize("split", [lambda model: model, lambda model: torch.nn.Identity()])
def test_split_must_give_the_same_model_in_a_subclass(split):
    verdicts, details = checks(split)
    assert verdicts["ops"] == "fails"
    assert "not the same model in a subclass" in details["ops"]


def test_a_refusal_where_the_manifest_has_a_split_fails():
    def split(model):
        raise TypeError("it has no stem")

    verdicts, details = checks(split)
    assert verdicts["ops"] == "fails"
    assert details["ops"] == "TypeError: it has no stem"


def test_a_class_that_is_not_the_manifests_fails():
    verdicts, details = checks(splitting(Right), model_class="timm.models.eva.Eva")
    assert verdicts["ops"] == "fails"
    assert "the manifest says timm.models.eva.Eva" in details["ops"]


def test_what_timm_cannot_build_was_not_run():
    result = check_ops("no_such_model", VIT, splitting(Right))
    assert {check.verdict for check in result.checks} == {"not run"}
    assert result.verdict == "not run"
    assert "no_such_model" in result.checks[0].detail


def test_what_timm_itself_makes_a_mistake_in_building_is_told_apart(monkeypatch):
    def mistaken(self, *args, **kwargs):
        raise TypeError("unexpected keyword argument 'align'")

    monkeypatch.setattr(VisionTransformer, "__init__", mistaken)
    result = check_ops("test_vit", VIT, splitting(Right))
    assert result.unbuilt == "TypeError: unexpected keyword argument 'align'"


def test_a_large_model_that_asks_for_values_runs_on_the_cpu_shallow_and_on_small_images_and_says_so(monkeypatch):
    original = VisionTransformer._pos_embed

    def asks(self, x):
        return original(self, x) if x.isfinite().all() else x  # which meta cannot tell

    monkeypatch.setattr(VisionTransformer, "_pos_embed", asks)
    result = check_ops("vit_large_patch16_224", VIT, splitting(Right))
    assert result.verdict == "holds"
    assert {check.detail for check in result.checks if check.verdict == "holds"} == {
        "on the CPU, images of 64 x 64, depth=2, img_size=(64, 64)",
    }
    assert result.parameters > 300_000_000  # those of the model that has the name


def test_what_timm_cannot_run_at_all_was_not_run(monkeypatch):
    def raises(self, x):
        raise ValueError("no images")

    monkeypatch.setattr(VisionTransformer, "_pos_embed", raises)
    result = check_ops("test_vit", VIT, splitting(Right))
    assert {(check.verdict, check.detail) for check in result.checks} == {("not run", "ValueError: no images")}
    assert not result.unbuilt


def test_training_that_timm_cannot_run_in_full_says_what_was_left_out():
    class HieraSplit(timm.models.hiera.Hiera):
        def embed(self, x):
            return self._pos_embed(self.patch_embed(x))

        def forward_stages(self, x):
            x = self.unroll(x)
            for block in self.blocks:
                x = block(x)
            return x

        def forward_features(self, x):
            return self.forward_stages(self.embed(x))

    # Hiera drops patches with a mask, whose number of elements meta does not know
    result = check_ops("hiera_tiny_224", "timm.models.hiera.Hiera", splitting(HieraSplit))
    training = next(check for check in result.checks if check.name == "training")
    assert training.verdict == "holds"
    assert training.detail.startswith("dropping less, for timm: ")


def test_training_drops_all_that_the_constructor_takes_and_less_where_that_does_not_run():
    choices = rates(VisionTransformer)
    assert {"pos_drop_rate", "patch_drop_rate", "drop_path_rate"} <= set(choices[0])
    assert "patch_drop_rate" not in choices[1]
    assert "attn_drop_rate" not in choices[2]
    assert choices[-1] == {}
    assert rates(torch.nn.Identity) == [{}]


# A class that delegates keeps timm's forward_features; its halves have to be the same with either inner model


class WrongUnlessSplitInside(RightClassifier):
    def embed(self, x):
        return super().embed(x if isinstance(self.encoder, RightEncoder) else x + 0)


class WrongIfSplitInside(RightEncoder):
    def embed(self, x):
        return super().embed(x + 0)


@pytest.mark.parametrize(
    ("classifier", "encoder", "detail"),
    [
        (RightClassifier, RightEncoder, ""),
        (WrongUnlessSplitInside, RightEncoder, "with an inner model of timm's own class: op 0"),
        (RightClassifier, WrongIfSplitInside, "op 0"),
    ],
)
def test_the_halves_of_a_class_that_delegates_are_run_with_both_kinds_of_inner_model(classifier, encoder, detail):
    name = timm.list_models("deepseek*vit*")[0]
    verdicts, details = checks(delegating.splitting(classifier, encoder), name, CLASSIFIER)
    assert verdicts["ops"] == ("fails" if detail else "holds")
    assert details["ops"].startswith(detail)
