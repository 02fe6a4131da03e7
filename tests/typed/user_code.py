"""What users write. It is not run: mypy and pyright have to accept it, with just these types and no other."""

import timm
import torch
from timm.models.eva import Eva
from torch import nn
from typing_extensions import assert_type

import generated
from generated import SplitModel
from generated.eva import EvaEmbedding, EvaSplit
from generated.masking import MaskedImageModel, TokenLayout, drop, random_mask, token_layout
from generated.vit import VisionTransformerSplit


def create_by_name(images: torch.Tensor) -> object:
    model = generated.create_model("vit_base_patch16_224", pretrained=True)
    assert_type(model, SplitModel)
    assert_type(generated.list_models("vit*", pretrained=True), list[str])
    generated.create_model(224)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    return model.forward_stages(model.embed(images), attn_mask=None)


def reach_all_of_a_module(model: SplitModel) -> int:
    assert_type(model.eval(), SplitModel)
    assert_type(model.get_submodule("blocks"), nn.Module)
    nn.DataParallel(model)
    return sum(parameter.numel() for parameter in model.parameters())


def split_what_exists(images: torch.Tensor) -> object:
    assert_type(generated.split(Eva()), SplitModel)
    model = generated.split(timm.create_model("eva02_base_patch14_224"))
    assert_type(model, SplitModel)
    generated.split("eva02_base_patch14_224")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    return model.embed_positions(model.embed_patches(images))


def keep_the_class(images: torch.Tensor) -> torch.Tensor:
    model = generated.split(EvaSplit())
    assert_type(model, EvaSplit)
    assert_type(generated.split(model), EvaSplit)
    embedding = model.embed(images)
    assert_type(embedding, EvaEmbedding)
    assert_type(embedding.x, torch.Tensor)
    assert_type(embedding.rot_pos_embed, torch.Tensor | None)
    assert_type(VisionTransformerSplit().embed(images), torch.Tensor)
    model.forward_stages(images)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    return model.forward_stages(embedding._replace(x=embedding.x * 0))


class Encoder:
    """What a user puts around any split model, or any of one class."""

    def __init__(self, backbone: SplitModel, teacher: VisionTransformerSplit) -> None:
        self.backbone = backbone
        self.teacher = teacher

    def __call__(self, images: torch.Tensor) -> object:
        return self.backbone.forward_stages(self.backbone.embed(images)), self.teacher.embed(images)


Encoder(EvaSplit(), VisionTransformerSplit())
Encoder(Eva(), VisionTransformerSplit())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def mask(images: torch.Tensor) -> torch.Tensor:
    model = MaskedImageModel("vit_base_patch16_224", strategy="drop")
    MaskedImageModel("vit_base_patch16_224", strategy="leave")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(model.backbone, SplitModel)
    assert_type(model.layout, TokenLayout)
    model(images)
    layout = token_layout(model.backbone, (224, 224))
    dropped = drop(layout, model.backbone.embed(images), random_mask(len(images), layout.grid((224, 224)), 0.75))
    assert_type(dropped.visible, torch.Tensor)
    return dropped.restore
