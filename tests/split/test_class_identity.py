"""A model whose result may depend on the class that it is of is refused: its split is of another."""

import pytest
from sources import result_in_users_file

from codegen.types import Refusal, Split

SOURCE = """
import functools
import inspect
import sys
import warnings

import torch
from torch import nn


def name_of(module):
    return len(module.__class__.__name__)


def handed_on(model, factor):
    return factor * name_of(model)


def caller():
    return len(inspect.currentframe().f_back.f_code.co_name)


@functools.singledispatch
def gain(model):
    return 1.0


@gain.register(nn.Module)
def _(model):
    return 2.0 if model.__class__.__name__ == "M" else 3.0


def mark(module):
    module.factor = len(module.__class__.__name__)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def up(self):
        return len(self.owner[0].__class__.__name__)

    def has(self):
        return 2 if any(hasattr(m, "embed") for m in self.owner) else 1

    def forward(self, x):
        return self.fc(x) * len(type(self).__name__)


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))
        self.blocks = nn.ModuleList([Block()])
        self.factor = 2
        {made}

    {methods}

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x * {result}
"""


def result(made="pass", methods="flag = True", result="1"):
    return result_in_users_file(SOURCE.format(made=made, methods=methods.replace("; ", "\n        "), result=result))


@pytest.mark.parametrize(
    "parts",
    [
        {"made": "self.factor = 2 if type(self) is M else 1"},
        {"made": "self.key = self.__class__.__name__"},
        {"methods": "def k(self):; return 2 if type(self) is M else 1", "result": "self.k()"},
        {"methods": "@property\n    def k(self):; return len(type(self).__name__)", "result": "self.k"},
        {"methods": "@classmethod\n    def k(cls):; return 2 if cls is M else 1", "result": "self.k()"},
        {"methods": "@classmethod\n    def k(cls):; return len(cls.__name__)", "result": "self.k()"},
        {"methods": "def k(self):; return len(repr(self))", "result": "self.k()"},
        {"methods": "def k(self):; return len(f'{self}')", "result": "self.k()"},
        {"methods": "def k(self):; return len(self.__module__)", "result": "self.k()"},
        {"methods": "def k(self):; return 2 if hasattr(self, 'embed') else 1", "result": "self.k()"},
        {"result": "len(self._get_name())"},
        {"result": "len(str(self))"},
        {"methods": "def k(self):; method = self.k; return len(method.__qualname__)", "result": "self.k()"},
        {"result": "name_of(self)"},
        {"result": "handed_on(factor=2, model=self)"},
        {"result": "len(inspect.stack()[0].function)"},
        {"methods": "def k(self):; return len(sys._getframe(1).f_code.co_name)", "result": "self.k()"},
        {"methods": "def k(self):; return caller()", "result": "self.k()"},
        {"result": "gain(self)"},
        {"methods": "def k(self):; self.apply(mark); return self.factor", "result": "self.k()"},
        {"made": "self.blocks[0].owner = [self]", "result": "self.blocks[0].up()"},
        {"made": "self.blocks[0].owner = (self,)", "result": "self.blocks[0].has()"},
        {"made": "self.owner = lambda: self", "result": "name_of(self.owner())"},
        {"methods": "def k(self):; f = self.forward_features; return name_of(f.__self__)", "result": "self.k()"},
        {"result": "len(self.forward_features.__code__.co_names)"},
        {"methods": "def __eq__(self, other):; return other.__class__ is M", "result": "(2 if self == self else 1)"},
        {"methods": "def k(self):; me = self; return name_of(me)", "result": "self.k()"},
        {"methods": "def k(self):; return sum(map(name_of, [self]))", "result": "self.k()"},
        {"methods": "def k(self):; return sum(name_of(m) for m in self.modules())", "result": "self.k()"},
        {"methods": "def me(self):; return self", "result": "name_of(self.me())"},
        {"result": "len('%s' % self)"},
        {"result": "len('%s %d' % (self, 1))"},
        {"result": "len(ascii(self))"},
        {"result": "len(object.__repr__(self))"},
        {"result": "len(nn.Module.__repr__(self))"},
        {"result": "len(list(map(str, [self]))[0])"},
        {"result": "len(inspect.getmembers(self))"},
        {"result": "len(inspect.getsource(self.forward_features))"},
        {"result": "len(self.forward_features.__module__)"},
        {"result": "len(str(self.forward_features))"},
        {"result": "len(self.__doc__ or '')"},
        {"result": "len(self.__dir__())"},
        {"result": "len(torch.typename(self))"},
        {"result": "len(functools.partial(str, self)())"},
    ],
)
def test_a_model_that_asks_what_it_is_is_refused(parts):
    found = result(**parts)
    assert isinstance(found, Refusal)
    assert "asks for the class of self" in found.reason


@pytest.mark.parametrize(
    "parts",
    [
        {"made": "assert self.factor, type(self).__name__"},
        {"made": "if not self.factor:\n            raise ValueError(f'{self.__class__.__name__} has none')"},
        {"made": "warnings.warn(f'{type(self).__name__} is new')"},
        {"methods": "def __repr__(self):; return self.__class__.__name__"},
        {"methods": "def k(self):; return nn.Module.__call__(self.blocks[0], 1)"},
        {"result": "len('%d' % 3)"},
        {"methods": "def k(self):; return isinstance(self, nn.Module)", "result": "self.k()"},
        {"methods": "def export(self):; return {'name': type(self).__name__}"},
        {"methods": "@classmethod\n    def small(cls):; return cls()"},
        {"methods": "@classmethod\n    def k(cls):; return cls.flag\n    flag = 2", "result": "self.k()"},
        {"made": "self.factor = 1 if hasattr(self, 'other') else 2"},
        {"result": "name_of(self.blocks[0])"},
        {"methods": "def export(self):; return name_of(self)"},
        {"methods": "def export(self):; return caller()"},
        {"made": "self.blocks[0].owner = [self]"},
        {"made": "self.apply(lambda m: isinstance(m, nn.Linear))"},
        {"made": "self.apply(mark)"},
        {"made": "nn.Module.__init__(self)"},
        {"methods": "def k(self):; return 2 if type(self.factor) is int else 1", "result": "self.k()"},
    ],
)
def test_what_is_only_said_or_does_not_run_is_not_asked(parts):
    assert isinstance(result(**parts), Split)
