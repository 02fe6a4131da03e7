"""Statements taken apart and rewritten token by token, whatever their layout.

libcst lives here alone: text comes in, text goes out. It takes a while to load, and so is asked only for what lines do
not tell (:mod:`codegen.syntax.lines`).
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import libcst as cst

from codegen.types import Parameter

_Line = cst.SimpleStatementLine | cst.BaseCompoundStatement

SyntaxErrorOfLibcst = cst.ParserSyntaxError


@dataclass(frozen=True, eq=False)
class Function:
    """A method as libcst reads it.

    Attributes:
        parameters: Without what the docstring says of them.
        returns: The return annotation, empty if it has none.
    """

    parameters: tuple[Parameter, ...]
    returns: str
    _module: cst.Module
    _body: cst.BaseSuite

    @property
    def texts(self) -> tuple[str, ...]:
        """Its statements, dedented, each with the comments above it."""
        return _texts(self._module, _lines(self._body))


@functools.lru_cache(maxsize=32)  # most methods have one of a few signatures
def read_function(text: str) -> Function:
    """Read a method, in a class, where its lines keep the indentation that they have."""
    module = cst.parse_module(f"class _:\n{text}\n")
    function = cst.ensure_type(cst.ensure_type(module.body[0], cst.ClassDef).body.body[0], cst.FunctionDef)
    returns = module.code_for_node(function.returns.annotation) if function.returns else ""
    return Function(tuple(_parameters(module, function.params)), returns, module, function.body)


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


def substitute(text: str, replacements: Mapping[str, str]) -> str | None:
    """Replace names by expressions where they are values; ``None`` if the statement prints one, ``f"{x=}"``."""
    transformer = _Substitute({name: cst.parse_expression(value) for name, value in replacements.items()})
    changed = cst.parse_module(text + "\n").visit(transformer).code
    return None if transformer.echoes else changed


def arms(text: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The test of an ``if``, and the statements of its two arms; of an ``elif`` it is one."""
    module = cst.parse_module(text + "\n")
    node = cst.ensure_type(module.body[0], cst.If)
    orelse: tuple[str, ...] = ()
    if isinstance(node.orelse, cst.Else):
        orelse = _texts(module, _lines(node.orelse.body))
    elif isinstance(node.orelse, cst.If):
        orelse = (module.code_for_node(node.orelse).lstrip().removeprefix("el").rstrip("\n"),)
    return module.code_for_node(node.test), _texts(module, _lines(node.body)), orelse


def loop_body(text: str) -> tuple[str, ...]:
    """The statements in the body of a ``for``."""
    module = cst.parse_module(text + "\n")
    return _texts(module, _lines(cst.ensure_type(module.body[0], cst.For).body))


def context_body(text: str) -> tuple[str, tuple[str, ...]]:
    """What a ``with`` enters, and the statements in its body."""
    module = cst.parse_module(text + "\n")
    node = cst.ensure_type(module.body[0], cst.With)
    entered = ", ".join(module.code_for_node(item.with_changes(comma=cst.MaybeSentinel.DEFAULT)) for item in node.items)
    return entered, _texts(module, _lines(node.body))


def guard_loop_head(text: str, guarded: Sequence[bool], test: str) -> str:
    """Put those of the first statements of a loop's body under a condition that are to be."""
    module = cst.parse_module(text + "\n")
    node = cst.ensure_type(module.body[0], cst.For)
    lines = _lines(node.body)
    head: list[_Line] = []
    for under, several in itertools.groupby(zip(guarded, lines, strict=False), key=operator.itemgetter(0)):
        run = [line for _, line in several]
        head += [cst.If(test=cst.parse_expression(test), body=cst.IndentedBlock(run))] if under else run
    block = node.body if isinstance(node.body, cst.IndentedBlock) else cst.IndentedBlock([])
    changed = node.with_changes(body=block.with_changes(body=[*head, *lines[len(guarded) :]]))
    return module.with_changes(body=[changed]).code


def count_rounds(text: str, index: str) -> str:
    """Number the rounds of a loop."""
    module = cst.parse_module(text + "\n")
    node = cst.ensure_type(module.body[0], cst.For)
    inner = node.target
    if isinstance(inner, cst.Tuple) and not inner.lpar:
        inner = inner.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    target = cst.Tuple([cst.Element(cst.Name(index)), cst.Element(inner)], lpar=[], rpar=[])
    changed = node.with_changes(target=target, iter=cst.Call(cst.Name("enumerate"), [cst.Arg(node.iter)]))
    return module.with_changes(body=[changed]).code


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
