"""Which statements may have bound a variable where it is used."""

import ast
import textwrap

import pytest

from codegen.syntax.reaching import reaching

CASES = {
    "a = 1\na = 2\nuse(a)": "2",
    "a = 1\nuse(a)\na = 2": "1",
    "a = 1\nif x:\n    a = 2\nuse(a)": "2 1",
    "if x:\n    a = 1\nelse:\n    a = 2\nuse(a)": "2 1",
    "a = 1\nif x:\n    a = 2\n    use(a)": "2",
    "try:\n    a = 1\nexcept E:\n    a = 2\nuse(a)": "2 1",
    "match x:\n    case 1:\n        a = 1\n    case _:\n        a = 2\nuse(a)": "2 1",
    "with x:\n    a = 1\nuse(a)": "1",
    "a = 1\nfor i in x:\n    use(a)\n    a = 2": "1 2",
    "for a in x:\n    use(a)": "x",
    "(a, b) = x\nuse(a)": "x",
    "a: int = 1\nuse(a)": "1",
    "use(p)": "p",
}


@pytest.mark.parametrize("body", CASES)
def test_the_nearest_that_may_have_bound_it_come_first(body):
    function = ast.parse(f"def f(p):\n{textwrap.indent(body, '    ')}").body[0]
    (call,) = (n for n in ast.walk(function) if isinstance(n, ast.Call))
    nodes = list(reaching(function, *call.args))
    found = [node if isinstance(node, ast.arg) else getattr(node, "iter", None) or node.value for node in nodes]
    assert " ".join(map(ast.unparse, found)) == CASES[body]
