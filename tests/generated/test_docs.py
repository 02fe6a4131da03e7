"""What docs/masking.md says: its code runs, and its table is what the package does."""

import re
from pathlib import Path

import pytest
from names import CLASSES, DROPPING, NAMES, PACKAGE, class_of
from sources import recorded

import generated

TEXT = (Path(generated.__file__).parents[1] / "docs" / "masking.md").read_text(encoding="utf-8")
CODE = re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?```python\n(.*?)```", TEXT, re.MULTILINE | re.DOTALL)
CODE = {title: code for title, code in CODE if "import" in code}


@pytest.mark.parametrize("title", CODE)
def test_the_code_runs(title):
    exec(compile(CODE[title], f"docs/masking.md, {title}", "exec"), {})


@recorded
def test_the_table_is_what_the_package_does():
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("| `")
    ]
    told = {name: cells[1:] for cells in rows for name in re.findall(r"`(\w+)`", cells[0])}
    rest = rows[-1][1:]
    assert "all others" in rows[-1][0]
    for name in NAMES:
        split = CLASSES[PACKAGE.classes[name]]["split"]
        before, after, dropping = told.get(class_of(name), rest)
        assert after == "yes"
        assert (dropping == "no") != (class_of(name) in DROPPING), name
        wanted = "has none" if not split["position"] else "no," if "absent" in split["patches"] else "yes"
        assert before.startswith(wanted), name
