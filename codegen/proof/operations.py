"""Proof by ops: a split class runs timm's ops on timm's tensors, in timm's order, and is cut at the right place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from codegen.proof.intermediates import (
    Features,
    Keywords,
    causal_mask,
    count_features,
    cover,
    difference_in_errors,
    from_embedding,
    in_call,
    is_offered,
    is_refusal,
    takes_mask,
    whole,
)
from codegen.proof.models import (
    BATCH,
    RATES,
    Size,
    accepted,
    build,
    build_anywhere,
    configurations_by_cost,
    in_words,
    input_size,
    runs,
)
from codegen.proof.patch_halves import judge_patches
from codegen.proof.placement import Parts, Unjudged, judge, until_entry
from codegen.proof.results import Check, NameResult
from codegen.proof.trace import Look, Recorder, Trace, nowhere, record

Splitter = Callable[[nn.Module], nn.Module]
"""``generated.split``."""

CHECKS = ("ops", "boundary", "patches", "training", "intermediates")
"""Names of the checks, in order."""


@dataclass(frozen=True)
class _Bench:
    """How a model is built and run.

    Attributes:
        name: Its registered name.
        device: Where.
        options: Keyword arguments of its constructor.
        size: Of the images; None for those that it was made for.
        how: All of that in words, where it is not as it was made.
    """

    name: str
    device: str
    options: Mapping[str, Any] = field(default_factory=dict)
    size: Size | None = None
    how: str = ""

    def build(self, dropped: Mapping[str, Any] | None = None) -> nn.Module:
        """A new model, in eval mode. ``dropped`` are further options."""
        return build(self.name, self.device, {**self.options, **(dropped or {})}).eval()

    def trace(self, model: nn.Module, run: Callable[[Any, torch.Tensor, Recorder], Any], look: Look = nowhere) -> Trace:
        """Record what a model does with images."""
        images = torch.zeros((BATCH, *(self.size or input_size(model))), device=self.device)
        with torch.device(self.device):
            return record(model, lambda recorder: run(model, images, recorder), [images], look)

    def check(self, name: str, difference: str, remark: str = "") -> Check:
        """What a difference makes of a check."""
        how = "; ".join(filter(None, [self.how, remark]))
        return Check(name, "fails", difference) if difference else Check(name, "holds", how)


def check_ops(name: str, model_class: str, split: Splitter, device: str = "meta") -> NameResult:
    """Compare timm's ``forward_features`` with the split class's ``embed`` and ``forward_stages``, op for op.

    Args:
        name: A registered name.
        model_class: The class that the manifest says it is.
        split: Makes a model a model of its split class.
        device: Where to build and run: ``meta`` has no values and needs neither time nor memory for them. Models that
            it refuses are taken to ``cpu``, smaller ones of their kind, and the checks then say so.

    Returns:
        The checks ``ops``, ``boundary``, ``patches``, ``training`` and ``intermediates``. One that timm itself cannot
        run is ``not run``; ``patches`` is ``not offered`` by a class whose embedding is in one piece, ``intermediates``
        by one without ``forward_stages_intermediates``.
    """
    try:
        native = build(name, "meta").eval() if device == "meta" else build_anywhere(name).eval()
        bench = _Bench(name, device) if device == "meta" else _on_cpu(name, native)
        model = native if device == "meta" else bench.build()
        # another model runs for that: one that keeps something from its first run would do otherwise in its second
        parts = Parts(model, lambda: bench.trace(bench.build(), _features).events)
        timm = bench.trace(model, _features, until_entry(parts))
    except Exception as error:
        if device == "meta":  # what needs values while it is built or run, as in timm's earlier releases
            return check_ops(name, model_class, split, "cpu")
        checks = tuple(Check(check, "not run", describe(error)) for check in CHECKS)
        return NameResult(name, model_class, checks, unbuilt=_why_unbuilt(name))
    parameters = sum(parameter.numel() for parameter in native.parameters())
    timm_class = type(model)
    kind = f"{timm_class.__module__}.{timm_class.__qualname__}"
    if kind != model_class:
        detail = f"timm builds a {kind}; the manifest says {model_class}"
        return NameResult(name, model_class, (Check("ops", "fails", detail),), parameters)

    try:
        model = split_in_place(bench.build(), split)
        halved = _is_halved(model, timm_class)
        cut = bench.trace(model, _cut_twice if halved else _cut)
        difference = timm.difference(cut) or _features_differ(bench, timm, model, split)
        difference = difference or _unsplit_inside_differs(bench, timm, model, _cut_twice if halved else _cut)
    except Exception as error:
        return NameResult(name, model_class, (Check("ops", "fails", describe(error)),), parameters)
    checks = (
        bench.check("ops", difference),
        _check_boundary(bench, timm, cut, parts),
        bench.check("patches", judge_patches(cut, parts)) if halved else Check("patches", "not offered"),
        _check_training(bench, timm_class, split),
        _check_intermediates(bench, timm_class, split),
    )
    return NameResult(name, model_class, checks, parameters)


def _why_unbuilt(name: str) -> str:
    """The mistake in timm's code for which nobody can build a model; empty if there is none, or memory is short."""
    try:
        build_anywhere(name)
    except (TypeError, AttributeError, NameError) as error:
        return describe(error)
    except Exception:  # not of its code
        pass
    return ""


