"""The command, as its users run it: what it prints, where, and with which exit code."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sources import CHECKOUT, TINY, timm_release

MODEL = """
from ._builder import build_model_with_cfg
from ._registry import register_model

class Tiny:
    def __init__(self):
        self.patch_embed = PatchEmbed()
        self.blocks = Sequential(*blocks)

    def forward_features(self, x):
        x = self.patch_embed(x)
        return self.blocks(x)


class Whole:
    def __init__(self):
        self.blocks = Sequential(*blocks)

    def forward_features(self, x):
        return self.blocks(x)


@register_model
def tiny_small(pretrained=False, **kwargs):
    return build_model_with_cfg(Tiny, 'tiny_small', pretrained, **kwargs)
"""


def timm_split(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder."""
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "COLUMNS": "100"}
    command = [sys.executable, "-m", "codegen", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def failure(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line in which a run says why it failed."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def source(tmp_path) -> Path:
    """A directory that holds a tiny timm."""
    for name, text in {"timm/__init__.py": "", "timm/version.py": "__version__ = '1.2.3'\n", TINY: MODEL}.items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "source"


# What it says when all is well


def test_generate_tells_what_was_split_what_was_refused_and_why(source, tmp_path):
    done = timm_split("generate", "--source", source, folder=tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"timm 1.2.3 from {source} -> generated/",
        "   split  1 classes, 1 models",
        " refused  1 classes, 0 models",
        f"          Whole (0 models)  {TINY}:20",
        "            the blocks run before any patch embedding or stem has run: name the stem in a group_matcher",
        "Prove it: timm-split verify",
    ]
    assert (tmp_path / "generated" / "tiny.py").is_file()


def test_the_lines_that_generate_names_for_timm_can_be_looked_up(tmp_path):
    done = timm_split("generate", "--timm-version", timm_release().version, "--output", "mine", folder=tmp_path)
    first, *_, last = done.stdout.splitlines()
    assert first.startswith(f"timm {timm_release().version} from ")
    assert first.endswith(" -> mine/")
    assert last == "Prove it: timm-split verify --package mine"
    places = re.findall(r"(timm/models/\w+\.py):(\d+)$", done.stdout, re.MULTILINE)
    assert len(places) == 7
    for file, line in places:
        assert timm_release().files[file].splitlines()[int(line) - 1].startswith("        ")


def test_generating_again_over_the_same_package_is_no_error_and_changes_nothing(source, tmp_path):
    timm_split("generate", "--source", source, folder=tmp_path)
    before = tree(tmp_path / "generated")
    assert timm_split("generate", "--source", source, folder=tmp_path).returncode == 0
    assert tree(tmp_path / "generated") == before


def test_output_that_is_no_terminal_is_plain(source, tmp_path):
    done = timm_split("generate", "--source", source, folder=tmp_path)
    failed = timm_split("generate", "--source", "nowhere", folder=tmp_path)
    assert "\x1b" not in done.stdout + failed.stderr


# Help


def test_help_teaches_the_commands_and_the_exit_codes(tmp_path):
    done = timm_split("--help", folder=tmp_path)
    assert done.returncode == 0
    assert "timm-split generate --timm-version" in done.stdout
    assert "timm-split verify" in done.stdout
    assert "Exit codes: 0" in done.stdout


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("generate", ["--timm-version", "--source", "--output", "--force", "latest", "wheel", "never imported"]),
        ("verify", ["--jobs", "--numeric", "--package", "--json", "PATTERN", "vit_*"]),
    ],
)
def test_help_of_a_command_explains_its_options(command, words, tmp_path):
    done = timm_split(command, "-h", folder=tmp_path)
    assert done.returncode == 0
    assert [word for word in words if word not in done.stdout] == []


