"""An object that code puts somewhere and finds there again is the same one: changing that changes it.

Each way to hand an object on is tried on a buffer that the embedding changes and the stages read, and on the tokens,
which the stages may not change.
"""

import textwrap

import pytest
from sources import result_in_users_file

from codegen.types import Refusal, Split

SOURCE = """
import collections
import copy
import dataclasses
import functools
from functools import lru_cache as memo
import math
import operator
import os
import typing
import weakref

import torch
from torch import nn

STORE = dict()
STACK = []
COUNT = [0]


class Named(typing.NamedTuple):
    t: torch.Tensor


@dataclasses.dataclass
class Data:
    t: torch.Tensor


class Box:
    def __init__(self, t=None):
        self.t = t

    @property
    def doubled(self):
        return self.t.mul_(2)

    def double(self, *given):
        self.t.mul_(2)
        return self

    __enter__ = __exit__ = __ilshift__ = double

    def __len__(self):
        self.double()
        return 1

    def __iter__(self):
        self.double()
        return iter([1])

    def __format__(self, how):
        self.double()
        return ""


class Empty:
    pass


@memo
def table():
    return torch.ones(8)


def put(t):
    STACK.append(t)


def get():
    return STACK.pop()


def make(kind, *args, **options):
    return getattr(nn, kind)(*args, **options)


class Act(nn.Module):
    def __init__(self, act=nn.ReLU, **options):
        super().__init__()
        self.act = act(**options) if options else act()

    def forward(self, x):
        return self.act(x)


class Counting:
    def __counted__(self, *given):
        COUNT[0] += 1
        return 1


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])
        self.norm = nn.LayerNorm(8)
        self.box = Empty()
        self.counting = Counting()
        self.register_buffer("s", torch.ones(8))

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).mT
{first}
        x = x + self.pos_embed
{last}
        for block in self.blocks:
            x = block(x)
        return {given}
"""


def result(first="pass", last="pass", given="x", method="__len__"):
    first, last = (textwrap.indent(part, " " * 8) for part in (first, last))
    source = SOURCE.format(first=first, last=last, given=given).replace("__counted__", method)
    return result_in_users_file(source)


WAYS = [
    "y = Named(d).t",
    "y = Data(d).t",
    "y = Box(d).t",
    "h = Empty()\nh.t = d\ny = h.t",
    "h = Empty()\nsetattr(h, 't', d)\ny = h.t",
    "y = type('H', (), dict(t=d)).t",
    "y = collections.namedtuple('T', 'a b')(d, 1).a",
    "y = operator.itemgetter(0)((d,))",
    "y = (dict(d=d) | dict())['d']",
    "self.tmp = d\ny = self.tmp",
    "self.tmp = [d]\ny = self.tmp[0]",
    "self.box.t = d\ny = self.box.t",
    "self.norm.tmp = d\ny = self.norm.tmp",
    "STORE['t'] = d\ny = STORE['t']",
    "STORE['t'] = d\ny = STORE.pop('t')",
    "STORE.update(t=d)\ny = STORE.get('t')",
    "STACK.append(d)\ny = STACK.pop()",
    "put(d)\ny = get()",
]


@pytest.mark.parametrize("way", WAYS)
def test_the_stages_read_what_the_embedding_changes_by_another_name(way):
    assert isinstance(result(first=f"d = self.s\n{way}\ny.fill_(2.0)", given="x * self.s"), Refusal)


@pytest.mark.parametrize("way", WAYS)
def test_the_stages_do_not_change_the_tokens_by_another_name(way):
    assert isinstance(result(last=f"d = x.detach()\n{way}\ny.mul_(2)"), Refusal)


def test_what_a_function_remembers_by_another_name_is_the_same():
    assert isinstance(result(first="table().mul_(2)", given="x * table()"), Refusal)


CHANGING = [
    "Box(x.detach()).double()",
    "with Box(x.detach()):\n    pass",
    "h = Box(x.detach())\nh <<= 2",
    "if Box(x.detach()):\n    pass",
    "for row in Box(x.detach()):\n    pass",
    "text = f'{Box(x.detach())}'",
    "y = Box(x.detach()).doubled",
    "torch.Tensor.__imul__(x, 2)",
    "f = getattr(torch.Tensor, '__imul__')\nf(x, 2)",
    "torch.Tensor.__getattribute__(x, 'mul_')(2)",
    "operator.attrgetter('mul_')(x)(2)",
    "kw = dict(inplace=True)\nnn.functional.elu(x.detach(), **kw)",
    "a = (x.detach(), 1.0, True)\nnn.functional.celu(*a)",
]


