"""How a model's tokens lie: found by running its ``embed`` on two black images, and its stages on a few patches."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import nn
from torch.utils import _pytree as pytree

from . import _manifest
from ._drop import keep
from ._leaves import leaves_of, told
from ._locate import first_shown
from ._masks import Grid, by, uniform
from ._observe import other_randomness_preserved
from ._sees import mixes_batch, sees, sees_more_in_training, sizes_like
from ._tokens import Stream, TokenLayout, fields_of, has_fields, images_size

_BATCH = 2  # of the images that embed is tried on
_TRIED = (2, 3, 5, 7)  # patches that the stages are tried on, as many as leave one out: a prime number makes no grid


def token_layout(model: nn.Module, image_size: Grid | None = None) -> TokenLayout:
    """Find the layout of what a split model's ``embed`` returns.

    The model is run in eval mode on two black images, and its stages on a few of their patches. Nothing of it changes.

    Args:
        model: A split model.
        image_size: Height and width of images that it takes; what it was made for by default. Of a model whose first
            convolution is a ``Conv3d``, which takes videos, (B, C, T, H, W): frames, height and width.

    Raises:
        TypeError: It is not split, or what ``embed`` returns has no patches.
        ValueError: It does not take images of that size.
    """
    embed, stages = getattr(model, "embed", None), getattr(model, "forward_stages", None)
    if not callable(embed) or not callable(stages):
        raise TypeError(f"a {type(model).__name__} is not split: give it to {__package__}.split() first")
    for method in (embed, stages):
        _refuse_required(model, method)
    return _look(model, embed, stages, image_size)


def _refuse_required(model: nn.Module, method: Callable[..., Any]) -> None:
    """Raise which argument a method needs besides the first."""
    for parameter in list(inspect.signature(method).parameters.values())[1:]:
        if parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            raise TypeError(
                f"a {type(model).__name__} needs `{parameter.name}` besides images, and its patches are found by "
                f"running it on images alone: give `{parameter.name}` a default value"
            )


def patch_layout(model: nn.Module, image_size: Grid | None = None) -> TokenLayout:
    """Find the layout of what a split model's ``embed_patches`` returns, as :func:`token_layout` does.

    Raises:
        TypeError: The model is not split, or its patch embedding is not separate from its positional encoding.
        ValueError: It does not take images of that size.
    """
    embed_patches = getattr(model, "embed_patches", None)
    if not callable(embed_patches):
        raise TypeError(f"a {type(model).__name__} has no embed_patches(): {why_no_patches(model)}")
    return _look(model, embed_patches, None, image_size)


def grid_of_images(
    model: nn.Module, embed: Callable[[torch.Tensor], Any], layout: TokenLayout, images: torch.Tensor
) -> Grid:
    """The grid of images, (B, C, H, W), before they are embedded: tried if a part of a patch lies at their edge."""
    size, (stream, *_) = images_size(images, layout), layout.streams
    if stream.is_even(size):
        return layout.grid(size)
    with _quietly(model):
        return layout.grid_of(embed(images.new_zeros((1, *images.shape[1:]))), size)


def why_no_patches(model: nn.Module) -> str:
    """Why a model has no ``embed_patches``."""
    absent: str | None = _split_of(model).get("patches", {}).get("absent")
    return absent or f"give it to {__package__}.split() first"


def _look(
    model: nn.Module,
    embed: Callable[[torch.Tensor], Any],
    stages: Callable[[Any], Any] | None,
    image_size: Grid | None,
) -> TokenLayout:
    with _quietly(model):
        embedding, maps, images = _try(model, embed, image_size)
        size = tuple(images.shape[2:])
        tokens = _tokens_of(embedding)
        listed = isinstance(tokens, (list, tuple))

        def pick(images: torch.Tensor, number: int) -> Any:
            tokens = _tokens_of(embed(images))
            return tokens[number] if listed else tokens

        streams = tuple(
            _stream(model, x, maps, images, functools.partial(pick, number=number))
            for number, x in enumerate(tokens if listed else [tokens])
        )
        others = {name: value for name, value in fields_of(embedding).items() if isinstance(value, torch.Tensor)}
        batched: dict[tuple[str, int], bool] = {}
        numbers: dict[str, bool] = {}
        if fields_of(embedding):  # what grows with the batch has it
            single = fields_of(_try(model, embed, size, batch=1)[0])
            numbers = _numbers_of_the_batch(single, fields_of(embedding))
            batched = {(name, x.ndim): x.shape != single[name].shape for name, x in others.items()}
        count = streams[0].count(tokens[0] if listed else tokens)
        content = tuple(n for n, x in others.items() if batched[n, x.ndim] and len(x) == _BATCH * count)
        declared = _split_of(model).get("masking", {})
        layout = TokenLayout(
            streams,
            listed,
            batched,
            content,
            attention_masks=tuple(declared.get("attention_masks", ())),
            numbers=numbers,
        )
        layout = replace(layout, batch_norm=mixes_batch(model, lambda: embed(images)))
        with _stirred(model):
            layout = _with_sight(embed, layout, images)
            if not layout.leaks and sees_more_in_training(model, embed, layout, images):
                layout = replace(layout, batch_norm=True)
            if not layout.leaks:
                layout = replace(layout, sizes=sizes_like(embed, layout, images))
        unit_mask = declared.get("unit_mask")
        unit = _side_of_units(model, streams[0], unit_mask) if unit_mask else 0
        if unit:
            return replace(layout, unit=unit, unit_mask=unit_mask["parameter"], unit_mask_keeps=unit_mask["keeps"])
        if stages is not None:
            with _stirred(model):
                why = _why_whole_grid(stages, layout, embedding, declared.get("features"))
            layout = replace(layout, whole_grid=why)
        return layout


def _tokens_of(embedding: Any) -> Any:
    """The tokens in an embedding whose layout is not known yet: a tensor, or a list of them."""
    return embedding[0] if has_fields(embedding) else embedding


def _with_sight(embed: Callable[[torch.Tensor], Any], layout: TokenLayout, images: torch.Tensor) -> TokenLayout:
    """A layout that knows how far a token sees, and so how large patches are that images are no multiple of."""
    stream, *others = layout.streams
    sides = list(zip(images.shape[2:], stream.grid))  # noqa: B905 - as many
    even = {tuple(pixels // n for pixels, n in sides), tuple(-(-pixels // n) for pixels, n in sides)}
    strides = sorted(even) if stream.stride is None else [stream.stride]
    for stride in strides:
        tried = replace(layout, streams=(replace(stream, stride=stride), *others))
        distance = sees(embed, tried, images)
        if distance == 0 or len(strides) == 1:
            return replace(tried, sees=distance)
    return replace(layout, sees=sees(embed, layout, images))


def _numbers_of_the_batch(one: Mapping[str, Any], two: Mapping[str, Any]) -> dict[str, bool]:
    """The fields in which a number changes from one image to two, and whether it is one that doubles."""
    changed = {}
    for name, value in two.items():
        pairs = zip(pytree.tree_leaves(one[name]), pytree.tree_leaves(value), strict=False)
        numbers = [(a, b) for a, b in pairs if isinstance(b, (int, float)) and not isinstance(b, bool)]
        if any(a != b for a, b in numbers):
            changed[name] = isinstance(value, (int, float)) and value == _BATCH * one[name]
    return changed


def _split_of(model: nn.Module) -> Mapping[str, Any]:
    """What the manifest says of a split; nothing of one that was not generated with it."""
    entry = _manifest.entry_of(type(model)) or {}
    split: Mapping[str, Any] = entry.get("split", {})
    return split


def _side_of_units(model: nn.Module, stream: Stream, unit_mask: Mapping[str, Any]) -> int:
    """The side, in patches, of the units that a model drops itself; 0 if they are not square, or of several frames."""
    if unit_mask["grid"] is None:
        return 1
    units = operator.attrgetter(unit_mask["grid"])(model)
    *frames, down, across = (patches // count for patches, count in zip(stream.grid, units))  # noqa: B905
    return down if down == across and all(n == 1 for n in frames) else 0


@contextlib.contextmanager
def _quietly(model: nn.Module) -> Iterator[None]:
    """Run a model without leaving traces: in eval mode, without gradients, random numbers and buffers put back."""
    training = [module for module in model.modules() if module.training]
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    devices = [device] if device.type not in ("cpu", "meta") else []
    kind = device.type if devices else "cuda"
    model.eval()
    try:
        with (
            torch.no_grad(),
            torch.random.fork_rng(devices, device_type=kind),
            other_randomness_preserved(),
            _buffers_put_back(model),
        ):
            yield
    finally:
        for module in training:
            module.training = True


@contextlib.contextmanager
def _buffers_put_back(model: nn.Module) -> Iterator[None]:
    """Run a model that may write to its buffers, or replace them."""
    named = [(m, name, x) for m in model.modules() for name, x in m._buffers.items() if x is not None]
    kept = [(*each, each[2]._version, each[2].clone()) for each in named if not _is_opaque(each[2])]
    try:
        yield
    finally:
        for module, name, buffer, version, before in kept:
            module._buffers[name] = buffer
            if buffer._version != version:
                buffer.copy_(before)


def _is_opaque(tensor: torch.Tensor) -> bool:
    """Whether a tensor has no values yet, or does not tell when it is written to."""
    return nn.parameter.is_lazy(tensor) or tensor.is_inference()


def _is_alike(parameter: nn.Parameter) -> bool:
    """Whether a parameter that can be changed for a while is the same everywhere."""
    if nn.parameter.is_lazy(parameter) or parameter.device.type == "meta" or parameter.is_inference():
        return False
    if not parameter.is_floating_point() or not parameter.numel():
        return False
    return bool((parameter == parameter.flatten()[0]).all())


@contextlib.contextmanager
def _stirred(model: nn.Module) -> Iterator[None]:
    """Run a model with other values for parameters that are the same everywhere, so that it shows what they do.

    Before training a position or a bias of attention may be zero, and the scale of a layer next to nothing.
    """
    alike = [p.data for p in model.parameters() if _is_alike(p)]  # data: nothing of autograd notices
    kept, generator = [x.clone() for x in alike], torch.Generator().manual_seed(0)
    try:
        for x in alike:
            x.copy_(uniform(tuple(x.shape), generator, None).to(x) + 0.5)
        yield
    finally:
        for x, before in zip(alike, kept):  # noqa: B905 - as many
            x.copy_(before)


def _try(
    model: nn.Module, embed: Callable[[torch.Tensor], Any], image_size: Grid | None, batch: int = _BATCH
) -> tuple[Any, list[tuple[int, ...]], torch.Tensor]:
    """Run ``embed`` on black images: what it returns, the shapes of its feature maps, and the images."""
    maps: list[tuple[int, ...]] = []
    kinds = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.Conv3d)
    convolutions = [m for m in model.modules() if isinstance(m, kinds)]
    hooks = [m.register_forward_hook(lambda _m, _in, out: maps.append(tuple(out.shape[1:]))) for m in convolutions]
    images = black_images(model, embed, image_size, batch)
    try:
        return embed(images), maps, images
    except AssertionError as error:
        raise ValueError(
            f"{type(model).__name__} takes no images of {by(images.shape[2:])}: name a size that it "
            f"takes with image_size=(height, width) ({error})"
        ) from error
    except RuntimeError as error:
        if images.ndim == 4 and _takes_videos(model):
            raise TypeError(
                f"{type(model).__name__} takes videos, (B, C, T, H, W), as its Conv3d says: name what they are of with "
                "image_size=(frames, height, width)"
            ) from error
        raise ValueError(
            f"{type(model).__name__} fails on images of shape {tuple(images.shape)}: {error} "
            "(if it takes none of that size, name another with image_size=(height, width))"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()


def black_images(
    model: nn.Module, embed: Callable[[torch.Tensor], Any], image_size: Grid | None = None, batch: int = 1
) -> torch.Tensor:
    """Images to try a model on, (B, C, H, W), on its device; of the size that it was made for by default.

    Videos, (B, C, T, H, W), where its first convolution takes them. They have as many channels as the model says, or as
    that convolution takes, where it was replaced.
    """
    channels, native = _images(model)
    size = _size(model, native if image_size is None else image_size)
    like = next(p for p in model.parameters() if p.is_floating_point())
    tried = [torch.zeros((batch, n, *size), dtype=like.dtype, device=like.device) for n in dict.fromkeys(channels)]
    for images in tried if len(tried) > 1 else ():
        with contextlib.suppress(Exception):  # whatever its own code raises for other channels
            embed(images)
            return images
    return tried[0]


def _size(model: nn.Module, size: Any) -> Grid:
    """A size of images, or of videos where the model takes them.

    Raises:
        ValueError: It is no such size.
    """
    videos = _takes_videos(model)
    numbers = isinstance(size, (tuple, list)) and all(isinstance(n, int) and n > 0 for n in size)
    if not numbers or len(size) not in ((2, 3) if videos else (2,)):
        form = "frames, a height and a width, such as (16, " if videos else "a height and a width, such as ("
        raise ValueError(f"image_size is {size}: it is {form}224, 224)")
    return tuple(size)


def _takes_videos(model: nn.Module) -> bool:
    """Whether the first convolution of a model is one of time, height and width."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return isinstance(next((module for module in model.modules() if isinstance(module, kinds)), None), nn.Conv3d)


