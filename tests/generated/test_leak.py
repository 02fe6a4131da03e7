"""Pixels under the mask reach no feature: redrawing them alone changes nothing that the stages give."""

import pytest
import torch
from names import NAMES, class_of
from test_tokens import build, smallest
from torch import nn

from generated.masking import MaskedImageModel, TokenLayout, random_mask

QUICK = {"Hiera", "PyramidVisionTransformerV2"}


def tensors(value: object) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [x for one in inner for x in tensors(one)]


def differs(masked: MaskedImageModel, size: tuple[int, int], *, training: bool) -> bool:
    """Whether features change when only masked pixels do, with the same random numbers."""
    generator = torch.Generator().manual_seed(1)
    masked.train(training)
    layout: TokenLayout = masked.layout
    mask = random_mask(2, layout.grid(size), 0.5, unit=masked.unit, generator=generator)
    images = torch.rand(2, getattr(masked.backbone, "in_chans", 3), *size, generator=generator)
    noise = torch.randn(images.shape, generator=generator)
    other = torch.where(layout.streams[0].pixels(mask, size), noise, images)
    assert not torch.equal(images, other)
    state = {name: x.clone() for name, x in masked.state_dict().items()}
    found = []
    for x in (images, other):
        masked.load_state_dict(state)  # running statistics do not differ
        torch.manual_seed(0)
        with torch.no_grad():
            found.append(tensors(masked(x, mask).features))
    assert found[0]
    return any(not torch.equal(a, b) for a, b in zip(*found, strict=True))


def size_for(model: nn.Module) -> tuple[int, int]:
    """A small size that the stages take as well."""
    _, size = smallest(model)
    try:
        with torch.no_grad():
            model.forward_stages(model.embed(torch.zeros(1, getattr(model, "in_chans", 3), *size)))
    except (AssertionError, RuntimeError):
        config = model.default_cfg["input_size"]
        return config[1], config[2]
    return size


@pytest.mark.parametrize(
    "name", [n if class_of(n) in QUICK else pytest.param(n, marks=pytest.mark.exhaustive) for n in NAMES]
)
def test_pixels_under_the_mask_reach_no_feature(name):
    model = build(name)
    size = size_for(model)
    position = "before" if hasattr(model, "embed_patches") else "after"
    for strategy in ("replace", "drop"):
        try:
            masked = MaskedImageModel(model, strategy=strategy, image_size=size, position=position)
        except ValueError:
            assert strategy == "drop"
            continue
        for unit in sorted({masked.unit, 8}):
            if any(side % unit for side in masked.layout.grid(size)):
                continue
            masked.unit = unit
            assert not differs(masked, size, training=False)
            assert not differs(masked, size, training=True)
