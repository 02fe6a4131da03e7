"""A method as text that can be cut: its statements one by one, with their comments, and a few exact rewrites.

Most are made line by line (:mod:`codegen.syntax.lines`), the others token by token (:mod:`codegen.syntax.concrete`),
which is loaded only for these. What a statement *means* is for :mod:`codegen.syntax.dataflow`, which reads the ``ast``
of the same text.
"""

from __future__ import annotations

import ast
import functools
import io
import re
import textwrap
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from codegen.syntax import lines as by_lines
from codegen.syntax.computed_names import NONE, ComputedNames
from codegen.syntax.dataflow import Unsound
from codegen.syntax.documentation import parameter_texts
from codegen.syntax.parsing import parse
from codegen.syntax.walking import children, walk
from codegen.types import Parameter, Place

# What str.splitlines takes for the end of a line, beyond what Python does.
_SEPARATORS = re.compile("[\v\f\x1c\x1d\x1e\x85\u2028\u2029]")

# Levels of a syntax tree; timm's deepest method has 20.
_DEEPEST = 300

# Nodes that have a line of their own.
_PLACED = (ast.stmt, ast.expr, ast.arg, ast.keyword, ast.alias, ast.excepthandler, ast.pattern)


@dataclass(frozen=True)
class Statement:
    """One statement, its leading comments included, dedented.

    Attributes:
        text: The source, ending without a newline.
        place: Where timm has it: the line of the statement proper, not of its comments.
        names: The names that attributes go by in its tree.
    """

    text: str
    place: Place
    names: ComputedNames = field(default=NONE, compare=False)

    @cached_property
    def _parsed(self) -> tuple[ast.stmt, int]:
        tree = parse(self.text)
        first = tree.body[0].lineno
        self.names.rewrite(tree)
        _move(tree.body[0], self.place.line - first)
        return tree.body[0], first

    @property
    def tree(self) -> ast.stmt:
        """The statement, with the line numbers of the file that it comes from."""
        return self._parsed[0]

    @cached_property
    def written(self) -> ast.stmt:
        """The statement with each attribute under its own name: one of ``norm1`` is another than one of ``norm2``."""
        return parse(self.text).body[0]

    @property
    def code(self) -> str:
        """The text without the comments above it."""
        return self.text[_offset(self.text, self._parsed[1]) :]

    @property
    def first_line(self) -> str:
        """The statement as it is quoted in a reason."""
        return self.code.splitlines()[0].strip()

    @property
    def last(self) -> Place:
        """The line on which the statement ends."""
        return Place(self.place.file, self.tree.end_lineno or self.place.line)


@dataclass(frozen=True)
class Body:
    """A method taken apart.

    Attributes:
        receiver: What it calls ``self``.
        parameters: The others, with what the docstring says of them.
        returns: The return annotation, empty if it has none.
        statements: Without the docstring.
        docstring: Without its indentation; empty if there is none.
    """

    receiver: str
    parameters: tuple[Parameter, ...]
    returns: str
    statements: tuple[Statement, ...]
    docstring: str


def read_method(text: str, node: ast.FunctionDef, file: str, names: ComputedNames = NONE) -> Body:
    """Take a method of a parsed file apart.

    Args:
        text: The whole file.
        node: The method in it.
        file: Its path, for the places of the statements.
        names: The names that attributes go by.

    Raises:
        Unsound: If the text holds what cannot be cut into lines, or is beyond libcst.
        RecursionError: If it is nested more deeply than any method that a person wrote.
    """
    if not _is_shallow(node):
        raise RecursionError
    lines = source_lines(text)[node.lineno - 1 : node.end_lineno]
    odd = _SEPARATORS.search("\n".join(lines))
    if odd is not None:
        raise Unsound(node, f"it holds the character {odd.group()!a}, which ends a line for editors but not for Python")
    own = by_lines.own_lines(lines, node)
    known = None if own is None else by_lines.signature(own.head, node)
    if own is not None and known is not None:
        written, parameters, returns = own.texts, known[0], known[1]
    else:
        from codegen.syntax import concrete

        try:
            read = concrete.read_function("\n".join(lines if own is None else [*own.head, f"{own.indentation}pass"]))
        except concrete.SyntaxErrorOfLibcst as error:
            raise Unsound(node, f"libcst cannot parse it: {error.message}") from error
        written, parameters, returns = read.texts if own is None else own.texts, read.parameters, read.returns
    statements = _statements(written, [Place(file, inner.lineno) for inner in node.body], names)
    for statement, inner in zip(statements, node.body, strict=True):
        _check_strings(statement.text, inner)
    if ast.get_docstring(node) is not None:
        statements = statements[1:]
    docstring = (ast.get_docstring(node) or "").strip()
    first, *others = parameters or (Parameter("", ""),)
    texts = parameter_texts(docstring, {parameter.name for parameter in others})
    described = tuple(replace(parameter, texts=texts.get(parameter.name, ())) for parameter in others)
    return Body(first.name, described, returns, statements, docstring)


def _is_shallow(node: ast.AST) -> bool:
    """Whether a parser that recurses, as libcst's does without a bound, comes to the end of a tree."""
    level = [node]
    if len([*walk(node)]) <= _DEEPEST:  # as most have
        return True
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in children(outer)]
        if not level:
            return True
    return False


