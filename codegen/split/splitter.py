"""From a model class to its split, or to the reason why there is none."""

from __future__ import annotations

import ast
import contextlib
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from codegen.model.annotations import annotate
from codegen.model.facts import Facts, Role
from codegen.model.inputs import described, is_image_batch
from codegen.model.shape import token_order
from codegen.model.steps import names_modules
from codegen.source.imports import Import
from codegen.source.index import Class, Index, Module
from codegen.split.boundary import Cut, Refused, find_cut
from codegen.split.class_identity import check_class_identity
from codegen.split.context import decorating_context, without_context
from codegen.split.crossing import cross
from codegen.split.delegate import Delegation, find_delegate_cut, find_delegation, inline, joined
from codegen.split.found_embedding import Embedding
from codegen.split.guard import without_guard
from codegen.split.images_in_stages import check_images
from codegen.split.inlining import write_out_helpers
from codegen.split.intermediates import IntermediatesCut, cut_intermediates
from codegen.split.intermediates_inside import cut_through_inner
from codegen.split.masking import find_masking
from codegen.split.missing_embedding import STAGES_INTERMEDIATES
from codegen.split.nested import take_out_stems
from codegen.split.parent import WrittenOut, write_out_parents
from codegen.split.patches import gives_position, split_patches
from codegen.split.reuse import check_reuse
from codegen.split.rows import check_rows
from codegen.split.soundness import check_class, check_embed, check_imports, check_method, check_scope, check_stars
from codegen.split.state import check_state, embedding_effects
from codegen.split.subclassing import check_subclassing
from codegen.split.tensor_images import is_tensor
from codegen.syntax.computed_names import MARK
from codegen.syntax.dataflow import BUILTINS, Flow, Unsound, flow, signature_names
from codegen.syntax.statements import Body, Statement, read_method, source_lines
from codegen.syntax.walking import walk
from codegen.types import (
    METHOD,
    Absence,
    Boundary,
    Delegate,
    Field,
    Imported,
    Inherited,
    Intermediates,
    Method,
    Outcome,
    Patches,
    Place,
    Refusal,
    Split,
)

NEW_METHODS = ("embed", "forward_stages")
SPLIT_MODEL = "SplitModel"  # the base of every split class
# The largest of timm's are a tenth of this: the time to split a class is bounded whatever it holds.
_MOST_ANCESTORS = 100
_LONGEST_METHOD = 40_000  # characters
PATCH_METHODS = ("embed_patches", "embed_positions")  # only where an embedding can be cut in two


def split_model(index: Index, cls: Class, owner: Class, done: Mapping[str, Outcome]) -> Outcome:
    """Split one model class, or tell why not.

    Args:
        index: The release.
        cls: The class.
        owner: The class that defines its ``forward_features``: it, or one that it inherits from.
        done: What became of others, by their full names.
    """
    method = owner.members[index.method]
    lines = source_lines(owner.module.text)[method.lineno - 1 : method.end_lineno]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    place = Place(cls.module.path, method.lineno if cls is owner else cls.node.lineno)
    own = Place(owner.module.path, method.lineno)
    result: Split | Inherited | Refusal
    try:
        check_stars(index, cls)
        doubt = cls.module.doubt(cls.name)
        if doubt is not None:
            raise Refused(doubt, f"the class `{cls.name}` is defined more than once, or under a condition")
        facts = Facts.of(index, cls)
        if cls.name == SPLIT_MODEL:
            raise Refused(place, f"`{SPLIT_MODEL}` is the base of every split class: rename this one")
        for name in NEW_METHODS:
            if _has(facts, name):
                raise Refused(place, f"the class has a `{name}` of its own")
        if len(facts.lineage) > _MOST_ANCESTORS:
            raise Refused(place, f"the class has more than {_MOST_ANCESTORS} classes to inherit from")
        if sum(map(len, lines)) > _LONGEST_METHOD:
            raise Refused(own, f"the method has more than {_LONGEST_METHOD} characters: move parts into helper methods")
        check_class(index, cls, owner)
        check_subclassing(index, cls)
        if cls is owner:
            result = _with_inner(facts, split_class(facts, owner, method), done)
        else:
            parent = done.get(owner.path) or split_model(index, owner, owner, done)
            try:  # a child may define what its parent leaves open, and is split though that is not
                mine = _with_inner(facts, split_class(facts, owner, method), done)
            except (Refused, Unsound):
                if isinstance(parent.result, Refusal):
                    raise Refused(
                        parent.result.place, f"it inherits from {owner.name}: {parent.result.reason}"
                    ) from None
                raise
            # one that changes what its parent is split by is split by itself
            result = Inherited(owner.path) if mine == parent.result else _renamed(mine, cls)
    except Refused as refused:
        result = Refusal(refused.place, refused.reason)
    except RecursionError:
        result = Refusal(own, "it, or what it calls, is nested too deeply to be followed: break its expressions up")
    except Unsound as unsound:
        line = getattr(unsound.node, "lineno", method.lineno)
        result = Refusal(Place(unsound.file or owner.module.path, line), unsound.reason)
    if isinstance(result, Refusal):
        result = replace(result, reason=result.reason.replace(MARK, "{i}"))
    return Outcome(cls.module.name, cls.name, place, digest, result, free_name(cls.module, f"{cls.name}Split"))


