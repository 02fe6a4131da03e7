"""Masked models compute what those of transformers compute: weights copied, the same mask, features and loss."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import generated
from generated.masking import MaskedImageModel, random_mask

transformers = pytest.importorskip("transformers", minversion="5.0")

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
VIT = {**SIZES, "image_size": 32, "patch_size": 8, "layer_norm_eps": 1e-6}
OURS = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2, "mlp_ratio": 2}
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))

NAMES = {  # of transformers, by pattern, and of timm; the first that matches
    r"^.*\.?embeddings\.position_embeddings": "pos_embed",
    r"^.*\.?embeddings\.cls_token": "cls_token",
    r"^.*\.?embeddings\.patch_embeddings\.projection": "patch_embed.proj",
    r"^.*\.?embeddings\.norm": "patch_embed.norm",
    r"^.*\.?stages\.(\d+)\.layers\.0\.": r"blocks.\1.",
    r"^.*\.?layers\.(\d+)\.blocks\.(\d+)\.": r"layers.\1.blocks.\2.",
    r"^.*\.?layers\.(\d+)\.downsample\.": lambda m: f"layers.{int(m[1]) + 1}.downsample.",
    r"^.*\.?layers?\.(\d+)\.": r"blocks.\1.",
    r"^.*\.?layernorm\.": "norm.",
}
INSIDE = {
    "attention.o_proj": "attn.proj",
    "attention.relative_position_bias.": "attn.",
    r"(?<!attn\.)relative_position_bias\.": "attn.",
    "attention.": "attn.",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
    "lambda_1": "gamma_1",
    "lambda_2": "gamma_2",
}


def as_timm(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of transformers under the names of timm, with queries, keys and values in one."""
    renamed = {}
    for name, value in state.items():
        if "mask_token" in name or "decoder" in name or "lm_head" in name:
            continue
        for pattern, to in NAMES.items():
            name, found = re.subn(pattern, to, name)
            if found:
                break
        for pattern, to in INSIDE.items():
            name = re.sub(pattern, to, name)
        renamed[name] = value
    for name in [name for name in renamed if "q_proj" in name]:
        parts = [renamed.pop(name.replace("q_proj", f"{part}_proj"), None) for part in "qkv"]
        if parts[1] is None:  # BEiT has no bias of keys
            renamed |= {
                name.replace("q_proj.bias", "q_bias"): parts[0],
                name.replace("q_proj.bias", "v_bias"): parts[2],
            }
        else:
            renamed[name.replace("q_proj", "qkv")] = torch.cat(parts)
    return renamed


def with_weights(theirs: nn.Module, name: str, of: nn.Module | None = None, **options: object) -> generated.SplitModel:
    """A model of timm with the weights of one of transformers, which are made random."""
    torch.manual_seed(0)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.2)
    theirs.eval()
    model = generated.create_model(name, num_classes=0, **options).eval()
    weights = as_timm((of or theirs).state_dict())
    for norm in ("fc_norm", "head.norm"):
        if f"{norm}.weight" in model.state_dict():
            weights = {re.sub("^norm", norm, name): value for name, value in weights.items()}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert unexpected == []
    assert all("index" in name or "k_bias" in name for name in missing), missing
    return model


def pixels(images: torch.Tensor, side: int) -> torch.Tensor:
    """(B, N, side * side * 3), row by row, colours last, as transformers has the pixels of a patch."""
    patches = F.unfold(images, side, stride=side).view(len(images), 3, side * side, -1)
    return patches.permute(0, 3, 2, 1).flatten(2)


def test_mae_has_the_features_and_the_loss_of_vitmae():
    config = transformers.ViTMAEConfig(
        **VIT, decoder_hidden_size=16, decoder_num_hidden_layers=1, decoder_num_attention_heads=2,
        decoder_intermediate_size=32,
    )  # fmt: skip
    theirs = transformers.ViTMAEForPreTraining(config)
    masked = MaskedImageModel(with_weights(theirs, "vit_tiny_patch16_224", theirs.vit, **OURS), strategy="drop")
    mask = random_mask(2, (4, 4), 0.75, generator=torch.Generator().manual_seed(0))
    noise = mask.float() + torch.arange(16) / 100  # visible patches come first, in the order of the grid
    with torch.no_grad():
        expected = theirs(IMAGES, noise=noise)
        features, _, restore = masked(IMAGES, mask)
        torch.testing.assert_close(features, theirs.vit(IMAGES, noise=noise).last_hidden_state, atol=1e-5, rtol=0)
        predicted = theirs.decoder(features, restore).logits
    torch.testing.assert_close(expected.mask.bool(), mask)
    loss = (predicted - pixels(IMAGES, 8)).square().mean(dim=2)[mask].mean()
    torch.testing.assert_close(loss, expected.loss, atol=1e-5, rtol=1e-5)


def simmim_loss(predicted: torch.Tensor, mask: torch.Tensor, side: int) -> torch.Tensor:
    """SimMIM: the mean error of masked pixels."""
    rows = IMAGES.shape[2] // side
    where = mask.view(-1, rows, rows).repeat_interleave(side, 1).repeat_interleave(side, 2).unsqueeze(1)
    return ((predicted - IMAGES).abs() * where).sum() / (where.sum() + 1e-5) / 3


def set_token(masked: MaskedImageModel, token: torch.Tensor) -> None:
    with torch.no_grad():
        masked.mask_token.copy_(token.flatten())


