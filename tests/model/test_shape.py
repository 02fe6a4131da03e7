"""The order in which tokens lie, followed through code; what cannot be read is not claimed."""

import ast

import pytest
from sources import facts_of

from codegen.model.shape import token_order

LAYERS = """
import torch
import torch.nn as nn
import torch.nn.functional as F
from functools import partial

class Flat(nn.Module):
    def __init__(self, flatten=True, output_fmt=None):
        self.flatten = flatten
        if output_fmt is not None:
            self.flatten = False
            self.output_fmt = Format(output_fmt)
        else:
            self.output_fmt = Format.NCHW
        self.proj = nn.Conv2d(3, 8, 4)

    def forward(self, x):
        B, C, H, W = x.shape
        x = self.proj(x)
        if self.flatten:
            x = x.flatten(2).transpose(1, 2)
        elif self.output_fmt != Format.NCHW:
            x = nchw_to(x, self.output_fmt)
        return x

class Measured(nn.Module):
    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)
        return x, x.shape[1]

class Norm2d(nn.LayerNorm):
    pass

class ConvRow(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 4))
        self.stride = 4
        self.add_module('norm', nn.BatchNorm2d(8))
        if FLAG:
            self.act = nn.GELU()

class MixedRow(nn.Sequential):
    def __init__(self):
        super().__init__()
        self.add_module('conv', nn.Conv2d(3, 8, 4))
        self.add_module('flat', Flat())

class AppendedRow(nn.Sequential):
    def __init__(self, layers):
        super().__init__()
        self.append(nn.Conv2d(3, 8, 4))
        self.extend([Flat()])

class PlainRow(nn.Sequential):
    pass

class StarredRow(nn.Sequential):
    def __init__(self, layers):
        super().__init__(*layers)

def nchw_to(x, fmt):
    if fmt == Format.NHWC:
        x = x.permute(0, 2, 3, 1)
    elif fmt == Format.NLC:
        x = x.flatten(2).transpose(1, 2)
    return x
"""


def layout(code: str, init: str = "pass", tokens: str = "x", methods: str = "") -> str:
    made = "".join(f"        {line}\n" for line in init.splitlines())
    source = (
        f"{LAYERS}\nclass Tiny(nn.Module):\n    def __init__(self, embed_layer=None, dynamic=False, "
        "given=Flat, partly_given=partial(Flat, output_fmt='NHWC'), act_layer=Flat):\n"
        f"{made}{methods}"
        "    def forward_features(self, x):\n        pass\n"
    )
    return token_order(facts_of(source), ast.parse(code).body, "x", tokens)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("x = self.conv(x)", "NCHW"),
        ("x = self.conv(x).flatten(2).transpose(1, 2)", "NLC"),
        ("x = self.conv(x).flatten(2)", ""),
        ("x = self.conv(x).permute(0, 2, 3, 1)", "NHWC"),
        ("x = self.conv(x).permute(0, 2, 3, 1).contiguous().to(dtype)", "NHWC"),
        ("x = self.conv(x).permute(0, 2, 3, 1).reshape(B, N, C)", ""),
        ("x = self.conv(x).permute(0, 2, 3, 1)\nB, H, W, C = x.shape\nx = x.reshape(B, H * W, C)", "NLC"),
        ("x = self.conv(x).permute(0, 2, 3, 1)\nx = x.reshape(x.shape[0], -1, x.shape[-1])", "NLC"),
        ("x = self.conv(x)\nB, C, H, W = x.shape\nx = x.reshape(B, H * W, C)", ""),
        ("x = self.conv(x)\nx = x.reshape(x.shape[0], x.shape[1], -1).transpose(2, 1)", "NLC"),
        ("x = self.conv(x).reshape(B, N, C)", ""),
        ("x = self.conv(x).permute(0, 2, 3, 1).flatten(1, 2)", "NLC"),
        ("x = self.conv(x).permute(*order)", ""),
        ("x = self.conv(x).sum(1)", ""),
        ("x = self.act(self.norm(self.conv(x)))", "NCHW"),
        ("x = self.conv(x)\nx = F.relu(x)", "NCHW"),
        ("x = self.conv(x) * 2", "NCHW"),
        ("x = self.unknown(x)", ""),
        ("x = self.factory(x)", ""),
        ("x = other(x)", ""),
    ],
)
def test_statements_are_followed(code, expected):
    init = (
        "self.conv = nn.Conv2d(3, 8, 4)\nself.norm = nn.BatchNorm2d(8)\nself.act = nn.GELU()\n"
        "self.factory = embed_layer(8)\nself.unknown = Unknown()"
    )
    assert layout(code, init) == expected


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ("Flat()", "NLC"),
        ("Flat(flatten=False)", "NCHW"),
        ("Flat(False)", "NCHW"),
        ("Flat(output_fmt='NHWC')", "NHWC"),
        ("Flat(output_fmt='NLC')", "NLC"),
        ("Flat(flatten=dynamic)", ""),
        ("Flat(**options)", ""),
        ("Flat(**dd)", "NLC"),
        ("Flat() if dynamic else Flat(flatten=False)", ""),
        ("embed_layer()", ""),
        ("nn.Sequential(nn.Conv2d(3, 8, 4), Norm2d(8), nn.GELU())", "NCHW"),
        ("nn.Sequential(Flat(flatten=False), Flat())", "NLC"),
        ("nn.Sequential(*layers)", ""),
        ("nn.Sequential(*[nn.Conv2d(3, 8, 4), Flat()])", "NLC"),
        ("nn.Sequential(*[nn.Conv2d(3, 3, 1) for _ in range(n)])", "NCHW"),
        ("nn.Sequential(*[Flat() for _ in range(n)])", ""),
        ("Flat(output_fmt=Format.NHWC)", "NHWC"),
        ("ConvRow()", "NCHW"),
        ("MixedRow()", ""),
        ("StarredRow()", ""),
        ("AppendedRow()", ""),
        ("PlainRow(nn.Conv2d(3, 8, 4), Flat())", "NLC"),
        ("conv_nd(2)(3, 8, 4)", ""),
        ("Contract()", ""),
        ("given()", "NLC"),
        ("partly_given(flatten=True)", "NHWC"),
        ("partly_given(output_fmt='NLC')", "NLC"),
        ("act_layer()", "NCHW"),
    ],
)
def test_settings_of_a_module_decide_what_it_returns(made, expected):
    init = f"dd = {{'device': None, 'dtype': None}}\nself.stem = {made}"
    assert layout("x = self.stem(x)", init) == expected


