"""The nodes of a tree, as ``ast`` itself gives them."""

import ast
import gc
import weakref
from pathlib import Path

import pytest

import codegen
from codegen.syntax.bindings import bound_names
from codegen.syntax.walking import children, forget, walk, walk_for

FILES = sorted(Path(codegen.__file__).parent.rglob("*.py"))


def without_contexts(nodes):
    return [node for node in nodes if not isinstance(node, ast.expr_context)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nodes_are_those_of_ast_in_its_order_but_for_contexts(path):
    tree = ast.parse(path.read_text("utf-8"))
    assert list(walk(tree)) == without_contexts(ast.walk(tree))
    for node in ast.walk(tree):
        assert children(node) == without_contexts(ast.iter_child_nodes(node))


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
