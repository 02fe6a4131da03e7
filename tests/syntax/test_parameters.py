"""Which parameters there are, and which has which default value."""

import ast

import pytest

from codegen.syntax.parameters import defaults_of, positional_names


@pytest.mark.parametrize(
    ("signature", "defaults"),
    [
        ("", {}),
        ("a, b", {}),
        ("a, b=1", {"b": "1"}),
        ("a=0, /, b=1", {"a": "0", "b": "1"}),
        ("a, /, b, c=2", {"c": "2"}),
        ("a, *, b, c=2", {"c": "2"}),
        ("a=1, *args, b=None, c, **more", {"a": "1", "b": "None"}),
    ],
)
def test_defaults_belong_to_the_last_positional_parameters_and_to_keywords(signature, defaults):
    function = ast.parse(f"def f({signature}): pass").body[0]
    assert {name: ast.unparse(value) for name, value in defaults_of(function.args).items()} == defaults


def test_parameters_that_may_be_given_by_their_place():
    function = ast.parse("def f(a, /, b=1, *rest, c, **more): pass").body[0]
    assert positional_names(function.args) == ["a", "b"]