def _images(model: nn.Module) -> tuple[list[int], Grid]:
    """Channels that the images of a model may have, the likeliest first; height and width that it was made for."""
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None) or {}
    channels, *size = config.get("input_size") or (3, 224, 224)
    named = [n for module in model.modules() if isinstance(n := getattr(module, "in_chans", None), int)]
    taken = [module.in_channels for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Conv3d))]
    likeliest = [*named[:1], *taken[:1], channels]  # a stem may rearrange pixels before its convolution
    for module in model.modules():
        made_for = getattr(module, "img_size", None)
        if made_for is not None:
            size = [made_for, made_for] if isinstance(made_for, int) else list(made_for)
            break
    return likeliest, tuple(size)


def _stream(
    model: nn.Module,
    tokens: Any,
    maps: Sequence[tuple[int, ...]],
    images: torch.Tensor,
    pick: Callable[[torch.Tensor], torch.Tensor],
) -> Stream:
    """Tell the order of some tokens, which ``pick`` makes of images."""
    size = tuple(images.shape[2:])
    if not isinstance(tokens, torch.Tensor) or tokens.ndim not in (3, images.ndim):
        what = f"of shape {tuple(tokens.shape)}" if isinstance(tokens, torch.Tensor) else f"a {type(tokens).__name__}"
        raise TypeError(f"the embedding of {type(model).__name__} has no patches: it is {what}")
    if len(tokens) != len(images):
        raise TypeError(
            f"the embedding of {type(model).__name__} is of shape {tuple(tokens.shape)} for {len(images)} images: its "
            "first dimension must be the batch"
        )
    ways = _sequences(tokens, maps, size) if tokens.ndim == 3 else _maps(model, tokens, maps, size)
    possible = [way for way in ways if all(0 < n <= m for n, m in zip(way.grid, size))]  # noqa: B905 - as many
    candidates = [*(padded for way in possible for padded in _padded(model, way)), *possible]
    shown = candidates[0] if candidates and images.device.type == "meta" else first_shown(pick, candidates, images)
    if shown is not None:
        return shown
    what = (
        f"the {tokens.shape[1]} tokens of {type(model).__name__} are no grid of patches behind prefix tokens"
        if tokens.ndim == 3
        else f"the embedding of {type(model).__name__}, of shape {tuple(tokens.shape)}, is no grid of patches"
    )
    raise TypeError(f"{what}: for none that they may be do tokens change most with the pixels of their own patch")