def _on_cpu(name: str, model: nn.Module) -> _Bench:
    """How to run on the CPU what is like ``model``: every tensor of a pass is kept, which at full size is too much."""
    choices = (choice for choice in configurations_by_cost(model) if runs(name, "cpu", *choice))
    options, size = next(choices, ({}, input_size(model)))
    return _Bench(name, "cpu", options, size, f"on the CPU, {in_words(options, size)}")


def split_in_place(model: nn.Module, split: Splitter) -> nn.Module:
    """Split a model and hold :func:`split` to its word.

    Raises:
        TypeError: What it gives is not that model, or no longer of its class.
        Exception: Whatever :func:`split` raises.
    """
    before = type(model)
    after = split(model)
    if after is not model or not isinstance(after, before) or type(after) is before:
        raise TypeError(f"split() gives a {type(after).__qualname__}, not the same model in a subclass of its class")
    return after


def rates(model_class: type) -> list[dict[str, Any]]:
    """What to tell a constructor to drop in training: all that it takes, and less for where that does not run."""
    choices = [accepted(model_class, RATES)]
    for fewer in ("patch_drop_rate", "attn_drop_rate"):  # what timm's classes take and cannot always run
        choices.append({name: rate for name, rate in choices[-1].items() if name != fewer})
    choices.append({})
    return [choice for number, choice in enumerate(choices) if choice not in choices[:number]]


