"""Proof by numbers: a split class gives timm's outputs and gradients, bit for bit, from the same seed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten

from codegen.proof.intermediates import (
    Features,
    Keywords,
    causal_mask,
    combinations,
    count_features,
    cover,
    difference_in_errors,
    from_embedding,
    in_call,
    is_offered,
    takes_mask,
    whole,
)
from codegen.proof.models import BATCH, Size, build, build_anywhere, configurations_by_cost, in_words, input_size, runs
from codegen.proof.operations import Splitter, describe, rates, split_in_place
from codegen.proof.results import Check, NameResult
from codegen.proof.weights import disturb

CHECKS = ("eval", "train", "checkpointing", "intermediates")
"""Names of the checks, in order."""

_TRIES = 4
"""Choices of options to try for one that timm can train."""
_SEED = 0


@dataclass(frozen=True)
class _Pass:
    """All that a forward and backward pass leaves behind, by name, and the structure of its output."""

    structure: str
    computed: Mapping[str, torch.Tensor | None]
    state: Mapping[str, torch.Tensor]


def check_numbers(name: str, model_class: str, split: Splitter) -> NameResult:
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
        timm, images, how = _model(name)
    except Exception as error:
        return NameResult(name, model_class, tuple(Check(check, "not run", describe(error)) for check in CHECKS))
    parameters = sum(parameter.numel() for parameter in timm.parameters())
    try:
        ours = split_in_place(copy.deepcopy(timm), split)
    except Exception as error:
        return NameResult(name, model_class, (Check("eval", "fails", describe(error)),), parameters)
    checks = [
        _check("eval", timm.eval(), ours.eval(), images, how),
        _check("train", timm.train(), ours.train(), images, how),
    ]
    if _checkpoints(timm) and _checkpoints(ours):
        checks.append(_check("checkpointing", timm, ours, images, how))
    else:
        checks.append(Check("checkpointing", "not offered"))
    checks.append(_check_intermediates(timm, ours, images, how))
    return NameResult(name, model_class, tuple(checks), parameters)


def _model(name: str) -> tuple[nn.Module, torch.Tensor, str]:
    """A model that is quick to run, with images for it, and in words how it was made.

    It is the first choice that timm can train. If that is none it is the first, for what it does in eval.

    Raises:
        Exception: timm cannot build or run it at all.
    """
    first = None
    for options, size in islice(_choices(name), _TRIES):
        torch.manual_seed(_SEED)
        model = build(name, "cpu", options)
        disturb(model)
        images = torch.randn((BATCH, *size))
        how = in_words(options, size)
        first = first or (model, images, how)
        try:
            _run(model.train(), _features, images)
        except Exception:
            continue
        return model, images, how
    assert first is not None  # there is always a choice
    return first


def _choices(name: str) -> Iterator[tuple[dict[str, Any], Size]]:
    """Constructor options and sizes of images with which timm's class runs, the cheapest first.

    The last are what the model was made for, whether it runs with them or not.
    """
    model = build_anywhere(name)
    native = input_size(model)
    device = "meta" if runs(name, "meta", {}, native) else "cpu"  # where it asks for values
    for (options, size), dropped in product(configurations_by_cost(model), rates(type(model))):
        if runs(name, device, chosen := {**options, **dropped}, size):
            yield chosen, size
    yield {}, native


def _checkpoints(model: nn.Module) -> bool:
    """Turn gradient checkpointing on, and say whether the class offers it."""
    try:
        model.set_grad_checkpointing(True)  # type: ignore[operator]
    except (AssertionError, AttributeError, NotImplementedError):
        return False
    return True


def _check(name: str, timm: nn.Module, ours: nn.Module, images: torch.Tensor, how: str) -> Check:
    try:
        expected = _run(timm, _features, images)
    except Exception as error:
        return Check(name, "not run", describe(error))
    if any(tensor is not None and not tensor.isfinite().all() for tensor in expected.computed.values()):
        return Check(name, "not run", "timm's own numbers are not finite")
    try:
        actual = _run(ours, _cut, images)
    except Exception as error:
        return Check(name, "fails", describe(error))
    difference = next(_differences(expected, actual), "")
    return Check(name, "fails" if difference else "holds", difference or how)


def _check_intermediates(timm: nn.Module, ours: nn.Module, images: torch.Tensor, how: str) -> Check:
    """Compare intermediate features: with all keyword arguments in eval, with each of them in training."""
    if not is_offered(ours, type(timm)):
        return Check("intermediates", "not offered")
    timm.eval()
    ours.eval()
    features = count_features(
        lambda keywords: _said(_outcome(timm, whole, images, keywords)),
        lambda keywords: _said(_outcome(ours, from_embedding, images, keywords)),
    )
    for index in range(features.inside_stem):
        if _is_embedding(timm, ours, images, index):
            return Check("intermediates", "fails", f"feature {index} is what embed() returns, and is refused")
    with torch.no_grad():
        mask = causal_mask(ours, images) if takes_mask(timm) else None
    ran = 0
    for keywords in combinations(timm, features, mask):
        expected, actual = _outcome(timm, whole, images, keywords), _outcome(ours, from_embedding, images, keywords)
        difference = difference_in_errors(features, keywords, _said(expected), _said(actual))
        if difference is None:
            ran += 1
            difference = "" if _alike(expected, actual) else "another outcome than timm's"
        if difference:
            return Check("intermediates", "fails", f"{in_call(keywords)}: {difference}")
    training = _Training(timm.train(), ours.train(), images, features)
    cover(training.run, timm, features, mask)
    if training.difference:
        return Check("intermediates", "fails", f"in training, {training.difference}")
    return Check("intermediates", "holds", how) if ran else Check("intermediates", "not run", "timm takes none of them")


@dataclass
class _Training:
    """Two models in training mode that give intermediate features from the same seed, until they differ.

    Attributes:
        timm: timm's.
        ours: The split one.
        images: What they are given.
        features: Which can be had.
        difference: How they differ; empty as long as they do not.
        state: Weights and running statistics of both before each pass: one of them may raise an error after its stem.
    """

    timm: nn.Module
    ours: nn.Module
    images: torch.Tensor
    features: Features
    difference: str = ""
    state: Mapping[str, torch.Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.state = copy.deepcopy(self.timm.state_dict())

    def run(self, keywords: Keywords) -> bool:
        """Compare outputs, gradients and random numbers, and say whether timm's takes these keyword arguments."""
        if self.difference:
            return True
        expected, actual = self._pass(self.timm, whole, keywords), self._pass(self.ours, from_embedding, keywords)
        said = [found if isinstance(found, str) else "" for found in (expected, actual)]
        difference = difference_in_errors(self.features, keywords, *said)
        if isinstance(expected, _Pass) and isinstance(actual, _Pass) and difference is None:
            difference = next(_differences(expected, actual), "")
        if difference:
            self.difference = f"{in_call(keywords)}: {difference}"
        return isinstance(expected, _Pass)

    def _pass(
        self, model: nn.Module, run: Callable[[Any, torch.Tensor, Keywords], Any], keywords: Keywords
    ) -> _Pass | str:
        model.load_state_dict(self.state)
        try:
            return _run(model, lambda model, images: run(model, images, keywords), self.images)
        except Exception as error:
            return describe(error)


