"""What docs/how-it-works.md says of the modules: it has a row for each, and none for what is not there."""

import re
from pathlib import Path

import pytest

import codegen

CHECKOUT = Path(codegen.__file__).parents[1]
TEXT = (CHECKOUT / "docs" / "how-it-works.md").read_text(encoding="utf-8")


def modules_named_under(heading: str) -> list[str]:
    """The modules in the first column of the tables between a heading and the next one."""
    _, found, rest = TEXT.partition(f"\n### `{heading}`")
    assert found, heading
    section = re.split(r"^##", rest, maxsplit=1, flags=re.MULTILINE)[0]
    firsts = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [name for cell in firsts for name in re.findall(r"`(\w+\.py)`", cell)]


FOLDERS = sorted({path.parent.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "codegen").rglob("*.py")})


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_module_is_named_exactly_once(folder):
    modules = [path.name for path in (CHECKOUT / folder).glob("*.py") if path.name != "__init__.py"]
    assert sorted(modules_named_under(f"{folder}/")) == sorted(modules)


def test_every_run_time_module_is_named_exactly_once():
    modules = [path.name for path in (CHECKOUT / "templates" / "runtime").glob("*.py")]
    assert sorted(modules_named_under("templates/")) == sorted(modules)
