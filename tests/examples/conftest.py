"""The examples are scripts: they import each other as neighbours, and the package ``generated`` of this checkout."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "examples")]
