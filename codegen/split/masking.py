"""What masking needs to know of a split, read from the statements on both sides of the boundary.

- A *unit mask* is a parameter that the embedding takes and the stages select tokens with, ``x[mask]``: the model drops
  patches itself, in units whose grid is the attribute that the embedding reshapes the mask with.
- An *attention mask* is what the stages hand on until it is given to attention as its mask, or added to scores before
  a softmax. It has keys for its last dimension.
- Where the stages return a dictionary, one entry of it holds the tokens.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence

from codegen.model.facts import Facts
from codegen.model.tokens import token_targets
from codegen.syntax.dataflow import dotted
from codegen.syntax.parameters import positional_names
from codegen.syntax.walking import walk
from codegen.types import Masking, UnitMask

_DEPTH = 5  # calls within calls that a value is followed into
_RESHAPES = frozenset({"view", "reshape", "unflatten"})
# What torch's attention calls its mask, and at which position it takes it
_SLOTS = {
    "scaled_dot_product_attention": ("attn_mask", 3),
    "MultiheadAttention": ("attn_mask", 5),
    "TransformerEncoderLayer": ("src_mask", 1),
    "TransformerEncoder": ("mask", 1),
}
# The name of the parameter decides if the class of a module is not known
_ATTENTION_MASKS = frozenset({"attn_mask", "attention_mask", "attn_bias", "attention_bias", "src_mask"})


def find_masking(
    facts: Facts,
    embed: Sequence[ast.stmt],
    stages: Sequence[ast.stmt],
    fields: Sequence[str],
    parameters: Collection[str],
) -> Masking:
    """Find what masking needs to know.

    Args:
        facts: The class.
        embed: Statements up to the boundary.
        stages: Statements after it.
        fields: Names that cross, the tokens first.
        parameters: Names that the embedding takes beside the images.
    """
    tokens = frozenset(fields[:1])
    for statement in stages:
        tokens |= frozenset(token_targets(statement, tokens))
    unit_masks = (_unit_mask(facts, embed, stages, name, tokens) for name in fields[1:] if name in parameters)
    attention = [name for name in fields[1:] if _reaches_attention(facts, stages, name)]
    entries = [key for name in attention for statement in embed for key in _entries(statement, name)]
    return Masking(
        unit_mask=next((found for found in unit_masks if found is not None), None),
        attention_masks=tuple(dict.fromkeys([*attention, *entries])),
        features=next((key for s in stages for key in _keys_of_tokens(s, tokens)), None),
    )


def _unit_mask(
    facts: Facts, embed: Sequence[ast.stmt], stages: Sequence[ast.stmt], name: str, tokens: frozenset[str]
) -> UnitMask | None:
    for node in _walk(stages):
        match node:
            case ast.Subscript(value=ast.Name(id=selected), slice=index, ctx=ast.Load()):
                if selected in tokens and not isinstance(index, ast.Tuple | ast.Slice) and _is_made_of(index, {name}):
                    inverted = any(isinstance(n, ast.Invert) or _is_call(n, "logical_not") for n in walk(index))
                    return UnitMask(name, keeps=not inverted, grid=_grid(facts, embed, name))
    return None


def _grid(facts: Facts, embed: Sequence[ast.stmt], name: str) -> str | None:
    """The attribute with whose numbers the embedding reshapes a mask, as a path from ``self``."""
    for node in _walk(embed):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=found), attr=attr), args=arguments) if found == name:
                inner = (n for argument in arguments for n in walk(argument) if isinstance(n, ast.Attribute))
                own = {path for n in inner if (path := dotted(n)).startswith(f"{facts.prefix}.")}
                if attr in _RESHAPES and len(own) == 1:
                    return own.pop().removeprefix("self.")
    return None


def _entries(statement: ast.stmt, name: str) -> Iterator[str]:
    """The keys under which a dictionary holds what a statement binds to a name."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
            match value:
                case ast.Subscript(value=ast.Name(), slice=ast.Constant(value=str(key))):
                    yield key
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(), attr="get"), args=[ast.Constant(value=str(key)), *_]
                ):
                    yield key


