"""Whether an embedding is cut where its patches are complete, judged by what runs before and after that cut.

Nothing of the generator is used. A recorded pass tells by the names of parameters and modules, and by what timm's
``group_matcher`` calls stem, that ``embed_patches`` brings in neither position nor a parameter of the model's own (the
prefix tokens), and that ``embed_positions`` runs no part of the patch embedding.
"""

from __future__ import annotations

import re

from codegen.proof.placement import Parts
from codegen.proof.trace import Event, Trace

_POSITION = re.compile(r"(^|[._])(pos|pos_?emb\w*|position\w*|rope\w*|rotary\w*)(?=[._\d]|$)")


def judge_patches(trace: Trace, parts: Parts) -> str:
    """Say what is wrong with the cut between patches and positions: empty if nothing is.

    Args:
        trace: A pass of ``embed_patches``, ``embed_positions`` and ``forward_stages``, with two cuts in between.
        parts: The kinds of the model's parts.
    """
    first, second = trace.cuts
    patches, positions = trace.events[:first], trace.events[first:second]
    for event in patches:
        if _POSITION.search(event.name):
            return f"embed_patches {_does(event)}, which gives position"
        if event.name in parts.bare:
            return f"embed_patches {_does(event)}, which is no part of the patches"
    if not any(event.name in parts.layers and parts(event.name) == "stem" for event in patches):
        return "embed_patches runs no part of the stem"
    for event in positions:
        of_patches = event.name in parts.layers if event.module else event.name not in parts.bare
        if of_patches and parts(event.name) == "stem" and not _POSITION.search(event.name):
            return f"embed_positions {_does(event)}, which makes the patches"
    return ""


def _does(event: Event) -> str:
    return f"{'runs' if event.module else 'reads'} {event.name}"
