"""Statements taken apart and rewritten by lines and columns, where each has lines of its own, as people write them.

The texts are those of :mod:`codegen.syntax.concrete`, which takes a while to load and builds an object for every token.
Each function gives ``None`` where it is not sure of that.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from codegen.syntax.parsing import parse
from codegen.syntax.walking import walk
from codegen.types import Parameter

# What gives names a meaning that is no value, or not that of the names around it.
_NAMING = (
    *(ast.arg, ast.alias, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler),
    *(ast.Global, ast.Nonlocal, ast.Match),
)
_INDENTATION = "    "


@dataclass(frozen=True)
class OwnLines:
    """A block of which each statement has lines of its own.

    Attributes:
        head: The lines before it: the signature of a method.
        indentation: That of its statements.
        texts: The statements, the docstring among them, dedented, each with the comments above it.
    """

    head: tuple[str, ...]
    indentation: str
    texts: tuple[str, ...]


def own_lines(lines: Sequence[str], node: ast.FunctionDef) -> OwnLines | None:
    """Take a method apart.

    Args:
        lines: Those from its ``def`` to its end.
        node: The method.

    Returns:
        Its parts; ``None`` where statements share a line, or lines do not tell what belongs together.
    """
    docstring = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
    return _own_lines(lines, node.lineno, node.body, docstring)


def _own_lines(
    lines: Sequence[str], offset: int, body: Sequence[ast.stmt], docstring: ast.stmt | None = None
) -> OwnLines | None:
    """Take a block apart, given the lines up to its end, and the number of the first of them."""
    if not all(_is_alone(lines, offset, s, verbatim=s is docstring) for s in body):
        return None
    if any(_has_stray_comment(lines[_first(s) - offset : (s.end_lineno or 0) - offset + 1]) for s in body):
        return None
    first = _first(body[0]) - offset
    indentation = _indentation(lines[first])
    while not _is_code(lines[first - 1]):
        first -= 1
    texts, end = [], first
    for statement, after in itertools.zip_longest(body, body[1:]):
        stop = (statement.end_lineno or 0) - offset + 1
        if after is not None:
            between = lines[stop : _first(after) - offset]
            stop += _footer(between, indentation, _inside(lines, offset, statement))
            if any(len(_indentation(line)) > len(indentation) for line in lines[stop : _first(after) - offset]):
                return None  # a comment that may belong to the block above
        texts.append("\n".join(line.removeprefix(indentation) for line in lines[end:stop]))
        end = stop
    return OwnLines(tuple(lines[:first]), indentation, (texts[0].lstrip("\n"), *texts[1:]))


def _has_stray_comment(lines: Sequence[str]) -> bool:
    """Whether a comment inside a statement is indented less than the code after it: libcst puts it where that is."""
    ahead = ""
    for line in reversed(lines):
        if _is_code(line):
            ahead = _indentation(line)
        elif line.strip() and len(_indentation(line)) < len(ahead):
            return True
    return False


def _footer(lines: Sequence[str], indentation: str, inside: str) -> int:
    """How many of the lines after a statement belong to its last block, which is indented as ``inside`` is."""
    if len(inside) <= len(indentation):
        return 0
    return max((number for number, line in enumerate(lines, 1) if line.startswith(inside)), default=0)


def _inside(lines: Sequence[str], offset: int, statement: ast.stmt) -> str:
    """The indentation of the last block of a statement; empty where it has none, or one that is not looked for."""
    match statement:
        case ast.If(orelse=[ast.If() as other]) if other.col_offset == statement.col_offset:  # elif
            return _inside(lines, offset, other)
        case ast.If(body=body, orelse=orelse) | ast.For(body=body, orelse=orelse):
            return _indentation(lines[_first((orelse or body)[0]) - offset])
    return ""


def signature(head: Sequence[str], node: ast.FunctionDef) -> tuple[tuple[Parameter, ...], str] | None:
    """The parameters of a method and its return annotation, as they are written.

    Args:
        head: The lines from its ``def`` to its first statement.
        node: The method.
    """
    parameters, written = [], []
    for kind, parameter, default in _parameters(node.args):
        if kind == "keyword" and node.args.vararg is None and "*" not in written:
            written.append("*")
        text = _between(head, node.lineno, parameter, default or parameter)
        parameters.append(Parameter(parameter.arg, text, kind))
        written.append(kind + text if kind in ("*", "**") else text)
        if any(parameter is last for last in node.args.posonlyargs[-1:]):
            written.append("/")
    returns = "" if node.returns is None else _between(head, node.lineno, node.returns, node.returns)
    # comments, and parentheses that are in no tree
    whole = f"def {node.name}({','.join(written)}){f'->{returns}' if returns else ''}:"
    return (tuple(parameters), returns) if _packed(whole) == _packed("".join(head)) else None


def _parameters(args: ast.arguments) -> Iterator[tuple[str, ast.arg, ast.expr | None]]:
    """The kind and the default value of each parameter, in the order in which they are written."""
    positional = [*args.posonlyargs, *args.args]
    defaults = [*[None] * (len(positional) - len(args.defaults)), *args.defaults]
    for number, (parameter, default) in enumerate(zip(positional, defaults, strict=True)):
        yield "positional-only" if number < len(args.posonlyargs) else "positional", parameter, default
    if args.vararg is not None:
        yield "*", args.vararg, None
    for parameter, value in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        yield "keyword", parameter, value
    if args.kwarg is not None:
        yield "**", args.kwarg, None


def _packed(text: str) -> str:
    return "".join(text.split()).replace(",)", ")")


def _between(lines: Sequence[str], offset: int, first: ast.arg | ast.expr, last: ast.arg | ast.expr) -> str:
    """The text from one node to another one on the same line; empty where they are not."""
    if first.lineno != last.end_lineno:
        return ""
    return lines[first.lineno - offset].encode()[first.col_offset : last.end_col_offset].decode()


def arms(text: str, tree: ast.If) -> tuple[str, tuple[str, ...], tuple[str, ...]] | None:
    """The test of an ``if``, and the statements of its two arms; of an ``elif`` it is one."""
    lines = text.split("\n")
    test, end = _between(lines, 1, tree.test, tree.test), tree.body[-1].end_lineno or 0
    body = _own_lines(lines, 1, tree.body)
    if body is None or not test or not _is_head(lines[tree.lineno - 1], f"if {test}") or len(lines) != tree.end_lineno:
        return None
    while lines[end:] and not lines[end]:
        end += 1
    match tree.orelse:
        case []:
            return test, body.texts, ()
        case [ast.If(lineno=line)] if line == end + 1 and lines[end].startswith("elif"):
            return test, body.texts, ("\n".join(lines[end:]).removeprefix("el"),)
    orelse = _own_lines(lines, 1, tree.orelse) if _is_head(lines[end], "else") else None
    return None if orelse is None else (test, body.texts, orelse.texts)


def _is_head(line: str, words: str) -> bool:
    """Whether a line is the head of a block and says no more than that."""
    return re.fullmatch(rf"{re.escape(words)}\s*:\s*(#.*)?", line) is not None


def loop_body(text: str, tree: ast.For) -> tuple[str, ...] | None:
    """The statements in the body of a ``for``."""
    own = _loop(text, tree)
    return None if own is None else own.texts


def _loop(text: str, tree: ast.For) -> OwnLines | None:
    lines = text.split("\n")
    return None if tree.orelse or len(lines) != tree.end_lineno else _own_lines(lines, 1, tree.body)


def guard_loop_head(text: str, tree: ast.For, guarded: Sequence[bool], test: str) -> str | None:
    """Put those of the first statements of a loop's body under a condition that are to be."""
    own = _loop(text, tree)
    if own is None or own.indentation != _INDENTATION:
        return None
    under, lines = False, text.split("\n")
    pending, found = lines[len(own.head) :], list(own.head)
    if sum(part.count("\n") + 1 for part in own.texts) != len(pending):
        return None
    for part, guard in itertools.zip_longest(own.texts, guarded, fillvalue=False):
        assert isinstance(part, str)
        if guard and not under:
            found.append(f"{_INDENTATION}if {test}:")
        under, count = bool(guard), part.count("\n") + 1
        inner = _INDENTATION if guard else ""
        found += [inner + line if line.startswith(_INDENTATION) else line for line in pending[:count]]
        pending = pending[count:]
    return "\n".join(found)


