"""From splits to the text of a package. What to say is decided here; the templates only lay it out."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import jinja2
from ruff.__main__ import find_ruff_bin

from codegen.errors import TimmSplitError
from codegen.layout import SHAPES
from codegen.types import (
    Absence,
    Field,
    Imported,
    Inherited,
    Method,
    Outcome,
    Parameter,
    Patches,
    Place,
    Refusal,
    Split,
)

MANIFEST_FORMAT = 2
_RESERVED = frozenset(
    {"__init__", "_drop", "_factory", "_layout", "_manifest", "_masks", "_split", "_tokens", "masking"}
)
_TYPING = ("Any", "Callable", "Dict", "List", "Optional", "Sequence", "Tuple", "Union")


def module_name(module: str) -> str:
    """The generated module for one of timm's: ``timm.models.vision_transformer_sam`` is ``vit_sam``."""
    name = module.removeprefix("timm.models.").replace(".", "_")
    short = "vision_transformer"
    return f"vit{name.removeprefix(short)}" if name.startswith(short) else name


def module_names(outcomes: Sequence[Outcome]) -> Mapping[str, str]:
    """The generated module of each module. Somebody's own ``vit.py`` comes before timm's, which makes way."""
    modules = sorted({outcome.module for outcome in outcomes}, key=lambda name: (name.startswith("timm."), name))
    names: dict[str, str] = {}
    for module in modules:
        name = module_name(module)
        while name in _RESERVED or name in names.values():
            name += "_"
        names[module] = name
    return names


