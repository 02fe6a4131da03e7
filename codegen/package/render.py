"""From splits to the text of a package. What to say is decided here; the templates only lay it out."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import jinja2

from codegen.manifest import MANIFEST
from codegen.package import docstrings, templates
from codegen.package.delegation import Reach, calls, reach
from codegen.package.entries import manifest_text
from codegen.package.formatting import format_files
from codegen.package.naming import module_names
from codegen.package.signatures import (
    SIZE_TYPE,
    arguments,
    declarations,
    entry_of_intermediates,
    entry_parameter,
    later_arguments,
    returned_type,
)
from codegen.split.intermediates import IMAGE_SIZE
from codegen.types import (
    METHOD,
    Field,
    Imported,
    Inherited,
    Intermediates,
    Outcome,
    Parameter,
    Patches,
    Refusal,
    Split,
)

_TYPING = ("Any", "Callable", "Dict", "List", "Optional", "Sequence", "Tuple", "Union")


def render(
    version: str, outcomes: Sequence[Outcome], *, user_source: str = "", method: str = METHOD
) -> Mapping[str, str]:
    """Render a package.

    Args:
        version: The timm release that it is for, empty if it needs none.
        outcomes: What became of each class.
        user_source: Name of the file or directory that holds user models; empty for a release of timm.
        method: The method that is split.

    Returns:
        The text of each file by its path in the package, the manifest among them.

    Raises:
        TimmSplitError: If the formatter fails, which would mean that a rendered file is not Python.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates.folder()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    by_path = {outcome.path: outcome for outcome in outcomes}
    generated = module_names(outcomes)
    if user_source and not re.fullmatch(r"[\w.-]+", user_source):
        user_source = "your models"  # the name of a directory may hold anything, and this stands in strings
    modules: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if not isinstance(outcome.result, Refusal):
            modules.setdefault(outcome.module, []).append(outcome)
    files = {}
    for module, members in modules.items():
        page = _page(module, members, by_path, generated, method)
        files[f"{generated[module]}.py"] = environment.get_template("model.py.j2").render(page=page)
    exported = ["CheckError", "SplitModel", "check", "split"]
    if not user_source:
        exported[3:3] = ["create_model", "list_models"]
    exported[:0] = ["__timm_version__"] if version else []
    files["__init__.py"] = environment.get_template("__init__.py.j2").render(
        timm_version=version, user_source=user_source, exported=exported, method=method
    )
    files = format_files(files)
    files |= templates.runtime_modules(factory=not user_source)  # timm's factory makes timm's models
    files["py.typed"] = ""
    files[MANIFEST] = manifest_text(version, user_source, outcomes, files, method)
    return {name: files[name] for name in sorted(files)}


@dataclass(frozen=True)
class _Halves:
    """The two methods of an embedding that is cut where its patches are complete, ready to lay out."""

    record: str
    record_docstring: str
    fields: tuple[tuple[str, str], ...]
    patches_signature: str
    patches_docstring: str
    patches_body: str
    positions_signature: str
    positions_docstring: str
    positions_body: str


@dataclass(frozen=True)
class _Taps:
    """The method that gives the outputs of the blocks, ready to lay out."""

    signature: str
    docstring: str
    body: str


@dataclass(frozen=True)
class _Class:
    """One class of a page, ready to lay out."""

    name: str
    split_name: str
    bases: str
    parent: str
    embedding: str
    embedding_docstring: str
    fields: tuple[tuple[str, str], ...]
    embed_signature: str
    embed_docstring: str
    embed_body: str
    stages_signature: str
    stages_docstring: str
    stages_body: str
    features_signature: str
    features_docstring: str
    features_guards: str
    stages_call: str
    inherits: bool
    delegates: bool
    halves: _Halves | None
    taps: _Taps | None


@dataclass(frozen=True)
class _Page:
    """One generated module, ready to lay out."""

    file: str
    module: str
    imports: tuple[str, ...]
    checking: str
    user_models: bool
    postponed: bool
    classes: tuple[_Class, ...]
    method: str


