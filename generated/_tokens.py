"""The tokens of any split model, seen as patches on a grid.

timm's tokens come as (B, N, C) behind prefix tokens (class, register, distillation), as (B, H, W, C), as (B, C, H, W),
as a list of such, or as the first field of an embedding. Which of these a model has is found by running its ``embed``
once, on two black images.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import nn

from . import _manifest
from ._masks import Grid

_BATCH = 2  # of the images that embed is tried on
_TRIED = 7  # patches that the stages are tried on: a prime number makes no grid


@dataclass(frozen=True)
class Stream:
    """One tensor of tokens.

    Attributes:
        order: ``NLC``, ``NHWC`` or ``NCHW``.
        prefix: Tokens before the patches; 0 in those orders that have none.
        channels: C.
        grid: Height and width in patches, of images of ``image_size``.
        image_size: Height and width in pixels of the images that this was found with.
    """

    order: Literal["NLC", "NHWC", "NCHW"]
    prefix: int
    channels: int
    grid: Grid
    image_size: tuple[int, int]

    def at(self, image_size: tuple[int, int], count: int | None = None) -> Grid:
        """The grid for images of another size.

        Args:
            image_size: Height and width in pixels.
            count: Patches that there are, if that is known: it tells whether a part of a patch at the edge counts.

        Raises:
            ValueError: So many patches make no grid for such images.
        """
        sizes = []
        for pixels, patches, seen in zip(image_size, self.grid, self.image_size):  # noqa: B905 - a slow path of compile
            sizes.append((pixels * patches // seen, -(-pixels * patches // seen)))
        (low_h, high_h), (low_w, high_w) = sizes
        for grid in ((low_h, low_w), (high_h, high_w), (high_h, low_w), (low_h, high_w)):
            if grid[0] * grid[1] > 0 and count in (None, grid[0] * grid[1]):
                return grid
        raise ValueError(f"{count or 'no'} patches make no grid for images of {image_size[0]} x {image_size[1]} pixels")

    def grid_of(self, tokens: torch.Tensor, image_size: tuple[int, int] | None = None) -> Grid:
        """The grid of some tokens. Those in a sequence do not show it: it is taken for that of ``image_size``."""
        if self.order == "NHWC":
            return tokens.shape[1], tokens.shape[2]
        if self.order == "NCHW":
            return tokens.shape[2], tokens.shape[3]
        return self.at(image_size or self.image_size, tokens.shape[1] - self.prefix)

    def count(self, tokens: torch.Tensor) -> int:
        """N, the number of patches of some tokens."""
        if self.order == "NLC":
            return tokens.shape[1] - self.prefix
        grid = self.grid_of(tokens)
        return grid[0] * grid[1]

    def patches(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens as patches, (B, N, C), in row-major order of the grid."""
        if self.order == "NLC":
            return tokens[:, self.prefix :]
        return tokens.flatten(2).transpose(1, 2) if self.order == "NCHW" else tokens.flatten(1, 2)

    def put(self, tokens: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        """Tokens with other patches, (B, N, C), and their own prefix."""
        if self.order == "NLC":
            return torch.cat([tokens[:, : self.prefix], patches], dim=1) if self.prefix else patches
        if self.order == "NCHW":
            return patches.transpose(1, 2).unflatten(2, tokens.shape[2:]).contiguous()
        return patches.unflatten(1, tokens.shape[1:3])

    def replace(self, tokens: torch.Tensor, mask: torch.Tensor, token: torch.Tensor | float) -> torch.Tensor:
        """Tokens with a mask token, (C,), (B, N, C) or a number, where ``mask``, (B, N), is true."""
        if self.order == "NLC":
            if isinstance(token, torch.Tensor) and token.ndim > 1:
                return self.put(tokens, torch.where(mask.unsqueeze(-1), token.to(tokens.dtype), self.patches(tokens)))
            where = torch.nn.functional.pad(mask, (self.prefix, 0)) if self.prefix else mask
            where = where.unsqueeze(-1)
        else:
            grid = self.grid_of(tokens)
            where = mask.unflatten(1, grid).unsqueeze(-1 if self.order == "NHWC" else 1)
        if not isinstance(token, torch.Tensor):
            return tokens.masked_fill(where, token)
        token = token.to(tokens.dtype)
        if token.ndim > 1:  # one for each patch
            return torch.where(where, self.put(tokens, token.expand(len(tokens), -1, -1)), tokens)
        return torch.where(where, token if self.order != "NCHW" else token.view(-1, 1, 1), tokens)


@dataclass(frozen=True)
class TokenLayout:
    """Where the patches of a model are among its tokens.

    Attributes:
        streams: One for each tensor of tokens.
        listed: Whether the tokens are a list of tensors.
        batched: Of each other tensor in the embedding, whether its first dimension is the batch.
        content: Fields of the embedding that hold more of what the images show in each patch, ``(B * N, ...)``.
        whole_grid: Why no patch can be left out: what the stages do where patches are missing. Empty if they can.
        unit: Side of the square of patches that the model itself drops at once; 0 where it does no such thing.
    """

    streams: tuple[Stream, ...]
    listed: bool = False
    batched: Mapping[str, bool] = field(default_factory=dict)
    content: tuple[str, ...] = ()
    whole_grid: str = ""
    unit: int = 0

    @classmethod
    def of(cls, model: nn.Module, image_size: tuple[int, int] | None = None) -> TokenLayout:
        """Find the layout of what a split model's ``embed`` returns.

        The model is run in eval mode on two black images, and its stages on a few of their patches. Nothing of it
        changes.

        Args:
            model: A split model.
            image_size: Height and width of images that it takes; what it was made for by default.

        Raises:
            TypeError: It is not split, or what ``embed`` returns has no patches.
            ValueError: It does not take images of that size.
        """
        if not callable(getattr(model, "embed", None)) or not callable(getattr(model, "forward_stages", None)):
            raise TypeError(f"a {type(model).__name__} is not split: give it to {__package__}.split() first")
        return _look(model, model.embed, image_size, stages=True)

    @classmethod
    def of_patches(cls, model: nn.Module, image_size: tuple[int, int] | None = None) -> TokenLayout:
        """Find the layout of what ``embed_patches`` returns, as :meth:`of` does.

        Raises:
            TypeError: The model is not split, or its patch embedding cannot be told from its positional encoding.
            ValueError: It does not take images of that size.
        """
        if not callable(getattr(model, "embed_patches", None)):
            raise TypeError(f"a {type(model).__name__} has no embed_patches(): {why_no_patches(model)}")
        return _look(model, model.embed_patches, image_size, stages=False)

    def grid(self, image_size: tuple[int, int]) -> Grid:
        """Height and width, in patches, of images of some height and width; the first grid where there are several."""
        return self.streams[0].at(image_size)

    def grid_of(self, embedding: Any, image_size: tuple[int, int]) -> Grid:
        """The grid of an embedding that was made of images of some height and width."""
        return self.streams[0].grid_of(self.tokens(embedding)[0], image_size)

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

    def tokens(self, embedding: Any) -> Sequence[torch.Tensor]:
        """The tensors of tokens in an embedding, one for each stream."""
        first = embedding[0] if _has_fields(embedding) else embedding
        return first if self.listed else [first]

    def with_tokens(self, embedding: Any, tokens: Sequence[torch.Tensor]) -> Any:
        """An embedding with other tensors of tokens."""
        first = list(tokens) if self.listed else tokens[0]

        return embedding._replace(**{embedding._fields[0]: first}) if _has_fields(embedding) else first

    def spread(self, mask: torch.Tensor, stream: Stream) -> torch.Tensor:
        """A mask of the first grid on another one: a patch is masked where its centre is."""
        if stream.grid == self.streams[0].grid:
            return mask
        height, width = self.streams[0].grid
        rows, columns = (
            ((torch.arange(size, device=mask.device) * 2 + 1) * full) // (2 * size)
            for size, full in ((stream.grid[0], height), (stream.grid[1], width))
        )
        return mask.unflatten(1, (height, width))[:, rows[:, None], columns].flatten(1)


def _has_fields(embedding: Any) -> bool:
    return isinstance(embedding, tuple) and hasattr(embedding, "_fields")


def fields_of(embedding: Any) -> dict[str, Any]:
    """What goes with the tokens in an embedding, by name."""
    return dict(zip(embedding._fields[1:], embedding[1:])) if _has_fields(embedding) else {}  # noqa: B905


def why_no_patches(model: nn.Module) -> str:
    """Why a model has no ``embed_patches``."""
    entry = _manifest.entry_of(type(model)) or {}
    absent: str | None = entry.get("split", {}).get("patches", {}).get("absent")
    return absent or f"give it to {__package__}.split() first"


# Looking


def _look(
    model: nn.Module, embed: Callable[[torch.Tensor], Any], image_size: tuple[int, int] | None, *, stages: bool
) -> TokenLayout:
    from ._drop import why_whole_grid

    with _quietly(model):
        embedding, maps, size = _try(model, embed, image_size)
        first = embedding[0] if _has_fields(embedding) else embedding
        listed = isinstance(first, (list, tuple))
        streams = tuple(_stream(model, x, maps, size) for x in (first if listed else [first]))
        others = {name: value for name, value in fields_of(embedding).items() if isinstance(value, torch.Tensor)}
        batched: dict[str, bool] = {}
        if others:  # what grows with the batch has it
            single = fields_of(_try(model, embed, size, batch=1)[0])
            batched = {name: value.shape != single[name].shape for name, value in others.items()}
        count = streams[0].count(first[0] if listed else first)
        content = tuple(name for name, value in others.items() if batched[name] and len(value) == _BATCH * count)
        layout = TokenLayout(streams, listed, batched, content, unit=_own_unit(model, embedding, streams[0]))
        if stages and not layout.unit:
            layout = replace(layout, whole_grid=why_whole_grid(model, layout, embedding, _TRIED))
        return layout


def _own_unit(model: nn.Module, embedding: Any, stream: Stream) -> int:
    """The side of the mask units of a model that drops these itself, by a ``mask`` that goes through its embedding."""
    units = getattr(model, "mask_spatial_shape", None)
    return stream.grid[0] // units[0] if units and "mask" in fields_of(embedding) else 0


@contextlib.contextmanager
def _quietly(model: nn.Module) -> Iterator[None]:
    """Run a model without leaving traces: in eval mode, without gradients, the random numbers put back."""
    training = [module for module in model.modules() if module.training]
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    devices = [device] if device.type not in ("cpu", "meta") else []
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"):
            yield
    finally:
        for module in training:
            module.training = True


def _try(
    model: nn.Module, embed: Callable[[torch.Tensor], Any], image_size: tuple[int, int] | None, batch: int = _BATCH
) -> tuple[Any, list[tuple[int, ...]], tuple[int, int]]:
    """Run ``embed`` on black images: what it returns, the shapes of its feature maps, and the size of the images."""
    channels, native = _images(model)
    height, width = image_size or native
    like = next(p for p in model.parameters() if p.is_floating_point())
    images = torch.zeros((batch, channels, height, width), dtype=like.dtype, device=like.device)
    maps: list[tuple[int, ...]] = []
    convolutions = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d))]
    hooks = [m.register_forward_hook(lambda _m, _in, out: maps.append(tuple(out.shape[1:]))) for m in convolutions]
    try:
        return embed(images), maps, (height, width)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(
            f"{type(model).__name__} takes no images of {height} x {width}: name a size that it takes "
            f"with image_size=(height, width) ({error})"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()


def _images(model: nn.Module) -> tuple[int, tuple[int, int]]:
    """Channels, height and width of the images that a model was made for."""
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None) or {}
    channels, *size = config.get("input_size") or (3, 224, 224)
    named = [n for module in model.modules() if isinstance(n := getattr(module, "in_chans", None), int)]
    named += [module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d)]
    channels = (*named, channels)[0]
    for module in model.modules():
        made_for = getattr(module, "img_size", None)
        if made_for is not None:
            size = [made_for, made_for] if isinstance(made_for, int) else list(made_for)
            break
    return channels, (size[0], size[1])


