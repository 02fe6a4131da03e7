"""The norm that timm leaves to the head is found, and applied to every token."""

import copy
from collections import OrderedDict
from dataclasses import dataclass

import pytest
import timm
import torch
from torch import nn

import generated
from generated.masking import Dropped, MaskedImageModel

VIT = {"img_size": 32, "patch_size": 16, "embed_dim": 32, "depth": 1, "num_heads": 2}
NORMED = {  # the name of the norm, a model that leaves it to the head, where the channels are
    "vit, pooled by average": ("fc_norm", "vit_tiny_patch16_224", {**VIT, "global_pool": "avg", "class_token": False}),
    "vit, with registers": ("fc_norm", "vit_tiny_patch16_224", {**VIT, "global_pool": "avg", "reg_tokens": 2}),
    "beit": ("fc_norm", "beit_base_patch16_224", VIT),
    "eva": ("fc_norm", "eva02_tiny_patch14_224", VIT),
    "convnext": ("head.norm", "test_convnext", {}),
    "convnext v2": ("head.norm", "test_convnext2", {}),
    "davit": (
        "head.norm",
        "davit_tiny",
        {"embed_dims": (16, 16, 16, 16), "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1)},
    ),
    "metaformer": ("head.norm", "poolformer_s12", {}),
    "hiera": ("head.norm", "hiera_tiny_224", {"img_size": (64, 64), "embed_dim": 16, "stages": (1, 1, 1, 1)}),
}
WITHOUT = {
    "vit, class token": ("vit_tiny_patch16_224", VIT),
    "vit, attention pooling": ("vit_base_patch16_siglip_224", VIT),
    "swin": ("swin_tiny_patch4_window7_224", {"img_size": 64, "embed_dim": 24, "depths": (1, 1, 1, 1)}),
    "batch norm of the head": ("levit_128s", {}),
    "convolution in the head": ("mobilenetv3_small_050", {}),
    "residual network": ("test_resnet", {}),
}


def masked_model(name: str, options: dict[str, object], **how: object) -> MaskedImageModel:
    torch.manual_seed(0)
    model = generated.create_model(name, **options).eval()
    for module in model.modules():  # norms that do something
        if isinstance(module, (nn.LayerNorm, nn.GroupNorm)) and module.weight is not None:
            nn.init.normal_(module.weight, 1.0)
    size = options.get("img_size")
    size = (size, size) if isinstance(size, int) else size
    return MaskedImageModel(model, mask_ratio=0.5, mask_token="zero", position="after", image_size=size, **how)


def features_of(masked: MaskedImageModel, images: torch.Tensor) -> torch.Tensor:
    return masked(images, generator=torch.Generator().manual_seed(0)).features


def images_for(masked: MaskedImageModel) -> torch.Tensor:
    return torch.rand(2, 3, *masked.layout.streams[0].image_size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", NORMED)
def test_every_token_is_normalised_as_the_head_normalises_pooled_ones(kind):
    norm, name, options = NORMED[kind]
    plain, normed = masked_model(name, options, final_norm=False), masked_model(name, options)
    assert plain.final_norm is None
    assert normed.final_norm.name == norm
    images = images_for(normed)
    with torch.no_grad():
        before, after = features_of(plain, images), features_of(normed, images)
    assert after.shape == before.shape
    channels = 1 if normed.final_norm.channels_first else -1
    tokens, expected = (x.movedim(channels, -1).reshape(-1, x.shape[channels]) for x in (after, before))
    module = normed.backbone.get_submodule(norm)
    for token, x in zip(tokens[::7], expected[::7], strict=True):
        given = x[None, :, None, None] if normed.final_norm.as_map else x[None]
        torch.testing.assert_close(token, module(given).flatten())


@pytest.mark.parametrize("kind", NORMED)
def test_the_norm_is_trained_and_loads_into_timm_strictly(kind):
    norm, name, options = NORMED[kind]
    masked = masked_model(name, options)
    features_of(masked, images_for(masked)).square().sum().backward()
    assert masked.backbone.get_parameter(f"{norm}.weight").grad.any()
    theirs = timm.create_model(name, **options)
    theirs.load_state_dict(masked.backbone.state_dict(), strict=True)
    assert not any("final_norm" in key for key in masked.state_dict())


@pytest.mark.parametrize("kind", WITHOUT)
def test_where_the_head_has_none_features_stay_as_they_are(kind):
    name, options = WITHOUT[kind]
    plain, normed = masked_model(name, options, final_norm=False), masked_model(name, options)
    assert normed.final_norm is None
    images = images_for(normed)
    with torch.no_grad():
        assert torch.equal(features_of(plain, images), features_of(normed, images))


def test_a_name_that_is_created_without_a_classifier_has_its_norm():
    assert MaskedImageModel("test_convnext").final_norm.name == "head.norm"


@dataclass(frozen=True)
class Output:
    """As models return several things at once."""

    hidden: torch.Tensor
    count: int


class Box(OrderedDict):
    """A dict that is more than its items."""

    def __init__(self, tokens: torch.Tensor, kind: str) -> None:
        super().__init__(x=tokens)
        self.kind = kind


@pytest.mark.parametrize(
    ("put", "take"),
    [
        (lambda x: Output(x, 3), lambda x: x.hidden),
        (lambda x: {"a": {"n": None}, "x": [x]}, lambda x: x["x"][0]),
        (lambda x: Dropped(x, None, None), lambda x: x.embedding),
        (lambda x: Box(x, "tokens"), lambda x: x["x"]),
    ],
)
def test_it_is_applied_to_features_in_anything_that_holds_them(put, take):
    options = {**VIT, "global_pool": "avg", "class_token": False}

    class Held(type(generated.create_model("vit_tiny_patch16_224", **options))):  # type: ignore[misc]
        def forward_stages(self, embedding):
            return put(super().forward_stages(embedding))

        def forward(self, images):
            return self.head(self.fc_norm(take(self.forward_features(images)).mean(1)))

    torch.manual_seed(0)
    model = generated.create_model("vit_tiny_patch16_224", **options).eval()
    plain = MaskedImageModel(copy.deepcopy(model), mask_token="zero")
    model.__class__ = Held
    masked = MaskedImageModel(model, mask_token="zero")
    assert masked.final_norm.name == "fc_norm"
    images = images_for(masked)
    features = features_of(masked, images)
    assert type(features) is type(put(None))
    assert getattr(features, "kind", "tokens") == "tokens"
    assert torch.equal(take(features), features_of(plain, images))


def test_features_of_one_place_are_no_channels():
    model = generated.create_model("test_convnext")
    assert MaskedImageModel(model, image_size=(32, 32)).final_norm.channels_first


def test_looking_for_it_leaves_no_trace():
    masked = masked_model("beit_base_patch16_224", VIT)
    assert "forward_features" not in vars(masked.backbone)
    assert not any(module._forward_pre_hooks for module in masked.modules())


def test_a_head_that_fails_is_named():
    class Failing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no head for it")

    model = generated.create_model("vit_tiny_patch16_224", **VIT)
    model.head = Failing()
    with pytest.raises(ValueError, match=r"which fails \(RuntimeError: no head for it\): .* final_norm=False"):
        MaskedImageModel(model)
    assert MaskedImageModel(model, final_norm=False).final_norm is None


def test_on_meta_it_is_told_by_its_channels():
    with torch.device("meta"):
        model = generated.create_model("beit_base_patch16_224", **VIT)
    assert MaskedImageModel(model).final_norm.name == "fc_norm"
