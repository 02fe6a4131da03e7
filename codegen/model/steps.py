"""The statements of a body as steps on the way from the images to the blocks: what each runs, makes, and is.

Where an embedding ends, and where its patches are complete, are questions to these steps.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from codegen.model.facts import Facts, Role, names_position
from codegen.model.library import ALLOCATING_METHODS, TENSOR_METHODS
from codegen.model.module_kind import CONTAINERS
from codegen.model.purity import is_pure
from codegen.model.tokens import reads, token_targets
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import dotted
from codegen.syntax.statements import Statement
from codegen.syntax.walking import walk

_RESHAPES = frozenset(
    {"flatten", "unflatten", "transpose", "permute", "reshape", "view", "contiguous", "squeeze", "unsqueeze"}
)


_JOINS = frozenset({"cat", "concat", "concatenate", "hstack", "vstack", "stack", "add"})
_MEASURES = frozenset({"dtype", "device", "shape", "size", "ndim"})
_OF_STEM = frozenset({Role.OTHER, Role.ACTIVATION})


@dataclass(frozen=True)
class Step:
    """What one statement does on the way from the images to the blocks.

    Attributes:
        statement: The statement.
        runs: Attributes of ``self`` that it hands tokens to, modules and parameters.
        roles: What these are, and what the statement is by the names of what it calls.
        tokens: Variables that hold the images or tokens before it.
        targets: Variables that it makes from them.
    """

    statement: Statement
    runs: frozenset[str]
    roles: frozenset[Role]
    tokens: frozenset[str]
    targets: tuple[str, ...]

    @property
    def on_path(self) -> bool:
        return bool(self.targets)

    @property
    def target(self) -> str:
        """The variable that holds the tokens after it, empty if it does not make any."""
        return self.targets[-1] if self.targets else ""

    @property
    def is_stem(self) -> bool:
        return self.on_path and Role.STEM in self.roles

    @property
    def is_position(self) -> bool:
        tree = self.statement.tree
        binds = isinstance(tree, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.If | ast.For | ast.With)
        return Role.POSITION in self.roles and binds

    @property
    def is_prefix(self) -> bool:
        return self.on_path and Role.PARAMETER in self.roles


def walk_steps(facts: Facts, statements: Iterable[Statement], tokens: frozenset[str]) -> Iterator[Step]:
    """Follow the tokens through statements, one after the other.

    Args:
        facts: The class.
        statements: Those of a block.
        tokens: Variables that hold the images or tokens before it.
    """
    statements = tuple(statements)
    stems = _stems_of_their_own(facts, statements)
    derived: dict[str, frozenset[Role]] = {}
    aliases: dict[str, frozenset[str]] = {}
    positions: set[str] = set()
    met = False
    for statement in statements:
        step = _with_position(_step(facts, statement, tokens, derived, aliases), positions)
        if stems & step.runs:
            step = replace(step, roles=step.roles - {Role.BLOCK} | {Role.STEM})
        if step.on_path and Role.OTHER in step.roles <= {*_OF_STEM, Role.POSITION} and not met:
            step = replace(step, roles=step.roles - _OF_STEM | {Role.STEM})  # whatever meets the images first
        met = met or (step.on_path and bool(step.runs))
        tokens = step.tokens.union(step.targets)
        yield step


def _stems_of_their_own(facts: Facts, statements: Sequence[Statement]) -> frozenset[str]:
    """Containers that are named as stems and hold the whole of it: ``for embed in self.patch_embed: ...``.

    Of a pyramid each stage begins with a part of such a container, and runs blocks before the next. Where no blocks run
    before all parts have, and none of these after, it is one stem of several streams, or of several layers. timm's own
    say that in a group_matcher.
    """
    if facts.cls.module.is_timms:
        return frozenset()
    runs = [facts.runs(statement.tree) for statement in statements]
    named = [any(map(facts.is_named_block, several)) for several in runs]
    if True not in named:
        return frozenset()
    first = named.index(True)
    before = {name.partition(".")[0] for several in runs[:first] for name in several}
    after = {name.partition(".")[0] for several in runs[first:] for name in several}
    stems = frozenset(
        name
        for name in before - after
        if facts.is_named_stem(name) and facts.is_container(name) and not facts.is_like_blocks(f"{name}.0")
    )
    apart = all(stems.issuperset(_blocks(facts, several)) for several in runs[:first])
    return stems if apart else frozenset()


def _blocks(facts: Facts, names: Iterable[str]) -> Iterator[str]:
    """Those of some attributes that are blocks, as far as their names and what they hold tell."""
    return (name for name in names if facts.role(name) in (Role.BLOCK, Role.BOTH))


def _with_position(step: Step, positions: set[str]) -> Step:
    """A step that joins the tokens with their position is one of position.

    Args:
        step: The step.
        positions: Variables for positions that were made from the tokens, ``pos = self.pos_embed_for(x)``, and have
            not joined them yet. It is brought up to date.
    """
    nodes = tuple(walk(step.statement.tree))
    read = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    measured = {id(node.value) for node in nodes if isinstance(node, ast.Attribute) and node.attr in _MEASURES}
    others = {n.id for n in nodes if isinstance(n, ast.Name) and id(n) not in measured} & (step.tokens - positions)
    added = {
        part.id for n in nodes if isinstance(n, ast.BinOp) for part in (n.left, n.right) if isinstance(part, ast.Name)
    }
    for node in nodes:
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):  # x += pos_embed
            read.add(node.target.id)
            added.add(node.target.id)
    if step.on_path and positions & read and (others & added if positions.issuperset(step.targets) else others & read):
        positions -= read
        return replace(step, roles=step.roles | {Role.POSITION})
    if step.is_position and step.on_path:
        positions |= set(step.targets) - step.tokens
    return step


def alias(facts: Facts, tree: ast.stmt) -> tuple[str, str]:
    """The variable and the attribute of ``block = self.block1``, which runs nothing yet; empty for other statements."""
    match tree:
        case ast.Assign(targets=[ast.Name(name)], value=ast.Attribute(attr=attr) as value) if facts.is_attribute(value):
            pass
        case ast.Assign(
            targets=[ast.Name(name)],
            value=ast.Call(func=ast.Name("getattr"), args=[ast.Name("self"), ast.Constant(str(attr)), *_]),
        ):
            pass
        case _:
            return "", ""
    return (name, attr) if facts.is_module(attr, tree) and attr not in facts.methods else ("", "")


def names_modules(facts: Facts, tree: ast.stmt) -> bool:
    """Whether a statement gives modules of ``self`` a name, and runs none: ``layers = list(self.blocks)``."""
    named = isinstance(tree, ast.Assign | ast.AnnAssign) and tree.value is not None and _only_names(facts, tree.value)
    return bool(alias(facts, tree)[0]) or named


def _only_names(facts: Facts, value: ast.expr) -> bool:
    """Whether an expression runs no module: ``list(self.blocks)``, ``[(b, x.mean()) for b in self.blocks]``."""
    nodes = tuple(walk(value))
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    later = any(isinstance(node, ast.Lambda | ast.Await | ast.Yield | ast.YieldFrom) for node in nodes)
    return not later and not isinstance(value, ast.Constant) and not any(_may_run(facts, call) for call in calls)


def _may_run(facts: Facts, call: ast.Call) -> bool:
    """Whether a call may run modules: any but those that make containers of them, and those that compute numbers."""
    name, path = dotted(call.func).rpartition(".")[2], facts.cls.module.origin_of(call.func)
    container = name in _NAMING or path.removeprefix("torch.nn.") in CONTAINERS
    of_tensor = isinstance(call.func, ast.Attribute) and name in TENSOR_METHODS | ALLOCATING_METHODS
    computes = of_tensor or (path.startswith("torch.") and is_pure(path))
    return not container and not (computes and not facts.runs(call))


_NAMING = frozenset(
    {"list", "tuple", "iter", "reversed", "enumerate", "zip", "range", "len", "chain", "children", "islice", "dict"}
    | {"OrderedDict", "deque", "set", "values", "items", "cycle"}
)


def _step(
    facts: Facts,
    statement: Statement,
    tokens: frozenset[str],
    derived: dict[str, frozenset[Role]],
    aliases: dict[str, frozenset[str]],
) -> Step:
    tree = statement.tree
    name, attribute = alias(facts, tree)
    match tree:
        case ast.FunctionDef(name=made_here) | ast.Assign(targets=[ast.Name(made_here)], value=ast.Lambda()):
            name = made_here
    if name:
        aliases[name] = frozenset({attribute}) if attribute else facts.runs(tree)
        return Step(statement, frozenset(), frozenset(), tokens - {name}, ())
    nodes = tuple(walk(tree))
    read = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    made = facts.runs(tree).union(*(aliases[name] for name in read & aliases.keys()))
    names = frozenset(bound_names(tree))
    named = names_modules(facts, tree) and tokens.isdisjoint(names)
    if named and {facts.role(attribute) for attribute in made} & {Role.BLOCK, Role.BOTH}:
        aliases |= dict.fromkeys(names, made)
        return Step(statement, frozenset(), frozenset(), tokens - names, ())
    runs = frozenset(attribute for attribute in made if facts.is_module(attribute, tree))
    for name in bound_names(tree):
        aliases.pop(name, None)
    functions = (node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name))
    roles = {facts.role(attribute) for attribute in runs}
    if any(names_position(name) for name in [*facts.calls(tree), *functions]):
        roles.add(Role.POSITION)
    if any(_is_dropout(facts, node) for node in nodes):
        roles.add(Role.DROPOUT)
    roles |= {role for name in read for role in derived.get(name, ())}
    targets = tuple(token_targets(tree, tokens))
    if not targets:  # beside the path: what it makes may join the tokens later
        derived.update(dict.fromkeys(bound_names(tree), frozenset(roles - {Role.STEM, Role.BLOCK, Role.BOTH})))
    elif any(_adds_parameter(facts, node) for node in nodes):
        roles.add(Role.POSITION)
    return Step(statement, runs, frozenset(roles), tokens, targets)


def _is_dropout(facts: Facts, node: ast.AST) -> bool:
    """Whether a node calls torch's dropout of single values; others drop whole tokens or channels."""
    if not isinstance(node, ast.Call):
        return False
    head, _, rest = dotted(node.func).partition(".")
    return bool(head) and facts.cls.module.origin(head, rest) in ("torch.dropout", "torch.nn.functional.dropout")


