"""Methods taken apart: whatever the author's formatting, each statement is Python and says what it said."""

import ast

import pytest
from differential import Value, reason, same, tiny
from sources import split_of

from codegen.syntax.dataflow import Unsound
from codegen.syntax.statements import (
    arms,
    assign_return,
    count_rounds,
    guard_loop_head,
    loop_body,
    read_method,
    substitute,
)

BODY = "x = self.patch_embed(x)\nx = self.blocks[0](x)\nreturn x"
SOURCE = tiny(BODY)


def read(text):
    (cls,) = ast.parse(text).body
    return read_method(text, cls.body[0], "m.py")


def statement(text):
    indented = "".join(f"        {line}\n" for line in text.split("\n"))
    (found,) = read(f"class A:\n    def f(self):\n{indented}").statements
    return found


def texts(statements):
    return [s.text for s in statements]


def test_comments_above_a_statement_belong_to_it_and_docstrings_to_nobody():
    lines = ["'''Doc.'''", "# first", "a = 1  # one", "", "# second", "b = 2"]
    found = read("class A:\n    def f(self):\n" + "".join(f"        {line}\n" for line in lines))
    assert texts(found.statements) == ["# first\na = 1  # one", "\n# second\nb = 2"]
    assert [s.place.line for s in found.statements] == [5, 8]


@pytest.mark.parametrize("text", ["a = 1; b = 2", "a = 1; b = 2;", "a = 1; b = 2  # both"])
def test_statements_on_one_line_come_apart(text):
    found = read(f"class A:\n    def f(self):\n        {text}\n")
    assert [s.text.partition("  #")[0] for s in found.statements] == ["a = 1", "b = 2"]


def test_a_method_on_one_line_comes_apart():
    assert texts(read("class A:\n    def f(self, x): x = g(x); return x\n").statements) == ["x = g(x)", "return x"]


@pytest.mark.parametrize(
    "source",
    [
        SOURCE.replace("    ", "\t"),
        SOURCE.replace("\n", "\r\n"),
        SOURCE.replace("        x = self.blocks", "# at the margin\n        x = self.blocks"),
        SOURCE.replace("        x = self.blocks", "            # too far in\n        x = self.blocks"),
        SOURCE.replace("self.patch_embed(x)", "self.patch_embed(\n  x\n        )"),
        SOURCE.replace("x = self.patch", "x = \\\n  self.patch"),
        SOURCE.replace("return x", "return x\n        # the end\n    # of all"),
        SOURCE.replace("        x = self.patch_embed(x)\n        x =", "        x = self.patch_embed(x); x ="),
        "# a form feed\n\f\n" + SOURCE,
        "NOTE = 'a separator: \u2028'\n" + SOURCE,
        SOURCE.replace("self.patch_embed(x)", "self.patch_embed(x, 'a' \\\n            'b', ('c'\n    'd'))"),
        SOURCE.replace("        return x", '        """A note\n  that is no value."""\n        return x'),
        SOURCE.replace("return x", "größe = x; return größe"),
        SOURCE.replace("return x", "return(x)"),
    ],
)
def test_formatting_does_not_matter(source):
    same(source)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("x = shift(x, '''a\n    b''')", "over several lines"),
        ("x = shift(x, 'a\\\n    b')", "over several lines"),
        ("x = shift(x, f'''{x}\n    b''')", "over several lines"),
        ("x = shift(x, 'a\u2028b')", "ends a line for editors"),
        ("x = shift(x, 'a\x0cb')", "ends a line for editors"),
    ],
)
def test_strings_that_another_indentation_would_change_are_refused(line, why):
    source = tiny("BODY\n" + BODY, header="def shift(x, y): return x").replace("BODY", line)
    assert why in reason(source)


def test_a_return_becomes_an_assignment():
    assert assign_return(statement("# why\nreturn (a,\n    b)"), "x").text == "# why\nx = (a,\n    b)"
    assert assign_return(statement("return(a)"), "x").text == "x = (a)"


def test_an_elif_is_an_if_in_the_other_arm():
    test, body, orelse = arms(statement("if a:\n    b\nelif c:\n    d\nelse:\n    e"))
    assert (test, texts(body), texts(orelse)) == ("a", ["b"], ["if c:\n    d\nelse:\n    e"])


@pytest.mark.parametrize(
    "text", ["for i in s:\n    a; b\n    if c:\n        d\n    else:\n        e", "for i in s: a; b"]
)
def test_a_loop_body_comes_apart(text):
    found = loop_body(statement(text))
    assert [ast.unparse(s.tree) for s in found] == [ast.unparse(node) for node in ast.parse(text).body[0].body]


@pytest.mark.parametrize(
    "text", ["for i in s: a; b; c", "for i in s:\n    a; b\n    c", "for i in s:\n    a\n    b; c"]
)
def test_the_head_of_a_loop_is_counted_in_statements(text):
    assert (
        guard_loop_head(statement(text), [True, True], "i > 0").text
        == "for i in s:\n    if i > 0:\n        a\n        b\n    c"
    )


def test_what_every_round_needs_stays_outside_the_condition():
    guarded = guard_loop_head(statement("for i in s:\n    a\n    b\n    c\n    d"), [False, True, False], "i > 0")
    assert guarded.text == "for i in s:\n    a\n    if i > 0:\n        b\n    c\n    d"


@pytest.mark.parametrize(("target", "then"), [("a", "i, a"), ("a, b", "i, (a, b)"), ("(a, b)", "i, (a, b)")])
def test_rounds_are_counted(target, then):
    assert count_rounds(statement(f"for {target} in s: f()"), "i").text == f"for {then} in enumerate(s): f()"


def test_only_values_are_substituted():
    found = substitute(statement("x = f(x.a, a=a, b=lambda: a)[a]"), {"a": "self.a[0]"})
    assert found.text == "x = f(x.a, a=self.a[0], b=lambda: self.a[0])[self.a[0]]"


def test_an_f_string_that_prints_a_name_is_not_touched():
    with pytest.raises(Unsound, match="prints the names"):
        substitute(statement("x = f'{a=}'"), {"a": "b"})


@pytest.mark.parametrize(
    "parameters",
    ["x, /", "x, /, mask=None", "x, mask=None, /", "x, *, mask=None", "x, *args, mask=None", "x, mask=None, **more"],
)
def test_every_kind_of_parameter_keeps_its_kind(parameters):
    source = tiny(BODY.replace("return x", "return x" + ", mask" * ("mask" in parameters)), parameters)
    assert ", ".join(p.name for p in split_of(source).forward_features).startswith("x")
    same(source, Value("images"))


def test_arguments_by_position_may_follow_the_images():
    source = tiny(BODY.replace("return x", "return x, mask, args"), "x, mask=None, *args")
    same(source, Value("images"), 1, 2, 3)
