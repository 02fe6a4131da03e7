"""What a masked model notices of its backbone at each call: that it is no longer what was looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from ._leaves import leaves_of

_WRAPPERS = {"_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"}  # that come and go in names
_SAID = ("kernel_size", "stride", "padding", "dilation", "patch_size")


def kernels_of_stem(model: nn.Module, embed: Callable[[], Any]) -> dict[str, str]:
    """The kernels and patch sizes of what runs in ``embed``, by name: where patches are depends on them."""
    ran: set[int] = set()
    hooks = [m.register_forward_hook(lambda m, *_: ran.add(id(m))) for m in model.modules()]
    try:
        embed()
    finally:
        for hook in hooks:
            hook.remove()
    return _kernels(model, lambda module: id(module) in ran)


def check_stem(model: nn.Module, found: Mapping[str, str]) -> None:
    """Raise where the kernels of a stem are others than they were; one that is wrapped is the same.

    Raises:
        ValueError: They are others, and which.
    """
    now = _kernels(model, lambda _: True)
    for name, kernel in found.items():
        here = [other for other_name, other in now.items() if f"{other_name}.".startswith(f"{name}.")]
        if here and kernel not in here:
            raise ValueError(
                f"the stem was changed after the layout was found: `{name}` had {kernel}, and has {here[0]}. "
                "Make a new MaskedImageModel of the backbone"
            )


def _kernels(model: nn.Module, is_meant: Callable[[nn.Module], bool]) -> dict[str, str]:
    found = {}
    for name, module in model.named_modules():
        said = [f"{what}={vars(module)[what]}" for what in _SAID if what in vars(module)]
        if said and is_meant(module):
            found[".".join(part for part in name.split(".") if part not in _WRAPPERS)] = " ".join(said)
    return found


def lengths(features: Any, patches: int) -> list[int | None]:
    """By how much each tensor in features is longer than there are patches; ``None`` for what is no sequence."""
    leaves = leaves_of(features)
    return [x.shape[1] - patches if isinstance(x, torch.Tensor) and x.ndim == 3 else None for x in leaves]


def check_lengths(model: nn.Module, features: Any, patches: int, more: list[int | None]) -> None:
    """Refuse features of more or fewer patches than there are, those of a model that drops some in training.

    Args:
        model: The model.
        features: What it gives of ``patches`` patches.
        patches: How many there are.
        more: What :func:`lengths` says of features in eval mode.

    Raises:
        ValueError: They are of others.
    """
    found = lengths(features, patches)
    if len(found) != len(more):  # it gives something else in training
        return
    for now, before in zip(found, more):  # noqa: B905 - as many
        if now is not None and before is not None and now != before:
            raise ValueError(
                f"{type(model).__name__} gives {patches + now} features of {patches} patches in training, and "
                f"{patches + before} in eval mode: it drops or adds patches itself, so that a mask would no longer be "
                "of the patches that are there. Turn that off"
            )