def _known(index: Index, path: str, done: Mapping[str, Outcome]) -> Outcome | None:
    """What becomes of the class of a full name."""
    cls = index.find(path)
    if path in done or cls is None:
        return done.get(path)
    return split_model(index, cls, index.owner(cls) or cls, done)


def _has(facts: Facts, name: str) -> bool:
    return name in facts.values or any(name in ancestor.members for ancestor in facts.lineage)


def free_name(module: Module, name: str) -> str:
    """A name for the generated module that a model's module has for nothing else: ``EvaSplit``, else ``EvaSplit_``."""
    while name in module.bindings:
        name += "_"
    return name


def _renamed(split: Split, cls: Class) -> Split:
    """The split of a class that inherits its method, but is split by itself."""
    patches = split.patches
    if isinstance(patches, Patches) and patches.record:
        patches = replace(patches, record=free_name(cls.module, f"{cls.name}Patches"))
    embedding = free_name(cls.module, f"{cls.name}Embedding") if split.embedding else ""
    return replace(split, embedding=embedding, patches=patches)


def _with_inner(facts: Facts, split: Split, done: Mapping[str, Outcome]) -> Split:
    """What a class that delegates shares with its inner model."""
    if split.delegate is None:
        return split
    inner = _known(facts.index, split.delegate.path, done)
    split = _share_embedding(split, inner)
    if inner is None or not isinstance(split.intermediates, Refusal):
        return split
    found = _intermediates(facts, lambda: cut_through_inner(facts, split, inner), split.imports)
    return replace(split, intermediates=found)


def _share_embedding(split: Split, inner: Outcome | None) -> Split:
    """Give a delegating class the tuples of its inner model, where the two are the same."""
    if inner is None or not isinstance(inner.result, Split):
        return split
    mine, its = split.patches, inner.result.patches
    if isinstance(mine, Patches) and isinstance(its, Patches) and mine.fields == its.fields:
        split = replace(split, patches=replace(mine, record=its.record))
    return replace(split, embedding=inner.result.embedding) if inner.result.fields == split.fields else split


