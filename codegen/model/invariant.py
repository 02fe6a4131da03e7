"""Whether an expression is invariant: it reads ``self`` alone, without effects, and gives the same value again."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from codegen.model.effects import effects
from codegen.model.facts import UNKNOWN, Facts
from codegen.model.places import may_meet
from codegen.syntax.dataflow import dotted
from codegen.syntax.walking import children

# Calls that only look.
_LOOKS = frozenset({"len", "isinstance", "getattr", "hasattr", "torch.jit.is_scripting", "torch.jit.is_tracing"})


def depends_on_self_alone(facts: Facts, node: ast.AST) -> bool:
    """Whether an expression only looks at attributes of ``self`` and constants: it has no effect and runs no tensor."""
    match node:
        case ast.Constant() | ast.Name("self"):
            return True
        case ast.Attribute():
            return dotted(node).startswith(("self.", "nn.", "torch.nn."))
        case ast.Call(func=function, args=args):
            looks = dotted(function) in _LOOKS and not node.keywords
            return looks and all(depends_on_self_alone(facts, arg) for arg in args)
        case ast.Compare(ops=[ast.Is() | ast.IsNot()], left=left, comparators=comparators):
            return all(depends_on_self_alone(facts, operand) for operand in (left, *comparators))
        case ast.Tuple(elts=elements):
            return all(depends_on_self_alone(facts, element) for element in elements)
        case ast.JoinedStr(values=parts):  # of a computed name
            return all(isinstance(p, ast.Constant) or _is_plain(facts, children(p)[0]) for p in parts)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _is_plain(facts, test) and all(depends_on_self_alone(facts, arm) for arm in (body, orelse))
        case ast.UnaryOp() | ast.BinOp() | ast.BoolOp() | ast.Compare():
            return _is_plain(facts, node)
    return False


def _is_plain(facts: Facts, node: ast.AST) -> bool:
    """Whether an expression is made of numbers, flags and strings, so that to calculate with it runs no tensor."""
    match node:
        case ast.Attribute(attr=attr):
            return facts.is_attribute(node) and not any(facts.constructors(attr))
        case ast.Constant():
            return True
        case ast.Call(func=ast.Name("getattr"), args=[ast.Name("self"), ast.Constant(str(key)), *_]):
            return not any(facts.constructors(key)) and all(depends_on_self_alone(facts, arg) for arg in node.args)
        case ast.Call(func=function):
            return dotted(function) != "getattr" and depends_on_self_alone(facts, node)
        case ast.Compare(ops=[ast.Is() | ast.IsNot()]):
            return depends_on_self_alone(facts, node)
        case ast.UnaryOp() | ast.BinOp() | ast.BoolOp() | ast.Compare():
            return all(_is_plain(facts, child) for child in children(node) if isinstance(child, ast.expr))
    return False


def is_invariant(facts: Facts, value: ast.expr, others: Sequence[ast.stmt]) -> bool:
    """Whether an expression of ``self`` gives the same value whatever some statements do in between.

    Args:
        facts: The class.
        value: An expression that depends on ``self`` alone.
        others: Statements that may run before it is evaluated again.
    """
    heads = {path.partition(".")[0] for path in _seen(value)}
    if UNKNOWN in heads or heads & facts.methods or any(_is_property(facts, path) for path in _seen(value)):
        return False
    looked = effects(facts, [ast.Expr(value)])
    written = effects(facts, others).writes
    return not looked.writes and not any(may_meet(facts, read, place) for read in looked.reads for place in written)


def _seen(value: ast.AST) -> Iterator[str]:
    """Paths from ``self`` that an expression looks at, ``patch_embed.grid_size``."""
    match value:
        case ast.Call(func=ast.Name("getattr" | "hasattr"), args=[owner, ast.Constant(str(key)), *_]):
            yield ".".join([*dotted(owner).split(".")[1:], key]) if dotted(owner) else UNKNOWN
        case ast.Call(func=ast.Name("getattr" | "hasattr")):
            yield UNKNOWN
        case ast.Attribute() if dotted(value).startswith("self."):
            yield dotted(value).removeprefix("self.")
            return
    for child in children(value):
        yield from _seen(child)


def _is_property(facts: Facts, path: str) -> bool:
    head, _, rest = path.partition(".")
    return any(rest in ancestor.members for cls in facts.classes(head) for ancestor in facts.index.lineage(cls))
