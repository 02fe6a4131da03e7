"""Patches are found where they are: masking one changes the tokens that see its pixels, and no other.

Which pixels a token sees is asked of autograd, not of the layout.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from names import DROPPING, PACKAGE, QUICK_NAMES, class_of
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
                if low >= patch and high <= pixels - patch:  # the whole of what it sees lies in the image
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


@pytest.mark.parametrize("name", QUICK_NAMES)
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


# Sequences that are a grid, and such as only have the length of one


class Sequence(nn.Module):
    """A stem of 8 x 8 pixels, and what is made of its patches, (B, N, C)."""

    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor], size: tuple[int, int] = (32, 32)) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, 8, 8, 8)
        self.change = change
        self.default_cfg = {"input_size": (3, *size)}

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return self.change(self.proj(images).flatten(2).transpose(1, 2))

    def forward_stages(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens


def padded(before: int, after: int) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: nn.functional.pad(x, (0, 0, before, after))


@pytest.mark.parametrize(
    ("prefix", "size", "grid"),
    [
        (0, (32, 32), (4, 4)),
        (1, (32, 32), (4, 4)),
        (16, (32, 32), (4, 4)),
        (20, (32, 32), (4, 4)),
        (5, (16, 16), (2, 2)),
        (9, (16, 16), (2, 2)),
        (0, (8, 8), (1, 1)),
        (1, (8, 8), (1, 1)),
        (3, (8, 8), (1, 1)),
        (5, (8, 24), (1, 3)),
        (4, (24, 16), (3, 2)),
        (2, (56, 8), (7, 1)),
        (1, (32, 8), (4, 1)),
    ],
)
def test_patches_are_told_from_any_number_of_prefix_tokens(prefix, size, grid):
    torch.manual_seed(0)
    (stream,) = token_layout(Sequence(padded(prefix, 0), size).eval()).streams
    assert (stream.prefix, stream.grid) == (prefix, grid)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.unflatten(2, (2, 4)).flatten(1, 2),  # two tokens of each patch
        lambda x: torch.cat([x, x.flip(1)], dim=1),  # each patch twice
        lambda x: torch.cat([x, x], dim=1),
        padded(0, 1),  # a token behind the patches
        padded(3, 2),
        lambda x: x.flip(1),
        lambda x: x.roll(4, 1),
        lambda x: x[:, torch.randperm(16, generator=torch.Generator().manual_seed(0))],
        lambda x: x.unflatten(1, (2, 2, 2, 2)).transpose(2, 3).flatten(1, 4),  # windows
        lambda x: x.unflatten(1, (4, 4)).transpose(1, 2).flatten(1, 2),  # columns first
        lambda x: x.transpose(1, 2),  # channels as tokens
        lambda x: x * 0,
    ],
)
def test_a_sequence_that_is_no_grid_is_refused_though_its_length_fits(change):
    torch.manual_seed(0)
    with pytest.raises(TypeError, match="are no grid of patches behind prefix tokens"):
        token_layout(Sequence(change).eval())


class Maps(Sequence):
    """A stem of 8 x 8 pixels, and what is made of its patches, of four dimensions."""

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return self.change(self.proj(images))


@pytest.mark.parametrize("size", [(64, 64), (32, 32), (16, 64), (64, 40), (8, 8), (8, 64)])
@pytest.mark.parametrize("order", ["NCHW", "NHWC"])
def test_the_order_of_a_map_is_found_though_channels_are_as_many_as_rows(order, size):
    torch.manual_seed(0)
    change = (lambda x: x) if order == "NCHW" else (lambda x: x.permute(0, 2, 3, 1))
    (stream,) = token_layout(Maps(change, size).eval()).streams
    assert (stream.order, stream.grid, stream.channels) == (order, (size[0] // 8, size[1] // 8), 8)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.unflatten(3, (2, 4)).unflatten(2, (2, 4)).permute(0, 2, 4, 3, 5, 1).flatten(1, 2).flatten(2, 3),
        lambda x: x.unflatten(3, (2, 4)).unflatten(2, (2, 4)).permute(0, 1, 2, 4, 3, 5).flatten(2, 3).flatten(3, 4),
        lambda x: x.permute(0, 3, 2, 1),  # columns first
        lambda x: x.transpose(2, 3),
        lambda x: x.transpose(1, 2),  # (B, H, C, W)
        lambda x: x.flip(2),
        lambda x: x.roll(2, 3),
        lambda x: x * 0,
        lambda x: nn.functional.pad(x, (0, 0, 3, 0)),
    ],
)
def test_a_map_that_is_no_grid_of_the_image_is_refused(change):
    torch.manual_seed(0)
    with pytest.raises(TypeError, match=r"of shape \(2, .*is no grid of patches: for none that they may be"):
        token_layout(Maps(change, (64, 64)).eval())


@pytest.mark.parametrize("change", [lambda x: x.transpose(0, 1), lambda x: x.flatten(0, 1), lambda x: x[:1]])
def test_tokens_whose_first_dimension_is_not_the_batch_are_refused(change):
    with pytest.raises(TypeError, match=r"for 2 images: its first dimension must be the batch|has no patches"):
        token_layout(Sequence(change).eval())


@pytest.mark.parametrize(("size", "grid"), [((60, 60), (4, 4)), ((65, 64), (5, 4)), ((17, 33), (2, 3))])
def test_patches_of_images_that_a_stem_pads_are_as_large_as_others(size, grid):
    model = generated.create_model("test_vit", dynamic_img_size=True, dynamic_img_pad=True)
    layout = token_layout(model, size)
    assert (layout.streams[0].grid, layout.streams[0].stride, layout.sees) == (grid, (16, 16), 0)


def test_dinov2_with_more_registers_than_patches_is_masked_where_its_patches_are():
    model = generated.create_model("test_vit", reg_tokens=8, img_size=32)
    (stream,) = token_layout(model).streams
    assert (stream.prefix, stream.grid) == (9, (2, 2))


@pytest.mark.parametrize(
    ("features", "why"),
    [
        (lambda x: x.mean(1), r"its stages pool patches: they return features of shape \(2, 8\)"),
        (lambda x: x[:, ::2], r"its stages merge patches: of 7 they return features of shape \(2, 4, 8\)"),
    ],
)
def test_features_that_cannot_be_located_are_named(features, why):
    model = Sequence(padded(1, 0)).eval()
    model.forward_stages = features
    assert re.search(why, token_layout(model).whole_grid)