def split_class(facts: Facts, cls: Class, method: ast.stmt) -> Split:
    """Split one ``forward_features``.

    Args:
        facts: The model class.
        cls: The class in which the method stands: the model class, or one that it inherits from.
        method: The method.

    Raises:
        Refused: If it has no boundary.
        Unsound: If it cannot be cut there.
    """
    decorating = decorating_context(cls.module, method)
    function = check_method(cls.module, method, facts.index.method, context=decorating)
    body = _read_body(facts, cls, function)
    images = body.parameters[0]
    guards, rest = without_guard(cls.module, body.statements, images.name)
    if guards and decorating:
        raise Unsound(guards[0].tree, f"it answers before the rest, and `@{decorating}` is around both")
    context, rest = without_context(facts, cls.module, rest, [p.name for p in body.parameters], decorating)
    parents = write_out_parents(facts, cls, rest)
    code = _code_of(facts, replace(body, statements=parents.statements))
    if context and code.delegation is not None:
        raise Unsound(function, f"`with {context}` is around the call of an inner model: split that one")
    around = ast.parse(f"with {context}: pass").body if context else []
    every = [*around, *(s.tree for s in (*guards, *code.statements))]
    names = [parameter.name for parameter in body.parameters]
    whole = flow(every, [body.receiver, *names])
    check_scope(cls.module, cls.node, function, whole)
    code, cut = _cut_of(code, names)
    made = [s.tree for s in cut.embed]
    crossing = cross(code.facts, cut.embed, cut.stages, body.parameters, cut.tokens)
    check_embed([s.tree for s in crossing.embed], crossing.fields, [s.tree for s in cut.early])
    annotations = _annotations(function)
    kinds = annotate(code.facts, made, annotations, images.name)
    fields = tuple(Field(name, kinds.get(name) or "Any") for name in crossing.fields)
    imports = _imports(facts, cls, function, code, whole, parents)
    before = embedding_effects(code.facts, crossing, names)
    with _in_their_files([*crossing.embed, *crossing.stages]):
        check_state(code.facts, crossing, before, names, cut.early)
        check_reuse(code.facts, crossing, before, fields)
        check_rows(code.facts, crossing, before, body.parameters)
        check_images(code.facts, crossing, images.name)
    check_class_identity(facts, (*NEW_METHODS, *PATCH_METHODS))
    image_batch = is_image_batch(cls.module.name, images.name, annotations[images.name])
    told = [p for p in body.parameters if p is not images or not image_batch]  # an image batch needs no text
    parameters = {p.name: p for p in body.parameters}
    parameters |= {p.name: described(code.facts, made, p) for p in told}
    embed = Method(tuple(parameters[n] for n in crossing.embed_parameters), _texts(crossing.embed))
    record = free_name(cls.module, f"{cls.name}Patches")
    patches = _why_no_patches(facts, record, imports) or split_patches(
        code.facts, record, crossing, embed.parameters, annotations
    )
    embedding = Embedding(
        crossing.embed,
        images.name,
        crossing.embed_parameters[1:],
        crossing.fields,
        context,
        image_batch,
        cut.early,
        is_tensor(cls.module, annotations[images.name]),
    )
    intermediates = _intermediates(facts, lambda: cut_intermediates(facts, embedding), imports)
    if cut.early and isinstance(patches, Patches):  # what returns from the first half would enter the second
        line = cut.early[0].place.line
        patches = Absence(f"the method may return before the embedding is complete (line {line})")
    return Split(
        boundary=replace(cut.boundary, statement=_as_written(facts.index, cut.boundary)),
        embed=embed,
        forward_stages=Method(tuple(parameters[n] for n in crossing.stages_parameters), _texts(crossing.stages)),
        forward_features=tuple(parameters.values()),
        returns=body.returns,
        tokens=cut.tokens,
        layout=token_order(code.facts, made, images.name, cut.tokens),
        fields=fields,
        embedding=free_name(cls.module, f"{cls.name}Embedding") if len(fields) > 1 else "",
        recomputed=crossing.recomputed,
        early=tuple(ast.unparse(s.tree.test) for s in cut.early if isinstance(s.tree, ast.If)),
        imports=tuple(sorted(imports, key=lambda imported: imported.name)),
        postponed=cls.module.postponed_annotations,
        delegate=code.delegate,
        passages=crossing.passages,
        position=gives_position(code.facts, crossing.embed, images.name),
        patches=patches,
        image_batch=image_batch,
        docstring=body.docstring,
        masking=find_masking(
            code.facts,
            [s.tree for s in crossing.embed],
            [s.tree for s in crossing.stages],
            crossing.fields,
            crossing.embed_parameters[1:],
        ),
        guards=_texts(guards),
        context=context,
        parents=parents.parents,
        intermediates=intermediates,
    )


@contextlib.contextmanager
def _in_their_files(statements: Sequence[Statement]) -> Iterator[None]:
    """Say of a refusal in which file its statement stands, which a parent's method that is written out may bring."""
    try:
        yield
    except Unsound as unsound:
        own = (s for s in statements if any(node is unsound.node for node in walk(s.tree)))
        statement = next(own, None) if not unsound.file else None
        if statement is None:
            raise
        raise Unsound(unsound.node, unsound.reason, statement.place.file) from unsound


