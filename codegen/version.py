"""The version of the distribution: that of the timm release that ``generated/`` is for, and a revision for it.

``timm-split==1.0.31.*`` fits ``timm==1.0.31``, as type-stub packages do it. The build reads it from here, without
the dependencies of the package.
"""

from __future__ import annotations

from pathlib import Path

from codegen.manifest import read_header

REVISION = 1
"""Counts the distributions for one timm release. Back to 1 with a new one."""


def distribution_version() -> str:
    """``1.0.31.post1``, from the manifest of the generated package beside this one."""
    return f"{read_header(Path(__file__).parents[1] / 'generated').timm_version}.post{REVISION}"
