"""The format of ``manifest.json``, and of what ``list``, ``show`` and ``diff`` print as JSON: docs/manifest.md.

Each object of the format is a frozen dataclass here. Writing and reading go through it, so no key is spelled twice. A
key that is a keyword of Python has an underscore after it here: ``class_``. A key whose field has a default is left
out where it has that value. Nothing but the standard library is imported, since the build reads the version from here.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from codegen.errors import UsageError
from codegen.types import METHOD, Delegate, Field, Masking

GENERATOR = "timm-split"
"""The name of the distribution, and the mark by which a manifest is known as written by it."""
MANIFEST = "manifest.json"
"""The manifest's path in a package."""
FORMAT = 4
"""The number of the format. It grows with every change that a reader has to follow."""

_Data = TypeVar("_Data")
_types = functools.cache(get_type_hints)


@dataclass(frozen=True)
class StatementEntry:
    """A statement of the source: its file, its last line, counted from 1, and the text of its first line."""

    file: str
    line: int
    statement: str


@dataclass(frozen=True)
class BoundaryEntry(StatementEntry):
    """The last statement of an embedding, the rules that put the boundary there, and attributes on both sides of it."""

    reasons: tuple[str, ...]
    stem: tuple[str, ...]
    blocks: tuple[str, ...]


@dataclass(frozen=True)
class EmbeddingEntry:
    """What a method returns, and the next one takes.

    Attributes:
        class_: The ``NamedTuple``, ``None`` where the tokens are returned alone.
        tokens: The field that holds the tokens. It is the first.
        layout: Of the tokens, ``NLC``, ``NHWC`` or ``NCHW``; ``None`` where it cannot be read.
        fields: Name and type of each field.
        recomputed: Statements with which the next method begins, for what need not be handed over.
    """

    class_: str | None
    tokens: str
    layout: str | None
    fields: tuple[Field, ...]
    recomputed: tuple[str, ...]


@dataclass(frozen=True)
class PatchesEntry(EmbeddingEntry):
    """What ``embed_patches`` returns, the last statement that makes it, and the rules that put the boundary there."""

    boundary: StatementEntry
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class AbsenceEntry:
    """Why there is no ``embed_patches``."""

    absent: str


@dataclass(frozen=True)
class IntermediatesEntry(StatementEntry):
    """The method ``forward_stages_intermediates``, and the last statement of timm's that makes the embedding.

    Attributes:
        digest: SHA-256 of the source of ``forward_intermediates``.
        fields: The fields of the embedding that it needs.
        image_size: Whether its second parameter is the height and width of the images.
        parameters: The names of its other parameters.
        inside_stem: The lines of ``forward_intermediates`` that take features from before the embedding: asking for one
            of these is an error.
    """

    digest: str
    fields: tuple[str, ...]
    image_size: bool
    parameters: tuple[str, ...]
    inside_stem: tuple[int, ...]


@dataclass(frozen=True)
class RefusalEntry:
    """Why a class is not split, or has no intermediate features: the line that stands in the way, and the reason."""

    file: str
    line: int
    reason: str


@dataclass(frozen=True)
class SplitEntry:
    """A split class.

    Attributes:
        module: Its module in the package, ``vit``.
        class_: Its name, ``VisionTransformerSplit``.
        boundary: Where the embedding ends, and why there.
        embedding: What ``embed`` returns.
        position: Whether ``embed`` gives the tokens a position.
        patches: What ``embed_patches`` returns, or why there is none.
        masking: What masking needs to know.
        inherits: Full name of the model class from which it inherits its split, if it does.
        delegate: The inner model whose statements it has, if it has those of one.
        parents: Full names of the classes whose method is written out where the class calls it by ``super()``.
        intermediates: ``forward_stages_intermediates``, or why there is none; ``None`` where the class has no
            ``forward_intermediates``.
    """

    module: str
    class_: str
    boundary: BoundaryEntry
    embedding: EmbeddingEntry
    position: bool
    patches: PatchesEntry | AbsenceEntry
    masking: Masking
    inherits: str | None
    delegate: Delegate | None
    parents: tuple[str, ...] = ()
    intermediates: IntermediatesEntry | RefusalEntry | None = None


@dataclass(frozen=True)
class ClassEntry:
    """One model class. It has either ``split`` or ``refused``.

    Attributes:
        module: Import path of its module.
        class_: Its name.
        file: The file of ``forward_features``, or of the class where that is inherited.
        line: The line of it.
        digest: SHA-256 of the source that decides the split.
        models: The names under which timm registers it.
        refused: Why it is not split.
        split: The split class.
    """

    module: str
    class_: str
    file: str
    line: int
    digest: str
    models: tuple[str, ...]
    refused: RefusalEntry | None = None
    split: SplitEntry | None = None


@dataclass(frozen=True)
class Header:
    """What the manifests of all formats begin with.

    Attributes:
        generator: :data:`GENERATOR`.
        format: Number of the format.
        timm_version: The timm release that the package is for, ``None`` if it needs none.
        files: All files of the package, the manifest among them.
    """

    generator: str
    format: int
    timm_version: str | None
    files: tuple[str, ...]


