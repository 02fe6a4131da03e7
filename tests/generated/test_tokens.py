"""Patches are found where they are: masking one changes the tokens that see its pixels, and no other.

Which pixels a token sees is asked of autograd, not of the layout.
"""

import pytest
import torch
from names import DROPPING, NAMES, class_of
from torch import nn

import generated
from generated.masking import TokenLayout, replace

# Classes that take the images they were made for and no other proportions, neither at once nor by img_size=
SQUARE_ONLY: set[str] = set()


def seen(tokens: torch.Tensor, images: torch.Tensor) -> tuple[tuple[int, int, int, int], bool]:
    """The box (top, bottom, left, right) of pixels of the first image that tokens see; whether they see the second."""
    weights = torch.randn(tokens.shape, generator=torch.Generator().manual_seed(0))
    (grad,) = torch.autograd.grad((tokens * weights).sum(), images, retain_graph=True)
    rows, columns = (grad[0].abs().sum(dim=(0, axis)).nonzero().flatten() for axis in (2, 1))
    box = (int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()) + 1)
    return box, bool(grad[1].any())


def check_patches(model: nn.Module, size: tuple[int, int]) -> None:
    layout = TokenLayout.of(model, size)
    images = torch.rand(2, getattr(model, "in_chans", 3), *size, generator=torch.Generator().manual_seed(0))
    embedding = model.embed(images.requires_grad_())
    for number, (stream, tokens) in enumerate(zip(layout.streams, layout.tokens(embedding), strict=True)):
        height, width = stream.grid_of(tokens, size)
        assert stream.patches(tokens).shape == (2, height * width, stream.channels)
        for row, column in [(height // 3, width * 2 // 3), (height * 2 // 3, width // 2), (0, 0), (0, width - 1)]:
            masks = [
                torch.zeros(2, s.count(x), dtype=torch.bool)
                for s, x in zip(layout.streams, layout.tokens(embedding), strict=True)
            ]
            masks[number][0, row * width + column] = True
            masked = layout.tokens(replace(layout, embedding, masks if layout.listed else masks[0], 1e4))
            changed = [a != b for a, b in zip(masked, layout.tokens(embedding), strict=True)]
            assert [int(c.sum()) for c in changed] == [stream.channels * (n == number) for n in range(len(changed))]
            (top, bottom, left, right), other = seen(tokens[changed[number]], images)
            assert not other, "the tokens of one image see another"
            for low, high, place, patches, pixels in (
                (top, bottom, row, height, size[0]),
                (left, right, column, width, size[1]),
            ):
                centre, patch = (place + 0.5) * pixels / patches, pixels / patches
                assert low - patch < centre < high + patch
                if low > 0 and high < pixels:  # the whole of what it sees lies in the image
                    assert abs((low + high) / 2 - centre) <= max(patch, (high - low) / 4)


def in_other_proportions(name: str, size: tuple[int, int]) -> tuple[nn.Module, tuple[int, int]] | None:
    """A model that takes images twice as wide as it was made for, if timm has one."""
    wide = (size[0], 2 * size[1])
    for options in ({}, {"img_size": wide}):
        try:
            model = generated.create_model(name, **options).eval()
            TokenLayout.of(model, wide)
        except (TypeError, ValueError, AssertionError, RuntimeError):
            continue
        return model, wide
    return None


@pytest.mark.parametrize("name", NAMES)
def test_a_patch_is_its_token_and_no_other(name):
    model = generated.create_model(name).eval()
    layout = TokenLayout.of(model)
    assert (not layout.whole_grid) == (class_of(name) in DROPPING), layout.whole_grid
    size = layout.streams[0].image_size
    check_patches(model, size)
    wide = in_other_proportions(name, size)
    assert (wide is None) == (name in SQUARE_ONLY)
    if wide is not None:
        check_patches(*wide)
