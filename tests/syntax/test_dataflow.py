"""What statements need and bind, in Python's own terms."""

import ast

import pytest

from codegen.syntax.dataflow import Unsound, flow


def of(text, *bound):
    return flow(ast.parse(text).body, bound)


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("x = f(x)", {"f", "x"}),
        ("a = 1\nb = a", set()),
        ("a += 1", {"a"}),
        ("a.b += c", {"a", "c"}),
        ("a[i] = c", {"a", "i", "c"}),
        ("y = [x for x in x]", {"x"}),
        ("y = [a for b in c for a in b if d]", {"c", "d"}),
        ("y = [1 for a[i] in c]", {"a", "i", "c"}),
        ("f = lambda x, y=z: x + y + w", {"z", "w"}),
        ("def f(x, y=z):\n    w = x\n    return w + v", {"z", "v"}),
        ("if c:\n    a = 1\nb = a", {"c", "a"}),
        ("if c:\n    a = 1\nelse:\n    a = 2\nb = a", {"c"}),
        ("if c:\n    a = 1\nelse:\n    raise E\nb = a", {"c", "E"}),
        ("for i in s:\n    a = 1\nb = a, i", {"s", "a", "i"}),
        ("for i in s:\n    b = a\n    a = i", {"s", "a"}),
        ("while True:\n    a = 1\n    break\nb = a", {"a"}),
        ("try:\n    a = f()\nexcept E:\n    b = a", {"f", "E", "a"}),
        ("try:\n    f()\nfinally:\n    a = 1\nb = a", {"f"}),
        ("with m as n:\n    a = n\nb = a", {"m", "a"}),
        ("with torch.no_grad():\n    a = 1\nb = a", {"torch"}),
        ("a = 1\ndel a\nb = a", {"a"}),
        ("a = b = 1\ndel (a, b)\nc = a", {"a"}),
        ("import a.b\nc = a", set()),
        ("a: int = b", {"int", "b"}),
        ("a: int\nb = a", {"int", "a"}),
    ],
)
def test_what_statements_need(text, needs):
    assert of(text).needs == needs


def test_a_bare_annotation_makes_a_name_local_and_leaves_it_unbound():
    found = of("a: int")
    assert found.may_bind == {"a"}
    assert "a" not in found.bound


def test_code_behind_a_return_still_makes_names_local():
    assert "a" in of("return x\na = 1").may_bind
    assert not of("return x\na = 1").falls_through


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a = (b := 1)", "`:=` binds inside an expression"),
        ("a[(b := 1)] = 2", "`:=` binds inside an expression"),
        ("class A: pass", "a class is defined inside the method"),
        ("try:\n    f()\nexcept E as e:\n    pass", "`except ... as e` unbinds its name"),
        ("from . import a", "a relative import would be relative to another package"),
        ("match a:\n    case 1: pass", "`match` is not analysed"),
        ("global a", "`global` is not analysed"),
    ],
)
def test_what_is_not_understood_is_refused(text, why):
    with pytest.raises(Unsound) as refusal:
        of(text)
    assert refusal.value.reason == why
