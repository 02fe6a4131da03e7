"""What the first half of a method leaves behind for the second, past its caller.

``self.H, self.W = x.shape[2:]`` in a patch embedding, and ``self.patch_embed.H`` after the blocks: two embeddings of
images of different sizes would then share one size, that of the later.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence

from codegen.model.effects import Effects, effects
from codegen.model.facts import Facts, alternatives
from codegen.model.kinds import kinds_of
from codegen.model.module_kind import STATISTICS
from codegen.model.numbered import hold_own_modules, may_share_parts
from codegen.model.own_parts import may_have_another_name
from codegen.model.places import EVERYTHING, MODE, Place, may_meet
from codegen.model.sharing import is_made_of, shares_module, shares_norm
from codegen.model.statistics import reader_of_statistics
from codegen.source.index import Class
from codegen.source.reached import reached
from codegen.split.crossing import Crossing
from codegen.split.other_rounds import use_others
from codegen.syntax.computed_names import ComputedNames
from codegen.syntax.dataflow import Unsound
from codegen.syntax.statements import Statement
from codegen.syntax.walking import walk

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked", "max_norm")


def embedding_effects(facts: Facts, crossing: Crossing, parameters: Collection[str]) -> Effects:
    """What the first half of a method may read and write beside its own variables."""
    return effects(facts, [statement.tree for statement in crossing.embed], parameters)


def check_state(
    facts: Facts, crossing: Crossing, before: Effects, parameters: Collection[str], early: Sequence[Statement] = ()
) -> None:
    """Refuse two halves of which the second needs more of the first than what is handed from one to the other.

    Args:
        facts: The class.
        crossing: The halves.
        before: What the first does.
        parameters: Parameters of the method.
        early: Statements of the first half that may return, by questions that the second half asks again.

    Raises:
        Unsound: If the second half may read what the first one writes: on the model, in an argument, in a global.
    """
    names = crossing.stages[0].names
    again = [node for text in crossing.recomputed for node in _read(text, names)]
    first = [statement.tree for statement in crossing.embed]
    asked = [ast.Expr(statement.tree.test) for statement in early if isinstance(statement.tree, ast.If)]
    second = [*asked, *again, *(statement.tree for statement in crossing.stages)]
    passed_on, fields = crossing.stages_parameters, crossing.fields
    written = [place for place in before.writes if place.kind != "argument" or place.name in {*passed_on, "*"}]
    own = any(_mentions_statistics(cls) for cls in facts.lineage if not cls.module.is_timms)
    may_change = own or any(place.kind == STATISTICS for place in written)
    if may_change and (found := reader_of_statistics(facts)):
        module, node = found
        reason = "it asks for the statistics of a norm, or for any buffers: the embedding may change them in training"
        raise Unsound(node, reason, module.path)
    norms = {place.root for place in written if place.kind == STATISTICS} if not facts.cls.module.is_timms else ()
    for norm in sorted(norms):
        if may_have_another_name(facts, norm):
            reason = f"a norm of `self.{norm}` keeps statistics of the images, and may be another part of the model too"
            raise Unsound(second[0], reason)
    if norms and (shared := _shared_norm(facts, norms, crossing)) is not None:
        reason = f"`self.{shared}` may hold a norm of the embedding, or a copy, which keeps statistics of the images"
        raise Unsound(second[0], reason)
    if not written or (_are_statistics(written) and not _runs_what_mentions_statistics(facts)):
        return
    changed = [place for place in before.changes if place.kind != "argument" and not place.whole]
    if any(place.name == "training" for place in written):
        node = _culprit(facts, first, parameters, MODE)
        raise Unsound(node, "it changes the mode of the model, training or evaluation, before the boundary")
    for name in fields:
        kept = (place for place in before.names.get(name, ()) if place.kind != "argument" and not place.whole)
        for place in sorted(kept, key=_plainly):
            if any(may_meet(facts, place, other) for other in changed):
                raise Unsound(
                    second[0], f"`{name}` crosses and is what {_said(facts, place)} holds, which the embedding changes"
                )
    after = effects(facts, second, passed_on, before)
    met = [(read, place) for read in after.reads for place in written if may_meet(facts, read, place)]
    if met:
        read, wrote = min(met, key=lambda pair: (pair[0].name != pair[1].name, *map(_plainly, pair)))
        node = _reader(facts, second, passed_on, before, read)
        raise Unsound(node, _reason(facts, read, wrote, _culprit(facts, first, parameters, wrote)))


def _shared_norm(facts: Facts, norms: Collection[str], crossing: Crossing) -> str | None:
    """The attribute by which the stages use a norm of the embedding again, or a copy, in evaluation, perhaps.

    Of a container of which the embedding runs a part, they use others: ``self.downsample_layers[i]``. Of numbered
    attributes, which are not made in one place, that is asked.
    """
    first, later = ({n for s in half for n in facts.runs(s.tree)} for half in (crossing.embed, crossing.stages))
    for name in sorted(later):
        attribute, _, part = name.partition(".")
        several = facts.is_container(attribute)
        made = shares_module if several else _has_norm_of
        if attribute in norms and part and attribute not in first:  # the embedding uses parts by their numbers
            if name in first or may_share_parts(facts, attribute):
                return attribute
        elif attribute in norms:
            if (attribute in first or not several) and not _are_others(facts, crossing, attribute):
                return attribute
            if several and may_share_parts(facts, attribute):
                return attribute
        elif any(made(facts, attribute, norm) for norm in norms):
            return attribute
    return None


def _has_norm_of(facts: Facts, attribute: str, other: str) -> bool:
    return is_made_of(facts, attribute, other) or shares_norm(facts, attribute, other)


def _are_others(facts: Facts, crossing: Crossing, attribute: str) -> bool:
    """Whether an attribute with a computed name is another in the stages than in the embedding, by its number."""
    return hold_own_modules(facts, attribute) and use_others(facts, crossing, attribute)


def _are_statistics(written: Sequence[Place]) -> bool:
    """Whether nothing is written but what norms keep of the batches that they have seen."""
    return all(place.kind == STATISTICS for place in written)


def _mentions_statistics(cls: Class) -> bool:
    """Whether the file of a class names what such modules keep: most do not, and need not be followed for it."""
    return any(name in cls.module.text for name in _STATISTICS)


def _runs_what_mentions_statistics(facts: Facts) -> bool:
    """Whether code names them that may run with the model; timm's files have much that folds norms into layers."""
    files = {cls.module for cls in facts.lineage}
    if not any(map(_mentions_statistics, facts.lineage)) or not all(module.is_timms for module in files):
        return any(map(_mentions_statistics, facts.lineage))
    memory, key = facts.index.memory, ("mentions statistics", frozenset(files))
    if key not in memory:
        run = reached([module.tree for module in files], {"forward", "forward_intermediates", facts.index.method})
        memory[key] = any(name in word for code in run for word in _words(code) for name in _STATISTICS)
    found: bool = memory[key]
    return found