@pytest.mark.parametrize("last", CHANGING)
def test_what_works_in_place_by_any_other_name(last):
    assert isinstance(result(last=last), Refusal)


LAYERS = [
    "functools.partial(nn.ReLU, True)()",
    "(nn.ReLU if True else nn.SiLU)(True)",
    "[nn.ReLU, nn.SiLU][1](True)",
    "getattr(nn, 'ReLU')(True)",
    "nn.modules.activation.ReLU(True)",
    "nn.Sequential().append(nn.ReLU(True))",
    "nn.Sequential(nn.Identity()).extend([nn.ReLU(True)])",
    "nn.Sequential(nn.ReLU(True), nn.Linear(8, 8))[:1]",
    "nn.ReLU(True).eval()",
    "nn.ReLU(True).to('cpu')",
    "nn.ReLU(True).requires_grad_(False)",
    "torch.compiler.disable(nn.ReLU(True))",
    "make('ReLU', True)",
    "make('ReLU', inplace=True)",
    "Act(nn.SiLU, inplace=True)",
    "nn.Sequential(*[nn.Sequential(nn.Hardswish(inplace=i == 0), nn.Linear(8, 8)) for i in range(2)])",
]
NEW = [
    "nn.ReLU().eval()",
    "nn.Linear(8, 8, True)",
    "nn.Linear(8, 8).to('cpu')",
    "nn.Sequential(nn.Linear(8, 8), nn.ReLU(True))",
    "nn.Sequential().append(nn.Linear(8, 8)).append(nn.ReLU())",
    "make('ReLU')",
]


@pytest.mark.parametrize(("layer", "kind"), [*((text, Refusal) for text in LAYERS), *((text, Split) for text in NEW)])
def test_a_layer_that_works_in_place_however_it_is_made(layer, kind):
    made = SOURCE.replace("self.box = Empty()", f"self.act = {layer}")
    found = result_in_users_file(made.format(first="        pass", last="        x = self.act(x.detach())", given="x"))
    assert isinstance(found, kind)


ASKED = [
    ("__setitem__", "self.counting[0] = 1"),
    ("__delitem__", "del self.counting[0]"),
    ("__next__", "next(self.counting)"),
    ("__floor__", "math.floor(self.counting)"),
    ("__copy__", "copy.copy(self.counting)"),
    ("__instancecheck__", "isinstance(x, self.counting)"),
    ("__fspath__", "os.fspath(self.counting)"),
    ("__repr__", "'%r' % self.counting"),
    ("__str__", "'%s %s' % (1, self.counting)"),
    ("__str__", "print(self.counting)"),
    ("__format__", "f'{self.counting}'"),
]


@pytest.mark.parametrize(("method", "first"), ASKED)
def test_an_operation_runs_a_method_that_counts(method, first):
    assert isinstance(result(first=first, given="x * COUNT[0]", method=method), Refusal)


@pytest.mark.parametrize(
    ("first", "given"),
    [
        ("n = 3 in self.box", "x * next(self.box)"),
        ("print(1, file=self.box)", "x * len(self.box.getvalue())"),
    ],
)
def test_what_is_used_up_or_written_to_is_changed(first, given):
    made = SOURCE.replace("self.box = Empty()", "self.box = iter(range(9))")
    source = made.format(first=textwrap.indent(first, " " * 8), last="        pass", given=given)
    assert isinstance(result_in_users_file(source), Refusal)


def test_parts_that_are_put_into_the_table_of_parts_may_be_any():
    made = SOURCE.replace("self.box = Empty()", 'self._modules["last"] = self._modules["norm"]')
    assert isinstance(result_in_users_file(made.format(first="        pass", last="        pass", given="x")), Refusal)


FINE = [
    "y = Named(x).t",
    "h = Empty()\nh.t = x\nx = h.t",
    "y = Data(x + 1).t\ny.mul_(2)",
    "STORE.clear()",
    "self.seen = x",
    "n = 3 in (1, 2, 3)",
    "s = '%d' % x.shape[1]",
    "y = nn.functional.elu(x + 1, **dict(alpha=1.0))",
]


@pytest.mark.parametrize("last", FINE)
def test_what_is_kept_and_not_changed_is_nobodys_concern(last):
    assert isinstance(result(last=last), Split)
