"""Which calls make what an attribute holds."""

import pytest
from sources import facts_of

from codegen.model.makers import is_sequential, makers_of

SOURCE = """
from torch import nn

class Stem(nn.Sequential):
    pass

def pair(n):
    stem = nn.Sequential()
    stem.add_module("conv", nn.Conv2d(n, n, 1))
    return stem, n

def deeper(n):
    return pair(n)[0]

def either(n, layers):
    if n:
        return layers.conv(n), n
    return nn.Sequential(), n

class Tiny(nn.Module):
    def __init__(self, given=None, layers=None):
        super().__init__()
        {made}

    def forward_features(self, x):
        return self.stem(x)
"""


def facts(made):
    return facts_of(SOURCE.replace("{made}", made.replace("\n", "\n        ")))


@pytest.mark.parametrize(
    "made",
    [
        "self.stem = nn.Sequential(nn.Conv2d(3, 3, 1))",
        "self.stem, self.n = pair(3)",
        "self.n, self.stem = 1, nn.Sequential()",
        "stem, n = pair(3)\nself.stem = stem",
        "self.stem = stem = nn.Sequential()",
        "self.stem = nn.Sequential() if given else pair(1)\nself.stem = self.stem[:2]".replace(
            "pair(1)", "nn.Sequential()"
        ),
    ],
)
def test_a_plain_sequential(made):
    assert is_sequential(facts(made), "stem")


@pytest.mark.parametrize(
    "made",
    [
        "self.stem = given",
        "self.stem = Stem()",
        "self.stem = nn.ModuleList()",
        "self.stem = nn.Sequential() if given else given",
        "self.stem = deeper(3)",
        "self.n, self.stem = pair(3)",
        "self.stem, *others = pair(3)",
        "self.stem, self.n = either(3, layers)",
        "nn = given\nself.stem = nn.Sequential()",
        "self.stem = nn.Sequential()\nself.stem.register_forward_hook(given)",
        "self.stem = nn.Sequential()\nself.stem += given",
        "self.stem = nn.Sequential()\nself.add_module('stem', given)",
        "self.stem = nn.Sequential()\nsetattr(self, given, given)",
        "self.stem = nn.Sequential()\nself.stem.forward = given",
        "self.stem = nn.Sequential()\nself.stem = self.other[:2]",
        "for stem in given:\n    self.stem = stem",
        "pass",
    ],
)
def test_what_may_be_something_else(made):
    assert not is_sequential(facts(made), "stem")


def test_what_a_constructor_is_given_to_choose_from_is_believed_to_be_what_its_name_says():
    makers = makers_of(facts("self.stem, self.n = either(3, layers)"), "stem")
    assert {(maker.name, maker.is_chosen) for maker in makers} == {("nn.Sequential", False), ("layers.conv", True)}
