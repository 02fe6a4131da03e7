"""A method as text that can be cut: its statements one by one, with their comments, and a few exact rewrites.

libcst lives here alone: text comes in, text goes out. What a statement *means* is for :mod:`codegen.dataflow`, which
reads the ``ast`` of the same text.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import libcst as cst

from codegen.types import Parameter, Place


@dataclass(frozen=True)
class Statement:
    """One statement, its leading comments included, dedented.

    Attributes:
        text: The source, ending without a newline.
        place: Where timm has it: the line of the statement proper, not of its comments.
    """

    text: str
    place: Place

    @cached_property
    def raw(self) -> ast.stmt:
        """The statement, with line numbers that count from the start of its text."""
        return ast.parse(self.text).body[0]

    @cached_property
    def tree(self) -> ast.stmt:
        """The statement, with the line numbers of the file that it comes from."""
        return ast.increment_lineno(ast.parse(self.text), self.place.line - self.raw.lineno).body[0]

    @property
    def code(self) -> str:
        """The text without the comments above it."""
        return self.text[_offset(self.text, self.raw.lineno) :]

    @property
    def last(self) -> Place:
        """The line on which the statement ends."""
        return Place(self.place.file, self.tree.end_lineno or self.place.line)


@dataclass(frozen=True)
class Body:
    """A method taken apart."""

    receiver: str
    parameters: tuple[Parameter, ...]
    returns: str
    statements: tuple[Statement, ...]


def read_method(text: str, node: ast.FunctionDef, file: str) -> Body:
    """Take a method of a parsed file apart.

    Args:
        text: The whole file.
        node: The method in it.
        file: Its path, for the places of the statements.
    """
    lines = text.splitlines()
    source = textwrap.dedent("\n".join(lines[node.lineno - 1 : node.end_lineno])) + "\n"
    module = cst.parse_module(source)
    function = cst.ensure_type(module.body[0], cst.FunctionDef)
    statements = _statements(module, function, source, Place(file, node.lineno))
    first, *parameters = _parameters(module, function.params) or [Parameter("", "")]
    returns = module.code_for_node(function.returns.annotation) if function.returns else ""
    return Body(first.name, tuple(parameters), returns, statements)


def _parameters(module: cst.Module, params: cst.Parameters) -> list[Parameter]:
    found: list[Parameter] = []

    def add(param: cst.Param, kind: str) -> None:
        bare = param.with_changes(
            star="", comma=cst.MaybeSentinel.DEFAULT, whitespace_after_param=cst.SimpleWhitespace("")
        )
        found.append(Parameter(param.name.value, module.code_for_node(bare).strip(), kind))

    for param in params.posonly_params:
        add(param, "positional-only")
    for param in params.params:
        add(param, "positional")
    if isinstance(params.star_arg, cst.Param):
        add(params.star_arg, "*")
    for param in params.kwonly_params:
        add(param, "keyword")
    if params.star_kwarg is not None:
        add(params.star_kwarg, "**")
    return found


def _statements(module: cst.Module, function: cst.FunctionDef, source: str, start: Place) -> tuple[Statement, ...]:
    body = function.body
    tree = ast.parse(source).body[0]
    assert isinstance(tree, ast.FunctionDef)
    if isinstance(body, cst.SimpleStatementSuite):
        return tuple(
            Statement(ast.get_source_segment(source, node) or "", Place(start.file, start.line + node.lineno - 1))
            for node in tree.body
        )
    assert isinstance(body, cst.IndentedBlock)
    nodes = iter(tree.body)
    found: list[Statement] = []
    for number, line in enumerate(body.body):
        if number == 0:
            line = line.with_changes(leading_lines=[])
        if isinstance(line, cst.SimpleStatementLine) and len(line.body) > 1:
            for small in line.body:  # a; b
                node = next(nodes)
                text = ast.get_source_segment(source, node) or module.code_for_node(small)
                found.append(Statement(text, Place(start.file, start.line + node.lineno - 1)))
            continue
        node = next(nodes)
        if number == 0 and ast.get_docstring(tree) is not None:
            continue
        text = module.code_for_node(line)
        if number == len(body.body) - 1:
            text += "".join(module.code_for_node(empty) for empty in body.footer if empty.comment)
        found.append(Statement(text.rstrip("\n"), Place(start.file, start.line + node.lineno - 1)))
    return tuple(found)


def _offset(text: str, line: int) -> int:
    return sum(len(part) for part in text.splitlines(keepends=True)[: line - 1])


def rewrite(statement: Statement, text: str) -> Statement:
    """The same place with other text."""
    return Statement(text.strip("\n"), statement.place)


def substitute(statement: Statement, replacements: Mapping[str, str]) -> Statement:
    """Replace reads of local names by expressions: ``embed(x)`` becomes ``self.patch_embeds[0](x)``."""
    return _transform(statement, _Substitute({name: cst.parse_expression(text) for name, text in replacements.items()}))


def assign_return(statement: Statement, target: str) -> Statement:
    """Turn ``return value`` into ``target = value``."""
    assert isinstance(statement.raw, ast.Return)
    assert statement.raw.value is not None
    start = _offset(statement.text, statement.raw.lineno) + statement.raw.value.col_offset
    return Statement(
        statement.text[: start - len("return ")] + f"{target} = " + statement.text[start:], statement.place
    )


def arms(statement: Statement) -> tuple[str, tuple[Statement, ...], tuple[Statement, ...]]:
    """The test of an ``if``, and the statements of its two arms."""
    tree = statement.raw
    assert isinstance(tree, ast.If)
    module = cst.parse_module(statement.text + "\n")
    node = cst.ensure_type(module.body[0], cst.If)
    body = _block(module, node.body, tree.body, statement)
    orelse: tuple[Statement, ...] = ()
    if isinstance(node.orelse, cst.Else):
        orelse = _block(module, node.orelse.body, tree.orelse, statement)
    elif isinstance(node.orelse, cst.If):
        text = module.code_for_node(node.orelse).lstrip()
        orelse = (Statement(text.removeprefix("el").rstrip("\n"), _at(statement, tree.orelse[0])),)
    return module.code_for_node(node.test), body, orelse


def loop_body(statement: Statement) -> tuple[Statement, ...]:
    """The statements in the body of a ``for``."""
    tree = statement.raw
    assert isinstance(tree, ast.For)
    module = cst.parse_module(statement.text + "\n")
    return _block(module, cst.ensure_type(module.body[0], cst.For).body, tree.body, statement)


def guard_loop_head(statement: Statement, length: int, test: str) -> Statement:
    """Put the first statements of a loop's body under a condition."""
    module = cst.parse_module(statement.text + "\n")
    node = cst.ensure_type(module.body[0], cst.For)
    block = cst.ensure_type(node.body, cst.IndentedBlock)
    head = cst.If(test=cst.parse_expression(test), body=cst.IndentedBlock(body=block.body[:length]))
    changed = node.with_changes(body=block.with_changes(body=[head, *block.body[length:]]))
    return rewrite(statement, module.with_changes(body=[changed]).code)


