"""``timm-split generate --check``: is what is on disk what would be generated now?"""

import pytest
from click.testing import CliRunner
from sources import write_timm

from codegen.cli import main

MODEL = """
class Tiny:
    def __init__(self):
        self.patch_embed = PatchEmbed()
        self.blocks = Sequential(*blocks)

    def forward_features(self, x):
        x = self.patch_embed(x)
        return self.blocks(x)
"""


@pytest.fixture
def generate(tmp_path):
    """Run the command on a small timm, into a package beside it."""
    source = write_timm(tmp_path / "source", MODEL)

    def run(*arguments: str):
        command = ["generate", "--source", str(source), "--output", str(tmp_path / "package"), *arguments]
        return CliRunner().invoke(main, command)

    return run


def state(package):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in package.rglob("*") if path.is_file()}


def test_a_package_that_was_just_generated_passes_in_one_line(generate, tmp_path):
    assert generate().exit_code == 0
    before = state(tmp_path / "package")
    done = generate("--check")
    assert done.exit_code == 0
    assert done.stdout == f"{tmp_path / 'package'}/ is what is generated from timm 1.2.3\n"
    assert done.stderr == ""
    assert state(tmp_path / "package") == before


def test_a_change_by_hand_fails_with_a_diff_and_is_left_alone(generate, tmp_path):
    generate()
    changed = tmp_path / "package" / "tiny.py"
    changed.write_text(changed.read_text().replace("x = self.patch_embed(x)", "x = self.patch_embed(x) * 2"))
    before = state(tmp_path / "package")
    done = generate("--check")
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[:2] == ["--- a/tiny.py", "+++ b/tiny.py"]
    assert "-        x = self.patch_embed(x) * 2" in lines
    assert "+        x = self.patch_embed(x)" in lines
    assert done.stderr.startswith("error: ")
    assert "tiny.py was edited by hand: move the changes" in done.stderr
    assert done.stderr.count("\n") == 1
    assert state(tmp_path / "package") == before
    done = generate()
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "edited by hand since it was generated (tiny.py)" in done.stderr
    assert state(tmp_path / "package") == before
    assert generate("--force").exit_code == 0
    assert generate("--check").exit_code == 0


def test_another_release_fails(generate, tmp_path):
    generate()
    write_timm(tmp_path / "source", MODEL.replace("return self.blocks(x)", "return self.blocks(x, 1)"), "1.2.4")
    done = generate("--check")
    assert done.exit_code == 1
    assert "+        return self.blocks(x, 1)" in done.stdout


def test_what_is_missing_fails_with_a_diff_of_limited_length_and_is_not_made(generate, tmp_path):
    done = generate("--check")
    assert done.exit_code == 1
    assert len(done.stdout.splitlines()) == 61
    assert done.stdout.splitlines()[-1].startswith("... and ")
    assert not (tmp_path / "package").exists()


def test_a_file_too_many_fails(generate, tmp_path):
    generate()
    (tmp_path / "package" / "more.py").write_text("more = 1\n")
    done = generate("--check")
    assert done.exit_code == 1
    assert "--- a/more.py" in done.stdout


def test_a_package_that_cannot_be_read_is_an_error_of_one_line(generate, tmp_path):
    (tmp_path / "package").write_text("a file")
    done = generate("--check")
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "package").read_text() == "a file"