def _adds_parameter(facts: Facts, node: ast.AST) -> bool:
    match node:
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            terms = [left, right]
        case ast.AugAssign(op=ast.Add(), value=value):
            terms = [value]
        case _:
            return False
    return any(isinstance(t, ast.Attribute) and facts.is_attribute(t) and facts.is_parameter(t.attr) for t in terms)


def holds_position(facts: Facts, step: Step) -> bool:
    """Whether a module of the stem gives the tokens their position as well, out of sight."""
    return step.is_stem and any(facts.holds_position(attribute) for attribute in step.runs)


def joins_after(steps: Sequence[Step], started: int, last: int) -> Iterator[int]:
    """Numbers of the steps after one that make one stream of tokens of several.

    Args:
        steps: Those of a block.
        started: The first that makes tokens.
        last: The one after which to look.
    """
    streams = {name for step in steps[started : last + 1] for name in step.targets}
    lists = {step.target for step in steps[started : last + 1] if _lists_several(step.statement.tree)}
    for number in range(last + 1, len(steps)):
        if _joins(steps[number], streams, lists):
            yield number
        streams |= set(steps[number].targets)


def _lists_several(tree: ast.stmt) -> bool:
    """Whether a statement puts several things into a list: ``[x, self.pos_embed]``, one for each scale in a loop."""
    match tree:
        case ast.Assign(value=ast.List(elts=elements) | ast.Tuple(elts=elements)):
            return len(elements) > 1
        case ast.Assign(value=ast.ListComp()):
            return True
        case ast.For(body=body):
            return any(isinstance(n, ast.Attribute) and n.attr == "append" for inner in body for n in walk(inner))
    return False


