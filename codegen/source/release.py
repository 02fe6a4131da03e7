"""A timm version -> its source, as text; or user models -> theirs, with that of the timm that they import.

The source comes from where the caller says, from the installed timm, or from a wheel that pip fetches into a cache. It
is only ever read: nothing of it is imported, executed, or unpacked to disk.
"""

from __future__ import annotations

import ast
import contextlib
import gzip
import importlib.util
import io
import os
import re
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from bisect import bisect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import platformdirs
from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from codegen.errors import TimmSplitError, UsageError
from codegen.manifest import GENERATOR
from codegen.source.encoding import decode
from codegen.source.scratch import scratch_directory
from codegen.source.user_models import UserModels, holds_user_models, read_user_models
from codegen.types import Release

Announce = Callable[[str], None]

# What python could import of these, and so no ._eva.py, .#eva.py or eva.orig.py.
_SOURCE = re.compile(r"timm/(?:__init__|version|(?:models|layers)/(?:\w+/)*\w+)\.py")
_METADATA = re.compile(r"timm-[^/]+\.dist-info/METADATA")

# timm's largest file has 200 kB and all that is read of it 6 MB: whatever exceeds these is an accident or an attack.
_MEMBER_LIMIT = 20_000_000
_TOTAL_LIMIT = 200_000_000


def find_release(
    version: str | None, source: Path | None = None, *, announce: Announce = lambda message: None
) -> Release:
    """Find the source of a timm release: at ``source``, else installed, else in the cache, else by pip.

    Args:
        version: ``1.0.31``; ``1.0.x``, ``1.0.*`` or ``latest`` for the newest release that matches; ``None`` for
            whatever ``source`` holds, or for the installed timm.
        source: A directory that holds ``timm/``, that directory itself, a wheel, or an sdist (``.tar.gz``, ``.zip``).
            Or user models: a Python file, or a directory of some. What they import of timm comes from ``version``.
        announce: Called with a line of text before what takes long, and about what may be unexpected.

    Raises:
        UsageError: There is no such version, or ``source`` is no timm or not the version that is asked for.
        TimmSplitError: What is installed is broken, or pip cannot fetch the release.
    """
    wanted = _parse_wanted(version)
    if source is not None and holds_user_models(source):
        return _with_timm(read_user_models(source, announce), version, source, announce)
    if source is not None:
        try:
            return _read(source, wanted)
        except TimmSplitError as error:
            raise UsageError(f"--source {error}") from None
    installed = _installed()
    if version is None:
        if not installed:
            raise UsageError("timm is not installed: name a release with --timm-version, or its source with --source")
        return _read(installed[max(installed)], wanted)
    cached = _cached()
    chosen = _choose(wanted, [*installed, *cached], announce)
    if chosen in installed:
        return _read(installed[chosen], wanted)
    if chosen in cached:
        # A wheel that was cut short is worth no more than none: fetch it again.
        with contextlib.suppress(TimmSplitError):
            return _read(cached[chosen], wanted)
    announce(f"downloading timm {chosen} ...")
    return _read(_download(chosen), wanted)


def _with_timm(models: UserModels, version: str | None, source: Path, announce: Announce) -> Release:
    """User models and, if they import timm, the timm that they get."""
    if not models.uses_timm:
        if version is not None:
            announce(f"{source} imports no timm: --timm-version says nothing about it")
        return Release("", str(source), models.files, models.named)
    timm = find_release(version, announce=announce)
    return Release(timm.version, str(source), dict(sorted({**timm.files, **models.files}.items())), models.named)


# Which version


@dataclass(frozen=True)
class _Wanted:
    """The versions that satisfy the caller.

    Attributes:
        text: As the caller spells them.
        specifiers: What they have in common; empty if any will do.
        nearest: A version among them or beside them, by which to find others that are near.
        exact: Whether there is only the one.
    """

    text: str
    specifiers: SpecifierSet
    nearest: Version
    exact: bool


