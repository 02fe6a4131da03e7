"""From a model class to its split, or to the reason why there is none."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from codegen.annotations import annotate
from codegen.body import Body, Statement, read_method
from codegen.boundary import Refused, find_cut
from codegen.crossing import cross
from codegen.dataflow import BUILTINS, Unsound, flow
from codegen.delegate import find_delegate, inline
from codegen.facts import Facts
from codegen.index import METHOD, Class, Import, Index
from codegen.layout import token_layout
from codegen.soundness import check_embed, check_method
from codegen.types import Delegate, Field, Imported, Inherited, Method, Outcome, Place, Refusal, Split

NEW_METHODS = ("embed", "forward_stages")


def split_release(index: Index, models: Mapping[str, Sequence[tuple[str, str]]]) -> Iterator[Outcome]:
    """Split every model class of a release.

    Args:
        index: The release.
        models: Registered names, each with the (module, class) that it builds.
    """
    names: dict[tuple[str, str], list[str]] = {}
    for name, classes in models.items():
        for key in classes:
            names.setdefault(key, []).append(name)
    done: dict[str, Outcome] = {}
    for cls, owner in index.models():
        outcome = _outcome(index, cls, owner, done)
        outcome = replace(outcome, models=tuple(sorted(names.get((cls.module.name, cls.name), ()))))
        done[cls.path] = outcome
    yield from done.values()


def _outcome(index: Index, cls: Class, owner: Class, done: Mapping[str, Outcome]) -> Outcome:
    method = owner.members[METHOD]
    lines = owner.module.text.splitlines()[method.lineno - 1 : method.end_lineno]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    place = Place(cls.module.path, method.lineno if cls is owner else cls.node.lineno)
    result: Split | Inherited | Refusal
    try:
        doubt = cls.module.doubt(cls.name)
        if doubt is not None:
            raise Refused(doubt, f"the class `{cls.name}` is defined more than once, or under a condition")
        facts = Facts(index, cls)
        for name in NEW_METHODS:
            if name in facts.values or any(name in ancestor.members for ancestor in facts.lineage):
                raise Refused(place, f"the class has a `{name}` of its own")
        if cls is owner:
            result = split_class(facts, method)
            if result.delegate is not None:
                result = _share_embedding(result, done.get(result.delegate.path))
        else:
            parent = done.get(owner.path) or _outcome(index, owner, owner, done)
            if isinstance(parent.result, Refusal):
                raise Refused(parent.result.place, f"it inherits from {owner.name}: {parent.result.reason}")
            result = Inherited(owner.path)
    except Refused as refused:
        result = Refusal(refused.place, refused.reason)
    except Unsound as unsound:
        result = Refusal(Place(owner.module.path, getattr(unsound.node, "lineno", method.lineno)), unsound.reason)
    return Outcome(cls.module.name, cls.name, place, digest, result)


def _share_embedding(split: Split, inner: Outcome | None) -> Split:
    """Give a delegating class the embedding of its inner model, where the two are the same."""
    if inner is not None and isinstance(inner.result, Split) and inner.result.fields == split.fields:
        return replace(split, embedding=inner.result.embedding)
    return split


def split_class(facts: Facts, method: ast.stmt) -> Split:
    """Split one ``forward_features``.

    Raises:
        Refused: If it has no boundary.
        Unsound: If it cannot be cut there.
    """
    cls = facts.cls
    function = check_method(method)
    body = read_method(cls.module.text, function, cls.module.path)
    if not body.statements:
        raise Refused(Place(cls.module.path, function.lineno), "the method has no statements")
    if not body.parameters:
        raise Refused(Place(cls.module.path, function.lineno), "the method takes no images")
    images = body.parameters[0]
    if images.kind not in ("positional", "positional-only"):
        raise Refused(Place(cls.module.path, function.lineno), "its first parameter is not the images")
    delegate = find_delegate(facts, body)
    if delegate is None:
        statements, inner = body.statements, facts
    else:
        statements = inline(delegate)
        inner = delegate.facts
    whole = flow([s.tree for s in statements], [body.receiver, *(p.name for p in body.parameters)])
    cut = find_cut(inner, statements, images.name)
    crossing = cross(inner, cut.embed, cut.stages, [p.name for p in body.parameters], cut.tokens)
    check_embed(body.receiver, [s.tree for s in (*crossing.embed, *crossing.stages[:0])])
    kinds = annotate(inner, [s.tree for s in cut.embed], _annotations(function))
    fields = tuple(Field(name, kinds[name]) for name in crossing.fields)
    parameters = {p.name: p for p in body.parameters}
    owner = inner.cls
    return Split(
        boundary=cut.boundary,
        embed=Method(tuple(parameters[n] for n in crossing.embed_parameters), _texts(crossing.embed)),
        forward_stages=Method(tuple(parameters[n] for n in crossing.stages_parameters), _texts(crossing.stages)),
        forward_features=body.parameters,
        returns=body.returns,
        tokens=cut.tokens,
        layout=token_layout(inner, [s.tree for s in cut.embed], images.name, cut.tokens),
        fields=fields,
        embedding=f"{cls.name}Embedding" if len(fields) > 1 else "",
        recomputed=crossing.recomputed,
        imports=_imports(owner, function, whole.needs, body),
        postponed=owner.module.postponed_annotations,
        delegate=None if delegate is None else Delegate(delegate.attribute, owner.path),
    )


def _texts(statements: Sequence[Statement]) -> tuple[str, ...]:
    return tuple(statement.text for statement in statements)


def _annotations(function: ast.FunctionDef) -> Mapping[str, ast.expr | None]:
    args = function.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs]
    return {arg.arg: arg.annotation for arg in every[1:]}


def _imports(cls: Class, function: ast.FunctionDef, needs: frozenset[str], body: Body) -> tuple[Imported, ...]:
    """Where the names come from that the bodies and the signature take from their module."""
    module = cls.module
    signature = [*ast.walk(function.args), *(ast.walk(function.returns) if function.returns else ())]
    names = set(needs) | {node.id for node in signature if isinstance(node, ast.Name)}
    names -= {body.receiver}
    for name in sorted(names):
        if name not in module.bindings and name not in BUILTINS:
            raise Unsound(function, f"`{name}` is not defined at the top level of its module")
        if name in module.rebound:
            raise Unsound(function, f"`{name}` is a global that its module rebinds while it runs")
    found = []
    for name in sorted(names & set(module.bindings)):
        origin = module.import_of(name) or Import(module.name, name)
        found.append(Imported(name, origin.module, origin.name))
    return tuple(found)
