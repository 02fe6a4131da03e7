"""Effects before the boundary, each with stages that would see it, and with stages that would not.

The stages are called apart from the embedding, and other embeddings may be made in between. So what the embedding may
write is nothing that the stages may read, by whatever name.
"""

import ast
import textwrap

import pytest
from sources import facts_of, outcomes_of

from codegen.model.effects import effects
from codegen.types import Refusal, Split

SOURCE = """
import collections
import functools

import torch
from torch import nn

SEEN = []
COUNT = 0


def remember(values, x):
    values.append(x.mean())


def remember_all(*values):
    values[0].append(values[1].mean())


def remember_named(**values):
    values["into"].append(1)


def kept(x, cache=[]):
    cache.append(x.mean())
    return cache


def count():
    global COUNT
    COUNT += 1


@functools.lru_cache
def table(size):
    return torch.zeros(size)


class PatchEmbed(nn.Module):
    def __init__(self, dim=8):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, 2, 2)
        self.mean = None
        self.grid_size = (4, 4)

    def forward(self, x):
        self.mean = x.mean()
        return self.proj(x)

    def denormalize(self, x):
        return x + self.mean


class Pure(nn.Module):
    def __init__(self, dim=8):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, 2, 2)
        self.grid_size = (4, 4)

    def forward(self, x):
        return self.proj(x)


class Block(nn.Module):
    def __init__(self, dim=8, stem=None):
        super().__init__()
        self.fc = nn.Linear(dim, dim)
        self.stem = stem

    def forward(self, x):
        return self.fc(x) if self.stem is None else self.stem.denormalize(self.fc(x))


class Tiny(nn.Module):
    shared = []

    def __init__(self, embed_layer=Pure, patch_embed=None):
        super().__init__()
        {init}
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))
        self.register_buffer("centre", torch.zeros(8))
        self.seen = []
        self.size = 3
        self.names = {{}}
        self.alias = self.seen
        self.blocks = nn.ModuleList([{block} for _ in range(2)])

    def note(self, x):
        self.size = x.shape[1]

    def noted(self):
        return self.size

    @property
    def measured(self):
        return self.size

    def forward_features(self, x, mask=None):
        {first}
        x = self.patch_embed(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return {last}
"""


def result_of(first="pass", last="x", init="self.patch_embed = Pure()", block="Block()"):
    first = textwrap.indent(first, " " * 8).strip()
    return outcomes_of(SOURCE.format(first=first, last=last, init=init, block=block))["Tiny"].result


WRITES = {
    "self.size = x.shape[1]": "x * self.size",
    "self.size += 1": "x * getattr(self, 'size')",
    "setattr(self, 'size', x.shape[1])": "x * self.noted()",
    "self.note(x)": "x * self.measured",
    "self.seen.append(x.mean())": "x * self.seen[-1]",
    "seen = self.seen\nseen.append(x.mean())": "x * self.seen[-1]",
    "self.alias.append(x.mean())": "x * self.seen[-1]",
    "self.seen += [x.mean()]": "x * self.alias[-1]",
    "remember(self.seen, x)": "x * self.seen[-1]",
    "remember_all(self.seen, x)": "x * self.seen[-1]",
    "remember_named(into=self.seen)": "x * self.seen[-1]",
    "kept(x)": "x * kept(x)[0]",
    "self.names['a'] = x.mean()": "x * self.names['a']",
    "self.names.update(a=1)": "x * len(self.names)",
    "self.shared.append(1)": "x * len(Tiny.shared)",
    "Tiny.shared.append(1)": "x * len(self.shared)",
    "SEEN.append(x.mean())": "x * SEEN[-1]",
    "remember(SEEN, x)": "x * len(SEEN)",
    "self.centre.copy_(x.mean())": "x - self.centre",
    "self.centre[0] = 1": "x - self.centre",
    "self.centre.view(-1).add_(1)": "x - self.centre",
    "torch.add(self.centre, 1, out=self.centre)": "x - self.centre",
    "nn.init.constant_(self.centre, 1)": "x - dict(self.named_buffers())['centre']",
    "self.centre.data = x": "x - self.state_dict()['centre']",
    "self.patch_embed.grid_size = x.shape[2:]": "x * self.patch_embed.grid_size[0]",
    "stem = self.patch_embed\nstem.grid_size = x.shape": "x * self.patch_embed.grid_size[0]",
    "table(3).add_(1)": "x + table(3).sum()",
    "self.__dict__.update(size=1)": "x * self.size",
    "self.apply(print)": "x * self.size",
    "self.eval()": "x",
    "self.blocks.train()": "x",
    "nn.Module.train(self)": "x",
    "unheard(self)": "x * self.size",
    "[m.note(x) for m in self.modules() if hasattr(m, 'note')]": "x * self.size",
    "for m in self.modules(): m.note(x)": "x * self.patch_embed.grid_size[0]",
}