@pytest.mark.parametrize("arguments", [["--help"], ["generate", "--help"], ["verify", "--help"]])
def test_help_answers_without_loading_what_the_work_needs(arguments, tmp_path):
    heavy = "{'torch', 'timm', 'libcst', 'jinja2', 'numpy', 'rich', 'regex'}"
    script = f"""
import sys
from codegen.cli import main
try:
    main({arguments!r})
finally:
    print(sorted({heavy} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


# Mistakes of the caller: one line, exit code 2, nothing written


@pytest.mark.parametrize(
    "arguments", [["unheard-of"], ["generate", "--unheard-of"], ["generate", "extra"], ["verify", "--jobs", "0"]]
)
def test_arguments_that_do_not_exist_exit_with_2(arguments, tmp_path):
    done = timm_split(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("version", ["banana", "1.0.", "^1", ""])
def test_a_version_that_is_none_exits_with_2(version, tmp_path):
    failure(timm_split("generate", "--timm-version", version, folder=tmp_path), 2)


def test_a_source_that_is_another_version_than_the_one_asked_for_exits_with_2(source, tmp_path):
    line = failure(timm_split("generate", "--source", source, "--timm-version", "9.9.9", folder=tmp_path), 2)
    assert "1.2.3" in line
    assert "9.9.9" in line


@pytest.mark.parametrize("what", ["missing", "empty folder", "text", "damaged archive"])
def test_a_source_that_is_no_timm_exits_with_2_and_writes_nothing(what, tmp_path):
    path = tmp_path / {"text": "notes.txt", "damaged archive": "timm.whl"}.get(what, "somewhere")
    if what == "empty folder":
        path.mkdir()
    elif what != "missing":
        path.write_bytes(b"PK\x03\x04 no archive")
    line = failure(timm_split("generate", "--source", path, folder=tmp_path), 2)
    assert path.name in line
    assert not (tmp_path / "generated").exists()


def test_files_of_others_are_left_alone_unless_forced(source, tmp_path):
    notes = tmp_path / "generated" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    line = failure(timm_split("generate", "--source", source, folder=tmp_path), 2)
    assert "notes.txt" in line
    assert "--force" in line
    assert tree(notes.parent) == {"notes.txt": b"mine"}

    assert timm_split("generate", "--source", source, "--force", folder=tmp_path).returncode == 0
    assert "notes.txt" not in tree(notes.parent)


def test_no_command_that_reads_a_source_executes_a_byte_of_it(source, tmp_path):
    trace = tmp_path / "trace"
    leave = f"open({str(trace)!r}, 'w').close()"
    (source / "timm/models").joinpath("__init__.py").write_text("")
    for path in source.rglob("*.py"):
        path.write_text(f"{leave}\n{path.read_text()}")
    model = (source / TINY).read_text()
    (source / TINY).write_text(model.replace("class Tiny:\n", f"class Tiny:\n    trace = {leave}\n"))
    other = tmp_path / "other"
    shutil.copytree(source, other)
    (other / "timm/version.py").write_text(f"{leave}\n__version__ = '1.2.4'\n")
    commands = [
        ["generate", "--source", source, "--output", tmp_path / "out"],
        ["list", "--source", source],
        ["show", "Tiny", "--source", source],
        ["diff", source, other],
    ]
    for command in commands:
        # from where Python would find that timm first
        done = timm_split(*command, folder=source)
        assert (done.returncode, done.stderr) == (0, "")
        assert not trace.exists(), command
    subprocess.run([sys.executable, "-c", "import timm"], cwd=source, check=True)
    assert trace.exists()


# Failures: one line, exit code 1, the old package untouched


def test_a_source_that_does_not_parse_exits_with_1_and_leaves_the_old_package(source, tmp_path):
    timm_split("generate", "--source", source, folder=tmp_path)
    before = tree(tmp_path / "generated")
    (source / TINY).write_text("class Tiny:\n    def forward_features(self, x:\n")
    line = failure(timm_split("generate", "--source", source, folder=tmp_path), 1)
    assert f"{TINY}:2 does not parse" in line
    assert tree(tmp_path / "generated") == before


def test_an_output_that_cannot_be_written_exits_with_1(source, tmp_path):
    (tmp_path / "file").write_text("")
    line = failure(timm_split("generate", "--source", source, "--output", "file/generated", folder=tmp_path), 1)
    assert "file/generated" in line


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit on this system")
@pytest.mark.parametrize("most", [0, 100, 4000])
def test_a_full_disk_exits_with_1_and_leaves_no_trace(source, tmp_path, most):
    program = (
        "import resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most}))\n"
        "from codegen.cli import main\n"
        "main(['generate', '--source', 'source'])\n"
    )
    before = tree(tmp_path)
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert re.search("File too large|No usable temporary directory", failure(done, 1))
    assert tree(tmp_path) == before


def nowhere(tmp_path: Path) -> dict[str, str]:
    """An environment in which pip reaches no index."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    links = tmp_path / "links"
    links.mkdir()
    found = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(links)}
    return kept | found | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path / "home")}


@pytest.mark.parametrize(
    ("on_index", "code", "words"),
    [
        ([], 1, "neither installed nor cached, and pip finds no wheel of timm"),
        (["1.0.20", "1.0.21"], 2, "there is no timm 0.0.1: the releases nearest to it are 1.0.20, 1.0.21"),
    ],
)
def test_a_release_that_cannot_be_had_is_one_line_and_an_exit_code(tmp_path, monkeypatch, on_index, code, words):
    monkeypatch.setattr(os, "environ", nowhere(tmp_path))
    for version in on_index:
        (tmp_path / "links" / f"timm-{version}-py3-none-any.whl").write_bytes(b"")
    done = timm_split("generate", "--timm-version", "0.0.1", folder=tmp_path)
    announced, line = done.stderr.splitlines()
    assert announced == "downloading timm 0.0.1 ..."
    assert (done.returncode, done.stdout) == (code, "")
    assert line.startswith("error: ")
    assert words in line
    assert not (tmp_path / "generated").exists()