def _page(
    module: str, members: Sequence[Outcome], by_path: Mapping[str, Outcome], generated: Mapping[str, str], method: str
) -> _Page:
    imports: set[str] = set()
    records: set[str] = set()
    classes = []
    for outcome in sorted(members, key=lambda o: isinstance(o.result, Inherited)):
        imports.add(f"from {outcome.module} import {outcome.name}")
        if isinstance(outcome.result, Inherited):
            parent = by_path[outcome.result.parent]
            name = parent.split_name
            if parent.module != outcome.module:
                taken = {other.name for other in members} | {other.split_name for other in members}
                while name in taken:  # a user's own VisionTransformerSplit
                    name += "_"
                renamed = "" if name == parent.split_name else f" as {name}"
                imports.add(f"from .{generated[parent.module]} import {parent.split_name}{renamed}")
            classes.append(_inheriting(outcome, parent, name))
        elif isinstance(outcome.result, Split):
            split = outcome.result
            inner = by_path.get(split.delegate.path) if split.delegate else None
            reached = reach(split, inner)
            if reached and inner and inner.module != outcome.module:
                imports.add(f"from .{generated[inner.module]} import {reached.split_class}")
            imports.add("from ._split import SplitModel")
            imports |= {_import(imported) for imported in split.imports}
            kinds = " ".join(field.annotation for field in (*split.fields, *_patch_fields(split)))
            if isinstance(split.intermediates, Intermediates):
                imports |= {_import(imported) for imported in split.intermediates.imports}
                if split.intermediates.whole and inner and inner.module != outcome.module:
                    imports.add(f"from .{generated[inner.module]} import {inner.split_name}")
                kinds += f" {SIZE_TYPE}" if split.intermediates.image_size else ""
            imports |= {f"from typing import {name}" for name in _TYPING if re.search(rf"\b{name}\b", kinds)}
            if "torch." in kinds or split.delegate:  # which TorchScript is told to compile
                imports.add("import torch")
            if _records(split):
                imports.add("from typing import NamedTuple")
            classes.append(_splitting(outcome, split, records, reached))
            records |= _records(split)
    postponed = any(isinstance(o.result, Split) and o.result.postponed for o in members)
    checking = _free(members, "TYPE_CHECKING")
    imports.add("from typing import TYPE_CHECKING" + (f" as {checking}" if checking != "TYPE_CHECKING" else ""))
    user_models = not module.startswith("timm.")
    file = members[0].place.file
    return _Page(file, module, tuple(sorted(imports)), checking, user_models, postponed, tuple(classes), method)


def _free(members: Sequence[Outcome], name: str) -> str:
    """A name of the module ``typing``, or another one if the statements mean something else by it."""
    used = {imported for outcome in members if isinstance(outcome.result, Split) for imported in outcome.result.imports}
    taken = {outcome.name for outcome in members} | {each.name for each in used if each.module != "typing"}
    while name in taken:
        name += "_"
    return name


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


def _inheriting(outcome: Outcome, parent: Outcome, base: str) -> _Class:
    blank = dict.fromkeys(_Class.__dataclass_fields__, "")
    blank |= {"name": outcome.name, "split_name": outcome.split_name, "parent": parent.name}
    blank["bases"] = f"{base}, {outcome.name}"
    return _Class(**{**blank, "fields": (), "inherits": True, "delegates": False, "halves": None, "taps": None})  # type: ignore[arg-type]


