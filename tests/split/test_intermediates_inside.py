"""``forward_intermediates`` of a class that calls that of its inner model."""

import pytest
import torch
from sources import outcomes_of
from tapped import FEATURES as FEATURES_FILE
from tapped import HEAD, REST, TAKE_INDICES, alike, attempt, classes_of
from tapped import source_of as encoder_of

from codegen.types import Refusal, Split

TWO = "self.conv1 = nn.Conv2d(3, 3, 1)\nself.conv2 = nn.Conv2d(3, 3, 1)"
CONVS = "x = self.conv1(x)\nx = self.conv2(x)\n"
MATCHER = "def group_matcher(self):\n    return dict(stem='^conv', blocks='^blocks')\n"
TAP = "if 0 in take:\n    intermediates.append(x)\n"
OUTER = """

class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.head = nn.Conv2d(3, 5, 1)

    def forward_features(self, x):
        return self.encoder(x)

    def forward_intermediates(self, x, indices=None, norm=False, stop_early=False, only=False, double=False):
        found = self.encoder.forward_intermediates(x, indices=indices, norm=norm, stop_early=stop_early, only=False)
        x, intermediates = found
        if only:
            return intermediates
        return self.head(x) if double else x, intermediates
"""


def source_of(outer=OUTER, body=None):
    inner = encoder_of(TWO, CONVS, body or f"{HEAD}x = self.conv1(x)\n{TAP}x = self.conv2(x)\n{REST}", more=MATCHER)
    forward = "    def forward(self, x):\n        x = self.forward_features(x)\n        return x\n"
    return inner.replace("class Tiny", "class Encoder") + forward + outer


def found_in(source):
    result = outcomes_of(source, {FEATURES_FILE: TAKE_INDICES})["Tiny"].result
    assert isinstance(result, Split), result
    return result.intermediates


def refused(outer, body=None):
    found = found_in(source_of(outer, body))
    assert isinstance(found, Refusal), found
    return found.reason


@pytest.mark.parametrize("split_inside", [True, False])
def test_it_calls_the_method_of_the_inner_model(split_inside):
    tiny, generated, found = classes_of(source_of())
    torch.manual_seed(0)
    model, split = tiny().eval(), generated["TinySplit"]().eval()
    split.load_state_dict(model.state_dict())
    calls = []
    if split_inside:
        split.encoder.__class__ = generated["EncoderSplit"]
        inside = split.encoder.forward_stages_intermediates
        split.encoder.forward_stages_intermediates = lambda *args, **kwargs: calls.append(1) or inside(*args, **kwargs)
    images = torch.randn(2, 3, 8, 8)
    for indices in (1, [1, -1], [2], [7]):
        for flags in ({}, {"norm": True}, {"only": True}, {"double": True}, {"stop_early": True}):
            keywords = {"indices": indices, **flags}
            expected = attempt(lambda keywords=keywords: model.forward_intermediates(images, **keywords))
            actual = attempt(
                lambda keywords=keywords: split.forward_stages_intermediates(split.embed(images), **keywords)
            )
            assert actual == expected if isinstance(expected, str) else alike(actual, expected)
    assert bool(calls) is split_inside
    assert "feature 0 is made inside the stem" in attempt(
        lambda: split.forward_stages_intermediates(split.embed(images), indices=[0])
    )
    assert found.inside_stem


def test_an_inner_model_without_the_method():
    body = f"{HEAD}x = self.conv2(x)\nx = self.conv1(x)\n{REST}"
    assert refused(OUTER, body).startswith(
        "it calls forward_intermediates of `self.encoder`, which has no forward_stages_intermediates: "
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(x, indices=indices", "(x * 2, indices=indices"),
        ("(x, indices=indices", "(x, indices"),
        ("(x, indices=indices", "(x=x, indices=indices"),
        ("only=False)\n        x,", "only=x.sum() > 0)\n        x,"),
        ("only=False)\n        x,", "only=self.ask())\n        x,"),
        ("found = self", "x = x * 2\n        found = self"),
        ("found = self", "size = x.shape\n        found = self"),
        ("found = self", "self.seen = 1\n        found = self"),
        ("x, intermediates = found", "y, intermediates = found"),
        ("x, intermediates = found", "x, intermediates = self.encoder.forward_intermediates(x)"),
        ("found = self.encoder.forward_intermediates", "found = self.other.forward_intermediates"),
    ],
)
def test_another_call(old, new):
    assert old in OUTER
    assert refused(OUTER.replace(old, new))
