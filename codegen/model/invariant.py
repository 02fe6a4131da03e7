"""Whether an expression is invariant: it reads ``self`` alone, without effects, and gives the same value again."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from codegen.model.facts import UNKNOWN, Facts
from codegen.syntax.dataflow import dotted
from codegen.syntax.walking import children, walk

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


def is_invariant(
    facts: Facts, value: ast.expr, others: Iterable[ast.stmt], between: Iterable[ast.stmt], *, may_run: bool = False
) -> bool:
    """Whether an expression of ``self`` gives the same value after some statements as before them.

    Args:
        facts: The class.
        value: An expression that depends on ``self`` alone.
        others: All other statements of the embedding: what gives the same object another name may change it.
        between: Those of them that lie between the two times.
        may_run: Whether they may run the modules that the expression names.
    """
    seen = set(_seen(value))
    heads = {path.partition(".")[0] for path in seen}
    if UNKNOWN in heads or heads & facts.methods or any(_is_property(facts, path) for path in seen):
        return False
    for statement in between:
        runs = {attribute.partition(".")[0] for attribute in facts.runs(statement)}
        if UNKNOWN in runs or any(facts.calls(statement)) or (runs & heads and not may_run):
            return False
        if any(isinstance(n, ast.Attribute) and not isinstance(n.ctx, ast.Load) for n in walk(statement)):
            return False
    return may_run or not any(seen & set(_named(statement)) for statement in others)


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


def _named(node: ast.AST) -> Iterator[str]:
    """Paths from ``self`` whose objects a statement takes, rather than calls."""
    match node:
        case ast.Attribute() if dotted(node).startswith("self."):
            yield dotted(node).removeprefix("self.")
            return
        case ast.Call(func=ast.Attribute() as function):
            for child in [*node.args, *node.keywords, *([] if dotted(function) else [function])]:
                yield from _named(child)
            return
    for child in children(node):
        yield from _named(child)


def _is_property(facts: Facts, path: str) -> bool:
    head, _, rest = path.partition(".")
    return any(rest in ancestor.members for cls in facts.classes(head) for ancestor in facts.index.lineage(cls))
