"""Intermediate features under a mask, by ``forward_stages_intermediates`` of a split class."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn

from . import _manifest
from ._leaves import leaves_of

METHOD = "forward_stages_intermediates"
_OWNED = {
    "indices": "it is what `intermediates` says",
    "stop_early": "the features would be missing",
    "intermediates_only": "the features would be missing",
    "output_dict": "they come as a tuple",
}


_INSIDE_STEM = "before the embedding is complete"  # says the error for a feature that the stem makes on its way
_MOST = 100


def first_index(run: Callable[[int], Any]) -> int:
    """The first index for which a run does not say that this feature is made inside the stem; 0 if it says so of none.

    Other errors are not its concern.
    """
    for index in range(_MOST):
        try:
            run(index)
        except ValueError as error:
            if _INSIDE_STEM in str(error):
                continue
            if isinstance(error.__cause__, AssertionError):  # there is no such index
                return 0
        except Exception:  # an index that is out of range, or whatever else its own code raises
            return 0
        return index
    return 0


def count(run: Callable[[int], Any], first: int) -> int:
    """How many features there are: the index, from one that there is on, for which a run fails."""
    for index in range(first + 1, _MOST):
        try:
            run(index)
        except Exception:  # whatever its own code raises
            return index
    return _MOST


def check_indices(indices: object) -> None:
    """Raise where something is neither indices nor a number of them."""
    message = "it is a list of indices, such as [2, 5, 8], or how many of the last, 1 at least"
    if _is_index(indices):
        if indices < 1:  # type: ignore[operator]
            raise ValueError(f"intermediates is {indices}: {message}")
        return
    if isinstance(indices, str) or not isinstance(indices, Iterable) or not all(map(_is_index, indices)):
        raise TypeError(f"intermediates is {indices!r}: {message}")
    if not [*indices]:
        raise ValueError(f"intermediates is {indices!r}: {message}")


def _is_index(x: object) -> bool:
    return isinstance(x, numbers.Integral) and not isinstance(x, bool)


def why_no_intermediates(model: nn.Module) -> str:
    """Why a split model has no ``forward_stages_intermediates``; empty if it has it."""
    if callable(getattr(model, METHOD, None)):
        return ""
    entry = _manifest.entry_of(type(model)) or {}
    split = entry.get("split", {})
    reason = split.get("intermediates", {}).get("reason")
    if reason is None:
        return (
            "the class has its own forward_intermediates"
            if callable(getattr(model, "forward_intermediates", None))
            else "the class has no forward_intermediates"
        )
    line = f"{split['intermediates']['file']}:{split['intermediates']['line']}"
    return f"{reason} ({line}); without a mask, forward_intermediates(images) gives them"


def keywords_of(
    model: nn.Module,
    indices: int | Sequence[int],
    image_size: tuple[int, ...],
    given: Mapping[str, Any],
    *,
    dropped: bool,
) -> dict[str, Any]:
    """Keyword arguments of ``forward_stages_intermediates`` for images of some height and width.

    Raises:
        ValueError: One is given that cannot be: patches that were dropped leave no map.
    """
    for name, why in _OWNED.items():
        if name in given:
            raise ValueError(f"{name} is not taken with intermediates: {why}")
    keywords = {**given, "indices": indices if isinstance(indices, int) else list(indices)}
    taken = inspect.signature(getattr(model, METHOD)).parameters
    if "image_size" in taken:
        keywords["image_size"] = image_size
    if dropped:
        form: Literal["NLC"] | Any = given.get("output_fmt", "NLC")
        if form != "NLC":
            raise ValueError(
                f"output_fmt is {form!r}, and where patches were dropped those that are visible are no map: "
                "output_fmt='NLC' gives (B, n, C), which restore puts in the order of the grid"
            )
        keywords["output_fmt"] = form
    return keywords


def differ(plain: Any, other: Any) -> bool:
    """Whether features are others than those of the plain call, by more than rounding."""
    first, second = leaves_of(plain), leaves_of(other)
    if type(plain) is not type(other) or len(first) != len(second):
        return True
    return any(_is_other(a, b) for a, b in zip(first, second))  # noqa: B905 - as many


def _is_other(a: Any, b: Any) -> bool:
    if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor):
        return not isinstance(a, type(b))
    if a.shape != b.shape or a.dtype != b.dtype:
        return True
    if a.device.type == "meta" or not a.is_floating_point():
        return False
    limit = 1e-4 if a.dtype in (torch.float32, torch.float64) else 1e-1
    return not bool((a.float() - b.float()).abs().max() <= limit * a.float().std().clamp(min=1e-12))