def _keys_of_tokens(statement: ast.stmt, tokens: frozenset[str]) -> Iterator[str]:
    """Keys of a dictionary that is returned, whose values are the tokens, or those behind the prefix tokens."""
    for node in walk(statement):
        match node:
            case ast.Return(value=ast.Dict(keys=keys, values=values)):
                for key, value in zip(keys, values, strict=True):
                    match key, value:
                        case ast.Constant(value=str(text)), ast.Name(id=name) if name in tokens:
                            yield text
                        case (
                            ast.Constant(value=str(text)),
                            ast.Subscript(
                                value=ast.Name(id=name), slice=ast.Tuple(elts=[ast.Slice(), ast.Slice(upper=None)])
                            ),
                        ) if name in tokens:
                            yield text


def _reaches_attention(
    facts: Facts, body: Sequence[ast.stmt], name: str, *, scores: bool = False, depth: int = _DEPTH
) -> bool:
    """Whether what a variable holds ends as a mask of attention.

    Args:
        facts: The class whose method holds the statements.
        body: The statements.
        name: The variable.
        scores: Whether the statements are of a function that is called where a softmax is taken, of what it returns.
        depth: How deep to follow the variable into calls.
    """
    nodes = list(_walk(body))
    names = {name}
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if _is_made_of(value, names):
                names.add(target)
    if any(_is_made_of(term, names) for term in _terms_of_scores(nodes, returned=scores)):
        return True
    scores = any(_is_call(node, "softmax") for node in nodes)
    calls = (_called(node) for node in nodes if isinstance(node, ast.Call))
    return depth > 0 and any(_is_given_to_attention(facts, nodes, call, names, scores, depth) for call in calls)


def _terms_of_scores(nodes: Sequence[ast.AST], *, returned: bool) -> Iterator[ast.expr]:
    """What is added up, or filled in, to what a softmax is taken of."""
    wholes: list[ast.expr] = []
    for node in nodes:
        match node:
            case ast.Call(func=ast.Attribute(value=whole, attr="softmax"), args=arguments):
                wholes += [whole, *arguments[:1]]
            case ast.Return(value=ast.expr() as whole) if returned:
                wholes.append(whole)
    seen: set[str] = set()
    while wholes:
        for term in _terms(wholes.pop()):
            yield term
            if isinstance(term, ast.Name) and term.id not in seen:
                seen.add(term.id)
                wholes += _values_of(term.id, nodes)


def _terms(whole: ast.expr) -> Iterator[ast.expr]:
    match whole:
        case ast.BinOp(op=ast.Add(), left=left, right=right) | ast.IfExp(body=left, orelse=right):
            yield from _terms(left)
            yield from _terms(right)
        case ast.Call(func=ast.Attribute(value=inner, attr="masked_fill" | "masked_fill_"), args=[mask, *_]):
            yield mask
            yield from _terms(inner)
        case _:
            yield whole


def _values_of(name: str, nodes: Sequence[ast.AST]) -> Iterator[ast.expr]:
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                yield value
            case ast.AugAssign(target=ast.Name(id=found), op=ast.Add(), value=value) if found == name:
                yield value


