"""A method that runs the stem and the blocks is written out in the place of its call, where that is the same."""

import importlib
import itertools

import pytest
import torch
from sources import result_in_users_file

from codegen.generate import generate
from codegen.package.writer import write_package
from codegen.source.release import find_release
from codegen.types import Refusal, Split

SOURCE = """
import torch
from torch import nn

SCALE = 2.0


class M(nn.Module):
    def __init__(self, aux=False):
        super().__init__()
        self.aux = aux
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.blocks = nn.ModuleList([nn.Conv2d(8, 8, 1)])
        self.norm = nn.Identity()
        self.head = nn.Linear(8, 3)
        {made}

    def encode(self, x{parameters}):
        {begin}
        x = self.patch_embed(x)
        B = x.shape[0]
        for block in self.blocks:
            x = block(x)
        x = x.flatten(2).mean(-1)
        {returned}

    def forward_features(self, {images}, scale=1.0):
        {before}
        {call}
        {after}

{more}
"""
DEFAULTS = {
    "parameters": "",
    "begin": "pass",
    "returned": "return x",
    "images": "x",
    "before": "pass",
    "call": "x = self.encode(x)",
    "after": "return self.head(x)",
    "made": "pass",
    "more": "",
}


def source(**parts):
    text = SOURCE
    for name, part in {**DEFAULTS, **parts}.items():
        text = text.replace("{" + name + "}", part if name == "more" else part.replace("\n", "\n        "))
    return text


SAME = {
    "a head follows": {},
    "it is returned": {"call": "return self.encode(x)", "after": ""},
    "under another name": {"images": "imgs", "call": "x = self.encode(imgs)"},
    "by keyword": {"images": "imgs", "call": "feats = self.encode(x=imgs)", "after": "return self.head(feats)"},
    "the images are read later": {
        "images": "imgs",
        "call": "x = self.encode(imgs)",
        "after": "return self.head(x) + imgs.mean()",
    },
    "several things": {
        "returned": "return x, B, x.mean(-1)",
        "call": "x, B, mean = self.encode(x)",
        "after": "return self.head(x) * mean[:, None]",
    },
    "several under other names": {
        "returned": "return x, B",
        "call": "(feats, number) = self.encode(x)",
        "after": "return self.head(feats).reshape(number, -1)",
    },
    "a default": {"parameters": ", scale=3.0", "returned": "return x * scale", "call": "x = self.encode(x)"},
    "a constant": {"parameters": ", by", "returned": "return x * by", "call": "x = self.encode(x, 0.5)"},
    "a parameter": {"parameters": ", by=1", "returned": "return x * by", "call": "x = self.encode(x, by=scale)"},
    "computed": {"parameters": ", by=1", "returned": "return x * by", "call": "x = self.encode(x * 2, scale + 1)"},
    "two returns": {
        "returned": "if self.aux:\n    return x, B\nelse:\n    return x * 2",
        "call": "x = self.encode(x)",
        "after": "return self.head(x) if torch.is_tensor(x) else x",
    },
    "a return and another": {
        "returned": "if self.aux:\n    return x\nx = x * 2\nif B > 1:\n    x = x + 1\n    return x - 1\nreturn x"
    },
    "two returns of one": {"returned": "if self.aux:\n    return x\nelse:\n    return x"},
    "a name before and inside": {"before": "B, C, H, W = x.shape"},
    "a name inside and after": {"after": "B = x.sum()\nreturn self.head(x) * B"},
    "a global": {"returned": "return x * SCALE"},
    "arguments that are not read": {"parameters": ", *args, **kwargs"},
    "a method that calculates before": {
        "before": "x = self.scaled(x)",
        "more": "    def scaled(self, x):\n        return x",
    },
}


