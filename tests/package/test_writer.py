"""The writer against real processes that are killed, disks that are full, and directories that are not ours."""

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import codegen
from codegen.errors import TimmSplitError, UsageError
from codegen.manifest import FORMAT, digest_of
from codegen.package import writer
from codegen.package.writer import differences, edited, write_package

PYTHONPATH = os.pathsep.join([str(Path(codegen.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])


def package(body: str, names: tuple[str, ...] = ("__init__.py", "vit.py")) -> dict[str, str]:
    files = {name: f"{body} = '{name}'\n" for name in names}
    manifest = {"generator": "timm-split", "format": 1, "timm_version": None, "files": [*names, "manifest.json"]}
    return files | {"manifest.json": json.dumps(manifest)}


OLD = package("old", ("__init__.py", "vit.py", "swin.py"))
NEW = package("new", ("__init__.py", "vit.py", "eva.py"))


def held(directory: Path) -> dict[str, str]:
    paths = (path for path in directory.rglob("*") if not path.is_dir())
    return {path.relative_to(directory).as_posix(): path.read_bytes().decode() for path in paths}


def snapshot(directory: Path) -> dict[str, tuple[int, int, int]]:
    paths = [directory, *directory.rglob("*")]
    return {str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns, path.lstat().st_mode) for path in paths}


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": PYTHONPATH}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(params=["exchange", "rename", "remove"])
def swap(request, monkeypatch):
    """Every way to replace a directory: one of them is this system's, the others are those of others."""
    if request.param != "exchange":
        monkeypatch.setattr(writer, "_exchange", lambda one, other: False)
    if request.param == "remove":
        rename = Path.rename

        def rename_as_in_a_container(path, target):
            if path.name == "generated":
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", rename_as_in_a_container)
    return request.param


def test_a_missing_directory_is_made_with_its_parents(tmp_path):
    output = tmp_path / "a" / "b" / "generated"
    write_package(output, NEW | {"deep/er/file.py": "x = 1\n"})
    assert held(output) == NEW | {"deep/er/file.py": "x = 1\n"}
    assert os.listdir(output.parent) == ["generated"]


def test_an_empty_directory_is_filled(tmp_path, swap):
    output = tmp_path / "generated"
    output.mkdir()
    write_package(output, NEW)
    assert held(output) == NEW


def test_an_older_package_is_replaced_and_nothing_is_left_beside_it(tmp_path, swap):
    output = tmp_path / "generated"
    write_package(output, OLD)
    (output / "__pycache__").mkdir()
    (output / "__pycache__" / "vit.cpython-311.pyc").write_bytes(b"bytecode")
    write_package(output, NEW)
    assert held(output) == NEW
    assert os.listdir(tmp_path) == ["generated"]


def test_text_is_written_as_utf_8_with_its_own_line_ends(tmp_path):
    write_package(tmp_path / "generated", NEW | {"vit.py": "# ä\r\nx = 1\n"})
    assert (tmp_path / "generated" / "vit.py").read_bytes() == b"# \xc3\xa4\r\nx = 1\n"


def test_the_same_package_again_touches_nothing(tmp_path):
    output = tmp_path / "generated"
    write_package(output, NEW)
    (output / "__pycache__").mkdir()
    before = snapshot(tmp_path)
    write_package(output, dict(reversed(NEW.items())))
    assert snapshot(tmp_path) == before


def test_the_new_directory_has_the_mode_of_the_old_one_or_that_of_the_umask(tmp_path):
    output = tmp_path / "generated"
    umask = os.umask(0o027)
    try:
        write_package(output, OLD)
        assert output.stat().st_mode & 0o777 == 0o750
        assert (output / "vit.py").stat().st_mode & 0o777 == 0o640
        output.chmod(0o705)
        write_package(output, NEW)
        assert output.stat().st_mode & 0o777 == 0o705
    finally:
        os.umask(umask)


@pytest.mark.parametrize("foreign", ["notes.txt", "sub/notes.py", ".hidden", "link", "linked"])
def test_a_directory_with_a_foreign_file_is_refused_unless_forced(tmp_path, foreign):
    output = tmp_path / "generated"
    write_package(output, OLD)
    (output / foreign).parent.mkdir(exist_ok=True)
    if foreign.startswith("link"):
        (output / foreign).symlink_to(tmp_path if foreign == "linked" else tmp_path / "nowhere")
    else:
        (output / foreign).write_text("mine")
    before = snapshot(tmp_path)
    with pytest.raises(UsageError, match=rf"did not write \({foreign}\).*--force"):
        write_package(output, NEW)
    assert snapshot(tmp_path) == before
    write_package(output, NEW, force=True)
    assert held(output) == NEW
    assert os.listdir(tmp_path) == ["generated"]


@pytest.mark.parametrize(
    "manifest",
    [
        None,
        "",
        "[]",
        "3",
        "{",
        "[" * 100_000,
        '{"files": ["vit.py"]}',
        '{"generator": "other", "format": 2, "timm_version": null, "files": ["vit.py"]}',
        '{"generator": "timm-split", "format": 2, "timm_version": null, "files": ["../vit.py"]}',
    ],
)
def test_a_directory_without_a_manifest_of_ours_is_refused(tmp_path, manifest):
    (tmp_path / "generated").mkdir()
    (tmp_path / "generated" / "vit.py").write_text("mine")
    if manifest is not None:
        (tmp_path / "generated" / "manifest.json").write_text(manifest)
    with pytest.raises(UsageError, match=r"vit\.py"):
        write_package(tmp_path / "generated", NEW)
    assert (tmp_path / "generated" / "vit.py").read_text() == "mine"


@pytest.mark.parametrize(
    "manifest",
    [
        '{"generator": "timm-split"}',
        '{"generator": "timm-split", "format": 2, "timm_version": null, "files": 3}',
        '{"generator": "timm-split", "format": 2, "timm_version": null, "files": [{}]}',
        '{"generator": "timm-split", "format": 2, "timm_ver',
        '{"generator": "timm-split", "format": 4, "timm_version": null, "files": ["vit.py"], "digests": []}',
    ],
)
def test_a_damaged_manifest_of_ours_is_reported_and_replaced_if_forced(tmp_path, manifest):
    output = tmp_path / "generated"
    output.mkdir()
    (output / "vit.py").write_text("mine")
    (output / "manifest.json").write_text(manifest)
    with pytest.raises(UsageError, match=r"manifest\.json is damaged \(.*\): generate the package again, with --force"):
        write_package(output, NEW)
    assert (output / "vit.py").read_text() == "mine"
    write_package(output, NEW, force=True)
    assert held(output) == NEW


def with_digests(files: dict[str, str]) -> dict[str, str]:
    manifest = json.loads(files["manifest.json"]) | {"format": FORMAT}
    manifest["digests"] = {name: digest_of(text.encode()) for name, text in files.items() if name != "manifest.json"}
    return files | {"manifest.json": json.dumps(manifest)}


def test_a_file_that_was_edited_by_hand_is_not_overwritten_unless_forced(tmp_path, swap):
    output = tmp_path / "generated"
    write_package(output, with_digests(OLD))
    (output / "vit.py").write_text("mine")
    before = snapshot(tmp_path)
    with pytest.raises(UsageError, match=r"was edited by hand since it was generated \(vit\.py\): .* --force"):
        write_package(output, with_digests(NEW))
    assert snapshot(tmp_path) == before
    assert edited(output) == ("vit.py",)
    write_package(output, with_digests(NEW), force=True)
    assert held(output) == with_digests(NEW)
    assert edited(output) == ()


def test_what_another_generator_version_wrote_is_overwritten(tmp_path):
    output = tmp_path / "generated"
    write_package(output, with_digests(OLD))
    write_package(output, with_digests(NEW))
    assert held(output) == with_digests(NEW)


def test_an_edit_that_loses_nothing_is_none(tmp_path):
    output = tmp_path / "generated"
    write_package(output, with_digests(OLD))
    (output / "swin.py").unlink()  # gone
    (output / "vit.py").write_text(NEW["vit.py"])  # what is written now
    (output / "__init__.py").write_bytes(OLD["__init__.py"].replace("\n", "\r\n").encode())  # as git has it on Windows
    write_package(output, with_digests(NEW))
    assert held(output) == with_digests(NEW)


def test_of_a_manifest_without_digests_nothing_counts_as_edited(tmp_path):
    output = tmp_path / "generated"
    write_package(output, OLD)
    (output / "vit.py").write_text("mine")
    assert edited(output) == ()
    write_package(output, NEW)
    assert held(output) == NEW


def test_of_many_foreign_files_the_first_three_are_named(tmp_path):
    for name in "abcde":
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match=r"\(a, b, c and 2 more\)"):
        write_package(tmp_path, NEW)


