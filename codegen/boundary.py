"""Where the embedding of a model ends, and why.

The embedding is the shortest run of statements that ends after the positional encoding and the dropout on it, or,
where there is none before the first block, after the stem and its prefix tokens. Three shapes of body are known:
statements in a row; an ``if`` of which each arm has a stem and blocks of its own; a loop over stages whose first
round begins with the stem.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from codegen.body import Statement, arms, conditional, count_rounds, guard_loop_head, loop_body, substitute
from codegen.crossing import depends_on_self_alone, sink
from codegen.dataflow import dotted
from codegen.facts import UNKNOWN, Facts, Role, names_position
from codegen.tokens import assigned, token_targets
from codegen.types import Boundary, Place

_RESHAPES = frozenset(
    {"flatten", "unflatten", "transpose", "permute", "reshape", "view", "contiguous", "squeeze", "unsqueeze"}
)


class Refused(Exception):
    """A body that has no boundary, or none that can be cut."""

    def __init__(self, place: Place, reason: str) -> None:
        super().__init__(reason)
        self.place = place
        self.reason = reason


@dataclass(frozen=True)
class Cut:
    """A body in two: running ``embed`` and then ``stages`` is running the body.

    Attributes:
        embed: Statements up to the boundary.
        stages: Statements after it.
        boundary: Where and why.
        tokens: The variable that holds the tokens at the boundary.
    """

    embed: tuple[Statement, ...]
    stages: tuple[Statement, ...]
    boundary: Boundary
    tokens: str


@dataclass(frozen=True)
class _Step:
    """What one statement does on the way from the images to the blocks."""

    statement: Statement
    runs: frozenset[str]
    roles: frozenset[Role]
    on_path: bool
    target: str

    @property
    def is_stem(self) -> bool:
        return self.on_path and Role.STEM in self.roles

    @property
    def is_position(self) -> bool:
        tree = self.statement.tree
        binds = isinstance(tree, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.If | ast.With)
        return Role.POSITION in self.roles and binds

    @property
    def is_prefix(self) -> bool:
        return self.on_path and Role.PARAMETER in self.roles


def find_cut(facts: Facts, statements: Sequence[Statement], images: str) -> Cut:
    """Cut the body of ``forward_features`` where its embedding ends.

    Args:
        facts: What is known of the class.
        statements: The body.
        images: The parameter that takes the images.

    Raises:
        Refused: If the rules find no boundary, or no sound way to cut there.
    """
    return _cut(facts, tuple(statements), frozenset({images}))


def _cut(facts: Facts, statements: tuple[Statement, ...], tokens: frozenset[str]) -> Cut:
    steps: list[_Step] = []
    derived: dict[str, frozenset[Role]] = {}
    for number, statement in enumerate(statements):
        step, after = _step(facts, statement, tokens, derived)
        if step.on_path and step.roles == {Role.OTHER} and not any(s.on_path and s.runs for s in steps):
            step = replace(step, roles=frozenset({Role.STEM}))  # whatever meets the images first
        started = any(s.is_stem for s in steps)
        blocks = Role.BLOCK in step.roles
        nested = isinstance(statement.tree, ast.If | ast.For)
        if Role.BOTH in step.roles or (blocks and Role.STEM in step.roles) or (blocks and nested and not started):
            return _compound(facts, statements, number, step, tokens)
        if blocks or _returns(statement.tree):
            return _flat(facts, statements, steps, number, early_return=not blocks)
        steps.append(step)
        tokens = after
    raise Refused(statements[-1].place, "no statement runs the blocks of the model")


def _returns(tree: ast.AST) -> bool:
    return any(isinstance(node, ast.Return) for node in ast.walk(tree))


def _flat(
    facts: Facts, statements: tuple[Statement, ...], steps: Sequence[_Step], entry: int, *, early_return: bool
) -> Cut:
    """Cut a row of statements, given the first one that belongs to the stages whatever the rules say."""
    first = next((step for step in steps if step.is_stem or (step.is_position and step.on_path)), None)
    if first is None:
        reason = "the method returns" if early_return else "the blocks run"
        raise Refused(statements[entry].place, f"{reason} before any patch embedding or stem has run")
    reasons = [f"line {first.statement.place.line} runs the stem, {_quoted(_stem(facts, [first]))}"]
    positions = [n for n, step in enumerate(steps) if step.is_position]
    if positions:
        last = positions[-1]
        reasons.append(f"line {steps[last].statement.place.line} gives the tokens their position")
        last = _through_dropout(steps, last, {Role.DROPOUT}, {Role.PARAMETER}, reasons)
    else:
        last = max(n for n, step in enumerate(steps) if step.is_stem or step.is_prefix)
        if steps[last].is_prefix and not steps[last].is_stem:
            reasons.append(f"line {steps[last].statement.place.line} adds the prefix tokens")
        trailing = {Role.DROPOUT, Role.ACTIVATION} | (set() if facts.matcher else {Role.OTHER})
        last = _through_dropout(steps, last, trailing, set(), reasons)
        reasons.append("no positional encoding comes before the blocks")
    tokens = [step.target for step in steps[: last + 1] if step.on_path][-1]
    last, tokens = _through_views(steps, last, tokens, reasons)
    blocks = tuple(sorted(a for a in facts.runs(statements[entry].tree) if facts.role(a) is Role.BLOCK))
    what = f"runs the first blocks, {_quoted(blocks)}" if blocks else "may return"
    reasons.append(f"line {statements[entry].place.line} {what}")
    statement = statements[last]
    boundary = Boundary(
        statement.last,
        statement.code.splitlines()[0].strip(),
        tuple(reasons),
        _stem(facts, steps[: last + 1]),
        blocks,
    )
    return Cut(statements[: last + 1], statements[last + 1 :], boundary, tokens)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _stem(facts: Facts, steps: Sequence[_Step]) -> tuple[str, ...]:
    found = [a for step in steps for a in sorted(step.runs) if step.on_path and facts.role(a) is Role.STEM]
    first = next((sorted(step.runs) for step in steps if step.on_path and step.runs), [])
    return tuple(dict.fromkeys(found or first))


def _through_dropout(
    steps: Sequence[_Step], last: int, wanted: set[Role], between: set[Role], reasons: list[str]
) -> int:
    """Go on over the dropout on what the embedding made, past prefix tokens that come in between."""
    end = last
    for number in range(last + 1, len(steps)):
        step = steps[number]
        if step.on_path and step.roles and step.roles <= wanted:
            end = number
        elif not (step.roles <= between):
            break
    if end > last:
        what = "is the dropout on them" if Role.DROPOUT in steps[end].roles else "completes the stem"
        reasons.append(f"line {steps[end].statement.place.line} {what}")
    return end


def _through_views(steps: Sequence[_Step], last: int, tokens: str, reasons: list[str]) -> tuple[int, str]:
    """Go on over statements that run nothing and only unpack or reshape what the embedding made.

    Returns:
        The last of them, and the variable that holds the tokens there: a helper may have returned them in a container.
    """
    end, container = last, tokens
    for number in range(last + 1, len(steps)):
        tree = steps[number].statement.tree
        if steps[number].runs or not _only_views(tree, {container, tokens}):
            break
        end = number
        if tokens == container:
            tokens = steps[number].target or tokens
    if end > last:
        reasons.append(f"line {steps[end].statement.place.line} only unpacks or reshapes them")
    return end, tokens


def _only_views(tree: ast.stmt, made: set[str]) -> bool:
    match tree:
        case ast.If(body=body, orelse=orelse):
            return all(_only_views(inner, made) for inner in [*body, *orelse])
        case ast.Assign(targets=[ast.Name()], value=value):
            return _is_view(value, made)
    return False


def _is_view(value: ast.expr, made: set[str]) -> bool:
    match value:
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str())):
            return name in made
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="get"), args=args, keywords=[]):
            return name in made and all(isinstance(arg, ast.Constant) for arg in args)
        case ast.Call(func=ast.Attribute(value=inner, attr=attr), args=args):
            plain = not any(isinstance(node, ast.Call) for arg in args for node in ast.walk(arg))
            return attr in _RESHAPES and plain and (_is_view(inner, made) or dotted(inner) in made)
    return False


def _step(
    facts: Facts, statement: Statement, tokens: frozenset[str], derived: dict[str, frozenset[Role]]
) -> tuple[_Step, frozenset[str]]:
    """Follow the tokens through one statement."""
    tree = statement.tree
    runs = frozenset(attribute for attribute in facts.runs(tree) if facts.is_module(attribute, tree))
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    roles = {facts.role(attribute) for attribute in runs}
    if any(names_position(name) for name in [*facts.calls(tree), *_functions(tree)]):
        roles.add(Role.POSITION)
    roles |= {role for name in read for role in derived.get(name, ())}
    targets = list(token_targets(tree, tokens))
    if not targets:  # beside the path: what it makes may join the tokens later
        derived.update(dict.fromkeys(assigned(tree), frozenset(roles - {Role.STEM, Role.BLOCK, Role.BOTH})))
    elif any(_adds_parameter(facts, node) for node in ast.walk(tree)):
        roles.add(Role.POSITION)
    step = _Step(statement, runs, frozenset(roles), bool(targets), targets[-1] if targets else "")
    return step, tokens | set(targets)


def _functions(tree: ast.AST) -> Iterator[str]:
    return (node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name))


def _adds_parameter(facts: Facts, node: ast.AST) -> bool:
    match node:
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            terms = [left, right]
        case ast.AugAssign(op=ast.Add(), value=value):
            terms = [value]
        case _:
            return False
    return any(isinstance(t, ast.Attribute) and facts.is_attribute(t) and facts.is_parameter(t.attr) for t in terms)


def _compound(facts: Facts, statements: tuple[Statement, ...], number: int, step: _Step, tokens: frozenset[str]) -> Cut:
    """Cut inside the statement that runs both the stem and the blocks."""
    statement = statements[number]
    if isinstance(statement.tree, ast.If) and statement.tree.orelse:
        return _arms(facts, statements, number, tokens)
    if isinstance(statement.tree, ast.For):
        return _peel(facts, statements, number, tokens)
    if UNKNOWN in step.runs:
        raise Refused(statement.place, "a computed name, or code that takes self whole, decides which modules run here")
    raise Refused(
        statement.place, f"the stem is not a statement of its own: it runs inside {_quoted(step.runs)} with the blocks"
    )


def _arms(facts: Facts, statements: tuple[Statement, ...], number: int, tokens: frozenset[str]) -> Cut:
    """Cut both arms of an ``if`` and ask its question in both methods."""
    statement = statements[number]
    test, body, orelse = arms(statement)
    _require_steady_test(facts, statement)
    left, right = _cut(facts, body, tokens), _cut(facts, orelse, tokens)
    if left.tokens != right.tokens:
        raise Refused(statement.place, f"its arms name the tokens differently, {left.tokens} and {right.tokens}")
    (left_embed, left_stages), (right_embed, right_stages) = (sink(cut.embed, cut.stages) for cut in (left, right))
    if [s.code for s in left_embed] == [s.code for s in right_embed]:
        embed = left_embed
    else:
        embed = (conditional(test, left_embed, right_embed, statement.place),)
    stages = conditional(test, left_stages, right_stages, statement.place)
    reason = f"both arms of line {statement.place.line} begin with the stem"
    boundary = replace(left.boundary, reasons=(reason, *left.boundary.reasons))
    return Cut((*statements[:number], *embed), (stages, *statements[number + 1 :]), boundary, left.tokens)


def _require_steady_test(facts: Facts, statement: Statement) -> None:
    """A condition that is asked twice must give the same answer twice: it may only look at ``self``."""
    tree = statement.tree
    assert isinstance(tree, ast.If)
    if not depends_on_self_alone(tree.test) or any(facts.calls(tree)):
        raise Refused(statement.place, "the stem runs with the blocks under a condition that may change in between")


def _peel(facts: Facts, statements: tuple[Statement, ...], number: int, tokens: frozenset[str]) -> Cut:
    """Take the head of the first round out of a loop over stages, and leave it to the other rounds."""
    statement = statements[number]
    first = _first_round(statement)
    body = loop_body(statement)
    unrolled = tuple(substitute(inner, first.values) for inner in body)
    cut = _cut(facts, unrolled, tokens)
    length = len(cut.embed)
    if cut.embed != unrolled[:length]:
        raise Refused(statement.place, "the first round of the loop has no head of its own")
    for inner in cut.embed:
        if any(isinstance(node, ast.Break | ast.Continue | ast.Lambda) for node in ast.walk(inner.tree)):
            raise Refused(inner.place, "the head of the loop may leave it")
        if first.values.keys() & set(assigned(inner.tree)):
            raise Refused(inner.place, "the head of the loop rebinds the loop's own variable")
    counted = statement if first.counts else count_rounds(statement, first.index)
    guarded = guard_loop_head(counted, length, f"{first.index} > 0")
    reason = f"line {statement.place.line} is a loop over stages: the head of its first round is the embedding"
    boundary = replace(cut.boundary, reasons=(reason, *cut.boundary.reasons))
    return Cut((*statements[:number], *cut.embed), (guarded, *statements[number + 1 :]), boundary, cut.tokens)


@dataclass(frozen=True)
class _Round:
    """A loop's first round: what its variables stand for, and the one that counts, if the loop has it."""

    values: Mapping[str, str]
    index: str
    counts: bool


