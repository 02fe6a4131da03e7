"""Where the embedding of a model ends, and why.

The embedding is the shortest run of statements that ends after the positional encoding and the dropout on it, or,
where there is none before the first block, after the stem and its prefix tokens. Three shapes of body are known:
statements in a row; an ``if`` of which each arm has a stem and blocks of its own; a loop over stages whose first
round begins with the stem.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from codegen.model.facts import UNKNOWN, Facts, Role, names_position
from codegen.model.invariant import depends_on_self_alone, is_invariant
from codegen.model.leading import leading_position
from codegen.model.steps import Step, alias, holds_position, is_read, joins_after, quoted, through_views, walk_steps
from codegen.split.crossing import sink
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import dotted, flow, returns
from codegen.syntax.statements import Statement, arms, conditional, count_rounds, guard_loop_head, loop_body, substitute
from codegen.syntax.walking import walk
from codegen.types import METHOD, Boundary, Place


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
        early: Statements of the embedding by which a pruned model returns from the middle of its stem, ``if question:
            return ...``. The stages ask the same, and then return what they are given.
    """

    embed: tuple[Statement, ...]
    stages: tuple[Statement, ...]
    boundary: Boundary
    tokens: str
    early: tuple[Statement, ...] = ()


def find_cut(facts: Facts, statements: Sequence[Statement], images: str) -> Cut:
    """Cut the body of ``forward_features`` where its embedding ends.

    Args:
        facts: What is known of the class.
        statements: The body.
        images: The parameter that takes the images.

    Raises:
        Refused: If the rules find no boundary, or no sound way to cut there.
    """
    used = {node.id for s in statements for node in walk(s.tree) if isinstance(node, ast.Name)}
    names = itertools.chain(("i", "idx", "index"), (f"round_{number}" for number in itertools.count()))
    counter = next(name for name in names if name not in used)
    return _cut(facts, tuple(statements), frozenset({images}), counter, whole=True)


def _cut(
    facts: Facts, statements: tuple[Statement, ...], tokens: frozenset[str], counter: str, *, whole: bool = False
) -> Cut:
    """Cut a block. A loop that has no variable that counts its rounds may take ``counter``.

    Args:
        facts: The class.
        statements: Those of the block.
        tokens: Variables that hold the images or tokens before it.
        counter: A free name.
        whole: Whether it is the whole body, where what returns from ``embed`` can be returned by the stages.
    """
    steps: list[Step] = []
    path = walk_steps(facts, statements, tokens)
    for number, step in enumerate(path):
        statement = step.statement
        started = any(s.is_stem for s in steps)
        blocks = Role.BLOCK in step.roles
        nested = isinstance(statement.tree, ast.If | ast.For)
        if Role.BOTH in step.roles or (blocks and Role.STEM in step.roles) or (blocks and nested and not started):
            return _compound(facts, statements, number, step, counter)
        if blocks or returns(statement.tree):
            if UNKNOWN in step.runs:
                _require_no_position(facts, path, statement)
                _require_no_hidden_position(facts, steps, statement)
            elif whole and not blocks and started and _is_settled_return(facts, statement, statements):
                steps.append(step)
                continue
            return _flat(facts, statements, steps, step, early_return=not blocks)
        steps.append(step)
    raise Refused(statements[-1].place, "no statement runs the blocks of the model")


def _require_no_position(facts: Facts, steps: Iterable[Step], statement: Statement) -> None:
    """Refuse what may run anything, if the tokens get their position after it and before any block is seen to run."""
    for step in steps:
        if Role.BLOCK in step.roles and UNKNOWN not in step.runs:
            return
        if step.is_position and step.on_path:
            raise _undecided(facts, statement)


def _require_no_hidden_position(facts: Facts, before: Sequence[Step], statement: Statement) -> None:
    """Refuse what may run any method, if one of them gives the position that the tokens do not have yet."""
    if any(step.is_position and step.on_path for step in before):
        return
    for name in facts.methods - {facts.index.method}:
        found = facts.method(name)
        if found is None or len(found[1].args.args) < 2 or found[1] is found[0].constructor:
            continue  # it takes no tokens
        if _mentions_position(facts, found[1]):
            raise _undecided(facts, statement)
    if any(facts.role(name) is Role.POSITION for name in facts.values):  # x + getattr(self, "pos_" + "embed")
        raise _undecided(facts, statement)


