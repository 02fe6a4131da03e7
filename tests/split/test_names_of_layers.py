"""What a layer does is read where it is made: in a user's code, a name such as ``norm_layer`` says nothing of it."""

import pytest

from codegen.generate import analyse
from codegen.source.release import find_release
from codegen.types import Refusal, Split

SOURCE = """
from functools import partial

import torch
from torch import nn


class Keeping(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.n = 0

    def forward(self, x):
        self.n = x.shape[0]
        return x


class Folding(nn.Module):
    def __init__(self, dim):
        super().__init__()

    def forward(self, x):
        return torch.cat([x, 2 * x])


KINDS = {{"keeping": Keeping, "folding": Folding}}


def build_norm(kind, dim):
    return KINDS[kind](dim)


def get_norm_layer(kind):
    return KINDS[kind]


class M(nn.Module):
    def __init__(self, kind="keeping", norm_layer={default}, act_layer=None):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        {made}
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])

    def forward_features(self, x):
        B = x.shape[0]
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = self.embed_end(x)
        for block in self.blocks:
            x = block(x)
        return {last}
"""

UNREAD = {
    "a function with such a name": "self.embed_end = build_norm(kind, 8)",
    "one that gives a class": "self.embed_end = get_norm_layer(kind)(8)",
    "a table": "self.embed_end = KINDS[kind](8)",
    "a variable": "norm_layer = KINDS[kind]\n        self.embed_end = norm_layer(8)",
    "a variable from a function": "act_layer = get_norm_layer(kind)\n        self.embed_end = act_layer(8)",
    "one of two": "norm_layer = norm_layer or KINDS[kind]\n        self.embed_end = norm_layer(8)",
    "under a condition": "if kind:\n            norm_layer = KINDS[kind]\n        self.embed_end = norm_layer(8)",
    "an attribute": "self.norm_layer = KINDS[kind]\n        self.embed_end = self.norm_layer(8)",
}
DEFAULTS = {
    "itself": "self.embed_end = norm_layer(8)",
    "or another": "norm_layer = norm_layer or nn.LayerNorm\n        self.embed_end = norm_layer(8)",
    "where there is one": "self.embed_end = norm_layer(8) if norm_layer else nn.Identity()",
    "by another name": "act_layer = norm_layer\n        self.embed_end = act_layer(8)",
}


def result(tmp_path, made, last, default="None"):
    (tmp_path / "m.py").write_text(SOURCE.format(made=made, last=last, default=default))
    outcomes = analyse(find_release(None, tmp_path / "m.py", announce=lambda message: None))
    return next(outcome.result for outcome in outcomes if outcome.name == "M")


def fields(split):
    assert isinstance(split, Split)
    return [field.name for field in split.fields]


@pytest.mark.parametrize("case", UNREAD)
def test_what_it_keeps_is_not_read_by_the_stages(tmp_path, case):
    assert isinstance(result(tmp_path, UNREAD[case], "x * self.embed_end.n"), Refusal)


@pytest.mark.parametrize("case", UNREAD)
def test_the_batch_may_have_another_size_after_it(tmp_path, case):
    assert "may be `Folding`" in result(tmp_path, UNREAD[case], "x.reshape(B, -1, 8)").reason


@pytest.mark.parametrize("case", DEFAULTS)
def test_what_is_chosen_by_default_is_read(tmp_path, case):
    assert isinstance(result(tmp_path, DEFAULTS[case], "x * self.embed_end.n", "Keeping"), Refusal)
    folded = result(tmp_path, DEFAULTS[case], "x.reshape(B, -1, 8)", "Folding")
    assert "each image in several rows" in folded.reason


@pytest.mark.parametrize("case", DEFAULTS)
@pytest.mark.parametrize("default", ["nn.LayerNorm", "partial(nn.LayerNorm, eps=1e-6)"])
def test_one_of_torch_keeps_nothing_and_leaves_the_batch_as_it_is(tmp_path, case, default):
    assert isinstance(result(tmp_path, DEFAULTS[case], "x * self.embed_end.n", default), Split)
    assert fields(result(tmp_path, DEFAULTS[case], "x.reshape(B, -1, 8)", default)) == ["x"]


@pytest.mark.parametrize(
    "again", ["for norm_layer in KINDS.values():\n            pass", "norm_layer, act_layer = KINDS"]
)
def test_a_default_that_is_bound_again_by_something_else_is_not_believed(tmp_path, again):
    made = f"{again}\n        self.embed_end = norm_layer(8)"
    assert "may be `Folding`" in result(tmp_path, made, "x.reshape(B, -1, 8)", "nn.LayerNorm").reason