def substitute(text: str, replacements: Mapping[str, str]) -> str | None:
    """Replace names by expressions where they are values. It is compared with what that does to the tree."""
    tree = parse(text)
    nodes = list(walk(tree))
    if any(isinstance(node, _NAMING) or _may_echo(text, node) for node in nodes):
        return None
    arguments = {id(n.args[0]) for n in nodes if isinstance(n, ast.Call) and len(n.args) == 1 and not n.keywords}
    spots = [n for n in nodes if isinstance(n, ast.Name) and n.id in replacements]
    lines = [line.encode() for line in text.split("\n")]
    for node in sorted(spots, key=lambda spot: (spot.lineno, spot.col_offset), reverse=True):
        line, name = lines[node.lineno - 1], node.id.encode()
        before, here, after = line[: node.col_offset], line[node.col_offset :][: len(name)], line[node.end_col_offset :]
        if here != name or _may_be_in_parentheses(before.strip(), after.strip(), called_with=id(node) in arguments):
            return None
        lines[node.lineno - 1] = before + replacements[node.id].encode() + after
    changed = b"\n".join(lines).decode()
    expected = _Substitute({name: parse(value).body[0] for name, value in replacements.items()}).visit(tree)
    try:
        return changed if ast.dump(parse(changed)) == ast.dump(expected) else None
    except SyntaxError:
        return None


def _may_echo(text: str, node: ast.AST) -> bool:
    """Whether a node is an f-string that may print the text of an expression, ``f"{x=}"``."""
    return isinstance(node, ast.JoinedStr) and "=" in (_between(text.split("\n"), 1, node, node) or "=")


def _may_be_in_parentheses(before: bytes, after: bytes, *, called_with: bool) -> bool:
    """Whether a name may have parentheses of its own, which go with it, by what is around it on its line."""
    opened, closed = not before or before.endswith(b"("), not after or after.startswith((b")", b"#"))
    if not opened or not closed:
        return False
    outer = before[:-1].rstrip()
    return not (called_with and after.startswith(b")") and outer) or outer.endswith(b"(")


class _Substitute(ast.NodeTransformer):
    def __init__(self, values: Mapping[str, ast.stmt]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.AST:
        value = self.values.get(node.id)
        return value.value if isinstance(value, ast.Expr) else node


def _is_alone(lines: Sequence[str], offset: int, statement: ast.stmt, *, verbatim: bool) -> bool:
    """Whether nothing else is on the lines of a statement, and each of them may be dedented, or need not be."""
    last = (statement.end_lineno or 0) - offset
    own = lines[_first(statement) - offset : last + 1]
    before = lines[statement.lineno - offset].encode()[: statement.col_offset]
    after = lines[last].encode()[statement.end_col_offset :].strip()
    continues = any(line.endswith("\\") or '"""' in line or "'''" in line for line in own)
    return not before.strip() and after[:1] in (b"", b"#") and (verbatim or not continues)


def _first(statement: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(decorator.lineno for decorator in decorators)])


def _indentation(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _is_code(line: str) -> bool:
    return line.strip() != "" and not line.lstrip().startswith("#")
