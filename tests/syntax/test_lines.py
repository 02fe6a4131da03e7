"""Methods taken apart by their lines: as libcst does, or not at all."""

import ast
import inspect

import libcst as cst
import pytest
import timm.models as models
from hypothesis import given
from hypothesis import strategies as st

from codegen.syntax.lines import own_lines

PIECES = [
    "# a comment",
    "",
    "a = 1  # why",
    "a = (",
    "    2,",
    ")",
    "if a:",
    "    b = 3",
    "    # inside",
    "        # deeper",
    "else:",
    "    pass",
    "@decorated",
    "def f(): return a",
    "for a in b: c; d",
    "a; b",
    "a = 1;",
    "a = 1 + \\",
    "    2",
    '"""text',
    '    more"""',
    "'''docstring'''",
    "x = 'é', ü  # ö",
    "return a",
]


def texts_of(source: str) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """The statements of a method as libcst and as its lines give them, without the docstring."""
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    own = own_lines(source.splitlines(), function)
    module = cst.parse_module(source)
    block = cst.ensure_type(module.body[0], cst.FunctionDef).body
    has_docstring = ast.get_docstring(function) is not None
    if own is None:
        return (), None
    assert len(block.body) == len(own.texts)
    theirs = tuple(module.code_for_node(line).rstrip("\n") for line in block.body)
    theirs = (theirs[0].lstrip("\n"), *theirs[1:])
    return theirs[has_docstring:], own.texts[has_docstring:]


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=9), st.sampled_from(["    ", "  ", "\t"]))
def test_what_lines_say_is_what_libcst_says(pieces, indentation):
    source = "def f(a, b):  # head\n" + "".join(f"{indentation}{piece}".rstrip() + "\n" for piece in pieces)
    try:
        ast.parse(source)
    except SyntaxError:
        return
    theirs, ours = texts_of(source)
    assert ours in (None, theirs)


@pytest.mark.parametrize(
    "body",
    [
        "a = 1; b = 2",
        "a = 1;",
        "a = 1 + \\\n    2",
        'x = """\n    text"""',
        "if a:\n        b\n        # of the block\n    c",
    ],
)
def test_lines_that_do_not_tell_are_left_to_libcst(body):
    assert texts_of(f"def f():\n    {body}\n")[1] is None


def test_a_method_on_the_line_of_its_name_is_left_to_libcst():
    assert texts_of("def f(a,\n      b): return a\n")[1] is None


@pytest.mark.parametrize("name", ["vision_transformer", "swin_transformer", "maxxvit", "resnet", "naflexvit", "volo"])
def test_most_methods_of_timm_have_statements_on_lines_of_their_own(name):
    source = inspect.getsource(getattr(models, name))
    lines = source.splitlines()
    found = []
    for cls in ast.parse(source).body:
        for function in cls.body if isinstance(cls, ast.ClassDef) else ():
            if isinstance(function, ast.FunctionDef):
                own = own_lines(lines[function.lineno - 1 : function.end_lineno], function)
                found.append(own is not None)
    assert sum(found) > 0.8 * len(found)