def _intermediates(
    facts: Facts, make: Callable[[], IntermediatesCut | None], imports: Collection[Imported]
) -> Intermediates | Refusal | None:
    """The intermediate features of a class from its embedding, or why there are none."""
    index = facts.index
    if index.method != METHOD:
        return None
    place = Place(facts.cls.module.path, facts.cls.node.lineno)
    try:
        if _has(facts, STAGES_INTERMEDIATES):
            raise Refused(place, f"the class has a `{STAGES_INTERMEDIATES}` of its own")
        cut = make()
        if cut is None:
            return None
        place = Place(cut.owner.module.path, cut.function.lineno)
        taken = _imported(index, cut.owner.module, signature_names(cut.function) | cut.needs)
        both = {i.name: i for i in imports}
        differs = [i.name for i in taken if both.get(i.name, i) != i]
        if differs:
            raise Refused(place, f"`{min(differs)}` means one thing here and another where forward_features stands")
    except Refused as refused:
        return Refusal(refused.place, refused.reason)
    except Unsound as unsound:
        line = getattr(unsound.node, "lineno", place.line)
        return Refusal(Place(unsound.file or place.file, line), unsound.reason)
    lines = source_lines(cut.owner.module.text)[cut.function.lineno - 1 : cut.function.end_lineno]
    declared = {parameter.name: parameter for parameter in cut.body.parameters}
    return Intermediates(
        place=cut.made[-1].last,
        statement=source_lines(cut.owner.module.text)[cut.made[-1].place.line - 1].strip(),
        lines=cut.lines,
        digest=hashlib.sha256("\n".join(lines).encode()).hexdigest(),
        stages=Method(tuple(declared[name] for name in cut.parameters), _texts(cut.stages)),
        taken=cut.taken,
        image_size=cut.reads_size,
        prologue=(*cut.early, *cut.sizes, *cut.recomputed),
        returns=cut.body.returns,
        docstring=cut.body.docstring,
        imports=tuple(sorted(taken, key=lambda imported: imported.name)),
        inside_stem=cut.inside_stem,
        whole=cut.whole,
    )


def _read_body(facts: Facts, cls: Class, function: ast.FunctionDef) -> Body:
    """The statements and parameters of a method, of which the first takes the images."""
    body = read_method(cls.module.text, function, cls.module.path, facts.index.computed_names(cls.module.path))
    place = Place(cls.module.path, function.lineno)
    if not body.statements:
        raise Refused(place, "the method has no statements")
    if not body.parameters:
        raise Refused(place, "the method takes no images")
    if body.parameters[0].kind not in ("positional", "positional-only"):
        raise Refused(place, "its first parameter is not the images")
    return body


@dataclass(frozen=True, eq=False)
class _Code:
    """What is cut: the statements of the method, or those of the inner model that it delegates to.

    Attributes:
        facts: The class whose attributes they read.
        statements: All of them.
        delegation: The inner model, if any.
        written: What each call of it stands for.
    """

    facts: Facts
    statements: tuple[Statement, ...]
    delegation: Delegation | None = None
    written: Sequence[tuple[Statement, ...]] = ()

    def opened(self, parameters: Sequence[str]) -> _Code:
        """The code with stems in statements of their own that run inside those that run the blocks."""
        if self.delegation is not None or self.facts.cls.module.is_timms:
            return self
        return replace(self, statements=take_out_stems(self.facts, self.statements, parameters))

    @property
    def delegate(self) -> Delegate | None:
        return None if self.delegation is None else Delegate(self.delegation.attribute, self.facts.cls.path)

    def cut(self, images: str) -> Cut:
        """The statements before the boundary and those after it, which run the blocks.

        Raises:
            Refused: If there is no boundary.
        """
        if self.delegation is None:
            cut = find_cut(self.facts, self.statements, images)
        else:
            cut = find_delegate_cut(self.delegation, self.written, images)
        named = (statement for statement in cut.embed if names_modules(self.facts, statement.tree))
        run = (attribute for statement in (*cut.stages, *named) for attribute in self.facts.runs(statement.tree))
        if not any(self.facts.role(attribute) in (Role.BLOCK, Role.BOTH) for attribute in run):
            place = self.statements[-1].place
            raise Refused(place, "no statement runs the blocks of the model, as far as can be read")
        return cut


def _code_of(facts: Facts, body: Body) -> _Code:
    delegation = find_delegation(facts, body)
    if delegation is None:
        return _Code(facts, write_out_helpers(facts, body.statements, [p.name for p in body.parameters]))
    written = inline(facts, delegation, [p.name for p in body.parameters])
    return _Code(delegation.facts, joined(delegation, written), delegation, written)


