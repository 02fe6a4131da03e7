"""From the files of a release to what becomes of their model classes, and to the names that they register."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from codegen.model.facts import Facts, Role
from codegen.source.index import Class, Index, model_files, parse_source
from codegen.source.registry import Registered, registered_in, registered_models
from codegen.split.splitter import split_model
from codegen.types import METHOD, Inherited, Outcome, Refusal, Split


@dataclass(frozen=True)
class File:
    """What was found in a file. Of one file it is the same in whatever order files are read.

    Attributes:
        outcomes: What became of its model classes, in order, but for the names that they are registered under.
        registered: The names that it registers.
    """

    outcomes: tuple[Outcome, ...]
    registered: Registered


def read_file(index: Index, path: str, done: dict[str, Outcome]) -> File:
    """Split the model classes of a file.

    Args:
        index: The release.
        path: The file.
        done: What became of classes already, by their full names. It is brought up to date.

    Raises:
        TimmSplitError: If it does not parse, or another that it leads to.
    """
    text = index.release.files[path]
    if "class" not in text and "@" not in text:  # as an __init__.py, whose `import *` would lead to all other files
        parse_source(text, path)
        return File((), {})
    registered = registered_in(index.parse(path), index.model_modules)
    outcomes = []
    for cls, owner in index.models_of(path):
        outcome = done[cls.path] = split_model(index, cls, owner, done)
        if not isinstance(outcome.result, Refusal) or _may_be_model(index, cls, owner):
            outcomes.append(outcome)
    return File(tuple(outcomes), registered)


def split_release(index: Index, ahead: Callable[[str], Mapping[str, File]] = lambda path: {}) -> Iterator[Outcome]:
    """Split every model class of a release.

    Args:
        index: The release.
        ahead: Gives what others have found in files by now, by their paths, and waits for a file that they have begun.

    Raises:
        TimmSplitError: If a file does not parse.
    """
    files: list[File] = []
    done: dict[str, Outcome] = {}
    for path in model_files(index.release):
        read = ahead(path)
        done |= {outcome.path: outcome for file in read.values() for outcome in file.outcomes}
        files.append(read[path] if path in read else read_file(index, path, done))
    outcomes = {outcome.path: outcome for file in files for outcome in file.outcomes}
    pending = list(outcomes.values())
    for outcome in pending:  # it grows: the classes of timm that the splits of user models need
        for cls in (cls for path in _needed(outcome) if (cls := index.find(path)) and cls.path not in outcomes):
            owner = index.owner(cls) or cls
            needed = split_model(index, cls, owner, done)
            if not isinstance(needed.result, Refusal) or _may_be_model(index, cls, owner):
                outcomes[cls.path] = needed
                pending.append(needed)
    names: dict[tuple[str, str], list[str]] = {}
    for name, classes in registered_models(file.registered for file in files).items():
        for key in classes:
            names.setdefault(key, []).append(name)
    for outcome in outcomes.values():
        yield replace(outcome, models=tuple(sorted(names.get((outcome.module, outcome.name), ()))))


def _may_be_model(index: Index, cls: Class, owner: Class) -> bool:
    """Whether a class is worth a refusal: many have a ``forward``, and are the parts of models."""
    if index.method == METHOD:
        return True
    facts = Facts.of(index, cls)
    attributes = {*facts.values, *facts.runs(owner.members[index.method])}
    return any(facts.role(attribute) in (Role.BLOCK, Role.BOTH) for attribute in attributes)


def _needed(outcome: Outcome) -> Iterator[str]:
    """Full names of the classes whose splits the split of a class needs."""
    if isinstance(outcome.result, Inherited):
        yield outcome.result.parent
    elif isinstance(outcome.result, Split) and outcome.result.delegate is not None:
        yield outcome.result.delegate.path