@functools.lru_cache(maxsize=4)  # the classes of a file ask for its lines in turn
def source_lines(text: str) -> Sequence[str]:
    """The lines of a file as Python counts them, without their ends."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")  # re.split takes twenty times as long


def _check_strings(text: str, statement: ast.stmt) -> None:
    """Refuse a string whose text would change with the indentation of its lines. A string that is no value may."""
    if statement.lineno == statement.end_lineno:
        return
    comments = {id(node.value) for node in walk(statement) if isinstance(node, ast.Expr)}
    for node in walk(statement):
        if not isinstance(node, ast.JoinedStr | ast.Constant) or id(node) in comments:
            continue
        if node.end_lineno != node.lineno:  # perhaps several strings in a row
            for token in tokenize.generate_tokens(io.StringIO(text).readline):
                if "STRING" in tokenize.tok_name[token.type] and token.start[0] != token.end[0]:
                    raise Unsound(node, "a string over several lines would change with its indentation")


def _statements(texts: Sequence[str], places: Sequence[Place], names: ComputedNames) -> tuple[Statement, ...]:
    return tuple(Statement(text, place, names) for text, place in zip(texts, places, strict=True))


def _move(statement: ast.stmt, lines: int) -> None:
    """Move a statement down, as ``ast.increment_lineno`` does, in a fraction of its time."""
    for node in walk(statement) if lines else ():
        if isinstance(node, _PLACED):
            node.lineno += lines
            node.end_lineno = None if node.end_lineno is None else node.end_lineno + lines


def _offset(text: str, line: int) -> int:
    return sum(len(part) for part in text.splitlines(keepends=True)[: line - 1])


def rewrite(statement: Statement, text: str) -> Statement:
    """The same place with other text."""
    return replace(statement, text=text.strip("\n"))


def substitute(statement: Statement, replacements: Mapping[str, str]) -> Statement:
    """Replace reads of local names by expressions: ``embed(x)`` becomes ``self.patch_embeds[0](x)``.

    Raises:
        Unsound: If the statement prints the text of an expression, ``f"{x=}"``.
    """
    changed = by_lines.substitute(statement.text, replacements)
    if changed is None:
        from codegen.syntax import concrete

        changed = concrete.substitute(statement.text, replacements)
    if changed is None:
        raise Unsound(statement.tree, "an f-string prints the names that are in it")
    return rewrite(statement, changed)


def assign_return(statement: Statement, target: str) -> Statement:
    """Turn ``return value`` into ``target = value``."""
    assert isinstance(statement.tree, ast.Return)
    assert statement.tree.value is not None
    code = statement.code
    comments = statement.text[: len(statement.text) - len(code)]
    return rewrite(statement, f"{comments}{target} = {code.removeprefix('return').lstrip()}")


def arms(statement: Statement) -> tuple[str, tuple[Statement, ...], tuple[Statement, ...]]:
    """The test of an ``if``, and the statements of its two arms."""
    tree, written = statement.tree, statement.written
    assert isinstance(tree, ast.If)
    assert isinstance(written, ast.If)
    found = by_lines.arms(statement.text, written)
    if found is None:
        from codegen.syntax import concrete

        found = concrete.arms(statement.text)
    test, body, orelse = found
    return test, _block(body, tree.body, statement), _block(orelse, tree.orelse, statement)


def loop_body(statement: Statement) -> tuple[Statement, ...]:
    """The statements in the body of a ``for``."""
    tree, written = statement.tree, statement.written
    assert isinstance(tree, ast.For)
    assert isinstance(written, ast.For)
    found = by_lines.loop_body(statement.text, written)
    if found is None:
        from codegen.syntax import concrete

        found = concrete.loop_body(statement.text)
    return _block(found, tree.body, statement)


def context_body(statement: Statement) -> tuple[str, tuple[Statement, ...]]:
    """What a ``with`` enters, as text, and the statements in its body."""
    from codegen.syntax import concrete

    assert isinstance(statement.tree, ast.With)
    entered, body = concrete.context_body(statement.text)
    return entered, _block(body, statement.tree.body, statement)


def guard_loop_head(statement: Statement, guarded: Sequence[bool], test: str) -> Statement:
    """Put those of the first statements of a loop's body under a condition that are to be."""
    written = statement.written
    assert isinstance(written, ast.For)
    changed = by_lines.guard_loop_head(statement.text, written, guarded, test)
    if changed is None:
        from codegen.syntax import concrete

        changed = concrete.guard_loop_head(statement.text, guarded, test)
    return rewrite(statement, changed)


def count_rounds(statement: Statement, index: str) -> Statement:
    """Number the rounds of a loop: ``for x in y`` becomes ``for index, x in enumerate(y)``."""
    from codegen.syntax import concrete

    return rewrite(statement, concrete.count_rounds(statement.text, index))


def conditional(test: str, body: Sequence[Statement], orelse: Sequence[Statement], place: Place) -> Statement:
    """An ``if`` of two arms, either of which may be empty."""

    def indented(statements: Sequence[Statement]) -> str:
        return textwrap.indent("\n".join(s.text for s in statements) or "pass", "    ")

    names = (*body, *orelse)[0].names
    if not body:
        return Statement(f"if not ({test}):\n{indented(orelse)}", place, names)
    text = f"if {test}:\n{indented(body)}"
    return Statement(text + (f"\nelse:\n{indented(orelse)}" if orelse else ""), place, names)


def _block(texts: Sequence[str], nodes: Sequence[ast.stmt], statement: Statement) -> tuple[Statement, ...]:
    return _statements(texts, [Place(statement.place.file, node.lineno) for node in nodes], statement.names)
