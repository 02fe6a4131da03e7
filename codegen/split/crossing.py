"""What crosses a boundary: which names the stages need, and which of these can be recomputed."""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from codegen.model.facts import Facts
from codegen.model.invariant import depends_on_self_alone, is_invariant
from codegen.model.shape import batch_size, counted, keeps_batch, shape_of
from codegen.model.tokens import token_targets
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import Unsound, dotted, flow
from codegen.syntax.statements import Statement
from codegen.syntax.walking import walk
from codegen.types import Parameter, Passage


@dataclass(frozen=True)
class Crossing:
    """How the stages get every name that they need.

    Attributes:
        embed: Statements of the embedding, less those that only the stages need.
        stages: Statements after the boundary, with the constants that only they need.
        fields: Names that cross, the tokens first.
        recomputed: Statements at the start of the stages that recompute the others.
        embed_parameters: Parameters that the embedding reads.
        stages_parameters: Parameters that the stages read.
        passages: How each name that was bound before the boundary gets to the stages, and why so.
    """

    embed: tuple[Statement, ...]
    stages: tuple[Statement, ...]
    fields: tuple[str, ...]
    recomputed: tuple[str, ...]
    embed_parameters: tuple[str, ...]
    stages_parameters: tuple[str, ...]
    passages: tuple[Passage, ...]


def _is_fresh_container(node: ast.AST) -> bool:
    match node:
        case ast.List(elts=[]) | ast.Dict(keys=[]) | ast.Tuple(elts=[]):
            return True
    return False


def sink(
    facts: Facts, embed: Sequence[Statement], stages: Sequence[Statement], parameters: Collection[str] = ()
) -> tuple[tuple[Statement, ...], tuple[Statement, ...]]:
    """Move what only the stages read, and nothing else is made of, down to them: ``intermediates = []``.

    Args:
        facts: The class.
        embed: Statements up to the boundary.
        stages: Statements after it.
        parameters: Those of the method.
    """
    needed = flow([s.tree for s in stages]).needs
    kept: list[Statement] = list(embed)
    sunk: list[Statement] = []
    for statement in reversed(embed):
        names = _spare_names(statement.tree) or _spare_by_question(facts, statement, kept, parameters)
        others = [s for s in kept if s is not statement and not (names & _spare_names(s.tree))]
        if names & needed and not any(_mentions(s.tree, name) for s in others for name in names):
            kept.remove(statement)
            sunk.insert(0, statement)
    return tuple(kept), (*sunk, *stages)