@pytest.mark.parametrize("case", SAME)
def test_the_halves_do_what_the_method_does(case, tmp_path, monkeypatch):
    name = f"inlined_{list(SAME).index(case)}"
    (tmp_path / f"{name}.py").write_text(source(**SAME[case]))
    write_package(
        tmp_path / f"{name}_splits", generate(find_release(None, tmp_path / f"{name}.py", announce=str)).files
    )
    monkeypatch.syspath_prepend(tmp_path)
    models, splits = (importlib.import_module(module) for module in (name, f"{name}_splits"))
    for aux in (False, True):
        splits.check(splits.split(models.M(aux)), torch.randn(2, 3, 8, 8))
    split = result_in_users_file(source(**SAME[case]))
    assert "self.patch_embed" in split.embed.body[-1]


LEFT = {
    "a name inside and after, bound before": {"before": "B = 7", "after": "return self.head(x) * B"},
    "a parameter that is read after": {"parameters": ", scale=3.0", "after": "return self.head(x) * scale"},
    "a global that is a parameter here": {"returned": "return x * scale", "more": "scale = 5.0"},
    "a global that is bound before": {"returned": "return x * SCALE", "before": "SCALE = 5.0"},
    "a global that is bound after": {"returned": "return x * SCALE", "after": "SCALE = 5.0\nreturn x * SCALE"},
    "the images are bound inside and read after": {
        "call": "feats = self.encode(x)",
        "after": "return self.head(feats) + x.mean()",
    },
    "a function sees the name": {"before": "B = 7\nlater = lambda: B", "after": "return self.head(x) * later()"},
    "a function inside sees the name": {
        "returned": "later = lambda: B\nreturn x, later",
        "call": "x, later = self.encode(x)",
        "after": "B = 7\nreturn self.head(x) * later()",
    },
    "arguments that change places": {"parameters": ", y", "images": "y, x=None", "call": "x = self.encode(y, x)"},
    "arguments in a list": {"call": "x = self.encode(*[x])"},
    "arguments that are read": {"parameters": ", **kwargs", "returned": "return x * (1 + len(kwargs))"},
    "more arguments": {"parameters": ", *args", "call": "x = self.encode(x, 1)"},
    "a default that is made": {"parameters": ", by=[]", "returned": "return x * len(by)"},
    "a return in a loop": {"returned": "for block in self.blocks:\n    return x"},
    "no return": {"returned": "if self.aux:\n    return x"},
    "a decorator": {"more": "M.encode = torch.no_grad()(M.encode)"},
    "another on an object": {"more": "def make(fast):\n    m = M()\n    m.encode = fast\n    return m"},
    "after a stem": {"call": "x = self.norm(self.patch_embed(x))\nx = self.encode(x)"},
    "an attribute": {"made": "self.encode = nn.Identity()"},
}


@pytest.mark.parametrize("case", LEFT)
def test_what_may_be_something_else_is_refused(case):
    assert isinstance(result_in_users_file(source(**LEFT[case])), Refusal)


@pytest.mark.parametrize("order", [*itertools.permutations(["x", "mask", "y"])])
def test_the_order_of_what_is_given_does_not_matter(order):
    given = ", ".join(f"{name}={name}" for name in order)
    parts = {"parameters": ", mask, y", "images": "x, mask=1, y=2", "returned": "return x * mask * y"}
    assert isinstance(result_in_users_file(source(**parts, call=f"x = self.encode({given})")), Split)


PYRAMID = """
from torch import nn


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.downsample_layers = nn.ModuleList([nn.Conv2d(8 if i else 3, 8, 2, 2) for i in range(2)])
        self.stages = nn.ModuleList([nn.Conv2d(8, 8, 1) for _ in range(2)])
        self.head = nn.Linear(8, 3)

    def forward_features(self, x):
        for i in range(2):
            x = self.downsample_layers[i](x)
            x = self.stages[i](x)
        return x.mean((2, 3))

    def forward(self, x):
        x = self.forward_features(x)
        return self.head(x)
"""


def test_a_loop_over_stages_in_another_method_is_opened_there():
    split = result_in_users_file(PYRAMID, method="forward")
    assert split.embed.body == ("x = self.downsample_layers[0](x)",)
    assert split.forward_stages.body[-1] == "return self.head(x)"
