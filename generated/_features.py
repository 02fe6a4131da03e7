"""Where the features of a model are on the grid: found by trying which patches each of them depends on most."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import torch
from torch import nn

from ._drop import visible_first
from ._intermediates import METHOD, keywords_of, why_no_intermediates
from ._layout import _quietly, black_images, token_layout
from ._leaves import leaves_of, told
from ._locate import place_of_each, sides_apart
from ._masks import Grid, by, normal_like, uniform
from ._split import SplitModel
from ._tokens import Stream, TokenLayout

_ONE_BY_ONE = 64  # places of a grid that are redrawn one at a time; of larger ones halves are
_HALVES = 32  # that are drawn: enough to tell thousands of places apart
_GRIDS = 2  # that a sequence is tried to lie on, those that leave the fewest tokens and merge the fewest frames
_DRAWS = 2  # of other pixels, until each feature has shown its place,
_RISES = 0.05  # and more of them as long as each shows the places of so many features more, as on a fine grid
_AT_ONCE = 8  # images in a batch
_NEAR = 0.9  # of the features must depend most on their own place or one beside it,
_EXACT = 0.5  # and of a sequence on their own, where stages blur the grid;
_OWN = 1.1  # of a map, whose convolutions may be centred between places, more on their own than on others


Stages = Callable[[Any], Any]


@dataclass(frozen=True)
class FeatureLayout:
    """Where features are on the grid of a model: what :func:`feature_layout` finds.

    Attributes:
        stream: Their order (``NLC``, ``NHWC`` or ``NCHW``), grid, channels and tokens before them. It is what the
            tokens are of which they are made, but for the grid, which is coarser where stages merge patches.
        leaf: Which tensor they are of those in a dict, list or tuple, counted through all of it.
        index: Where the feature of each place is in the sequence, by row: as Hiera leaves them in units. ``None`` where
            they follow each other by row.
        extra: Tokens in the sequence that are at no place: class and register tokens.
        tokens: Height and width of the grid of patches that ``embed`` makes.
    """

    stream: Stream
    leaf: int
    index: tuple[int, ...] | None
    extra: int
    tokens: Grid

    @property
    def grid(self) -> Grid:
        """Height and width, in features, of images of the size that this was found with."""
        return self.stream.grid

    def patches(self, features: Any) -> torch.Tensor:
        """The features of all places, (B, L, C) in row-major order of the grid.

        Args:
            features: What ``forward_stages`` gives for B whole images.

        Raises:
            ValueError: They are of images of another size, or some were dropped: where each is is then not known.
        """
        x = self._tensor(features)
        if self.stream.order != "NLC":
            return self.stream.patches(x)
        count = math.prod(self.grid)
        if x.shape[1] != count + self.extra:
            raise ValueError(
                f"there are {x.shape[1]} features, and of images of {by(self.stream.image_size)} pixels there are "
                f"{count + self.extra}. Of another size, find the layout with image_size=(height, width); where some "
                "were dropped, put them in order with restore()"
            )
        if self.index is None:
            return x[:, self.stream.prefix : self.stream.prefix + count]
        return x[:, torch.tensor(self.index, device=x.device)]

    def image(self, features: Any) -> torch.Tensor:
        """The features of all places as an image, (B, C, height, width), for a convolution or a dense head.

        Of videos, (B, C, frames, height, width).

        Args:
            features: What ``forward_stages`` gives for B whole images.

        Raises:
            ValueError: As :meth:`patches` does.
        """
        grid = self.grid if self.stream.order == "NLC" else self.stream.grid_of(self._tensor(features))
        return torch.unflatten(self.patches(features).transpose(1, 2), 2, grid)

    def pool(self, mask: torch.Tensor) -> torch.Tensor:
        """A mask of patches, (B, N), as one of features, (B, L): true where all patches of a place are masked."""
        place = place_of_each(self.tokens, self.grid, mask.device).expand_as(mask)
        visible = torch.zeros(len(mask), math.prod(self.grid), dtype=torch.int64, device=mask.device)
        return visible.scatter_add(1, place, (~mask).long()) == 0

    def restore(self, mask: torch.Tensor) -> torch.Tensor:
        """How features of visible places are put in the order of the grid, where those of masked ones were dropped.

        Args:
            mask: Of patches, (B, N), bool, that masks all of a place or nothing, and as many places in each row.

        Returns:
            (B, L), int64: features of visible places, extra tokens left out, before anything for the L - n masked ones,
            x, are put in row-major order by ``x.gather(1, restore.unsqueeze(-1).expand_as(x))``.
        """
        hidden = self.pool(mask)
        if self.index is None:
            return visible_first(hidden, 0)[1]
        order = torch.tensor(self.index, device=mask.device).argsort()  # which place each feature is of
        return visible_first(hidden[:, order], 0)[1][:, order.argsort()]

    def _tensor(self, features: Any) -> torch.Tensor:
        leaf: torch.Tensor = leaves_of(features)[self.leaf]
        return leaf


def feature_layout(
    model: nn.Module, image_size: Grid | None = None, *, intermediate: int | None = None
) -> FeatureLayout:
    """Find where the features of a split model are on the grid, what ``forward_stages`` gives.

    Nothing is read off a length: patches are redrawn, those of one place or of half of the places at a time, and the
    feature of a place is the one that changes most with them. The stages run on 64 images for that, mostly, in eval
    mode; nothing of the model changes.

    Args:
        model: A split model.
        image_size: Height and width of images that it takes; what it was made for by default.
        intermediate: Of the intermediate feature of this index instead, in the format that
            ``forward_stages_intermediates`` gives by default, (B, C, height, width) mostly.

    Raises:
        TypeError: It is not split, or what it gives has no features on a grid: they are pooled, or no tensors; or it
            has no intermediate features, and why.
        ValueError: It does not take images of that size, or has no values that could be tried, on the device ``meta``.
    """
    layout = token_layout(model, image_size)  # it is split, or this says so
    return find_features(cast(SplitModel, model), layout, intermediate)


def find_features(model: SplitModel, layout: TokenLayout, intermediate: int | None = None) -> FeatureLayout:
    """What :func:`feature_layout` does, of a model whose tokens are known."""
    size = layout.streams[0].image_size
    stages = model.forward_stages if intermediate is None else _intermediate(model, intermediate, size)
    with _quietly(model):
        like = black_images(model, model.embed, size)
        if like.device.type == "meta":
            raise ValueError("which features depend on which patches cannot be tried on the device meta")
        image = normal_like(like, torch.Generator().manual_seed(0))

        def run(change: Callable[[Any], Any], batch: int) -> list[Any]:
            return leaves_of(stages(change(model.embed(image.expand(batch, *[-1] * (image.ndim - 1))))))

        try:
            leaves = run(lambda embedding: embedding, 1)
        except (AssertionError, RuntimeError) as error:
            raise ValueError(
                f"the stages of {type(model).__name__} take no images of {by(size)}: name a size that they "
                f"take with image_size=(height, width) ({error})"
            ) from error
        channels = getattr(model, "num_features", None) if intermediate is None else None
        found = [(leaf, x, form) for leaf, x in enumerate(leaves) for form in _forms(x, layout.streams[0], channels)]
        for leaf, x, form in sorted(found, key=lambda each: math.prod(each[2].grid) == 1):  # what is pooled comes last
            if form.order != "NLC" and math.prod(form.grid) == 1 and not _grows(model, form, leaf, intermediate):
                continue
            index = _confirmed(_Probe(run, layout, form, leaf))
            if index is not None:
                return _layout(form, leaf, index, x, layout.streams[0].grid)
    raise TypeError(
        f"the features of {type(model).__name__} are on no grid: it gives {told(leaves)}, of which none "
        "depends most on a patch of its own"
    )


def _intermediate(model: SplitModel, index: int, size: Grid) -> Stages:
    """What gives one intermediate feature of images of some height and width."""
    why = why_no_intermediates(model)
    if why:
        raise TypeError(f"{type(model).__name__} gives no intermediate features: {why}")
    method: Stages = getattr(model, METHOD)
    keywords = keywords_of(model, [index], size, {}, dropped=False)
    return lambda embedding: method(embedding, **keywords)[1]


def _grows(model: SplitModel, form: Stream, leaf: int, intermediate: int | None) -> bool:
    """Whether a map of one place has more of larger images: else it is pooled."""
    size = tuple(2 * pixels for pixels in form.image_size)
    stages = model.forward_stages if intermediate is None else _intermediate(model, intermediate, size)
    try:
        x = leaves_of(stages(model.embed(black_images(model, model.embed, size))))[leaf]
    except (AssertionError, RuntimeError, ValueError):
        return False
    return bool(max(x.shape[2:] if form.order == "NCHW" else x.shape[1:-1]) > 1)


def _layout(form: Stream, leaf: int, index: list[int], x: torch.Tensor, tokens: Grid) -> FeatureLayout:
    count = math.prod(form.grid)
    extra = x.shape[1] - count if form.order == "NLC" else 0
    if index == list(range(index[0], index[0] + count)):
        return FeatureLayout(replace(form, prefix=index[0]), leaf, None, extra, tokens)
    return FeatureLayout(form, leaf, tuple(index), extra, tokens)


def _forms(x: Any, tokens: Stream, channels: int | None) -> Iterator[Stream]:
    """How features may lie, the likeliest first: on the grid of the tokens, or on one that is coarser.

    Of a sequence the half at least is at places of the grid.
    """
    if not isinstance(x, torch.Tensor) or not x.is_floating_point():
        return
    size, shape = tokens.image_size, tuple(x.shape[1:])
    if x.ndim == 2 + len(size):
        orders: list[Literal["NCHW", "NHWC"]] = ["NCHW", "NHWC"]
        if channels in (shape[0], shape[-1]) and shape[0] != shape[-1]:
            orders = ["NCHW"] if channels == shape[0] else ["NHWC"]
        for order in orders:
            yield _form(order, shape[0 if order == "NCHW" else -1], shape[1:] if order == "NCHW" else shape[:-1], size)
    if x.ndim != 3:
        return
    fitting = [
        grid
        for grid in _coarser(tokens.grid)
        if (1 < (n := math.prod(grid)) <= shape[0] <= 2 * n) or (n == 1 and shape[0] == 1 + tokens.prefix)
    ]
    for grid in sorted(fitting, key=lambda grid: (-math.prod(grid), -math.prod(grid[:-2])))[:_GRIDS]:
        yield _form("NLC", shape[1], grid, size)


def _coarser(grid: Grid) -> set[Grid]:
    """What merging patches may make of a grid; of the frames of a video, by another number or not at all."""
    *frames, rows, columns = grid
    ways = (operator.floordiv, lambda a, b: -(-a // b))
    sides = range(1, max(rows, columns) + 1)
    planes = {(divide(rows, n), divide(columns, n)) for n in sides for divide in ways}
    times = [{divide(count, n) for n in range(1, count + 1) for divide in ways} for count in frames]
    return {(*time, *plane) for time in itertools.product(*times) for plane in planes}


def _form(order: Literal["NLC", "NHWC", "NCHW"], channels: int, grid: Grid, size: Grid) -> Stream:
    stride = tuple(-(-pixels // places) for pixels, places in zip(size, grid))  # noqa: B905
    return Stream(order, 0, channels, grid, size, stride)


@dataclass(frozen=True)
class _Probe:
    """What trying a form of features takes: the stages, where the patches are, and which features are looked at."""

    run: Callable[[Callable[[Any], Any], int], list[Any]]
    layout: TokenLayout
    form: Stream
    leaf: int

    def features(self, patches: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """All features, (B, T, C), with patches redrawn, (B, N), of one image."""

        def change(embedding: Any) -> Any:
            redrawn = []
            for stream, x in zip(self.layout.streams, self.layout.tokens(embedding)):  # noqa: B905
                shape = (1, stream.count(x), stream.channels)
                noise = torch.randn(shape, generator=generator, device="cpu").to(x) * x.std()
                mask = self.layout.spread(patches, stream).to(x.device)
                redrawn.append(stream.replace(x, mask, noise.expand(len(x), -1, -1)))
            return self.layout.with_tokens(embedding, redrawn)

        x: torch.Tensor = self.run(change, len(patches))[self.leaf]
        return x if self.form.order == "NLC" else self.form.patches(x)


def _confirmed(probe: _Probe) -> list[int] | None:
    """Where the feature of each place is among all of a form, by row; ``None`` if trying does not show that."""
    depends: torch.Tensor | float = 0.0
    found = 0.0
    for seed in itertools.count():
        depends = depends + _dependence(probe, seed)
        index = _by_strength(depends) if probe.form.order == "NLC" else None
        index = index or _by_row(depends, probe.form)
        if index is not None:
            return index
        near = float((_away(depends, probe.form)[1] <= 1).float().mean())
        if seed + 1 >= _DRAWS and near < found + _RISES:
            break
        found = near
    return None


def _by_strength(depends: torch.Tensor) -> list[int] | None:
    """Where the feature of each place is, if each depends most on a place that is its own and no other feature's."""
    count = depends.shape[1]
    features = depends.amax(dim=1).topk(count).indices
    places = depends[features].argmax(dim=1)
    if len(places.unique()) < count or not _others_are_global(depends, features):
        return None
    return [int(n) for n in features[places.argsort()]]