def _words(code: ast.AST) -> Iterator[str]:
    """The names and texts in code."""
    for node in walk(code):
        named = (getattr(node, field, None) for field in ("attr", "id", "arg", "value"))
        yield from (word for word in named if isinstance(word, str))


def _read(text: str, names: ComputedNames) -> list[ast.stmt]:
    tree = ast.parse(text)
    names.rewrite(tree)
    return tree.body


def _plainly(place: Place) -> tuple[bool, bool, bool, str, str, str]:
    """Places in the order in which they say most about a conflict."""
    return (
        place == EVERYTHING,
        place.whole,
        place.name == "*",
        place.root,
        place.name,
        place.owner.path if place.owner else "",
    )


def _reason(facts: Facts, read: Place, written: Place, node: ast.AST) -> str:
    left, unread = _said(facts, written), _unread(facts, node, deep=written == EVERYTHING)
    if written == EVERYTHING:
        what = f"{unread}, which cannot be read" if unread else f"what cannot be read{_quoted(node)}"
        return f"before the boundary, line {getattr(node, 'lineno', 0)} runs {what} and may change anything"
    if read.name == "*" or (read.whole and read.name != written.name):
        return f"it runs what cannot be read and may read {left}, which the embedding leaves on the model"
    if written.whole:
        if unread and written.root in ("", written.name):
            how = f"it runs {unread}, which cannot be read"
        elif "*" in (written.root, written.name):
            how = f"it runs what cannot be read{_quoted(node)}".rstrip(",")
        else:
            how = f"by way of {left} it runs what cannot be read"
        return f"it reads {_said(facts, read)}, which line {getattr(node, 'lineno', 0)} may change: {how}"
    where = "leaves on the model" if written.kind == "attribute" else "writes"
    return f"it reads {_said(facts, read if not read.whole else written)}, which the embedding {where}"


