"""State in a module of the user, which several files know by different names, is one."""

from pathlib import Path

import pytest

from codegen.generate import analyse
from codegen.source.release import find_release
from codegen.types import Refusal, Split

NET = """
import importlib
import sys

import torch
from torch import nn

from . import lazy, state
from .stem import Stem
from .state import *
from .state import CFG, Config, SCALE, get, mark


def late():
    from . import state as known

    return known.CFG.factor


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = Stem(3, 8, 4, 4)
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x * {read}
"""
STEM = """
import importlib

from torch import nn

from . import lazy, state
from .state import CFG, Config, SCALE, mark


class Stem(nn.Conv2d):
    kept = SCALE

    def forward(self, x):
        x = super().forward(x)
        {write}
        return x
"""
STATE = """
import collections

SCALE = [1.0]
LAST = collections.deque([1.0], maxlen=1)
FIXED = 2.0


def get():
    return SCALE[0]


def double(x):
    return x * 2


def mark(x):
    mark.m = float(x.mean())


class Config:
    scale = 1.0

    def __init__(self):
        self.factor = 1.0

    def put(self, value):
        self.factor = value

    @staticmethod
    def set(value):
        Config.scale = value

    @classmethod
    def keep(cls, value):
        cls.scale = value


CFG = Config()
"""


LAZY = """
SEEN = [1.0]


def __getattr__(name):
    if name == "counted":
        SEEN.append(1.0)
        return len(SEEN)
    raise AttributeError(name)
"""


def result(tmp_path: Path, write: str, read: str) -> Split | Refusal:
    package = tmp_path / "package"
    package.mkdir()
    texts = {
        "__init__": "",
        "net": NET.format(read=read),
        "stem": STEM.format(write=write),
        "state": STATE,
        "lazy": LAZY,
    }
    for name, text in texts.items():
        (package / f"{name}.py").write_text(text, encoding="utf-8")
    outcomes = analyse(find_release(None, package, announce=lambda message: None))
    return next(outcome.result for outcome in outcomes if outcome.name == "Net")


@pytest.mark.parametrize(
    ("write", "read"),
    [
        ("state.SCALE[:] = [float(x.mean())]", "get()"),
        ("state.SCALE[:] = [float(x.mean())]", "SCALE[0]"),
        ("SCALE[0] = float(x.mean())", "state.SCALE[0]"),
        ("SCALE[0] = float(x.mean())", "state.get()"),
        ("state.LAST.append(float(x.mean()))", "state.LAST[0]"),
        ("state.CFG.put(float(x.mean()))", "CFG.factor"),
        ("CFG.put(float(x.mean()))", "state.CFG.factor"),
        ("state.Config.set(float(x.mean()))", "Config.scale"),
        ("Config.set(float(x.mean()))", "Config.scale"),
        ("Config.keep(float(x.mean()))", "state.Config.scale"),
        ("state.mark(x)", "mark.m"),
        ("mark(x)", "state.mark.m"),
        ("state.SCALE = [float(x.mean())]", "state.SCALE[0]"),
        ("self.kept[0] = float(x.mean())", "SCALE[0]"),
        ("self.kept[0] = float(x.mean())", "get()"),
        ("from .state import CFG as c; c.factor = float(x.mean())", "CFG.factor"),
        ("from . import state as s; s.CFG.factor = float(x.mean())", "state.CFG.factor"),
        ("importlib.import_module('package.state').CFG.factor = float(x.mean())", "CFG.factor"),
        ("CFG.factor = float(x.mean())", "late()"),
        ("state.CFG.put(float(x.mean()))", "late()"),
        ("SCALE[0] = float(x.mean())", "importlib.import_module('package.state').SCALE[0]"),
        ("CFG.factor = float(x.mean())", "sys.modules['package.state'].CFG.factor"),
        ("x = x * lazy.counted", "lazy.counted"),
        ("x = x * getattr(lazy, 'counted')", "getattr(lazy, 'counted')"),
    ],
)
def test_what_the_embedding_writes_by_one_name_the_stages_may_not_read_by_another(tmp_path, write, read):
    assert isinstance(result(tmp_path, write, read), Refusal)


@pytest.mark.parametrize(
    ("write", "read"),
    [
        ("pass", "get()"),
        ("pass", "state.FIXED"),
        ("pass", "lazy.SEEN[0]"),
        ("x = state.double(x)", "state.FIXED"),
        ("x = x * state.FIXED", "CFG.factor"),
    ],
)
def test_what_nobody_writes_may_be_read(tmp_path, write, read):
    assert isinstance(result(tmp_path, write, read), Split)