def _joins(step: Step, streams: Iterable[str], lists: Collection[str]) -> bool:
    """Whether a statement adds or concatenates several of the variables that hold tokens, or those in a list."""
    each = [frozenset({name}) for name in streams]

    def several(*parts: ast.expr) -> bool:
        return sum(any(reads(part, name) for part in parts) for name in each) > 1

    loops = isinstance(step.statement.tree, ast.For | ast.While)  # what it joins may be what it made
    for node in walk(step.statement.tree) if step.on_path and not loops else ():
        match node:
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right) if several(left, right):
                return True
            case ast.AugAssign(target=target, op=ast.Add() | ast.Sub(), value=value):
                if several(ast.Name(dotted(target), ast.Load()), value):
                    return True
            case ast.Call(func=function, args=args) if dotted(function).rpartition(".")[2] in _JOINS:
                if several(*args) or any(isinstance(arg, ast.Name) and arg.id in lists for arg in args):
                    return True
    return False


def through_views(
    steps: Sequence[Step], last: int, tokens: str, later: Sequence[ast.stmt], reasons: list[str]
) -> tuple[int, str]:
    """Go on over statements that run nothing and only unpack or reshape what the last one made.

    Not over one that looks at the tokens from aside, ``skip = x.flatten(1)``, while ``x`` itself goes on to the blocks.

    Args:
        steps: Those of a block, up to the blocks.
        last: The last one of the embedding so far.
        tokens: The variable that holds the tokens there.
        later: The statements of the block from the blocks on.
        reasons: Why the boundary is where it is. It is added to.

    Returns:
        The last of them, and the variable that holds the tokens there: a helper may have returned them in a container.
    """
    end, container = last, tokens
    for number in range(last + 1, len(steps)):
        tree = steps[number].statement.tree
        if steps[number].runs or not _only_views(tree, {container, tokens}):
            break
        rest = [*(step.statement.tree for step in steps[number + 1 :]), *later]
        aside = tokens not in bound_names(tree) and not _unpacks(tree)
        if aside and any(is_read(other, tokens) for other in rest):
            break
        end = number
        if tokens == container:
            tokens = steps[number].target or tokens
    if end > last:
        reasons.append(f"line {steps[end].statement.place.line} only unpacks or reshapes them")
    return end, tokens