def count_rounds(statement: Statement, index: str) -> Statement:
    """Number the rounds of a loop: ``for x in y`` becomes ``for index, x in enumerate(y)``."""
    module = cst.parse_module(statement.text + "\n")
    node = cst.ensure_type(module.body[0], cst.For)
    target = cst.Tuple([cst.Element(cst.Name(index)), cst.Element(node.target)], lpar=[], rpar=[])
    changed = node.with_changes(target=target, iter=cst.Call(cst.Name("enumerate"), [cst.Arg(node.iter)]))
    return rewrite(statement, module.with_changes(body=[changed]).code)


def conditional(test: str, body: Sequence[Statement], orelse: Sequence[Statement], place: Place) -> Statement:
    """An ``if`` of two arms, either of which may be empty."""

    def indented(statements: Sequence[Statement]) -> str:
        return textwrap.indent("\n".join(s.text for s in statements) or "pass", "    ")

    if not body:
        return Statement(f"if not ({test}):\n{indented(orelse)}", place)
    text = f"if {test}:\n{indented(body)}"
    return Statement(text + (f"\nelse:\n{indented(orelse)}" if orelse else ""), place)


def _block(
    module: cst.Module, block: cst.BaseSuite, nodes: Sequence[ast.stmt], statement: Statement
) -> tuple[Statement, ...]:
    if isinstance(block, cst.SimpleStatementSuite) or len(block.body) != len(nodes):
        return tuple(
            Statement(textwrap.dedent(ast.get_source_segment(statement.text, n) or ""), _at(statement, n))
            for n in nodes
        )
    found = []
    for number, (line, node) in enumerate(zip(block.body, nodes, strict=True)):
        text = module.code_for_node(line)
        found.append(Statement((text.lstrip("\n") if number == 0 else text).rstrip("\n"), _at(statement, node)))
    return tuple(found)


def _at(statement: Statement, node: ast.stmt) -> Place:
    return Place(statement.place.file, statement.place.line + node.lineno - statement.raw.lineno)


def _transform(statement: Statement, transformer: cst.CSTTransformer) -> Statement:
    return rewrite(statement, cst.parse_module(statement.text + "\n").visit(transformer).code)


class _Substitute(cst.CSTTransformer):
    """Replace names where they are values: not attribute names, keyword names or parameters."""

    def __init__(self, values: Mapping[str, cst.BaseExpression]) -> None:
        super().__init__()
        self.values = values

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        return self.values.get(original_node.value, updated_node)

    def visit_Attribute_attr(self, node: cst.Attribute) -> None:
        self.values, self._saved = {}, self.values

    def leave_Attribute_attr(self, node: cst.Attribute) -> None:
        self.values = self._saved

    def visit_Arg_keyword(self, node: cst.Arg) -> None:
        self.values, self._saved = {}, self.values

    def leave_Arg_keyword(self, node: cst.Arg) -> None:
        self.values = self._saved
