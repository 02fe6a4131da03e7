"""One step of a method against another implementation of it, with the same weights, images and masks."""

import copy

import pytest
import timm
import torch
import transformers
from lightly.loss import DINOLoss, IBOTPatchLoss, KoLeoLoss
from lightly.models.modules import MaskedVisionTransformerTIMM
from lightly.models.utils import apply_masks
from methods import dinov2, ibot, ijepa, mae, simmim
from torch import Tensor

import generated

ENCODER = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 192,
    "image_size": 32,
    "patch_size": 8,
    "layer_norm_eps": 1e-6,
}
NAMES = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "layernorm": "norm",
    "attention.o_proj": "attn.proj",
    "decoder_layers": "blocks",
    "layers": "blocks",
    "decoder_pos_embed": "pos_embed",
    "decoder_embed": "embed",
    "decoder_norm": "norm",
    "decoder_pred": "proj",
}


def named_as_timm(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors of transformers below a prefix by the names of timm, which has query, key and value in one."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not name.startswith(prefix):
            continue
        name = name.removeprefix(prefix)
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        for part in ("q", "k", "v"):  # in this order
            name = name.replace(f"attention.{part}_proj", "attn.qkv")
        found[name] = torch.cat([found[name], tensor]) if name in found else tensor
    return found


def gradients(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def vit() -> torch.nn.Module:
    return generated.create_model("test_vit", img_size=32, patch_size=8, depth=2, num_classes=0)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("norm_pix", [True, False])
def test_a_step_of_mae_is_that_of_transformers(norm_pix):
    decoder = {"decoder_hidden_size": 32, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2}
    config = transformers.ViTMAEConfig(**ENCODER, **decoder, decoder_intermediate_size=128, norm_pix_loss=norm_pix)
    theirs = transformers.ViTMAEForPreTraining(config)
    ours = mae.Method(
        vit(), torch.zeros(2, 3, 32, 32), norm_pix=norm_pix, decoder_dim=32, decoder_depth=1, decoder_heads=2
    )

    def copied(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        decoder = named_as_timm(tensors, "decoder.")
        decoder.pop("pos_embed", None)
        for name in ("proj.weight", "proj.bias"):  # their pixels are in the order of row, column, channel
            decoder[name] = decoder[name].unflatten(0, (8, 8, 3)).movedim(2, 0).flatten(0, 2)
        return named_as_timm(tensors, "vit."), decoder

    encoder_weights, decoder_weights = copied(theirs.state_dict())
    ours.encoder.backbone.load_state_dict(encoder_weights)
    ours.decoder.load_state_dict(decoder_weights)
    theirs.decoder.decoder_pos_embed.data[:, 1:] = ours.decoder.pos_embed
    theirs.decoder.decoder_pos_embed.data[:, :1] = 0

    images = torch.rand(3, 3, 32, 32)
    (mask,) = ours.draw(3, torch.Generator().manual_seed(1))
    noise = mask * 100.0 + torch.arange(16)  # the patches of the least noise stay, in the order of the grid
    loss, expected = ours([images], [mask]), theirs(images, noise=noise).loss
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)

    loss.backward()
    expected.backward()
    encoder_gradients, decoder_gradients = copied(gradients(theirs))
    for model, wanted in ((ours.encoder.backbone, encoder_gradients), (ours.decoder, decoder_gradients)):
        found = gradients(model)
        for name in found.keys() & wanted.keys():
            torch.testing.assert_close(found[name], wanted[name], rtol=1e-4, atol=1e-5)
        assert found.keys() - wanted.keys() <= {"pos_embed"}  # theirs are fixed, as ours after initialise()


def test_a_step_of_simmim_is_that_of_transformers():
    theirs = transformers.ViTForMaskedImageModeling(transformers.ViTConfig(**ENCODER, encoder_stride=8))
    ours = simmim.Method(vit(), torch.zeros(2, 3, 32, 32))
    tensors = theirs.state_dict()
    token = tensors.pop("vit.embeddings.mask_token")
    ours.encoder.backbone.load_state_dict(named_as_timm(tensors, "vit."))
    ours.encoder.mask_token.data[:] = token.view(-1)
    ours.head.load_state_dict({"weight": tensors["decoder.0.weight"].flatten(1), "bias": tensors["decoder.0.bias"]})

    images = torch.rand(3, 3, 32, 32)
    (mask,) = ours.draw(3, torch.Generator().manual_seed(1))
    loss, expected = ours([images], [mask]), theirs(images, bool_masked_pos=mask).loss
    # theirs divides by the masked pixels and 1e-5
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)

    loss.backward()
    expected.backward()
    wanted = gradients(theirs)
    torch.testing.assert_close(
        ours.encoder.mask_token.grad, wanted.pop("vit.embeddings.mask_token").view(-1), rtol=1e-4, atol=1e-5
    )
    found = gradients(ours.encoder.backbone)
    wanted = named_as_timm(wanted, "vit.")
    assert found.keys() == wanted.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-4, atol=1e-5)


