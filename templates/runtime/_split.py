"""Turns models that exist already into split ones."""

from __future__ import annotations

import copyreg
import importlib
import operator
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeVar, overload

from torch import nn

from . import _manifest


class SplitModel(nn.Module):
    """A model with its forward pass in two methods: the base of every split class, which declares and does nothing.

    ``forward_stages(embed(images))`` gives what ``forward_features(images)`` gives. Where the patch embedding is a
    statement of its own, ``embed(images)`` is ``embed_positions(embed_patches(images))``; other classes lack these
    two, and the manifest says why. Each class has its own methods, parameters and types.
    """

    if TYPE_CHECKING:

        def embed(self, *args: Any, **kwargs: Any) -> Any:
            """Images, (B, C, H, W), to the embedding: the tokens, or a tuple of which they are the first field."""

        def forward_stages(self, *args: Any, **kwargs: Any) -> Any:
            """An embedding to what ``forward_features`` gives for its images."""

        def embed_patches(self, *args: Any, **kwargs: Any) -> Any:
            """Images to patches without position and prefix tokens."""

        def embed_positions(self, *args: Any, **kwargs: Any) -> Any:
            """Patches to the embedding: ``embed`` is this after ``embed_patches``."""


# Modules that stand around a model, or in its place. By name, as most of them are slow to import.
_COMPILED = "Split the model before torch.compile: torch.compile(split(model._orig_mod))."
_SCRIPTED = "Split the model before torch.jit.script or torch.jit.trace, which leave no methods to split."
_PARALLEL = "Call split(model.module) before wrapping it."
_SHARDED = "Split the model before fully_shard, which puts a class of its own over the model's."
_FEATURES = "Create the model without features_only, and call its forward_intermediates() for intermediate features."
_WRAPPERS = {
    "OptimizedModule": _COMPILED,
    "ScriptModule": _SCRIPTED,
    "DataParallel": _PARALLEL,
    "DistributedDataParallel": _PARALLEL,
    "FullyShardedDataParallel": _PARALLEL,
    "FSDP": _SHARDED,
    "FSDPModule": _SHARDED,
    "FeatureDictNet": _FEATURES,
    "FeatureListNet": _FEATURES,
    "FeatureHookNet": _FEATURES,
    "FeatureGraphNet": _FEATURES,
    "FeatureGetterNet": _FEATURES,
}


AlreadySplit = TypeVar("AlreadySplit", bound=SplitModel)


@overload
def split(model: AlreadySplit) -> AlreadySplit: ...


@overload
def split(model: nn.Module) -> SplitModel: ...


def split(model: nn.Module) -> nn.Module:
    """Give a model that exists already the methods ``embed`` and ``forward_stages``, in place.

    The model changes its class to the split class, which only adds methods: it remains the same object, with the
    same weights, hooks, training mode and optimizers.

    Args:
        model: A model of a class in the manifest, or of your own subclass that inherits ``forward_features``.

    Returns:
        The model itself. One that is split already is returned as it is.

    Raises:
        TypeError: If the model's class was not split, overrides ``forward_features``, or has an attribute of its own
            that is named as one of the new methods; if the model is inside a wrapper (``features_only``,
            ``torch.compile``, ``torch.jit``, data parallel). The model is unchanged then.
    """
    for module, split_class in _plan(model, "the model"):
        module.__class__ = split_class
    return model


