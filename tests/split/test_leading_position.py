"""A position that stands among the blocks, in front of them."""

import textwrap

import pytest
from sources import result_in_users_file

from codegen.types import Refusal, Split

SOURCE = """
from collections import OrderedDict

import torch
from torch import nn


class Position(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(1, 16, 8))

    def forward(self, x):
        return x + self.table


class Sines(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("pe", torch.zeros(1, 16, 8))

    def forward(self, x):
        return x + self.pe[:, : x.shape[1]]


class Block(nn.Module):
    def __init__(self, first=False):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        return x + self.fc(x)


class First(Block):
    def __init__(self, first=False):
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8)) if first else None

    def forward(self, x):
        return self.fc(x if self.pos_embed is None else x + self.pos_embed)


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
{made}

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
{run}
        return x
"""
LOOP = "for block in self.blocks:\n    x = block(x)"


def result(made, run=LOOP):
    made, run = (textwrap.indent(part, " " * 8) for part in (made, run))
    return result_in_users_file(SOURCE.format(made=made, run=run))


AMONG_BLOCKS = [
    "self.blocks = nn.ModuleList([Position(), Block(), Block()])",
    "self.blocks = nn.ModuleList([nn.LayerNorm(8), nn.Identity(), Position(), Block()])",
    "self.blocks = nn.ModuleList([nn.Sequential(Sines(), Block()), Block()])",
    "self.blocks = nn.ModuleList([Position(), *[Block() for _ in range(3)]])",
    "self.blocks = nn.ModuleList()\nself.blocks.append(Position())\nself.blocks.append(Block())",
    "layers = [Position()]\nlayers += [Block(), Block()]\nself.blocks = nn.ModuleList(layers)",
    "self.blocks = nn.ModuleList([Block()])\nself.blocks = nn.ModuleList([Position(), Block()])",
    "self.blocks = nn.Sequential(OrderedDict(pos=Position(), first=Block()))\n",
    "self.blocks = nn.Sequential(OrderedDict([('pos', Position()), ('first', Block())]))",
    "self.blocks = nn.Sequential(OrderedDict({'pos': Position(), 'first': Block()}))",
    "self.blocks = nn.ModuleList([First(i == 0) for i in range(3)])",
    "self.blocks = nn.ModuleList([First(first=not i) for i in range(3)])",
]


@pytest.mark.parametrize("made", AMONG_BLOCKS)
def test_a_position_in_front_of_the_blocks_is_no_block(made):
    found = result(made)
    assert isinstance(found, Refusal)
    assert "may give the tokens their position" in found.reason


@pytest.mark.parametrize("run", ["x = self.blocks(x)", "x = self.blocks[0](x)\nx = self.blocks[1](x)"])
def test_whatever_runs_it(run):
    assert isinstance(result("self.blocks = nn.Sequential(Sines(), Block())", run), Refusal)


def test_a_statement_that_only_changes_the_blocks_runs_none():
    made = "self.blocks = nn.ModuleList([Block()])\nself.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))"
    found = result(made, "self.blocks.append(Block())\nx = x + self.pos_embed\n" + LOOP)
    assert isinstance(found, Refusal)


@pytest.mark.parametrize(
    "made",
    [
        "self.blocks = nn.ModuleList([Block(), Position(), Block()])",
        "self.blocks = nn.ModuleList([First(True) for _ in range(3)])",
        "self.blocks = nn.ModuleList([nn.LayerNorm(8), Block(), Block()])",
        "layers = [Block()]\nlayers += [Block(), Block()]\nself.blocks = nn.ModuleList(layers)",
    ],
)
def test_blocks_that_give_a_position_themselves_are_blocks(made):
    assert isinstance(result(made), Split)


ENCODER = """
class Encoder(nn.Module):
    def __init__(self, pos=None):
        super().__init__()
        {position}
        self.layers = nn.ModuleList([nn.Linear(8, 8)])

    def forward(self, x):
        {add}
        for layer in self.layers:
            x = layer(x)
        return x


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.encoder = {made}

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        return self.encoder(x)
"""
PARAMETER = "self.table = nn.Parameter(torch.zeros(1, 16, 8))"
EMBEDDING = "nn.Embedding(16, 8)"
ENCODERS = [
    (PARAMETER, "x = x + self.table", "Encoder()"),
    (PARAMETER, "x += self.table", "Encoder()"),
    (PARAMETER, "x = x + self.table[:, : x.shape[1]]", "Encoder()"),
    (PARAMETER, "x = torch.add(x, self.table)", "Encoder()"),
    (PARAMETER, "table = self.table\n        x = x + table", "Encoder()"),
    (PARAMETER, "x = x + self.table.to(x.dtype)", "Encoder()"),
    ("self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))", "x = x + self.pos_embed", "Encoder()"),
    ("self.register_buffer('table', torch.zeros(1, 16, 8))", "x = x + self.table", "Encoder()"),
    (f"self.embed = {EMBEDDING}", "x = x + self.embed(torch.arange(x.shape[1]))", "Encoder()"),
    ("self.embed_positions = pos", "x = x + self.embed_positions(torch.arange(x.shape[1]))", f"Encoder({EMBEDDING})"),
    ("self.table = Sines()", "x = self.table(x)", "Encoder()"),
    ("self.position = Position()", "x = self.position(x)", "Encoder()"),
]


@pytest.mark.parametrize(("position", "add", "made"), ENCODERS, ids=[add for _, add, _ in ENCODERS])
def test_a_module_that_gives_a_position_and_runs_the_blocks_is_no_block(position, add, made):
    found = result_in_users_file(
        SOURCE.partition("class M(")[0] + ENCODER.format(position=position, add=add, made=made)
    )
    assert isinstance(found, Refusal)
    assert "may give the tokens their position" in found.reason


@pytest.mark.parametrize("add", ["pass", "x = x + 1", "x = self.norm(x)"])
def test_a_module_that_runs_the_blocks_is_one(add):
    source = ENCODER.format(position="self.norm = nn.LayerNorm(8)", add=add, made="Encoder()")
    assert isinstance(result_in_users_file(SOURCE.partition("class M(")[0] + source), Split)
