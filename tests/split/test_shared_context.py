"""Two modules that are given one object share what is kept in it, whoever gives it to them."""

import textwrap

import pytest
from sources import result_in_users_file

from codegen.types import Refusal, Split

SOURCE = """
import copy
import torch
from torch import nn


class Context:
    def __init__(self):
        self.mean = 0


GLOBAL = Context()


class Noting(nn.Module):
    def __init__(self, context=None):
        super().__init__()
        self.context = Context() if context is None else context

    def forward(self, x):
        self.context.mean = x.mean()
        return x


class Reading(nn.Module):
    def __init__(self, context=None):
        super().__init__()
        self.context = Context() if context is None else context

    def forward(self, x):
        return x + self.context.mean


class Stem(nn.Module):
    def __init__(self, act=None):
        super().__init__()
        self.proj = nn.Conv2d(3, 8, 4, 4)
        self.act = act or nn.Identity()

    def forward(self, x):
        return self.act(self.proj(x)).flatten(2).transpose(1, 2)


class Block(nn.Module):
    def __init__(self, act=None):
        super().__init__()
        self.proj = nn.Linear(8, 8)
        self.act = act or nn.Identity()

    def forward(self, x):
        return self.act(self.proj(x))


def make(kind, *args):
    return kind(*args)


def same(module):
    return module


def both(module):
    return module, module


def copy_context(model):
    model.patch_embed.act.context = model.blocks[0].act.context


def equip(model):
    context = Context()
    model.patch_embed.act = Noting(context)
    model.blocks[0].act = Reading(context)


class M(nn.Module):
    def __init__(self):
        super().__init__()
{made}
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))

    def _make(self, kind, act):
        return kind(act)

    def _stack(self, kind, depth, act=None):
        return nn.ModuleList([kind(act) for _ in range(depth)])

    def _share(self, *modules):
        context = Context()
        for module in modules:
            module.context = context

    def forward_features(self, x):
        x = self.patch_embed(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x
"""


def result(made):
    return result_in_users_file(SOURCE.format(made=textwrap.indent(made, " " * 8)))


APART = "self.patch_embed = Stem(Noting())\nself.blocks = nn.ModuleList([Block(Reading())])\n"
SHARED = [
    "c = Context()\nself.patch_embed = make(Stem, Noting(c))\nself.blocks = nn.ModuleList([make(Block, Reading(c))])",
    "c = Context()\nself.patch_embed = self._make(Stem, Noting(c))\nself.blocks = self._stack(Block, 2, Reading(c))",
    "n = Noting()\nself.patch_embed = self._make(Stem, n)\nself.blocks = self._stack(Block, 2, Reading(n.context))",
    "n = Noting()\nself.patch_embed = same(Stem(n))\nself.blocks = nn.ModuleList([Block(same(n))])",
    "a, b = both(Noting())\nself.patch_embed = Stem(a)\nself.blocks = nn.ModuleList([Block(Reading(b.context))])",
    "n = Noting()\nself.patch_embed = Stem(copy.copy(n))\nself.blocks = nn.ModuleList([Block(Reading(n.context))])",
    "both = [Stem(Noting()), Block(Reading(GLOBAL))]\nself.patch_embed = both[0]\nself.blocks = both[1:]",
    "self.patch_embed = Stem(Noting())\nself.blocks = self._stack(Block, 1, Reading(self.patch_embed.act.context))",
    APART + "self.patch_embed.act.context = self.blocks[0].act.context",
    APART + "copy_context(self)",
    APART + "for m in [self.patch_embed.act, self.blocks[0].act]:\n    m.context = GLOBAL",
    APART + "[setattr(m, 'context', GLOBAL) for m in self.modules() if hasattr(m, 'context')]",
    APART + "for m in self.modules():\n    if hasattr(m, 'context'):\n        m.context = GLOBAL",
    APART + "self._share(self.patch_embed.act, self.blocks[0].act)",
    "self.patch_embed = Stem()\nself.blocks = nn.ModuleList([Block()])\nequip(self)",
    "c = [Context()] * 2\nself.patch_embed = Stem(Noting(c[0]))\nself.blocks = nn.ModuleList([Block(Reading(c[1]))])",
    "c = Context()\ndef on(k):\n    return k(c)\n"
    "self.patch_embed = Stem(on(Noting))\nself.blocks = nn.ModuleList([Block(on(Reading))])",
    "on = lambda k, c=Context(): k(c)\n"
    "self.patch_embed = Stem(on(Noting))\nself.blocks = nn.ModuleList([Block(on(Reading))])",
    "with torch.no_grad() as c:\n"
    "    self.patch_embed = Stem(Noting(c))\n    self.blocks = nn.ModuleList([Block(Reading(c))])",
    "if (c := Context()):\n"
    "    self.patch_embed = Stem(Noting(c))\n    self.blocks = nn.ModuleList([Block(Reading(c))])",
    "self.patch_embed = Stem(Noting(c := Context()))\nself.blocks = nn.ModuleList([Block(Reading(c))])",
    "for c in [Context()]:\n"
    "    self.patch_embed = Stem(Noting(c))\n    self.blocks = nn.ModuleList([Block(Reading(c))])",
    "kind = Block\nself.patch_embed = Stem(Noting(GLOBAL))\nself.blocks = nn.ModuleList([kind(Reading(GLOBAL))])",
]


@pytest.mark.parametrize("made", SHARED)
def test_what_one_keeps_in_it_the_other_reads(made):
    assert isinstance(result(made), Refusal)


@pytest.mark.parametrize(
    "made",
    [
        APART,
        "self.patch_embed = make(Stem)\nself.blocks = nn.ModuleList([make(Block)])",
        "self.patch_embed = same(Stem(Noting()))\nself.blocks = self._stack(Block, 2)",
        "self.patch_embed = Stem()\nself.blocks = self._stack(Block, 2, nn.GELU())",
        "self.patch_embed = self._make(Stem, nn.GELU())\nself.blocks = nn.ModuleList([Block(Reading())])",
    ],
)
def test_who_shares_nothing_is_split(made):
    assert isinstance(result(made), Split)
