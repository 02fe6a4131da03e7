"""Which functions put what they are given into a tuple, and do no more."""

import pytest
from sources import TINY, index_of

from codegen.model.tuples import hands_on

HELPERS = """
from itertools import repeat


def _ntuple(n):
    \"\"\"Make one.\"\"\"
    def parse(x):
        if isinstance(x, list):
            return tuple(x)
        return tuple(repeat(x, n))
    return parse


to_2tuple = _ntuple(2)
"""


def found(helpers: str, source: str = "from timm.layers.helpers import to_2tuple") -> bool:
    index = index_of(source, {"timm/layers/helpers.py": helpers})
    return hands_on(index, index.parse(TINY), "to_2tuple")


def test_a_function_that_a_function_makes():
    assert found(HELPERS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return tuple(x)", "return x.clone()"),
        ("return tuple(repeat(x, n))", "return repeat(n, x)"),
        ("return parse", "return note(parse)"),
        ("    return parse", "    parse = note\n    return parse"),
        ("    def parse(x):", "    @note\n    def parse(x):"),
        ("def _ntuple(n):", "@note\ndef _ntuple(n):"),
        ("from itertools import repeat", "from elsewhere import repeat"),
        ("from itertools import repeat", "from itertools import repeat\n\ntuple = note"),
        ("to_2tuple = _ntuple(2)", "to_2tuple = _ntuple(2)\nto_2tuple = note(to_2tuple)"),
    ],
)
def test_others_may_do_anything(old, new):
    assert not found(HELPERS.replace(old, new, 1))


def test_a_name_that_means_nothing():
    assert not found("", "x = 1")
