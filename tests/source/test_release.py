"""Where a release's source is found, against real archives, a real pip, and no network."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tracemalloc
import venv
import zipfile
from pathlib import Path

import pytest

import codegen
from codegen.errors import TimmSplitError, UsageError
from codegen.generate import generate
from codegen.source import release
from codegen.source.release import find_release
from codegen.types import Release

INSTALLED = release._installed
PYTHONPATH = os.pathsep.join([str(Path(codegen.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])


def timm(version: str = "1.0.20") -> dict[str, str]:
    return {
        "timm/__init__.py": "from .version import __version__\n",
        "timm/version.py": f"__version__ = '{version}'\n",
        "timm/models/__init__.py": "",
        "timm/models/eva.py": "class Eva: pass\n",
        "timm/models/layers/__init__.py": "",
        "timm/layers/mlp.py": "class Mlp: pass\n",
    }


def beside() -> dict[str, str]:
    """What a distribution holds that is not read."""
    return {
        "timm/data/loader.py": "",
        "timm/models/eva.txt": "",
        "timm/models/._eva.py": "\0",
        "timm/models/eva.orig.py": "",
        "setup.py": "raise SystemExit('executed')\n",
    }


def write_tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def write_zip(path: Path, files: dict[str, str | bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_wheel(
    directory: Path, version: str = "1.0.20", files: dict[str, str] | None = None, metadata: str | None = None
) -> Path:
    info = f"timm-{version}.dist-info"
    files = (timm(version) if files is None else files) | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: timm\nVersion: {metadata or version}\n\nVersion: text\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    return write_zip(directory / f"timm-{version}-py3-none-any.whl", files)


def write_tar(path: Path, files: dict[str, str], root: str = "timm-1.0.20/") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(root + name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


class Index:
    """A directory from which the real pip takes its wheels, and a log of what is announced."""

    def __init__(self, directory: Path, cache: Path) -> None:
        self.directory = directory
        self.cache = cache
        self.announced: list[str] = []

    def add(self, *versions: str) -> None:
        for version in versions:
            write_wheel(self.directory, version)

    def find(self, version: str | None) -> Release:
        return find_release(version, announce=self.announced.append)

    def cached(self) -> list[str]:
        return sorted(os.listdir(self.cache)) if self.cache.exists() else []


@pytest.fixture
def index(tmp_path, monkeypatch):
    """An empty package index, an empty cache, and no timm installed."""
    links = tmp_path / "links"
    links.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(release, "_installed", dict)
    return Index(links, release._cache_directory())


@pytest.fixture
def no_pip(monkeypatch):
    def fail(*arguments):
        raise AssertionError(f"pip was run: {arguments}")

    monkeypatch.setattr(subprocess, "run", fail)


def refused(source: Path, version: str | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        find_release(version, source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# A source that the caller names


@pytest.mark.parametrize("kind", ["root", "package", "renamed package", "wheel", "tar", "tar without root", "zip"])
def test_every_kind_of_source_gives_the_same_files(tmp_path, no_pip, kind):
    files = timm() | beside()
    if kind == "root":
        source = write_tree(tmp_path / "checkout", files)
    elif kind == "package":
        source = write_tree(tmp_path / "checkout", files) / "timm"
    elif kind == "renamed package":
        source = (write_tree(tmp_path / "checkout", files) / "timm").rename(tmp_path / "timm-fork")
    elif kind == "wheel":
        source = write_wheel(tmp_path, files=files)
    elif kind == "tar":
        source = write_tar(tmp_path / "timm-1.0.20.tar.gz", files)
    elif kind == "tar without root":
        source = write_tar(tmp_path / "timm.tgz", files, root="./")
    else:
        source = write_zip(tmp_path / "timm.zip", {f"timm-1.0.20/{name}": text for name, text in files.items()})
    found = find_release(None, source)
    assert found == Release("1.0.20", str(source), timm())
    assert list(found.files) == sorted(timm())


def test_of_two_copies_in_an_archive_the_outer_one_is_read(tmp_path):
    files = timm() | {f"build/lib/{name}": text for name, text in timm("1.0.3").items()}
    assert find_release(None, write_tar(tmp_path / "timm.tar.gz", files)).version == "1.0.20"


def test_a_link_to_a_source_is_followed(tmp_path):
    write_tree(tmp_path / "checkout", timm())
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "timm").symlink_to(tmp_path / "checkout" / "timm")
    assert find_release(None, tmp_path / "site").files == timm()


def test_text_is_decoded_as_python_decodes_it(tmp_path):
    root = write_tree(tmp_path, timm())
    (root / "timm/models/eva.py").write_bytes(b"# coding: latin-1\r\nx = '\xe4'\r\n")
    (root / "timm/models/__init__.py").write_bytes(b"\xef\xbb\xbfx = '\xc3\xa4'\n")
    files = find_release(None, root).files
    assert files["timm/models/eva.py"] == "# coding: latin-1\nx = 'ä'\n"
    assert files["timm/models/__init__.py"] == "x = 'ä'\n"


@pytest.mark.parametrize(
    "data",
    [b"x = '\xe4'\n", b"\n\n\nx = '\xe4'\n", b"# coding: nonsense\n", b"# coding: utf-16\neven", b"# coding: hex\nx"],
)
def test_a_file_that_does_not_decode_is_named(tmp_path, data):
    root = write_tree(tmp_path, timm())
    (root / "timm/models/eva.py").write_bytes(data)
    assert "timm/models/eva.py" in refused(root)
    assert "timm/models/eva.py" in refused(write_zip(tmp_path / "timm.zip", timm() | {"timm/models/eva.py": data}))


@pytest.mark.parametrize(
    "version", ["1.0.20", "1.0.x", "1.0.*", "1.x", "v1.0.X", "latest", " 1.0.20 ", "1.0.20.0", None]
)
def test_a_source_of_the_version_that_is_asked_for_is_taken(tmp_path, no_pip, version):
    assert find_release(version, write_tree(tmp_path, timm())).version == "1.0.20"


@pytest.mark.parametrize("version", ["1.0.2", "1.0.21", "1.0.20.dev0", "1.1.x", "2.*"])
def test_a_source_of_another_version_is_refused(tmp_path, version):
    assert f"is timm 1.0.20, not {version}" in refused(write_tree(tmp_path, timm()), version)


def test_a_source_that_is_a_prerelease_may_be_asked_for_by_its_series(tmp_path):
    source = write_tree(tmp_path, timm("1.0.32.dev0"))
    assert [find_release(version, source).version for version in ("1.0.x", "latest", "1.0.32.dev0")] == [
        "1.0.32.dev0"
    ] * 3


@pytest.mark.parametrize("version", ["", "x", "*", "one", "1.0.", "1.0.x.1", "1..x", "1.0.31; rm", "--pre", ">=1.0"])
def test_what_is_no_version_is_refused(index, no_pip, version):
    with pytest.raises(UsageError, match=r"is not a version: give one such as"):
        index.find(version)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "__version__ = 1\n",
        "__version__ = f'1.0'\n",
        "__version__ = 'one'\n",
        "__version__ = (",
        "x" + "(" * 9999,
    ],
)
def test_a_source_without_a_plain_version_is_refused(tmp_path, text):
    assert "gives no version" in refused(write_tree(tmp_path, timm() | {"timm/version.py": text}))


def test_a_source_with_null_bytes_is_refused(tmp_path):
    assert "version.py in" in refused(write_tree(tmp_path, timm() | {"timm/version.py": "__version__ = '1'\0"}))


def test_a_wheel_that_contradicts_itself_is_refused(tmp_path):
    assert "contradicts itself" in refused(write_wheel(tmp_path, metadata="1.0.19"))
    site = write_tree(tmp_path / "site", timm() | {"timm-1.0.3.dist-info/METADATA": "Name: timm\nVersion: 1.0.3\n"})
    assert "contradicts itself" in refused(site)
    (site / "timm-1.0.3.dist-info/METADATA").write_text("Name: timm\n")
    assert "contradicts itself" in refused(site)


def test_the_local_version_of_a_packager_contradicts_nothing(tmp_path):
    assert find_release("1.0.20", write_wheel(tmp_path, metadata="1.0.20+local")).version == "1.0.20"


def test_a_missing_source_is_refused(tmp_path):
    assert "does not exist" in refused(tmp_path / "nowhere")
    (tmp_path / "dangling").symlink_to("nowhere")
    assert "does not exist" in refused(tmp_path / "dangling")


def test_a_source_that_is_not_timm_is_refused(tmp_path):
    assert "is not timm" in refused(tmp_path)
    empty = tmp_path / "empty"
    empty.touch()
    assert "is empty" in refused(empty)
    text = tmp_path / "model.txt"
    text.write_text("class Model: ...\n")
    assert "is no .whl, .zip or .tar.gz" in refused(text)
    assert "is not timm" in refused(write_zip(tmp_path / "other.whl", {"torch/version.py": ""}))
    assert "is not timm" in refused(write_zip(tmp_path / "empty.whl", {}))
    assert "is not timm" in refused(write_tar(tmp_path / "other.tar.gz", {"mytimm/version.py": ""}))
    headless = {name: text for name, text in timm().items() if "models" not in name}
    assert "holds no timm/models" in refused(write_tree(tmp_path / "headless", headless))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_is_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "timm.whl")
    refused(tmp_path / "timm.whl")
    root = write_tree(tmp_path / "checkout", timm())
    os.mkfifo(root / "timm/models/pipe.py")
    assert "pipe.py" in refused(root)


@pytest.mark.parametrize("kind", ["wheel", "tar"])
def test_an_archive_cut_anywhere_is_refused(tmp_path, kind):
    path = write_wheel(tmp_path) if kind == "wheel" else write_tar(tmp_path / "timm.tar.gz", timm())
    data = path.read_bytes()
    for size in range(0, len(data), 7):
        path.write_bytes(data[:size])
        refused(path)


@pytest.mark.parametrize("kind", ["wheel", "tar"])
def test_an_archive_with_a_flipped_byte_is_read_unchanged_or_refused(tmp_path, kind):
    path = write_wheel(tmp_path) if kind == "wheel" else write_tar(tmp_path / "timm.tar.gz", timm())
    data = path.read_bytes()
    refusals = 0
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        try:
            found = find_release(None, path)
        except UsageError:
            refusals += 1
        else:
            assert found.files.items() <= timm().items()
    assert refusals > len(data) // 4


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_that_no_wheel_uses_is_refused(tmp_path, method):
    path = write_wheel(tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("timm/models/x.py", "", compress_type=method)
    assert "timm/models/x.py is under a compression that no wheel uses" in refused(path)


@pytest.mark.parametrize("name", ["../timm/models/eva.py", "timm/models/../../x.py", "/timm/models/eva.py", "/etc/x"])
def test_names_that_lead_out_of_an_archive_are_refused(tmp_path, name):
    assert "leads out of it" in refused(write_zip(tmp_path / "timm.whl", timm() | {name: ""}))
    assert "leads out of it" in refused(write_tar(tmp_path / "timm.tar.gz", timm() | {name: ""}, root=""))


def test_of_two_members_of_one_name_the_last_is_read_as_it_would_be_installed(tmp_path):
    again = {"./timm/models/eva.py": "class Other: pass\n"}
    for source in (
        write_zip(tmp_path / "timm.zip", timm() | again),
        write_tar(tmp_path / "timm.tar.gz", timm() | again, root=""),
    ):
        assert find_release(None, source).files["timm/models/eva.py"] == "class Other: pass\n"


def test_a_release_with_syntax_that_this_python_does_not_know_is_refused_with_file_and_line(tmp_path):
    wheel = write_wheel(tmp_path, files=timm() | {"timm/models/new.py": "x = 1\nclass New(nn.Module:\n"})
    with pytest.raises(TimmSplitError, match=r"^timm/models/new\.py:2 does not parse: .* newer Python") as caught:
        generate(find_release(None, wheel))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_in_an_archive_are_not_followed(tmp_path, kind):
    secret = tmp_path / "secret.py"
    secret.write_text("secret = 1\n")
    path = tmp_path / "timm.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(write_tree(tmp_path / "checkout", timm()) / "timm", "timm")
        link = tarfile.TarInfo("timm/models/link.py")
        link.type = kind
        link.linkname = str(secret)
        archive.addfile(link)
    assert "timm/models/link.py" in refused(path)
    wheel = write_wheel(tmp_path)
    with zipfile.ZipFile(wheel, "a") as archive:
        info = zipfile.ZipInfo("timm/models/link.py")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, str(secret))
    assert "timm/models/link.py" in refused(wheel)


def test_absurd_sizes_are_refused(tmp_path, monkeypatch):
    big = "#" * 50_000
    monkeypatch.setattr(release, "_MEMBER_LIMIT", 40_000)
    for source in (
        write_wheel(tmp_path, files=timm() | {"timm/models/big.py": big}),
        write_tar(tmp_path / "timm.tar.gz", timm() | {"timm/models/big.py": big}),
        write_tree(tmp_path / "checkout", timm() | {"timm/models/big.py": big}),
    ):
        assert "has more than 40000 bytes" in refused(source)
    monkeypatch.setattr(release, "_MEMBER_LIMIT", 100_000)
    monkeypatch.setattr(release, "_TOTAL_LIMIT", 90_000)
    parts = {f"timm/models/big{i}.py": big for i in range(2)}
    for source in (
        write_wheel(tmp_path, files=timm() | parts),
        write_tar(tmp_path / "timm.tar.gz", timm() | parts),
        write_tree(tmp_path / "checkout", timm() | parts),
    ):
        assert "more than 90000 bytes" in refused(source)


def test_a_zip_that_lies_about_a_size_takes_no_more_memory_than_is_allowed(tmp_path):
    size = 100_000_000
    wheel = write_wheel(tmp_path)
    with zipfile.ZipFile(wheel, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("timm/models/x.py", "w") as stream:
        for _ in range(100):
            stream.write(bytes(size // 100))
    told = size.to_bytes(4, "little")
    data = wheel.read_bytes()
    assert data.count(told) == 2  # beside the data, and in the list at the end
    wheel.write_bytes(data.replace(told, (100).to_bytes(4, "little")))
    tracemalloc.start()
    try:
        assert "damaged" in refused(wheel)
        assert tracemalloc.get_traced_memory()[1] < size // 2
    finally:
        tracemalloc.stop()


def test_nothing_of_a_source_is_ever_executed(index, tmp_path, monkeypatch):
    trace = tmp_path / "trace"
    leave = f"open({str(trace)!r}, 'a').close()\n"
    files = {name: text + leave for name, text in timm().items()}
    site = write_tree(tmp_path / "site", files | {"setup.py": leave})
    find_release(None, site)
    find_release(None, write_wheel(tmp_path / "wheels", files=files))
    find_release(None, write_tar(tmp_path / "timm-1.0.20.tar.gz", files))
    # pip must not build an sdist to learn its version either
    sdist = files | {"setup.py": leave, "PKG-INFO": "Metadata-Version: 2.1\nName: timm\nVersion: 1.0.20\n"}
    write_tar(index.directory / "timm-1.0.20.tar.gz", sdist)
    with pytest.raises(TimmSplitError):
        index.find("1.0.20")
    write_wheel(index.directory, files=files)
    assert index.find("1.0.20").files == files
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    assert find_release(None).files == files
    assert "timm" not in sys.modules
    assert not trace.exists()


# The installed timm


def test_the_installed_timm_is_taken_when_it_is_the_version_and_pip_is_not_asked(index, tmp_path, no_pip, monkeypatch):
    site = write_tree(tmp_path / "site", timm("1.0.99"))
    monkeypatch.setattr(release, "_installed", INSTALLED)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    for version in ("1.0.99", None):
        assert index.find(version) == Release("1.0.99", str(site / "timm"), timm("1.0.99"))
    assert index.announced == []


@pytest.mark.parametrize("stand_in", [{"timm/models/eva.py": ""}, {"timm/version.py": "x"}, {"timm.py": "x"}])
def test_what_is_named_timm_but_is_none_counts_as_not_installed(index, tmp_path, no_pip, monkeypatch, stand_in):
    monkeypatch.setattr(release, "_installed", INSTALLED)
    monkeypatch.setattr(sys, "path", [str(write_tree(tmp_path / "site", stand_in))])
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises(UsageError, match="timm is not installed"):
        index.find(None)


def test_without_a_version_and_without_timm_one_must_be_named(index, no_pip):
    with pytest.raises(UsageError, match=r"not installed.*--timm-version.*--source"):
        index.find(None)


# pip and the cache


def test_a_release_is_downloaded_once(index, monkeypatch):
    index.add("1.0.3", "1.0.20")
    found = index.find("1.0.20")
    assert found == Release("1.0.20", str(index.cache / "timm-1.0.20-py3-none-any.whl"), timm())
    assert index.cached() == ["timm-1.0.20-py3-none-any.whl"]
    monkeypatch.setattr(subprocess, "run", None)
    assert index.find("1.0.20") == found
    assert index.announced == ["downloading timm 1.0.20 ..."]


@pytest.mark.parametrize(("version", "chosen"), [("1.0.x", "1.0.20"), ("latest", "1.1.0")])
def test_a_series_is_its_newest_release_and_no_prerelease(index, version, chosen):
    index.add("0.9.16", "1.0.3", "1.0.20", "1.0.21.dev0", "1.1.0", "2.0.0rc1")
    assert index.find(version).version == chosen
    assert index.announced == [f"looking up timm {version} ...", f"downloading timm {chosen} ..."]


def test_a_series_is_not_downloaded_when_its_newest_release_is_at_hand(index):
    index.add("1.0.3")
    index.find("1.0.3")
    index.find("1.0.x")
    assert index.announced == ["downloading timm 1.0.3 ...", "looking up timm 1.0.x ..."]


def test_offline_a_series_is_the_newest_that_is_at_hand(index):
    index.add("1.0.3", "1.0.20")
    index.find("1.0.3")
    index.find("1.0.20")
    shutil.rmtree(index.directory)
    index.announced.clear()
    assert index.find("1.0.x").version == "1.0.20"
    assert "taking 1.0.20, the newest at hand" in index.announced[-1]


@pytest.mark.parametrize(
    ("version", "near"),
    [
        ("1.0.4", "0.9.16, 1.0.1, 1.0.3, 1.0.5, 1.0.7, 1.0.9"),
        ("2.0.x", "1.0.7, 1.0.9, 1.0.11"),
    ],
)
def test_an_unknown_version_is_refused_with_its_neighbours(index, version, near):
    index.add("0.9.15", "0.9.16", "1.0.1", "1.0.3", "1.0.5", "1.0.7", "1.0.9", "1.0.11")
    with pytest.raises(UsageError) as caught:
        index.find(version)
    assert str(caught.value) == f"there is no timm {version}: the releases nearest to it are {near}"
    assert index.cached() == []


@pytest.mark.parametrize("version", ["1.0.20", "latest"])
def test_without_network_and_cache_the_error_says_what_to_do(index, version):
    with pytest.raises(TimmSplitError, match=rf"timm {version} is neither installed nor cached.*--source") as caught:
        index.find(version)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    assert index.cached() == []


def test_without_pip_the_error_says_what_to_do(index, tmp_path, monkeypatch):
    venv.create(tmp_path / "venv", with_pip=False, symlinks=os.name != "nt")
    monkeypatch.setattr(sys, "executable", next((tmp_path / "venv").glob("[bS]*/python*")))
    for version in ("1.0.20", "1.0.x"):
        with pytest.raises(TimmSplitError, match=r"No module named pip.*--source"):
            index.find(version)


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_damaged_cache_entry_is_downloaded_again(index, damage):
    index.add("1.0.20")
    found = index.find("1.0.20")
    entry = Path(found.origin)
    data = entry.read_bytes()
    if damage == "other":
        shutil.copy(write_wheel(index.directory / "other", "1.0.3"), entry)
    else:
        entry.write_bytes(data[: len(data) // 2])
    assert index.find("1.0.20") == found
    assert entry.read_bytes() == data
    assert index.announced == ["downloading timm 1.0.20 ..."] * 2


def test_a_wheel_that_is_damaged_on_the_index_is_a_failure(index):
    write_wheel(index.directory, files=timm("1.0.19"))
    with pytest.raises(TimmSplitError, match="contradicts itself") as caught:
        index.find("1.0.20")
    assert caught.value.exit_code == 1


def test_a_cache_that_cannot_be_written_is_a_failure(index):
    index.add("1.0.20")
    index.cache.parent.mkdir(parents=True, exist_ok=True)
    index.cache.touch()
    with pytest.raises(TimmSplitError, match=r"cannot keep timm 1\.0\.20 in the cache"):
        index.find("1.0.20")


def test_downloads_at_once_leave_one_whole_wheel(index):
    index.add("1.0.20")
    script = """
from codegen.source import release
release._installed = dict
print(len(release.find_release("1.0.20").files))
"""
    environment = os.environ | {"PYTHONPATH": PYTHONPATH}
    command = [sys.executable, "-c", script]
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0] for process in processes] == [f"{len(timm())}\n"] * 3
    assert index.cached() == ["timm-1.0.20-py3-none-any.whl"]


def test_importing_the_module_imports_nothing_heavy():
    heavy = "{'timm', 'torch', 'pip', 'rich', 'requests', 'libcst'}"
    script = f"import codegen.source.release, sys; print(*{heavy} & {{*sys.modules}})"
    environment = os.environ | {"PYTHONPATH": PYTHONPATH}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == ""
