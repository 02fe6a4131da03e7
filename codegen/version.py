"""The version of the distribution: that of the timm release that ``generated/`` is for, and a revision for it.

``timm-split==1.0.31.*`` fits ``timm==1.0.31``, as type-stub packages do it. The build reads it from here.
"""

from __future__ import annotations

import json
from pathlib import Path

REVISION = 1
"""Counts the distributions for one timm release. Back to 1 with a new one."""


def distribution_version() -> str:
    """``1.0.31.post1``, from the manifest of the generated package beside this one."""
    manifest = Path(__file__).parent.parent / "generated" / "manifest.json"
    return f"{json.loads(manifest.read_text(encoding='utf-8'))['timm_version']}.post{REVISION}"
