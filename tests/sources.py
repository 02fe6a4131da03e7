"""Releases for tests: timm-like models of a few lines, and timm itself, as text."""

import functools
import json
import re
import tempfile
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

import codegen
from codegen.generate import RenderedPackage, analyse, generate
from codegen.model.facts import Facts
from codegen.source.index import Class, Index, Module
from codegen.source.release import find_release
from codegen.split.files import split_release
from codegen.types import Outcome, Refusal, Release, Split

RECORDED = "1.0.31"
"""The release that figures in the tests are of. Whoever reviews the package for another changes both."""
CHECKOUT = Path(codegen.__file__).parents[1]
GENERATED = CHECKOUT / "generated"
TINY = "timm/models/tiny.py"
Files = Mapping[str, str]
NONE: Files = {}


def release_of(source: str, files: Files = NONE) -> Release:
    """A release with one model file, ``timm/models/tiny.py``, and others by their path."""
    texts = {TINY: source, **files}
    return Release("1.2.3", "memory", {path: textwrap.dedent(text) for path, text in sorted(texts.items())})


def index_of(source: str, files: Files = NONE) -> Index:
    return Index(release_of(source, files))


def module_of(source: str, files: Files = NONE) -> Module:
    return index_of(source, files).parse(TINY)


def class_of(source: str, name: str = "Tiny", files: Files = NONE) -> Class:
    index = index_of(source, files)
    return index.classes(index.parse(TINY))[name]


def facts_of(source: str, name: str = "Tiny", files: Files = NONE) -> Facts:
    index = index_of(source, files)
    return Facts(index, index.classes(index.parse(TINY))[name])


def outcomes_of(source: str, files: Files = NONE) -> dict[str, Outcome]:
    """What becomes of each model class, by its name."""
    return {outcome.name: outcome for outcome in split_release(index_of(source, files))}


def result_in_users_file(source: str, name: str = "M", **options: object) -> Split | Refusal:
    """What becomes of a class in a file that is not timm's, where no name is believed.

    Args:
        source: The file.
        name: The class.
        options: What the user says of the file: fields of ``Release``, such as ``method``.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "models.py"
        path.write_text(source, encoding="utf-8")
        outcomes = analyse(replace(find_release(None, path, announce=lambda message: None), **options))
    return next(outcome.result for outcome in outcomes if outcome.name == name)


def with_statements_alone(text: str) -> str:
    """A generated module as it runs where an inner model is not split, without what is said to TorchScript."""
    text = re.sub(r" *@torch\.jit\.export\n", "", text)
    return re.sub(r"not torch\.jit\.is_scripting\(\) and isinstance\(self\.\w+, \w+Split\)", "False", text)


def split_of(source: str, name: str = "Tiny", files: Files = NONE) -> Split:
    result = outcomes_of(source, files)[name].result
    assert isinstance(result, Split), result
    return result


def refusal_of(source: str, name: str = "Tiny", files: Files = NONE) -> Refusal:
    result = outcomes_of(source, files)[name].result
    assert isinstance(result, Refusal), result
    return result


@functools.cache
def committed_manifest() -> dict:
    return json.loads((GENERATED / "manifest.json").read_text(encoding="utf-8"))


recorded = pytest.mark.skipif(
    committed_manifest()["timm_version"] != RECORDED,
    reason=f"has figures of timm {RECORDED}, for the reviewer to renew",
)


@functools.cache
def timm_release() -> Release:
    """The release that ``generated/`` was made from; nothing of it is imported."""
    return find_release(committed_manifest()["timm_version"])


@functools.cache
def timm_package() -> RenderedPackage:
    return generate(timm_release())


def write_timm(root: Path, source: str, version: str = "1.2.3", files: Files = NONE) -> Path:
    """A directory with a timm of one model file, ``timm/models/tiny.py``, and others by their path."""
    texts = {TINY: source, "timm/version.py": f"__version__ = {version!r}\n", "timm/__init__.py": "", **files}
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(textwrap.dedent(text), encoding="utf-8")
    return root