def _is_given_to_attention(
    facts: Facts, nodes: Sequence[ast.AST], call: ast.Call, names: Collection[str], scores: bool, depth: int
) -> bool:
    slots: list[int | str] = [place for place, value in enumerate(call.args) if _is_made_of(value, names)]
    slots += [keyword.arg for keyword in call.keywords if keyword.arg and _is_made_of(keyword.value, names)]
    if not slots:
        return False
    function = dotted(call.func).rpartition(".")[2]
    attributes = _attributes(facts, nodes, call.func)
    makers = {dotted(made.func).rpartition(".")[2] for a in attributes for made in _constructors(facts, a)}
    known = [_SLOTS[maker] for maker in {function, *makers} if maker in _SLOTS]
    if known:
        return any(slot in pair for slot in slots for pair in known)
    callees = list(_callees(facts, call.func, attributes))
    for inner, method, skipped in callees:
        parameters = positional_names(method.args)[skipped:]
        every = {*parameters, *(a.arg for a in method.args.kwonlyargs)}
        for slot in slots:
            parameter = slot if isinstance(slot, str) else parameters[slot] if slot < len(parameters) else ""
            if parameter in every and _reaches_attention(
                inner, method.body, parameter, scores=scores and not attributes, depth=depth - 1
            ):
                return True
    return not callees and bool(_ATTENTION_MASKS.intersection(slots))


def _called(call: ast.Call) -> ast.Call:
    """The call that ``checkpoint(block, x, mask=mask)`` makes; another one itself."""
    if dotted(call.func).rpartition(".")[2] == "checkpoint" and call.args:
        return ast.Call(call.args[0], call.args[1:], call.keywords)
    return call


def _attributes(facts: Facts, nodes: Sequence[ast.AST], function: ast.expr) -> tuple[str, ...]:
    """Attributes of ``self`` that a called expression stands for; ``blocks.0`` for an element of ``self.blocks``."""
    prefix = f"{facts.prefix}."
    match function:
        case ast.Attribute():
            path = dotted(function)
            return (path.removeprefix(prefix),) if path.startswith(prefix) else ()
        case ast.Subscript(value=value) if dotted(value).startswith(prefix):
            return (f"{dotted(value).removeprefix(prefix)}.0",)
        case ast.Name(id=name):
            found: list[str] = []
            for loop in nodes:
                if isinstance(loop, ast.For) and any(
                    isinstance(n, ast.Name) and n.id == name for n in walk(loop.target)
                ):
                    containers = (dotted(n) for n in walk(loop.iter) if isinstance(n, ast.Attribute))
                    found += [f"{path.removeprefix(prefix)}.0" for path in containers if path.startswith(prefix)]
            return tuple(found)
    return ()


def _constructors(facts: Facts, attribute: str) -> Iterator[ast.Call]:
    head, _, element = attribute.partition(".")
    yield from facts.elements(head) if element else facts.constructors(head)


def _callees(
    facts: Facts, function: ast.expr, attributes: Sequence[str]
) -> Iterator[tuple[Facts, ast.FunctionDef, int]]:
    """Methods and functions that a call may run, with the class that they are of, and parameters before the first."""
    for attribute in attributes:
        found = facts.method(attribute)
        if found is not None:
            yield facts, found[1], 1
            continue
        for cls in facts.classes(attribute):
            inner = Facts.of(facts.index, cls)
            forward = inner.method("forward")
            if forward is not None:
                yield inner, forward[1], 1
    if not attributes:
        found_function = facts.index.function(facts.cls.module, dotted(function))
        if found_function is not None:
            yield facts, found_function[1], 0


def _is_made_of(value: ast.expr, names: Collection[str]) -> bool:
    """Whether an expression is one of some variables, seen or reshaped in another way: ``mask[:, None].bool()``."""
    match value:
        case ast.Name(id=name):
            return name in names
        case ast.Subscript(value=inner) | ast.UnaryOp(operand=inner) | ast.Call(func=ast.Attribute(value=inner)):
            return _is_made_of(inner, names)
        case ast.IfExp(body=one, orelse=other):
            return _is_made_of(one, names) or _is_made_of(other, names)
    return False


def _is_call(node: ast.AST, name: str) -> bool:
    """Whether a node is a call of a function or method of some name."""
    match node:
        case ast.Call(func=ast.Attribute(attr=found) | ast.Name(id=found)):
            return found == name
    return False


def _walk(statements: Sequence[ast.stmt]) -> Iterator[ast.AST]:
    for statement in statements:
        yield from walk(statement)
