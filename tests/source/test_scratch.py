"""Directories for the length of a run."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from codegen.package.writer import write_package
from codegen.source import scratch
from codegen.source.scratch import scratch_directory

HOLDS = """
import sys
from pathlib import Path
from codegen.source.scratch import scratch_directory
with scratch_directory(Path(sys.argv[1])) as directory:
    (directory / "file").touch()
    print(directory, flush=True)
    sys.stdin.read()
"""


def test_a_directory_goes_with_its_block(tmp_path):
    with scratch_directory(tmp_path) as directory:
        (directory / "file").touch()
        assert os.listdir(tmp_path) == [directory.parent.name]
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no locks on directories on this system")
def test_what_a_killed_run_left_goes_with_the_next_and_what_is_in_use_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, "_UNLOCKED", -1.0)
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(Path(scratch.__file__).parents[2])}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        held = Path(process.stdout.readline().strip())
        with scratch_directory(tmp_path):
            assert held.is_dir()
        process.send_signal(signal.SIGKILL)
    assert held.is_dir()
    with scratch_directory(tmp_path):
        assert not held.exists()
    assert os.listdir(tmp_path) == []


def test_a_package_can_be_written_there(tmp_path):
    with scratch_directory(tmp_path) as directory:
        write_package(directory / "generated", {"a.py": "x = 1\n"})
        assert (directory / "generated" / "a.py").exists()


def test_files_of_others_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, "_UNLOCKED", -1.0)
    (tmp_path / "timm-split-mine").mkdir()
    with scratch_directory(tmp_path):
        pass
    assert os.listdir(tmp_path) == ["timm-split-mine"]