def render(version: str, outcomes: Sequence[Outcome], *, own: str = "") -> Mapping[str, str]:
    """Render a package.

    Args:
        version: The timm release that it is for, empty if it needs none.
        outcomes: What became of each class.
        own: Name of the file or directory that holds somebody's own models; empty for a release of timm.

    Returns:
        The text of each file by its path in the package, ``manifest.json`` among them.

    Raises:
        TimmSplitError: If the formatter fails, which would mean that a rendered file is not Python.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_templates()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    by_path = {outcome.path: outcome for outcome in outcomes}
    generated = module_names(outcomes)
    if own and not re.fullmatch(r"[\w.-]+", own):
        own = "your own models"  # the name of a directory may hold anything, and this stands in strings
    modules: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if not isinstance(outcome.result, Refusal):
            modules.setdefault(outcome.module, []).append(outcome)
    files = {}
    for module, members in modules.items():
        page = _page(module, members, by_path, generated)
        files[f"{generated[module]}.py"] = environment.get_template("model.py.j2").render(page=page, version=version)
    left_out = {"model.py.j2", *(["_factory.py.j2"] if own else [])}  # timm's factory makes timm's models
    for template in environment.list_templates(filter_func=lambda name: name not in left_out):
        files[template.removesuffix(".j2")] = environment.get_template(template).render(timm_version=version, own=own)
    files = _format(files)
    files["py.typed"] = ""
    names = sorted([*files, "manifest.json"])
    files["manifest.json"] = _manifest(version, outcomes, by_path, generated, names)
    return {name: files[name] for name in names}


def _templates() -> Path:
    """The templates: beside this module in a wheel, at the top of a checkout."""
    here = Path(__file__).parent
    for folder in (here / "templates", here.parent / "templates"):
        if folder.is_dir():
            return folder
    raise TimmSplitError("the templates are missing from this installation: install timm-split again")


@dataclass(frozen=True)
class _Halves:
    """The two methods of an embedding that is cut where its patches are complete, ready to lay out."""

    record: str
    fields: tuple[tuple[str, str], ...]
    tokens: str
    shape: str
    made: str
    adds: str
    why: str
    patches_signature: str
    patches_body: str
    positions_signature: str
    positions_body: str


@dataclass(frozen=True)
class _Class:
    """One class of a page, ready to lay out."""

    name: str
    bases: str
    parent: str
    embedding: str
    fields: tuple[tuple[str, str], ...]
    tokens: str
    shape: str
    made: str
    taken: str
    why: str
    embed_signature: str
    embed_body: str
    stages_signature: str
    stages_body: str
    features_signature: str
    stages_call: str
    inherits: bool
    halves: _Halves | None


@dataclass(frozen=True)
class _Page:
    """One generated module, ready to lay out."""

    file: str
    imports: tuple[str, ...]
    own: bool
    postponed: bool
    classes: tuple[_Class, ...]


def _page(
    module: str, members: Sequence[Outcome], by_path: Mapping[str, Outcome], generated: Mapping[str, str]
) -> _Page:
    imports: set[str] = set()
    records: set[str] = set()
    classes = []
    for outcome in sorted(members, key=lambda o: isinstance(o.result, Inherited)):
        imports.add(f"from {outcome.module} import {outcome.name}")
        if isinstance(outcome.result, Inherited):
            parent = by_path[outcome.result.parent]
            if parent.module != outcome.module:
                imports.add(f"from .{generated[parent.module]} import {parent.name}Split")
            classes.append(_inheriting(outcome, parent))
        elif isinstance(outcome.result, Split):
            split = outcome.result
            imports |= {_import(imported) for imported in split.imports}
            kinds = " ".join(field.annotation for field in (*split.fields, *_patch_fields(split)))
            imports |= {f"from typing import {name}" for name in _TYPING if re.search(rf"\b{name}\b", kinds)}
            if "torch." in kinds:
                imports.add("import torch")
            if _records(split):
                imports.add("from typing import NamedTuple")
            classes.append(_splitting(outcome, split, records))
            records |= _records(split)
    postponed = any(isinstance(o.result, Split) and o.result.postponed for o in members)
    own = not module.startswith("timm.")
    return _Page(members[0].place.file, tuple(sorted(imports)), own, postponed, tuple(classes))


def _patch_fields(split: Split) -> tuple[Field, ...]:
    return split.patches.fields if isinstance(split.patches, Patches) else ()


def _records(split: Split) -> set[str]:
    """Names of the tuples that a split needs."""
    return {split.embedding, split.patches.record if isinstance(split.patches, Patches) else ""} - {""}


def _import(imported: Imported) -> str:
    if not imported.attribute:
        alias = "" if imported.module == imported.name else f" as {imported.name}"
        return f"import {imported.module}{alias}"
    alias = "" if imported.attribute == imported.name else f" as {imported.name}"
    return f"from {imported.module} import {imported.attribute}{alias}"


def _inheriting(outcome: Outcome, parent: Outcome) -> _Class:
    blank = dict.fromkeys(_Class.__dataclass_fields__, "")
    blank |= {"name": outcome.name, "bases": f"{parent.name}Split, {outcome.name}", "parent": parent.name}
    return _Class(**{**blank, "fields": (), "inherits": True, "halves": None})  # type: ignore[arg-type]


def _splitting(outcome: Outcome, split: Split, declared: Collection[str]) -> _Class:
    """Lay a class out, with those of its tuples that are not declared yet."""
    shape = _shape(split.layout)
    returned = split.embedding or split.fields[0].annotation
    entry, first = _entry("embedding", split.embedding, split.fields, split.forward_stages)
    returns = _packed(split.embedding, split.fields)
    arrow = f" -> {split.returns}" if split.returns else ""
    halves = None
    embed_body = (*split.embed.body, f"return {returns}")
    if isinstance(split.patches, Patches):
        halves = _halve(split, split.patches, declared)
        call = f"self.embed_patches({_arguments(split.patches.embed_patches.parameters)})"
        later = _later(split.patches.embed_positions.parameters)
        embed_body = (f"return self.embed_positions({', '.join([call, *later])})",)
    return _Class(
        name=outcome.name,
        bases=outcome.name,
        parent="",
        embedding=split.embedding if split.embedding not in declared else "",
        fields=_pairs(split.fields),
        tokens=split.tokens,
        shape=shape,
        made=f"the tokens{shape} that enter the stages" + (", and what goes with them" if split.embedding else ""),
        taken="an embedding" if split.embedding else f"tokens{shape}",
        why=_story(split.boundary.place, split.boundary.reasons),
        embed_signature=f"self, {_parameters(split.embed.parameters)}) -> {returned}",
        embed_body=_block(embed_body),
        stages_signature=f"self, {_parameters((entry, *split.forward_stages.parameters))}){arrow}",
        stages_body=_block((*first, *split.recomputed, *split.forward_stages.body)),
        features_signature=f"self, {_parameters(split.forward_features)}){arrow}",
        stages_call=", ".join(
            [f"self.embed({_arguments(split.embed.parameters)})", *_later(split.forward_stages.parameters)]
        ),
        inherits=False,
        halves=halves,
    )


def _halve(split: Split, patches: Patches, declared: Collection[str]) -> _Halves:
    shape = _shape(patches.layout)
    entry, first = _entry("patches", patches.record, patches.fields, patches.embed_positions)
    made, added = patches.embed_patches, patches.embed_positions
    returned = f"return {_packed(split.embedding, split.fields)}"
    return _Halves(
        record=patches.record if patches.record not in declared else "",
        fields=_pairs(patches.fields),
        tokens=patches.tokens,
        shape=shape,
        made=f"bare patches{shape.rstrip(',')}" + (", and what goes with them" if patches.record else ""),
        adds="their position, and the prefix tokens if there are any" if split.position else "the prefix tokens",
        why=_story(patches.place, patches.reasons, "They have neither position nor prefix tokens yet. "),
        patches_signature=f"self, {_parameters(made.parameters)}) -> {patches.record or patches.fields[0].annotation}",
        patches_body=_block((*made.body, f"return {_packed(patches.record, patches.fields)}")),
        positions_signature=f"self, {_parameters((entry, *added.parameters))}) -> "
        + (split.embedding or split.fields[0].annotation),
        positions_body=_block((*first, *patches.recomputed, *added.body, returned)),
    )


def _shape(layout: str) -> str:
    return f", {SHAPES[layout]}," if layout else ""


def _story(place: Place, reasons: Sequence[str], before: str = "") -> str:
    """Where a boundary is and why, as the second paragraph of a method's docstring."""
    why = "; ".join(reasons)
    story = f"{before}The boundary is {place}. {why[0].upper()}{why[1:]}."
    return textwrap.indent(textwrap.fill(story, 112, break_on_hyphens=False), " " * 8).strip()


