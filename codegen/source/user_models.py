"""User models -> their files, as text, by the paths under which Python imports them.

Nothing is imported or executed. The files that the named ones import are read as well: a base class or a patch
embedding may stand there.
"""

from __future__ import annotations

import ast
import keyword
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from codegen.errors import TimmSplitError, UsageError
from codegen.manifest import is_generated
from codegen.source.encoding import decode
from codegen.source.imports import source_module
from codegen.source.index import parse_source
from codegen.syntax.walking import walk

# Directories of installed packages, and libraries that user models are built on, rather than part of them: timm is read
# as a release, torch not at all.
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_LIBRARIES = frozenset({"timm", "torch", "torchvision"})
_RELATIVE = re.compile(r"^from[ \t]*\.", re.MULTILINE)
_CLASS = re.compile(r"^[ \t]*class[ \t]", re.MULTILINE)

# The largest model files have 200 kB: whatever exceeds these is an accident, or a table that no model is.
_FILE_LIMIT = 1_000_000
_COUNT_LIMIT = 5_000


@dataclass(frozen=True)
class UserModels:
    """The files of user models.

    Attributes:
        files: Text of each file by its path from the import root, ``my_models/vit.py``: those that were named, and
            those that they import.
        named: Those that were named, and whose classes are to be split.
        uses_timm: Whether one of the files imports timm.
    """

    files: Mapping[str, str]
    named: tuple[str, ...]
    uses_timm: bool


def holds_user_models(source: Path) -> bool:
    """Whether a path is a Python file, or a directory of some that is no timm."""
    if not source.is_dir():
        return source.suffix == ".py" and source.exists()
    name = Path(os.path.abspath(source)).name
    alike = (source / "version.py").exists() and (source / "models").is_dir()
    # one that Python imports under another name is another package: timm_3d, mmpretrain
    is_timm = (source / "timm" / "version.py").exists() or (alike and (name == "timm" or not name.isidentifier()))
    return not is_timm and next(_python_files(source), None) is not None


def read_user_models(source: Path, announce: Callable[[str], None]) -> UserModels:
    """Read the models in a file or a directory.

    The import root is the first directory upwards that is no package: ``my_model.py`` is the module ``my_model``, and
    ``vit.py`` in a package ``my_models`` is ``my_models.vit``. Files without a class are left out.

    Args:
        source: A Python file, or a directory of some.
        announce: Called with a line of text for each file that is passed over.

    Raises:
        UsageError: If there is nothing to split, or a file has no name under which Python could import it.
        TimmSplitError: If a file cannot be read or parsed.
    """
    source = Path(os.path.abspath(source))  # not resolved: a module has the name of the link
    root = _import_root(source)
    named = _named(source, root, announce)
    if root == source and _leading_out(named) and not _imports_siblings(named, root):
        root = root.parent  # it is a package without __init__.py
        named = _named(source, root, announce)
    for path, node in _leading_out(named).items():
        where = f"{path}:{node.lineno} imports relative to a package that the file is not in"
        if not source.is_dir():
            directory = (root / path).parents[node.level - 1]
            raise UsageError(f"{where}: name the directory that is the package, --source {directory}")
        announce(f"passing over {path}: {where}")
        del named[path]
    if not named:
        raise UsageError(f"--source {source} holds no file that can be imported: name the directory of their package")
    if any(path.partition("/")[0].removesuffix(".py") in _LIBRARIES for path in named):
        raise UsageError(f"--source {source} would be imported in place of a library: rename it")
    return _with_imports(root, named)


def _named(source: Path, root: Path, announce: Callable[[str], None]) -> dict[str, str]:
    """The text of the files with classes in a file or directory, by their paths from the import root.

    Raises:
        UsageError: There is none, or one that was asked for cannot be imported under its name.
    """
    named: dict[str, str] = {}
    for file in _python_files(source) if source.is_dir() else [source]:
        path = file.relative_to(root)
        if file != source and file.is_file() and not _is_source(file):
            announce(f"passing over {path}, which has more than {_FILE_LIMIT} bytes: that is no model")
            continue
        text = _read(file)
        if not _CLASS.search(text):
            continue
        if all(_is_name(part) for part in path.with_suffix("").parts):
            named[path.as_posix()] = text
        elif file == source:
            raise UsageError(f"--source {path} cannot be imported under that name: rename it, as in my_model.py")
        else:
            announce(f"passing over {path}, which cannot be imported under that name")
        if len(named) > _COUNT_LIMIT:
            raise UsageError(f"--source {source} holds more than {_COUNT_LIMIT} files: name the models among them")
    if not named:
        raise UsageError(f"--source {source} defines no class: name a file or a directory of models")
    return named


