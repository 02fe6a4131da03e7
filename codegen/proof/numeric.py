"""Proof by numbers: a split class gives timm's outputs and gradients, bit for bit, from the same seed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten

from codegen.proof.models import BATCH, accepted, build, input_size
from codegen.proof.operations import Split, describe, rates, split_in_place
from codegen.proof.results import Check, NameResult

CHECKS = ("eval", "train", "checkpointing")
"""Names of the checks, in order."""

_SIDES = (64, 96, 112, 126, 128, 168, 192, 224)
"""Image sizes to try, in pixels, before the one that a model was made for: multiples of 14 and 16, and of windows."""
_LARGE = 100_000_000
"""Parameters from which a model is made shallow, where its constructor takes a depth."""
_SEED = 0


@dataclass(frozen=True)
class _Pass:
    """All that a forward and backward pass leaves behind, by name, and the structure of its output."""

    structure: str
    computed: Mapping[str, torch.Tensor | None]
    state: Mapping[str, torch.Tensor]


def check_numbers(name: str, model_class: str, split: Split) -> NameResult:
    """Compare timm's ``forward_features`` with ``embed`` and ``forward_stages`` on random weights on the CPU.

    Outputs, gradients of the images and of all parameters, buffers and the state of the random number generator must
    be equal bit for bit: in eval, in training with everything dropped that the constructor lets drop, and the same
    under gradient checkpointing where the class offers it. Images are as small as the model takes.

    Args:
        name: A registered name.
        model_class: Full name of its class.
        split: Makes a model a model of its split class.
    """
    try:
        options, size = _smallest(name)
        torch.manual_seed(_SEED)
        timm = build(name, "cpu", options)
        _disturb(timm)
        images = torch.randn((BATCH, *size))
    except Exception as error:
        return NameResult(name, model_class, tuple(Check(check, "not run", describe(error)) for check in CHECKS))
    parameters = sum(parameter.numel() for parameter in timm.parameters())
    try:
        ours = split_in_place(copy.deepcopy(timm), split)
    except Exception as error:
        return NameResult(name, model_class, (Check("eval", "fails", describe(error)),), parameters)
    checks = [
        _check("eval", timm.eval(), ours.eval(), images),
        _check("train", timm.train(), ours.train(), images),
    ]
    if _checkpoints(timm) and _checkpoints(ours):
        checks.append(_check("checkpointing", timm, ours, images))
    else:
        checks.append(Check("checkpointing", "not offered"))
    return NameResult(name, model_class, tuple(checks), parameters)


def _smallest(name: str) -> tuple[dict[str, Any], tuple[int, int, int]]:
    """Constructor options of a model that is quick to run, and the size (C, H, W) of the smallest images it takes.

    Raises:
        Exception: timm cannot build the model.
    """
    model = build(name, "meta")
    channels, *native = input_size(model)
    large = sum(parameter.numel() for parameter in model.parameters()) > _LARGE
    depths = [accepted(type(model), {"depth": 2}), {}] if large else [{}]
    for depth, side, dropped in product(depths, _SIDES, rates(type(model))):
        if side >= min(native):
            continue
        options = {**depth, **dropped, **accepted(type(model), {"img_size": (side, side)})}
        if _runs(name, options, size := (channels, side, side)):
            return options, size
    for options in rates(type(model)):
        if _runs(name, options, size := input_size(model)):
            return options, size
    return {}, input_size(model)


def _runs(name: str, options: Mapping[str, Any], size: tuple[int, int, int]) -> bool:
    try:
        model: Any = build(name, "meta", options).eval()
        with torch.no_grad(), torch.device("meta"):
            model.forward_features(torch.zeros((BATCH, *size)))
    except Exception:
        return False
    return True


def _disturb(model: nn.Module) -> None:
    """Move all parameters a little: those that are zero at first, such as positions, hide what is done with them."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.add_(torch.randn_like(parameter), alpha=0.02)


def _checkpoints(model: nn.Module) -> bool:
    """Turn gradient checkpointing on, and say whether the class offers it."""
    try:
        model.set_grad_checkpointing(True)  # type: ignore[operator]
    except (AssertionError, AttributeError, NotImplementedError):
        return False
    return True


def _check(name: str, timm: nn.Module, ours: nn.Module, images: torch.Tensor) -> Check:
    try:
        expected = _run(timm, lambda model, x: model.forward_features(x), images)
    except Exception as error:
        return Check(name, "not run", describe(error))
    if any(tensor is not None and not tensor.isfinite().all() for tensor in expected.computed.values()):
        return Check(name, "not run", "timm's own numbers are not finite")
    try:
        actual = _run(ours, lambda model, x: model.forward_stages(model.embed(x)), images)
    except Exception as error:
        return Check(name, "fails", describe(error))
    difference = next(_differences(expected, actual), "")
    return Check(name, "fails" if difference else "holds", difference)


def _run(model: nn.Module, forward: Callable[[Any, torch.Tensor], Any], images: torch.Tensor) -> _Pass:
    torch.manual_seed(_SEED)
    model.zero_grad(set_to_none=True)
    x = images.clone().requires_grad_()
    leaves, structure = tree_flatten(forward(model, x))
    outputs = {f"output {number}": leaf for number, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)}
    state = {"state of the random numbers": torch.get_rng_state()}
    # A weighted sum, for the sum of a normalized output is constant, and so has no gradient
    weights = torch.Generator().manual_seed(_SEED)
    loss = sum((out * torch.randn(out.shape, generator=weights)).sum() for out in outputs.values() if out.requires_grad)
    if isinstance(loss, torch.Tensor):
        loss.backward()  # type: ignore[no-untyped-call]
    computed: dict[str, torch.Tensor | None] = {name: out.detach() for name, out in outputs.items()}
    computed["gradient of the images"] = x.grad
    computed |= {f"gradient of {name}": parameter.grad for name, parameter in model.named_parameters()}
    state |= {name: buffer.clone() for name, buffer in model.named_buffers()}
    constants = [leaf for leaf in leaves if not isinstance(leaf, torch.Tensor)]
    return _Pass(f"{structure} {constants}", computed, state)


def _differences(expected: _Pass, actual: _Pass) -> Iterator[str]:
    if actual.structure != expected.structure:
        yield f"returns {actual.structure}; timm's returns {expected.structure}"
    for theirs, ours in ((expected.computed, actual.computed), (expected.state, actual.state)):
        yield from (f"{name} differs" for name in theirs if not _same(theirs[name], ours[name]))


def _same(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    # As bytes: equal numbers may still be different bits, as the two zeros are
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(_bytes(a), _bytes(b))


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)
