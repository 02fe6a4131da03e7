"""Patches are found where they are: masking one changes the tokens that see its pixels, and no other.

Which pixels a token sees is asked of autograd, not of the layout.
"""

from typing import Any

import pytest
import torch
from names import DROPPING, NAMES, PACKAGE, class_of
from sources import RECORDED
from torch import nn

import generated
from generated.masking import TokenLayout, replace, token_layout

# Classes that take square images alone, whatever they are told when they are made
SQUARE_ONLY = {"Nest"}


def seen(tokens: torch.Tensor, images: torch.Tensor) -> tuple[tuple[int, int, int, int], bool]:
    """The box (top, bottom, left, right) of pixels of the first image that tokens see; whether they see the second."""
    weights = torch.randn(tokens.shape, generator=torch.Generator().manual_seed(0))
    (grad,) = torch.autograd.grad((tokens * weights).sum(), images, retain_graph=True)
    rows, columns = (grad[0].abs().sum(dim=(0, axis)).nonzero().flatten() for axis in (2, 1))
    box = (int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()) + 1)
    return box, bool(grad[1].any())


def check_patches(model: nn.Module, size: tuple[int, int]) -> None:
    layout = token_layout(model, size)
    images = torch.rand(2, getattr(model, "in_chans", 3), *size, generator=torch.Generator().manual_seed(0))
    embedding = model.embed(images.requires_grad_())
    tokens = layout.tokens(embedding)
    for number, stream in enumerate(layout.streams):
        height, width = stream.grid_of(tokens[number], size)
        assert stream.patches(tokens[number]).shape == (2, height * width, stream.channels)
        for row, column in [(height // 3, width * 2 // 3), (height * 2 // 3, width // 2), (0, 0), (0, width - 1)]:
            masks = [torch.zeros(2, s.count(x), dtype=torch.bool) for s, x in zip(layout.streams, tokens, strict=True)]
            masks[number][0, row * width + column] = True
            masked = layout.tokens(replace(layout, embedding, masks if layout.listed else masks[0], 1e4))
            changed = [a != b for a, b in zip(masked, tokens, strict=True)]
            assert [int(c.sum()) for c in changed] == [stream.channels * (n == number) for n in range(len(changed))]
            (top, bottom, left, right), other = seen(tokens[number][changed[number]], images)
            assert not other, "the tokens of one image see another"
            for low, high, place, patches, pixels in (
                (top, bottom, row, height, size[0]),
                (left, right, column, width, size[1]),
            ):
                stride = round(pixels / patches)  # without padding, what lies at the edges may be seen by none
                centre, patch = (pixels + (2 * place + 1 - patches) * stride) / 2, pixels / patches
                assert low - patch < centre < high + patch
                if low > 0 and high < pixels:  # the whole of what it sees lies in the image
                    assert abs((low + high) / 2 - centre) < patch / 2 + 3


def build(name: str, **options: Any) -> nn.Module:
    """A model, not deep if that can be had: what is tested here lies before its blocks."""
    torch.manual_seed(0)
    try:
        return generated.create_model(name, depth=2, **options).eval()
    except (AssertionError, TypeError, ValueError):  # there is no such option, or it means something else
        return generated.create_model(name, **options).eval()


def smallest(model: nn.Module) -> tuple[TokenLayout, tuple[int, int]]:
    """The layout of a model for images that are small, if it takes them, else for those it was made for."""
    try:
        layout = token_layout(model, (192, 192))
    except ValueError:
        layout = token_layout(model)
    return layout, layout.streams[0].image_size


def in_other_proportions(name: str, model: nn.Module, size: tuple[int, int]) -> nn.Module | None:
    """A model that takes images of that height and width, if timm has one."""
    for make in (lambda: model, lambda: build(name, img_size=size)):
        try:
            made = make()
            made.embed(torch.zeros(1, getattr(model, "in_chans", 3), *size))
        except (TypeError, ValueError, AssertionError, RuntimeError):
            continue
        return made
    return None


@pytest.mark.parametrize("name", NAMES)
def test_a_patch_is_its_token_and_no_other(name):
    model = build(name)
    layout, size = smallest(model)
    if PACKAGE.timm_version == RECORDED:
        assert (not layout.whole_grid) == (class_of(name) in DROPPING), layout.whole_grid
    check_patches(model, size)
    wide = (size[0], 2 * size[1])
    other = in_other_proportions(name, model, wide)
    if PACKAGE.timm_version == RECORDED:
        assert (other is None) == (class_of(name) in SQUARE_ONLY)
    if other is not None:
        check_patches(other, wide)