@pytest.mark.parametrize(("first", "last"), WRITES.items(), ids=WRITES)
def test_what_the_stages_may_see_is_refused(first, last):
    assert isinstance(result_of(first, last), Refusal)


HARMLESS = {
    "self.size = x.shape[1]": "x * self.patch_embed.grid_size[0]",
    "self.note(x)": "x",
    "self.names.update(a=1)": "x * self.size",
    "SEEN.append(1)": "x",
    "seen = []\nseen.append(x.mean())": "x",
    "y = x.mean()\ny.add_(1)": "x - self.centre",
    "z = self.centre.clone()\nz.add_(1)": "x - self.centre",
    "n = self.size\nn += 1": "x * self.size",
    "sizes = [self.size]\nsizes[0] = 4": "x * self.size",
    "y = x.new_zeros(3)\ny[0] = 1": "x - self.centre",
    "print(x.shape)": "x * self.size",
    "assert x.ndim == 4": "x * self.size",
    "y = torch.cat([x, x]).relu_()": "x - self.centre",
}


@pytest.mark.parametrize(("first", "last"), HARMLESS.items(), ids=HARMLESS)
def test_what_the_stages_cannot_see_is_nobodys_concern(first, last):
    result = result_of(first, last)
    assert isinstance(result, Split), result


STEMS = {
    "made in place": "self.patch_embed = PatchEmbed()",
    "by a default": "self.patch_embed = embed_layer()",
    "by name": "setattr(self, 'patch_embed', PatchEmbed())",
    "registered": "self.add_module('patch_embed', PatchEmbed())",
    "in a Sequential": "self.patch_embed = nn.Sequential(PatchEmbed(), nn.Identity())",
    "in a list that is filled": "stem = [PatchEmbed()]\n        self.patch_embed = nn.Sequential(*stem)",
    "by a partial": "self.patch_embed = functools.partial(PatchEmbed, 8)()",
    "by a condition": "self.patch_embed = PatchEmbed() if embed_layer else Pure()",
    "handed in": "self.patch_embed = patch_embed",
}


@pytest.mark.parametrize("init", STEMS.values(), ids=STEMS)
@pytest.mark.parametrize("last", ["x + self.patch_embed.mean", "self.patch_embed.denormalize(x)"])
def test_what_a_stem_keeps_is_not_for_the_stages(init, last):
    if "embed_layer()" in init:
        init = "embed_layer = PatchEmbed\n        " + init
    if "Sequential" in init:
        last = last.replace("patch_embed.", "patch_embed[0].")
    assert isinstance(result_of(last=last, init=init), Refusal)


@pytest.mark.parametrize(
    ("init", "block"),
    [
        ("self.patch_embed = PatchEmbed()", "Block(8, self.patch_embed)"),
        ("self.patch_embed = PatchEmbed()", "Block(stem=self.patch_embed)"),
        ("self.patch_embed = stem = PatchEmbed()", "Block(8, stem)"),
        ("stem = PatchEmbed()\n        self.patch_embed = stem", "Block(8, stem)"),
        ("stem = PatchEmbed()\n        self.patch_embed = nn.Sequential(stem)", "Block(8, stem)"),
        ("stems = [PatchEmbed()]\n        self.patch_embed = nn.Sequential(*stems)", "Block(8, stems[0])"),
        ("self.patch_embed = patch_embed", "Block(8, patch_embed)"),
    ],
)
def test_a_stem_that_a_block_holds_is_seen_by_it(init, block):
    assert isinstance(result_of(init=init, block=block), Refusal)


def test_a_part_that_goes_by_another_name_is_seen_by_it():
    init = "self.patch_embed = nn.ModuleList([PatchEmbed()])\n        self.other = self.patch_embed[0]"
    assert isinstance(result_of("self.other.mean = 1", "x * self.patch_embed[0].mean", init), Refusal)


def test_blocks_with_a_stem_of_their_own_see_nothing_of_it():
    assert isinstance(result_of(init="self.patch_embed = PatchEmbed()", block="Block(8, PatchEmbed())"), Split)


def test_tokens_that_are_a_buffer_which_the_next_embedding_overwrites_are_refused():
    result = result_of("self.centre.copy_(x.mean())\nx = self.centre")
    assert isinstance(result, Refusal)


def test_the_size_of_a_tensor_is_a_number():
    facts = facts_of(
        "import torch.nn as nn\n\n\nclass Tiny(nn.Module):\n    def forward_features(self, x):\n        return x"
    )
    for text, writes in {
        "n = mask.shape[0]\nn += 1": False,
        "_, n = mask.shape\nn += 1": False,
        "n = mask.T\nn += 1": True,
    }.items():
        assert bool(effects(facts, ast.parse(text).body, ["mask"]).writes) is writes