def _stream(model: nn.Module, tokens: Any, maps: Sequence[tuple[int, ...]], size: tuple[int, int]) -> Stream:
    """Tell the order of some tokens."""
    if isinstance(tokens, torch.Tensor) and tokens.ndim == 3:
        return _sequence(model, tokens, maps, size)
    if not isinstance(tokens, torch.Tensor) or tokens.ndim != 4:
        what = f"of shape {tuple(tokens.shape)}" if isinstance(tokens, torch.Tensor) else f"a {type(tokens).__name__}"
        raise TypeError(f"the embedding of {type(model).__name__} has no patches: it is {what}")
    shape = tuple(tokens.shape[1:])
    first, last = shape[:2], shape[1:]
    # A convolution of the stem made just these, or they have the proportions of the images
    conv = next((m for m in reversed(maps) if m in (shape, (shape[2], *first))), None)
    if conv is not None and shape != (shape[2], *first):
        order: Literal["NHWC", "NCHW"] = "NCHW" if conv == shape else "NHWC"
    else:
        said = _layout_said(model)
        height, width = size
        proportions = [first[0] * width == first[1] * height, last[0] * width == last[1] * height]
        order = said or ("NHWC" if proportions[0] and not proportions[1] else "NCHW")
    grid = first if order == "NHWC" else last
    return Stream(order, 0, shape[2] if order == "NHWC" else shape[0], (grid[0], grid[1]), size)