def _mentions_position(facts: Facts, *code: ast.AST) -> bool:
    """Whether code names an attribute of ``self`` that is a position."""
    named = (n for part in code for n in walk(part) if isinstance(n, ast.Attribute) and facts.is_attribute(n))
    return any(facts.role(n.attr) is Role.POSITION for n in named)


def _require_no_first_round(facts: Facts, statement: Statement) -> None:
    """Refuse a loop over blocks that gives the tokens their position in its first round, before the block of it."""
    tree = statement.tree
    if not isinstance(tree, ast.For):
        return
    changing = {*bound_names(tree.target), *(name for inner in tree.body for name in bound_names(inner))}
    for inner in tree.body:
        for node in walk(inner):
            match node:
                case ast.If(test=test, body=body, orelse=orelse):
                    arms: tuple[Sequence[ast.AST], Sequence[ast.AST]] = (body, orelse)
                case ast.IfExp(test=test, body=taken, orelse=other):
                    arms = ([taken], [other])
                case _:
                    continue
            first = arms[1:] if _leaves_out_first(test, {*bound_names(tree.target)}) else arms
            asks = any(isinstance(n, ast.Name) and n.id in changing for n in walk(test))
            if asks and any(_mentions_position(facts, *arm) for arm in first):
                reason = "the loop over blocks may give the tokens their position in its first round: do that before it"
                raise Refused(Place(statement.place.file, node.lineno), reason)
        called = {dotted(n.func) for n in walk(inner) if isinstance(n, ast.Call)}
        if called & {*bound_names(tree.target)} or Role.BLOCK in map(facts.role, facts.runs(inner)):
            return


def _leaves_out_first(test: ast.expr, counters: Collection[str]) -> bool:
    """Whether a question about the number of a round is answered no in the first: ``i > 0``, ``i != 0``, ``i``."""
    match test:
        case ast.Name(id=name):
            return name in counters
        case ast.Compare(left=ast.Name(id=name), ops=[ast.Gt() | ast.NotEq()], comparators=[ast.Constant(value=0)]):
            return name in counters
        case ast.Compare(left=ast.Name(id=name), ops=[ast.GtE() | ast.Eq()], comparators=[ast.Constant(int(number))]):
            return name in counters and number > 0
        case ast.BoolOp(op=ast.And(), values=parts):
            return any(_leaves_out_first(part, counters) for part in parts)
    return False


def _require_no_block_before(facts: Facts, steps: Iterable[Step]) -> None:
    """Refuse tokens that go through a block before they have their position: it is no part of an embedding."""
    for step in steps:
        for name in sorted(step.runs) if step.on_path else ():
            if facts.role(name) is Role.OTHER and facts.is_like_blocks(name):
                reason = f"`self.{name}` is a block as those that follow, and the tokens get their position after it"
                raise Refused(step.statement.place, reason)


def _require_no_leading_position(facts: Facts, entry: Step) -> None:
    """Refuse blocks the first of which is no block, but what gives the tokens their position."""
    for attribute in sorted(a for a in entry.runs if facts.role(a) is Role.BLOCK):
        if name := leading_position(facts, attribute):
            reason = (
                f"the first part of `self.{attribute}`, {name}, may give the tokens their position: run that before it"
            )
            raise Refused(entry.statement.place, reason)