def _first_round(statement: Statement) -> _Round:
    tree = statement.tree
    assert isinstance(tree, ast.For)
    match tree.target, tree.iter:
        case ast.Name(id=index), ast.Call(func=ast.Name(id="range"), args=[_], keywords=[]):
            return _Round({index: "0"}, index, True)
        case (
            ast.Tuple(elts=[ast.Name(id=index), inner]),
            ast.Call(func=ast.Name(id="enumerate"), args=[sequence], keywords=[]),
        ):
            return _Round({index: "0", **_elements(statement, inner, sequence)}, index, True)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    index = next(name for name in ("i", "idx", "index", "stage_index", "round_index") if name not in used)
    return _Round(_elements(statement, tree.target, tree.iter), index, False)


def _elements(statement: Statement, target: ast.expr, sequence: ast.expr) -> dict[str, str]:
    match target, sequence:
        case ast.Name(id=name), ast.Attribute() if dotted(sequence).startswith("self."):
            return {name: f"{dotted(sequence)}[0]"}
        case ast.Tuple(elts=names), ast.Call(func=ast.Name(id="zip"), args=sequences) if len(names) == len(sequences):
            pairs = zip(names, sequences, strict=True)
            return {key: value for pair in pairs for key, value in _elements(statement, *pair).items()}
    raise Refused(statement.place, "the stem runs with the blocks in a loop that is not over containers of self")