def lightly_vit(model: torch.nn.Module, token: Tensor | None = None, **options: object) -> MaskedVisionTransformerTIMM:
    """A masked ViT of lightly with the weights of a split model, and a mask token."""
    vit = timm.create_model("test_vit", img_size=32, patch_size=8, depth=2, num_classes=0, **options)
    vit.load_state_dict(model.state_dict())
    copied = None if token is None else torch.nn.Parameter(token.detach().clone().view(1, 1, -1))
    return MaskedVisionTransformerTIMM(
        vit, copied, weight_initialization="skip", pos_embed_initialization="skip", antialias=True
    )


def assert_gradients_agree(found: torch.nn.Module, wanted: torch.nn.Module) -> None:
    """To 1e-5, of all that either trains."""
    ours, theirs = gradients(found), gradients(wanted)
    assert ours
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["dino", "ibot", "dinov2"])
def test_a_step_of_crops_is_that_of_lightlys_modules(method):
    kind = dinov2.Method if method == "dinov2" else ibot.Method
    ratios = (0.0, 0.0) if method == "dino" else (0.1, 0.5)  # iBOT without a masked patch is DINO
    options = {"local_crops": 1, "prototypes": 32, "hidden": 32, "bottleneck": 16, "mask_ratio": ratios}
    backbone = generated.create_model(
        "test_vit", img_size=32, patch_size=8, depth=2, num_classes=0, dynamic_img_size=True
    )
    ours = kind(backbone, torch.zeros(2, 3, 32, 32), **options).eval()
    torch.nn.init.normal_(ours.encoder.mask_token, std=0.5)
    for parameter in ours.teacher.parameters():  # as after some steps
        parameter.data += 0.05 * torch.randn_like(parameter)
    token, teacher = ours.encoder.mask_token, ours.teacher.module
    student = lightly_vit(backbone, token, dynamic_img_size=True)
    average = lightly_vit(teacher["encoder"].backbone, token, dynamic_img_size=True)
    heads = copy.deepcopy(ours.head), copy.deepcopy(teacher["head"])

    views = [torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32), torch.rand(4, 3, 16, 16)]
    (mask,) = ours.draw(4, torch.Generator().manual_seed(0))
    ours.begin_step(0.01)
    loss = ours(views, [mask])

    large, hidden = torch.cat(views[:2]), torch.cat([mask[:, 0], mask[:, 1]])
    with torch.no_grad():
        wanted = average.encode(large)
        classes, patches = heads[1](wanted[:, 0]), heads[1](wanted[:, 1:][hidden])
    seen = student.encode(large, mask=torch.nn.functional.pad(hidden, (1, 0)))
    local = heads[0](student.encode(views[2])[:, 0])
    told = [*heads[0](seen[:, 0]).chunk(2), local]
    expected = DINOLoss(32)(list(classes.chunk(2)), told, teacher_temp=ours.temperature)
    if hidden.any():
        predicted = heads[0](seen[:, 1:][hidden])
        square = hidden.unflatten(1, (4, 4))
        expected = expected + IBOTPatchLoss(32)(patches, predicted, square, teacher_temp=ours.temperature)
    if method == "dinov2":
        expected = expected + 0.1 * sum(KoLeoLoss()(crop[:, 0]) for crop in seen.chunk(2))
    assert hidden.any() == (method != "dino")
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)

    loss.backward()
    expected.backward()
    assert_gradients_agree(ours.encoder.backbone, student.vit)
    assert_gradients_agree(ours.head, heads[0])
    if method != "dino":
        torch.testing.assert_close(token.grad.flatten(), student.mask_token.grad.flatten(), rtol=1e-4, atol=1e-5)


def test_a_step_of_ijepa_is_that_of_lightlys_modules():
    options = {"class_token": False, "global_pool": "avg", "fc_norm": False}  # the paper's ViT has no class token
    backbone = generated.create_model("test_vit", img_size=32, patch_size=8, depth=2, num_classes=0, **options)
    ours = ijepa.Method(
        backbone, torch.zeros(2, 3, 32, 32), min_keep=1, predictor_dim=24, predictor_depth=1, predictor_heads=3
    )
    torch.nn.init.normal_(ours.predictor.decoder.mask_token, std=0.5)
    for parameter in ours.teacher.parameters():  # as after some steps
        parameter.data += 0.05 * torch.randn_like(parameter)
    context_encoder = lightly_vit(backbone, **options)
    target_encoder = lightly_vit(ours.teacher.module.backbone, **options)
    predictor = copy.deepcopy(ours.predictor)

    images = torch.rand(4, 3, 32, 32)
    masks = ours.draw(4, torch.Generator().manual_seed(0))
    loss = ours([images], masks)

    _, context, targets = masks
    places = list(targets.unbind(1))
    with torch.no_grad():
        whole = target_encoder.encode(images)
        wanted = apply_masks(torch.nn.functional.layer_norm(whole, whole.shape[-1:]), places)
    predicted = predictor(context_encoder.encode(images, idx_keep=context), [context], places)
    expected = torch.nn.functional.smooth_l1_loss(predicted, wanted)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)

    loss.backward()
    expected.backward()
    assert_gradients_agree(ours.encoder.backbone, context_encoder.vit)
    assert_gradients_agree(ours.predictor, predictor)