def is_read(tree: ast.stmt, name: str) -> bool:
    """Whether a statement reads a variable, and not only its size."""
    nodes = tuple(walk(tree))
    measured = {id(node.value) for node in nodes if isinstance(node, ast.Attribute) and node.attr in _MEASURES}
    names = (node for node in nodes if isinstance(node, ast.Name) and id(node) not in measured)
    return any(node.id == name and isinstance(node.ctx, ast.Load) for node in names)


def _unpacks(tree: ast.stmt) -> bool:
    """Whether a statement takes something out of a dictionary."""
    match tree:
        case ast.Assign(value=ast.Subscript() | ast.Call(func=ast.Attribute(attr="get"))) | ast.If():
            return True
    return False


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
        case ast.Call(func=ast.Name("rearrange"), args=[ast.Name(id=name), ast.Constant()], keywords=sizes):
            plain = not any(isinstance(node, ast.Call) for size in sizes for node in walk(size.value))
            return name in made and plain
        case ast.Call(func=ast.Attribute(value=inner, attr=attr), args=args):
            plain = not any(isinstance(node, ast.Call) for arg in args for node in walk(arg))
            kept = attr in _RESHAPES and plain and not _moves_images(attr, args)
            return kept and (_is_view(inner, made) or dotted(inner) in made)
    return False


def _moves_images(method: str, args: Sequence[ast.expr]) -> bool:
    """Whether a view has the images in another dimension than the first: ``permute(1, 0, 2)``, ``flatten(0, 1)``."""
    listed = args[0].elts if args and isinstance(args[0], ast.Tuple | ast.List) else args
    axes = [node.value for node in listed if isinstance(node, ast.Constant)]
    if method == "permute":
        return axes[:1] not in ([0], [])
    folds = method == "flatten" and (not args or axes[:1] == [0])
    return folds or (method == "transpose" and 0 in axes)


def quoted(names: Iterable[str]) -> str:
    r"""Names for a reason: ``\`cls_token\`, \`patch_embed\```."""
    return ", ".join(f"`{name}`" for name in sorted(names))