def _pairs(fields: Sequence[Field]) -> tuple[tuple[str, str], ...]:
    return tuple((field.name, field.annotation) for field in fields)


def _packed(record: str, fields: Sequence[Field]) -> str:
    """What a method returns: ``EvaEmbedding(x, rot_pos_embed)``, or a field that is alone."""
    names = ", ".join(field.name for field in fields)
    return f"{record}({names})" if record else names


def _entry(name: str, record: str, fields: Sequence[Field], method: Method) -> tuple[Parameter, tuple[str, ...]]:
    """The first parameter of a method that takes what another returns, and the statement that unpacks it, if any."""
    if not record:
        (tokens,) = fields
        return Parameter(tokens.name, f"{tokens.name}: {tokens.annotation}"), ()
    whole = _free(name, method)
    return Parameter(whole, f"{whole}: {record}"), (f"{', '.join(field.name for field in fields)} = {whole}",)


def _free(name: str, method: Method) -> str:
    """A name for the embedding as a whole that the body does not use."""
    text = "\n".join(method.body)
    while re.search(rf"\b{name}\b", text):
        name += "_"
    return name


def _block(statements: Sequence[str]) -> str:
    return textwrap.indent("\n".join(statements).strip("\n"), " " * 8)


def _arguments(parameters: Sequence[Parameter]) -> str:
    return ", ".join([parameters[0].name, *_later(parameters[1:])])


def _later(parameters: Sequence[Parameter]) -> list[str]:
    """Arguments after the first: by name, as timm's own calls have them, where no ``*args`` would take their place."""
    spelled = {"*": "*{0}", "**": "**{0}", "positional-only": "{0}"}
    if any(p.kind == "*" for p in parameters):
        spelled["positional"] = "{0}"
    return [spelled.get(p.kind, "{0}={0}").format(p.name) for p in parameters]


def _parameters(parameters: Sequence[Parameter]) -> str:
    """Declarations in a form that can stand between parentheses, with the ``/`` and ``*`` that they need."""
    listed: list[str] = []
    for number, parameter in enumerate(parameters):
        previous = parameters[number - 1].kind if number else ""
        if previous == "positional-only" and parameter.kind != "positional-only":
            listed.append("/")
        if parameter.kind == "keyword" and previous not in ("keyword", "*"):
            listed.append("*")
        listed.append({"*": "*", "**": "**"}.get(parameter.kind, "") + parameter.declaration)
    if parameters and parameters[-1].kind == "positional-only":
        listed.append("/")
    return ", ".join(listed)