def _plan(model: nn.Module, where: str) -> list[tuple[nn.Module, type[nn.Module]]]:
    """Find the split class of a model, and of the model inside it that it delegates to, if any.

    Args:
        model: The model to split.
        where: What to call it in messages.

    Returns:
        Modules that are to change their class, with their new class.

    Raises:
        TypeError: As ``split`` says.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"split() takes a {_manifest.kind()}, and {where} is of type {type(model).__name__}.")
    cls = type(model)
    timm_class = _timm_class(cls)
    entry = _manifest.by_class()[_full_name(timm_class)] if timm_class else {}
    split_class = _load(_full_name(timm_class)) if timm_class and "split" in entry else None
    if split_class and isinstance(model, split_class):
        return _plan_delegate(model, entry)

    for base in cls.__mro__:
        if base.__name__ in _WRAPPERS and base.__module__.partition(".")[0] in ("torch", "timm"):
            raise TypeError(
                f"split() takes a {_manifest.kind()}, and {where} is of type {base.__name__}. "
                f"{_WRAPPERS[base.__name__]}"
            )
    if timm_class is None:
        raise TypeError(
            f"split() takes a {_manifest.kind()}, and {where} is of type {_full_name(cls)}. "
            f"If it holds a {_manifest.kind()}, split that one."
        )
    if split_class is None:
        raise TypeError(f"split() cannot split {where}: {_manifest.refusal(entry)}")
    if _overrides(model, _manifest.method(), timm_class):
        raise TypeError(
            f"split() cannot split {where}: {cls.__name__} has its own {_manifest.method()} in place of "
            f"{timm_class.__name__}'s. Generate a split of your class: timm-split generate --source FILE."
        )
    if entry["split"].get("parents") and _providers(cls) != _providers(timm_class):
        raise TypeError(
            f"split() cannot split {where}: super().{_manifest.method()} of {timm_class.__name__} is another method in "
            f"{cls.__name__}. Generate a split of your class: timm-split generate --source FILE."
        )
    for name in _new_methods(entry):
        if hasattr(model, name):
            raise TypeError(f"split() cannot split {where}: {cls.__name__} has its own {name}. Rename that.")
    new_class = split_class if cls is timm_class else _derive(split_class, cls)
    return [(model, new_class), *_plan_delegate(model, entry)]


def _plan_delegate(model: nn.Module, entry: _manifest.Entry) -> list[tuple[nn.Module, type[nn.Module]]]:
    """Plan for the inner model, where a class delegates its forward pass to one.

    The halves of the split class have the statements of the inner model's ``forward``, so the inner model has to be of
    the class that they were read from. Its hooks run where the model's own ``forward_features`` calls it.
    """
    delegate = entry["split"]["delegate"]
    if delegate is None:
        return []
    inner, where = getattr(model, delegate["attribute"]), f"model.{delegate['attribute']}"
    plan = _plan(inner, where)
    inner_class = _timm_class(type(inner))
    if inner_class is None or _full_name(inner_class) != delegate["path"]:
        raise TypeError(
            f"split() cannot split the model: {where} is of type {_full_name(type(inner))}, and "
            f"{entry['class']} was split for a {delegate['path']}. Split {where} alone."
        )
    expected = {"forward": inner_class}
    if not plan:
        new_methods = _new_methods(_manifest.by_class()[delegate["path"]])
        expected |= dict.fromkeys(("forward_features", *new_methods), _load(delegate["path"]))
    for method, owner in expected.items():
        if _overrides(inner, method, owner):
            raise TypeError(
                f"split() cannot split the model: {where} has its own {method} in place of {owner.__name__}'s. "
                f"Split {where} alone."
            )
    return plan


def _new_methods(entry: _manifest.Entry) -> tuple[str, ...]:
    """The methods that the split class of an entry adds to its model's."""
    in_two = "absent" not in entry["split"]["patches"]
    intermediates = "fields" in entry["split"].get("intermediates", ())
    return (
        "embed",
        "forward_stages",
        *(["embed_patches", "embed_positions"] if in_two else []),
        *([_INTERMEDIATES] if intermediates else []),
    )


def _overrides(model: nn.Module, method: str, timm_class: type[nn.Module]) -> bool:
    """Whether a model has its own version of a method of timm's, on its class or on itself."""
    return method in vars(model) or getattr(type(model), method) is not getattr(timm_class, method)


def _providers(cls: type[nn.Module]) -> list[type]:
    """The classes from which a model gets the method that is split, by ``super()`` one after the other."""
    return [base for base in cls.__mro__ if _manifest.method() in vars(base)]


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _timm_class(cls: type[nn.Module]) -> type[nn.Module] | None:
    """The class of timm's that a class is or derives from."""
    return next((base for base in cls.__mro__ if _full_name(base) in _manifest.by_class()), None)


def _load(path: str) -> type[nn.Module]:
    """Import the split class of timm's class with this full name."""
    split = _manifest.by_class()[path]["split"]
    split_class: type[nn.Module] = getattr(importlib.import_module(f".{split['module']}", __package__), split["class"])
    return split_class


_INTERMEDIATES = "forward_stages_intermediates"


class _NoIntermediates:
    """In the split class of a user's class that has a ``forward_intermediates`` of its own: no such attribute."""

    def __get__(self, model: object, owner: type | None = None) -> Any:
        raise AttributeError(
            f"{_INTERMEDIATES}: the class has its own forward_intermediates. Generate a split of it: "
            "timm-split generate --source FILE."
        )


# The split class of each user's class, one for all of its models.
_user_splits: dict[type[nn.Module], type[nn.Module]] = {}


def _derive(split_class: type[nn.Module], user_class: type[nn.Module]) -> type[nn.Module]:
    """Make the split class of a user's own subclass of a timm class."""
    if user_class in _user_splits:
        return _user_splits[user_class]

    class UserSplit(split_class, user_class):  # type: ignore[misc, valid-type]
        __doc__ = user_class.__doc__

        def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
            # Pickle finds classes by name, and nothing holds this one by its name: name the user's, derive again.
            reduced = super().__reduce_ex__(max(operator.index(protocol), 2))
            if reduced[:2] == (copyreg.__newobj__, (UserSplit,)):  # type: ignore[attr-defined]
                return (_new, (user_class,), *reduced[2:])
            return reduced

    if getattr(user_class, "forward_intermediates", None) is not getattr(split_class, "forward_intermediates", None):
        UserSplit.forward_stages_intermediates = _NoIntermediates()
    UserSplit.__name__ = f"{user_class.__name__}Split"
    UserSplit.__qualname__ = f"{user_class.__qualname__}Split"
    UserSplit.__module__ = user_class.__module__
    return _user_splits.setdefault(user_class, UserSplit)


def _new(user_class: type[nn.Module]) -> nn.Module:
    """Begin to unpickle a split model of a user's own class."""
    timm_class = _timm_class(user_class)
    if timm_class is None:
        raise TypeError(f"{_full_name(user_class)} no longer derives from a class that was split.")
    split_class = _derive(_load(_full_name(timm_class)), user_class)
    return split_class.__new__(split_class)
