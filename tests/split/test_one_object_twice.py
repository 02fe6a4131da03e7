"""One tensor or module under two names: what the embedding changes by the one, the stages may not read by the other."""

import textwrap

import pytest
from sources import result_in_users_file

from codegen.types import Refusal, Split

SOURCE = """
import dataclasses
import functools
import types

import numpy as np
import torch
from torch import nn

TABLE = np.ones(8, dtype="float32")
WEIGHT = torch.ones(8)


class Keeping(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = 0.0

    def forward(self, x):
        y = x + self.last
        self.last = float(x.mean())
        return y


KEPT = Keeping()


class Single(Keeping):
    one = None

    def __new__(cls):
        cls.one = cls.one or super().__new__(cls)
        return cls.one


class Noted(nn.Module):
    def __init__(self, t):
        super().__init__()
        self.register_buffer("t", t)

    def forward(self, x):
        y = x * (1 + self.t)
        self.t.copy_(x.detach().mean())
        return y


class Learned(Noted):
    def __init__(self, t):
        nn.Module.__init__(self)
        self.t = nn.Parameter(t, requires_grad=False)


class FromNumpy(Noted):
    def __init__(self, t):
        nn.Module.__init__(self)
        self.register_buffer("t", torch.from_numpy(t))


class Owner(nn.Module):
    def __init__(self, part=Keeping()):
        super().__init__()
        self.part = part

    def forward(self, x):
        return self.part(x)


class Holder(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.part = part

    def forward(self, x):
        return self.part(x)


@functools.lru_cache(None)
def remembered():
    return Keeping()


def by_default(part=Keeping()):
    return part


def kept():
    return KEPT


def new():
    part = Keeping()
    return part


MAKE = functools.partial(Holder, KEPT)


class Parts:
    part = Keeping()


POOL = dict(part=Keeping())


class OfGlobal(Holder):
    def __init__(self):
        super().__init__(KEPT)


class OfPool(Holder):
    def __init__(self, name="part"):
        super().__init__(POOL[name])


class GotFromPool(Holder):
    def __init__(self):
        super().__init__(POOL.get("part"))


class OfDefault(Holder):
    def __init__(self, part=KEPT):
        super().__init__(part)


class OfClass(Holder):
    def __init__(self, part=Parts.part):
        super().__init__(part)


class OfItself(Holder):
    common = Keeping()

    def __init__(self):
        super().__init__(self.common)


class OfOther(Holder):
    def __init__(self):
        super().__init__(OfItself.common)


class OfFunction(Holder):
    def __init__(self):
        super().__init__(kept())


class Remembered(Holder):
    def __init__(self):
        super().__init__(remembered())


class LikeOwner(Holder):
    def __init__(self, part=Owner.__init__.__defaults__[0]):
        super().__init__(part)


class FromOwner(Holder):
    def __init__(self):
        super().__init__(Owner().part)


class OfOwn(Holder):
    def __init__(self):
        super().__init__(new())


def pair():
    part = Keeping()
    return (lambda: Holder(part)), (lambda: Holder(part))


ONE, OTHER = pair()


@dataclasses.dataclass
class Config:
    width: int = 8
    part: nn.Module = KEPT


class Configured(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.part = config.part

    def forward(self, x):
        return self.part(x)


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))
{made}
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])

{methods}
    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        {stem}
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return {last}
"""


def result(made, stem, last, methods=""):
    return result_in_users_file(
        SOURCE.format(made=textwrap.indent(made, " " * 8), stem=stem, last=last, methods=methods)
    )


TENSORS = [
    "self.register_buffer('a', torch.ones(8))\nself.register_buffer('b', self.a)",
    "self.register_buffer('a', torch.ones(8))\nself.register_buffer(name='b', tensor=self.a)",
    "self.register_buffer('a', torch.ones(2, 8))\nself.register_buffer('b', self.a[0])",
    "self.a = nn.Parameter(torch.ones(8))\nself.b = self.a",
    "self.a = nn.Parameter(torch.ones(8))\nself.b = nn.Parameter(self.a.data)",
    "self.a = nn.Parameter(torch.ones(8))\nself.register_buffer('b', self.a.detach())",
    "w = torch.ones(8)\nself.register_buffer('a', w)\nself.register_buffer('b', w)",
    "w = torch.ones(8)\nself.a = nn.Parameter(w)\nself.b = nn.Parameter(w)",
    "self.register_buffer('a', torch.from_numpy(TABLE))\nself.register_buffer('b', torch.from_numpy(TABLE))",
    "self.register_buffer('a', WEIGHT)\nself.register_buffer('b', WEIGHT)",
]