def _padded(model: nn.Module, way: Stream) -> Iterator[Stream]:
    """How tokens may lie where a stem pads images to whole patches: those are as large as a convolution's kernel."""
    strides = {m.stride for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Conv3d)) and m.stride == m.kernel_size}
    for stride in sorted(stride for stride in strides if len(stride) == len(way.grid)):
        sides = list(zip(way.image_size, way.grid, stride))  # noqa: B905 - as many
        if any(pixels % n for pixels, _, n in sides) and all(-(-pixels // n) == count for pixels, count, n in sides):
            yield replace(way, stride=stride)


def _maps(model: nn.Module, tokens: torch.Tensor, maps: Sequence[tuple[int, ...]], size: Grid) -> Iterator[Stream]:
    """How tokens of as many dimensions as images may lie on a grid, the likeliest first."""
    shape = tuple(tokens.shape[1:])
    first, last = shape[:-1], shape[1:]
    # A convolution of the stem made just these, or they have the proportions of the images
    conv = next((m for m in reversed(maps) if m in (shape, (shape[-1], *first))), None)
    if conv is not None and shape != (shape[-1], *first):
        order: Literal["NHWC", "NCHW"] = "NCHW" if conv == shape else "NHWC"
    else:
        said = _layout_said(model)
        height, width = size[-2:]
        proportions = [first[-2] * width == first[-1] * height, last[-2] * width == last[-1] * height]
        order = said or ("NHWC" if proportions[0] and not proportions[1] else "NCHW")
    streams = {
        "NHWC": Stream("NHWC", 0, shape[-1], first, size),
        "NCHW": Stream("NCHW", 0, shape[0], last, size),
    }
    yield streams.pop(order)
    yield from streams.values()


def _layout_said(model: nn.Module) -> Literal["NHWC", "NCHW"] | None:
    """The order of four-dimensional tokens that the source tells."""
    layout = _split_of(model).get("embedding", {}).get("layout")
    return layout if layout in ("NHWC", "NCHW") else None


def _sequences(tokens: torch.Tensor, maps: Sequence[tuple[int, ...]], size: Grid) -> Iterator[Stream]:
    """How a sequence may lie on a grid, the likeliest first: behind the prefix tokens that are left."""
    length, channels = tokens.shape[1:]
    made = {each[1:] for each in maps if len(each) == len(size) + 1 and math.prod(each[1:]) <= length}
    grids = sorted(made, key=lambda grid: -math.prod(grid))
    for prefix in range(length if len(size) == 2 else 0):  # no convolution made them: it has the images' proportions
        height = math.isqrt((length - prefix) * size[0] // size[1])
        for rows in (height, height + 1):
            if rows and not (length - prefix) % rows and (length - prefix) * size[0] == rows * rows * size[1]:
                grids.append((rows, (length - prefix) // rows))
    for grid in grids:
        yield Stream("NLC", length - math.prod(grid), channels, grid, size)


def _why_whole_grid(stages: Callable[[Any], Any], layout: TokenLayout, embedding: Any, features: str | None) -> str:
    """Why the stages of a model need every patch: empty if they do not.

    They do not if they take any number of patches, in any order, and do the same to each. That is tried on a few, and
    on all but one, as what looks at a window of the sequence, or at one place of it, does not show in a few.
    """
    if layout.listed or layout.streams[0].order != "NLC":
        return "its tokens are not one sequence"
    (stream,), (tokens,) = layout.streams, layout.tokens(embedding)
    total = stream.count(tokens)
    few = max((n for n in _TRIED if n < total), default=0)
    if not few:
        return f"it has {total} {'patch' if total == 1 else 'patches'}, too few to try it"
    embedding = layout.with_tokens(embedding, [_unlike(tokens)])
    whys = (_why_not_any(stages, layout, embedding, features, count) for count in dict.fromkeys((few, total - 1)))
    return next((why for why in whys if why), "")


def _unlike(tokens: torch.Tensor) -> torch.Tensor:
    """Tokens of black images, (B, N, C), that differ: alike patches would hide their order.

    They are of the size of normalised ones at least: attention hardly tells small ones apart, wherever they are.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((1, *tokens.shape[1:]), generator=generator, dtype=torch.float32, device="cpu")
    return tokens[:1] + noise.to(tokens).expand_as(tokens) * tokens.std().clamp(min=1.0)


def _why_not_any(
    stages: Callable[[Any], Any], layout: TokenLayout, embedding: Any, features: str | None, count: int
) -> str:
    """Why stages do not take this number of patches of two equal images, of one in order, of the other in none."""
    (stream,), (tokens,) = layout.streams, layout.tokens(embedding)
    some = torch.linspace(0, stream.count(tokens) - 1, count, device=tokens.device).long()
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0), device="cpu").to(tokens.device)
    try:
        found = stages(keep(layout, embedding, torch.stack([some, some[order]])))
    except Exception as error:  # whatever its own code raises where the grid is not whole
        return (
            f"its stages fail without it ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})"
        )
    leaves = leaves_of(found[features] if isinstance(found, dict) and features in found else found)
    reasons = [_why_other(x, count, order, tokens.dtype) for x in leaves]
    if "" in reasons or len(reasons) == 1:
        return "" if "" in reasons else reasons[0]
    return f"its stages return {told(leaves)}, and none of these has each patch by itself"


def _why_other(x: Any, count: int, order: torch.Tensor, dtype: torch.dtype) -> str:
    """Why features of some patches are not those of the same patches in another order, in row 1; empty if they are."""
    if not isinstance(x, torch.Tensor):
        return f"its stages return a {type(x).__name__}, and where the patches are in it is not known"
    if x.ndim == 2:
        return f"its stages pool patches: they return features of shape {tuple(x.shape)}"
    if x.ndim != 3 or x.shape[1] < count:
        return f"its stages merge patches: of {count} they return features of shape {tuple(x.shape)}"
    if x.device.type == "meta":
        return ""
    prefix, (straight, shuffled) = x.shape[1] - count, x.float()
    expected = torch.cat([straight[:prefix], straight[prefix:][order]])
    difference = (expected - shuffled).abs().max() / straight.std().clamp(min=1e-12)
    if bool(difference < (1e-3 if dtype == torch.float32 else 1e-1)):
        return ""
    why = "its stages look at the place of patches in the grid"
    if dtype.itemsize >= 4:
        return why
    return (
        f"{why}, or {dtype} is too coarse to tell: make the MaskedImageModel of the model in float32, then convert it"
    )
