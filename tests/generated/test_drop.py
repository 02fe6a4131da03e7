"""Dropping patches is hiding them: the kept tokens come out as from all of them, where no attention sees the rest.

Hidden is what attention gives to the keys of dropped patches, wherever timm computes it. Everything is float64, so that
what remains of a difference is of the method and not of the numbers.
"""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from names import DROPPING, class_of
from torch.overrides import TorchFunctionMode

import generated
from generated.masking import drop, random_mask, repeat, token_layout

# One name of each class whose blocks are indifferent to the number of patches, and the ways that positions go with them
CASES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "class token": ("test_vit", {}),
    "registers": ("vit_tiny_patch16_224", {"reg_tokens": 4, "class_token": False, "global_pool": "avg", "depth": 3}),
    "distillation token": ("deit_tiny_distilled_patch16_224", {"depth": 3}),
    "class attention": ("cait_xxs24_224", {"depth": 3}),
    "inner and outer": ("tnt_s_legacy_patch16_224", {"depth": 2}),
    "rotary": ("eva02_tiny_patch14_224", {"depth": 3}),
    "rotary of DINOv3": ("vit_small_patch16_dinov3", {"depth": 3}),
    "rotary by depth": ("vit_small_patch16_rope_mixed_224", {"depth": 3}),
    "rotary and absolute": ("vit_small_patch16_rope_mixed_ape_224", {"depth": 2}),
    "rotary, pre-norm": ("vit_pe_core_tiny_patch16_384", {"depth": 2}),
    "NaFlex": ("naflexvit_base_patch16_gap", {"depth": 2}),
    "NaFlex, rotary": ("naflexvit_base_patch16_gap", {"depth": 2, "rope_type": "axial"}),
    "NaFlex, rotary by depth": ("naflexvit_base_patch16_gap", {"depth": 2, "rope_type": "mixed"}),
    "positions in two dimensions": ("gemma4_vit_167m_enc", {"depth": 2}),
}


class Hidden(TorchFunctionMode):
    """Attention that does not see some of the patches, ``(B, N)``, which are the last of its keys."""

    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__()
        self.mask = mask
        self.times = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.nn.functional.scaled_dot_product_attention:
            _, key, _ = args
            assert kwargs.get("attn_mask") is None
            kwargs["attn_mask"] = ~self._keys(key.shape[-2])[:, None, None, :]
            self.times += 1
        elif func in (torch.softmax, torch.Tensor.softmax, torch.nn.functional.softmax):
            scores, *rest = args
            if scores.shape[-1] >= self.mask.shape[1]:
                hidden = self._keys(scores.shape[-1])[:, None, None, :]
                args = (scores.masked_fill(hidden, float("-inf")), *rest)
                self.times += 1
        elif func in (torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__):
            weights, values = args  # talking heads mix what they attend to, hidden keys as well, once more
            if weights.ndim == 4 and weights.shape[-1] >= self.mask.shape[1]:
                args = (weights.masked_fill(self._keys(weights.shape[-1])[:, None, None, :], 0.0), values)
        return func(*args, **kwargs)

    def _keys(self, count: int) -> torch.Tensor:
        return torch.nn.functional.pad(self.mask, (count - self.mask.shape[1], 0))


def build(name: str, options: Mapping[str, Any]) -> torch.nn.Module:
    torch.manual_seed(0)
    model = generated.create_model(name, **options).eval().double()
    with torch.no_grad():
        for parameter in model.parameters():  # those that start at zero hide what is done with them
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model


@pytest.mark.parametrize("case", CASES)
def test_the_kept_tokens_come_out_as_if_the_others_were_hidden(case):
    model = build(*CASES[case])
    layout = token_layout(model, (192, 192) if "in two" in case or "NaFlex" in case else None)
    (stream,) = layout.streams
    images = torch.rand(2, 3, *stream.image_size, dtype=torch.float64)
    mask = random_mask(2, stream.grid, 0.7, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        embedding = model.embed(images)
        dropped = drop(layout, embedding, mask)
        kept = model.forward_stages(dropped.embedding)
        with Hidden(mask) as hidden:
            full = model.forward_stages(embedding)
    assert hidden.times >= 2
    kept, full = (x["patches"] if isinstance(x, dict) else x for x in (kept, full))
    prefix = full.shape[1] - mask.shape[1]
    rows = dropped.visible.unsqueeze(-1).expand(-1, -1, full.shape[2]) + prefix
    expected = torch.cat([full[:, :prefix], full.gather(1, rows)], dim=1)
    assert (kept - expected).abs().max() < 1e-5
    assert expected.std() > 1e-2


def test_what_goes_with_patches_that_come_one_by_one_goes_with_the_visible_ones():
    # NaFlexViT takes patches of images of several sizes, with their places, padded to one length
    model = build("naflexvit_base_patch16_gap", {"depth": 2, "rope_type": "axial"})
    layout = token_layout(model, (64, 64))
    places = torch.stack(torch.meshgrid(torch.arange(4), torch.arange(3), indexing="ij"), dim=-1).flatten(0, 1)
    coordinates = torch.stack([places, places])
    valid = torch.ones(2, 12, dtype=torch.bool)
    valid[1, 9:] = False  # the second image is smaller
    patches = torch.rand(2, 12, 3 * 16 * 16, dtype=torch.float64)
    mask = random_mask(2, (4, 3), 0.5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        embedding = model.embed(patches, patch_coord=coordinates, patch_valid=valid)
        dropped = drop(layout, embedding, mask)
        prefix = layout.streams[0].prefix
        assert dropped.embedding.rope_embeds.shape == (2, 1, 6, embedding.rope_embeds.shape[-1])
        assert dropped.embedding.attn_mask.shape[-1] == 6 + prefix
        assert torch.equal(dropped.embedding.embeds["patch_valid"], valid.gather(1, dropped.visible))
        kept = model.forward_stages(dropped.embedding)["patches"]
        # the same, where attention hides what is masked as well as what is padding
        unseen = torch.nn.functional.pad(mask, (prefix, 0))[:, None, None, :]
        full = model.forward_stages(embedding._replace(attn_mask=embedding.attn_mask.masked_fill(unseen, -torch.inf)))
    rows = dropped.visible.unsqueeze(-1) + prefix
    expected = full["patches"].gather(1, rows.expand(-1, -1, kept.shape[2]))
    repeated = repeat(layout, embedding, 2)
    assert len(repeated.attn_mask) == len(repeated.rope_embeds) == len(repeated.embeds["patch_valid"]) == 4
    seen = valid.gather(1, dropped.visible)
    assert (kept[:, prefix:] - expected)[seen].abs().max() < 1e-5


def test_what_cannot_be_looked_into_is_not_dropped_by_guess():
    model = build("naflexvit_base_patch16_gap", {"depth": 2, "rope_type": "mixed"})
    layout = token_layout(model, (64, 64))
    places = torch.stack(torch.meshgrid(torch.arange(4), torch.arange(3), indexing="ij"), dim=-1).flatten(0, 1)
    embedding = model.embed(
        torch.rand(1, 12, 768, dtype=torch.float64), patch_coord=places[None], patch_valid=torch.ones(1, 12).bool()
    )
    with pytest.raises(TypeError, match=r"`rope_embeds` .* is not known: it is a NaFlexRopeIterator"):
        drop(layout, embedding, random_mask(1, (4, 3), 0.5))


def test_every_class_that_can_drop_is_above():
    # the classifier is the encoder and a head; Hiera drops by itself, see test_masking.py
    assert {class_of(name) for name, _ in CASES.values()} == DROPPING - {"Gemma4VitClassifier", "Hiera"}
