"""The commands in the documentation: each option that they name exists."""

import re
import shlex
from pathlib import Path

import evaluate
import pretrain
import pytest
import reproduce

ROOT = Path(__file__).parents[2]
PROGRAMS = {"pretrain": pretrain.main, "evaluate": evaluate.main, "reproduce": reproduce.main}


def commands() -> list[tuple[str, str]]:
    """Each program that a page runs, and what follows it on the line."""
    found = []
    for page in ("examples/README.md", "docs/scale.md", "docs/masking.md", "README.md"):
        text = (ROOT / page).read_text().replace("\\\n", " ")
        for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            if language in ("", "bash"):
                found += re.findall(r"examples/(\w+)\.py ([^#\n]*)", block)
    return found


def test_pages_have_commands():
    assert {program for program, _ in commands()} >= {"pretrain", "evaluate"}


@pytest.mark.parametrize(("program", "line"), commands())
def test_options_exist(program, line):
    known = {name: option for option in PROGRAMS[program].params for name in option.opts}
    words = shlex.split(line)
    for word, value in zip(words, [*words[1:], ""], strict=True):
        if word.startswith("-") and word != "--help":
            assert word in known
            choices = getattr(known[word].type, "choices", None)
            assert choices is None or value in choices