def test_a_file_in_place_of_the_directory_is_refused_even_if_forced(tmp_path):
    (tmp_path / "generated").write_text("mine")
    (tmp_path / "link").symlink_to("generated")
    for name in ("generated", "link"):
        with pytest.raises(UsageError, match="is a file"):
            write_package(tmp_path / name, NEW, force=True)
    assert (tmp_path / "generated").read_text() == "mine"


def test_a_file_in_place_of_a_parent_is_an_error(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(TimmSplitError, match="cannot write"):
        write_package(tmp_path / "file" / "generated", NEW)
    assert (tmp_path / "file").read_text() == "mine"


def test_the_current_directory_and_what_holds_it_are_refused_even_if_forced(tmp_path, monkeypatch):
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    for output in (Path(), tmp_path, Path("/")):
        with pytest.raises(UsageError, match="current directory"):
            write_package(output, NEW, force=True)
    assert held(tmp_path) == {}


@pytest.mark.parametrize("made", [True, False])
def test_a_link_to_a_directory_is_followed_and_stays(tmp_path, made):
    (tmp_path / "real").mkdir()
    if made:
        write_package(tmp_path / "real" / "package", OLD)
    (tmp_path / "generated").symlink_to(Path("real", "package"))
    write_package(tmp_path / "generated", NEW)
    assert (tmp_path / "generated").readlink() == Path("real", "package")
    assert held(tmp_path / "real" / "package") == NEW
    assert sorted(os.listdir(tmp_path)) == ["generated", "real"]
    assert os.listdir(tmp_path / "real") == ["package"]


def test_a_loop_of_links_is_an_error(tmp_path):
    (tmp_path / "generated").symlink_to("generated")
    with pytest.raises(TimmSplitError, match="cannot write"):
        write_package(tmp_path / "generated", NEW)
    assert (tmp_path / "generated").is_symlink()


def test_files_of_others_beside_the_package_stay(tmp_path):
    names = [".generated.bak", ".generated.timm-splitter", ".generated2.timm-split-next"]
    for name in names:
        (tmp_path / name).mkdir()
    write_package(tmp_path / "generated", NEW)
    assert sorted(os.listdir(tmp_path)) == sorted([*names, "generated"])


# Interruptions

# Writes NEW over OLD in a child which is killed at the n-th thing it does to the file system, for n = 1, 2, ... until
# a child gets through; then again over what it left. Prints what is in the directory after each, and beside it.
KILLED_EVERYWHERE = """
import errno, json, os, signal, sys
from pathlib import Path
from codegen.package import writer
from codegen.package.writer import write_package

base, way, old, new = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
events = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.scandir", "shutil.rmtree"}
rename = Path.rename

def renames(path, target):
    if way == "remove" and path.name == "generated":
        raise OSError(errno.EXDEV, "")
    return rename(path, target)

if way != "exchange":
    writer._exchange = lambda one, other: False
    Path.rename = renames

def held():
    return {p.name: p.read_text() for p in output.iterdir()} if output.is_dir() else None

def child(n):
    pid = os.fork()
    if pid == 0:
        left = n
        def count(event, arguments):
            nonlocal left
            if event in events:
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(count)
        write_package(output, new)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0

for n in range(1, 1000):
    output = base / str(n) / "generated"
    write_package(output, old)
    through = child(n)
    killed = held()
    write_package(output, killed if killed in (old, new) else new)
    print(json.dumps([killed, held(), os.listdir(output.parent)]))
    if through:
        break
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("way", ["exchange", "rename", "remove"])
def test_killed_at_any_step_it_leaves_the_old_package_or_the_new_one_and_the_next_run_leaves_no_trace(tmp_path, way):
    done = run(KILLED_EVERYWHERE, tmp_path, way, json.dumps(OLD), json.dumps(NEW))
    assert done.returncode == 0, done.stderr
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(outcomes) > 20
    assert outcomes[-1][0] == NEW
    for killed, then, beside in outcomes:
        assert beside == ["generated"]
        if way == "exchange" and sys.platform == "linux":
            assert killed in (OLD, NEW)
            assert then == killed
        else:
            assert then in (OLD, NEW)
    assert OLD in [killed for killed, _, _ in outcomes]


def test_killed_at_random_moments_it_leaves_the_old_package_or_the_new_one(tmp_path):
    script = """
import json, sys
from pathlib import Path
from codegen.package.writer import write_package
packages = [json.loads(Path(path).read_text()) for path in sys.argv[2:]]
write_package(Path(sys.argv[1]), packages[0])
print("ready", flush=True)
while True:
    for package in packages:
        write_package(Path(sys.argv[1]), package)
"""
    names = tuple(f"module{i}.py" for i in range(40))
    packages = [package(body * 500, names) for body in ("old", "new")]
    for i, files in enumerate(packages):
        (tmp_path / f"{i}.json").write_text(json.dumps(files))
    output = tmp_path / "out" / "generated"
    found = []
    for i in range(12):
        command = [sys.executable, "-c", script, str(output), str(tmp_path / "0.json"), str(tmp_path / "1.json")]
        environment = os.environ | {"PYTHONPATH": PYTHONPATH}
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
            process.stdout.readline()
            time.sleep(0.0071 * i)
            process.kill()
        found.append(held(output))
    assert all(files in packages for files in found)
    write_package(output, packages[0])
    assert os.listdir(output.parent) == ["generated"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(errno.EIO, os.strerror(errno.EIO))])
@pytest.mark.parametrize("calls", range(1, 6))
def test_interrupted_while_it_writes_it_leaves_the_old_package_and_no_trace(tmp_path, monkeypatch, error, calls):
    write_package(tmp_path / "generated", OLD)
    before = snapshot(tmp_path / "generated")
    left = calls

    def interrupted(descriptor):
        nonlocal left
        left -= 1
        if not left:
            raise error

    monkeypatch.setattr(os, "fsync", interrupted)
    if calls > len(NEW):
        write_package(tmp_path / "generated", NEW)
        assert held(tmp_path / "generated") == NEW
    else:
        with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else TimmSplitError):
            write_package(tmp_path / "generated", NEW)
        assert snapshot(tmp_path / "generated") == before
    assert os.listdir(tmp_path) == ["generated"]


# Writes NEW over OLD in a child in which the n-th thing that it does to the file system fails, for n = 1, 2, ... until
# a child gets through. Prints whether it was an error, and what is in the directory; then again after another run.
FAULTS_EVERYWHERE = """
import errno, json, os, sys
from pathlib import Path
from codegen.errors import TimmSplitError
from codegen.package import writer
from codegen.package.writer import write_package

base, way, old, new = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
events = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.scandir", "os.listdir", "os.utime"}
rename, fsync = Path.rename, os.fsync
left = 0

def count(event, arguments):
    global left
    if event in events:
        left -= 1
        if not left:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

def renames(path, target):
    if way == "remove" and path.name == "generated":
        raise OSError(errno.EXDEV, "")
    return rename(path, target)

def fsyncs(descriptor):
    count("open", ())
    fsync(descriptor)

if way != "exchange":
    writer._exchange = lambda one, other: False
    Path.rename = renames
os.fsync = fsyncs

def held():
    return {p.name: p.read_text() for p in output.iterdir()} if output.is_dir() else None

def child(n):
    global left
    pid = os.fork()
    if pid == 0:
        sys.addaudithook(count)
        left = n
        try:
            write_package(output, new)
        except TimmSplitError:
            os._exit(3)
        except BaseException:
            os._exit(4)
        os._exit(0 if left <= 0 else 2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

for n in range(1, 1000):
    output = base / str(n) / "generated"
    write_package(output, old)
    code, then = child(n), held()
    write_package(output, new)
    print(json.dumps([code, then, held(), os.listdir(output.parent)]))
    if code == 2:
        break
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("way", ["exchange", "rename", "remove"])
def test_whatever_call_fails_it_leaves_the_old_package_or_the_new_one_and_the_next_run_leaves_no_trace(tmp_path, way):
    done = run(FAULTS_EVERYWHERE, tmp_path, way, json.dumps(OLD), json.dumps(NEW))
    assert done.returncode == 0, done.stderr
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(outcomes) > 20
    for code, then, again, beside in outcomes:
        assert (code, then) in [(0, NEW), (2, NEW), (3, OLD)]  # an error says that it is left as it was
        assert again == NEW
        assert beside == ["generated"]
    assert {code for code, *_ in outcomes} == {0, 2, 3}


def test_interrupted_between_two_renames_it_takes_the_first_back(tmp_path, monkeypatch):
    write_package(tmp_path / "generated", OLD)
    monkeypatch.setattr(writer, "_exchange", lambda one, other: False)
    rename = Path.rename

    def interrupted(path, target):
        rename(path, target)
        if path.name == "generated":
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_package(tmp_path / "generated", NEW)
    assert held(tmp_path / "generated") == OLD
    assert os.listdir(tmp_path) == ["generated"]


def test_where_the_old_directory_can_neither_be_renamed_nor_exchanged_it_stays(tmp_path, monkeypatch):
    write_package(tmp_path / "generated", OLD)
    monkeypatch.setattr(writer, "_exchange", lambda one, other: False)
    rename = Path.rename

    def busy(path, target):
        if path.name == "generated":
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", busy)
    with pytest.raises(TimmSplitError, match="busy"):
        write_package(tmp_path / "generated", NEW)
    assert held(tmp_path / "generated") == OLD
    assert os.listdir(tmp_path) == ["generated"]


def test_where_neither_the_second_rename_nor_its_undoing_works_the_message_says_where_the_old_package_is(
    tmp_path, monkeypatch
):
    write_package(tmp_path / "generated", OLD)
    monkeypatch.setattr(writer, "_exchange", lambda one, other: False)
    rename = Path.rename

    def fails(path, target):
        if Path(target).name == "generated":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", fails)
        with pytest.raises(TimmSplitError, match=r"what it held is in .*\.generated\.timm-split-old"):
            write_package(tmp_path / "generated", NEW)
    assert held(tmp_path / ".generated.timm-split-old") == OLD
    write_package(tmp_path / "generated", NEW)
    assert held(tmp_path / "generated") == NEW
    assert os.listdir(tmp_path) == ["generated"]


def test_two_runs_at_once_leave_one_complete_package(tmp_path):
    script = """
import json, sys
from pathlib import Path
from codegen.package.writer import write_package
for _ in range(15):
    for package in json.loads(sys.argv[2]):
        write_package(Path(sys.argv[1]), package)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "generated"), json.dumps([OLD, NEW])]
    environment = os.environ | {"PYTHONPATH": PYTHONPATH}
    processes = [subprocess.Popen(command, env=environment) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert held(tmp_path / "generated") == NEW
    assert os.listdir(tmp_path) == ["generated"]


FULL_DISK = """
import json, resource, sys
from pathlib import Path
from codegen.errors import TimmSplitError
from codegen.package.writer import write_package
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_package(Path(sys.argv[1]), json.loads(sys.argv[2]) | {"vit.py": "x = 1\\n" * 1000})
except TimmSplitError as error:
    sys.exit(f"{error.exit_code} {error}")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit on this system")
def test_when_the_system_takes_no_more_bytes_the_old_package_stays(tmp_path):
    write_package(tmp_path / "generated", OLD)
    before = snapshot(tmp_path)
    done = run(FULL_DISK, tmp_path / "generated", json.dumps(NEW))
    assert done.stderr.startswith("1 cannot write")
    assert "File too large" in done.stderr
    after = snapshot(tmp_path)
    assert after.keys() == before.keys()
    assert after[str(tmp_path / "generated")] == before[str(tmp_path / "generated")]
    assert held(tmp_path / "generated") == OLD


UNPRIVILEGED = """
import json, os, sys
from pathlib import Path
from codegen.errors import TimmSplitError
from codegen.package.writer import write_package
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    write_package(Path(sys.argv[1]), json.loads(sys.argv[2]))
except TimmSplitError as error:
    sys.exit(f"{error.exit_code} {error}")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such permissions on this system")
@pytest.mark.parametrize("protected", ["the parent", "the directory"])
def test_where_one_may_not_write_the_old_package_stays(protected):
    # Not in tmp_path, into which the user nobody may not even look.
    base = Path(tempfile.mkdtemp())
    output = base / "generated"
    try:
        write_package(output, OLD)
        modes = {base: 0o555 if protected == "the parent" else 0o777, output: 0o555}
        for path, mode in modes.items():
            path.chmod(mode)
        before = snapshot(base)
        done = run(UNPRIVILEGED, output, json.dumps(NEW))
        assert done.stderr.startswith("1 cannot write")
        assert "Permission denied" in done.stderr
        assert snapshot(base) == before
        same = run(UNPRIVILEGED, output, json.dumps(OLD))
        assert (same.returncode, same.stderr) == (0, "")
    finally:
        base.chmod(0o755)
        output.chmod(0o755)
        shutil.rmtree(base)


# Differences


def test_there_are_no_differences_after_writing(tmp_path):
    write_package(tmp_path / "generated", NEW)
    (tmp_path / "generated" / "__pycache__").mkdir()
    (tmp_path / "generated" / "__pycache__" / "vit.pyc").touch()
    assert differences(tmp_path / "generated", NEW) == ()


def test_differences_are_a_unified_diff_in_the_order_of_the_names(tmp_path):
    write_package(tmp_path / "generated", package("old", ("b.py", "a.py")) | {"gone.py": "gone\n"})
    wanted = package("new", ("b.py", "a.py")) | {"come.py": "come\n"}
    assert differences(tmp_path / "generated", wanted) == (
        "--- a/a.py",
        "+++ b/a.py",
        "@@ -1 +1 @@",
        "-old = 'a.py'",
        "+new = 'a.py'",
        "--- a/b.py",
        "+++ b/b.py",
        "@@ -1 +1 @@",
        "-old = 'b.py'",
        "+new = 'b.py'",
        "--- /dev/null",
        "+++ b/come.py",
        "@@ -0,0 +1 @@",
        "+come",
        "--- a/gone.py",
        "+++ /dev/null",
        "@@ -1 +0,0 @@",
        "-gone",
    )


def test_everything_differs_from_a_missing_directory(tmp_path):
    assert differences(tmp_path / "generated", {"a.py": "x\n"})[-1] == "+x"
    assert not (tmp_path / "generated").exists()


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        (b"x", b"x\n", ("-x", "\\ No newline at end of file", "+x")),
        (b"x\r\n", b"x\n", ("-x\r", "+x")),
        (b"\xff\n", "\N{REPLACEMENT CHARACTER}\n".encode(), ("-\\xff", "+\N{REPLACEMENT CHARACTER}")),
        (b"", b"", None),
        (b"x\x0cy\n", b"x\ny\n", ("-x\x0cy", "+x", "+y")),
    ],
)
def test_any_differing_byte_is_a_difference(tmp_path, old, new, shown):
    (tmp_path / "a.py").write_bytes(old)
    lines = differences(tmp_path, {"a.py": new.decode()})
    assert lines[3:] == shown if shown else lines == ()


def test_an_empty_file_that_comes_is_a_difference(tmp_path):
    assert differences(tmp_path, {"a.py": ""}) == ("--- /dev/null", "+++ b/a.py")
