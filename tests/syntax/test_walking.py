"""The nodes of a tree, as ``ast`` itself gives them."""

import ast
import gc
import sys
import weakref
from pathlib import Path
from typing import get_args

import pytest

import codegen
from codegen.syntax.bindings import bound_names
from codegen.syntax.walking import _FIELDS, children, forget, walk, walk_for

FILES = sorted(Path(codegen.__file__).parent.rglob("*.py"))


def without_contexts(nodes):
    return [node for node in nodes if not isinstance(node, ast.expr_context)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nodes_are_those_of_ast_in_its_order_but_for_contexts(path):
    tree = ast.parse(path.read_text("utf-8"))
    assert list(walk(tree)) == without_contexts(ast.walk(tree))
    for node in ast.walk(tree):
        assert children(node) == without_contexts(ast.iter_child_nodes(node))


@pytest.mark.parametrize(
    "code",
    [
        "def f(a, /, b=1, *c: int, d, e=2, **g) -> int:\n    nonlocal x, y\n    global z",
        "match a:\n    case {'k': v, **rest} | C(1, x=[_, *more]) as whole if b: pass\n    case None | True: pass",
        "a = {**b, 'c': d}, [*e], f'{g!r:>{h}}', lambda *, i, j=1: (yield), a[1:2, ::k], not l, -m",
        "async def f():\n    async with a as b: pass\n    async for d in e: await g\n    else: [f async for f in g]",
        "try: pass\nexcept (A, B) as e: raise C from e\nelse: del a, b[c]\nfinally: assert d, 'e'",
        "@a(b)\nclass C(D, metaclass=E, **f):\n    x: int = 1\n    y: 'z'",
        "import a.b as c, d\nfrom . import (e as g, h)\nfrom i import *",
    ],
)
def test_all_of_the_grammar_is_walked(code):
    tree = ast.parse(code)
    assert list(walk(tree)) == without_contexts(ast.walk(tree))


@pytest.mark.skipif(sys.version_info < (3, 13), reason="ast does not say what its fields hold")
def test_no_field_is_left_out_that_may_hold_nodes():
    for kind in vars(ast).values():
        for name, held in getattr(kind, "_field_types", {}).items():
            parts = [part for part in [held, *get_args(held)] if isinstance(part, type) and issubclass(part, ast.AST)]
            known = dict(_FIELDS[kind]).get(name)
            assert known or (known is False) == bool(parts and ast.expr_context not in parts)


def test_a_changed_tree_is_read_again():
    tree = ast.parse("try:\n    a = 1\nexcept E:\n    pass")
    statement = tree.body[0]
    assert isinstance(statement, ast.Try)
    before = [*walk(tree), *walk(statement)], [*bound_names(statement)]
    statement.body = ast.parse("b = 2").body
    forget(tree)
    after = [*walk(tree), *walk(statement)], [*bound_names(statement)]
    assert (before[1], after[1]) == (["a"], ["b"])
    assert statement.body[0] not in before[0]
    assert statement.body[0] in after[0]


def test_what_is_remembered_does_not_keep_a_tree_alive():
    gc.disable()
    try:
        tree = ast.parse("if a:\n    b = c()\n")
        gone = weakref.ref(tree.body[0])
        for node in [tree, *ast.walk(tree)]:
            assert [*walk_for(node, ast.If, ast.Assign)] == [
                n for n in walk(node) if isinstance(n, ast.If | ast.Assign)
            ]
            [*bound_names(node)]
        del tree, node
        assert gone() is None
    finally:
        gc.enable()
