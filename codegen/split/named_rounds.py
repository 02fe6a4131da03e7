"""A loop over the names of all layers, of which the first make the embedding.

``for i, n in enumerate(layer_names): x = getattr(self, n)(x)``, where the constructor lists ``self.layer_names``: the
first rounds are ``x = self.conv1(x)``, ``x = self.conv2(x)``, and the loop runs layers from there on.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import replace

from codegen.model.facts import Facts
from codegen.model.quiet import is_quiet
from codegen.model.tampering import is_tampered_with
from codegen.source.index import Module
from codegen.split.alignment import Alignment
from codegen.split.collecting import ADVICE, Collecting, raised
from codegen.split.stem_parts import Joined, loop_of
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import dotted, flow
from codegen.syntax.statements import Statement, loop_body
from codegen.syntax.walking import walk

Find = Callable[[Sequence[Statement]], Alignment]


def open_named_rounds(
    facts: Facts, module: Module, statements: Sequence[Statement], numbers: frozenset[str], find: Find
) -> Joined | None:
    """Statements with the first rounds of a loop over names before it, where these complete the embedding.

    Args:
        facts: The class.
        module: The file in which the method stands.
        statements: Those of the method.
        numbers: Variables that list features by their index.
        find: Looks for the embedding among statements.

    Returns:
        The statements; ``None`` where no loop begins so.
    """
    for number, statement in enumerate(statements):
        match statement.tree:
            case ast.For(
                target=ast.Tuple(elts=[ast.Name(id=index), ast.Name(id=name)]),
                iter=ast.Call(func=ast.Name("enumerate"), args=[ast.Name(id=listed)], keywords=[]) as iterable,
                body=[
                    ast.Assign(
                        targets=[ast.Name(id=x)],
                        value=ast.Call(
                            func=ast.Call(func=ast.Name("getattr"), args=[ast.Name("self"), *_, ast.Name(id=read)]),
                            args=[ast.Name(id=given)],
                            keywords=[],
                        ),
                    ),
                    *others,
                ],
                orelse=[],
            ) if name == read and x == given and len({index, name, x}) == 3:
                pass
            case _:
                continue
        layers = _names(facts, statements, number, listed)
        plain = all(module.origin(function) == function for function in ("enumerate", "getattr", "len"))
        bound = {found for other in others for found in bound_names(other)} & {x, index, name, listed}
        if layers is None or bound or not plain or not is_quiet(facts, module, ast.Expr(iterable), ()):
            continue
        first, *rest = loop_body(statement)
        before = statements[:number]
        rounds: list[Statement] = []
        for layer in layers:
            rounds.append(replace(first, text=f"{x} = self.{layer}({x})"))
            alignment = find((*before, *rounds))
            if len(alignment.equal) < len(rounds) or alignment.equal[-1] != number + len(rounds) - 1:
                return None
            if alignment.missing is None:
                break
        else:
            return None
        last = len(rounds) - 1
        collecting = Collecting(frozenset({x}), numbers, early=f"{index} < {last}")
        kept = [collecting.refusing(inner) for inner in rest]
        for inner, as_it_was in zip(kept, rest, strict=True):
            if inner == as_it_was and not _only_counts(facts, module, inner, x):
                return None
        guarded = replace(first, text=f"if {index} > {last}:\n" + "\n".join(f"    {t}" for t in first.text.split("\n")))
        head = f"for {index}, {name} in enumerate({listed}):"
        what = "it stops inside the stem, before the embedding is complete: "
        short = replace(statement, text=f"if len({listed}) < {len(rounds)}:\n{raised(what, ADVICE)}")
        loop = loop_of(statement, head, (guarded, *kept))
        opened = (*before, *rounds, short, loop, *statements[number + 1 :])
        lines = tuple(old.place.line for old, new in zip(rest, kept, strict=True) if old != new)
        return Joined(opened, (first,), refuses=lines)
    return None


def _only_counts(facts: Facts, module: Module, statement: Statement, x: str) -> bool:
    """Whether a statement of the loop may run for a layer of the stem after all of them have run."""
    leaves = any(isinstance(node, ast.Break | ast.Continue | ast.Return) for node in walk(statement.tree))
    return not leaves and x not in flow([statement.tree]).needs and is_quiet(facts, module, statement.tree, ())


def _names(facts: Facts, statements: Sequence[Statement], number: int, listed: str) -> list[str] | None:
    """The names that a variable lists, or the first of these; ``None`` where they are not known."""
    values = []
    for statement in statements[:number]:
        for node in walk(statement.tree):
            if isinstance(node, ast.Assign) and [dotted(target) for target in node.targets] == [listed]:
                values.append(node.value)
    bound = [found for statement in statements for found in bound_names(statement.tree)]
    whole = [value for value in values if not _is_beginning(value, listed)]
    if bound.count(listed) != len(values) or len(whole) != 1 or not _only_looked_at(statements, listed):
        return None
    head, _, attribute = dotted(whole[0]).partition(".")
    changed = attribute in facts.altered | facts.replaced or is_tampered_with(facts, attribute)
    if head != "self" or changed or facts.has_member(attribute):
        return None
    made = [value for value in facts.values.get(attribute, ()) if not _is_beginning(value, f"self.{attribute}")]
    match made:
        case [ast.List(elts=elements)] if not any(attribute in cls.stores.appended for cls in facts.lineage):
            names = [e.value for e in elements if isinstance(e, ast.Constant) and isinstance(e.value, str)]
            return names if len(names) == len(elements) and all(map(str.isidentifier, names)) else None
    return None


def _is_beginning(value: ast.expr, name: str) -> bool:
    """Whether a value is the first part of a list, ``names[:last + 1]``."""
    match value:
        case ast.Subscript(value=inner, slice=ast.Slice(lower=None, step=None)):
            return dotted(inner) == name
    return False


def _only_looked_at(statements: Sequence[Statement], name: str) -> bool:
    """Whether nothing changes a list in place: it is only cut, looped over and counted."""
    read: set[int] = set()
    looks: set[int] = set()
    for statement in statements:
        for node in walk(statement.tree):
            match node:
                case ast.Name(ctx=ast.Load()) if node.id == name:
                    read.add(id(node))
                case ast.Subscript(value=ast.Name() as inner, slice=ast.Slice(), ctx=ast.Load()):
                    looks.add(id(inner))
                case ast.Call(func=ast.Name("len" | "enumerate"), args=[ast.Name() as inner]):
                    looks.add(id(inner))
    return read <= looks
