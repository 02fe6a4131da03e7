"""Whether a model is cut at the right place, judged by what it runs before and after the cut.

Nothing of the generator is used. What is stem and what is block comes from timm's own ``group_matcher`` where a class
has one, else from the structure of the model; where a cut may be is read off a recorded pass of timm's class:

- The *entry* is the first statement of ``forward_features`` that runs a block. No cut is later.
- The embedding is complete after the last statement before the entry that runs a part of the stem, a positional
  encoding, or the dropout on it. No cut is earlier.
- Patch dropout, the pre-norm, relative-position biases and unrolling belong to the stages, although timm counts some
  as stem. No cut is later than the first of them that follows a complete embedding.

Statements are not divided: what shares one with the stem is embedding, like the patch dropout in EVA's ``_pos_embed``.
Only where a single statement runs stem and blocks, as in a class that delegates to an encoder, the statements of what
it calls count instead.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from types import CodeType
from typing import Any, Literal

from torch import nn

from codegen.proof.trace import Event, Line, Trace

Kind = Literal["stem", "block", "stage", "whole", ""]
"""What a parameter, buffer or module is.

``stage`` belongs to the stages without being a block, ``whole`` is a module that holds stem and blocks, such as the
encoder of a class that delegates to one. The empty kind says nothing about the boundary.
"""

_STAGE = re.compile(r"patch_drop|norm_pre|ln_pre|rel_pos|unroll")
_POSITION = re.compile(r"pos_emb|pos_drop|rope|rotary")


class Unjudged(Exception):
    """A pass that does not determine the place of the boundary; the message says why."""


@dataclass(frozen=True)
class Window:
    """Where a pass may be cut, in events: ``first`` is the earliest right cut, ``last`` the latest."""

    first: int
    last: int


@dataclass(frozen=True)
class _Run:
    """Events of one statement that follow each other, from the event with number ``first`` on."""

    first: int
    events: tuple[Event, ...]

    @property
    def end(self) -> int:
        return self.first + len(self.events)


class Parts:
    """The kinds of a model's parameters, buffers and modules.

    Args:
        model: A timm model.
        events: Tells what a pass of its ``forward_features`` did. Asked only where ``group_matcher`` does not help:
            the class has none, or one that was left behind from another class and finds no stem or no block.
    """

    def __init__(self, model: nn.Module, events: Callable[[], Iterable[Event]]) -> None:
        matcher = getattr(model, "group_matcher", None)
        names = [name for name, _ in (*model.named_parameters(), *model.named_buffers())]
        self._by_timm: Callable[[str], Kind] = _by_matcher(matcher()) if matcher is not None else lambda name: ""
        if not {"stem", "block"} <= {self._by_timm(name) for name in names}:
            self._by_timm = _by_structure(model, events())
        modules = {name: module for name, module in model.named_modules() if name}
        wholes = [
            name for name, below in _below({name: self._by_timm(name) for name in names}).items() if _whole(below)
        ]
        self._prefix = f"{max(wholes, key=len)}." if wholes else ""
        self._kinds: dict[str, Kind] = {name: self._of_tensor(name) for name in names}
        below = _below(self._kinds)
        self._kinds |= {name: self._of_module(name, module, below.get(name, set())) for name, module in modules.items()}
        #: Modules that hold parameters of their own: what a layer is.
        self.layers = frozenset(
            name for name, module in modules.items() if next(module.parameters(False), None) is not None
        )
        #: Parameters of the model itself, or of the encoder that it delegates to: prefix tokens, positions.
        self.bare = frozenset(
            name for name, _ in model.named_parameters() if "." not in name.removeprefix(self._prefix)
        )

    def __call__(self, name: str) -> Kind:
        """The kind of a parameter, a buffer or a module."""
        return self._kinds.get(name, "")

    def _of_tensor(self, name: str) -> Kind:
        attribute = self._attribute(name)
        if _STAGE.search(attribute):
            return "stage"
        return self._by_timm(name) or ("stem" if _POSITION.search(attribute) else "")

    def _of_module(self, name: str, module: nn.Module, below: set[Kind]) -> Kind:
        if _whole(below):
            return "whole"
        kinds: tuple[Kind, ...] = ("block", "stem", "stage")
        for kind in kinds:
            if kind in below:
                return kind
        return self._of_tensor(name) or ("stem" if isinstance(module, nn.Dropout) else "")

    def _attribute(self, name: str) -> str:
        """The attribute of the model, or of the encoder that it delegates to, under which ``name`` is found."""
        return name.removeprefix(self._prefix).split(".")[0]


def _below(tensors: Mapping[str, Kind]) -> dict[str, set[Kind]]:
    """The kinds of the parameters and buffers of each module and of what it holds."""
    below: dict[str, set[Kind]] = {}
    for name, kind in tensors.items():
        while name := name.rpartition(".")[0]:
            below.setdefault(name, set()).add(kind)
    return below


def _whole(below: set[Kind]) -> bool:
    return {"stem", "block"} <= below


def _by_matcher(matcher: Any) -> Callable[[str], Kind]:
    """Kinds by a ``group_matcher``: a dict of patterns by group, or a function that gives the number of a group."""
    if callable(matcher):

        def by_number(name: str) -> Kind:
            group = matcher(name)
            number = group[0] if isinstance(group, tuple) else group
            return "" if number is None or math.isinf(number) else "stem" if number == 0 else "block"

        return by_number

    patterns: list[tuple[re.Pattern[str], Kind]] = []
    for group, specification in matcher.items():
        kind: Kind = "stem" if group.startswith("stem") else "block"
        entries = specification if isinstance(specification, (list, tuple)) else [(specification, None)]
        patterns += [(re.compile(entry[0]), kind) for entry in entries if entry[0] is not None]

    def by_pattern(name: str) -> Kind:
        return next((kind for pattern, kind in patterns if pattern.match(name)), "")

    return by_pattern


def _by_structure(model: nn.Module, events: Iterable[Event]) -> Callable[[str], Kind]:
    """Kinds by structure: the first layer that runs is in the stem, and the other containers hold blocks."""
    layers = {name for name, module in model.named_modules() if next(module.parameters(False), None) is not None}
    stem = next((event.name.split(".")[0] for event in events if event.module and event.name in layers), None)
    containers = {name for name, child in model.named_children() if isinstance(child, (nn.Sequential, nn.ModuleList))}

    def by_attribute(name: str) -> Kind:
        attribute = name.split(".")[0]
        return "stem" if attribute == stem else "block" if attribute in containers else ""

    return by_attribute


def until_entry(parts: Parts) -> Callable[[str, bool], bool]:
    """For :func:`codegen.proof.trace.record`: wants the stack of each event up to the first of a block."""
    entered = False

    def look(name: str, module: bool) -> bool:
        nonlocal entered
        before, entered = entered, entered or parts(name) == "block"
        return not before

    return look


def window(trace: Trace, parts: Parts) -> Window:
    """Where a pass of timm's ``forward_features`` may be cut.

    Args:
        trace: The pass, recorded with :func:`until_entry`.
        parts: The kinds of the model's parts.

    Raises:
        Unjudged: Nothing tells where: no block runs, or no part of the stem runs before, or one statement runs both.
    """
    events = _reported(trace.events, parts)
    blocks = [number for number, event in enumerate(events) if parts(event.name) == "block"]
    if not blocks:
        raise Unjudged("no module that timm counts as a block runs")
    start, depth = 0, 0
    while True:
        *runs, entry = _runs(events[start : blocks[0] + 1], start, depth)
        stems = [run for run in runs if _has(run, "stem", parts)]
        if stems:
            break
        if not _has(entry, "stem", parts):
            raise Unjudged("nothing that timm counts as stem runs before the first block")
        start, depth = entry.first, depth + 1
        if len(events[blocks[0]].stack) <= depth:
            raise Unjudged("a single statement runs the stem and the blocks")
    first = _before_late_prefix(stems, parts)[-1].end
    stages = [run.first for run in runs if run.first >= first and _has(run, "stage", parts)]
    return Window(first, min([*stages, entry.first]))


def judge(timm: Trace, split: Trace, parts: Parts) -> str:
    """Say what is wrong with the cut of a split class: empty if nothing is.

    Args:
        timm: A pass of timm's ``forward_features``, recorded with :func:`until_entry`.
        split: A pass of ``embed`` and ``forward_stages``, with a cut recorded in between, the last one.
        parts: The kinds of the model's parts.

    Raises:
        Unjudged: As :func:`window` does.
    """
    right = window(timm, parts)
    events = _reported(split.events, parts)
    if _names(events) != _names(_reported(timm.events, parts)):
        return "the modules that run, or the order in which they do, are not timm's"
    cut = len(_reported(split.events[: split.cuts[-1]], parts))
    if cut < right.first:
        name = next(event.name for event in events[cut : right.first] if parts(event.name) == "stem")
        return f"forward_stages runs {name}, which belongs to the embedding"
    if cut > right.last:
        name = next(event.name for event in events[right.last : cut] if parts(event.name) in ("block", "stage"))
        return f"embed runs {name}, which belongs to the stages"
    both = _layers(events[:cut], parts) & _layers(events[cut:], parts)
    return f"embed and forward_stages both run {min(both)}" if both else ""


def _reported(events: Iterable[Event], parts: Parts) -> tuple[Event, ...]:
    # A split class calls embed of the encoder that it delegates to, not the encoder
    return tuple(event for event in events if parts(event.name) != "whole")


def _names(events: Iterable[Event]) -> list[tuple[str, bool]]:
    return [(event.name, event.module) for event in events]


def _layers(events: Iterable[Event], parts: Parts) -> set[str]:
    return {event.name for event in events if event.module and event.name in parts.layers}


def _has(run: _Run, kind: Kind, parts: Parts) -> bool:
    return any(parts(event.name) == kind for event in run.events)


def _runs(events: Iterable[Event], first: int, depth: int) -> list[_Run]:
    """Part events, the first of which has the number ``first``, by the statement at ``depth`` that makes them."""
    runs = []
    for _, group in groupby(events, lambda event: _statement(event.stack[depth]) if depth < len(event.stack) else None):
        runs.append(_Run(first, tuple(group)))
        first = runs[-1].end
    return runs


def _before_late_prefix(stems: list[_Run], parts: Parts) -> list[_Run]:
    """The stem's runs without those after the position that only read prefix tokens: the grid is complete before."""
    positions = [n for n, run in enumerate(stems) if any(_POSITION.search(event.name) for event in run.events)]
    if not positions:
        return stems
    late = [
        n > positions[-1] and not any(event.module and parts(event.name) == "stem" for event in run.events)
        for n, run in enumerate(stems)
    ]
    return [run for run, is_late in zip(stems, late, strict=True) if not is_late]


def _statement(line: Line) -> tuple[CodeType, int]:
    return line.code, _statements(line.code).get(line.line, line.line)


@cache
def _statements(code: CodeType) -> Mapping[int, int]:
    """The first line of the innermost statement of a function, by each line."""
    try:
        lines, number = inspect.getsourcelines(code)
        function = ast.parse(textwrap.dedent("".join(lines))).body[0]
    except (OSError, SyntaxError):  # without source each line is its own statement
        return {}
    ast.increment_lineno(function, number - 1)
    statements: dict[int, int] = {}
    # Outer statements come first, so that the innermost one that holds a line has the last word
    for node in ast.walk(function):
        if isinstance(node, ast.stmt) and node is not function:
            statements |= dict.fromkeys(range(node.lineno, (node.end_lineno or node.lineno) + 1), node.lineno)
    return statements
