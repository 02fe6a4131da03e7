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
from generated.masking import drop, random_mask, token_layout

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


def test_every_class_that_can_drop_is_above():
    # the classifier is the encoder and a head; Hiera drops by itself, see test_masking.py
    assert {class_of(name) for name, _ in CASES.values()} == DROPPING - {"Gemma4VitClassifier", "Hiera"}
