"""A library that looks layers up by a configuration, as mmcv does, may make one that the user has registered."""

import pytest
from sources import result_in_users_file

from codegen.types import Refusal, Split

SOURCE = """
import torch
from mmcv.cnn import build_norm_layer
from mmengine.registry import MODELS
from torch import nn

BOX = []


@MODELS.register_module()
class MyNorm(nn.Module):
    last = None

    def __init__(self, dim, eps=1e-5):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        {norm}
        return x


class Block(nn.Module):
    def __init__(self, norm_cfg):
        super().__init__()
        self.proj = nn.Linear(8, 8)
        self.norm = build_norm_layer(norm_cfg, 8)[1]

    def forward(self, x):
        return self.proj(self.norm(x))


@MODELS.register_module()
class M(nn.Module):
    def __init__(self, norm_cfg=dict(type="MyNorm")):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.norm = build_norm_layer(norm_cfg, 8)[1]
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))
        self.blocks = nn.ModuleList([Block(norm_cfg)])
        {made}

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = self.norm(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return {last}
"""


def result(norm="pass", made="pass", last="x"):
    text = SOURCE.format(norm=norm, made=made, last=last)
    return result_in_users_file(text, trusted=frozenset({"MODELS.register_module"}), method="forward")


@pytest.mark.parametrize(
    ("norm", "made", "last"),
    [
        ("BOX.append(x.mean())\n        x = x + sum(BOX)", "pass", "x"),
        ("MyNorm.last = x.mean()\n        x = x + MyNorm.last", "pass", "x"),
        ("type(self).last = x.mean()", "pass", "x"),
        ("self.last = x.mean()", "pass", "x + self.norm.last"),
        ("self.last = x.mean()", "self.tail = self.norm", "x + self.tail.last"),
        ("self.last = x.mean()", "self.blocks[0].norm = self.norm", "x"),
        ("self.last = x.mean()", "self.blocks.append(self.norm)", "x"),
        ("x = x + (self.last or 0)\n        self.last = x.mean()", "pass", "self.norm(x)"),
    ],
)
def test_what_such_a_layer_may_keep_is_not_read_by_the_stages(norm, made, last):
    assert isinstance(result(norm, made, last), Refusal)


@pytest.mark.parametrize("norm", ["pass", "x = x * 2", "self.last = x.mean()"])
def test_two_that_are_made_apart_share_nothing(norm):
    assert isinstance(result(norm), Split)


@pytest.mark.parametrize("norm", ["pass", "x = x * 2", "self.last = x.mean()"])
def test_one_that_runs_in_both_halves_and_reads_nothing_that_it_kept_tells_nothing(norm):
    assert isinstance(result(norm, last="self.norm(x)"), Split)