@pytest.mark.parametrize("made", TENSORS)
def test_a_tensor_under_two_names(made):
    assert isinstance(result(made, "self.a.data.add_(x.detach().mean())", "x * self.b"), Refusal)
    assert isinstance(result(made, "x = x * self.a", "x * self.b"), Split)


def test_a_tensor_that_another_method_gives_a_second_name():
    tie = "    def tie(self):\n        self.b = self.a\n"
    made = "self.register_buffer('a', torch.ones(8))\nself.tie()"
    assert isinstance(result(made, "self.a.add_(x.detach().mean())", "x * self.b", tie), Refusal)


@pytest.mark.parametrize(
    "made",
    [
        "self.register_buffer('a', torch.ones(8))\nself.register_buffer('b', torch.ones(8))",
        "self.register_buffer('a', torch.ones(8))\nself.register_buffer('b', self.a.clone())",
        "w = torch.ones(8)\nself.register_buffer('a', torch.zeros(8))\nself.register_buffer('b', w)",
    ],
)
def test_tensors_of_their_own(made):
    assert isinstance(result(made, "self.a.data.add_(x.detach().mean())", "x * self.b"), Split)


MODULES = [
    "self.a, self.b = remembered(), remembered()",
    "self.a = remembered()\nself.b = remembered()",
    "self.a = by_default()\nself.b = by_default()",
    "self.a = kept()\nself.b = kept()",
    "self.a = Single()\nself.b = Single()",
    "self.a = Owner()\nself.b = Owner()",
    "part = Keeping()\nself.a = Holder(part)\nself.b = Holder(part)",
    "make = functools.partial(Holder, part=Keeping())\nself.a, self.b = make(), make()",
    "self.make = functools.partial(Holder, Keeping())\nself.a = self.make()\nself.b = self.make()",
    "self.a = MAKE()\nself.b = MAKE()",
    "self.a = Configured(Config())\nself.b = Configured(Config())",
    "parts = [Keeping()]\nself.a = Holder(parts[0])\nself.b = Holder(parts[0])",
    "s = Keeping()\nb = s\nself.a = Holder(s)\nself.b = Holder(b)",
    "s = Keeping()\nb = None or s\nself.a = Holder(s)\nself.b = Holder(b)",
    "s = Keeping()\nb = s if s is not None else None\nself.a = Holder(s)\nself.b = Holder(b)",
    "s = b = Keeping()\nself.a = Holder(s)\nself.b = Holder(b)",
    "s: nn.Module = Keeping()\nb: nn.Module = s\nself.a = Holder(s)\nself.b = Holder(b)",
    "self.a = Holder(s := Keeping())\nself.b = Holder(s)",
    "b = (s := Keeping())\nself.a = Holder(s)\nself.b = Holder(b)",
    "(s,), (b,) = [[Keeping()]] * 2\nself.a = Holder(s)\nself.b = Holder(b)",
    "s, b = [Keeping()] * 2\nself.a = Holder(s)\nself.b = Holder(b)",
    "parts = [Keeping()] * 2\nself.a = Holder(parts[0])\nself.b = Holder(parts[1])",
    "for s in [Keeping()]:\n    self.a = Holder(s)\n    self.b = Holder(s)",
    "pool = nn.ModuleDict(dict(a=Keeping()))\nself.a = Holder(pool['a'])\nself.b = Holder(pool.a)",
    "self.c = nn.ModuleDict(dict(a=Keeping()))\ns = self.c['a']\nself.a = Holder(s)\nself.b = Holder(self.c.a)",
    "kw = functools.partial(Holder, Keeping())\ns = kw.args[0]\nself.a = Holder(s)\nself.b = kw()",
    "self.a = Holder(Keeping())\nself.b = Holder(self.get_submodule('a.part'))",
    "self.a = Holder(Keeping())\ns = self.get_submodule('a').part\nself.b = Holder(s)",
    "self.a = Holder(Keeping())\nself.b = Holder([m for m in self.modules() if isinstance(m, Keeping)][0])",
    "self.a = Holder(Keeping())\nself.b = Holder(next(m for m in self.modules() if isinstance(m, Keeping)))",
    "self.a = Holder(Keeping())\nself.b = Holder(dict(self.named_modules())['a.part'])",
    "self.a = Holder(Keeping())\nself.b = Holder(self.a.__dict__['_modules']['part'])",
    "self.a = Holder(Keeping())\nself.b = Holder(getattr(self, 'a').part)",
    "self.a = Holder(Keeping())\nself.b = Holder(list(self.children())[-1])",
    "self.a = Owner()\nself.b = Holder(Owner.__init__.__defaults__[0])",
    "self.a = Holder(Keeping())\nself.b = Holder(vars(self.a)['_modules']['part'])",
    "keep = lambda: s\ns = Keeping()\nself.a = Holder(keep())\nself.b = Holder(keep())",
    "box = types.SimpleNamespace(part=Keeping())\nself.a = Holder(box.part)\nself.b = Holder(box.part)",
    "t = torch.zeros(())\nself.a = Noted(t)\nself.b = Noted(t)",
    "t = torch.zeros(())\ns = Noted(t)\nb = Noted(t)\nself.a = Holder(s)\nself.b = Holder(b)",
    "t = torch.zeros(())\nself.a = Learned(t)\nself.b = Learned(t)",
    "self.a = FromNumpy(TABLE)\nself.b = FromNumpy(TABLE)",
    "self.a = Noted(WEIGHT)\nself.b = Noted(WEIGHT)",
]


