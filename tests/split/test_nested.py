"""A stem inside the statement that runs the blocks gets one of its own, where that is the same."""

import importlib
import textwrap

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
from torch.nn import functional as F


class M(nn.Module):
    def __init__(self, depth=2):
        super().__init__()
        self.depth = depth
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.pos_embed = nn.Parameter(torch.randn(1, 8, 1, 1))
        self.pos_drop = nn.Dropout(0.1)
        self.blocks = nn.Sequential(*[nn.Conv2d(8, 8, 1) for _ in range(depth)])
        self.downsample_layers = nn.ModuleList([nn.Conv2d(8 if i else 3, 8, 2, 2) for i in range(depth)])
        self.stages = nn.ModuleList([nn.Conv2d(8, 8, 1) for _ in range(depth)])
        self.norm = nn.Identity()
        self.head = nn.Linear(8, 3)

    def encode(self, x):
        x = self.patch_embed(x)
        x = self.blocks(x)
        return x.mean((2, 3))

    def swap(self, x):
        self.blocks, self.norm = self.norm, self.blocks
        return x

    def forward_features(self, x, other=1):
{body}
"""


def source(body):
    return SOURCE.replace("{body}", textwrap.indent(body, " " * 8))


APART = {
    "x = self.blocks(self.patch_embed(x))\nreturn x": "x = self.patch_embed(x)",
    "return self.norm(self.blocks(self.patch_embed(x)))": "x = self.patch_embed(x)",
    "# comment\nreturn self.blocks(self.pos_drop(self.patch_embed(x) + self.pos_embed)).mean(1)": (
        "# comment\nx = self.pos_drop(self.patch_embed(x) + self.pos_embed)"
    ),
    "x = self.patch_embed(x)\nreturn F.relu(self.blocks(x + self.pos_embed))": "x = x + self.pos_embed",
    "x = self.patch_embed(x)\nx = self.blocks(\n    x\n    + self.pos_embed\n)[:, 0] + 1\nreturn x": (
        "x = (x\n    + self.pos_embed)"
    ),
    "feats = self.blocks(self.patch_embed(x))\nreturn feats": "feats = self.patch_embed(x)",
    "y = self.blocks(self.patch_embed(x))\nreturn y, x": "y = self.patch_embed(x)",
    "embed = self.patch_embed\nx = self.blocks(embed(x))\nreturn x": "x = embed(x)",
    "(x, y) = self.blocks(self.patch_embed(x)).split(4, 1)\nreturn x + y": "x = self.patch_embed(x)",
    "for down, stage in zip(self.downsample_layers, self.stages):\n    x = stage(down(x))\nreturn x": (
        "x = self.downsample_layers[0](x)"
    ),
    "for i in range(self.depth):\n    x = self.stages[i](self.downsample_layers[i](x))\nreturn x": (
        "x = self.downsample_layers[0](x)"
    ),
    "for a, b in zip(self.downsample_layers, self.stages):\n    x = F.gelu(b(self.norm(a(x))))\nreturn x": (
        "x = self.norm(x)"
    ),
    "return self.head(self.encode(x))": "x = self.patch_embed(x)",
    "x = self.head(self.norm(self.encode(x)) * other)\nreturn x": "x = self.patch_embed(x)",
    "return self.encode(x).relu() * 2": "x = self.patch_embed(x)",
    "x = self.blocks(self.patch_embed(x + (é := 0) if False else x))\nreturn x": "",
}


@pytest.mark.parametrize("body", APART)
def test_the_halves_do_what_the_method_does(body, tmp_path, monkeypatch):
    if not APART[body]:
        assert isinstance(result_in_users_file(source(body)), Refusal)
        return
    name = f"nested_{list(APART).index(body)}"
    (tmp_path / f"{name}.py").write_text(source(body), encoding="utf-8")
    package = generate(find_release(None, tmp_path / f"{name}.py", announce=str))
    write_package(tmp_path / f"{name}_splits", package.files)
    monkeypatch.syspath_prepend(tmp_path)
    models, splits = (importlib.import_module(module) for module in (name, f"{name}_splits"))
    splits.check(splits.split(models.M()), torch.randn(2, 3, 8, 8))
    split = result_in_users_file(source(body))
    assert isinstance(split, Split)
    assert split.embed.body[-1] == APART[body]


@pytest.mark.parametrize(
    "body",
    [
        "x = self.blocks(self.patch_embed(x)) + x",
        "x = self.blocks(self.patch_embed(self.swap(x)))\nreturn x",
        "x = x.sub(self.blocks(self.patch_embed(x)))\nreturn x",
        "x = other.sub(self.blocks(self.patch_embed(x)))\nreturn x",
        "self.kept = self.blocks(self.patch_embed(x))\nreturn x",
        "x = self.blocks(self.patch_embed(y := x))\nreturn x + y",
        "x = self.blocks(*[self.patch_embed(x)])\nreturn x",
        "x = (lambda y: self.blocks(self.patch_embed(y)))(x)\nreturn x",
        "return self.head(self.encode(x)) + x.mean()",
        "return nn.Sequential(self.blocks)(self.pos_drop(self.patch_embed(x)))",
        "return self.stages[int(torch.rand(1))](self.pos_drop(self.patch_embed(x)))",
    ],
)
def test_what_would_be_evaluated_in_another_order_is_refused(body):
    assert isinstance(result_in_users_file(source(body)), Refusal)
