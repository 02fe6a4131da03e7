"""A layer that works in place comes after another only where the order is plainly written."""

import textwrap

import pytest
from sources import result_in_users_file

from codegen.types import Refusal, Split

MODEL = """
import functools
from collections import OrderedDict

import torch
from einops.layers.torch import Rearrange
from torch import nn


class InPlace(nn.Module):
    def __init__(self, dim=8):
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 1)

    def forward(self, x):
        {changes}
        return x + self.conv(x)


class Plain(nn.Module):
    def __init__(self, dim=8):
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 1)

    def forward(self, x):
        return x + self.conv(x)


class DropPath(nn.Module):
    def forward(self, x):
        return x * 2 if self.training else x


BLOCKS = {{"plain": Plain, "other": InPlace}}
ACTS = {{"relu": functools.partial(nn.ReLU, inplace={inplace}), "gelu": nn.GELU}}


def in_order(order):
    layers = []
    for name in order:
        if name == "r":
            layers.append(nn.ReLU(inplace={inplace}))
        elif name == "c":
            layers.append(nn.Conv2d(8, 8, 1))
    return nn.Sequential(*layers)


def turned(*layers):
    return nn.Sequential(*layers)


class PreAct(nn.Sequential):
    def __init__(self, first={inplace}):
        layers = [nn.Conv2d(8, 8, 1), nn.ReLU(inplace={inplace})]
        layers.reverse()
        super().__init__(*layers)


class Tiny(nn.Module):
    block = InPlace
    act_layer = functools.partial(nn.ReLU, inplace={inplace})
    acts = nn.ModuleDict({{"relu": nn.ReLU(inplace={inplace})}})

    def __init__(self, kind="other", act=nn.ReLU(inplace={inplace}), drop=0.0, norm=None):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, 4)
{made}

    def make(self, act):
        return nn.Sequential(act(), nn.Conv2d(8, 8, 1))

    def forward_features(self, x):
        x = self.stem(x)
        return self.layer1(x)
"""
CONV, RELU = "nn.Conv2d(8, 8, 1)", "nn.ReLU(inplace={inplace})"
UNSURE = {
    "reversed": "self.layer1 = PreAct()",
    "an order by letters": 'self.layer1 = in_order("rc")',
    "a method of the class": "self.layer1 = self.make(lambda: RELU)",
    "a class of the class": "self.layer1 = nn.Sequential(*[self.block(8) for _ in range(2)])",
    "a layer of the class": "self.layer1 = nn.Sequential(self.act_layer(), CONV)",
    "one of the class's layers": 'self.layer1 = nn.Sequential(self.acts["relu"], CONV)',
    "a table of classes": "self.layer1 = nn.Sequential(BLOCKS[kind](8))",
    "a table of layers": 'self.layer1 = nn.Sequential(ACTS["relu"](), CONV)',
    "a name that is looked up": "self.layer1 = globals()[kind](8)",
    "a default": "self.layer1 = nn.Sequential(act, CONV)",
    "a choice of lists": "self.layer1 = nn.Sequential(*([CONV, RELU] if drop else [RELU, CONV]))",
    "a list that is turned": "layers = [CONV, RELU]\nself.layer1 = nn.Sequential(*layers[::-1])",
    "a list that is sorted": "layers = [CONV, RELU]\nlayers.sort(key=id)\nself.layer1 = nn.Sequential(*layers)",
    "a list that is filled in front": "layers = [CONV]\nlayers.insert(0, RELU)\nself.layer1 = nn.Sequential(*layers)",
    "a list with another name": "layers = [CONV, RELU]\nothers = layers\nothers.reverse()\n"
    "self.layer1 = nn.Sequential(*layers)",
    "a part of a list": "layers = [CONV, RELU, CONV]\nself.layer1 = nn.Sequential(*layers[1:])",
    "by names": 'parts = dict(c=CONV, r=RELU)\nself.layer1 = nn.Sequential(*[parts[n] for n in ("r", "c")])',
    "what a function is given": "self.layer1 = turned(RELU, CONV)",
    "a mapping": "self.layer1 = nn.Sequential(*map(lambda m: m, [RELU, CONV]))",
    "swapped": "self.layer1 = nn.Sequential(CONV, RELU)\nself.layer1[0], self.layer1[1] = RELU, CONV",
    "the first is taken out": "self.layer1 = nn.Sequential(CONV, RELU, CONV)\ndel self.layer1[0]",
    "the first is another": "self.layer1 = nn.Sequential(CONV, RELU, CONV)\nself.layer1[0] = nn.Identity()",
    "swapped in a loop": "self.layer1 = nn.Sequential(*[nn.Sequential(CONV, RELU)])\n"
    "for m in self.layer1:\n    m[0], m[1] = m[1], m[0]",
    "joined": "self.layer1 = nn.Sequential(RELU) + nn.Sequential(CONV)",
    "lists that are joined": "first = [RELU, CONV]\nlast = [CONV]\nlayers = first + last\n"
    "self.layer1 = nn.Sequential(*layers)",
    "after a dropout": "layers = []\nif drop:\n    layers.append(nn.Dropout(drop))\nlayers += [RELU, CONV]\n"
    "self.layer1 = nn.Sequential(*layers)",
    "after one that may be left out": "self.layer1 = nn.Sequential(CONV if drop else nn.Identity(), RELU, CONV)",
    "after a norm that may be none": "norm = norm or nn.Identity\nself.layer1 = nn.Sequential(norm(8), RELU, CONV)",
    "after a view": 'self.layer1 = nn.Sequential(Rearrange("b c h w -> b (c h) w"), RELU, nn.Flatten())',
    "a loop's variable": "for m in [RELU, CONV]:\n    self.layer1 = nn.Sequential(m, CONV)",
    "unpacked": "a, b = RELU, CONV\nself.layer1 = nn.Sequential(a, b)",
    "annotated": "layers: list = [RELU]\nlayers.append(CONV)\nself.layer1 = nn.Sequential(*layers)",
    "by a function inside": "layers = []\ndef add(m):\n    layers.append(m)\nadd(RELU)\nadd(CONV)\n"
    "self.layer1 = nn.Sequential(*layers)",
    "in a comprehension": "layers = []\n[layers.append(m) for m in (RELU, CONV)]\nself.layer1 = nn.Sequential(*layers)",
    "in one line": "layers = []\nlayers.append(RELU) if drop == 0 else layers.append(CONV)\nlayers.append(CONV)\n"
    "self.layer1 = nn.Sequential(*layers)",
    "by a name that is computed": "self.layer1 = nn.Sequential(CONV, RELU)\n"
    "setattr(self, 'layer' + str(int(drop) + 1), nn.Sequential(RELU, CONV))",
    "after a comprehension": "self.layer1 = nn.Sequential(*[CONV for _ in range(int(drop))], RELU, CONV)",
    "after a drop path": "self.layer1 = nn.Sequential(DropPath(), RELU, CONV)",
}
SURE = {
    "written in its order": "self.layer1 = nn.Sequential(CONV, RELU)",
    "a list that is filled": "layers = [CONV]\nfor _ in range(2):\n    layers.append(RELU)\n    layers += [CONV]\n"
    "self.layer1 = nn.Sequential(*layers)",
    "a list that is filled in rounds": "layers = []\nfor _ in range(2):\n"
    "    layers.append(CONV)\n    layers.append(RELU)\nself.layer1 = nn.Sequential(*layers)",
    "an annotated list": "layers: list = [CONV]\nlayers.append(RELU)\nself.layer1 = nn.Sequential(*layers)",
    "in pairs": 'self.layer1 = nn.Sequential(OrderedDict([("conv", CONV), ("act", RELU)]))',
    "wrapped": "layer = nn.Sequential(CONV, RELU)\nlayer = nn.Sequential(layer, RELU)\nself.layer1 = layer",
    "joined": "self.layer1 = nn.Sequential(*([CONV] + [RELU]))",
    "after a dropout that may be left out": "self.layer1 = nn.Sequential(nn.Dropout(0.1), CONV, RELU)",
    "after a class": "self.layer1 = nn.Sequential(Plain(), RELU)",
}


def outcome(made, inplace="True"):
    made = textwrap.indent(made.replace("CONV", CONV).replace("RELU", RELU), " " * 8)
    source = MODEL.replace("{made}", made)
    return result_in_users_file(
        source.format(inplace=inplace, changes="x *= 2" if inplace == "True" else "pass"), "Tiny"
    )


@pytest.mark.parametrize("made", UNSURE.values(), ids=UNSURE)
def test_a_layer_in_place_may_come_first(made):
    found = outcome(made)
    assert isinstance(found, Refusal)
    assert "the stages change it in place" in found.reason


@pytest.mark.parametrize("made", UNSURE.values(), ids=UNSURE)
def test_without_one_any_order_is_split(made):
    found = outcome(made, inplace="False")
    assert isinstance(found, Split), found.reason


@pytest.mark.parametrize("made", SURE.values(), ids=SURE)
def test_a_layer_in_place_that_comes_later_changes_what_the_first_has_made(made):
    found = outcome(made)
    assert isinstance(found, Split), found.reason
