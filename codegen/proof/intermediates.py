"""The keyword arguments with which ``forward_intermediates`` and its split are compared, and both ways to call them."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

Keywords = Mapping[str, Any]

_FORMATS = ("NCHW", "NLC", "NHWC")
_INDICES = (None, 1, [0, -1])
_MASK = "attn_mask"
_NONE = object()
_REFUSED = "before the embedding is complete"  # says the error for a feature that the stem makes on its way
_MOST = 100


@dataclass(frozen=True)
class Features:
    """Which intermediate features can be had from an embedding.

    Attributes:
        inside_stem: How many are made before the embedding is complete, the first ones.
        total: How many there are; 0 where all can be had, and nobody counted.
    """

    inside_stem: int = 0
    total: int = 0

    def refused(self, keywords: Keywords) -> bool:
        """Whether one of those is asked for that cannot be had."""
        indices = keywords.get("indices")
        if not self.inside_stem:
            return False
        if indices is None:
            return True
        if isinstance(indices, int):
            return indices > self.total - self.inside_stem
        return any(index % self.total < self.inside_stem for index in indices)


def count_features(whole: Callable[[Keywords], str], from_embedding: Callable[[Keywords], str]) -> Features:
    """Count the features that timm's method gives and its split refuses, one by one.

    Args:
        whole: Runs timm's method, and gives the error in one line if there is one.
        from_embedding: Runs the split.
    """
    if not is_refusal(from_embedding({})):
        return Features()
    total = next((n for n in range(_MOST) if whole({"indices": [n]})), _MOST)
    inside = [n for n in range(total) if is_refusal(from_embedding({"indices": [n]}))]
    first = len(inside) if inside == list(range(len(inside))) else total
    return Features(first, total)


def is_refusal(error: str) -> bool:
    """Whether an error says that a feature is not to be had from an embedding."""
    return error.startswith("ValueError: ") and _REFUSED in error


def difference_in_errors(features: Features, keywords: Keywords, expected: str, actual: str) -> str | None:
    """How the error of a split differs from what has to be; ``None`` where both run and are to be compared.

    Args:
        features: Which can be had.
        keywords: What both were called with.
        expected: The error of timm's method, empty if it runs.
        actual: That of its split.
    """
    if features.refused(keywords) and not (expected and actual == expected):
        return "" if is_refusal(actual) else f"{actual or 'it runs'}; a feature that is asked for is made in the stem"
    if expected or actual:
        return "" if expected == actual else f"{actual or 'it runs'}; timm: {expected or 'it runs'}"
    return None


def is_offered(model: nn.Module, timm_class: type) -> bool:
    """Whether a split model has ``forward_stages_intermediates`` from its split class."""
    name = "forward_stages_intermediates"
    return hasattr(model, name) and not hasattr(timm_class, name)


def takes_mask(model: nn.Module) -> bool:
    """Whether a model's ``forward_intermediates`` takes an attention mask."""
    return _MASK in inspect.signature(model.forward_intermediates).parameters  # type: ignore[arg-type]


def causal_mask(model: Any, images: torch.Tensor) -> torch.Tensor | None:
    """A mask by which each token of an embedding sees those up to itself; ``None`` where these stand in no row.

    Args:
        model: A split model.
        images: What it embeds.
    """
    tokens = pytree.tree_leaves(model.embed(images))[0]
    if tokens.ndim != 3:
        return None
    size = tokens.shape[1]
    return torch.full((size, size), float("-inf"), dtype=tokens.dtype, device=tokens.device).triu(1)


def combinations(
    model: nn.Module, features: Features = Features(), mask: torch.Tensor | None = None
) -> Iterator[Keywords]:
    """All combinations of keyword arguments that a model's ``forward_intermediates`` takes, the defaults first.

    Flags are set and not, ``indices`` are none, a number and a list, ``output_fmt`` is each of timm's formats,
    ``attn_mask`` is none and ``mask``. Other keyword arguments keep their defaults. Not all that is combined has to be
    accepted. Where the first features are made inside the stem, there are lists of indices with them and without.
    """
    choices = _choices(model, features, mask)
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


def _choices(model: nn.Module, features: Features, mask: torch.Tensor | None) -> dict[str, tuple[Any, ...]]:
    """The values of each keyword argument, its default first."""
    choices: dict[str, tuple[Any, ...]] = {}
    for parameter in inspect.signature(model.forward_intermediates).parameters.values():  # type: ignore[arg-type]
        if parameter.name == "indices":
            later = [list(range(features.inside_stem, features.total))] if features.inside_stem else []
            choices[parameter.name] = (*_INDICES, *later)
        elif parameter.name == "output_fmt":
            choices[parameter.name] = _FORMATS
        elif parameter.name == _MASK and mask is not None:
            choices[parameter.name] = (None, mask)
        elif isinstance(parameter.default, bool):
            choices[parameter.name] = (parameter.default, not parameter.default)
    return choices


def cover(
    run: Callable[[Keywords], bool],
    model: nn.Module,
    features: Features = Features(),
    mask: torch.Tensor | None = None,
) -> None:
    """Run a few of the combinations, so that each value of each keyword argument comes up where the model takes it.

    Several are changed at once. Where the model takes them not, half of them are, and so on: an error says nothing of
    what else was asked for.

    Args:
        run: Runs one, and says whether the model takes it.
        model: Whose method it is.
        features: Which can be had.
        mask: For ``attn_mask``.
    """
    choices = _choices(model, features, mask)
    base = {name: values[0] for name, values in choices.items()}
    if features.refused(base):
        base["indices"] = choices["indices"][-1]
    run(base)
    others = {
        name: [value for value in values if _in_words(value) != _in_words(base[name])]
        for name, values in choices.items()
    }
    alone = [("output_fmt", value) for value in others.pop("output_fmt", [])]
    alone += [("indices", value) for value in others.get("indices", []) if features.refused({"indices": value})]
    for name, value in alone:
        run({**base, name: value})
    if "indices" in others:
        others["indices"] = [value for value in others["indices"] if not features.refused({"indices": value})]
    for values in itertools.zip_longest(*others.values(), fillvalue=_NONE):
        _apart(run, base, {name: value for name, value in zip(others, values, strict=True) if value is not _NONE})


def _apart(run: Callable[[Keywords], bool], base: Keywords, changed: Keywords) -> None:
    """Run what is changed at once, or in halves where that is not taken."""
    if changed and not run({**base, **changed}) and len(changed) > 1:
        items = list(changed.items())
        for half in (items[: len(items) // 2], items[len(items) // 2 :]):
            _apart(run, base, dict(half))


def whole(model: Any, images: torch.Tensor, keywords: Keywords) -> Any:
    """What timm's method gives for images."""
    return model.forward_intermediates(images, **keywords)


def from_embedding(model: Any, images: torch.Tensor, keywords: Keywords) -> Any:
    """What the split gives for the embedding of images: each method is given the arguments that it takes."""
    taken = inspect.signature(model.forward_stages_intermediates).parameters
    embeds = inspect.signature(model.embed).parameters
    for_stages = {name: value for name, value in keywords.items() if name in taken or name not in embeds}
    embedding = model.embed(images, **{name: value for name, value in keywords.items() if name in embeds})
    size = (images.shape[-2:],) if "image_size" in taken else ()
    return model.forward_stages_intermediates(embedding, *size, **for_stages)


def in_call(keywords: Keywords) -> str:
    """Keyword arguments as they stand in a call."""
    return ", ".join(f"{name}={_in_words(value)}" for name, value in keywords.items())


def _in_words(value: object) -> str:
    return f"a mask of {tuple(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)
