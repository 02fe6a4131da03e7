"""What ``manifest.json`` says of {{ "the" if own else "timm's" }} model classes. Read when it is first asked for."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

Entry = Mapping[str, Any]


@functools.cache
def by_class() -> Mapping[str, Entry]:
    """The entry of each class, split or refused, by its full name: ``timm.models.eva.Eva``."""
    text = resources.files(__package__).joinpath("manifest.json").read_text(encoding="utf-8")
    entries: Mapping[str, Entry] = json.loads(text)["classes"]
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
{% if own %}
    return f"{entry['class']} has no split: {refused['reason']} ({refused['file']}:{refused['line']})."
{% else %}
    return (
        f"{entry['class']} has no split: {refused['reason']} ({refused['file']}:{refused['line']}). "
        "timm.create_model gives timm's own model."
    )
{% endif %}
