"""Another release is proved side by side with the installed one."""

import sys
import zipfile
from pathlib import Path

import pytest

from codegen.errors import UsageError
from codegen.proof.other_release import import_root, verify_release
from codegen.source.release import find_release
from codegen.types import Release


def test_a_wheel_is_imported_as_it_is(tmp_path: Path) -> None:
    wheel = tmp_path / "timm-9.9.9-py3-none-any.whl"
    wheel.touch()
    assert import_root(Release("9.9.9", str(wheel), {})) == wheel


def test_a_package_is_imported_from_the_directory_that_holds_it(tmp_path: Path) -> None:
    package = tmp_path / "timm"
    package.mkdir()
    assert import_root(Release("9.9.9", str(package), {})) == tmp_path
    assert import_root(Release("9.9.9", str(tmp_path), {})) == tmp_path


def test_an_sdist_cannot_be_imported(tmp_path: Path) -> None:
    sdist = tmp_path / "timm-9.9.9.tar.gz"
    sdist.touch()
    with pytest.raises(UsageError, match="unpack it"):
        import_root(Release("9.9.9", str(sdist), {}))


def test_a_release_in_a_wheel_is_proved_against_itself(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The installed timm under another version number: only what was imported from the wheel can agree with it."""
    wheel = tmp_path / "timm-1.0.31.1-py3-none-any.whl"
    package = Path(find_release(None).origin)
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in sorted(package.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                data = path.read_bytes()
                if path.name == "version.py":
                    data = b"__version__ = '1.0.31.1'\n"
                archive.writestr(f"timm/{path.relative_to(package).as_posix()}", data)
    release = find_release(None, wheel)
    assert verify_release(release, ["test_vit", "--jobs", "1"]) == 0
    assert "1 of 1 names hold" in capfd.readouterr().out
    assert "timm" not in sys.modules or sys.modules["timm"].__version__ != "1.0.31.1"
