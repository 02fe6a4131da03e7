"""A method as text that can be cut: its statements one by one, with their comments, and a few exact rewrites.

libcst lives here alone: text comes in, text goes out. What a statement *means* is for :mod:`codegen.syntax.dataflow`,
which reads the ``ast`` of the same text.
"""

from __future__ import annotations

import ast
import functools
import io
import itertools
import operator
import re
import textwrap
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import libcst as cst

from codegen.syntax.computed_names import NONE, ComputedNames
from codegen.syntax.dataflow import Unsound
from codegen.syntax.documentation import parameter_texts
from codegen.syntax.lines import own_lines
from codegen.syntax.parsing import parse
from codegen.syntax.walking import children, walk
from codegen.types import Parameter, Place

# What str.splitlines takes for the end of a line, beyond what Python does.
_SEPARATORS = re.compile("[\v\f\x1c\x1d\x1e\x85\u2028\u2029]")

# Levels of a syntax tree; timm's deepest method has 20.
_DEEPEST = 300

# Nodes that have a line of their own.
_PLACED = (ast.stmt, ast.expr, ast.arg, ast.keyword, ast.alias, ast.excepthandler, ast.pattern)

_Line = cst.SimpleStatementLine | cst.BaseCompoundStatement


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
    own = own_lines(lines, node)
    try:
        read = _function("\n".join(lines if own is None else [*own.head, f"{own.indentation}pass"]))
    except cst.ParserSyntaxError as error:
        raise Unsound(node, f"libcst cannot parse it: {error.message}") from error
    written = own.texts if own is not None else _texts(read.module, _lines(read.body))
    statements = _statements(written, [Place(file, inner.lineno) for inner in node.body], names)
    for statement, inner in zip(statements, node.body, strict=True):
        _check_strings(statement.text, inner)
    if ast.get_docstring(node) is not None:
        statements = statements[1:]
    docstring = (ast.get_docstring(node) or "").strip()
    first, *parameters = read.parameters or (Parameter("", ""),)
    texts = parameter_texts(docstring, {parameter.name for parameter in parameters})
    described = tuple(replace(parameter, texts=texts.get(parameter.name, ())) for parameter in parameters)
    return Body(first.name, described, read.returns, statements, docstring)


@dataclass(frozen=True, eq=False)
class _Function:
    """A method as libcst reads it.

    Attributes:
        module: What it stands in.
        body: Its statements.
        parameters: Without what the docstring says of them.
        returns: The return annotation, empty if it has none.
    """

    module: cst.Module
    body: cst.BaseSuite
    parameters: tuple[Parameter, ...]
    returns: str


@functools.lru_cache(maxsize=32)  # most methods have one of a few signatures
def _function(text: str) -> _Function:
    """Read a method, in a class, where its lines keep the indentation that they have."""
    module = cst.parse_module(f"class _:\n{text}\n")
    function = cst.ensure_type(cst.ensure_type(module.body[0], cst.ClassDef).body.body[0], cst.FunctionDef)
    returns = module.code_for_node(function.returns.annotation) if function.returns else ""
    return _Function(module, function.body, tuple(_parameters(module, function.params)), returns)


def _is_shallow(node: ast.AST) -> bool:
    """Whether a parser that recurses, as libcst's does without a bound, comes to the end of a tree."""
    level = [node]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in children(outer)]
        if not level:
            return True
    return False


