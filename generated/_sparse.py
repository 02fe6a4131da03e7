"""Convolutions that never had the masked places, as SparK and ConvNeXt V2's FCMAE mean it, on dense tensors.

A CNN that is masked once, at its stem, fills the holes again in every convolution. Sparse convolutions do not; they are
emulated here by masking the input of each spatial operation (SparK, arXiv 2301.03580; FCMAE, arXiv 2301.00808), and by
taking statistics over visible places. That is done by hooks, which are there only while a model runs.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from ._features import FeatureLayout, find_features
from ._layout import _quietly, black_images
from ._leaves import leaves_of, told
from ._masks import normal_like, random_mask
from ._sees import _differ, in_training
from ._split import SplitModel
from ._tokens import TokenLayout

Hook = Callable[..., Any]

_HUGE = 1e4  # what is no number is caught by nan_to_num, and takes no part in a comparison; float16 holds its multiples


class _Holes:
    """The masked places of images, at the size of any map that a model makes of them."""

    def __init__(self, pixels: torch.Tensor) -> None:
        """Of the masked pixels, (B, 1, H, W)."""
        self.pixels = pixels
        self._at: dict[tuple[int, int], torch.Tensor] = {}

    def at(self, height: int, width: int) -> torch.Tensor:
        """(B, 1, height, width), true where a place is masked.

        Raises:
            ValueError: The images are no multiple of such a map, so that its places are no places of theirs.
        """
        full = self.pixels.shape[-2:]
        if full[0] % height or full[1] % width:
            raise ValueError(
                f"a map of {height} x {width} places does not divide images of {full[0]} x {full[1]} pixels evenly: "
                "which of its places are masked is not known. Take another size of images"
            )
        if (height, width) not in self._at:
            self._at[height, width] = self.pixels[..., :: full[0] // height, :: full[1] // width]
        return self._at[height, width]

    def fill(self, x: torch.Tensor, value: float = 0.0, *, channels_last: bool = False) -> torch.Tensor:
        """A map, (B, C, H, W) or (B, H, W, C), with a value at masked places."""
        if channels_last:
            return x.masked_fill(self.at(x.shape[1], x.shape[2]).movedim(1, -1), value)
        return x.masked_fill(self.at(x.shape[2], x.shape[3]), value)


def _is_grn(module: nn.Module) -> bool:
    """Whether a module is timm's global response norm (``timm/layers/grn.py``), whose norm is over all places."""
    return any(cls.__name__ == "GlobalResponseNorm" for cls in type(module).__mro__)


def _hooks(module: nn.Module, holes: _Holes) -> tuple[Hook, Hook | None] | None:
    """What is done before and after a module that mixes places, if it is known; ``None`` if nothing is to be done."""
    if isinstance(module, nn.Conv2d) and module.padding_mode == "zeros":
        if max(module.kernel_size) == 1 and max(module.stride) == 1:
            return None
        return lambda _, args: (holes.fill(args[0]), *args[1:]), None
    if isinstance(module, nn.MaxPool2d):
        return (
            lambda _, args: (holes.fill(args[0], -torch.inf), *args[1:]),
            lambda _module, _args, out: holes.fill(out),
        )
    if isinstance(module, nn.AvgPool2d):
        return lambda _, args: (holes.fill(args[0]), *args[1:]), lambda m, args, out: _of_visible(
            m, args[0], out, holes
        )
    if _is_grn(module):
        last = bool(module.channel_dim == -1)
        return lambda _, args: (holes.fill(args[0], channels_last=last), *args[1:]), None
    if isinstance(module, nn.BatchNorm2d) and (module.training or not module.track_running_stats):
        return _gather(holes)
    return None


def _of_visible(pool: nn.AvgPool2d, x: torch.Tensor, mean: torch.Tensor, holes: _Holes) -> torch.Tensor:
    """The mean over visible places, of one in which masked places are zero."""
    ones = torch.ones_like(x[:, :1])
    whole, visible = pool.forward(ones), pool.forward(holes.fill(ones))
    return holes.fill(mean * whole / visible.where(visible > 0, 1.0))


