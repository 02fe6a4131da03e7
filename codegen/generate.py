"""The whole pipeline: a release's source to the text of its package."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from codegen.index import parse_models
from codegen.registry import registered_models
from codegen.render import render
from codegen.splitter import split_release
from codegen.types import Outcome, Release


@contextlib.contextmanager
def _no_garbage() -> Iterator[None]:
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@dataclass(frozen=True)
class Package:
    """A generated package that is not written yet.

    Attributes:
        version: The timm release that it is for.
        outcomes: What became of each of its model classes.
        files: Text by path inside the package.
    """

    version: str
    outcomes: Sequence[Outcome]
    files: Mapping[str, str]


def generate(release: Release) -> Package:
    """Generate the package for a release.

    Raises:
        TimmSplitError: If its source does not parse.
    """
    # the trees of a release are millions of objects, and none of them is garbage before the end
    with _no_garbage():
        return _generate(release)


def _generate(release: Release) -> Package:
    index = parse_models(release)
    models = registered_models({module.path: module.tree for module in index.parsed()})
    outcomes = tuple(split_release(index, models))
    return Package(release.version, outcomes, render(release.version, outcomes))
