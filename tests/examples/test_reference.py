"""One step of a method against another implementation of it, with the same weights, images and masks."""

import pytest
import torch
import transformers
from methods import mae, simmim
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