def _cut_of(code: _Code, parameters: Sequence[str]) -> tuple[_Code, Cut]:
    """The cut of some code; of the code with more statements, if there is none otherwise.

    Raises:
        Refused: If it has no boundary.
    """
    try:
        return code, code.cut(parameters[0])
    except Refused as refused:
        opened = code.opened(parameters)
        try:
            return opened, opened.cut(parameters[0])
        except Refused:
            raise refused from None


def _why_no_patches(facts: Facts, record: str, imports: Collection[Imported]) -> Absence | None:
    """What stands in the way of an ``embed_patches``, before its statements are looked at."""
    own = next((name for name in PATCH_METHODS if _has(facts, name)), "")
    if own:
        return Absence(f"the class has a `{own}` of its own")
    if any(imported.name == record for imported in imports):
        return Absence(f"`{record}` is another thing in its module")
    return None


def _as_written(index: Index, boundary: Boundary) -> str:
    """The first line of the statement at a boundary; what is generated there may have other names."""
    place = boundary.place
    first = next((first for first, last in boundary.lines if last == place.line), place.line)
    return source_lines(index.release.files[place.file])[first - 1].strip()


def _texts(statements: Sequence[Statement]) -> tuple[str, ...]:
    return tuple(statement.text for statement in statements)


def _annotations(function: ast.FunctionDef) -> Mapping[str, ast.expr | None]:
    args = function.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs]
    return {arg.arg: arg.annotation for arg in every[1:]}


def _imports(
    facts: Facts, cls: Class, function: ast.FunctionDef, code: _Code, whole: Flow, parents: WrittenOut
) -> frozenset[Imported]:
    """Where all the names come from that a split class needs.

    Raises:
        Unsound: If one of them means two things, or another thing than in the generated module.
    """
    # the statements of an inner model read the names of its module
    module = code.facts.cls.module if code.delegation is not None else cls.module
    taken = whole.needs - whole.may_bind  # a local that may be unbound where it is read stays a local
    theirs = _borrowed(facts.index, cls.module, function, parents)
    taken -= {imported.name for imported in theirs} - cls.module.bindings.keys()
    own = signature_names(function) | (taken & cls.module.bindings.keys())
    imports = theirs | _imported(facts.index, cls.module, own) | _imported(facts.index, module, taken)
    if len({imported.name for imported in imports}) < len(imports):
        raise Unsound(function, "a name means one thing in its module and another in that of the inner model")
    given = {"torch": Imported("torch", "torch"), "NamedTuple": Imported("NamedTuple", "typing", "NamedTuple")}
    ours = (free_name(cls.module, f"{cls.name}{what}") for what in ("Embedding", "Split"))
    declared = dict.fromkeys((*ours, SPLIT_MODEL))
    for name, origin in {**given, **declared}.items():
        if any(imported.name == name and imported != origin for imported in imports):
            raise Unsound(function, f"`{name}` is another thing in its module than in the generated one")
    return imports


def _borrowed(index: Index, module: Module, function: ast.FunctionDef, parents: WrittenOut) -> frozenset[Imported]:
    """Where the names come from that the statements of parents take from their modules.

    Raises:
        Unsound: If one of them means another thing in the module of the child.
    """
    found: frozenset[Imported] = frozenset()
    for home, names in parents.borrowed:
        if home is module:
            continue
        theirs = _imported(index, home, names)
        hidden = {name for name in names if name in home.bindings} & (BUILTINS - module.bindings.keys())
        mixed = names & module.bindings.keys()
        differs = {i.name for i in theirs ^ _imported(index, module, mixed) if i.name in mixed} | hidden
        differs |= {i.name for i in found - theirs if i.name in names}
        if differs:
            raise Unsound(function, f"`{min(differs)}` means one thing in its module and another in that of the parent")
        found |= theirs
    return found


def _imported(index: Index, module: Module, names: Collection[str]) -> frozenset[Imported]:
    """Where the names come from that code takes from its module."""
    check_imports(index, module, names)
    found = []
    for name in set(names) & module.bindings.keys():
        origin = None if "*" in module.bindings else module.import_of(name)  # `import *` may have rebound it
        origin = origin or Import(module.name, name)
        found.append(Imported(name, origin.module, origin.name))
    return frozenset(found)
