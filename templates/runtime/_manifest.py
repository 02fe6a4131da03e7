"""What ``manifest.json`` says of the package and of its model classes. Read when it is first asked for."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

Entry = Mapping[str, Any]

FORMAT = 4
"""The number of the format that this package reads; manifest.py of the generator has the same."""


@functools.cache
def _read() -> Mapping[str, Any]:
    """The manifest.

    Raises:
        ImportError: It is missing, damaged, or that of another package.
    """
    try:
        text = resources.files(__package__).joinpath("manifest.json").read_text(encoding="utf-8")
        manifest: Mapping[str, Any] = json.loads(text)
        if manifest["format"] != FORMAT:
            raise ValueError(f"it has format {manifest['format']} and not {FORMAT}")
        if not isinstance(manifest["classes"], dict) or not isinstance(manifest["user_source"], (str, type(None))):
            raise ValueError("its classes or its source are none")
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ImportError(
            f"manifest.json of {__package__} is damaged ({type(error).__name__}: {error}). "
            "Generate the package again: timm-split generate --force"
        ) from None
    return manifest


def user_source() -> str | None:
    """The file or directory of user models that the package was generated from; None if it was a release of timm."""
    source: str | None = _read()["user_source"]
    return source


def method() -> str:
    """The method of the models that is split."""
    name: str = _read().get("method", "forward_features")
    return name


def kind() -> str:
    """What ``split`` takes, for messages."""
    return "timm model" if user_source() is None else f"model of {user_source()}"


def version_mismatch(generated_from: str, installed: str) -> str:
    """What is wrong under another timm than the package was generated from, and how to put it right."""
    if user_source() is None:
        command = (
            f"timm-split generate --timm-version {installed}; "
            f'or install the release for your timm: pip install "timm-split=={installed}.*"'
        )
    else:
        named = "" if method() == "forward_features" else f" --method {method()}"
        command = f"timm-split generate --source {user_source()} --output {__package__}{named}"
    return (
        f"{__package__} was generated from timm {generated_from}, and timm {installed} is installed. "
        f"Generate it again: {command}"
    )


def by_class() -> Mapping[str, Entry]:
    """The entry of each class, split or refused, by its full name: ``timm.models.eva.Eva``."""
    entries: Mapping[str, Entry] = _read()["classes"]
    return entries


def entry_of(cls: type) -> Entry | None:
    """The entry of the class that a class is or derives from."""
    paths = (f"{base.__module__}.{base.__qualname__}" for base in cls.__mro__)
    return next((by_class()[path] for path in paths if path in by_class()), None)


@functools.cache
def by_model() -> Mapping[str, Entry]:
    """The entry of the class that timm builds under a registered name, which has no tag: ``eva02_base_patch14_224``."""
    return {name: entry for entry in by_class().values() for name in entry["models"]}


def refusal(entry: Entry) -> str | None:
    """Why the class of an entry was not split, and the line that stands in the way; None if it was."""
    refused = entry.get("refused")
    if refused is None:
        return None
    reason = f"{entry['class']} has no split: {refused['reason']} ({refused['file']}:{refused['line']})."
    return f"{reason} timm.create_model gives timm's own model." if user_source() is None else reason