def _by_row(depends: torch.Tensor, form: Stream) -> list[int] | None:
    """Where the feature of each place is, if they follow each other by row as far as stages that blur them show."""
    count = depends.shape[1]
    first, away = _away(depends, form)
    near, exact = (float((away <= limit).float().mean()) for limit in (1, 0))
    if form.order != "NLC":  # a map has an order: what is to be shown is that it is one of the image
        more = _OWN if count > 1 else _EXACT  # a single place has no other to differ from
        shown = near >= _NEAR and float(depends.diagonal().mean()) > more * float(depends.mean())
        return list(range(count)) if shown else None
    index = torch.arange(first, first + count, device=depends.device)
    if near < _NEAR or exact < _EXACT or not _others_are_global(depends, index):
        return None
    return index.tolist()


def _away(depends: torch.Tensor, form: Stream) -> tuple[int, torch.Tensor]:
    """Where features that follow each other by row begin, and how far from its place what each depends most on is."""
    count = depends.shape[1]
    first = max(range(len(depends) - count + 1), key=lambda n: float(depends[n : n + count].diagonal().sum()))
    own = torch.arange(count, device=depends.device)
    found = depends[first : first + count].argmax(dim=1)
    return first, sides_apart(found, own, form.grid).amax(dim=0)


def _others_are_global(depends: torch.Tensor, features: torch.Tensor) -> bool:
    """Whether no token but these features depends on one place as they do: else these are a part of them."""
    strongest = depends.amax(dim=1) - depends.mean(dim=1)
    others = torch.ones_like(strongest, dtype=torch.bool).scatter(0, features, False)
    return not bool((strongest[others] * 2 > strongest[features].median()).any())


def _dependence(probe: _Probe, seed: int) -> torch.Tensor:
    """How much each feature changes with the patches of each place, (T, L), of 1 in the mean over places."""
    form, tokens = probe.form, probe.layout.streams[0].grid
    count = math.prod(form.grid)
    generator = torch.Generator().manual_seed(seed)
    half = uniform((_HALVES, count), generator, None) < 0.5
    redrawn = torch.eye(count, dtype=torch.bool, device="cpu") if count <= _ONE_BY_ONE else torch.cat([half, ~half])
    redrawn = redrawn[:, place_of_each(tokens, form.grid, redrawn.device)]  # of patches

    def features(patches: torch.Tensor) -> torch.Tensor:
        return probe.features(patches, torch.Generator().manual_seed(seed))

    straight = features(torch.zeros_like(redrawn[:1]))
    changed = torch.cat([(features(some) - straight).float().square().sum(dim=2) for some in redrawn.split(_AT_ONCE)]).T
    if count > _ONE_BY_ONE:
        changed = ((changed[:, :_HALVES] - changed[:, _HALVES:]) @ (half.to(changed) * 2 - 1)).clamp(min=0)
    return changed / changed.mean(dim=1, keepdim=True).clamp(min=1e-12)