def _gather(holes: _Holes) -> tuple[Hook, Hook]:
    """Give a batch norm visible places alone, (n, C, 1, 1), and put what it makes of them back."""
    shapes: list[torch.Size] = []

    def before(_: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        x = args[0]
        shapes.append(x.shape)
        visible = ~holes.at(x.shape[2], x.shape[3])[:, 0]
        return (x.permute(0, 2, 3, 1)[visible][:, :, None, None], *args[1:])

    def after(_: nn.Module, _args: tuple[torch.Tensor, ...], out: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = shapes.pop()
        visible = ~holes.at(height, width)[:, 0]
        whole = out.new_zeros(batch, height, width, channels)
        return whole.index_put((visible,), out.flatten(1)).permute(0, 3, 1, 2)

    return before, after


@contextlib.contextmanager
def sparsely(model: nn.Module, pixels: torch.Tensor) -> Iterator[_Holes]:
    """Let the convolutions, poolings and norms of a model run as if masked pixels, (B, 1, H, W), were not there."""
    holes, handles, trains = _Holes(pixels), [], torch.is_grad_enabled()
    for module in model.modules():
        found = _hooks(module, holes)
        if found is not None:
            before, after = found
            if trains:
                handles.append(module.register_forward_pre_hook(_refuse_checkpoint))
            handles.append(module.register_forward_pre_hook(before))
            if after is not None:
                handles.append(module.register_forward_hook(after))
    try:
        yield holes
    finally:
        for handle in handles:
            handle.remove()


def _refuse_checkpoint(module: nn.Module, _: Any) -> None:
    """Refuse a module that ``torch.utils.checkpoint`` runs, which runs it again when the hooks are gone.

    That shows in the frames between here and the masked model alone: that may itself be checkpointed as a whole.
    """
    if torch.compiler.is_compiling():
        return
    frame, outside = sys._getframe(1), f"{__package__}.masking"
    while frame is not None and (name := frame.f_globals.get("__name__")) != outside:
        if name == "torch.utils.checkpoint":
            raise ValueError(
                f"activation checkpointing runs blocks again in the backward pass, when they are sparse no more: a "
                f"{type(module).__name__} is under torch.utils.checkpoint. Do without it in the blocks of a sparse "
                "model, or checkpoint the whole MaskedImageModel, with a mask that is given"
            )
        frame = frame.f_back  # type: ignore[assignment]


def check_runs_hooks(model: nn.Module) -> None:
    """Refuse a model of which parts are compiled: what was compiled without hooks runs without them.

    Raises:
        ValueError: One is, and which.
    """
    for name, module in model.named_modules():
        compiled = getattr(module, "_compiled_call_impl", None) is not None or hasattr(module, "_orig_mod")
        if name and compiled:  # the whole is not called, but its embed and forward_stages
            raise ValueError(
                f"`{name}` is compiled by itself, and would leave out the hooks by which a model is sparse: compile "
                "the whole MaskedImageModel instead"
            )


def only_map(model: nn.Module, leaves: list[Any]) -> int:
    """Which of the leaves of features is their map.

    Raises:
        TypeError: There are several tensors: which places of each are masked, and which are pooled, is not known.
    """
    tensors = [leaf for leaf, x in enumerate(leaves) if isinstance(x, torch.Tensor) and x.is_floating_point()]
    if len(tensors) > 1:
        raise TypeError(
            f"{type(model).__name__} gives {told(leaves)}, and sparse features are one map: let forward_features "
            "return the last one alone, and take those of other stages with intermediates=, where the class has "
            "forward_intermediates"
        )
    return tensors[0]


def find_sparse(model: SplitModel, layout: TokenLayout) -> FeatureLayout:
    """Where the features of a model are that can run sparsely.

    That it can is tried: masked places are made not a number, before everything and again after each operation that
    removes that. Whatever mixes places otherwise (attention, squeeze-and-excitation, a norm over places, a pooling in
    the code of a block) shows, as visible features are then no numbers. What makes numbers of them again, or compares,
    shows by huge ones.

    Raises:
        TypeError: Something in the model mixes places in a way that is not known, and what; or it has no features, or
            several.
        ValueError: A part of it is compiled by itself.
    """
    if len(layout.streams[0].grid) != 2:
        raise TypeError(f"{type(model).__name__} takes videos, and sparse are the convolutions of images alone")
    for name, module in model.named_modules():
        if hasattr(module, "running_var") and not isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            raise TypeError(_mixes(model, name, module, "its statistics are of all places"))
    check_runs_hooks(model)
    features, size = find_features(model, layout), layout.streams[0].image_size
    if features.stream.order == "NLC" or layout.listed:
        raise TypeError(
            f"{type(model).__name__} gives its features as a sequence: only maps of convolutions can be sparse"
        )
    side = layout.streams[0].grid[0] // features.grid[0]
    with _quietly(model):
        embed: Callable[[torch.Tensor], Any] = model.embed
        images = black_images(model, embed, size)
        images = normal_like(images, torch.Generator().manual_seed(0))
        generator = torch.Generator().manual_seed(0)
        mask = random_mask(1, layout.grid(size), 0.5, unit=side, generator=generator, device=images.device)
        pixels = layout.streams[0].pixels(mask, size)

        def visible(value: float) -> tuple[torch.Tensor, list[str]]:
            """Features at visible places, where masked ones hold some value, and modules that let no number pass."""
            torch.manual_seed(0)  # for dropout
            with sparsely(model, pixels) as holes, _poisoned(model, holes, value) as mixing:
                found = model.forward_stages(model.embed(holes.fill(images, value)))
                only_map(model, leaves_of(found))
                return features.image(found).masked_select(~holes.at(*features.grid)), mixing

        for mode in (contextlib.nullcontext(), in_training(model)):
            with mode:
                undefined, mixing = visible(torch.nan)
                spoilt = bool(undefined.isnan().any())
                if spoilt or _differ(visible(_HUGE)[0], visible(-_HUGE)[0], 1e-3):
                    name = mixing[0] if spoilt and mixing else ""
                    raise TypeError(
                        _mixes(model, name, model.get_submodule(name), "what it would do without some is not known")
                    )
    return features


def _mixes(model: nn.Module, name: str, module: nn.Module, why: str) -> str:
    where = f"`{name}`, a {type(module).__name__}," if name else "its own code"
    return (
        f"{type(model).__name__} cannot run sparsely: {where} mixes places, and {why}. "
        "Replace masked patches instead: strategy='replace'"
    )


@contextlib.contextmanager
def _poisoned(model: nn.Module, holes: _Holes, value: float) -> Iterator[list[str]]:
    """Give masked places a value behind each operation that masks; note modules that spoil visible ones."""
    mixing: list[str] = []

    def poison(module: nn.Module, _: Any, out: Any) -> Any:
        return holes.fill(out, value, channels_last=_is_grn(module) and bool(module.channel_dim == -1))

    def note(name: str) -> Hook:
        return lambda _module, _args, out: mixing.append(name) if _is_spoilt(out, holes) else None

    handles = []
    for name, module in model.named_modules():
        if _hooks(module, holes) is not None:
            handles.append(module.register_forward_hook(poison))
        elif name:
            handles.append(module.register_forward_hook(note(name)))
    try:
        yield mixing
    finally:
        for handle in handles:
            handle.remove()


def _is_spoilt(out: Any, holes: _Holes) -> bool:
    """Whether a module gave no numbers at visible places, or at all of them where it is no map that it gave."""
    if not isinstance(out, torch.Tensor) or not out.is_floating_point():
        return False
    batch, full = len(holes.pixels), holes.pixels.shape[-2:]
    readings = (out, out.movedim(-1, 1)) if out.ndim == 4 and len(out) == batch else ()  # not windows of images
    maps = [x for x in readings if min(x.shape[2:]) > 1 and not (full[0] % x.shape[2] or full[1] % x.shape[3])]
    if maps:  # of both orders where both may be
        return all(bool(x.isnan().any(dim=1, keepdim=True)[~holes.at(*x.shape[2:])].any()) for x in maps)
    return bool(out.isnan().all())