def _splitting(outcome: Outcome, split: Split, declared: Collection[str], reached: Reach | None) -> _Class:
    """Lay a class out, with those of its tuples that are not declared yet."""
    whole, first = entry_parameter("embedding", split.embedding, split.fields, split.forward_stages)
    returns = _packed(split.embedding, split.fields)
    arrow = f" -> {split.returns}" if split.returns else ""
    early = [f"if {question}:\n    return {whole.name}" for question in split.early]
    halves = None
    made_inside = calls(split, reached)
    embed_body = _inside(split.context, (*split.embed.body, f"return {returns}"))
    stages_body = reached.stages(split, whole.name) if reached else split.forward_stages.body
    if isinstance(split.patches, Patches):
        halves = _halve(split, split.patches, declared, reached)
        call = f"self.embed_patches({arguments(split.patches.embed_patches.parameters)})"
        later = later_arguments(split.patches.embed_positions.parameters)
        embed_body = (f"return self.embed_positions({', '.join([call, *later])})",)
    return _Class(
        name=outcome.name,
        split_name=outcome.split_name,
        bases=f"{outcome.name}, SplitModel",
        parent="",
        embedding=split.embedding if split.embedding not in declared else "",
        embedding_docstring=docstrings.literal(docstrings.of_embedding(split)),
        fields=_pairs(split.fields),
        embed_signature=f"self, {declarations(split.embed.parameters)}){returned_type(split.embedding, split.fields)}",
        embed_docstring=docstrings.literal(docstrings.of_embed(split)),
        embed_body=_block((*made_inside["embed"], *embed_body)),
        stages_signature=f"self, {declarations((whole, *split.forward_stages.parameters))}){arrow}",
        stages_docstring=docstrings.literal(docstrings.of_forward_stages(split, whole)),
        stages_body=_block(_inside(split.context, (*early, *first, *split.recomputed, *stages_body))),
        features_signature=f"self, {declarations(split.forward_features)}){arrow}",
        features_docstring=docstrings.literal(docstrings.of_forward_features(split, outcome.name)),
        features_guards=_block(split.guards),
        stages_call=", ".join(
            [f"self.embed({arguments(split.embed.parameters)})", *later_arguments(split.forward_stages.parameters)]
        ),
        inherits=False,
        delegates=split.delegate is not None,
        halves=halves,
        taps=_tap(split, split.intermediates) if isinstance(split.intermediates, Intermediates) else None,
    )


def _tap(split: Split, intermediates: Intermediates) -> _Taps:
    whole, first = entry_of_intermediates(split, intermediates)
    size = (Parameter(IMAGE_SIZE, f"{IMAGE_SIZE}: {SIZE_TYPE}"),) if intermediates.image_size else ()
    parameters = (whole, *size, *intermediates.stages.parameters)
    arrow = f" -> {intermediates.returns}" if intermediates.returns else ""
    return _Taps(
        signature=f"self, {declarations(parameters)}){arrow}",
        docstring=docstrings.literal(docstrings.of_intermediates(split, intermediates, whole)),
        body=_block(_inside(split.context, (*first, *intermediates.prologue, *intermediates.stages.body))),
    )


def _halve(split: Split, patches: Patches, declared: Collection[str], reached: Reach | None) -> _Halves:
    whole, first = entry_parameter("patches", patches.record, patches.fields, patches.embed_positions)
    made, added = patches.embed_patches, patches.embed_positions
    returned = f"return {_packed(split.embedding, split.fields)}"
    call = ", ".join([whole.name, *later_arguments(added.parameters)])
    added_inside = (reached.first("embed_positions", call),) if reached else ()
    made_inside = calls(split, reached)["embed_patches"]
    return _Halves(
        record=patches.record if patches.record not in declared else "",
        record_docstring=docstrings.literal(docstrings.of_patches(patches)),
        fields=_pairs(patches.fields),
        patches_signature=f"self, {declarations(made.parameters)}){returned_type(patches.record, patches.fields)}",
        patches_docstring=docstrings.literal(docstrings.of_embed_patches(split, patches)),
        patches_body=_block(
            _inside(split.context, (*made_inside, *made.body, f"return {_packed(patches.record, patches.fields)}"))
        ),
        positions_signature=f"self, {declarations((whole, *added.parameters))})"
        + returned_type(split.embedding, split.fields),
        positions_docstring=docstrings.literal(docstrings.of_embed_positions(split, patches, whole)),
        positions_body=_block(
            _inside(split.context, (*added_inside, *first, *patches.recomputed, *added.body, returned))
        ),
    )


def _pairs(fields: Sequence[Field]) -> tuple[tuple[str, str], ...]:
    return tuple((field.name, field.annotation) for field in fields)


def _packed(record: str, fields: Sequence[Field]) -> str:
    """What a method returns: ``EvaEmbedding(x, rot_pos_embed)``, or a field that is alone."""
    names = ", ".join(field.name for field in fields)
    return f"{record}({names})" if record else names


def _inside(context: str, statements: Sequence[str]) -> tuple[str, ...]:
    """Statements inside the context that the method enters, if it does."""
    if not context:
        return tuple(statements)
    body = "\n".join(statement.strip("\n") for statement in statements)
    return (f"with {context}:\n{textwrap.indent(body, '    ')}",)


def _block(statements: Sequence[str]) -> str:
    return textwrap.indent("\n".join(statements).strip("\n"), " " * 8)
