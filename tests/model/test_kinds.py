"""What modules an attribute may hold."""

import pytest

from codegen.model.facts import Facts
from codegen.model.kinds import kinds_of
from codegen.source.index import Class, Index
from codegen.types import Release

SOURCE = """
import copy
import torch
from torch import nn
from mmcv.cnn import build_norm_layer
from nowhere import Unknown

class Block(nn.Module):
    def __init__(self, dim, inner=nn.Identity):
        super().__init__()
        self.inner = inner()

class Other(nn.Module):
    pass

class Pool(nn.Module):
    pass

def zero(module):
    for p in module.parameters():
        nn.init.zeros_(p)
    return module

def pick(kind, *more, pool=None):
    made = kind(8)
    return made if pool is None else pool

def pass_on(kind, **others):
    return kind(8, **others)

class Tiny(nn.Module):
    def __init__(self, block=Block, dims=(8, 8)):
        super().__init__()
        {made}

    def _make(self, block, depth, dim=8, norm=None):
        layers = []
        for _ in range(depth):
            layers.append(block(dim))
        if norm is not None:
            layers.append(norm)
        return nn.Sequential(*layers)

    def _deeper(self, kind, depth):
        return self._make(kind, depth, norm=Other())

    def _again(self, kind, depth):
        return self._again(kind, depth - 1) if depth else kind(8)

    def forward_features(self, x):
        return self.layers(x)

{after}
"""


def kinds(made, attribute="layers", after=""):
    text = SOURCE.replace("{made}", made.replace("\n", "\n        ")).replace("{after}", after)
    index = Index(Release("", "memory", {"tiny.py": text}, user_files=("tiny.py",)))
    facts = Facts(index, index.classes(index.parse("tiny.py"))["Tiny"])
    return {kind.name if isinstance(kind, Class) else kind for kind in kinds_of(facts, attribute)}


PASSED = [
    ("self.layers = self._make(Other, 2)", {"view", "Other"}),
    ("self.layers = self._make(block, 2)", {"view", "Block"}),
    ("self.layers = self._make(depth=2, block=nn.Linear)", {"view"}),
    ("self.layers = self._make(Other if dims else Pool, 2)", {"view", "Other", "Pool"}),
    ("self.layers = self._make(nn.Linear, 1, norm=build_norm_layer(dict(type='LN'), 8)[1])", {"view", "torch"}),
    ("self.layers = self._make(nn.Linear, 1, norm=build_norm_layer(dict(type=dims), 8)[1])", {"view", "foreign"}),
    ("self.layers = self._deeper(Pool, 2)", {"view", "Other", "Pool"}),
    ("self.layers = zero(Other())", {"Other"}),
    ("self.layers = zero(zero(nn.Conv2d(3, 8, 1)))", {"torch"}),
    ("self.layers = pick(Other)", {"Other"}),
    ("self.layers = nn.ModuleList([copy.deepcopy(made) for made in [Other(), Pool()]])", {"Other", "Pool"}),
    ("self.layers = pick(nn.Linear, pool=Pool())", {"torch", "Pool"}),
    ("kind = Pool\nself.layers = self._make(kind, 2)", {"view", "Pool"}),
]


@pytest.mark.parametrize(("made", "expected"), PASSED)
def test_a_function_makes_what_it_is_passed(made, expected):
    found = kinds(made)
    assert expected <= found
    assert "?" not in found


@pytest.mark.parametrize(
    "made",
    [
        "self.layers = self._make(Unknown, 2)",
        "self.layers = self._make(*dims)",
        "self.layers = self._make(**dims)",
        "self.layers = self._make(dims[0], 2)",
        "self.layers = zero(Unknown())",
        "self.layers = pass_on(Block, inner=Other)",
        "self.layers = self._make(Block, 2, norm=Unknown())",
        "self.layers = self._again(Block, 2)",  # a function that calls itself is followed so far and no further
    ],
)
def test_what_is_passed_and_not_known_is_not_known_of_what_is_made(made):
    assert "?" in kinds(made)


def test_attributes_that_are_made_of_each_other_hold_what_either_does():
    made = (
        "self.layers = nn.Sequential(Other())\nself.rest = self.layers\nself.layers = nn.Sequential(Pool(), self.rest)"
    )
    assert {"Other", "Pool"} <= kinds(made) == kinds(made, "rest")


STORED = [
    ("def change(model):\n    model.layers = Other()", {"Other"}),
    ("def change(model):\n    model.layers = nn.Conv2d(3, 8, 1)", {"torch"}),
    ("def change(model):\n    setattr(model, 'layers', Other())", {"Other"}),
    ("def change(model, layers):\n    model.layers = layers", {"?"}),
    ("def change(model):\n    model.layers, model.rest = Unknown()", {"?"}),
    ("def change(model):\n    for model.layers in Unknown():\n        pass", {"?"}),
    ("class Owner:\n    def change(self, model):\n        model.layers = self.kept", {"?"}),
    (
        "class Owner:\n    def __init__(self):\n        self.kept = Other()\n\n"
        "    def change(self, model):\n        model.layers = self.kept",
        {"Other"},
    ),
]


@pytest.mark.parametrize(("after", "expected"), STORED)
def test_an_attribute_holds_what_is_set_on_the_model_elsewhere(after, expected):
    assert kinds("self.layers = nn.Identity()", after=after) == {"view", *expected}


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ("self.layers = nn.ParameterList([nn.Parameter(torch.zeros(8)) for _ in dims])", set()),
        ("self.layers = nn.ParameterDict({'a': torch.zeros(8)})", set()),
        ("self.layers = nn.ParameterList()\nself.layers.append(torch.zeros(8))", set()),
        ("self.layers = nn.ParameterList(Unknown())", {"?"}),
        ("self.layers = nn.ParameterList()\nself.layers.append(Unknown())", {"?"}),
        ("self.first = Other()\nself.layers = getattr(self, 'first')", {"Other"}),
        ("self.first = Other()\nself.layers = getattr(self, 'first', Pool())", {"Other", "Pool"}),
        ("self.layers = getattr(self, 'never')", {"?"}),
        ("getattr = Unknown\nself.first = Other()\nself.layers = getattr(self, 'first')", {"?"}),
    ],
)
def test_lists_of_parameters_and_what_is_looked_up(made, expected):
    assert kinds(made) - {"Other"} == expected - {"Other"}
    assert expected <= kinds(made)