def _format(files: Mapping[str, str]) -> dict[str, str]:
    """Sort imports and lay the code out, so that whoever reads it finds the formatting that he is used to."""
    try:
        with tempfile.TemporaryDirectory(prefix="timm-split-") as folder:
            return _format_in(Path(folder), files)
    except OSError as error:
        raise TimmSplitError(f"cannot format what was generated: {error}: TMPDIR may name another place") from error


def _format_in(folder: Path, files: Mapping[str, str]) -> dict[str, str]:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    ruff = find_ruff_bin()
    common = ["--isolated", "--no-cache", "--quiet", "--line-length=120", "--target-version=py310", str(folder)]
    for command in (
        ["check", "--select=I,F401", "--fix", *common],
        ["format", "--config=format.quote-style='preserve'", *common],
    ):
        done = subprocess.run([ruff, *command], capture_output=True, text=True, encoding="utf-8", check=False)
        if done.returncode:
            raise TimmSplitError(f"ruff cannot format what was generated: {(done.stderr or done.stdout).strip()}")
    return {name: (folder / name).read_text(encoding="utf-8") for name in files}


def _manifest(
    version: str,
    outcomes: Sequence[Outcome],
    by_path: Mapping[str, Outcome],
    generated: Mapping[str, str],
    files: Sequence[str],
) -> str:
    entries = {
        outcome.path: _class_entry(outcome, by_path, generated) for outcome in sorted(outcomes, key=lambda o: o.path)
    }
    manifest = {
        "generator": "timm-split",
        "format": MANIFEST_FORMAT,
        "timm_version": version or None,
        "files": list(files),
        "classes": entries,
    }
    return json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"


def _class_entry(outcome: Outcome, by_path: Mapping[str, Outcome], generated: Mapping[str, str]) -> dict[str, object]:
    entry: dict[str, object] = {
        "module": outcome.module,
        "class": outcome.name,
        "file": outcome.place.file,
        "line": outcome.place.line,
        "digest": outcome.digest,
        "models": list(outcome.models),
    }
    result = outcome.result
    if isinstance(result, Refusal):
        return entry | {"refused": {**asdict(result.place), "reason": result.reason}}
    split = by_path[result.parent].result if isinstance(result, Inherited) else result
    assert isinstance(split, Split)
    return entry | {
        "split": {
            "module": generated[outcome.module],
            "class": f"{outcome.name}Split",
            "boundary": {
                **asdict(split.boundary.place),
                "statement": split.boundary.statement,
                "reasons": list(split.boundary.reasons),
                "stem": list(split.boundary.stem),
                "blocks": list(split.boundary.blocks),
            },
            "embedding": {
                "class": split.embedding or None,
                "tokens": split.tokens,
                "layout": split.layout or None,
                "fields": [asdict(field) for field in split.fields],
                "recomputed": list(split.recomputed),
            },
            "position": split.position,
            "patches": patches_entry(split.patches),
            "inherits": result.parent if isinstance(result, Inherited) else None,
            "delegate": asdict(split.delegate) if split.delegate else None,
        }
    }


def patches_entry(patches: Patches | Absence) -> dict[str, object]:
    """What the manifest says of the pair ``embed_patches`` and ``embed_positions``: what crosses, or why there is none.

    An object with ``class`` (the ``NamedTuple``, or ``null`` for the patches alone), ``tokens``, ``layout``, ``fields``
    (a list of ``name`` and ``annotation``; the first holds the patches), ``recomputed`` (statements that
    ``embed_positions`` begins with), ``boundary`` (``file``, ``line`` and ``statement``) and ``reasons``; or with
    ``absent``, the reason, alone.
    """
    if isinstance(patches, Absence):
        return {"absent": patches.reason}
    return {
        "class": patches.record or None,
        "tokens": patches.tokens,
        "layout": patches.layout or None,
        "fields": [asdict(field) for field in patches.fields],
        "recomputed": list(patches.recomputed),
        "boundary": {**asdict(patches.place), "statement": patches.statement},
        "reasons": list(patches.reasons),
    }