def _parse_wanted(version: str | None) -> _Wanted:
    text = "latest" if version is None else version.strip()
    if text == "latest":
        return _Wanted(text, SpecifierSet(), Version("9999"), exact=False)
    if series := re.fullmatch(r"v?(\d+(?:\.\d+)*)\.[xX*]", text):
        return _Wanted(text, SpecifierSet(f"=={series[1]}.*"), Version(series[1]), exact=False)
    try:
        exact = Version(text)
    except InvalidVersion:
        raise UsageError(f"{text!r} is not a version: give one such as 1.0.31, 1.0.x or latest") from None
    return _Wanted(str(exact), SpecifierSet(f"=={exact}"), exact, exact=True)


def _choose(wanted: _Wanted, at_hand: list[Version], announce: Announce) -> Version:
    """The newest version that is wanted, of those at hand and, unless one alone is wanted, of those on the index."""
    if wanted.exact:
        return max(wanted.specifiers.filter(at_hand, prereleases=True), default=wanted.nearest)
    announce(f"looking up timm {wanted.text} ...")
    on_index, problem = _on_index()
    newest = max(wanted.specifiers.filter({*at_hand, *on_index}), default=None)
    if newest is not None:
        if problem:
            announce(f"pip finds no wheel of timm ({problem}): taking {newest}, the newest at hand")
        return newest
    if on_index:
        raise _unknown(wanted, on_index)
    raise _unreachable(wanted, problem)


def _unknown(wanted: _Wanted, versions: Iterable[Version]) -> UsageError:
    ordered = sorted(versions)
    place = bisect(ordered, wanted.nearest)
    near = ", ".join(map(str, ordered[max(place - 3, 0) : place + 3]))
    return UsageError(f"there is no timm {wanted.text}: the releases nearest to it are {near}")


def _unreachable(wanted: _Wanted, problem: str) -> TimmSplitError:
    return TimmSplitError(
        f"timm {wanted.text} is neither installed nor cached, and pip finds no wheel of timm ({problem}): "
        "check the network and pip's index, install that timm by other means, or name its source with --source"
    )


# What is at hand


def _installed() -> dict[Version, Path]:
    """The version and the directory of what ``import timm`` would import, found without importing it; empty if none."""
    try:
        spec = importlib.util.find_spec("timm")
    except ValueError:  # something put a stand-in without a spec into sys.modules
        return {}
    for location in (spec and spec.submodule_search_locations) or ():
        package = Path(location)
        with contextlib.suppress(OSError, ValueError, TimmSplitError):
            return {_declared_version((package / "version.py").read_text("utf-8"), str(package)): package}
    return {}


def _cache_directory() -> Path:
    return Path(platformdirs.user_cache_dir(GENERATOR, appauthor=False))


def _cached() -> dict[Version, Path]:
    wheels = {}
    for path in _cache_directory().glob("timm-*.whl"):
        with contextlib.suppress(InvalidWheelFilename):
            wheels[parse_wheel_filename(path.name)[1]] = path
    return wheels


# What pip can get


def _on_index() -> tuple[list[Version], str]:
    """All versions that pip could download, or none and pip's reason."""
    done = _pip("index", "versions", "--pre", "--only-binary=:all:", "timm")
    listed = re.search(r"^Available versions: (.+)$", done.stdout, re.MULTILINE)
    return (_versions(listed[1]), "") if listed else ([], _complaint(done))


def _download(version: Version) -> Path:
    """Have pip put the wheel of a version into the cache. Only wheels: pip would have to execute an sdist."""
    cache = _cache_directory()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # Beside its place and then moved: who looks into the cache meanwhile finds the whole wheel or none.
        with scratch_directory(cache) as directory:
            done = _pip("download", "--no-deps", "--only-binary=:all:", "--dest", str(directory), f"timm=={version}")
            wheels = list(directory.glob("timm-*.whl"))
            if done.returncode or len(wheels) != 1:
                raise _no_download(version, done)
            return wheels[0].replace(cache / wheels[0].name)
    except OSError as error:
        raise TimmSplitError(f"cannot keep timm {version} in the cache {cache}: {error.strerror}") from None