@dataclass(frozen=True)
class Manifest(Header):
    """A whole manifest.

    Attributes:
        digests: SHA-256 of each file but the manifest as it was generated, by its path: :func:`digest_of`.
        user_source: Name of the file or directory of user models that the package is for; ``None`` for timm's.
        classes: The entry of each model class by the full name of the class.
        method: The method of the classes that is split.
    """

    digests: Mapping[str, str]
    user_source: str | None
    classes: Mapping[str, ClassEntry]
    method: str = METHOD


@dataclass(frozen=True)
class _Digests:
    """The part of a manifest that says what the files were."""

    digests: Mapping[str, str]


_WITH_DIGESTS = 4  # the first format that has them


def digest_of(data: bytes) -> str:
    """SHA-256 of a file, whichever line ends a version control system gave it."""
    return hashlib.sha256(data.replace(b"\r\n", b"\n")).hexdigest()


def is_generated(directory: Path) -> bool:
    """Whether a directory has a manifest that says it was written by this generator, damaged or not."""
    try:
        text = (directory / MANIFEST).read_bytes()
    except OSError:
        return False
    return re.search(rb'"generator"\s*:\s*"%s"' % GENERATOR.encode(), text) is not None


def read_header(directory: Path) -> Header:
    """Read the part of a package's manifest that is the same in all formats.

    Raises:
        UsageError: The directory has no manifest, one that cannot be read, or one of another generator.
    """
    return _read(directory, Header)


def read_manifest(directory: Path) -> Manifest:
    """Read the manifest of a package.

    Raises:
        UsageError: As :func:`read_header`, or the manifest is of another format.
    """
    header = read_header(directory)
    if header.format != FORMAT:
        raise UsageError(
            f"{directory / MANIFEST} has format {header.format} and this {GENERATOR} reads format {FORMAT}: "
            f"generate the package again, with `{GENERATOR} generate`"
        )
    return _read(directory, Manifest)


def read_digests(directory: Path) -> Mapping[str, str]:
    """Read what the files of a package were when it was generated; nothing of a format that does not say it.

    Raises:
        UsageError: As :func:`read_header`.
    """
    if read_header(directory).format < _WITH_DIGESTS:
        return {}
    return _read(directory, _Digests).digests


def _read(directory: Path, kind: type[_Data]) -> _Data:
    path = directory / MANIFEST
    try:
        content = json.loads(path.read_bytes())
        if isinstance(content, dict) and content.get("generator", GENERATOR) != GENERATOR:
            raise UsageError(f"{path} was not written by {GENERATOR}: name a package that was")
        decoded: _Data = _decode(kind, content, "it")
        return decoded
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"{directory} is not a package that {GENERATOR} generated, for it has no {MANIFEST}: name one that is"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} is damaged ({error}): generate the package again, with --force") from None


def to_json(data: object) -> str:
    """The JSON of a dataclass of the format, in ASCII, as a terminal may know nothing else; a line for each value."""
    return json.dumps(_encode(data), indent=1)


def _encode(value: object) -> object:
    if is_dataclass(value):
        pairs = ((field, getattr(value, field.name)) for field in fields(value))
        return {_key(field.name): _encode(item) for field, item in pairs if item != field.default}
    if isinstance(value, Mapping):
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_encode(item) for item in value]
    return value


def _decode(kind: Any, value: object, where: str) -> Any:
    """A value of a type of the format, from what ``json`` makes of its text.

    Raises:
        ValueError: It is none of that type; ``where`` names the place in the manifest.
    """
    origin = get_origin(kind)
    if is_dataclass(kind):
        return _decode_object(kind, _checked(dict, value, where), where)
    if origin is tuple:
        return tuple(_decode(get_args(kind)[0], item, f"{where}[]") for item in _checked(list, value, where))
    if origin is Mapping:
        items = _checked(dict, value, where).items()
        return {key: _decode(get_args(kind)[1], item, f"{where}.{key}") for key, item in items}
    if origin is UnionType:
        return _decode(_alternative(kind, value), value, where)
    return _checked(kind, value, where)


def _decode_object(kind: Any, value: Mapping[str, object], where: str) -> object:
    types = _types(kind)
    arguments = {}
    for field in fields(kind):
        key = _key(field.name)
        if key in value:
            arguments[field.name] = _decode(types[field.name], value[key], f"{where}.{key}")
        elif field.default is MISSING:
            raise ValueError(f"{where} has no {key!r}")
    return kind(**arguments)


def _alternative(union: UnionType, value: object) -> object:
    """The member of a union that a value is of: the object that has the keys, else the first."""
    if value is None and NoneType in get_args(union):
        return NoneType
    for kind in get_args(union):
        if is_dataclass(kind) and isinstance(value, dict) and all(_key(field.name) in value for field in fields(kind)):
            return kind
    return get_args(union)[0]


def _checked(kind: type[_Data], value: object, where: str) -> _Data:
    if type(value) is not kind:
        raise ValueError(f"{where} is {type(value).__name__} and not {kind.__name__}")
    return value


def _key(name: str) -> str:
    return name.removesuffix("_")
