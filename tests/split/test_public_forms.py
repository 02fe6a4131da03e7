"""How models of public repositories write what is between the images and the blocks."""

import textwrap

import pytest
from sources import result_in_users_file

from codegen.types import Refusal, Split

SOURCE = """
import torch
from torch import nn
from torch.nn import functional as F


def sines(number, dim):
    table = torch.tensor([[place / 10000**channel for channel in range(dim)] for place in range(number)])
    return table.unsqueeze(0)


class M(nn.Module):
    def __init__(self, antialias=False):
        super().__init__()
        self.antialias = antialias
        self.patch_embed = nn.Conv2d(3, 8, 8, 8)
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))
        self.table = sines(16, 8)
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])

    def resized(self, h, w, **how):
        grid = self.pos_embed.transpose(1, 2).unflatten(2, (4, 4))
        {options}
        return F.interpolate(grid, mode="bicubic", antialias=self.antialias, **options).flatten(2).transpose(1, 2)

    def for_images(self, x, pos_embed):
        _, _, height, width = x.shape
        return pos_embed[:, : (height // 8) * (width // 8)]

    def forward_features(self, x, masks=None):
        pos_embed = self.pos_embed
{before}
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        B, N, C = x.shape
{position}
        if masks is not None:
            x = torch.cat([x[:, mask] for mask in masks])
        for block in self.blocks:
            x = block(x)
        return x
"""


def result(position, before="pass", options="options = {'size': (h, w)}"):
    before, position = (textwrap.indent(part, " " * 8) for part in (before, position))
    return result_in_users_file(SOURCE.format(position=position, before=before, options=options))


FORMS = [
    ("x = x + self.resized(4, 4)", "pass"),  # DINOv2
    ("x = x + self.table.expand(B, -1, -1).type_as(x).clone().detach()", "pass"),  # VideoMAE
    ("if self.table is not None:\n    x = x + self.table.expand(B, -1, -1).to(x.device)", "pass"),
    ("x += pos_embed", "pos_embed = self.for_images(x, pos_embed)"),  # V-JEPA
    ("if pos_embed is not None:\n    x += pos_embed", "pos_embed = self.for_images(x, pos_embed)"),
    ("x = x + self.pos_embed", "if masks is not None and not isinstance(masks, list):\n    masks = [masks]"),  # MSN
]


@pytest.mark.parametrize(("position", "before"), FORMS)
def test_the_position_is_in_the_embedding(position, before):
    found = result(position, before)
    assert isinstance(found, Split), found.reason
    assert found.boundary.statement.startswith(position.splitlines()[0])


def test_options_of_a_function_that_never_works_in_place_change_nothing():
    found = result("x = x + self.resized(4, 4)", options="options = dict(how)\n        options['size'] = (h, w)")
    assert isinstance(found, Split), found.reason


@pytest.mark.parametrize("before", ["if masks is not None and len(masks) > B:\n    masks = [masks]"])
def test_what_else_a_condition_asks_is_not_deferred(before):
    assert isinstance(result("x = x + self.pos_embed", before), Refusal)
