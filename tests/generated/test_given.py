"""What forward_features takes besides images is taken by a masked model; features may be in whatever holds tensors."""

import re
from typing import Any

import pytest
import torch
from test_features import hiera
from torch import nn

import generated
from generated.masking import MaskedImageModel, token_layout


def test_intermediates_of_a_hiera_are_given_beside_its_features():
    masked = MaskedImageModel(hiera(2), strategy="drop", mask_ratio=0.5, image_size=(64, 64)).eval()
    images, mask = torch.randn(2, 3, 64, 64), torch.zeros(2, 16, 16, dtype=torch.bool)
    mask[:, :8] = True
    with torch.no_grad():
        features, intermediates = masked(images, mask.flatten(1), return_intermediates=True).features
        assert len(intermediates) == 3
        assert torch.equal(features, masked(images, mask.flatten(1)).features)


@pytest.mark.parametrize("strategy", ["replace", "drop"])
def test_a_mask_of_attention_reaches_the_stages(strategy):
    torch.manual_seed(0)
    model = generated.create_model("test_vit", img_size=64, patch_size=16)
    masked = MaskedImageModel(model, strategy=strategy, mask_ratio=0.5, image_size=(64, 64)).eval()
    images, mask = torch.randn(2, 3, 64, 64), torch.arange(16).ge(8).expand(2, -1)
    count = 17 if strategy == "replace" else 9
    alone = torch.eye(count, dtype=torch.bool).expand(2, 1, -1, -1)
    with torch.no_grad():
        first, second = (masked(images, mask, attn_mask=m).features for m in (alone, None))
        assert not torch.allclose(first, second)
        assert torch.equal(second, masked(images, mask).features)


def test_an_argument_that_nothing_takes_is_refused():
    masked = MaskedImageModel("test_vit")
    with pytest.raises(TypeError, match=r"neither embed\(\) nor forward_stages\(\).*takes `atn_mask`"):
        masked(torch.rand(1, 3, 160, 160), atn_mask=None)


class Model(nn.Module):
    """A stem of 8 x 8 pixels, and stages whose result is put into something."""

    def __init__(self, give: Any) -> None:
        super().__init__()
        self.proj, self.block, self.give = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 8), give
        self.default_cfg = {"input_size": (3, 32, 32)}

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)

    def forward_stages(self, tokens: torch.Tensor) -> Any:
        return self.give(self.block(tokens))


@pytest.mark.parametrize(
    ("give", "why"),
    [
        (lambda x: {"cls": x.mean(1), "patch_tokens": x}, ""),
        (lambda x: (x.mean(1), x), ""),
        (lambda x: [x, None], ""),
        (lambda x: {"out": {"x": x}}, ""),
        (lambda x: x.mean(1), "pool patches"),
        (lambda x: {"cls": x.mean(1)}, "pool patches"),
        (lambda x: {"cls": x.mean(1), "n": 2}, r"return a tensor of shape \(2, 8\), a int, and none"),
        (lambda x: "features", "return a str"),
    ],
)
def test_patches_may_be_dropped_where_any_tensor_of_the_features_has_them(give, why):
    found = token_layout(Model(give).eval()).whole_grid
    assert not found if not why else re.search(why, found)


def test_an_argument_that_is_needed_is_named():
    class Timed(Model):
        def forward_stages(self, tokens: torch.Tensor, t: int) -> torch.Tensor:  # type: ignore[override]
            return tokens * t

    with pytest.raises(TypeError, match="Timed needs `t` besides images"):
        token_layout(Timed(None).eval())