def _leading_out(named: Mapping[str, str]) -> dict[str, ast.ImportFrom]:
    """Files that cannot be imported, each with a relative import that leads out of the import root."""
    found = {}
    for path, text in named.items():
        if _RELATIVE.search(text):
            for node in parse_source(text, path).body:  # one in a `try` may be meant to fail
                if isinstance(node, ast.ImportFrom) and node.level > path.count("/"):
                    found[path] = node
    return found


def _imports_siblings(named: Mapping[str, str], root: Path) -> bool:
    """Whether a file imports a module that stands in the import root, so that this is one."""
    tops = {module.partition(".")[0] for path, text in named.items() for module in _absolute(path, text)}
    return any((root / top).with_suffix(".py").is_file() or (root / top / "__init__.py").is_file() for top in tops)


def _absolute(path: str, text: str) -> Iterator[str]:
    for node in ast.walk(parse_source(text, path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def _is_name(part: str) -> bool:
    return part.isidentifier() and not keyword.iskeyword(part)


def _import_root(source: Path) -> Path:
    """The first directory upwards that is no package."""
    root = source if source.is_dir() else source.parent
    while (root / "__init__.py").exists():
        root = root.parent
    return root


def _python_files(directory: Path) -> Iterator[Path]:
    """The Python files below a directory, in order; not those of a virtual environment or a generated package."""
    for parent, directories, names in os.walk(directory):
        if Path(parent) != directory and is_generated(Path(parent)):
            directories.clear()
            continue
        directories[:] = sorted(name for name in directories if name.isidentifier() and name != "__pycache__")
        yield from (Path(parent, name) for name in sorted(names) if name.endswith(".py") and not name.startswith("."))


def _read(file: Path) -> str:
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise TimmSplitError(f"{file} is no regular file: name other source")
        if status.st_size > _FILE_LIMIT:
            raise TimmSplitError(f"{file} has more than {_FILE_LIMIT} bytes: that is no model")
        return decode(file.read_bytes(), str(file))
    except OSError as error:
        raise TimmSplitError(f"{file} cannot be read: {error.strerror}") from None


def _is_source(file: Path) -> bool:
    """Whether a file that was not named itself is one to read. A large table is not: what comes of it is unknown."""
    return file.is_file() and file.stat().st_size <= _FILE_LIMIT


def _with_imports(root: Path, named: Mapping[str, str]) -> UserModels:
    """Add the packages that the named files are in, the files that they import, and those that these import."""
    files = dict(named)
    uses_timm = False
    # beside an installed package stand all others that are: libraries, with thousands of files
    tops = {path.partition("/")[0].removesuffix(".py") for path in named} if root.name in _INSTALLED else set()
    for package in sorted({f"{folder}/__init__.py" for path in named for folder in _folders(path)}):
        if package not in files and _is_source(root / package):
            files[package] = _read(root / package)
    pending = list(files)
    for path in pending:
        for module in _imported(path, files[path]):
            parts = module.split(".")
            uses_timm |= parts[0] == "timm"
            if parts[0] in _LIBRARIES or (tops and parts[0] not in tops):
                continue
            for length in range(1, len(parts) + 1):
                stem = "/".join(parts[:length])
                for found in (f"{stem}.py", f"{stem}/__init__.py"):
                    if found not in files and _is_source(root / found):
                        files[found] = _read(root / found)
                        pending.append(found)
    return UserModels(dict(sorted(files.items())), tuple(sorted(named)), uses_timm)


def _folders(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _imported(path: str, text: str) -> Iterator[str]:
    """What a file may import: ``from a import b`` may be the module ``a.b``."""
    for node in walk(parse_source(text, path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = source_module(node, path)
            yield from (f"{module}.{alias.name}".strip(".") for alias in node.names if alias.name != "*")
            if module:
                yield module