def _spare_names(node: ast.stmt) -> frozenset[str]:
    """The one name that a statement binds, to a constant or to itself in a list; none for any other statement."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            spare = _is_spare_value(value) or _wraps(value, name)
            return frozenset({name}) if spare else frozenset()
        case ast.If(test=test, body=body, orelse=[]) if body:  # if not isinstance(masks, list): masks = [masks]
            found = {_spare_names(inner) for inner in body}
            names = found.pop()
            return names if not found and all(_asks_of(test, name) for name in names) else frozenset()
    return frozenset()


def _is_spare_value(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) or _is_fresh_container(value)


def _spare_by_question(
    facts: Facts, statement: Statement, embed: Sequence[Statement], parameters: Collection[str]
) -> frozenset[str]:
    """The names that a statement binds to constants by a question that has the same answer after the embedding.

    ``if self.keep_attention: attention = []``, ``found = [] if return_all else None``.
    """
    others = [s for s in embed if s is not statement]
    match statement.tree:
        case ast.If(test=test, body=body, orelse=orelse):
            names = _constants_of([*body, *orelse])
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.IfExp(test=test, body=one, orelse=other)):
            names = frozenset({name}) if _is_spare_value(one) and _is_spare_value(other) else frozenset()
        case _:
            return frozenset()
    return names if names and _is_settled(facts, test, others, parameters) else frozenset()


def _constants_of(statements: Sequence[ast.stmt]) -> frozenset[str]:
    """The names that statements bind, if they only bind names to constants and empty containers."""
    names = set()
    for statement in statements:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if _is_spare_value(value):
                names.add(name)
            case ast.Pass():
                continue
            case _:
                return frozenset()
    return frozenset(names)


def _is_settled(facts: Facts, test: ast.expr, others: Sequence[Statement], parameters: Collection[str]) -> bool:
    """Whether a question has no effect, and the same answer whatever some statements do before it is asked."""
    match test:
        case ast.BoolOp(values=parts):
            return all(_is_settled(facts, part, others, parameters) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _is_settled(facts, operand, others, parameters)
        case (
            ast.Name(id=name)
            | ast.Compare(left=ast.Name(id=name), ops=[ast.Is() | ast.IsNot()], comparators=[ast.Constant(None)])
        ):
            return name in parameters and not any(_mentions(s.tree, name) for s in others)
    return depends_on_self_alone(facts, test) and is_invariant(facts, test, [s.tree for s in others])


def _wraps(value: ast.expr, name: str) -> bool:
    """Whether an expression is a list or a tuple of one name alone."""
    return isinstance(value, ast.List | ast.Tuple) and all(isinstance(e, ast.Name) and e.id == name for e in value.elts)


def _asks_of(test: ast.expr, name: str) -> bool:
    """Whether a question asks of one name alone what it is: ``None``, or of which built-in type."""
    match test:
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return _asks_of(inner, name)
        case ast.BoolOp(values=parts):
            return all(_asks_of(part, name) for part in parts)
        case ast.Compare(left=ast.Name(id=asked), ops=[ast.Is() | ast.IsNot()], comparators=[ast.Constant(None)]):
            return asked == name
        case ast.Call(func=ast.Name("isinstance"), args=[ast.Name(id=asked), ast.Name("list" | "tuple")], keywords=[]):
            return asked == name
    return False


def _mentions(tree: ast.AST, name: str) -> bool:
    for node in walk(tree):
        match node:
            case (
                ast.Name(id=found) | ast.FunctionDef(name=found) | ast.alias(asname=str(found)) | ast.alias(name=found)
            ):
                if found.partition(".")[0] == name:
                    return True
    return False


def cross(
    facts: Facts, embed: Sequence[Statement], stages: Sequence[Statement], declared: Sequence[Parameter], tokens: str
) -> Crossing:
    """Work out what crosses between two runs of statements.

    Args:
        facts: The class.
        embed: Statements up to the boundary.
        stages: Statements after it.
        declared: Parameters of the method without ``self``, the images first.
        tokens: The variable that holds the tokens at the boundary.

    Raises:
        Unsound: If a name may be unbound at the boundary, is read before it is bound, or cannot cross.
    """
    parameters = [parameter.name for parameter in declared]
    moved = sink(facts, embed, stages, parameters)
    needed = _needed(*moved, parameters)
    passed_on = _passed_on(moved[0], declared, needed)
    ways: dict[str, _Recomputation | str] = {}
    for name in (name for name in needed if name not in passed_on):
        way = _way(facts, moved[0], name, parameters, tokens)
        if isinstance(way, str):
            way = _followed(facts, *moved, name, parameters, tokens, ways) or way
        ways[name] = way
    fields = [name for name, way in ways.items() if isinstance(way, str)]
    _check_fields(fields, *moved, parameters, tokens)
    fields.remove(tokens)
    recomputed = [way for way in ways.values() if isinstance(way, _Recomputation)]
    kept = _without(moved[0], recomputed, fields)
    given = flow([s.tree for s in kept])
    reading = given.needs | (set(fields) - given.bound)  # one that is rebound under a condition is handed on
    return Crossing(
        embed=kept,
        stages=moved[1],
        fields=(tokens, *fields),
        recomputed=tuple(dict.fromkeys(way.text for way in recomputed)),
        embed_parameters=tuple(name for name in parameters if name in reading or name == parameters[0]),
        stages_parameters=passed_on,
        passages=(*_sunk(embed, moved[0]), *_passages(moved[0], ways, tokens)),
    )


def _needed(embed: Sequence[Statement], stages: Sequence[Statement], parameters: Sequence[str]) -> tuple[str, ...]:
    """The names that are live at the boundary, in the order in which they are bound."""
    before = flow([s.tree for s in embed], parameters)
    after = flow([s.tree for s in stages])
    early = before.needs & (before.may_bind | after.may_bind)
    if early:
        raise Unsound(embed[0].tree, f"`{min(early)}` is read before it is assigned")
    live = after.needs & (before.may_bind | set(parameters))
    order = Counter([*(name for s in embed for name in bound_names(s.tree)), *parameters])
    inside = [s.tree for s in embed if not isinstance(s.tree, ast.Import | ast.ImportFrom)]  # those the stages repeat
    imports = [n for tree in inside for n in walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    imported = Counter(name for node in imports for name in bound_names(node))
    lost = {name for name in live if order[name] <= imported[name]}
    if lost:
        raise Unsound(embed[0].tree, f"`{min(lost)}` is bound by an import before the boundary and read after it")
    return tuple(name for name in order if name in live)


def _passed_on(embed: Sequence[Statement], declared: Sequence[Parameter], needed: Collection[str]) -> tuple[str, ...]:
    """The parameters that the stages take from their caller, as the embedding leaves them alone; never the images."""
    bound = {name for s in embed for name in bound_names(s.tree)}
    # each method would get a **kwargs of its own, so that one could not see what the other does to it
    shared = [p.name for p in declared[1:] if p.kind != "**" or not any(_mentions(s.tree, p.name) for s in embed)]
    return tuple(name for name in shared if name in needed and name not in bound)


def _check_fields(
    fields: Sequence[str],
    embed: Sequence[Statement],
    stages: Sequence[Statement],
    parameters: Sequence[str],
    tokens: str,
) -> None:
    bound = flow([s.tree for s in embed], parameters).bound
    for name in fields:
        if name not in bound:
            raise Unsound(stages[0].tree, f"`{name}` may be unbound at the boundary")
        if name.startswith("_"):
            raise Unsound(stages[0].tree, f"`{name}` would cross, and no field of a NamedTuple begins with `_`")
    if tokens not in fields:
        raise Unsound(stages[0].tree, f"nothing after the boundary reads the tokens, `{tokens}`")


def _without(
    embed: Sequence[Statement], recomputed: Iterable[_Recomputation], fields: Collection[str]
) -> tuple[Statement, ...]:
    """The embedding without the statements that it does not need, as the stages recompute their names."""
    spare = {way.definition for way in recomputed if _is_spare(way, embed)}
    return tuple(s for s in embed if s not in spare or not set(fields).isdisjoint(bound_names(s.tree)))


def _is_spare(way: _Recomputation, embed: Sequence[Statement]) -> bool:
    names = set(bound_names(way.definition.tree))
    # B, C, H, W = x.shape asserts that there are four dimensions: that stays where it is
    if way.text != way.definition.code and len(names) > 1:
        return False
    return not any(_mentions(s.tree, name) for name in names for s in embed if s is not way.definition)


def _sunk(embed: Sequence[Statement], kept: Sequence[Statement]) -> Iterator[Passage]:
    for statement in embed:
        if statement not in kept:
            for name in bound_names(statement.tree):
                yield Passage(name, "moved", (statement.place.line,), "only the stages read it")


def _passages(embed: Sequence[Statement], ways: Mapping[str, _Recomputation | str], tokens: str) -> Iterator[Passage]:
    for name, way in ways.items():
        lines = tuple(s.place.line for s in embed if name in bound_names(s.tree))
        if isinstance(way, _Recomputation):
            yield Passage(name, "recomputed", lines, way.reason)
        else:
            yield Passage(name, "crosses", lines, "the tokens, which one masks" if name == tokens else way)


@dataclass(frozen=True)
class _Recomputation:
    """How the stages can recompute a name.

    Attributes:
        definition: The one statement of the embedding that binds it.
        text: What the stages run: that statement, or another that gives the same.
        reason: Why that is sound.
    """

    definition: Statement
    text: str
    reason: str


def _way(
    facts: Facts, embed: Sequence[Statement], name: str, parameters: Sequence[str], tokens: str
) -> _Recomputation | str:
    """How the stages can recompute a name; or why they cannot, so that it crosses."""
    binding = [s for s in embed if name in bound_names(s.tree)]
    if name in parameters:
        return "a parameter that is bound anew before the boundary" if binding else "a parameter that may have changed"
    if len(binding) == 1 and isinstance(binding[0].tree, ast.Import | ast.ImportFrom):
        return _Recomputation(binding[0], binding[0].code, "an import, which gives the same again")
    if len(binding) != 1 or not isinstance(binding[0].tree, ast.Assign):
        return "what it is depends on the way that the statements took"
    definition = binding[0]
    tree = binding[0].tree
    size = batch_size(tree)
    if size is not None and size[0] == name:
        if not _is_batch_of_tokens(facts, embed, definition, size[1], parameters[0], tokens):
            return "a size of the images that the tokens may not have"
        text = f"{name} = {tokens}.shape[0]"
        return _Recomputation(definition, text, "the batch size, which the tokens have, too")
    counts = Counter(name for s in embed for name in set(bound_names(s.tree)))
    once = all(counts[other] == 1 for other in bound_names(tree))
    looks = _binds_names_alone(tree) and depends_on_self_alone(facts, tree.value)
    if once and looks and is_invariant(facts, tree.value, [s.tree for s in embed if s is not definition]):
        return _Recomputation(definition, definition.code, "it looks at self alone")
    if looks:
        return "it looks at self, which may have changed when the stages look"
    made_of = flow([tree]).needs & {*parameters, *counts}
    if made_of:
        return f"it is made of {', '.join(f'`{other}`' for other in sorted(made_of))}"
    return "making it runs more than a look at self"


def _followed(
    facts: Facts,
    embed: Sequence[Statement],
    stages: Sequence[Statement],
    name: str,
    parameters: Sequence[str],
    tokens: str,
    ways: Mapping[str, _Recomputation | str],
) -> _Recomputation | None:
    """How the stages can follow the batch of the tokens in what is made from its size; ``None`` if they need not."""
    binding = [s for s in embed if name in bound_names(s.tree)]
    if name in parameters or len(binding) != 1:
        return None
    match binding[0].tree:
        case ast.Assign(targets=[ast.Name()], value=value):
            tensor = shape_of(value)
            if tensor is not None and _looks_at_first(name, stages):
                if _is_batch_of_tokens(facts, embed, binding[0], tensor, parameters[0], tokens):
                    text = f"{name} = {tokens}.shape"
                    return _Recomputation(binding[0], text, "of a shape only the batch size is read")
                return None
            known = {other for other, way in ways.items() if isinstance(way, _Recomputation)}
            alone = not any(
                _mentions(s.tree, name) for s in embed if s is not binding[0]
            )  # nothing changes it in place
            sizes = _Sizes(
                facts, known, lambda t: _is_batch_of_tokens(facts, embed, binding[0], t, parameters[0], tokens)
            )
            if alone and sizes.follows(value):
                text = f"{name} = {ast.unparse(_BatchOf(tokens, sizes).visit(copy.deepcopy(value)))}"
                return _Recomputation(binding[0], text, "it is made of the batch size, which the tokens have, too")
    return None


def _looks_at_first(name: str, statements: Sequence[Statement]) -> bool:
    """Whether statements use a variable as ``name[0]`` alone."""
    nodes = [node for s in statements for node in walk(s.tree)]
    firsts = [
        node.value
        for node in nodes
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and node.slice.value == 0
    ]
    used = [node for node in nodes if isinstance(node, ast.Name) and node.id == name]
    return all(any(node is first for first in firsts) for node in used)


@dataclass(eq=False)
class _Sizes:
    """Expressions that calculate with the batch size, or count up to it: ``2 * B``, ``torch.arange(x.shape[0])``.

    Attributes:
        facts: The class.
        names: Variables that are looked up again.
        counts: Whether a tensor has the batch of the tokens.
    """

    facts: Facts
    names: Collection[str]
    counts: Callable[[str], bool]

    def follows(self, value: ast.expr) -> bool:
        """Whether an expression depends on the batch size and on nothing else, so that it can be recomputed."""
        sized = any(isinstance(n, ast.Name) and n.id in self.names for n in walk(value))
        return (sized or any(self.is_size(n) for n in walk(value))) and self._is_arithmetic(value)

    def is_size(self, node: ast.AST) -> bool:
        """Whether a node is the size of the batch."""
        tensor = counted(node) if isinstance(node, ast.expr) else None
        return tensor is not None and self.counts(tensor)

    def _is_arithmetic(self, value: ast.expr) -> bool:
        if self.is_size(value):
            return True
        match value:
            case ast.Constant():
                return True
            case ast.Name(id=name):
                return name in self.names
            case ast.BinOp(left=left, right=right):
                return self._is_arithmetic(left) and self._is_arithmetic(right)
            case ast.UnaryOp(operand=operand):
                return self._is_arithmetic(operand)
            case ast.Tuple(elts=elements):
                return all(map(self._is_arithmetic, elements))
            case ast.Call(func=function, args=args, keywords=[]):
                head, _, rest = dotted(function).partition(".")
                pure = head and self.facts.cls.module.origin(head, rest) in ("torch.arange", "range", "int")
                return bool(pure) and all(map(self._is_arithmetic, args))
        return False


class _BatchOf(ast.NodeTransformer):
    """Reads the batch size from the tokens."""

    def __init__(self, tokens: str, sizes: _Sizes) -> None:
        self.tokens = tokens
        self.sizes = sizes

    def visit(self, node: ast.AST) -> ast.AST:
        if self.sizes.is_size(node):
            return ast.parse(f"{self.tokens}.shape[0]", mode="eval").body
        return self.generic_visit(node)


def _is_batch_of_tokens(
    facts: Facts, embed: Sequence[Statement], definition: Statement, tensor: str, images: str, tokens: str
) -> bool:
    """Whether a tensor lies on the way from the images to the tokens, and has the images for rows as they have."""
    number = embed.index(definition)
    path = {images}
    for statement in embed[:number]:
        path |= set(token_targets(statement.tree, frozenset(path)))
    if tensor not in path:
        return False
    trees = [s.tree for s in embed]
    if tokens in keeps_batch(facts, trees[number:], tensor):
        return True
    # how many dimensions it has is known to who follows the images all the way
    counted = (tensor == images and not number) or tensor in keeps_batch(facts, trees[:number], images)
    return counted and tokens in keeps_batch(facts, trees, images)


def _binds_names_alone(tree: ast.Assign) -> bool:
    """Whether the target is ``H`` or ``H, W``: ``*rest`` would be another list, ``x.y`` another effect."""
    (target, *others) = tree.targets
    names = target.elts if isinstance(target, ast.Tuple) else [target]
    return not others and all(isinstance(name, ast.Name) for name in names)
