"""The tokens of any split model, seen as patches on a grid.

timm's tokens come as (B, N, C) behind prefix tokens (class, register, distillation), as (B, H, W, C), as (B, C, H, W),
as a list of such, or as the first field of an embedding. Of videos, (B, C, T, H, W), a grid has frames before its
height and width, and maps have them, too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from ._masks import Grid, by

Sizes = Literal["any", "whole", "one"]

_FEWER = 3  # places of a map of other images than those that it was found with, where its convolutions do not pad


@dataclass(frozen=True)
class Stream:
    """One tensor of tokens.

    Attributes:
        order: ``NLC``, ``NHWC`` or ``NCHW``; maps of videos have their frames before H.
        prefix: Tokens before the patches; 0 in those orders that have none.
        channels: C.
        grid: Height and width in patches, of images of ``image_size``; of videos frames before them, here and below.
        image_size: Height and width in pixels of the images that this was found with.
        stride: Height and width in pixels of a patch, the first of which begins at the first pixel; ``None`` if that is
            not known, as of a padded stem and images that are no whole patches.
    """

    order: Literal["NLC", "NHWC", "NCHW"]
    prefix: int
    channels: int
    grid: Grid
    image_size: Grid
    stride: Grid | None = None

    def at(self, image_size: Grid, count: int | None = None) -> Grid:
        """The grid for images of another size.

        Args:
            image_size: Height and width in pixels.
            count: Patches that there are, if that is known: it tells whether a part of a patch at the edge counts.

        Raises:
            ValueError: So many patches make no grid for such images.
        """
        if len(image_size) != len(self.grid):
            raise ValueError(f"{by(image_size)} is no size of what has a grid of {by(self.grid)} patches")
        low, high = [], []
        for pixels, patches, seen in zip(image_size, self.grid, self.image_size):  # noqa: B905 - a slow path of compile
            low.append(pixels * patches // seen)
            high.append(-(-pixels * patches // seen))
        for grid in (tuple(low), *itertools.product(*zip(high, low))):  # noqa: B905
            if math.prod(grid) > 0 and count in (None, math.prod(grid)):
                return grid
        if self.order != "NLC" and count and len(low) == 2:
            # a convolution without padding makes fewer, as many fewer in each direction
            (low_h, low_w), (high_h, high_w) = low, high
            near = [
                (abs((rows - low_h) - (count // rows - low_w)), rows)
                for rows in range(max(low_h - _FEWER, 1), high_h + _FEWER + 1)
                if count % rows == 0 and low_w - _FEWER <= count // rows <= high_w + _FEWER
            ]
            if near:
                rows = min(near)[1]
                return rows, count // rows
        raise ValueError(
            f"{count or 'no'} patches make no grid for images of {by(image_size)} pixels, as there "
            f"are {by(self.grid)} of {by(self.image_size)}. Where the stem was changed, or takes another size, find "
            "the layout again, with image_size=(height, width); a stem that drops patches itself must not"
        )

    def grid_of(self, tokens: torch.Tensor, image_size: Grid | None = None) -> Grid:
        """The grid of some tokens. Those in a sequence do not show it: it is taken for that of ``image_size``.

        Raises:
            ValueError: Tokens of images of that size are not of as many pixels as they were.
        """
        if self.order == "NLC":
            return self.at(image_size or self.image_size, tokens.shape[1] - self.prefix)
        grid = tuple(tokens.shape[1:-1] if self.order == "NHWC" else tokens.shape[2:])
        if image_size is not None and self.stride is not None:
            sides = zip(image_size, grid, self.stride)  # noqa: B905 - a slow path of compile
            if any(abs(pixels - patches * side) >= side for pixels, patches, side in sides):
                raise ValueError(
                    f"images of {by(image_size)} pixels have {by(grid)} patches, which are not of {by(self.stride)} "
                    f"pixels, as those of {by(self.image_size)} are: find the layout for them, with "
                    "image_size=(height, width)"
                )
        return grid

    def count(self, tokens: torch.Tensor) -> int:
        """N, the number of patches of some tokens."""
        if self.order == "NLC":
            return tokens.shape[1] - self.prefix
        return math.prod(self.grid_of(tokens))

    def patches(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens as patches, (B, N, C), in row-major order of the grid."""
        if self.order == "NLC":
            return tokens[:, self.prefix :]
        if self.order == "NCHW":
            return contiguous_gradient(tokens).flatten(2).transpose(1, 2)
        return tokens.flatten(1, -2)

    def put(self, tokens: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        """Tokens with other patches, (B, N, C), and their own prefix."""
        if self.order == "NLC":
            return torch.cat([tokens[:, : self.prefix], patches], dim=1) if self.prefix else patches
        if self.order == "NCHW":
            return torch.unflatten(patches.transpose(1, 2), 2, tokens.shape[2:]).contiguous()
        return torch.unflatten(patches, 1, tokens.shape[1:-1])

    def is_even(self, image_size: Grid) -> bool:
        """Whether images of some height and width are whole patches, so that the grid follows from their size."""
        sizes = zip(image_size, self.grid, self.image_size)  # noqa: B905 - a slow path of compile
        return all(pixels * patches % seen == 0 for pixels, patches, seen in sizes)

    def pixels(self, mask: torch.Tensor, image_size: Grid) -> torch.Tensor:
        """The pixels of masked patches, (B, 1, H, W), for a mask of images of some height and width, (B, N)."""
        grid = self.at(image_size, mask.shape[1])
        places = [self._patch_of_each(axis, image_size[axis], grid[axis], mask.device) for axis in range(len(grid))]
        return _at_places(mask, grid, places).unsqueeze(1)

    def _patch_of_each(self, axis: int, pixels: int, patches: int, device: torch.device) -> torch.Tensor:
        """The patch in which each of a row or column of pixels lies."""
        place = torch.arange(pixels, device=device)
        if self.stride is not None and abs(pixels - patches * self.stride[axis]) < self.stride[axis]:
            return (place // self.stride[axis]).clamp(max=patches - 1)  # a part of a patch may lie at the edge
        return (place * 2 + 1) * patches // (pixels * 2)

    def replace(self, tokens: torch.Tensor, mask: torch.Tensor, token: torch.Tensor | float) -> torch.Tensor:
        """Tokens with a mask token, (C,), (B, N, C) or a number, where ``mask``, (B, N), is true."""
        token = self._fitting(token, tokens, mask)
        if self.order == "NLC":
            if isinstance(token, torch.Tensor) and token.ndim > 1:
                return self.put(tokens, torch.where(mask.unsqueeze(-1), token.to(tokens.dtype), self.patches(tokens)))
            where = torch.nn.functional.pad(mask, (self.prefix, 0)) if self.prefix else mask
            where = where.unsqueeze(-1)
        else:
            grid = self.grid_of(tokens)
            where = torch.unflatten(mask, 1, grid).unsqueeze(-1 if self.order == "NHWC" else 1)
        if not isinstance(token, torch.Tensor):
            return tokens.masked_fill(where, token)
        token = token.to(tokens.dtype)
        if token.ndim > 1:  # one for each patch
            return torch.where(where, self.put(tokens, token.expand(*mask.shape, -1)), tokens)
        return torch.where(where, token if self.order != "NCHW" else token.view(-1, *[1] * len(grid)), tokens)

    def _fitting(self, token: Any, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor | float:
        """A mask token, if it goes into patches, (B, N, C).

        Raises:
            TypeError: It is neither a tensor nor a number.
            ValueError: It does not go into them.
        """
        if not isinstance(token, torch.Tensor):
            if isinstance(token, (bool, int, float)):
                return token
            raise TypeError(f"a mask token is a tensor or a number, not a {type(token).__name__}")
        whole = (*mask.shape, self.channels)
        sides = zip(reversed(token.shape), reversed(whole))  # noqa: B905 - it may have fewer
        if token.ndim > 3 or any(n not in (1, most) for n, most in sides):
            raise ValueError(
                f"the mask token is of shape {tuple(token.shape)}, which does not go into patches of {whole}"
            )
        return token


@dataclass(frozen=True)
class TokenLayout:
    """Where the patches of a model are among its tokens.

    Attributes:
        streams: One for each tensor of tokens.
        listed: Whether the tokens are a list of tensors.
        batched: Of each other tensor in the embedding, by its name and its number of dimensions, whether its first
            dimension is the batch.
        content: Fields of the embedding that hold more of what the images show in each patch, ``(B * N, ...)``.
        whole_grid: Why no patch can be left out: what the stages do where patches are missing. Empty if they can.
        unit: Side of the square of patches that the model itself drops at once; 0 where it does no such thing.
        unit_mask: The parameter of ``embed`` that says which units it drops, (B, units); empty where it drops none.
        unit_mask_keeps: Whether that is true where a unit is kept; else it is true where one is dropped.
        numbers: Fields in which a number changes with the batch: whether it is one that is proportional to it, such as
            the batch itself, or another.
        attention_masks: Fields of the embedding that are masks of attention, and entries of fields that are
            dictionaries: their last dimension counts keys.
        sees: How many pixels beyond its own patch a token sees: 0 if it sees no pixel of another, the longer side of
            the images if it sees all of them.
        batch_norm: Whether the tokens have passed a batch norm, which in training mixes all places of all images, or
            see more in training for another reason.
        sizes: Of which images this holds: of ``any`` size that the model takes, of those that are ``whole`` patches, or
            of ``one`` size, that it was found with. Of others tokens see the pixels of other patches, as behind a stem
            that resizes.
    """

    streams: tuple[Stream, ...]
    listed: bool = False
    batched: Mapping[tuple[str, int], bool] = field(default_factory=dict)
    content: tuple[str, ...] = ()
    whole_grid: str = ""
    unit: int = 0
    unit_mask: str = ""
    unit_mask_keeps: bool = True
    attention_masks: tuple[str, ...] = ()
    numbers: Mapping[str, bool] = field(default_factory=dict)
    sees: int = 0
    batch_norm: bool = False
    sizes: Sizes = "any"

    @property
    def leaks(self) -> bool:
        """Whether visible tokens know something of masked pixels, unless these are hidden from the stem."""
        return self.sees > 0 or self.batch_norm

    def grid(self, image_size: Grid) -> Grid:
        """Height and width, in patches, of images of some height and width; the first grid where there are several."""
        self.check_size(image_size)
        return self.streams[0].at(image_size)

    def grid_of(self, embedding: Any, image_size: Grid) -> Grid:
        """The grid of an embedding that was made of images of some height and width."""
        self.check_size(image_size)
        return self.streams[0].grid_of(self.tokens(embedding)[0], image_size)

    def check_size(self, image_size: Grid) -> None:
        """Raise where patches of images of some height and width are not where this says."""
        stream = self.streams[0]
        found = stream.image_size
        if image_size != found and (self.sizes == "one" or (self.sizes == "whole" and not stream.is_even(image_size))):
            raise ValueError(
                f"of images of {by(image_size)} pixels tokens see other pixels than of those of {by(found)}, as if "
                "they were resized: find the layout for them, with image_size=(height, width)"
            )

    def patches(self, embedding: Any) -> Any:
        """The patches of an embedding, (B, N, C) in row-major order; a list of them where its tokens are a list."""
        tokens = self.tokens(embedding)
        found = [stream.patches(x) for stream, x in zip(self.streams, tokens)]  # noqa: B905
        return found if self.listed else found[0]

    def put(self, embedding: Any, patches: Any) -> Any:
        """An embedding with other patches, of the form that :meth:`patches` gives; prefix tokens stay."""
        tokens, given = self.tokens(embedding), patches if self.listed else [patches]
        return self.with_tokens(
            embedding,
            [stream.put(x, p) for stream, x, p in zip(self.streams, tokens, given)],  # noqa: B905
        )

    def is_batched(self, name: str, value: Any) -> bool | None:
        """Whether the first dimension of a field is the batch; ``None`` if it is not as it was when looked at."""
        return self.batched.get((name, value.ndim)) if isinstance(value, torch.Tensor) else None

    def tokens(self, embedding: Any) -> Sequence[torch.Tensor]:
        """The tensors of tokens in an embedding, one for each stream."""
        first = embedding[0] if has_fields(embedding) else embedding
        return first if self.listed else [first]

    def with_tokens(self, embedding: Any, tokens: Sequence[torch.Tensor]) -> Any:
        """An embedding with other tensors of tokens, also where another field holds the same ones again."""
        first = list(tokens) if self.listed else tokens[0]
        if not has_fields(embedding):
            return first
        old = self.tokens(embedding)
        again = {name: _swap(value, old, tokens) for name, value in fields_of(embedding).items()}
        return embedding._replace(**{embedding._fields[0]: first, **again})

    def spread(self, mask: torch.Tensor, stream: Stream) -> torch.Tensor:
        """A mask of the first grid on another one: a patch is masked where its centre is."""
        if stream.grid == self.streams[0].grid:
            return mask
        grid = self.streams[0].grid
        places = [
            ((torch.arange(size, device=mask.device) * 2 + 1) * full) // (2 * size)
            for size, full in zip(stream.grid, grid)  # noqa: B905 - a slow path of compile
        ]
        return _at_places(mask, grid, places).flatten(1)


def images_size(images: torch.Tensor, layout: TokenLayout | Stream) -> Grid:
    """Height and width of images, (B, C, H, W), that a layout is of; of videos, (B, C, T, H, W), frames before them.

    Raises:
        TypeError: They are no tensor.
        ValueError: They are not of that form.
    """
    found = (layout if isinstance(layout, Stream) else layout.streams[0]).image_size
    form = "images are (B, C, H, W)" if len(found) == 2 else "videos are (B, C, T, H, W)"
    if not isinstance(images, torch.Tensor):
        raise TypeError(f"{form}, a tensor, not a {type(images).__name__}")
    if images.ndim != 2 + len(found):
        raise ValueError(f"{form}, not of shape {tuple(images.shape)}")
    return tuple(images.shape[2:])


def _at_places(mask: torch.Tensor, grid: Grid, places: Sequence[torch.Tensor]) -> torch.Tensor:
    """What a mask of a grid, (B, N), is at the places along each of its sides."""
    sides = [place.view(-1, *[1] * (len(places) - 1 - axis)) for axis, place in enumerate(places)]
    index: tuple[Any, ...] = (slice(None), *sides)
    return torch.unflatten(mask, 1, grid)[index]


def contiguous_gradient(x: torch.Tensor) -> torch.Tensor:
    """The same tensor, (B, C, H, W), whose gradient comes back contiguous where its dimensions are exchanged.

    For one image on a CPU, torch's batch norm (2.14) computes wrong gradients if its input is contiguous and what comes
    back is not.
    """
    if x.device.type != "cpu" or not x.requires_grad or torch.compiler.is_compiling():
        return x
    x = x.view_as(x)
    x.register_hook(lambda gradient: gradient.contiguous())
    return x


def check_mask(mask: torch.Tensor, tokens: torch.Tensor, count: int) -> None:
    """Raise what is wrong with a mask of ``count`` patches of these tokens or images."""
    check_mask_type(mask)
    if mask.shape != (tokens.shape[0], count):
        raise ValueError(f"the mask is {tuple(mask.shape)}, and there are {(tokens.shape[0], count)} patches, (B, N)")
    if mask.device != tokens.device:
        raise ValueError(
            f"the mask is on {mask.device}, and the patches are on {tokens.device}: mask.to(patches.device)"
        )


def check_mask_type(mask: object) -> None:
    """Raise where something is no mask."""
    if not isinstance(mask, torch.Tensor) or mask.dtype != torch.bool:
        kind = f"{mask.dtype}: mask.bool()" if isinstance(mask, torch.Tensor) else f"a {type(mask).__name__}"
        raise TypeError(f"a mask is a tensor of torch.bool, True where a patch is masked, not {kind}")


def check_masks(masks: Sequence[object], streams: Sequence[Stream]) -> None:
    """Raise where a list is not one of masks, one for each tensor of tokens."""
    for mask in masks:
        check_mask_type(mask)
    check_number("masks", masks, streams)


def check_number(what: str, given: Sized, streams: Sequence[Stream]) -> None:
    """Raise where a list is not one for each tensor of tokens: those that are left would not be masked."""
    if len(given) != len(streams):
        raise ValueError(f"there are {len(given)} {what}, and the tokens are {len(streams)} tensors: one for each")


def has_fields(embedding: Any) -> bool:
    """Whether an embedding is more than its tokens."""
    return isinstance(embedding, tuple) and hasattr(embedding, "_fields")


def fields_of(embedding: Any) -> dict[str, Any]:
    """The other fields of an embedding, by name."""
    return dict(zip(embedding._fields[1:], embedding[1:])) if has_fields(embedding) else {}  # noqa: B905


def _swap(value: Any, old: Sequence[torch.Tensor], new: Sequence[torch.Tensor]) -> Any:
    """A field with new tensors in the place of these very old ones, those in dicts and lists too."""
    if isinstance(value, torch.Tensor):
        return next((n for o, n in zip(old, new) if value is o), value)  # noqa: B905
    if type(value) is dict:
        return {key: _swap(inner, old, new) for key, inner in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_swap(inner, old, new) for inner in value)
    return value


def change_tensors(name: str, value: Any, change: Callable[[str, torch.Tensor], torch.Tensor]) -> Any:
    """A field of an embedding with its tensors changed, those in dicts and lists too.

    Args:
        name: The field.
        value: What it holds.
        change: Is given the name of a tensor and the tensor.

    Raises:
        TypeError: It is something that cannot be looked into.
    """
    if isinstance(value, torch.Tensor):
        return change(name, value)
    if isinstance(value, dict):
        return {key: change_tensors(key, inner, change) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(change_tensors(name, inner, change) for inner in value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"what `{name}` holds for each patch is not known: it is a {type(value).__name__}")