def _require_no_later_position(
    facts: Facts, statements: Sequence[Statement], last: int, first: Step, entry: int
) -> None:
    """Refuse a body in which no position was found, if what follows has to do with one, and blocks run after that.

    What was taken for the first blocks may be a part of the stem then; or the position is given in a way that is not
    understood: ``x.add_(self.pos_embed)``, in a list, in a ``try``.

    Args:
        facts: The class.
        statements: The block.
        last: The last one of the embedding, as far as is known.
        first: The first one of the stages, by what it runs.
        entry: Its number.
    """
    trees = [statement.tree for statement in statements]
    local = {name for tree in trees for name in bound_names(tree)}
    running = [number for number, tree in enumerate(trees) if Role.BLOCK in map(facts.role, facts.runs(tree))]
    held = [
        n for n, tree in enumerate(trees) if n >= entry and any(_calls_variable(node, local) for node in walk(tree))
    ]
    called_blocks = any(facts.is_named_block(attribute) for attribute in facts.runs(trees[entry]))
    called_blocks &= first.on_path or isinstance(trees[entry], ast.Return)  # and not self.blocks.append(...)
    called_blocks &= any(
        isinstance(node, ast.Call) for node in walk(trees[entry])
    )  # and not first, *rest = self.blocks
    for number in range(last + 1, entry + 1 if called_blocks else len(trees)):
        helper = number == entry and not isinstance(trees[number], ast.For | ast.While)
        told = number < entry and any(map(_adds_position, walk(trees[number])))
        gives = told or _mentions_position(facts, trees[number])
        if number in held and number not in running:  # first(x + self.pos_embed), next(blocks)(self.add_pos(x))
            gives = gives or any(names_position(name) for name in facts.calls(trees[number]))
        elif number in running and helper:  # self.blocks(x + self.pos_embed), self.embed_and_run(x)
            gives = any(names_position(name) for name in facts.calls(trees[number]))
            gives = gives or any(_mentions_position(facts, n) for n in walk(trees[number]) if isinstance(n, ast.BinOp))
            gives = gives or any(_hands_position(facts, node) for node in walk(trees[number]))
        elif number in running:
            continue
        if gives and any(later >= number for later in (*running, *held)):
            place = statements[number].place
            raise Refused(
                place,
                f"line {place.line} may give the tokens their position, and is not understood: write "
                "`x = x + self.pos_embed` before the first blocks, or name the stem in a group_matcher",
            )


def _calls_variable(node: ast.AST, local: Collection[str]) -> bool:
    """Whether a node calls what a variable holds, or what a call gives: blocks, for all that is known."""
    match node:
        case ast.Call(func=ast.Name(id=name)):
            return name in local
        case ast.Call(func=ast.Call()):
            return True
    return False


def _hands_position(facts: Facts, node: ast.AST) -> bool:
    """Whether a node calls a method of ``self`` with a position: ``self.run(x, self.pos_embed)``."""
    match node:
        case ast.Call(func=ast.Attribute(attr=attr) as function, args=args, keywords=keywords):
            own = facts.is_attribute(function) and facts.method(attr) is not None
            return own and _mentions_position(facts, *args, *(keyword.value for keyword in keywords))
    return False


def _require_no_pair(facts: Facts, step: Step) -> None:
    """Refuse a statement that puts the position beside the tokens, ``x, pos = tokens, self.pos_embed``."""
    match step.statement.tree:
        case ast.Assign(
            value=(
                ast.Tuple() | ast.List() | ast.Dict() | ast.Set() | ast.Call(func=ast.Name("dict" | "list" | "tuple"))
            ) as display
        ):
            if any(_mentions_position(facts, part) for part in ast.iter_child_nodes(display)):
                line = step.statement.place.line
                raise Refused(
                    step.statement.place,
                    f"line {line} puts the position beside the tokens, and what gives it to them is not understood: "
                    "write `x = x + self.pos_embed` in one statement",
                )


def _adds_from_aside(step: Step) -> bool:
    """Whether a statement adds to the tokens what is not made of them, but perhaps of their sizes: a table of sines."""
    match step.statement.tree:
        case ast.Assign(targets=[ast.Name()], value=ast.BinOp(op=ast.Add(), left=left, right=right)):
            sides = [left, right]
        case ast.AugAssign(target=ast.Name() as left, op=ast.Add(), value=right):
            sides = [left, right]
        case _:
            return False
    made_of = [_reads(side, step.tokens) for side in sides]
    aside = sides[made_of.index(False)] if sum(made_of) == 1 else None
    return step.on_path and aside is not None and not isinstance(aside, ast.Constant)


