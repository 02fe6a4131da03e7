"""Masked image modelling on split models: masks, replacing and dropping patches, and a model that combines them.

In all of it a mask is boolean, (B, N) over the patches in row-major order, and **True where a patch is masked**::

    model = MaskedImageModel(backbone, mask_ratio=0.75, strategy="drop")  # MAE
    features, mask, restore = model(images)
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, overload

import torch
from torch import nn
from torch.utils._pytree import _register_namedtuple

from . import _manifest
from ._as_found import check_lengths, check_stem, kernels_of_stem, lengths
from ._blocks import TargetMasks, block_mask, inverse_block_mask, target_masks
from ._drop import Dropped, check_drops_none, keep, visible_first
from ._features import FeatureLayout, feature_layout, find_features
from ._final_norm import find_final_norm
from ._given import Given, divide
from ._hide import Fill, check_fill, hide
from ._intermediates import METHOD, check_indices, count, differ, first_index, keywords_of, why_no_intermediates
from ._layout import _quietly, black_images, grid_of_images, patch_layout, token_layout, why_no_patches
from ._leaves import leaves_of, with_leaves
from ._masks import (
    Grid,
    by,
    cell_mask,
    centre_mask,
    complementary_masks,
    mask_ratios,
    masked_count,
    normal_like,
    random_mask,
    region_mask,
    tube_mask,
)
from ._sparse import check_runs_hooks, find_sparse, only_map, sparsely
from ._split import SplitModel, split
from ._tokens import Stream, TokenLayout, change_tensors, check_mask, check_masks, check_number, fields_of, images_size
from ._training import Matcher, inside, without_gradient

__all__ = [
    "Dropped",
    "FeatureLayout",
    "MaskedImageModel",
    "MaskedIntermediates",
    "MaskedOutput",
    "Stream",
    "TargetMasks",
    "TokenLayout",
    "WholeGridError",
    "block_mask",
    "cell_mask",
    "centre_mask",
    "complementary_masks",
    "drop",
    "feature_layout",
    "hide",
    "inverse_block_mask",
    "mask_ratios",
    "patch_layout",
    "random_mask",
    "region_mask",
    "repeat",
    "replace",
    "target_masks",
    "token_layout",
    "tube_mask",
]

Sampler = Callable[..., torch.Tensor]
"""Makes masks, called as :func:`random_mask` is: ``sampler(batch, grid, ratio, unit=, generator=, device=)``."""

_SAMPLERS: dict[str, Sampler] = {
    "random": random_mask,
    "block": block_mask,
    "inverse_block": inverse_block_mask,
    "cell": cell_mask,
    "centre": centre_mask,
    "tube": tube_mask,
}


class WholeGridError(ValueError):
    """The stages of a model need every patch: none can be dropped, but patches can be replaced."""


def replace(layout: TokenLayout, embedding: Any, mask: torch.Tensor, token: Any = 0.0) -> Any:
    """Put a mask token in the place of masked patches. Prefix tokens stay as they are.

    Args:
        layout: Of the model's embedding, ``token_layout(model)``; of its patches, ``patch_layout(model)``.
        embedding: What ``embed``, or ``embed_patches``, returns for B images.
        mask: (B, N), bool, True where masked. Where the tokens are a list, each of them gets the mask of this grid, its
            first, at the centres of its patches; or give a list of masks.
        token: The mask token: a number, or a tensor that goes into (B, N, C), such as (C,). A list of them where the
            tokens are a list of different C.

    Returns:
        An embedding of the same form.

    Raises:
        TypeError: The mask is not boolean.
        ValueError: The mask is not for these patches, or on another device.
    """
    tokens = layout.tokens(embedding)
    masks = mask if isinstance(mask, (list, tuple)) else [layout.spread(mask, s) for s in layout.streams[1:]]
    if not isinstance(mask, (list, tuple)):
        masks = [mask, *masks]
    given = token if isinstance(token, (list, tuple, nn.ParameterList)) else [token] * len(tokens)
    check_masks(masks, layout.streams)
    check_number("mask tokens", given, layout.streams)
    replaced = []
    for stream, x, m, t in zip(layout.streams, tokens, masks, given):  # noqa: B905 - not known to torch.compile
        check_mask(m, x, stream.count(x))
        replaced.append(stream.replace(x, m, t))
    result = layout.with_tokens(embedding, replaced)
    if layout.content:
        fields, rows = fields_of(embedding), masks[0].flatten()
        inside = {n: fields[n].masked_fill(rows.view(-1, *[1] * (fields[n].ndim - 1)), 0.0) for n in layout.content}
        result = result._replace(**inside)
    return result


def drop(layout: TokenLayout, embedding: Any, mask: torch.Tensor) -> Dropped:
    """Drop masked patches, and their part of the other fields (rotary embeddings, masks of attention).

    Prefix tokens stay.

    Args:
        layout: Of the model's embedding, ``token_layout(model)``.
        embedding: What ``embed`` returns for B images.
        mask: (B, N), bool, True where masked, for equally many patches in each row.

    Raises:
        TypeError: The mask is not boolean.
        WholeGridError: The stages of the model need the whole grid.
        ValueError: The mask is not for these patches, on another device, or masks different numbers of them.
    """
    _check_droppable(layout)
    if layout.unit:
        raise ValueError(
            f"this model drops whole units of {layout.unit} x {layout.unit} patches itself, before it embeds them: "
            f"model.embed(images, {layout.unit_mask}=units), where units is (B, units) and True where a unit is "
            f"{'kept' if layout.unit_mask_keeps else 'dropped'}"
        )
    (tokens,) = layout.tokens(embedding)
    check_mask(mask, tokens, layout.streams[0].count(tokens))
    visible, restore = visible_first(mask, mask.shape[1] - _masked_in_each(mask))
    return Dropped(keep(layout, embedding, visible), visible, restore)


def repeat(layout: TokenLayout, embedding: Any, times: int) -> Any:
    """Repeat each row of an embedding, to mask an image in several ways but embed it once, as data2vec 2 does.

    Args:
        layout: Of the model's embedding.
        embedding: What ``embed`` returns for B images.
        times: How often.

    Returns:
        An embedding of ``B * times`` rows, those of an image side by side.

    Raises:
        TypeError: Something in the embedding cannot be repeated.
        ValueError: A number in it changes with the batch, but not in proportion.
    """
    tokens = layout.tokens(embedding)
    batch = len(tokens[0])
    result = layout.with_tokens(embedding, [x.repeat_interleave(times, dim=0) for x in tokens])

    def again(name: str, x: torch.Tensor) -> torch.Tensor:
        if name in layout.content:  # (B * N, ...), by image
            return torch.unflatten(x, 0, (batch, -1)).repeat_interleave(times, dim=0).flatten(0, 1)
        batched = layout.is_batched(name, x)
        if batched is None:
            batched = x.ndim > 0 and x.shape[0] == batch
        return x.repeat_interleave(times, dim=0) if batched else x

    fields = {name: change_tensors(name, value, again) for name, value in fields_of(embedding).items()}
    for name, proportional in layout.numbers.items():
        if not proportional:
            raise ValueError(
                f"`{name}` of the embedding changes with the batch, and how is not known: repeat the images"
            )
        fields[name] *= times
    return result._replace(**fields) if fields else result


class MaskedOutput(NamedTuple):
    """What a :class:`MaskedImageModel` gives.

    Attributes:
        features: What ``forward_stages`` gives, behind the final norm: of all patches where masked ones were replaced,
            of the visible ones (behind any prefix tokens) where they were dropped.
        mask: (B, N), bool, True where a patch is masked.
        restore: Where patches were dropped, (B, N), int64, else ``None``. Features of visible patches, behind any
            prefix tokens, before those of masked ones, x, are put in the order of the grid by
            ``x.gather(1, restore.unsqueeze(-1).expand_as(x))``. Of a model that drops whole units and merges patches,
            N counts features (:class:`FeatureLayout`).
    """

    features: Any
    mask: torch.Tensor
    restore: torch.Tensor | None


class MaskedIntermediates(NamedTuple):
    """What a :class:`MaskedImageModel` gives when it is asked for intermediate features: these too.

    Attributes:
        features: As in :class:`MaskedOutput`.
        mask: As in :class:`MaskedOutput`.
        restore: As in :class:`MaskedOutput`; it holds for the intermediate features as well.
        intermediates: A list of what timm's ``forward_intermediates`` gives, in the order of the stages: (B, C, height,
            width) by default, where masked patches were replaced or are sparse; (B, n, C) of the visible patches,
            without prefix tokens, where masked ones were dropped.
    """

    features: Any
    mask: torch.Tensor
    restore: torch.Tensor | None
    intermediates: list[Any]


# torch.export can then save what it has made of a masked model
_register_namedtuple(MaskedOutput, serialized_type_name=f"{__name__}.MaskedOutput")
_register_namedtuple(MaskedIntermediates, serialized_type_name=f"{__name__}.MaskedIntermediates")


class MaskedImageModel(nn.Module):
    """A backbone that sees its images masked: the encoder of MAE, SimMIM, BEiT, iBOT and their like.

    Decoder, targets and loss belong to the method and are not part of it.

    Args:
        backbone: A split model, or a model to split in place, or a name that ``timm.create_model`` knows, which is
            created without a classifier. What the features of a given model do not depend on, its classifier for one,
            no longer requires a gradient, which DDP would wait for; :meth:`release` gives it back.
        mask_ratio: The part of the patches that is masked, between 0 and 1. Or a least and a greatest one, to replace
            another part of each image, as iBOT and DINOv2 do: see :func:`mask_ratios`.
        mask_token: What replaces masked patches, if they are not dropped: ``learnable``, a parameter, or ``zero``.
        strategy: ``replace`` masked patches, or ``drop`` them; or run a CNN ``sparse``, as if they were not there, as
            SparK and ConvNeXt V2's FCMAE do: features are then zero where all is masked.
        position: Replace patches ``before`` they get their position, so that a mask token knows where it is, or
            ``after``. A model that adds none before its stages has but one such place.
        sampler: Masks that are ``random``, ``block``, ``inverse_block``, ``cell``, ``centre`` or ``tube`` (of videos),
            or a function that is called as :func:`random_mask` is.
        unit: Mask squares of ``unit`` x ``unit`` patches at once. A model that drops whole units itself takes these.
        image_size: Height and width of images that the backbone takes, if that is not what it was made for; frames,
            height and width of videos.
        leak: ``hide`` masked pixels from a stem whose tokens see beyond their patch, as :func:`hide` does, or ``allow``
            it to see them. Where each token sees its own patch alone there is nothing to hide.
        fill: What goes into hidden pixels: a number, ``mean`` or ``noise``.
        masked_images: The part of the images that is masked, where ``mask_ratio`` is a range; others stay as they are.
        final_norm: Apply the norm to every token that timm leaves to the head, where the head pools by average
            (``fc_norm``, ``head.norm``), so that features are normalised and the norm is trained.

    Attributes:
        backbone: The split model.
        layout: Where the patches are in its embedding.
        mask_token: The parameter, (C,), a list of them where the tokens are a list, or ``None``.
        final_norm: Which norm of the head is applied, if any.
        unused: Names of the parameters that the features do not depend on, and that required a gradient before.

    Raises:
        TypeError: The backbone is not split and cannot be, or has no patches.
        WholeGridError: Patches are to be dropped, and the stages of the backbone need the whole grid.
        ValueError: An argument is out of range; or the backbone cannot be masked so, and why.
        RuntimeError: It is made under ``torch.inference_mode()``, or its backbone was.
    """

    def __init__(
        self,
        backbone: nn.Module | str,
        *,
        mask_ratio: float | tuple[float, float] = 0.6,
        mask_token: Literal["learnable", "zero"] = "learnable",
        strategy: Literal["replace", "drop", "sparse"] = "replace",
        position: Literal["before", "after"] = "before",
        sampler: Literal["random", "block", "inverse_block", "cell", "centre", "tube"] | Sampler = "random",
        unit: int = 1,
        image_size: Grid | None = None,
        leak: Literal["hide", "allow"] = "hide",
        fill: Fill = 0.0,
        masked_images: float = 1.0,
        final_norm: bool = True,
    ) -> None:
        super().__init__()
        _check_choice("mask_token", mask_token, ("learnable", "zero"))
        _check_choice("strategy", strategy, ("replace", "drop", "sparse"))
        _check_choice("position", position, ("before", "after"))
        _check_choice("leak", leak, ("hide", "allow"))
        check_fill(fill)
        if not callable(sampler):
            _check_choice("sampler", sampler, tuple(_SAMPLERS))
        _check_ratio(mask_ratio, masked_images, strategy)
        unit = _whole_unit(unit)
        self.backbone = split(_create(backbone) if isinstance(backbone, str) else backbone)
        _check_trainable(self.backbone)
        self.mask_ratio = mask_ratio
        self.masked_images = masked_images
        self.strategy = strategy
        self.leak, self.fill = leak, fill
        self.sampler = sampler if callable(sampler) else _SAMPLERS[sampler]
        self.layout = token_layout(self.backbone, image_size)
        self.unit = unit
        self._early: TokenLayout | None = None
        self._features: FeatureLayout | None = None
        self._more: list[int | None] = []
        self._stem: dict[str, str] = {}
        if strategy == "drop":
            _check_droppable(self.layout)
            _check_has_values(self.backbone)
            self.unit = max(unit, self.layout.unit)
            self._features = find_features(self.backbone, self.layout) if self.layout.unit else None
        elif strategy == "sparse":
            self._features = find_sparse(self.backbone, self.layout)
            self.unit = _unit_of_features(unit, self._features)
        elif position == "before" and _has_position(self.backbone):
            if not hasattr(self.backbone, "embed_patches"):
                raise ValueError(
                    f"{type(self.backbone).__name__} cannot have patches replaced before their position: "
                    f"{why_no_patches(self.backbone)}. Replace them after it: position='after'"
                )
            self._early = patch_layout(self.backbone, image_size)
        masked = self._early or self.layout
        self.mask_token: nn.Parameter | nn.ParameterList | None = None
        if strategy == "replace" and mask_token == "learnable":
            like = next(p for p in self.backbone.parameters() if p.is_floating_point())
            tokens = [
                nn.Parameter(
                    nn.init.trunc_normal_(torch.empty(s.channels, device=like.device, dtype=like.dtype), std=0.02)
                )
                for s in masked.streams
            ]
            self.mask_token = nn.ParameterList(tokens) if masked.listed else tokens[0]
        grid = self.grid(masked.streams[0].image_size)  # what units do not fit is known now
        with _quietly(self):
            images = black_images(self.backbone, self.backbone.embed, masked.streams[0].image_size)
            self.final_norm = None
            mask = random_mask(1, grid, 0.5, unit=self.unit, device=images.device)
            try:
                self._stem = kernels_of_stem(self.backbone, lambda: self.backbone.embed(images))
                features = self.backbone.forward_stages(self.backbone.embed(images))
                if final_norm:
                    self.final_norm = find_final_norm(self.backbone, features, images)
                self.unused = tuple(without_gradient(self, lambda: self(images, mask).features))
                self._more = self._lengths(images, mask, features)
                self._no_empty_batch = ""
                self._no_empty_batch = self._why_no_empty_batch(images[:0], mask[:0])
                self._no_intermediates, self._last = "", -1
                self._no_intermediates = self._why_no_intermediates(images, mask)
            except (AssertionError, RuntimeError) as error:
                raise ValueError(
                    f"{type(self.backbone).__name__} does not run on images of shape {tuple(images.shape)}: {error}. "
                    "If it takes none of that size, name another with image_size=(height, width)"
                ) from error
        for name in self.unused:
            self.get_parameter(name).requires_grad_(False)

    def grid(self, image_size: Grid) -> Grid:
        """Height and width, in patches, of images of some height and width; of videos frames before them.

        Raises:
            ValueError: It is no multiple of the unit in which patches are masked.
        """
        grid = self.layout.grid(image_size)
        if grid[-2] % self.unit or grid[-1] % self.unit:
            raise ValueError(
                f"images of {by(image_size)} pixels have {by(grid)} patches, which are no multiple of the unit of "
                f"{self.unit}: take another unit or image size"
            )
        return grid

    @overload
    def forward(
        self,
        images: torch.Tensor,
        mask: torch.Tensor | None = None,
        *,
        intermediates: None = None,
        count: int | None = None,
        ratio: float | torch.Tensor | None = None,
        generator: torch.Generator | None = None,
        **kwargs: Any,
    ) -> MaskedOutput: ...

    @overload
    def forward(
        self,
        images: torch.Tensor,
        mask: torch.Tensor | None = None,
        *,
        intermediates: int | Sequence[int],
        count: int | None = None,
        ratio: float | torch.Tensor | None = None,
        generator: torch.Generator | None = None,
        **kwargs: Any,
    ) -> MaskedIntermediates: ...

    def forward(
        self,
        images: torch.Tensor,
        mask: torch.Tensor | None = None,
        *,
        intermediates: int | Sequence[int] | None = None,
        count: int | None = None,
        ratio: float | torch.Tensor | None = None,
        generator: torch.Generator | None = None,
        **kwargs: Any,
    ) -> MaskedOutput | MaskedIntermediates:
        """Mask images and run the backbone on them.

        Args:
            images: (B, C, H, W), or videos, (B, C, T, H, W).
            mask: (B, N), bool, True where masked; drawn by the sampler by default.
            intermediates: Indices of intermediate features to give as well, or how many of the last, as timm's
                ``forward_intermediates`` takes them.
            count: Patches that each row of ``mask`` masks, if you know it: to drop them it is counted otherwise, which
                waits for the device, and which torch.compile cannot have in its graph.
            ratio: Of this mask, instead of ``mask_ratio``: a schedule, which torch.compile follows without compiling
                again. Where patches are replaced it may be (B,), one for each image.
            generator: Where a mask that is drawn comes from.
            kwargs: What ``forward_features`` takes besides images, for ``embed``, ``forward_stages`` or both:
                ``return_intermediates=True`` of Hiera. With ``intermediates``, for ``forward_stages_intermediates``:
                ``norm``, ``output_fmt``, ``return_prefix_tokens``.

        Returns:
            Features, mask and restore; with ``intermediates``, :class:`MaskedIntermediates`, whose features are those
            of the plain call.

        Raises:
            TypeError: The mask is not boolean, the backbone takes no such argument, or it gives no intermediate
                features, or other features with them, and why.
            ValueError: The images or the mask are of a shape that does not fit; a mask is given and a ratio as well, or
                a count without a mask; the model drops patches itself; its last intermediate features are not asked
                for, and it would end before them; or ``count`` is not what the mask masks, found on the device without
                waiting for it, where that is no CPU.
        """
        images_size(images, self.layout)  # or it raises
        if images.shape[0] == 0 and self._no_empty_batch:
            raise ValueError(f"{type(self.backbone).__name__} takes no batch of 0 images: {self._no_empty_batch}")
        if mask is None and count is not None:
            raise ValueError(
                f"count is {count}, of a mask that is not given: give mask=, or ratio= for one that is drawn"
            )
        if mask is not None and ratio is not None:
            raise ValueError("a mask is given, and a ratio, which is that of a mask that is drawn: give one of them")
        if self.training:
            check_drops_none(self.backbone)
        if not torch.compiler.is_compiling():
            check_stem(self.backbone, self._stem)
        if intermediates is None:
            given = divide(kwargs, self.backbone)
        else:
            given = self._with_intermediates(intermediates, images, kwargs)
        if self.strategy == "sparse":
            return self._sparse(images, mask, ratio, generator, given, intermediates is not None)
        embedding, mask, restore = (
            self._drop(images, mask, count, ratio, generator, given)
            if self.strategy == "drop"
            else self._replace(images, mask, ratio, generator, given)
        )
        features, taken = self._stages(embedding, given, intermediates is not None)
        if self.training and self._more and not kwargs:
            self._check_lengths(features, embedding, images, mask)
        return _output(features, mask, restore, taken)

    def release(self) -> SplitModel:
        """The backbone, for fine-tuning: its classifier, and whatever had no part in the features, is trained again."""
        for name in self.unused:
            self.get_parameter(name).requires_grad_(True)
        self.unused = ()
        return self.backbone

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that the backbone spares from weight decay, and of the mask token."""
        spared: Callable[[], set[str]] = getattr(self.backbone, "no_weight_decay", set)
        tokens = {name for name, _ in self.named_parameters() if name.startswith("mask_token")}
        return {f"backbone.{name}" for name in spared()} | tokens

    @property
    def group_matcher(self) -> Callable[..., Matcher]:
        """The groups of the backbone's parameters, as timm takes them for layer decay; the mask token is in the first.

        Raises:
            AttributeError: The backbone has none, which timm asks for.
        """
        of_backbone: Callable[..., Matcher] = self.backbone.__getattribute__("group_matcher")
        return lambda coarse=False: inside(of_backbone(coarse=coarse), "backbone", "mask_token")

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute the activations of the backbone's blocks again in the backward pass, instead of keeping them."""
        of_backbone: Callable[..., None] = getattr(self.backbone, "set_grad_checkpointing")  # noqa: B009 - typed
        of_backbone(enable)

    def _replace(
        self,
        images: torch.Tensor,
        mask: torch.Tensor | None,
        ratio: float | torch.Tensor | None,
        generator: torch.Generator | None,
        given: Given,
    ) -> tuple[Any, torch.Tensor, None]:
        layout = self._early or self.layout
        embed = self.backbone.embed if self._early is None else self.backbone.embed_patches
        if self._hides(layout):
            if mask is None:
                mask = self._draw(images, grid_of_images(self.backbone, embed, layout, images), ratio, generator)
            images = hide(images, mask, layout, self.fill, generator=generator)
        embedding = self._embed(embed, images, given.embed if self._early is None else given.patches)
        grid = layout.grid_of(embedding, tuple(images.shape[2:]))
        if mask is None:
            mask = self._draw(images, grid, ratio, generator)
        masked = replace(layout, embedding, mask, 0.0 if self.mask_token is None else self.mask_token)
        return masked if self._early is None else self.backbone.embed_positions(masked, **given.positions), mask, None

    def _drop(
        self,
        images: torch.Tensor,
        mask: torch.Tensor | None,
        count: int | None,
        ratio: float | torch.Tensor | None,
        generator: torch.Generator | None,
        given: Given,
    ) -> tuple[Any, torch.Tensor, torch.Tensor]:
        size = tuple(images.shape[2:])
        embedding, hides = None, self._hides(self.layout)
        if self.layout.unit:
            grid = self.grid(size)
        elif hides:
            grid = grid_of_images(self.backbone, self.backbone.embed, self.layout, images)
        else:
            embedding = self._embed(self.backbone.embed, images, given.embed)
            grid = self.layout.grid_of(embedding, size)
        if mask is None:
            ratio = self._ratio(images, generator) if ratio is None else ratio
            mask = self._draw(images, grid, ratio, generator)
            if self.sampler in _SAMPLERS.values() and not isinstance(ratio, torch.Tensor):
                frames, drawn = (grid[0], grid[1:]) if self.sampler is tube_mask else (1, grid)
                count = frames * masked_count(drawn, ratio, self.unit)  # in each row, known without asking the device
            check_mask(mask, images, math.prod(grid))
        else:
            check_mask(mask, images, math.prod(grid))
            if count is not None:
                _check_count(mask, count)
        if count is None:
            count = _masked_in_each(mask)
        if hides:
            images = hide(images, mask, self.layout, self.fill, generator=generator)
        if self._features is None:
            embedding = self._embed(self.backbone.embed, images, given.embed) if embedding is None else embedding
            visible, restore = visible_first(mask, mask.shape[1] - count)
            return keep(self.layout, embedding, visible), mask, restore
        units = self._units(mask, grid, self.layout.unit)
        restore = self._features.restore(mask)
        dropped = {self.layout.unit_mask: ~units if self.layout.unit_mask_keeps else units}
        return self._embed(self.backbone.embed, images, {**given.embed, **dropped}), mask, restore

    def _sparse(
        self,
        images: torch.Tensor,
        mask: torch.Tensor | None,
        ratio: float | torch.Tensor | None,
        generator: torch.Generator | None,
        given: Given,
        intermediates: bool,
    ) -> MaskedOutput | MaskedIntermediates:
        size = tuple(images.shape[2:])
        check_runs_hooks(self.backbone)
        if any(getattr(m, "grad_checkpointing", False) is True for m in self.backbone.modules()):
            raise ValueError(
                "gradient checkpointing runs blocks again in the backward pass, when they are sparse no more: "
                "set_grad_checkpointing(False)"
            )
        grid = self.grid(size)
        mask = self._draw(images, grid, ratio, generator) if mask is None else mask
        check_mask(mask, images, math.prod(grid))
        assert self._features is not None
        self._units(mask, grid, grid[0] // self._features.stream.at(size)[0])
        with sparsely(self.backbone, self.layout.streams[0].pixels(mask, size)) as holes:
            embedding = self._embed(self.backbone.embed, images, given.embed)
            features, taken = self._stages(embedding, given, intermediates)
        last = self._features.stream.order == "NHWC"
        leaves = leaves_of(features)
        leaf = only_map(self.backbone, leaves)
        leaves[leaf] = holes.fill(leaves[leaf], channels_last=last)
        if taken is not None:
            maps_last = given.stages.get("output_fmt", "NCHW") == "NHWC"
            taken = [holes.fill(x, channels_last=maps_last) for x in taken]
        return _output(with_leaves(features, leaves), mask, None, taken)

    def _stages(self, embedding: Any, given: Given, intermediates: bool) -> tuple[Any, list[Any] | None]:
        """Features behind the final norm, and intermediate ones if they are asked for."""
        if intermediates:
            try:
                features, taken = getattr(self.backbone, METHOD)(embedding, **given.stages)
            except AssertionError as error:  # how timm says that there is no such index
                raise ValueError(f"intermediates is {given.stages['indices']}: {error}") from error
        else:
            features, taken = self.backbone.forward_stages(embedding, **given.stages), None
        return features if self.final_norm is None else self.final_norm(self.backbone, features), taken

    def _with_intermediates(
        self, indices: int | Sequence[int], images: torch.Tensor, arguments: Mapping[str, Any]
    ) -> Given:
        """Arguments by method, where that of the stages gives intermediate features too."""
        if self._no_intermediates:
            raise TypeError(f"{type(self.backbone).__name__} gives no intermediate features: {self._no_intermediates}")
        check_indices(indices)
        if self._last >= 0 and not isinstance(indices, int) and not {-1, self._last} & set(indices):
            raise ValueError(
                f"forward_intermediates of {type(self.backbone).__name__} stops at the last one that is asked for, and "
                f"the features would be others: ask for the last as well, intermediates={[*indices, -1]}"
            )
        size, dropped = tuple(images.shape[2:]), self.strategy == "drop"
        given = divide(arguments, self.backbone, METHOD)
        return dataclasses.replace(
            given, stages=keywords_of(self.backbone, indices, size, given.stages, dropped=dropped)
        )

    def _lengths(self, images: torch.Tensor, mask: torch.Tensor, whole: Any) -> list[int | None]:
        """By how much sequences of features are longer than there are patches, where that is always the same."""
        if self.strategy == "sparse" or self.layout.unit or self.layout.streams[0].order != "NLC":
            return []
        if self.strategy == "replace":
            return lengths(whole, mask.shape[1])
        place = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
        one, two = (
            lengths(self(images, place >= count, count=mask.shape[1] - count).features, count) for count in (1, 2)
        )
        return [a if a == b else None for a, b in zip(one, two)]  # noqa: B905 - as many

    def _check_lengths(self, features: Any, embedding: Any, images: torch.Tensor, mask: torch.Tensor) -> None:
        if self.strategy == "drop":
            patches = self.layout.streams[0].count(self.layout.tokens(embedding)[0])
            check_lengths(self.backbone, features, patches, self._more)
        elif tuple(images.shape[2:]) == self.layout.streams[0].image_size:  # merged ones are others of another size
            check_lengths(self.backbone, features, mask.shape[1], self._more)

    def _why_no_empty_batch(self, images: torch.Tensor, mask: torch.Tensor) -> str:
        """What the code of the backbone says to no image at all, as many a view does; empty if it takes that."""
        try:
            self(images, mask)
        except Exception as error:  # whatever it raises
            return f"its code raises {type(error).__name__}: {error}"
        return ""

    def _why_no_intermediates(self, images: torch.Tensor, mask: torch.Tensor) -> str:
        """Why intermediate features cannot be had; empty if they can, and the features with them are the plain ones."""
        why = why_no_intermediates(self.backbone)
        if why:
            return why
        images = normal_like(images, torch.Generator().manual_seed(0))
        plain = self(images, mask, generator=torch.Generator().manual_seed(0)).features
        first = first_index(lambda index: self(images, mask, intermediates=[index]))
        for indices in ([first], [-1]):
            why = self._why_other_features(images, mask, indices, plain)
            if not why:
                if indices == [-1]:  # it stops there, and the features are others
                    self._last = self._count(images, first) - 1
                break
        return why

    def _count(self, images: torch.Tensor, first: int) -> int:
        embedding = self.backbone.embed(images)
        size = tuple(images.shape[2:])

        def run(index: int) -> Any:
            return getattr(self.backbone, METHOD)(
                embedding, **keywords_of(self.backbone, [index], size, {}, dropped=False)
            )

        return count(run, first)

    def _why_other_features(self, images: torch.Tensor, mask: torch.Tensor, indices: list[int], plain: Any) -> str:
        try:
            other = self(images, mask, intermediates=indices, generator=torch.Generator().manual_seed(0))
        except Exception as error:  # whatever its own code raises
            return f"its {METHOD} fails ({type(error).__name__}: {error})"
        return f"its {METHOD} ends with other features than forward_stages" if differ(plain, other.features) else ""

    def _hides(self, layout: TokenLayout) -> bool:
        return layout.leaks and self.leak == "hide"

    def _units(self, mask: torch.Tensor, grid: Grid, side: int) -> torch.Tensor:
        """(B, units), True where masked, of a mask of patches."""
        *frames, height, width = grid
        sides = (*frames, height // side, side, width // side, side)
        units = mask.view(-1, *sides).transpose(-3, -2).flatten(-2)
        if not torch.compiler.is_compiling() and bool((units.any(-1) != units.all(-1)).any()):
            raise ValueError(
                f"this model drops whole units of {side} x {side} patches: mask all of a unit, or nothing of it, as "
                f"unit={side} does"
            )
        return units[..., 0].flatten(1)

    def _ratio(self, images: torch.Tensor, generator: torch.Generator | None) -> float | torch.Tensor:
        if not isinstance(self.mask_ratio, tuple):
            return self.mask_ratio
        return mask_ratios(
            len(images), self.mask_ratio, masked=self.masked_images, generator=generator, device=images.device
        )

    def _draw(
        self,
        images: torch.Tensor,
        grid: Grid,
        ratio: float | torch.Tensor | None,
        generator: torch.Generator | None,
    ) -> torch.Tensor:
        ratio = self._ratio(images, generator) if ratio is None else ratio
        return self.sampler(len(images), grid, ratio, unit=self.unit, generator=generator, device=images.device)

    def _embed(self, embed: Callable[..., Any], images: torch.Tensor, given: Mapping[str, Any]) -> Any:
        try:
            return embed(images, **given)
        except AssertionError as error:  # how timm says that an image is of another size
            raise ValueError(
                f"{type(self.backbone).__name__} does not take images of shape {tuple(images.shape)}: {error}"
            ) from error

    def extra_repr(self) -> str:
        """How it masks."""
        return f"mask_ratio={self.mask_ratio}, strategy={self.strategy}, unit={self.unit}"


def _output(
    features: Any, mask: torch.Tensor, restore: torch.Tensor | None, taken: list[Any] | None
) -> MaskedOutput | MaskedIntermediates:
    if taken is None:
        return MaskedOutput(features, mask, restore)
    return MaskedIntermediates(features, mask, restore, taken)


def _create(name: str) -> nn.Module:
    """A timm model by its name. A package of user models has no factory, as these have no names."""
    if _manifest.user_source() is not None:
        raise TypeError(f"{name!r} is a name, and only timm's models have names: give a {_manifest.kind()} itself")
    factory = importlib.import_module("._factory", __package__)
    model: nn.Module = factory.create_model(name, num_classes=0)
    return model


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}: it must be one of {', '.join(choices)}")


def _check_ratio(ratio: float | tuple[float, float], masked_images: float, strategy: str) -> None:
    bounds = ratio if isinstance(ratio, tuple) else (ratio,)
    if (isinstance(ratio, tuple) and len(ratio) != 2) or not all(isinstance(bound, numbers.Real) for bound in bounds):
        raise TypeError(f"the mask ratio is {ratio!r}: it is a number, or the least and the greatest one, (0.1, 0.5)")
    for bound in bounds:
        if not 0 < bound < 1:
            raise ValueError(f"the mask ratio is {ratio}: it must lie between 0 and 1, as 0.75 does")
    if not isinstance(ratio, tuple):
        if masked_images != 1:
            raise ValueError("masked_images leaves some images as they are where mask_ratio is a range, (0.1, 0.5)")
    elif strategy == "drop":
        raise ValueError(f"the mask ratio is {ratio}: to drop patches, every image must have as many as the others")
    else:
        mask_ratios(1, ratio, masked=masked_images)


def _check_droppable(layout: TokenLayout) -> None:
    if layout.whole_grid:
        raise WholeGridError(
            f"this model's stages need the whole grid of patches: {layout.whole_grid}. "
            "Replace masked patches instead: replace(), or strategy='replace'"
        )


def _whole_unit(unit: Any) -> int:
    if not isinstance(unit, numbers.Integral) or unit < 1:
        raise ValueError(f"unit is {unit!r}: it is a whole number, of 1 at least, of patches along a square")
    return int(unit)


def _check_has_values(model: nn.Module) -> None:
    if any(parameter.device.type == "meta" for parameter in model.parameters()):
        raise ValueError(
            "whether patches can be dropped is tried, but a model on the device meta has no values for it: make "
            "the masked model of one that has, and move it"
        )


def _check_trainable(model: nn.Module) -> None:
    if torch.is_inference_mode_enabled() or any(parameter.is_inference() for parameter in model.parameters()):
        raise RuntimeError(
            "what is made under torch.inference_mode() never gets a gradient: make the model, and the masked one, "
            "outside"
        )


def _unit_of_features(unit: int, features: FeatureLayout) -> int:
    """The unit of masks that hold at every stage of a CNN: a multiple of the patches that a feature is made of."""
    sides = {patches // places for patches, places in zip(features.tokens, features.grid)}  # noqa: B905
    side = max(sides)
    if unit not in (1, side) and unit % side:
        raise ValueError(
            f"unit is {unit}: a feature is made of {side} x {side} patches, masked at once, so that a mask holds at "
            f"every stage: take unit={side} or a multiple of it"
        )
    return max(unit, side)


def _check_count(mask: torch.Tensor, count: int) -> None:
    """Without waiting for a device: there, a wrong count ends the program by an assertion."""
    right = (mask.sum(dim=1) == count).all()
    if torch.compiler.is_compiling() or mask.device.type != "cpu":  # a graph that named the count would be of that one
        torch._assert_async(right, "the mask does not mask as many patches in each row as count says")
    elif not bool(right):
        raise ValueError(f"count is {count}, and the mask does not mask so many patches in each row")


def _masked_in_each(mask: torch.Tensor) -> int:
    """The number of patches that every row of a mask masks."""
    if len(mask) == 0:  # any number will do
        return 0
    if mask.device.type == "meta":
        raise ValueError("a mask on the device meta does not say how many patches it masks: give count=")
    counts = mask.sum(dim=1)
    fewest, most = int(counts.min()), int(counts.max())
    if fewest != most:
        raise ValueError(
            f"rows mask from {fewest} to {most} patches: to drop them, each must mask as many as the others"
        )
    return fewest


def _has_position(model: nn.Module) -> bool:
    """Whether the embedding of a split model gives the tokens a position."""
    entry = _manifest.entry_of(type(model))
    return entry is not None and bool(entry["split"]["position"])