def _is_embedding(timm: Any, ours: Any, images: torch.Tensor, index: int) -> bool:
    """Whether an intermediate feature is what ``embed`` returns."""
    with torch.no_grad():
        (feature,) = timm.forward_intermediates(images, indices=[index], intermediates_only=True)
        embedding = ours.embed(images)
    return isinstance(embedding, torch.Tensor) and _same(feature, embedding)


def _said(outcome: tuple[Any, ...] | str) -> str:
    return outcome if isinstance(outcome, str) else ""


def _outcome(
    model: nn.Module, run: Callable[[Any, torch.Tensor, Keywords], Any], images: torch.Tensor, keywords: Keywords
) -> tuple[Any, ...] | str:
    """The leaves and the structure of what a pass gives, or the error that it ends with."""
    try:
        with torch.no_grad():
            leaves, structure = tree_flatten(run(model, images, keywords))
    except Exception as error:
        return describe(error)
    return (str(structure), *leaves)


def _alike(expected: tuple[Any, ...] | str, actual: tuple[Any, ...] | str) -> bool:
    if isinstance(expected, str) or isinstance(actual, str) or len(expected) != len(actual):
        return False
    return all(
        _same(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a is b or a == b
        for a, b in zip(expected, actual, strict=True)
    )


def _features(model: Any, images: torch.Tensor) -> Any:
    return model.forward_features(images)


def _cut(model: Any, images: torch.Tensor) -> Any:
    return model.forward_stages(model.embed(images))


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
        loss.backward()
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
