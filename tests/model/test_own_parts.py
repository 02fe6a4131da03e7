"""A norm of the embedding that keeps statistics has no other name on the model."""

import textwrap

import pytest
from sources import result_in_users_file

from codegen.types import Refusal, Split

MODEL = """
from torch import nn


class Block(nn.Module):
    def __init__(self, dim=8, norm=None):
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 1)
        self.norm = norm or nn.Identity()

    def forward(self, x):
        return self.norm(self.conv(x))


def wrap(module):
    return module


class Tiny(nn.Module):
    def __init__(self, norm_layer={norm}):
        super().__init__()
        self.norm = nn.Identity()
        self.blocks = nn.ModuleList([nn.Conv2d(8, 8, 1)])
{made}

    def _layers(self, norm):
        return nn.ModuleList([nn.Sequential(nn.Conv2d(8, 8, 1), norm)])

    def forward_features(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)
"""
SHARED = {
    "names that are swapped": """
        a, b = norm_layer(8), norm_layer(8)
        a, b = b, a
        c = a
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), a)
        self.norm = c
        """,
    "a walrus": """
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), (n := norm_layer(8)))
        self.norm = n
        """,
    "a list that is taken apart": """
        layers = [nn.Conv2d(3, 8, 4, 4), norm_layer(8)]
        self.stem = nn.Sequential(*layers)
        *_, self.norm = layers
        """,
    "a list that goes on": """
        layers = [nn.Conv2d(3, 8, 4, 4), norm_layer(8)]
        self.stem = nn.Sequential(*layers)
        layers.append(nn.Conv2d(8, 8, 1))
        self.blocks = nn.ModuleList(layers[1:])
        """,
    "a part by its number": """
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), norm_layer(8))
        self.blocks[0].append(self.stem[-1]) if False else self.blocks.append(self.stem[-1])
        """,
    "all parts": """
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), norm_layer(8))
        self.norm = nn.Sequential(*self.stem, nn.Identity())[1:]
        """,
    "an argument of two parts": """
        norm = norm_layer(8)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), Block(8, norm))
        self.blocks = nn.ModuleList([Block(8, norm) for _ in range(2)])
        """,
    "a method that makes layers": """
        self.bn = norm_layer(8)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), self.bn)
        self.blocks = self._layers(self.bn)
        """,
    "a list in a loop": """
        self.bn = norm_layer(8)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), self.bn)
        layers = []
        for _ in range(2):
            layers += [nn.Conv2d(8, 8, 1), self.bn]
        self.blocks = nn.ModuleList(layers)
        """,
}
OWN = {
    "made on the spot": """
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), norm_layer(8))
        self.norm = norm_layer(8)
        """,
    "a list for it alone": """
        layers = [nn.Conv2d(3, 8, 4, 4)]
        layers.append(norm_layer(8))
        if len(layers) > 1:
            layers += [nn.Identity()]
        self.stem = nn.Sequential(*layers)
        """,
    "a variable that is bound again": """
        stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), norm_layer(8))
        stem = wrap(stem)
        self.stem = stem
        """,
    "a size of a part": """
        stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), norm_layer(8))
        self.stem = stem
        self.blocks = nn.ModuleList([nn.Conv2d(self.stem[0].out_channels, 8, 1)])
        nn.init.zeros_(self.stem[1].bias)
        """,
}


def outcome(made, norm):
    made = textwrap.indent(textwrap.dedent(made).strip(), " " * 8)
    return result_in_users_file(MODEL.format(made=made, norm=norm), "Tiny")


@pytest.mark.parametrize("norm", ["nn.BatchNorm2d", "nn.SyncBatchNorm"])
@pytest.mark.parametrize("made", SHARED.values(), ids=SHARED)
def test_a_norm_under_two_names_is_refused(made, norm):
    assert isinstance(outcome(made, norm), Refusal)


@pytest.mark.parametrize("made", OWN.values(), ids=OWN)
def test_a_norm_of_its_own_is_split(made):
    assert isinstance(outcome(made, "nn.BatchNorm2d"), Split)