def _quoted(node: ast.AST) -> str:
    """A statement of one line as an insertion; empty if it is a long one."""
    text = ast.unparse(node)
    return "" if "\n" in text or len(text) > 80 else f", `{text}`,"


def _unread(facts: Facts, node: ast.AST, path: str = "self", *, deep: bool) -> str:
    """The module that code runs whose class is not known, in words; empty if there is none in sight.

    Args:
        facts: The class whose code it is.
        node: The code.
        path: The object whose code it is.
        deep: Whether to look into the modules that it runs.
    """
    for attribute in sorted(name for name in facts.runs(node) if "." not in name):
        kinds = kinds_of(facts, attribute)
        for value in facts.values.get(attribute, ()) if "?" in kinds or not kinds else ():
            for made in alternatives(value):
                maker = made.func if isinstance(made, ast.Call) else made
                if isinstance(maker, ast.Name) and maker.id in facts.home(made).constructor_parameters:
                    return f"`{path}.{attribute}`, made by the argument `{maker.id}` of the constructor"
        if "?" in kinds:
            return f"`{path}.{attribute}`"
        for inner in (Facts.of(facts.index, kind) for kind in kinds if isinstance(kind, Class) and deep):
            forward = inner.method("forward")
            if forward is not None and (found := _unread(inner, forward[1], f"self.{attribute}", deep=False)):
                return found
    return ""


def _said(facts: Facts, place: Place) -> str:
    """A place in the words of the model's code, as far as the path to it is known."""
    if place.kind == "attribute" and place.root not in ("", "*", place.name):
        direct = place.owner is None or place.owner in kinds_of(facts, place.root)
        return f"`self.{place.root}.{place.name}`" if direct else f"`{place.name}` of a part of `self.{place.root}`"
    return f"`self.{place.name}`" if place.kind == "attribute" else f"`{place.name}`"


def _culprit(facts: Facts, statements: Sequence[ast.stmt], parameters: Collection[str], place: Place) -> ast.AST:
    """The statement that writes a place, the innermost one."""
    whole = effects(facts, statements, parameters)

    def writes(statement: ast.stmt) -> bool:
        return place.name in {found.name for found in effects(facts, [statement], parameters, whole).writes}

    culprit, inside = statements[0], statements
    while found := next(filter(writes, inside), None):
        culprit, inside = found, [node for node in ast.iter_child_nodes(found) if isinstance(node, ast.stmt)]
    return culprit


def _reader(
    facts: Facts, statements: Sequence[ast.stmt], parameters: Collection[str], before: Effects, place: Place
) -> ast.AST:
    """The statement that reads a place."""
    return next(_readers(facts, statements, parameters, before, place), statements[-1])


def _readers(
    facts: Facts, statements: Sequence[ast.stmt], parameters: Collection[str], before: Effects, place: Place
) -> Iterator[ast.AST]:
    for statement in statements:
        if place in effects(facts, [statement], parameters, before).reads:
            yield statement
