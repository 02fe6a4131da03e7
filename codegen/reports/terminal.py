"""Where commands print: colours and the width of the terminal on one, plain lines of any length elsewhere."""

from __future__ import annotations

import io
import sys

from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text


def console() -> Console:
    """A console on standard output, on which no character can fail."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # sources hold what a narrow locale cannot say
    out = Console(highlight=False)
    out.soft_wrap = not out.is_terminal
    return out


def highlight(lines: list[str]) -> list[Text]:
    """Python source in colours, line by line."""
    code = "\n".join(lines)
    text = Syntax(code, "python", theme="ansi_dark", background_color="default").highlight(code)
    found = list(text.split("\n", allow_blank=True))
    return found[: len(lines)]
