"""``manifest.json``: what became of each class, for tools."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from codegen.types import Absence, Inherited, Outcome, Patches, Refusal, Split

MANIFEST_FORMAT = 2


def manifest_text(
    version: str,
    outcomes: Sequence[Outcome],
    by_path: Mapping[str, Outcome],
    generated: Mapping[str, str],
    files: Sequence[str],
) -> str:
    entries = {
        outcome.path: _class_entry(outcome, by_path, generated) for outcome in sorted(outcomes, key=lambda o: o.path)
    }
    manifest = {
        "generator": "timm-split",
        "format": MANIFEST_FORMAT,
        "timm_version": version or None,
        "files": list(files),
        "classes": entries,
    }
    return json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"


def _class_entry(outcome: Outcome, by_path: Mapping[str, Outcome], generated: Mapping[str, str]) -> dict[str, object]:
    entry: dict[str, object] = {
        "module": outcome.module,
        "class": outcome.name,
        "file": outcome.place.file,
        "line": outcome.place.line,
        "digest": outcome.digest,
        "models": list(outcome.models),
    }
    result = outcome.result
    if isinstance(result, Refusal):
        return entry | {"refused": {**asdict(result.place), "reason": result.reason}}
    split = by_path[result.parent].result if isinstance(result, Inherited) else result
    assert isinstance(split, Split)
    return entry | {
        "split": {
            "module": generated[outcome.module],
            "class": f"{outcome.name}Split",
            "boundary": {
                **asdict(split.boundary.place),
                "statement": split.boundary.statement,
                "reasons": list(split.boundary.reasons),
                "stem": list(split.boundary.stem),
                "blocks": list(split.boundary.blocks),
            },
            "embedding": {
                "class": split.embedding or None,
                "tokens": split.tokens,
                "layout": split.layout or None,
                "fields": [asdict(field) for field in split.fields],
                "recomputed": list(split.recomputed),
            },
            "position": split.position,
            "patches": patches_entry(split.patches),
            "inherits": result.parent if isinstance(result, Inherited) else None,
            "delegate": asdict(split.delegate) if split.delegate else None,
        }
    }


def patches_entry(patches: Patches | Absence) -> dict[str, object]:
    """What the manifest says of the pair ``embed_patches`` and ``embed_positions``: what crosses, or why there is none.

    An object with ``class`` (the ``NamedTuple``, or ``null`` for the patches alone), ``tokens``, ``layout``, ``fields``
    (a list of ``name`` and ``annotation``; the first holds the patches), ``recomputed`` (statements that
    ``embed_positions`` begins with), ``boundary`` (``file``, ``line`` and ``statement``) and ``reasons``; or with
    ``absent``, the reason, alone.
    """
    if isinstance(patches, Absence):
        return {"absent": patches.reason}
    return {
        "class": patches.record or None,
        "tokens": patches.tokens,
        "layout": patches.layout or None,
        "fields": [asdict(field) for field in patches.fields],
        "recomputed": list(patches.recomputed),
        "boundary": {**asdict(patches.place), "statement": patches.statement},
        "reasons": list(patches.reasons),
    }