_LIKE = frozenset({"to", "type_as", "expand_as"})
"""Methods of a tensor that take another one for its kind or size alone."""
_SIZE_OR_KIND = frozenset({"shape", "dtype", "device", "size", "ndim", "dim"})


def _reads(node: ast.AST, names: Set[str]) -> bool:
    """Whether an expression reads one of some variables, other than to ask for its size or kind."""
    match node:
        case ast.Name(id=name):
            return name in names
        case ast.Attribute(attr=attr) if attr in _SIZE_OR_KIND:
            return False
        case ast.Call(func=ast.Attribute(value=owner, attr=attr)) if attr in _LIKE:  # table.to(x)
            return _reads(owner, names)
    return any(_reads(inner, names) for inner in ast.iter_child_nodes(node))


def _adds_position(node: ast.AST) -> bool:
    """Whether a node adds a variable whose name says that it is a position."""
    match node:
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return any(isinstance(part, ast.Name) and names_position(part.id) for part in (left, right))
        case ast.AugAssign(op=ast.Add(), value=ast.Name(id=name)):
            return names_position(name)
    return False


def _flat(
    facts: Facts, statements: tuple[Statement, ...], steps: Sequence[Step], entry: Step, *, early_return: bool
) -> Cut:
    """Cut a row of statements, given the first one that belongs to the stages whatever the rules say."""
    first = next((step for step in steps if step.is_stem or (step.is_position and step.on_path)), None)
    if first is None:
        raise _no_stem(facts, entry.statement, early_return=early_return)
    reasons = [f"line {first.statement.place.line} runs the stem, {quoted(_stem(facts, [first]))}"]
    started = steps.index(first)
    positions = [
        n
        for n, step in enumerate(steps)
        if n >= started
        and step.is_position
        and not returns(step.statement.tree)
        and _stays_on_path(step, (*steps[n + 1 :], entry))
    ]
    if positions:
        dropped = next((n for n in range(positions[0] + 1, len(steps)) if _drops_tokens(facts, steps[n])), len(steps))
        last = [n for n in positions if n < dropped][-1]  # prefix tokens that come after it belong to the stages
    else:
        added = (n for n, step in enumerate(steps) if n >= started and _adds_from_aside(step))
        last = max((n for n in added if _stays_on_path(steps[n], (*steps[n + 1 :], entry))), default=-1)
    stem = max(n for n, step in enumerate(steps) if step.is_stem or n == started)
    if last >= 0 and stem > last:  # what the images are given, or a part of the stem, is no position of tokens
        last = -1
    if last >= 0:
        _require_no_block_before(facts, steps[started + 1 : last + 1])
        reasons.append(f"line {steps[last].statement.place.line} gives the tokens their position")
        last = _through_dropout(steps, last, {Role.DROPOUT}, {Role.PARAMETER}, reasons)
    else:
        last = max((n for n, step in enumerate(steps) if step.is_stem or step.is_prefix), default=-1)
        if last < 0:  # what has a position does not become the tokens
            raise _no_stem(facts, entry.statement, early_return=early_return)
        _require_no_first_round(facts, entry.statement)
        _require_no_leading_position(facts, entry)
        _require_no_later_position(facts, statements, last, entry, len(steps))
        if steps[last].is_prefix and not steps[last].is_stem:
            reasons.append(f"line {steps[last].statement.place.line} adds the prefix tokens")
        trailing = {Role.DROPOUT, Role.ACTIVATION} | (set() if facts.matcher else {Role.OTHER})
        last = _through_dropout(steps, last, trailing, set(), reasons)
        hidden = next((step for step in steps[: last + 1] if holds_position(facts, step)), None)
        if hidden is None:
            reasons.append("no positional encoding comes before the blocks")
        else:
            reasons.append(f"line {hidden.statement.place.line} gives the tokens their position, inside the stem")
    joined = max(joins_after(steps, started, last), default=last)
    if joined <= last and positions and last >= positions[-1]:
        _require_no_pair(facts, steps[positions[-1]])
    if joined > last:  # a mask has to reach all of them
        reasons.append(f"line {steps[joined].statement.place.line} joins the streams of tokens")
        last = _through_dropout(steps, joined, {Role.DROPOUT}, {Role.PARAMETER}, reasons)
    later = [statement.tree for statement in statements[len(steps) :]]
    tokens = _tokens(steps, last, later)
    last, tokens = through_views(steps, last, tokens, later, reasons)
    early = tuple(s for s in statements[: last + 1] if returns(s.tree))
    reasons += [f"line {s.place.line} may return; what it asks about the model, both methods ask" for s in early]
    blocks = tuple(sorted(a for a in entry.runs if facts.role(a) is Role.BLOCK))
    what = f"runs the first blocks, {quoted(blocks)}" if blocks else "may return"
    reasons.append(f"line {entry.statement.place.line} {what}")
    statement = statements[last]
    boundary = Boundary(
        statement.last,
        statement.code.splitlines()[0].strip(),
        tuple(reasons),
        _stem(facts, steps[: last + 1]),
        blocks,
        _spans(statements[: last + 1]),
        (statement.last.line,),
    )
    return Cut(statements[: last + 1], statements[last + 1 :], boundary, tokens, early)


