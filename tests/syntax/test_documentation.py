"""Docstrings taken apart: what they say of each parameter, whatever the author's layout."""

import inspect

import pytest

from codegen.syntax.documentation import is_entry, parameter_texts, returns_text

NAMES = ("x", "mask", "rest")


def texts(docstring):
    return dict(parameter_texts(inspect.cleandoc(docstring), NAMES))


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("", {}),
        ("Forward pass.", {}),
        ("Args:\n    x: Images.", {"x": ("x: Images.",)}),
        ("Forward.\n\nArgs:\n    x: Images.\n    mask: True where masked.\n\nReturns:\n    Features.",
         {"x": ("x: Images.",), "mask": ("mask: True where masked.",)}),
        ("Args:\n    x: Images,\n        or patches.\n    mask: None.",
         {"x": ("x: Images,\n    or patches.",), "mask": ("mask: None.",)}),
        ("Args:\n    x (Tensor): Images.\n    mask (Optional[Tuple[(int, int)]]): A mask.",
         {"x": ("x (Tensor): Images.",), "mask": ("mask (Optional[Tuple[(int, int)]]): A mask.",)}),
        ("Args:\n    `mask`: Code.\n    *rest: Others.", {"mask": ("`mask`: Code.",), "rest": ("*rest: Others.",)}),
        ("Args:\n    x, mask: Both.", {"x": ("x, mask: Both.",), "mask": ("x, mask: Both.",)}),
        ("Args:\n    x: One.\n    Returns:\n        Other.\n", {"x": ("x: One.",)}),
        ("Arguments:\n  x: Two columns.\n\n  mask: After a blank line.\nNotes.",
         {"x": ("x: Two columns.",), "mask": ("mask: After a blank line.",)}),
        ("Args:\nx: Not indented.\nmask: Nor this.\n\nmore: Text.",
         {"x": ("x: Not indented.",), "mask": ("mask: Nor this.",)}),
        ("Args:\n    y: Unknown.\n    x: Known.", {"x": ("x: Known.",)}),
        ("mask should be boolean,\n1 is *keep*.\n\nMore.", {"mask": ("mask should be boolean,\n1 is *keep*.",)}),
        ("Forward.\n\n`mask` is optional.", {"mask": ("`mask` is optional.",)}),
        ("mask = 1 keeps.", {}),
        ("Example::\n\n    x is code\n\nMore.", {}),
        ("x: Without a heading.\nmask: True\n    where masked.",
         {"x": ("x: Without a heading.",), "mask": ("mask: True\n    where masked.",)}),
        ("masks are optional", {}),
        ("Args:\n    mask: One.\n\nmask may be None.", {"mask": ("mask: One.", "mask may be None.")}),
    ],
)  # fmt: skip
def test_what_is_said_of_a_parameter(docstring, expected):
    assert texts(docstring) == expected


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("Forward pass. Returns the features.", ""),
        ("Forward.\n\nReturns:\n    Features,\n    (B, N, C).\n\nNote.", "Features,\n(B, N, C)."),
        ("Forward.\n\nReturn: features", "features"),
        ("Returns: features,\n    of all stages", "features,\nof all stages"),
        ("Args:\n    x: Images.\nReturns:\n    Features.", "Features."),
    ],
)
def test_what_is_said_of_the_return(docstring, expected):
    assert returns_text(docstring) == expected


def test_an_entry_begins_with_names_and_a_colon():
    assert is_entry("x: Images.")
    assert is_entry("x, mask (Tensor): Both.")
    assert not is_entry("mask should be boolean: 1 is keep")
    assert not is_entry("mask::")
