"""Types hold for users: two type checkers accept typical user code, and find the mistakes in it that it marks."""

import subprocess
import sys
from pathlib import Path

from sources import CHECKOUT

HERE = Path(__file__).parent


def check(*command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_finds_just_the_types_that_user_code_asserts(pytestconfig):
    cache = pytestconfig.cache.mkdir("mypy")
    # what is wrong inside generated/ and timm, whose statements have few types, is no error of the user's
    options = ["--config-file=", "--strict", "--follow-imports=silent", f"--cache-dir={cache}"]
    check("mypy", *options, str(HERE / "user_code.py"))


def test_pyright_finds_just_the_types_that_user_code_asserts():
    check("pyright", "--pythonpath", sys.executable, "--project", str(HERE))