@functools.lru_cache(maxsize=4)  # the classes of a file ask for its lines in turn
def source_lines(text: str) -> Sequence[str]:
    """The lines of a file as Python counts them, without their ends."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")  # re.split takes twenty times as long


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


def _lines(suite: cst.BaseSuite) -> list[_Line]:
    """The statements of a block, each on a line of its own."""
    lines: list[_Line] = []
    for line in suite.body:
        if isinstance(line, cst.BaseSmallStatement):  # if a: b; c
            lines.append(cst.SimpleStatementLine([_alone(line)]))
        elif isinstance(line, cst.SimpleStatementLine) and len(line.body) > 1:  # a; b  # comment
            first, *others = (line.with_changes(body=[_alone(small)]) for small in line.body)
            lines += [first, *(other.with_changes(leading_lines=[]) for other in others)]
        else:
            assert isinstance(line, cst.SimpleStatementLine | cst.BaseCompoundStatement)
            lines.append(line)
    return lines


def _alone(small: cst.BaseSmallStatement) -> cst.BaseSmallStatement:
    return small.with_changes(semicolon=cst.MaybeSentinel.DEFAULT)


def _texts(module: cst.Module, lines: Sequence[_Line]) -> tuple[str, ...]:
    first, *others = (module.code_for_node(line).rstrip("\n") for line in lines)
    return (first.lstrip("\n"), *others)


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
    transformer = _Substitute({name: cst.parse_expression(text) for name, text in replacements.items()})
    changed = rewrite(statement, cst.parse_module(statement.text + "\n").visit(transformer).code)
    if transformer.echoes:
        raise Unsound(statement.tree, "an f-string prints the names that are in it")
    return changed


def assign_return(statement: Statement, target: str) -> Statement:
    """Turn ``return value`` into ``target = value``."""
    assert isinstance(statement.tree, ast.Return)
    assert statement.tree.value is not None
    code = statement.code
    comments = statement.text[: len(statement.text) - len(code)]
    return rewrite(statement, f"{comments}{target} = {code.removeprefix('return').lstrip()}")


def arms(statement: Statement) -> tuple[str, tuple[Statement, ...], tuple[Statement, ...]]:
    """The test of an ``if``, and the statements of its two arms."""
    tree = statement.tree
    assert isinstance(tree, ast.If)
    module = cst.parse_module(statement.text + "\n")
    node = cst.ensure_type(module.body[0], cst.If)
    body = _block(module, node.body, tree.body, statement)
    orelse: tuple[Statement, ...] = ()
    if isinstance(node.orelse, cst.Else):
        orelse = _block(module, node.orelse.body, tree.orelse, statement)
    elif isinstance(node.orelse, cst.If):
        text = module.code_for_node(node.orelse).lstrip()
        place = Place(statement.place.file, tree.orelse[0].lineno)
        orelse = (Statement(text.removeprefix("el").rstrip("\n"), place, statement.names),)
    return module.code_for_node(node.test), body, orelse


def loop_body(statement: Statement) -> tuple[Statement, ...]:
    """The statements in the body of a ``for``."""
    tree = statement.tree
    assert isinstance(tree, ast.For)
    module = cst.parse_module(statement.text + "\n")
    return _block(module, cst.ensure_type(module.body[0], cst.For).body, tree.body, statement)


def context_body(statement: Statement) -> tuple[str, tuple[Statement, ...]]:
    """What a ``with`` enters, as text, and the statements in its body."""
    tree = statement.tree
    assert isinstance(tree, ast.With)
    module = cst.parse_module(statement.text + "\n")
    node = cst.ensure_type(module.body[0], cst.With)
    entered = ", ".join(module.code_for_node(item.with_changes(comma=cst.MaybeSentinel.DEFAULT)) for item in node.items)
    return entered, _block(module, node.body, tree.body, statement)


def guard_loop_head(statement: Statement, guarded: Sequence[bool], test: str) -> Statement:
    """Put those of the first statements of a loop's body under a condition that are to be."""
    module = cst.parse_module(statement.text + "\n")
    node = cst.ensure_type(module.body[0], cst.For)
    lines = _lines(node.body)
    head: list[_Line] = []
    for under, several in itertools.groupby(zip(guarded, lines, strict=False), key=operator.itemgetter(0)):
        run = [line for _, line in several]
        head += [cst.If(test=cst.parse_expression(test), body=cst.IndentedBlock(run))] if under else run
    block = node.body if isinstance(node.body, cst.IndentedBlock) else cst.IndentedBlock([])
    changed = node.with_changes(body=block.with_changes(body=[*head, *lines[len(guarded) :]]))
    return rewrite(statement, module.with_changes(body=[changed]).code)


def count_rounds(statement: Statement, index: str) -> Statement:
    """Number the rounds of a loop: ``for x in y`` becomes ``for index, x in enumerate(y)``."""
    module = cst.parse_module(statement.text + "\n")
    node = cst.ensure_type(module.body[0], cst.For)
    inner = node.target
    if isinstance(inner, cst.Tuple) and not inner.lpar:
        inner = inner.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    target = cst.Tuple([cst.Element(cst.Name(index)), cst.Element(inner)], lpar=[], rpar=[])
    changed = node.with_changes(target=target, iter=cst.Call(cst.Name("enumerate"), [cst.Arg(node.iter)]))
    return rewrite(statement, module.with_changes(body=[changed]).code)


def conditional(test: str, body: Sequence[Statement], orelse: Sequence[Statement], place: Place) -> Statement:
    """An ``if`` of two arms, either of which may be empty."""

    def indented(statements: Sequence[Statement]) -> str:
        return textwrap.indent("\n".join(s.text for s in statements) or "pass", "    ")

    names = (*body, *orelse)[0].names
    if not body:
        return Statement(f"if not ({test}):\n{indented(orelse)}", place, names)
    text = f"if {test}:\n{indented(body)}"
    return Statement(text + (f"\nelse:\n{indented(orelse)}" if orelse else ""), place, names)


def _block(
    module: cst.Module, suite: cst.BaseSuite, nodes: Sequence[ast.stmt], statement: Statement
) -> tuple[Statement, ...]:
    places = [Place(statement.place.file, node.lineno) for node in nodes]
    return _statements(_texts(module, _lines(suite)), places, statement.names)


class _Substitute(cst.CSTTransformer):
    """Replace names where they are values: not attribute names, keyword names or parameters."""

    def __init__(self, values: Mapping[str, cst.BaseExpression]) -> None:
        super().__init__()
        self.values = values
        self.echoes = False

    def visit_FormattedStringExpression(self, node: cst.FormattedStringExpression) -> None:
        self.echoes |= node.equal is not None

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
