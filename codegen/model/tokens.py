"""Follow the tokens through code: which variables hold them, which expressions take them in."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator

from codegen.syntax.bindings import bound_names
from codegen.syntax.walking import children

_LOOKS = frozenset({"shape", "device", "dtype", "ndim", "is_cuda", "requires_grad"})
_MEASURES = frozenset({"size", "dim", "numel", "type", "stride"})


def token_targets(tree: ast.stmt, tokens: frozenset[str]) -> Iterator[str]:
    """Variables that a statement makes from the tokens: of a tuple the first, which is where timm puts them."""
    match tree:
        case ast.Assign(targets=[target, *_], value=value):
            if reads(value, tokens):
                yield from itertools.islice(bound_names(target), 1)
        case ast.AnnAssign(target=ast.Name(id=name), value=value):
            if value is not None and reads(value, tokens):
                yield name
        case ast.AugAssign(target=ast.Name(id=name), value=value):
            if name in tokens or reads(value, tokens):
                yield name
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="append"), args=[value])):
            if reads(value, tokens):  # one stream of tokens for each scale
                yield name
        case ast.If() | ast.For() | ast.While() | ast.With() | ast.Try():
            for block in ("body", "orelse", "finalbody"):
                for inner in getattr(tree, block, []):
                    for name in token_targets(inner, tokens):
                        tokens |= {name}
                        yield name


def reads(node: ast.AST, tokens: frozenset[str]) -> bool:
    """Whether an expression takes tokens in, rather than their shape, dtype or mere presence."""
    match node:
        case ast.Attribute(attr=attr) if attr in _LOOKS:
            return False
        case ast.Call(func=ast.Attribute(attr=attr)) if attr in _MEASURES:
            return False
        case ast.Call(func=ast.Name(id="len" | "isinstance" | "type")):
            return False
        case ast.Compare(ops=[ast.Is() | ast.IsNot()]):
            return False
        case ast.Name(id=name):
            return name in tokens
    return any(reads(child, tokens) for child in children(node))