def _tokens(steps: Sequence[Step], last: int, later: Sequence[ast.stmt]) -> str:
    """The variable that holds the tokens after a step: not the position that goes to the blocks beside them."""
    made = [step for step in steps[: last + 1] if step.on_path]
    for step, before in zip(reversed(made), reversed(made[:-1]), strict=False):
        beside = step.is_position and step.target not in step.tokens and names_position(step.target)
        rest = [*(s.statement.tree for s in steps[last + 1 :]), *later]
        if not beside or not any(is_read(tree, before.target) for tree in rest):
            return step.target
    return made[0].target


_SELECTS = frozenset({"gather", "index_select", "take_along_dim", "masked_select"})
_DRAWS = frozenset({"rand", "randn", "rand_like", "randn_like", "randperm", "bernoulli", "multinomial", "uniform_"})


def _drops_tokens(facts: Facts, step: Step) -> bool:
    """Whether a statement keeps a random choice of the tokens, by itself or in a method that it calls."""
    if not step.on_path:
        return False
    if Role.PATCH_DROP in step.roles:
        return True
    methods = [found[1] for name in facts.calls(step.statement.tree) if (found := facts.method(name)) is not None]
    for code in (step.statement.tree, *methods):
        called = {dotted(call.func).rpartition(".")[2] for call in walk(code) if isinstance(call, ast.Call)}
        if called & _SELECTS and called & _DRAWS:
            return True
    return False


def _stays_on_path(step: Step, later: Iterable[Step]) -> bool:
    """Whether what a step makes goes on to the blocks: a position that joins the tokens after a block does not."""
    if not step.on_path or step.tokens.intersection(step.targets):
        return True
    names = (node for s in later for node in walk(s.statement.tree) if isinstance(node, ast.Name))
    return bool({name.id for name in names if isinstance(name.ctx, ast.Load)}.intersection(step.targets))


def _is_settled_return(facts: Facts, statement: Statement, statements: Sequence[Statement]) -> bool:
    """Whether a statement returns or not by a question about the model alone, ``if self.cell is None: return x``."""
    match statement.tree:
        case ast.If(test=test, body=[ast.Return(value=ast.expr() as value)], orelse=[]):
            plain = all(isinstance(node, ast.Name | ast.Call | ast.Attribute) for node in walk(value))
            others = [s.tree for s in statements if s is not statement]
            return plain and _only_looks(facts, test) and is_invariant(facts, test, others)
    return False