def _layout_said(model: nn.Module) -> Literal["NHWC", "NCHW"] | None:
    """The order of four-dimensional tokens that the source tells."""
    entry = _manifest.entry_of(type(model)) or {}
    layout = entry.get("split", {}).get("embedding", {}).get("layout")
    return layout if layout in ("NHWC", "NCHW") else None


def _sequence(model: nn.Module, tokens: torch.Tensor, maps: Sequence[tuple[int, ...]], size: tuple[int, int]) -> Stream:
    """Tell prefix tokens from patches: the patches are the largest feature map of the stem that they can be."""
    length, channels = tokens.shape[1:]
    fitting = [(h * w, (h, w)) for _, h, w in maps if length // 2 < h * w <= length]
    if fitting:
        count, grid = max(fitting)
        return Stream("NLC", length - count, channels, grid, size)
    # No convolution made them: then as few prefix tokens as leave a grid with the proportions of the images
    for prefix in range(length):
        height = math.isqrt((length - prefix) * size[0] // size[1])
        for rows in (height, height + 1):
            if rows and (length - prefix) * size[0] == rows * rows * size[1]:
                return Stream("NLC", prefix, channels, (rows, (length - prefix) // rows), size)
    raise TypeError(f"the {length} tokens of {type(model).__name__} are no grid of patches behind prefix tokens")