@pytest.mark.parametrize("made", MODULES)
def test_a_module_that_is_reached_in_two_ways(made):
    assert isinstance(result(made, "x = self.a(x)", "self.b(x)"), Refusal)


OUTSIDE = [
    ("OfGlobal()", "OfDefault()"),
    ("OfGlobal()", "OfFunction()"),
    ("OfGlobal()", "Holder(KEPT)"),
    ("OfDefault()", "OfDefault()"),
    ("OfPool()", "GotFromPool()"),
    ("OfClass()", "Holder(Parts.part)"),
    ("OfItself()", "OfOther()"),
    ("Remembered()", "Remembered()"),
    ("Owner()", "LikeOwner()"),
    ("Owner()", "FromOwner()"),
    ("ONE()", "OTHER()"),
]


@pytest.mark.parametrize(("one", "other"), OUTSIDE)
def test_a_module_that_two_classes_take_from_elsewhere(one, other):
    found = result(f"self.a = {one}\nself.b = nn.Sequential({other})", "x = self.a(x)", "self.b(x)")
    assert isinstance(found, Refusal)


def test_a_variable_that_an_attribute_is_set_on_is_not_bound_anew():
    made = "s = Keeping()\nb = s\nb.frozen = True\nself.a = Holder(s)\nself.b = Holder(b)"
    assert isinstance(result(made, "x = self.a(x)", "self.b(x)"), Refusal)


OWN = [
    "s = Keeping()\nb = Keeping()\nself.a = Holder(s)\nself.b = Holder(b)",
    "t = torch.zeros(())\nself.a = Noted(t)\nself.b = nn.LayerNorm(8)",
    "self.a = Noted(torch.zeros(()))\nself.b = Noted(torch.zeros(()))",
    "rates = [float(r) for r in torch.linspace(0, 0.1, 2)]\nself.a = Keeping()\nself.b = nn.Dropout(rates[1])",
    "self.dim = {'a': 8}['a']\nw = torch.zeros(1, 1, self.dim)\nself.a = Keeping()\nself.b = nn.LayerNorm([self.dim])",
    "dim = self.pos_embed.shape[-1]\nself.a = Keeping()\nself.b = nn.LayerNorm(dim)",
    "self.a = new()\nself.b = new()",
    "self.a = Holder(new())\nself.b = Holder(new())",
    "make = functools.partial(nn.LayerNorm, eps=1e-6)\nself.a, self.b = make(8), make(8)",
    "self.a = OfOwn()\nself.b = OfOwn()",
    "self.a = OfGlobal()\nself.b = OfOwn()",
]


@pytest.mark.parametrize("made", OWN)
def test_modules_of_their_own(made):
    assert isinstance(result(made, "x = self.a(x)", "self.b(x)"), Split)
