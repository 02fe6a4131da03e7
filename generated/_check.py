"""Proof on a model that a user has: :func:`check` holds its two halves against the class that was split."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from . import _manifest
from ._intermediates import first_index
from ._observe import Observation, differences, observe, preserved_randomness, seed

_SHOWN = 20
"""Differences that a message lists."""
_LOOSE = {torch.float16: 2e-2, torch.bfloat16: 5e-2}
"""Of a row's largest number, what batches of different sizes may make of it; 1e-3 for other types."""


class CheckError(AssertionError):
    """A model's ``embed`` and ``forward_stages`` do something else than the class that was split.

    The message names what differs and by how much, a line for each; :attr:`differences` has all of them.

    Attributes:
        differences: What differs: ``train: gradient of blocks.0.weight differs by up to 0.25``.
    """

    def __init__(self, model: nn.Module, differences: list[str]) -> None:
        self.differences = tuple(differences)
        shown = [f"\n  {line}" for line in differences[:_SHOWN]]
        more = f"\n  and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        super().__init__(f"{type(model).__name__} is split wrongly:{''.join(shown)}{more}")


def check(model: nn.Module, images: Any, **kwargs: Any) -> None:
    """Prove on a model that its two halves do what the class that was split does. Nothing of the model changes.

    All runs are those of copies, from the same seed. In eval and in train mode, ``forward_stages(embed(images))``,
    ``forward_features(images)`` and, where they exist, ``embed_patches`` and ``embed_positions`` are compared with
    ``forward_features`` of the class that was split, and ``forward_stages_intermediates`` with its
    ``forward_intermediates``, bit for bit: the features, the gradients of images and parameters,
    the state of the random number generators, and afterwards the mode and every attribute of every module.
    Where the package was generated with ``--method``, that method takes the place of ``forward_features``.
    Then, of the embedding:

    - Others made meanwhile, of other images, batch sizes and sizes of images, leave the features as they are.
    - In eval, ``forward_stages`` leaves it as it was, so that it can be used again.
    - In eval, and if the original treats the images of a batch independently, the tokens have a row for each of them,
      rows may be selected and repeated, and other tokens in a row change the features of that row alone.

    What the original does not repeat itself, from the same seed, is not compared.

    Args:
        model: A split model, on any device. It has to be one that :func:`copy.deepcopy` can copy.
        images: What its ``forward_features`` takes, (B, C, H, W); two images or more, of different content.
        **kwargs: Further arguments of its ``forward_features``.

    Raises:
        CheckError: Something differs.
        TypeError: The model is not split, or cannot be copied.
        ValueError: The original does not run on these images, or gives other features each time.
    """
    original = _original_class(type(model))
    if original is None:
        raise TypeError(f"a {type(model).__name__} is not split: give it to {__package__}.split() first")
    with preserved_randomness(model):
        found = list(_Bench(model, images, kwargs).differences())
    if found:
        raise CheckError(model, found)


def _original_class(cls: type) -> type | None:
    """The class that was split: the nearest one that has the method and not the halves."""
    if not all(callable(getattr(cls, name, None)) for name in ("embed", "forward_stages")):
        return None
    method = _manifest.method()
    return next((c for c in cls.__mro__ if hasattr(c, method) and not hasattr(c, "forward_stages")), None)


def _restore(model: nn.Module) -> nn.Module:
    """Give a model, and each split model inside it, back the method of the class that was split."""
    method = _manifest.method()
    for module in model.modules():
        original = _original_class(type(module))
        if original is not None:
            own = {method: vars(module).get(method, getattr(original, method))}
            module.__class__ = type(type(module).__name__, (type(module),), own)
    return model


Run = Callable[[Any, Any], Any]
"""A model and images to features."""