@pytest.mark.parametrize(
    ("filled", "expected"),
    [
        ("options = {}", "NLC"),
        ("options = dict(flatten=False)", "NCHW"),
        ("options = {}\noptions['output_fmt'] = 'NHWC'", "NHWC"),
        ("options = {}\noptions.update(output_fmt='NHWC')", "NHWC"),
        ("options = {}\nif FLAG:\n    options.update(output_fmt='NHWC')", ""),
        ("options = {}\nif FLAG:\n    options['norm_layer'] = None", "NLC"),
        ("options = {}\nfill(options)", ""),
        ("pass", ""),
    ],
)
def test_keywords_in_a_dictionary_are_followed_as_far_as_they_are_in_sight(filled, expected):
    assert layout("x = self.stem(x)", f"{filled}\nself.stem = Flat(**options)") == expected


def test_an_option_that_decides_the_stem_and_is_asked_for_later_is_the_same_option():
    init = (
        "self.dynamic = dynamic\noptions = {}\nif dynamic:\n    options.update(output_fmt='NHWC')\n"
        "self.stem = Flat(**options)"
    )
    code = "x = self.stem(x)\nif self.dynamic:\n    x = x.flatten(1, 2)"
    assert layout("x = self.stem(x)", init) == ""
    assert layout(code, init) == "NLC"


def test_of_a_tuple_the_tokens_are_the_first():
    assert layout("y, n = self.stem(x)", "self.stem = Measured()", tokens="y") == "NLC"
    assert layout("y, n = self.stem(x)", "self.stem = Measured()", tokens="n") == ""


def test_an_element_of_a_container_is_known_if_all_are_alike():
    assert layout("x = self.stems[0](x)", "self.stems = nn.ModuleList([Flat() for i in range(2)])") == "NLC"


def test_helper_methods_are_entered():
    methods = "    def _pos_embed(self, x):\n        return self.pos_drop(x)\n"
    init = "self.stem = Flat()\nself.pos_drop = nn.Dropout()"
    assert layout("x = self._pos_embed(self.stem(x))", init, methods=methods) == "NLC"


def test_prefix_tokens_and_a_position_of_three_dimensions_tell_a_sequence():
    init = (
        "self.stem = nn.Linear(3, 8)\nself.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))\n"
        "self.pos_embed = nn.Parameter(torch.zeros(1, 5, embed_dim))\n"
        "self.columns = nn.Parameter(torch.zeros(1, embed_dim, 5))\n"
        "self.views = nn.Parameter(torch.zeros(4, 1, 5, embed_dim))"
    )
    sequence = "x = self.unknown(x).reshape(B, 5, 8)\n"
    assert layout(sequence, init) == ""
    assert layout(sequence + "x = torch.cat((self.cls_token.expand(B, -1, -1), x), dim=1)", init) == "NLC"
    assert layout(sequence + "x = x + self.pos_embed", init) == "NLC"
    assert layout(sequence + "x = x + self.columns", init) == ""
    assert layout(sequence + "x = x + self.views", init) == ""
    assert layout(sequence + "x = x + self.other", init) == ""
    assert layout("x = self.unknown(x)\nx = x + self.pos_embed", init) == ""


def test_arms_that_disagree_or_are_not_known_make_no_claim():
    init = "self.conv = nn.Conv2d(3, 8, 4)"
    assert layout("x = self.conv(x)\nif FLAG:\n    x = x.flatten(2).transpose(1, 2)", init) == ""


def test_a_list_of_tokens_has_no_layout():
    code = "xs = []\nfor stem in self.stems:\n    xs.append(stem(x))"
    assert layout(code, "self.stems = nn.ModuleList([Flat()])", tokens="xs") == ""
