"""What became of each class, in the words of the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from codegen.manifest import (
    FORMAT,
    GENERATOR,
    MANIFEST,
    AbsenceEntry,
    BoundaryEntry,
    ClassEntry,
    EmbeddingEntry,
    IntermediatesEntry,
    Manifest,
    PatchesEntry,
    RefusalEntry,
    SplitEntry,
    StatementEntry,
    digest_of,
    to_json,
)
from codegen.package.naming import module_names
from codegen.types import METHOD, Absence, Inherited, Intermediates, Outcome, Patches, Refusal, Split


def manifest_text(
    version: str, user_source: str, outcomes: Sequence[Outcome], files: Mapping[str, str], method: str = METHOD
) -> str:
    """The manifest of a package.

    Args:
        version: The timm release that it is for, empty if it needs none.
        user_source: Name of the file or directory of user models that it is for; empty for a release of timm.
        outcomes: What became of each class.
        files: The text of each other file of the package.
        method: The method that is split.
    """
    manifest = Manifest(
        generator=GENERATOR,
        format=FORMAT,
        timm_version=version or None,
        files=tuple(sorted([*files, MANIFEST])),
        digests={name: digest_of(files[name].encode()) for name in sorted(files)},
        user_source=user_source or None,
        classes=class_entries(outcomes),
        method=method,
    )
    return to_json(manifest) + "\n"


def class_entries(outcomes: Sequence[Outcome]) -> Mapping[str, ClassEntry]:
    """The entry of each class, by its full name, in the order of these names."""
    by_path = {outcome.path: outcome for outcome in outcomes}
    modules = module_names(outcomes)
    return {path: _class_entry(by_path[path], by_path, modules) for path in sorted(by_path)}


def _class_entry(outcome: Outcome, by_path: Mapping[str, Outcome], modules: Mapping[str, str]) -> ClassEntry:
    result = outcome.result
    refused = RefusalEntry(result.place.file, result.place.line, result.reason) if isinstance(result, Refusal) else None
    return ClassEntry(
        module=outcome.module,
        class_=outcome.name,
        file=outcome.place.file,
        line=outcome.place.line,
        digest=outcome.digest,
        models=outcome.models,
        refused=refused,
        split=None if refused else _split_entry(outcome, by_path, modules[outcome.module]),
    )


def _split_entry(outcome: Outcome, by_path: Mapping[str, Outcome], module: str) -> SplitEntry:
    result = outcome.result
    parent = result.parent if isinstance(result, Inherited) else None
    split = result if parent is None else by_path[parent].result
    assert isinstance(split, Split)
    boundary = split.boundary
    return SplitEntry(
        module=module,
        class_=outcome.split_name,
        boundary=BoundaryEntry(
            file=boundary.place.file,
            line=boundary.place.line,
            statement=boundary.statement,
            reasons=boundary.reasons,
            stem=boundary.stem,
            blocks=boundary.blocks,
        ),
        embedding=EmbeddingEntry(
            class_=split.embedding or None,
            tokens=split.tokens,
            layout=split.layout or None,
            fields=split.fields,
            recomputed=split.recomputed,
        ),
        position=split.position,
        patches=_patches_entry(split.patches),
        masking=split.masking,
        inherits=parent,
        delegate=split.delegate,
        parents=split.parents,
        intermediates=_intermediates_entry(split.intermediates),
    )


def _intermediates_entry(found: Intermediates | Refusal | None) -> IntermediatesEntry | RefusalEntry | None:
    if isinstance(found, Refusal):
        return RefusalEntry(found.place.file, found.place.line, found.reason)
    if found is None:
        return None
    return IntermediatesEntry(
        file=found.place.file,
        line=found.place.line,
        statement=found.statement,
        digest=found.digest,
        fields=tuple(field for field, _ in found.taken),
        image_size=found.image_size,
        parameters=tuple(parameter.name for parameter in found.stages.parameters),
        inside_stem=found.inside_stem,
    )


def _patches_entry(patches: Patches | Absence) -> PatchesEntry | AbsenceEntry:
    if isinstance(patches, Absence):
        return AbsenceEntry(patches.reason)
    return PatchesEntry(
        class_=patches.record or None,
        tokens=patches.tokens,
        layout=patches.layout or None,
        fields=patches.fields,
        recomputed=patches.recomputed,
        boundary=StatementEntry(patches.place.file, patches.place.line, patches.statement),
        reasons=patches.reasons,
    )
