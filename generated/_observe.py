"""All that can be seen of a model's pass, and how two passes differ: what :func:`check` compares."""

from __future__ import annotations

import random
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_map

_SEED = 0
_ATOMS = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)
_OPAQUE = (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType)
_KEPT = {"_parameters", "_buffers", "_modules"}
"""Where a module keeps what it shows as attributes."""


@dataclass(frozen=True)
class Observation:
    """All that a forward and backward pass leaves behind.

    Attributes:
        seen: Tensors, and other values as text, by name: features, gradients, random numbers, attributes.
        error: What was raised, if anything was; what would have followed is not seen then.
    """

    seen: Mapping[str, Any]
    error: str = ""


def seed() -> None:
    """Seed every generator of random numbers."""
    torch.manual_seed(_SEED)
    random.seed(_SEED)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(_SEED)


@contextmanager
def preserved_randomness(model: nn.Module) -> Iterator[None]:
    """Leave the state of every generator of random numbers as it was."""
    with torch.random.fork_rng(_cuda_devices(model)), other_randomness_preserved():
        yield


@contextmanager
def other_randomness_preserved() -> Iterator[None]:
    """Leave the state of the generators of Python and numpy as it was."""
    python, numpy = random.getstate(), sys.modules.get("numpy")
    state = numpy.random.get_state() if numpy else None
    try:
        yield
    finally:
        random.setstate(python)
        if numpy:
            numpy.random.set_state(state)


def observe(model: nn.Module, images: Any, run: Callable[[Any, Any], Any]) -> Observation:
    """Run a pass forward and backward, from a seed, and take note of what it leaves behind.

    Args:
        model: The model; it changes as the pass changes it.
        images: What ``run`` is given, as a copy whose gradient is noted.
        run: A model and images to features.
    """
    model.zero_grad(set_to_none=True)
    given = tree_map(_leaf, images)
    seed()
    try:
        leaves, structure = tree_flatten(run(model, given))
    except Exception as error:
        return Observation(dict(_attributes(model)), f"{type(error).__name__}: {error}")
    seen: dict[str, Any] = {"structure of the features": str(structure)}
    seen |= {f"feature {number}": _noted(leaf) for number, leaf in enumerate(leaves)}
    seen |= _randomness(model)
    # A weighted sum, for the sum of a normalized output is constant, and so has no gradient
    weights = torch.Generator().manual_seed(_SEED)
    loss: Any = 0
    for leaf in leaves:
        if isinstance(leaf, torch.Tensor) and leaf.requires_grad:
            loss = loss + (leaf * torch.randn(leaf.shape, generator=weights).to(leaf)).sum()
    try:
        if isinstance(loss, torch.Tensor):
            loss.backward()
    except Exception as error:
        return Observation({**seen, **dict(_attributes(model))}, f"backward: {type(error).__name__}: {error}")
    for number, image in enumerate(tree_flatten(given)[0]):
        if isinstance(image, torch.Tensor):
            seen[f"gradient of the images, {number}" if number else "gradient of the images"] = _noted(image.grad)
            seen[f"images, {number}" if number else "images"] = _noted(image)
    seen |= {f"gradient of {name}": _noted(parameter.grad) for name, parameter in model.named_parameters()}
    return Observation({**seen, **dict(_attributes(model))})


def differences(expected: Observation, actual: Observation) -> Iterator[tuple[str, str]]:
    """What differs between two passes: its name, and by how much, in words."""
    if expected.error != actual.error:
        wanted = f"the original raises {expected.error or 'nothing'}"
        yield "error", f"raises {actual.error or 'nothing'}; {wanted}"
        return
    for name in {**expected.seen, **actual.seen}:
        missing = [
            side for side, seen in (("the original", expected.seen), ("the split", actual.seen)) if name not in seen
        ]
        if missing:
            yield name, f"{name} is missing in {missing[0]}"
        elif not _same(expected.seen[name], actual.seen[name]):
            yield name, f"{name} {_distance(expected.seen[name], actual.seen[name])}"


def _leaf(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    copied = value.detach().clone()
    return copied.requires_grad_() if copied.is_floating_point() else copied


def _noted(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, torch.Tensor) else repr(value)


def _cuda_devices(model: nn.Module) -> list[int]:
    tensors = (*model.parameters(), *model.buffers())
    return sorted({tensor.device.index or 0 for tensor in tensors if tensor.is_cuda})


def _randomness(model: nn.Module) -> dict[str, Any]:
    states: dict[str, Any] = {"state of torch's random numbers": torch.get_rng_state()}
    for device in _cuda_devices(model):
        states[f"state of the random numbers of cuda:{device}"] = torch.cuda.get_rng_state(device)
    states["state of Python's random numbers"] = repr(random.getstate())
    if "numpy" in sys.modules:
        states["state of numpy's random numbers"] = repr(sys.modules["numpy"].random.get_state())
    return states


def _attributes(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Every attribute of every module by its qualified name, and what it holds as tensors and text."""
    names = {id(module): name for name, module in model.named_modules()}
    for name, module in model.named_modules():
        kept = {**module._parameters, **module._buffers, **module._modules}
        for attribute, value in {**vars(module), **kept}.items():
            if attribute not in _KEPT:
                yield from _flattened(f"{name}.{attribute}".lstrip("."), value, names, ())


def _flattened(path: str, value: Any, names: Mapping[int, str], above: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, torch.Tensor):
        yield path, value.detach().clone()
    elif id(value) in above:
        yield path, "what holds it"
    elif id(value) in names:
        yield path, f"the module {names[id(value)] or 'itself'}"
    elif isinstance(value, _ATOMS):
        yield path, repr(value)
    elif isinstance(value, Mapping):
        yield path, f"{type(value).__name__} of {len(value)}"
        for key, item in value.items():
            yield from _flattened(f"{path}[{key!r}]", item, names, (*above, id(value)))
    elif isinstance(value, (list, tuple)):
        yield path, f"{type(value).__name__} of {len(value)}"
        for number, item in enumerate(value):
            yield from _flattened(f"{path}[{number}]", item, names, (*above, id(value)))
    elif isinstance(value, (set, frozenset)):
        yield path, f"{type(value).__name__} {sorted(map(repr, value))}"
    elif isinstance(value, torch.Generator):
        yield path, value.get_state()
    else:
        yield path, type(value).__qualname__
        if not isinstance(value, _OPAQUE):
            for key, item in getattr(value, "__dict__", {}).items():
                yield from _flattened(f"{path}.{key}", item, names, (*above, id(value)))


def _same(a: Any, b: Any) -> bool:
    if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor):
        return type(a) is type(b) and bool(a == b)
    if a.dtype != b.dtype or a.shape != b.shape or a.device != b.device:
        return False
    # what is not a number is the same as itself here
    return torch.equal(a, b) or (torch.equal(a.nan_to_num(), b.nan_to_num()) and torch.equal(a.isnan(), b.isnan()))


def _distance(a: Any, b: Any) -> str:
    if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor):
        return f"is {_short(b)} and not {_short(a)}"
    if a.dtype != b.dtype or a.shape != b.shape or a.device != b.device:
        return f"is {_short(b)} and not {_short(a)}"
    if a.dtype == torch.uint8 or a.is_complex():
        return "differs"
    most = (a.to(torch.float64) - b.to(torch.float64)).nan_to_num(nan=float("inf")).abs().max()
    return f"differs by up to {float(most):.3g}"


def _short(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor {tuple(value.shape)} of {value.dtype} on {value.device}"
    return str(value) if len(str(value)) < 60 else f"{str(value)[:57]}..."