def describe(error: BaseException) -> str:
    """An exception as one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _check_boundary(bench: _Bench, timm: Trace, cut: Trace, parts: Parts) -> Check:
    try:
        return bench.check("boundary", judge(timm, cut, parts))
    except Unjudged as error:
        return Check("boundary", "not run", str(error))


def _features_differ(bench: _Bench, timm: Trace, model: nn.Module, split: Splitter) -> str:
    """How ``forward_features`` of the split class differs."""
    if not timm.difference(bench.trace(model, _features)):
        return ""
    # The model has run once already. One that keeps something from its first run may do otherwise in its second.
    fresh = split_in_place(bench.build(), split)
    difference = timm.difference(bench.trace(fresh, _features))
    return difference and f"forward_features: {difference}"


def _unsplit_inside_differs(
    bench: _Bench, timm: Trace, model: nn.Module, run: Callable[[Any, torch.Tensor, Recorder], Any]
) -> str:
    """How the two halves differ where the constructor of the split class has built the model.

    A class that delegates to an inner model has then an inner model of timm's own class, whose statements it runs. In
    all other classes nothing but the model itself is of another class, and nothing is to be compared again.
    """
    built = bench.build()
    built.__class__ = type(model)
    if [type(module) for module in built.modules()] == [type(module) for module in model.modules()]:
        return ""
    difference = timm.difference(bench.trace(built, run))
    return difference and f"with an inner model of timm's own class: {difference}"


def _check_training(bench: _Bench, timm_class: type, split: Splitter) -> Check:
    """Compare in training mode, with everything dropped that the constructor lets drop.

    Less is dropped where timm's own class cannot run so, and the check then says so.
    """
    refusal = ""
    for dropped in rates(timm_class):
        try:
            model = bench.build(dropped).train()
            timm = bench.trace(model, _features)
        except Exception as error:
            refusal = refusal or describe(error)
            continue
        try:
            model = split_in_place(model, split)
            run = _cut_twice if _is_halved(model, timm_class) else _cut
            difference = timm.difference(bench.trace(model, run))
            if difference:  # again with a model that has not run yet, as above
                fresh = split_in_place(bench.build(dropped).train(), split)
                difference = timm.difference(bench.trace(fresh, run))
        except Exception as error:
            difference = describe(error)
        return bench.check("training", difference, refusal and f"dropping less, for timm: {refusal}")
    return Check("training", "not run", refusal)


def _check_intermediates(bench: _Bench, timm_class: type, split: Splitter) -> Check:
    """Compare the intermediate features, with keyword arguments in which each of their values comes up."""
    ours = split_in_place(bench.build(), split)
    if not is_offered(ours, timm_class):
        return Check("intermediates", "not offered")
    timm = bench.build()
    features = Features()
    # both run, or neither: a model that keeps something from its first run does otherwise in its second
    _outcome(bench, timm, whole, {})
    if is_refusal(_said(_outcome(bench, ours, from_embedding, {}))):
        features = _count(bench, timm, ours)
        timm, ours = bench.build(), split_in_place(bench.build(), split)
    if features.inside_stem and features.inside_stem == features.total:
        return bench.check("intermediates", "no intermediate feature can be had from an embedding")
    comparison = _Comparison(bench, timm, ours, features)
    cover(comparison.run, timm, features, _causal_mask(bench, split) if takes_mask(timm) else None)
    if comparison.ran or comparison.difference:
        return bench.check("intermediates", comparison.difference)
    return Check("intermediates", "not run", "timm takes none of them")


def _causal_mask(bench: _Bench, split: Splitter) -> torch.Tensor | None:
    found: list[torch.Tensor | None] = []
    bench.trace(
        split_in_place(bench.build(), split),
        lambda model, images, recorder: found.append(causal_mask(model, images)),
    )
    return found[0]


@dataclass
class _Comparison:
    """Two models that are run with the same keyword arguments, until they differ.

    Attributes:
        bench: Where they run.
        timm: timm's.
        ours: The split one.
        features: Which intermediate features can be had.
        ran: How often both ran and were equal.
        difference: How they differ; empty as long as they do not.
    """

    bench: _Bench
    timm: nn.Module
    ours: nn.Module
    features: Features
    ran: int = 0
    difference: str = ""

    def run(self, keywords: Keywords) -> bool:
        """Compare them, and say whether timm's takes these keyword arguments."""
        if self.difference:
            return True
        expected = _outcome(self.bench, self.timm, whole, keywords)
        actual = _outcome(self.bench, self.ours, from_embedding, keywords)
        difference = difference_in_errors(self.features, keywords, _said(expected), _said(actual))
        if isinstance(expected, Trace) and isinstance(actual, Trace) and difference is None:
            self.ran += 1
            difference = expected.difference(actual)
        if difference:
            self.difference = f"{in_call(keywords)}: {difference}"
        return isinstance(expected, Trace)


def _count(bench: _Bench, timm: nn.Module, ours: nn.Module) -> Features:
    return count_features(
        lambda keywords: _said(_outcome(bench, timm, whole, keywords)),
        lambda keywords: _said(_outcome(bench, ours, from_embedding, keywords)),
    )


def _outcome(
    bench: _Bench, model: nn.Module, run: Callable[[Any, torch.Tensor, Keywords], Any], keywords: Keywords
) -> Trace | str:
    """What a pass does, or the error that it ends with."""
    try:
        return bench.trace(model, lambda model, images, recorder: run(model, images, keywords))
    except Exception as error:
        return describe(error)


def _said(outcome: Trace | str) -> str:
    return outcome if isinstance(outcome, str) else ""


def _features(model: Any, image: torch.Tensor, recorder: Recorder) -> Any:
    return model.forward_features(image)


def _cut(model: Any, image: torch.Tensor, recorder: Recorder) -> Any:
    embedding = model.embed(image)
    recorder.cut()
    return model.forward_stages(embedding)


def _cut_twice(model: Any, image: torch.Tensor, recorder: Recorder) -> Any:
    """What ``embed`` does in one, step by step."""
    patches = model.embed_patches(image)
    recorder.cut()
    embedding = model.embed_positions(patches)
    recorder.cut()
    return model.forward_stages(embedding)


def _is_halved(model: nn.Module, timm_class: type) -> bool:
    """Whether a split model has ``embed_patches`` and ``embed_positions`` from its split class."""
    return any(hasattr(model, name) and not hasattr(timm_class, name) for name in ("embed_patches", "embed_positions"))
