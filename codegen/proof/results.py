"""What the proof of a package says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["holds", "fails", "not run", "not offered"]
"""``not run`` is no proof, ``not offered`` is something that timm's own class or its split does not do."""

Progress = Callable[[str, int, int], None]
"""Called with what is being proved, how many names of it are done, and of how many."""


@dataclass(frozen=True)
class Check:
    """One thing that was asked of a model.

    Attributes:
        name: ``ops``, ``boundary``, ``patches``, ``training`` and ``intermediates``; in numbers ``eval``, ``train``,
            ``checkpointing`` and ``intermediates``.
        verdict: What came of it.
        detail: Why, where it does not hold; where it does, how it was run if that needs saying.
    """

    name: str
    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True)
class NameResult:
    """What was asked of one registered name.

    Attributes:
        name: The registered name.
        model_class: Full name of its class, ``timm.models.eva.Eva``.
        checks: What was asked.
        parameters: Elements of all its parameters; 0 where it could not be built.
        unbuilt: Why timm itself cannot build it; empty if it can.
    """

    name: str
    model_class: str
    checks: tuple[Check, ...]
    parameters: int = 0
    unbuilt: str = ""

    @property
    def verdict(self) -> Verdict:
        """``holds`` only if something was asked, and all of it holds."""
        verdicts = {check.verdict for check in self.checks}
        if "fails" in verdicts:
            return "fails"
        return "holds" if "holds" in verdicts and "not run" not in verdicts else "not run"


@dataclass(frozen=True)
class RefusedName:
    """A registered name that is not proved, and why: its class is not split, or timm cannot build it."""

    name: str
    model_class: str
    reason: str


@dataclass(frozen=True)
class Report:
    """What the proof of a package says.

    Attributes:
        timm_version: The release of timm that ran.
        names: What was asked of each name by its ops, in the order of timm's list.
        refused: Names that have no split.
        numbers: What was asked of one small model of each class by its numbers; empty if that was not wanted.
        unbuilt: Names that this release of timm cannot build itself: there is nothing to compare with.
    """

    timm_version: str
    names: tuple[NameResult, ...]
    refused: tuple[RefusedName, ...] = ()
    numbers: tuple[NameResult, ...] = ()
    unbuilt: tuple[RefusedName, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether everything that was asked of every name was run and holds."""
        return all(result.verdict == "holds" for result in (*self.names, *self.numbers))
