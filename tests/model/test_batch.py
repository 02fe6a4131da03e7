"""Whether the tokens still have the images' batch in front. The programs run on real tensors, too."""

import ast

import pytest
import torch
from sources import facts_of

from codegen.model.shape import keeps_batch

LAYERS = """
import torch
import torch.nn.functional as F
from torch import nn


def windows(x, size):
    return x.flatten(0, 1)


def swapped(size, x):
    return x


def heads(x):
    B, N, C = x.shape
    return x.reshape(B, N, 2, -1)


def folds(x):
    B, T = x.shape[:2]
    B = B * T
    return x.reshape(B, -1)


def first(x):
    return x, 7


def other(x, y):
    x = y
    return x


class Patches(nn.Module):
    def forward(self, x):
        return x.flatten(2).transpose(1, 2)


class Folds(nn.Module):
    def forward(self, x):
        return x.flatten(0, 1)


def convs():
    return nn.Sequential(nn.Conv2d(3, 3, 1), nn.GELU())


def folding():
    return nn.Sequential(nn.Identity(), Folds())


def passed(Patches):
    return Patches()


class Tiny(nn.Module):
    def __init__(self, layer=None):
        super().__init__()
        self.patches = Patches()
        self.norm = nn.Identity()
        self.row = nn.Sequential(nn.Identity(), convs())
        self.folding = folding()
        self.passed = passed(Folds)
        self.starred = nn.Sequential(*[Folds()])
        self.either = nn.Identity() if layer is None else layer
        self.queries = nn.Parameter(torch.zeros(5, 3, 4, 6))
        self.listed = nn.ModuleList([nn.Identity() for _ in range(2)])

    def helper(self, mask, x):
        return x[::2]

"""
KEPT = [
    "x = self.patches(x)",
    "x = self.norm(x)",
    "x = self.row(x)",
    "x = self.listed[0](x)",
    "x = x.flatten(2).transpose(1, 2)",
    "x = x.mean(2)",
    "x = x.permute(0, 2, 3, 1)",
    "x = x[:, :2]",
    "x = x[:, None]",
    "x = torch.cat((x, x), dim=1)",
    "x = F.pad(x, (0, 1, 0, 1))",
    "x = x + 1",
    "x += 1",
    "x = x.reshape(B, -1)",
    "x = heads(x.flatten(2))",
    "x, n = first(x)",
    "if x.ndim == 4:\n    x = x.flatten(2)",
    "for _ in range(2):\n    x = self.norm(x)",
    "windows = self.norm\nx = windows(x)",
]
LOST = [
    "x = x.flatten(0, 1)",
    "x = x.mean(0)",
    "x = x.mean()",
    "x = x.sum()",
    "x = x[::2]",
    "x = x[0]",
    "x = x[:, [0, 1], :, [0, 1]]",
    "x = x.transpose(-4, -1)",
    "x = x.T",
    "x = torch.cat((x, x))",
    "x = torch.stack((x, x))",
    "x = F.pad(x, (0, 0, 0, 0, 0, 0, 0, 1))",
    "x = self.queries",
    "x = x.reshape(-1, 2)",
    "B = B * 2\nx = x.reshape(B, -1)",
    "B *= 3\nx = x.reshape(B, -1)",
    "x = self.folding(x)",
    "x = self.passed(x)",
    "x = self.starred(x)",
    "x = self.helper(None, x)",
    "x = windows(x, 2)",
    "x = folds(x)",
    "x = first(x)",
    "x = other(x, self.queries)",
    "y = x\nx.squeeze_(0)\nx.transpose_(0, 1)",
    "x.data = self.queries",
    "x = [x]",
    "for x in x:\n    pass",
    "if x.ndim == 4:\n    x = x.flatten(0, 1)",
    "for _ in range(2):\n    if x.ndim == 4:\n        x = x.flatten(0, 1)\n        continue\n    x = self.norm(x)",
    "windows = self.folding\nx = windows(x)",
    "norm = self.norm\nnorm = self.folding\nx = norm(x)",
]


def kept(body):
    facts = facts_of(LAYERS)
    return "x" in keeps_batch(facts, ast.parse("B = x.shape[0]\n" + body).body, "x")


def rows(body):
    names = {"__name__": "tiny"}
    exec(LAYERS, names)
    names |= {"self": names["Tiny"](), "x": torch.zeros(2, 3, 4, 6)}
    exec("B = x.shape[0]\n" + body, names)
    return len(names["x"])


@pytest.mark.parametrize("body", KEPT)
def test_a_batch_that_can_be_followed_is_kept(body):
    assert kept(body)
    assert rows(body) == 2


@pytest.mark.parametrize("body", LOST)
def test_a_batch_that_may_have_changed_is_not_believed(body):
    assert not kept(body)


@pytest.mark.parametrize("body", ["x = self.either(x)", "x = unheard_of(x)", "x = self.norm.forward(x)"])
def test_what_cannot_be_read_is_not_believed(body):
    assert not kept(body)