def _no_download(version: Version, done: subprocess.CompletedProcess[str]) -> TimmSplitError:
    wanted = _parse_wanted(str(version))
    listed = re.search(r"\(from versions: ([^)]*)\)", done.stderr)
    if listed and (others := _versions(listed[1])):
        return _unknown(wanted, others)
    if listed:
        return _unreachable(wanted, _complaint(done))
    return TimmSplitError(
        f"pip cannot download timm {version} ({_complaint(done)}): "
        "try again, install that timm by other means, or name its source with --source"
    )


def _pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this python's pip, under the user's settings of index, proxy and certificates. It asks nothing."""
    command = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", *arguments]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )


def _complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The line of pip's output that says what went wrong."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return [f"exit code {done.returncode}", *lines[-1:], *errors][-1]


def _versions(text: str) -> list[Version]:
    versions = []
    for word in text.replace(",", " ").split():
        with contextlib.suppress(InvalidVersion):  # "none", and the spellings of old
            versions.append(Version(word))
    return versions


# Reading

_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,  # a zip member that is patched, or encrypted by certificates
    RuntimeError,  # an encrypted one
    ValueError,  # names and numbers that are none
)


@dataclass(frozen=True)
class _Member:
    """A file of a directory or an archive; a link is not ``regular``."""

    path: str
    size: int
    regular: bool
    read: Callable[[], bytes]


def _read(path: Path, wanted: _Wanted) -> Release:
    """Read the release that a directory or an archive holds.

    Raises:
        TimmSplitError: It cannot be read, holds no timm, or another one than is wanted.
    """
    try:
        if path.is_dir():
            release = _assemble(_directory(path), str(path))
        elif path.is_file():  # and nothing that could be read for ever
            with path.open("rb") as file:
                release = _assemble(_archive(file), str(path))
        else:
            raise TimmSplitError(f"{path} does not exist: name a directory, a wheel or an sdist of timm")
    except _DAMAGED as error:
        raise TimmSplitError(f"{path} is damaged ({error or type(error).__name__}): fetch it again") from None
    except OSError as error:
        raise TimmSplitError(f"{path} cannot be read: {error.strerror or error}") from None
    if not wanted.specifiers.contains(release.version, prereleases=True):
        raise TimmSplitError(f"{path} is timm {release.version}, not {wanted.text}: ask for that, or name other source")
    return release


def _directory(path: Path) -> list[_Member]:
    package = path / "timm"
    if not package.is_dir() and (path / "models").is_dir():
        package = path  # perhaps the very directory that ``import timm`` imports
    found = [("timm/" + name, package / name) for name in ("__init__.py", "version.py")]
    for part in ("models", "layers"):
        for parent, _, names in os.walk(package / part):
            inside = Path("timm", part, Path(parent).relative_to(package / part))
            found += [((inside / name).as_posix(), Path(parent, name)) for name in names]
    for file in package.parent.glob("timm-*.dist-info/METADATA"):
        found.append((file.relative_to(package.parent).as_posix(), file))
    members = []
    for name, file in found:
        with contextlib.suppress(FileNotFoundError):
            status = file.stat()
            members.append(_Member(name, status.st_size, stat.S_ISREG(status.st_mode), file.read_bytes))
    return members


def _archive(file: BinaryIO) -> list[_Member]:
    magic = file.read(2)
    file.seek(0)
    if magic == b"PK":
        return _zip(file)
    if magic == b"\x1f\x8b":
        return _tar(file)
    raise TimmSplitError(
        f"{file.name} is {'no .whl, .zip or .tar.gz' if magic else 'empty'}: name the source of a timm"
    )


def _zip(file: BinaryIO) -> list[_Member]:
    archive = zipfile.ZipFile(file)

    def read(info: zipfile.ZipInfo) -> bytes:
        # Not archive.read, which believes the size that the archive declares only after it has inflated everything.
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise zipfile.BadZipFile(f"{info.filename} is under a compression that no wheel uses")
        with archive.open(info) as stream:
            return stream.read(_MEMBER_LIMIT + 1)

    return [
        _Member(info.filename, info.file_size, not stat.S_ISLNK(info.external_attr >> 16), partial(read, info))
        for info in archive.infolist()
    ]


def _tar(file: BinaryIO) -> list[_Member]:
    with gzip.open(file) as stream:
        # All of it, for a tar has no list of contents: this bounds what reading its headers can take, too.
        data = stream.read(_TOTAL_LIMIT + 1)
    if len(data) > _TOTAL_LIMIT:
        raise TimmSplitError(f"{file.name} unpacks to more than {_TOTAL_LIMIT} bytes: that is no timm")
    archive = tarfile.TarFile(fileobj=io.BytesIO(data))

    def read(info: tarfile.TarInfo) -> bytes:
        stream = archive.extractfile(info)
        return stream.read() if stream else b""

    return [_Member(info.name, info.size, info.isreg(), partial(read, info)) for info in archive.getmembers()]


def _assemble(members: list[_Member], origin: str) -> Release:
    """The release that these files are, wherever among them ``timm/`` lies."""
    by_path: dict[str, _Member] = {}
    for member in members:
        posix = PurePosixPath(member.path)
        if posix.is_absolute() or ".." in posix.parts:
            raise TimmSplitError(f"{origin} holds {member.path!r}, which leads out of it: do not use this file")
        by_path[str(posix)] = member
    versions = [path for path in by_path if f"/{path}".endswith("/timm/version.py")]
    if not versions:
        raise TimmSplitError(f"{origin} is not timm: it holds no timm/version.py")
    # An old build/lib/timm beside it lies deeper.
    root = min(versions, key=lambda path: (path.count("/"), path)).removesuffix("timm/version.py")
    paths = {path.removeprefix(root): path for path in by_path if path.startswith(root)}
    metadata = sorted(filter(_METADATA.fullmatch, paths))
    sources = sorted(filter(_SOURCE.fullmatch, paths))
    if sum(by_path[paths[path]].size for path in sources) > _TOTAL_LIMIT:
        raise TimmSplitError(f"{origin} holds more than {_TOTAL_LIMIT} bytes of source: that is no timm")
    texts = {path: _text(by_path[paths[path]], origin) for path in (*sources, *metadata)}
    files = {path: texts[path] for path in sources}
    if not any(path.startswith("timm/models/") for path in files):
        raise TimmSplitError(f"{origin} is not timm: it holds no timm/models")
    version = _declared_version(files["timm/version.py"], origin)
    for path in metadata:
        found = re.search(r"^Version: *(\S+)", texts[path], re.MULTILINE)
        declared = found[1] if found else "none"
        # The local part, +cu121, is the packager's: timm's own file does not know it.
        if not found or Version(declared).public != version.public:
            raise TimmSplitError(
                f"{origin} contradicts itself: timm/version.py says {version}, and {path} {declared}: fetch it again"
            )
    return Release(str(version), origin, files)


def _text(member: _Member, origin: str) -> str:
    place = f"{member.path} in {origin}"
    if not member.regular:
        raise TimmSplitError(f"{place} is a link, which is not followed: name other source")
    if member.size > _MEMBER_LIMIT:
        raise TimmSplitError(f"{place} has more than {_MEMBER_LIMIT} bytes: that is no timm")
    return decode(member.read(), place)


def _declared_version(text: str, origin: str) -> Version:
    """The value of ``__version__`` in the text of ``timm/version.py``, which is parsed and not run."""
    with contextlib.suppress(SyntaxError, ValueError, RecursionError):  # InvalidVersion is a ValueError
        for statement in ast.parse(text).body:
            match statement:
                case ast.Assign(targets=[ast.Name("__version__")], value=ast.Constant(str(value))):
                    return Version(value)
    raise TimmSplitError(f"{origin} is not timm: its timm/version.py gives no version")
