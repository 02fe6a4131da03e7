"""``timm-split verify`` as a process, on a package of a few names."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import codegen

ROOT = Path(codegen.__file__).parents[1]


def start(directory, *arguments):
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-m", "codegen", "verify", *map(str, arguments)],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_interrupts,
    )


def _heed_interrupts():
    """A process in the background of a shell without job control ignores Ctrl-C, and so do its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def verify(directory, *arguments):
    process = start(directory, *arguments)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def test_what_holds_what_fails_what_was_not_run_and_what_is_refused(package):
    names = ["test_vit", "test_vit2", "test_vit3", "test_vit4", "test_resnet"]
    code, out, err = verify(package.parent, *names, "--package", package.name, "--json", "out.json", "--numeric")
    report = json.loads((package.parent / "out.json").read_text())
    assert {result["name"]: result["verdict"] for result in report["names"]} == {
        "test_vit": "holds",
        "test_vit2": "fails",
        "test_vit3": "not run",
        "test_vit4": "holds",
    }
    assert "the manifest does not have this name" in out
    assert "boundary: forward_stages runs reg_token, which belongs to the embedding" in out
    assert "2 of 4 names hold; 1 not run" in out
    assert "1 refused: ResNet (1)" in out
    assert [result["name"] for result in report["numbers"]] == ["test_vit"]  # the smallest of its class
    assert report["numbers"][0]["verdict"] == "holds"
    assert code == 1
    assert "Traceback" not in err


def test_what_holds_exits_with_zero_and_plain_lines(package):
    code, out, err = verify(package.parent, "test_vit", "test_resnet", "--package", package, "--jobs", "1")
    assert code == 0
    assert "1 of 1 names hold; 1 refused: ResNet (1)" in out
    assert err == "ops: 1 of 1\n"
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["test_vitt", "--package", "handmade"], "did you mean test_vit"),
        (["test_vit", "--package", "elsewhere"], "is not a package that timm-split generated"),
        (["test_vit", "--package", "handmade", "--json", "missing/out.json"], "is not a directory"),
    ],
)
def test_what_cannot_be_proved_is_one_line_and_exit_code_2(package, arguments, message):
    code, out, err = verify(package.parent, *arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert not out


def test_a_package_that_cannot_be_imported_is_one_line_and_exit_code_1(package):
    (package / "__init__.py").write_text("import no_such_module\n")
    code, _, err = verify(package.parent, "test_vit", "--package", package)
    assert code == 1
    assert "No module named 'no_such_module'" in err
    assert err.count("\n") == 1


def test_what_a_dying_worker_leaves_undone_was_not_run(package):
    (package / "__init__.py").write_text("import os\n\n\ndef split(model):\n    os._exit(9)\n")
    code, out, err = verify(package.parent, "test_vit", "test_vit2", "--package", package, "--jobs", "1", "--numeric")
    assert code == 1
    assert "not run  test_vit  ops: a worker process died" in out
    assert "0 of 2 names hold; 2 not run" in out
    assert "Traceback" not in err


def test_ctrl_c_ends_it_and_its_workers(package):
    manifest = json.loads((package / "manifest.json").read_text())
    many = {**next(iter(manifest["classes"].values())), "models": ["test_vit", *BIG]}
    manifest["classes"] = {next(iter(manifest["classes"])): many}
    (package / "manifest.json").write_text(json.dumps(manifest))
    process = start(package.parent, "test_vit", *BIG, "--package", package, "--jobs", "2")
    assert process.stderr is not None
    line = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)  # ends when the workers, which share its pipes, have ended
    assert line.startswith("ops: 1 of ")
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.endswith("interrupted\n")


BIG = [f"vit_{size}_patch16_{pixels}" for size in ("tiny", "small", "base", "large") for pixels in (224, 384)]
