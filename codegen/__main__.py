"""``python -m codegen`` is ``timm-split``."""

from codegen.cli import main

main()
