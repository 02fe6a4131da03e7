"""Which layers OpenMMLab's builders make, by the configurations that they are given."""

import pytest
from sources import result_in_users_file

from codegen.types import Refusal, Split

SOURCE = """
import copy
import torch
from mmcv.cnn import ConvModule, build_activation_layer, build_conv_layer, build_norm_layer
from mmcv.cnn.bricks.transformer import FFN, PatchEmbed, build_dropout
from mmcv.runner import BaseModule, ModuleList, Sequential
from mmcv.cnn import NORM_LAYERS
from torch import nn


@NORM_LAYERS.register_module("Mine")
class Norm(nn.LayerNorm):
    def forward(self, x):
        {norm}
        return super().forward(x)


class Block(BaseModule):
    def __init__(self, norm_cfg=dict(type="LN"), act_cfg=dict(type="GELU")):
        super().__init__()
        self.norm = build_norm_layer(norm_cfg, 8)[1]
        self.ffn = FFN(8, 16, act_cfg=act_cfg)

    def forward(self, x):
        return self.ffn(self.norm(x))


class M(BaseModule):
    def __init__(self, norm_cfg=dict(type="LN"), act_cfg=dict(type="GELU"), patch_cfg=dict(), cfg=None):
        super().__init__()
        self.norm_cfg = norm_cfg
        options = dict(in_channels=3, embed_dims=8, kernel_size=4, stride=4)
        options.update(patch_cfg)
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))
        {made}
        self.blocks = ModuleList([Block(norm_cfg, act_cfg) for _ in range(2)])

    def forward(self, x):
        x = self.patch_embed(x)
        x = self.shared(x)
        x = x.flatten(2).transpose(1, 2) + self.pos_embed
        for block in self.blocks:
            x = {last}
        return x
"""


def result(made, norm="pass", last="self.shared(block(x))"):
    text = SOURCE.format(made=made.replace("; ", "\n        "), norm=norm, last=last)
    trusted = frozenset({"NORM_LAYERS.register_module"})
    return result_in_users_file(text, trusted=trusted, method="forward")


STATELESS = [
    "self.shared = build_activation_layer(act_cfg)",
    "self.shared = build_activation_layer(dict(type='SiLU', inplace=False))",
    "self.shared = build_norm_layer(norm_cfg, 8)[1]",
    "name, norm = build_norm_layer({'type': 'GN', 'num_groups': 2}, 8, postfix=1); self.shared = norm",
    "self.shared = build_norm_layer(norm_cfg.copy(), 8)[1]",
    "self.shared = build_norm_layer(copy.deepcopy(self.norm_cfg), 8)[1]",
    "self.shared = build_norm_layer(dict(type='LN') if cfg is None else dict(type='GN'), 8)[1]",
    "self.shared = build_norm_layer(dict(type='Mine'), 8)[1]",
    "self.shared = build_conv_layer(cfg, 8, 8, 1)",
    "self.shared = build_dropout(dict(type='DropPath', drop_prob=0.1))",
    "self.shared = Sequential(nn.Linear(8, 8), build_activation_layer(dict(type='ReLU', inplace=True)))",
    "self.shared = FFN(8, 16, act_cfg=dict(type='ReLU', inplace=True))",
    "self.shared = PatchEmbed(**options)",
    "self.shared = PatchEmbed(norm_cfg=norm_cfg, **options)",
    "self.shared = ConvModule(8, 8, 1, act_cfg=dict(type='ReLU'))",
]


@pytest.mark.parametrize("made", STATELESS)
def test_a_layer_that_a_configuration_in_sight_names_keeps_nothing(made):
    found = result(made)
    assert isinstance(found, Split), found.reason


@pytest.mark.parametrize(
    "made",
    [
        "self.shared = build_activation_layer(dict(type='Other'))",
        "self.shared = build_activation_layer(act_cfg['inner'])",
        "self.shared = build_activation_layer(make())",
        "act_cfg['type'] = cfg; self.shared = build_activation_layer(act_cfg)",
        "act_cfg.update(type=cfg); self.shared = build_activation_layer(act_cfg)",
        "self.norm_cfg['type'] = cfg; self.shared = build_norm_layer(self.norm_cfg, 8)[1]",
        "act_cfg |= cfg; self.shared = build_activation_layer(act_cfg)",
        "self.shared = build_activation_layer(dict(act_cfg))",
        "self.shared = build_activation_layer(dict(type='GELU', **cfg))",
        "self.shared = build_activation_layer({**act_cfg})",
        "self.shared = build_activation_layer(cfg=dict(type='Other'))",
        "self.shared = build_activation_layer(*cfg)",
        "self.shared = build_norm_layer(**cfg)[1]",
        "options['norm_cfg'] = cfg['norm']; self.shared = PatchEmbed(**options)",
        "options.update(norm_cfg=cfg['norm']); self.shared = PatchEmbed(**options)",
        "self.shared = ConvModule(8, 8, 1, norm_cfg=dict(type='Other'))",
        "self.shared = ConvModule(8, 8, 1, 1, 0, 1, 1, 'auto', None, dict(type='Other'))",
        "self.shared = PatchEmbed(norm_cfg=make(), **options)",
    ],
)
def test_any_other_may_be_anything(made):
    assert isinstance(result(made), Refusal)


@pytest.mark.parametrize("made", ["dict(type='BN')", "dict(type='SyncBN')", "dict(type='IN2d')"])
def test_a_batch_norm_keeps_statistics(made):
    assert isinstance(result(f"self.shared = build_norm_layer({made}, 8)[1]"), Refusal)


@pytest.mark.parametrize(
    ("made", "changes"),
    [
        ("dict(type='ReLU', inplace=True)", True),
        ("dict(type='ReLU', inplace=cfg)", True),
        ("dict(type='ReLU', inplace=False)", False),
        ("dict(type='ReLU')", False),
    ],
)
def test_an_activation_may_work_in_place(made, changes):
    first = f"self.act = build_activation_layer({made}); self.shared = nn.Identity()"
    found = result(first, last="block(self.act(x))")
    assert isinstance(found, Refusal if changes else Split)


def test_a_class_of_the_user_is_what_it_reads():
    made = "self.shared = build_norm_layer(dict(type='Mine'), 8)[1]"
    assert isinstance(result(made, "x = x + getattr(self, 'last', 0)\n        self.last = x.mean()"), Refusal)
