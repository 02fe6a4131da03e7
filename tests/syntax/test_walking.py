"""The nodes of a tree, as ``ast`` itself gives them."""

import ast
from pathlib import Path

import pytest

import codegen
from codegen.syntax.walking import children, walk

FILES = sorted(Path(codegen.__file__).parent.rglob("*.py"))


def without_contexts(nodes):
    return [node for node in nodes if not isinstance(node, ast.expr_context)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nodes_are_those_of_ast_in_its_order_but_for_contexts(path):
    tree = ast.parse(path.read_text("utf-8"))
    assert list(walk(tree)) == without_contexts(ast.walk(tree))
    for node in ast.walk(tree):
        assert children(node) == without_contexts(ast.iter_child_nodes(node))