def test_simmim_on_a_vit_has_the_features_and_the_loss_of_transformers():
    theirs = transformers.ViTForMaskedImageModeling(transformers.ViTConfig(**VIT, encoder_stride=8))
    masked = MaskedImageModel(with_weights(theirs, "vit_tiny_patch16_224", theirs.vit, **OURS))
    set_token(masked, theirs.vit.embeddings.mask_token)
    mask = random_mask(2, (4, 4), 0.5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs(IMAGES, bool_masked_pos=mask, output_hidden_states=True)
        features = masked(IMAGES, mask).features
        last = theirs.vit(IMAGES, bool_masked_pos=mask).last_hidden_state
        torch.testing.assert_close(features, last, atol=1e-5, rtol=0)
        predicted = theirs.decoder(features[:, 1:].transpose(1, 2).unflatten(2, (4, 4)))
    torch.testing.assert_close(simmim_loss(predicted, mask, 8), expected.loss, atol=1e-5, rtol=1e-5)


def test_simmim_on_a_swin_has_the_features_and_the_loss_of_transformers():
    config = transformers.SwinConfig(
        image_size=32, patch_size=4, embed_dim=16, depths=[2, 2], num_heads=[2, 2], window_size=4, encoder_stride=8,
        layer_norm_eps=1e-5,
    )  # fmt: skip
    theirs = transformers.SwinForMaskedImageModeling(config)
    model = with_weights(
        theirs, "swin_tiny_patch4_window7_224", theirs.swin, img_size=32, embed_dim=16, depths=(2, 2), num_heads=(2, 2),
        window_size=4,
    )  # fmt: skip
    masked = MaskedImageModel(model, unit=2)
    set_token(masked, theirs.swin.embeddings.mask_token)
    mask = random_mask(2, (8, 8), 0.5, unit=2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs(IMAGES, bool_masked_pos=mask)
        features = masked(IMAGES, mask).features
        last = theirs.swin(IMAGES, bool_masked_pos=mask).last_hidden_state
        torch.testing.assert_close(features.flatten(1, 2), last, atol=1e-5, rtol=0)
        predicted = theirs.decoder(features.permute(0, 3, 1, 2))
    torch.testing.assert_close(simmim_loss(predicted, mask, 4), expected.loss, atol=1e-5, rtol=1e-5)


def test_beit_has_the_features_and_the_loss_of_transformers():
    config = transformers.BeitConfig(**{**VIT, "vocab_size": 16, "use_mask_token": True, "layer_scale_init_value": 0.1},
                                     use_relative_position_bias=True)  # fmt: skip
    theirs = transformers.BeitForMaskedImageModeling(config)
    model = with_weights(theirs, "beit_base_patch16_224", **OURS, global_pool="avg")
    masked = MaskedImageModel(model)
    set_token(masked, theirs.beit.embeddings.mask_token)
    mask = random_mask(2, (4, 4), 0.5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        labels = torch.randint(16, (int(mask.sum()),), generator=torch.Generator().manual_seed(0))
        expected = theirs(IMAGES, bool_masked_pos=mask, labels=labels)
        features = masked(IMAGES, mask).features
        last = theirs.layernorm(theirs.beit(IMAGES, bool_masked_pos=mask).last_hidden_state)
        torch.testing.assert_close(features, last, atol=1e-5, rtol=0)
        loss = F.cross_entropy(theirs.lm_head(features[:, 1:])[mask], labels)
    torch.testing.assert_close(loss, expected.loss, atol=1e-5, rtol=1e-5)


def test_dinov2_has_the_features_of_transformers():
    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, image_size=32, patch_size=8
    )
    theirs = transformers.Dinov2Model(config)
    model = with_weights(theirs, "vit_tiny_patch16_224", **OURS, init_values=0.1)
    masked = MaskedImageModel(model)
    set_token(masked, theirs.embeddings.mask_token)
    mask = random_mask(2, (4, 4), 0.5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs(IMAGES, bool_masked_pos=mask).last_hidden_state
        torch.testing.assert_close(masked(IMAGES, mask).features, expected, atol=1e-5, rtol=0)


def test_mae_on_a_hiera_has_the_features_of_transformers():
    # its decoder fuses the features of all stages; here those of the last one are compared
    stages = {"depths": [1, 1, 1, 1], "num_heads": [1, 2, 4, 8]}
    config = transformers.HieraConfig(**stages, image_size=[64, 64], embed_dim=16, mlp_ratio=2.0, mask_ratio=0.5)
    theirs = transformers.HieraModel(config, is_mae=True)
    model = with_weights(
        theirs, "hiera_tiny_224", img_size=(64, 64), embed_dim=16, num_heads=1, stages=(1, 1, 1, 1), mlp_ratio=2.0
    )
    masked = MaskedImageModel(model, strategy="drop", mask_ratio=0.5, image_size=(64, 64), final_norm=False)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    noise = torch.tensor([[0.1, 0.9, 0.8, 0.2], [0.7, 0.3, 0.4, 0.6]])  # of 2 x 2 units, the lower half is visible
    units = (noise > 0.5).view(2, 2, 1, 2, 1).expand(2, 2, 8, 2, 8).reshape(2, 256)
    with torch.no_grad():
        expected = theirs(images, noise=noise).last_hidden_state
        features = masked(images, units).features
    torch.testing.assert_close(features, expected.view_as(features), atol=1e-5, rtol=0)