def _only_looks(facts: Facts, test: ast.expr) -> bool:
    """Whether a question runs no code of a class: it asks what an attribute is, or whether a constant is true."""
    match test:
        case ast.BoolOp(values=parts):
            return all(_only_looks(facts, part) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _only_looks(facts, operand)
        case ast.Compare(left=ast.Attribute() as asked, ops=[ast.Is() | ast.IsNot()], comparators=[ast.Constant()]):
            return _is_own(facts, asked)
        case ast.Call(func=ast.Name("isinstance"), args=[ast.Attribute() as asked, cls], keywords=[]):
            known = facts.cls.module.origin(*dotted(cls).partition(".")[::2]) if dotted(cls) else ""
            return _is_own(facts, asked) and known.startswith("torch.nn.")
        case ast.Attribute(attr=attr):
            constants = all(isinstance(value, ast.Constant) for value in facts.values.get(attr, ()))
            return _is_own(facts, test) and constants
    return False


def _is_own(facts: Facts, asked: ast.Attribute) -> bool:
    """Whether an expression is an attribute that the model itself holds, and no class computes."""
    return facts.is_attribute(asked) and asked.attr in facts.values and not facts.has_member(asked.attr)


_BY_NAME = frozenset({"setattr", "delattr", "hasattr", "object.__setattr__", "object.__delattr__"})
_UNDECIDED = "a computed name, or code that takes self whole, decides which modules run here"


def _undecided(facts: Facts, statement: Statement) -> Refused:
    """The refusal of a statement that may run any module, with the construct that hides which, if it is in sight."""
    for node in walk(statement.tree):
        match node:
            case ast.Call(func=ast.Name("getattr"), args=[ast.Name("self"), key, *_]) if not isinstance(
                key, ast.Constant
            ):
                reason = f"`{ast.unparse(node)}` computes the name of what runs here: use an nn.ModuleList"
                return Refused(Place(statement.place.file, node.lineno), reason)
            case ast.Call(args=arguments) if any(dotted(argument) == facts.prefix for argument in arguments):
                if dotted(node.func) in _BY_NAME:
                    text = ast.unparse(node)
                    reason = f"`{text}` computes the name of an attribute, which may be any: write `self.name` out"
                else:
                    reason = f"`{ast.unparse(node.func)}` takes self whole, and may run any module: make it a method"
                return Refused(Place(statement.place.file, node.lineno), reason)
    return Refused(statement.place, _UNDECIDED)


def _no_stem(facts: Facts, statement: Statement, *, early_return: bool) -> Refused:
    """The refusal of a body in which a statement that belongs to the stages comes before any stem."""
    runs = facts.runs(statement.tree)
    if UNKNOWN in runs:
        return _undecided(facts, statement)
    before = "before any patch embedding or stem has run"
    way_out = _way_out(facts, runs)
    if (way_out or any(map(facts.holds_stem, runs))) and not early_return:
        inside = f"it runs inside {quoted(runs)} with the blocks{way_out}"
        return Refused(statement.place, f"the stem is not a statement of its own: {inside}")
    if not early_return:
        return Refused(statement.place, f"the blocks run {before}: name the stem in a group_matcher")
    match statement.tree:
        case ast.Return(value=ast.Call(func=function) as call) if runs and dotted(function).startswith(facts.prefix):
            attribute = min(runs)
            reason = f"the one call `{ast.unparse(call)}` runs the whole model: split the class of model.{attribute}"
            return Refused(statement.place, reason)
        case ast.Return():
            return Refused(statement.place, f"the method returns {before}")
    return Refused(statement.place, f"the method may return {before}: make this case a method of its own")


def _spans(statements: Iterable[Statement]) -> tuple[tuple[int, int], ...]:
    return tuple((statement.place.line, statement.last.line) for statement in statements)


def _stem(facts: Facts, steps: Sequence[Step]) -> tuple[str, ...]:
    found = [a for step in steps for a in sorted(step.runs) if step.on_path and facts.role(a) is Role.STEM]
    first = next((sorted(step.runs) for step in steps if step.on_path and step.runs), [])
    return tuple(dict.fromkeys(found or first))


def _through_dropout(
    steps: Sequence[Step], last: int, wanted: set[Role], between: set[Role], reasons: list[str]
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


def _compound(facts: Facts, statements: tuple[Statement, ...], number: int, step: Step, counter: str) -> Cut:
    """Cut inside the statement that runs both the stem and the blocks."""
    statement = statements[number]
    if isinstance(statement.tree, ast.If) and statement.tree.orelse:
        return _arms(facts, statements, number, step.tokens, counter)
    if isinstance(statement.tree, ast.For):
        return _peel(facts, statements, number, step.tokens, counter)
    if UNKNOWN in step.runs:
        raise _undecided(facts, statement)
    if isinstance(statement.tree, ast.With):
        context = ast.unparse(statement.tree.items[0].context_expr)
        raise Refused(
            statement.place, f"`with {context}` spans both the stem and the blocks: put it around the call of the model"
        )
    # of a helper method its name says more than all that it runs
    inside = quoted(list(facts.calls(statement.tree)) or step.runs)
    raise Refused(
        statement.place,
        f"the stem is not a statement of its own: it runs inside {inside} with the blocks{_way_out(facts, step.runs)}",
    )


def _way_out(facts: Facts, attributes: Iterable[str]) -> str:
    """What to do about a statement that runs a whole inner model: that one may be cut where this one is not."""
    if facts.index.method != METHOD:
        return ""  # every module has a `forward`
    for attribute in sorted(attributes):
        for cls in facts.classes(attribute):
            if any(METHOD in ancestor.members for ancestor in facts.index.lineage(cls)):
                return f"; it is a model of its own, {cls.name}: split model.{attribute} instead"
    return ""


def _arms(facts: Facts, statements: tuple[Statement, ...], number: int, tokens: frozenset[str], counter: str) -> Cut:
    """Cut both arms of an ``if`` and ask its question in both methods."""
    statement = statements[number]
    test, body, orelse = arms(statement)
    assert isinstance(statement.tree, ast.If)
    question, changing = (
        statement.tree.test,
        "the stem runs with the blocks under a condition that may change in between",
    )
    if not depends_on_self_alone(facts, question):
        raise Refused(statement.place, changing)
    left, right = (_cut(facts, arm, tokens, counter) for arm in (body, orelse))
    if not is_invariant(facts, question, [s.tree for s in (*statements[:number], *left.embed, *right.embed)]):
        raise Refused(statement.place, changing)
    if left.tokens != right.tokens:
        raise Refused(statement.place, f"its arms name the tokens differently, {left.tokens} and {right.tokens}")
    (left_embed, left_stages), (right_embed, right_stages) = (
        sink(facts, cut.embed, cut.stages) for cut in (left, right)
    )
    if [s.code for s in left_embed] == [s.code for s in right_embed]:
        embed = left_embed
    else:
        embed = (conditional(test, left_embed, right_embed, statement.place),)
    stages = conditional(test, left_stages, right_stages, statement.place)
    reason = f"both arms of line {statement.place.line} begin with the stem"
    boundary = replace(
        left.boundary,
        reasons=(reason, *left.boundary.reasons),
        lines=_spans((*statements[:number], *left_embed, *right_embed)),
        ends=(*left.boundary.ends, *right.boundary.ends),
    )
    return Cut((*statements[:number], *embed), (stages, *statements[number + 1 :]), boundary, left.tokens)


def _peel(facts: Facts, statements: tuple[Statement, ...], number: int, tokens: frozenset[str], counter: str) -> Cut:
    """Take the head of the first round out of a loop over stages, and leave it to the other rounds."""
    statement = statements[number]
    tree = statement.tree
    assert isinstance(tree, ast.For)
    first = _first_round(facts, statement, counter)
    for node in (node for inner in [*tree.body, *tree.orelse] for node in walk(inner)):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name) if name in first.values:
                raise Refused(statement.place, f"the loop over stages binds its own variable `{name}`")
    unrolled = tuple(substitute(inner, first.values) for inner in loop_body(statement))
    cut = _cut(facts, unrolled, tokens, counter)
    length = len(cut.embed)
    if cut.embed != unrolled[:length]:
        raise Refused(statement.place, "the first round of the loop has no head of its own")
    head = [inner.tree for inner in cut.embed]
    for inner in head:
        if any(isinstance(node, ast.Break | ast.Continue | ast.Lambda) for node in walk(inner)):
            raise Refused(Place(statement.place.file, inner.lineno), "the head of the loop may leave it")
    before = [s.tree for s in statements[:number]]
    if not is_invariant(facts, tree.iter, [*before, *head]) or first.length & flow(head).may_bind:
        raise Refused(statement.place, "the head of the loop may change what the loop is over")
    counted = statement if first.counts else count_rounds(statement, first.index)
    again = [bool(alias(facts, inner)[0]) and is_invariant(facts, _bound(inner), [*before, *head]) for inner in head]
    guarded = guard_loop_head(counted, [not every for every in again], f"{first.index} > 0")
    embed = _without_unread(cut.embed, again)
    reason = f"line {statement.place.line} is a loop over stages: the head of its first round is the embedding"
    lines = (*_spans(statements[:number]), *cut.boundary.lines)
    boundary = replace(cut.boundary, reasons=(reason, *cut.boundary.reasons), lines=lines)
    return Cut((*statements[:number], *embed), (guarded, *statements[number + 1 :]), boundary, cut.tokens)


def _bound(tree: ast.stmt) -> ast.expr:
    assert isinstance(tree, ast.Assign)
    return tree.value


def _without_unread(head: Sequence[Statement], again: Sequence[bool]) -> tuple[Statement, ...]:
    """The head of a first round without the aliases of modules that only the rest of the round reads, and binds."""
    read = {n.id for s in head for n in walk(s.tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    pairs = zip(head, again, strict=True)
    return tuple(s for s, every in pairs if not every or read.intersection(bound_names(s.tree)))


@dataclass(frozen=True)
class _Round:
    """A loop's first round.

    Attributes:
        values: What the loop's variables stand for in it.
        index: The variable that counts the rounds.
        counts: Whether the loop has that variable, or has to be given it.
        length: The variable that says how many rounds there are, if one does.
    """

    values: Mapping[str, str]
    index: str
    counts: bool = True
    length: frozenset[str] = frozenset()


def _first_round(facts: Facts, statement: Statement, counter: str) -> _Round:
    tree = statement.tree
    assert isinstance(tree, ast.For)
    match tree.target, tree.iter:
        case ast.Name(id=index), ast.Call(func=ast.Name(id="range"), args=[ast.Name(id=length)], keywords=[]):
            return _Round({index: "0"}, index, length=frozenset({length}))
        case ast.Name(id=index), ast.Call(func=ast.Name(id="range"), args=[length], keywords=[]) if (
            depends_on_self_alone(facts, length)
        ):
            return _Round({index: "0"}, index)
        case (
            ast.Tuple(elts=[ast.Name(id=index), inner]),
            ast.Call(func=ast.Name(id="enumerate"), args=[sequence], keywords=[]),
        ):
            return _Round({index: "0", **_elements(facts, statement, inner, sequence)}, index)
    return _Round(_elements(facts, statement, tree.target, tree.iter), counter, counts=False)


def _elements(facts: Facts, statement: Statement, target: ast.expr, sequence: ast.expr) -> dict[str, str]:
    match target, sequence:
        case ast.Name(id=name), ast.Attribute(attr=attr) if facts.is_attribute(sequence):
            if is_indexed(facts, attr):
                return {name: f"{dotted(sequence)}[0]"}
        case ast.Tuple(elts=names), ast.Call(func=ast.Name(id="zip"), args=sequences) if len(names) == len(sequences):
            pairs = zip(names, sequences, strict=True)
            return {key: value for pair in pairs for key, value in _elements(facts, statement, *pair).items()}
    raise Refused(statement.place, "the stem runs with the blocks in a loop that is not over containers of self")


def is_indexed(facts: Facts, attribute: str) -> bool:
    """Whether the first element that a loop over an attribute gives is its element number 0."""
    values = facts.values.get(attribute, ())
    return bool(values) and all(_is_sequence(value, attribute) for value in values)


def _is_sequence(value: ast.expr, attribute: str) -> bool:
    """Whether the first element of what an attribute is set to is its element number 0."""
    match value:
        case ast.Call(func=function):
            return dotted(function).rpartition(".")[2] in ("ModuleList", "Sequential", "list", "tuple")
        case ast.Subscript(value=ast.Attribute(value=ast.Name("self"), attr=attr), slice=ast.Slice()):
            return attr == attribute  # a part of itself
    return False
