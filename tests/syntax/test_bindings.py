"""Which names code binds, as Python's own symbol tables have it."""

import ast
import importlib.util
import symtable
from collections.abc import Iterator
from pathlib import Path

import pytest

from codegen.syntax.bindings import bound_names

# Variables of comprehensions begin with `_`: from Python 3.12 on, symbol tables count them to the function around.
STATEMENTS = [
    ("a = b", ["a"]),
    ("a = b = c", ["a", "b"]),
    ("a, (b, *c), [d] = e", ["a", "b", "c", "d"]),
    ("a.b, c[d], e = f", ["e"]),
    ("a += b", ["a"]),
    ("a.b += c", []),
    ("a: int = b", ["a"]),
    ("a: int", ["a"]),
    ("a.b: int = c", []),
    ("a = b[(c := d)]", ["a", "c"]),
    ("a[(b := c)] = d", ["b"]),
    ("f(a := b, c=(d := e))", ["a", "d"]),
    ("for a, b in c:\n    d = e\nelse:\n    f = g", ["a", "b", "d", "f"]),
    ("while (a := b):\n    c = d\nelse:\n    e = f", ["a", "c", "e"]),
    ("if (a := b):\n    c = d\nelif e:\n    f = g\nelse:\n    h = i", ["a", "c", "f", "h"]),
    ("with a as b, c as (d, e.f), g:\n    h = i", ["b", "d", "h"]),
    ("try:\n    a = b\nexcept c as d:\n    e = f\nelse:\n    g = h\nfinally:\n    i = j", ["a", "d", "e", "g", "i"]),
    ("try:\n    a = b\nexcept c:\n    pass", ["a"]),
    ("import a, b.c, d.e as f", ["a", "b", "f"]),
    ("from a import b, c as d", ["b", "d"]),
    ("from . import a", ["a"]),
    ("del a, (b, c), d.e, f[g]", ["a", "b", "c"]),
    ("global a, b\na = c", ["a", "b", "a"]),
    ("def a(b, c=(d := e), *f):\n    g = h\n    def i(): pass", ["a", "d"]),
    ("@(a := b)\ndef c() -> d:\n    pass", ["a", "c"]),
    ("class a(b, c=(d := e)):\n    f = g\n    def h(self): pass", ["a", "d"]),
    ("lambda a, b=(c := d): (e := f)", ["c"]),
    ("a = [_b for _b in c if (d := _b)]", ["a", "d"]),
    ("a = {_b: (c := _b) for _b, _ in d for _e in _b}", ["a", "c"]),
    ("a = [0 for b[c] in d]", ["a"]),
    ("a = [lambda: (b := _c) for _c in d]", ["a"]),
    (
        "match a:\n    case [b, *c] | {'d': b, **c}:\n        e = f\n"
        "    case g(h, i=j) as k if (m := k):\n        pass\n    case n.o | 1:\n        p = q\n"
        "    case _:\n        pass",
        ["b", "c", "b", "c", "e", "h", "j", "k", "m", "p"],
    ),
    ("return (a := b)", ["a"]),
    ("assert a, (b := c)", ["b"]),
    ("yield a", []),
    ("a", []),
]


def local_names(function: symtable.SymbolTable) -> set[str]:
    symbols = [s for s in function.get_symbols() if not s.is_parameter()]
    return {s.get_name() for s in symbols if s.is_local() or s.is_declared_global() or s.is_nonlocal()}


@pytest.mark.parametrize(("text", "names"), STATEMENTS, ids=[text.partition("\n")[0] for text, _ in STATEMENTS])
def test_what_a_statement_binds(text, names):
    found = [name for statement in ast.parse(text).body for name in bound_names(statement)]
    assert found == names
    lines = text.replace("\n", "\n    ")
    [function] = symtable.symtable(f"def outer():\n    {lines}\n", "text", "exec").get_children()
    assert {name for name in local_names(function) if not name.startswith("_")} == set(names)


def test_an_import_of_everything_binds_any_name():
    assert list(bound_names(ast.parse("from a import *").body[0])) == ["*"]


def test_a_name_of_another_function_may_be_bound_by_any_call():
    assert list(bound_names(ast.parse("nonlocal a").body[0])) == ["a"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("for a in (b := c):\n    d = e\nelse:\n    f = g", ["a", "b"]),
        ("with a as b:\n    c = d", ["b"]),
        ("if (a := b):\n    c = d\nelse:\n    e = f", ["a"]),
        ("try:\n    a = b\nexcept c as d:\n    e = f", ["d"]),
        ("match a:\n    case b:\n        c = d", ["b"]),
        ("a = b", ["a"]),
    ],
)
def test_the_blocks_of_a_statement_can_be_left_aside(text, names):
    assert list(bound_names(ast.parse(text).body[0], blocks=False)) == names


@pytest.mark.parametrize("text", [text for text, _ in STATEMENTS])
def test_where_no_name_is_bound_inside_an_expression_none_need_be_searched(text):
    for statement in ast.parse(text.replace(":=", "==")).body:
        assert list(bound_names(statement, expressions=False)) == list(bound_names(statement))


def scopes(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        if child.get_type() == "function":
            yield child
        yield from scopes(child)


@pytest.mark.parametrize("module", ["ast", "asyncio.base_events", "inspect", "subprocess", "tarfile", "typing"])
def test_python_counts_the_same_names_as_local_in_its_own_library(module):
    path = importlib.util.find_spec(module).origin
    text = Path(path).read_text(encoding="utf-8")
    tables = {(table.get_name(), table.get_lineno()): table for table in scopes(symtable.symtable(text, path, "exec"))}
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert functions
    for function in functions:
        targets = {
            name
            for node in ast.walk(function)
            if isinstance(node, ast.comprehension)
            for name in bound_names(node.target)
        }
        bound = {name for statement in function.body for name in bound_names(statement)}
        arguments = {node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)}
        expected = local_names(tables[function.name, function.lineno])
        private = {name for name in bound | expected if name.startswith("_")}  # a class renames `__x` for itself
        assert bound - arguments - targets - private == expected - targets - private, f"{module}.{function.name}"