class _Bench:
    """What is checked, and how it is run.

    Args:
        model: The split model. Copies of it run.
        images: Images for it.
        keywords: Further arguments of its ``forward_features``.
    """

    def __init__(self, model: nn.Module, images: Any, keywords: Mapping[str, Any]) -> None:
        self._model = model
        self._images = tree_map(lambda leaf: leaf.detach() if isinstance(leaf, torch.Tensor) else leaf, images)
        self._keywords = dict(keywords)
        self._for_embed = self._accepted("embed")
        self._for_stages = self._accepted("forward_stages")
        self._batch = _batch_size(self._images)

    def _accepted(self, method: str) -> dict[str, Any]:
        parameters = inspect.signature(getattr(type(self._model), method)).parameters
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            return self._keywords
        return {name: value for name, value in self._keywords.items() if name in parameters}

    def differences(self) -> Iterator[str]:
        """All that differs, in words.

        Raises:
            TypeError: The model cannot be copied.
            ValueError: The original does not run, or gives other features each time.
        """
        for mode in ("eval", "train"):
            yield from (f"{mode}: {line}" for line in self._as_a_whole(mode == "train"))
            yield from (f"{mode}: {line}" for line in self._intermediates(mode == "train"))
            yield from (f"{mode}: {line}" for line in self._with_others_alive(mode == "train"))
        yield from (f"eval: {line}" for line in self._after_the_stages())
        if self._batch:
            yield from (f"eval: {line}" for line in self._by_rows(self._batch))

    def _copy(self, training: bool, *, original: bool = False) -> Any:
        try:
            copied = copy.deepcopy(self._model)
        except Exception as error:
            raise TypeError(
                f"check() runs copies of a model, and this {type(self._model).__name__} cannot be copied "
                f"({type(error).__name__}: {error}): check it before what cannot be copied is put on it, "
                "or build another one"
            ) from error
        model = _restore(copied) if original else copied
        model.train(training)  # that of some user models returns nothing
        return model

    # Ways to run

    def _features(self, model: Any, images: Any) -> Any:
        return getattr(model, _manifest.method())(images, **self._keywords)

    def _embed(self, model: Any, images: Any) -> Any:
        return model.embed(images, **self._for_embed)

    def _stages(self, model: Any, embedding: Any) -> Any:
        return model.forward_stages(embedding, **self._for_stages)

    def _halves(self, model: Any, images: Any) -> Any:
        return self._stages(model, self._embed(model, images))

    def _three(self, model: Any, images: Any) -> Any:
        patches = model.embed_patches(images, **self._accepted("embed_patches"))
        return self._stages(model, model.embed_positions(patches, **self._accepted("embed_positions")))

    # The pass as a whole

    def _as_a_whole(self, training: bool) -> Iterator[str]:
        expected, again = (self._observe(training, self._features, original=True) for _ in range(2))
        if expected.error and not training:
            raise ValueError(f"{_name_of_original(self._model)} does not run on these images: {expected.error}")
        unsteady = {name for name, _ in differences(expected, again)}
        if any(name.startswith("feature") for name in unsteady):
            raise ValueError(f"{_name_of_original(self._model)} gives other features each time, from the same seed")
        ways: dict[str, Run] = {"forward_stages(embed(...))": self._halves, _manifest.method(): self._features}
        if all(hasattr(type(self._model), name) for name in ("embed_patches", "embed_positions")):
            ways["embed_positions(embed_patches(...))"] = self._three
        for way, run in ways.items():
            actual = self._observe(training, run)
            yield from (f"{way}: {line}" for name, line in differences(expected, actual) if name not in unsteady)

    def _observe(self, training: bool, run: Run, *, original: bool = False) -> Observation:
        return observe(self._copy(training, original=original), self._images, run)

    # Intermediate features

    def _intermediates(self, training: bool) -> Iterator[str]:
        """How they differ where the class has them, with its defaults and with each flag that it takes."""
        if not hasattr(self._model, "forward_stages_intermediates"):
            return
        taken = inspect.signature(type(self._model).forward_intermediates).parameters  # type: ignore[attr-defined]
        flags = {p.name: not p.default for p in taken.values() if isinstance(p.default, bool)}
        given = {name: value for name, value in self._keywords.items() if name in taken}
        if "indices" in taken and "indices" not in given:
            first = first_index(lambda index: self._tap(training, {**given, "indices": [index]}))
            if first:  # by default it is asked for all
                given["indices"] = [first, -1]
        for flag in ({}, *({name: value} for name, value in flags.items() if name not in given)):
            whole, stages = self._tapped({**given, **flag})
            expected = self._observe(training, whole, original=True)
            unsteady = {name for name, _ in differences(expected, self._observe(training, whole, original=True))}
            said = {**{n: v for n, v in given.items() if n not in self._keywords}, **flag}
            call = f"forward_stages_intermediates({', '.join(['embed(...)', *(f'{n}={v}' for n, v in said.items())])})"
            for name, line in differences(expected, self._observe(training, stages)):
                if name not in unsteady:
                    yield f"{call}: {line}"

    def _tap(self, training: bool, keywords: Mapping[str, Any]) -> None:
        """Run the method on an embedding."""
        with torch.no_grad():
            self._tapped(keywords)[1](self._copy(training), self._images)

    def _tapped(self, keywords: Mapping[str, Any]) -> tuple[Run, Run]:
        """The passes that give intermediate features: from images, and from their embedding."""
        taken = inspect.signature(type(self._model).forward_stages_intermediates).parameters  # type: ignore[attr-defined]
        for_stages = {name: value for name, value in keywords.items() if name in taken}

        def stages(model: Any, images: Any) -> Any:
            size = (images.shape[-2:],) if "image_size" in taken else ()
            return model.forward_stages_intermediates(self._embed(model, images), *size, **for_stages)

        return lambda model, images: model.forward_intermediates(images, **keywords), stages

    # Two embeddings alive

    def _with_others_alive(self, training: bool) -> Iterator[str]:
        alone = self._features_beside(training, None)
        if alone is None:
            return  # it fails as a whole, which is said already
        for what, others in self._others():
            if self._runs(others, training):
                beside = self._features_beside(training, others)
                line = "it raises" if beside is None else _apart(alone, beside, 0.0)
                if line:
                    yield f"with another embedding alive ({what}): {line}"

    def _features_beside(self, training: bool, others: Any) -> Any:
        """The features of an embedding while there is one of other images; None if that raises."""
        model = self._copy(training)
        try:
            with torch.no_grad():
                seed()
                embedding = self._embed(model, self._images)
                if others is not None:
                    with preserved_randomness(model):
                        self._embed(model, others)
                return self._stages(model, embedding)
        except Exception:
            return None

    def _others(self) -> Iterator[tuple[str, Any]]:
        """Images of other content, and of other sizes."""
        yield "other images", _other(self._images)
        if self._batch and not self._keywords:
            more = _rows(_other(self._images), self._batch, [*range(self._batch), 0])
            yield "one image more", more
            if isinstance(more, torch.Tensor) and more.ndim == 4:
                height, width = more.shape[-2:]
                for sides in ((height // 2, width // 2), (height * 2, width * 2), (height, width * 2)):
                    yield f"images of {sides[0]} x {sides[1]}", _resized(more, *sides)

    def _runs(self, images: Any, training: bool) -> bool:
        try:
            with torch.no_grad():
                self._features(self._copy(training, original=True), images)
        except Exception:
            return False
        return True

    def _after_the_stages(self) -> Iterator[str]:
        """Whether the stages leave an embedding as it was: several masks, or heads, may be put on one."""
        model = self._copy(False)
        try:
            with torch.no_grad():
                seed()
                embedding = self._embed(model, self._images)
                before = tree_map(lambda leaf: leaf.clone() if isinstance(leaf, torch.Tensor) else leaf, embedding)
                self._stages(model, embedding)
        except Exception:
            return  # it fails as a whole, which is said already
        if line := _apart(before, embedding, 0.0):
            yield f"forward_stages changes the embedding in place: {line.replace('features differ', 'it differs')}"

    # Rows

    def _by_rows(self, batch: int) -> Iterator[str]:
        if self._keywords:
            return  # which of them belong to a row is not known
        chosen = [1, 0, *range(batch)] if batch > 1 else [0, 0]  # another number of rows, in another order
        try:
            features = self._eval(self._features, self._images)
            selected = self._eval(self._features, _rows(self._images, batch, chosen))
        except Exception:
            return  # the original does not take such a batch
        axes = _axes(features, batch, self._grown(self._features, batch))
        if axes is None or _apart(_at(features, axes, chosen), selected, self._loose(features)):
            return  # the original does not treat the images of a batch independently
        model = self._copy(False)
        try:
            with torch.no_grad():
                embedding = self._embed(model, self._images)
                larger = self._embed(model, _rows(self._images, batch, [*range(batch), 0]))
                fields = _axes(embedding, batch, larger)
                if fields is None:
                    yield f"embed: returns {_structure(larger)} for {batch + 1} images, {_structure(embedding)} else"
                    return
                if fields[0] not in (None, (0, 1)):
                    yield f"embed: returns {_structure(embedding)} for {batch} images: no row of the tokens is an image"
                    return
                embedding = self._embed(model, self._images)
                got = self._stages(model, _at(embedding, fields, chosen))
        except Exception as error:
            yield f"rows {chosen} of the embedding: {type(error).__name__}: {error}"
            return
        line = _apart(selected, got, self._loose(features))
        if line:
            yield f"rows {chosen} of the embedding: {line}"
        yield from self._with_other_tokens(axes, batch)

    def _with_other_tokens(self, axes: list[_Axis], batch: int) -> Iterator[str]:
        """Replace the tokens of the first row: its features change, and no others."""
        features = self._eval(self._features, self._images)
        replaced = _mixed(self._images, _other(self._images), [(0, 1)] * _leaves(self._images))
        try:
            if not _apart(_at(features, axes, [0]), _at(self._eval(self._features, replaced), axes, [0]), 0.0):
                return  # the original does not look at the images
        except Exception:
            return
        model = self._copy(False)
        try:
            with torch.no_grad():
                embedding = self._embed(model, self._images)
                larger = self._embed(model, _rows(self._images, batch, [*range(batch), 0]))
                tokens, grown = _tokens(embedding), _tokens(larger)
                where = _axes(tokens, batch, grown)
                if where is None:
                    return
                embedding = self._embed(model, self._images)
                masked = _mixed(_tokens(embedding), _other(_tokens(embedding)), where)
                got = self._stages(model, _with_tokens(embedding, masked))
        except Exception as error:
            yield f"other tokens in row 0: {type(error).__name__}: {error}"
            return
        if not _apart(_at(features, axes, [0]), _at(got, axes, [0]), 0.0):
            yield "other tokens in row 0: its features stay as they were"
        others = list(range(1, batch))
        line = others and _apart(_at(features, axes, others), _at(got, axes, others), self._loose(features))
        if line:
            yield f"other tokens in row 0: in other rows, {line}"

    def _eval(self, run: Run, images: Any) -> Any:
        """What the original gives in eval mode."""
        with torch.no_grad():
            return run(self._copy(False, original=True), images)

    def _grown(self, run: Run, batch: int) -> Any:
        return self._eval(run, _rows(self._images, batch, [*range(batch), 0]))

    def _loose(self, features: Any) -> float:
        kinds = [leaf.dtype for leaf in tree_flatten(features)[0] if isinstance(leaf, torch.Tensor)]
        return max((_LOOSE.get(kind, 1e-3) for kind in kinds), default=0.0)


def _name_of_original(model: nn.Module) -> str:
    original = _original_class(type(model))
    assert original is not None
    return original.__name__


# Batches: images, embeddings and features, which are tensors or hold tensors


def _batch_size(images: Any) -> int:
    """The first dimension that all tensors of a batch have; 0 if they have none in common."""
    sizes = {leaf.shape[0] if leaf.ndim else 0 for leaf in tree_flatten(images)[0] if isinstance(leaf, torch.Tensor)}
    return int(sizes.pop()) if len(sizes) == 1 else 0


def _leaves(batch: Any) -> int:
    return len(tree_flatten(batch)[0])


def _structure(batch: Any) -> str:
    leaves, _ = tree_flatten(batch)
    shown = [str(tuple(leaf.shape)) if isinstance(leaf, torch.Tensor) else repr(leaf) for leaf in leaves]
    return f"{type(batch).__name__} {', '.join(shown)}"


_Axis = tuple[int, int] | None
"""The axis of the batch, and how many of its elements belong to one image; None where there is none."""


def _axes(batch: Any, size: int, grown: Any) -> list[_Axis] | None:
    """For each leaf its axis of the batch: the one that grows with the batch.

    Returns:
        None where the structure itself is another one for a batch with one image more.
    """
    leaves, structure = tree_flatten(batch)
    others, other = tree_flatten(grown)
    if structure != other:
        return None
    axes: list[_Axis] = []
    for leaf, more in zip(leaves, others, strict=True):
        axis = None
        if isinstance(leaf, torch.Tensor):
            if not isinstance(more, torch.Tensor) or leaf.ndim != more.ndim:
                return None
            pairs = enumerate(zip(leaf.shape, more.shape, strict=True))
            axis = next(((n, a // size) for n, (a, b) in pairs if a != b and a * (size + 1) == b * size), None)
        axes.append(axis)
    return axes


def _at(batch: Any, axes: list[_Axis], rows: list[int]) -> Any:
    """Rows of a batch."""
    leaves, structure = tree_flatten(batch)
    chosen = []
    for leaf, found in zip(leaves, axes, strict=True):
        if found is not None:
            axis, each = found
            places = [row * each + number for row in rows for number in range(each)]
            leaf = leaf.index_select(axis, torch.tensor(places, device=leaf.device))
        chosen.append(leaf)
    return tree_unflatten(chosen, structure)


def _rows(images: Any, batch: int, rows: list[int]) -> Any:
    return _at(images, [(0, 1) if isinstance(leaf, torch.Tensor) else None for leaf in tree_flatten(images)[0]], rows)


def _other(batch: Any) -> Any:
    """The same in shape, with other content where that is numbers of a continuous kind."""

    def renewed(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or not (leaf.is_floating_point() or leaf.is_complex()):
            return leaf
        generator = torch.Generator().manual_seed(1)
        noise = torch.randn(leaf.shape, generator=generator).to(leaf)
        return noise * leaf.abs().amax().clamp(min=1) if leaf.numel() else noise

    return tree_map(renewed, batch)


def _mixed(batch: Any, other: Any, axes: list[_Axis]) -> Any:
    """A batch with the first row of another one."""
    leaves, structure = tree_flatten(batch)
    mixed = []
    for leaf, new, found in zip(leaves, tree_flatten(other)[0], axes, strict=True):
        if isinstance(leaf, torch.Tensor) and found is not None:
            leaf = leaf.clone()
            leaf.narrow(found[0], 0, found[1]).copy_(new.narrow(found[0], 0, found[1]))
        mixed.append(leaf)
    return tree_unflatten(mixed, structure)


def _resized(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    repeated = images.repeat(1, 1, -(-height // images.shape[-2]), -(-width // images.shape[-1]))
    return repeated[..., :height, :width].contiguous()


def _tokens(embedding: Any) -> Any:
    """What is masked: the embedding, or its first field."""
    return embedding[0] if hasattr(embedding, "_fields") else embedding


def _with_tokens(embedding: Any, tokens: Any) -> Any:
    return embedding._replace(**{embedding._fields[0]: tokens}) if hasattr(embedding, "_fields") else tokens


def _apart(expected: Any, actual: Any, loose: float) -> str:
    """How far features are apart: empty if they are as good as equal, or equal where nothing is allowed."""
    leaves, structure = tree_flatten(expected)
    others, other = tree_flatten(actual)
    if structure != other or len(leaves) != len(others):
        return f"returns {_structure(actual)} and not {_structure(expected)}"
    for leaf, its in zip(leaves, others, strict=True):
        if not isinstance(leaf, torch.Tensor) or not isinstance(its, torch.Tensor):
            if isinstance(leaf, torch.Tensor) or isinstance(its, torch.Tensor) or leaf != its:
                return f"returns {its!r} and not {leaf!r}"
        elif leaf.shape != its.shape:
            return f"returns {_structure(actual)} and not {_structure(expected)}"
        elif not torch.equal(leaf, its) and leaf.numel():
            a, b = (value.to(torch.float64, copy=True).nan_to_num() for value in (leaf, its))
            most = float((a - b).abs().max())
            if most > loose * max(float(a.abs().max()), 1e-6):
                return f"features differ by up to {most:.3g}"
    return ""
