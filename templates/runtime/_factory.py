"""timm's model factory, for split models."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import timm
from torch import nn

from . import _manifest
from ._split import SplitModel, split

P = ParamSpec("P")
R = TypeVar("R")


def _with_parameters_of(function: Callable[P, object]) -> Callable[[Callable[..., R]], Callable[P, R]]:
    """Declare a function to take what ``function`` takes, to ``inspect``, ``help`` and type checkers."""

    def declare(wrapper: Callable[..., R]) -> Callable[P, R]:
        wrapper.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        return wrapper

    return declare


@_with_parameters_of(timm.create_model)
def create_model(model_name: str, *args: Any, **kwargs: Any) -> SplitModel:
    """Create a split model. Takes what ``timm.create_model`` takes.

    Args:
        model_name: Any name that ``timm.create_model`` knows, with its pretrained tag or ``hf-hub:`` prefix if any.
        *args: As ``timm.create_model`` has them.
        **kwargs: As ``timm.create_model`` has them, but for ``features_only``.

    Returns:
        The model of ``timm.create_model``, with ``embed(images, ...)`` and ``forward_stages(embedding, ...)``.

    Raises:
        TypeError: If the class of the model was not split, or if ``features_only`` was asked for.
    """
    if kwargs.get("features_only"):
        raise TypeError(
            "features_only=True wraps the model into a feature extractor, which has no embed() and forward_stages(). "
            "Create the model without it, and call its forward_intermediates() for intermediate features."
        )
    entry = _manifest.by_model().get(model_name.partition(".")[0])
    reason = _manifest.refusal(entry) if entry else None
    if reason:
        raise TypeError(f"{model_name}: {reason}")
    model: nn.Module = timm.create_model(model_name, *args, **kwargs)
    return split(model)


@_with_parameters_of(timm.list_models)
def list_models(*args: Any, **kwargs: Any) -> list[str]:
    """List the names that ``create_model`` takes, as ``timm.list_models`` lists all of timm's.

    Args:
        *args: As ``timm.list_models`` has them.
        **kwargs: As ``timm.list_models`` has them.

    Returns:
        Those of timm's names, tagged ones too where they were asked for, whose class is split; in timm's order.
    """
    entries = _manifest.by_model()
    return [name for name in timm.list_models(*args, **kwargs) if "split" in entries.get(name.partition(".")[0], {})]
