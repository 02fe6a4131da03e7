"""What runs unseen: functions of libraries, functions that attributes and tables hold, operations of Python.

Each writes something before the boundary that the stages read. Where no one writes, the same code is split.
"""

import textwrap

import pytest
from sources import outcomes_of

from codegen.types import Refusal, Split

SOURCE = """
import collections
import dataclasses
import functools
import logging
import operator

import numpy as np
import torch
import torch.nn.functional as F
from another import elsewhere
from torch import nn

SEEN = []
BY_KEY = collections.defaultdict(int)
log = logging.getLogger("tiny")


def note(x, *others):
    SEEN.append(1)
    return x


def halve(x):
    return x / 2


TABLE = {{"note": note}}


class Stem(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Conv2d(3, 8, 2, 2)
        self.batch = 0

    def forward(self, x):
        self.batch = x.shape[0]
        return self.proj(x)


class Apply(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Counting:
    def __init__(self, *_):
        self.count = 0

    def note(self, *_):
        self.count += 1
        SEEN.append(1)
        return 1

    __bool__ = __int__ = __eq__ = __lt__ = __contains__ = __neg__ = __format__ = __matmul__ = __iadd__ = note
    __enter__ = __exit__ = __getitem__ = __iter__ = note


class Scope:
    def __init__(self):
        self.entered = 0

    def __enter__(self):
        self.entered += 1

    def __exit__(self, *_):
        return False


class Memo(dict):
    def __missing__(self, key):
        self[key] = 2
        return 2


class Dying:
    def __del__(self):
        SEEN.append(1)


class New:
    def __new__(cls):
        SEEN.append(1)
        return object.__new__(cls)


@dataclasses.dataclass
class Post:
    def __post_init__(self):
        SEEN.append(1)


class Meta(type):
    def __call__(cls):
        SEEN.append(1)
        return super().__call__()


class OfMeta(metaclass=Meta):
    pass


class Plain:
    def __init__(self):
        self.size = 1


@functools.singledispatch
def dispatched(x):
    SEEN.append(1)
    return x


@elsewhere
def wrapped(x):
    SEEN.append(1)
    return x


@elsewhere
def harmless(x):
    return x


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = Stem()
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))
        self.register_buffer("centre", torch.zeros(8))
        self.norm = nn.LayerNorm(8)
        self.bn = nn.BatchNorm2d(3)
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])
        self.seen = []
        self.size = 1
        {init}

    def note(self, x, *others):
        self.seen.append(1)
        return x

    def forward_features(self, x):
        {first}
        x = self.patch_embed(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return {last}
"""


def result_of(first: str, last: str, init: str = "pass") -> object:
    indented = {name: textwrap.indent(text, " " * 8).strip() for name, text in (("first", first), ("init", init))}
    return outcomes_of(SOURCE.format(last=last, **indented))["Tiny"].result


LIBRARIES = {
    "operator.setitem(self.seen, 0, 1)": "x * len(self.seen)",
    "operator.iadd(self.seen, [x.shape[0]])": "x * len(self.seen)",
    "np.copyto(self.centre, 1)": "x - self.centre",
    "np.random.shuffle(self.seen)": "x * self.seen[0]",
    "functools.reduce(self.note, [x, x])": "x * len(self.seen)",
    "torch.func.functional_call(self.patch_embed, {}, x)": "x * self.patch_embed.batch",
    "torch.vmap(self.patch_embed)(x)": "x * self.patch_embed.batch",
    "torch.nn.utils.vector_to_parameters(x, self.norm.parameters())": "self.norm(x)",
    "torch.rand(1, generator=self.generator)": "x * torch.rand(1, generator=self.generator)",
    "F.batch_norm(x, self.centre, self.centre, training=True)": "x - self.centre",
    "F.embedding(x, self.centre, max_norm=1)": "x - self.centre",
    "F.relu(self.centre, True)": "x - self.centre",
    "self.bn(x)": "x + self.bn.running_mean",
    "x.sum().backward()": "x * self.norm.weight.grad",
    "list(self.norm.parameters())[0].fill_(1)": "x * self.norm.weight",
    "self.norm.eps = x.shape[0]": "self.norm(x)",
    "torch.backends.cudnn.benchmark = True": "x * torch.backends.cudnn.benchmark",
    "log.setLevel(10)": "x * log.level",
    "n = BY_KEY[x.shape[0]]": "x * len(BY_KEY)",
    "n = self.by_key[x.shape[0]]": "x * len(self.by_key)",
    "n = self.memo[x.shape[0]]": "x * len(self.memo)",
}


@pytest.mark.parametrize(("first", "last"), LIBRARIES.items(), ids=LIBRARIES)
def test_what_a_library_writes_is_not_for_the_stages(first, last):
    init = "self.generator = torch.Generator()\nself.by_key = collections.defaultdict(int)\nself.memo = Memo()"
    assert isinstance(result_of(first, last, init), Refusal)


HELD = {
    "a method": "self.function = self.note",
    "a function": "self.function = note",
    "a lambda": "self.function = lambda x: (SEEN.append(1), x)[1]",
    "a lambda that has self": "self.function = lambda x: (self.seen.append(1), x)[1]",
    "a function made here": "def inner(x):\n    SEEN.append(1)\n    return x\nself.function = inner",
    "a partial": "self.function = functools.partial(note, 1)",
    "a partial of a method": "self.function = functools.partial(self.note, 1)",
    "of a table": 'self.function = TABLE["note"]',
    "got from a table": 'self.function = TABLE.get("note")',
    "a class made here": """
seen = self.seen
class Local(nn.Module):
    def forward(self, x):
        seen.append(1)
        return x
self.function = Local()
""",
    "given to a module": "self.function = Apply(note)",
    "a method given to a module": "self.function = Apply(self.note)",
}


@pytest.mark.parametrize("init", HELD.values(), ids=HELD)
def test_a_function_that_an_attribute_holds_is_read_or_may_do_anything(init):
    assert isinstance(result_of("x = self.function(x)", "x * len(SEEN) * len(self.seen)", init), Refusal)


def test_a_part_runs_what_its_constructor_makes_its_forward():
    init = "self.function = Chosen()"
    chosen = """

class Chosen(nn.Module):
    def __init__(self):
        super().__init__()
        self.batch = 0
        self.forward = self.forward_fast

    def forward(self, x):
        return x

    def forward_fast(self, x):
        {}
        return x
"""
    for body, kind in (("self.batch = x.shape[0]", Refusal), ("self.other = x.shape[0]", Split)):
        source = SOURCE.format(first="x = self.function(x)", last="x * self.function.batch", init=init)
        assert isinstance(outcomes_of(source + chosen.format(body))["Tiny"].result, kind)


@pytest.mark.parametrize(
    "init", ["self.function = halve", "self.function = lambda x: x * 2", "self.function = functools.partial(halve)"]
)
def test_a_function_that_writes_nothing_is_harmless(init):
    assert isinstance(result_of("x = self.function(x)", "x * len(SEEN)", init), Split)


@pytest.mark.parametrize(
    "first",
    ["x = TABLE['note'](x)", "list(map(note, [1]))", "list(map(self.note, [1]))", "sorted([1], key=note)"],
)
def test_a_function_that_is_handed_on_may_do_anything(first):
    assert isinstance(result_of(first, "x * len(SEEN) * len(self.seen)"), Refusal)


OPERATIONS = [
    "if self.counting: pass",
    "int(self.counting)",
    "self.counting == 3",
    "3 in self.counting",
    "self.counting < 3",
    "-self.counting",
    "f'{self.counting}'",
    "x = self.counting @ x",
    "counting = self.counting\ncounting += 1",
    "self.counting[0]",
    "for _ in self.counting: pass",
    "with self.counting: pass",
    "while not self.counting: pass",
    "y = 1 if self.counting else 2",
    "y = self.counting and 1",
    "y = [1 for _ in [1] if self.counting]",
    "assert self.counting",
]


@pytest.mark.parametrize("first", OPERATIONS)
@pytest.mark.parametrize("last", ["x * len(SEEN)", "x * self.counting.count"])
def test_an_operation_runs_the_methods_of_its_class(first, last):
    assert isinstance(result_of(first, last, "self.counting = Counting()"), Refusal)


def test_a_scope_that_counts_is_not_entered_for_nothing():
    first, init = "with self.scope:\n    x = x * 2", "self.scope = Scope()"
    assert isinstance(result_of(first, "x * self.scope.entered", init), Refusal)
    assert isinstance(result_of(first, "x", init), Split)


@pytest.mark.parametrize("made", ["Dying", "New", "Post", "OfMeta"])
def test_what_else_an_object_does_when_it_is_made_or_dies_may_be_anything(made):
    assert isinstance(result_of(f"y = {made}()\ny = None", "x * len(SEEN)"), Refusal)
    assert isinstance(result_of("y = Plain()", "x * len(SEEN)"), Split)


@pytest.mark.parametrize("name", ["dispatched", "wrapped"])
def test_a_function_under_a_decorator_does_what_it_says_and_perhaps_more(name):
    assert isinstance(result_of(f"x = {name}(x)", "x * len(SEEN)"), Refusal)
    assert isinstance(result_of("x = harmless(x)", "x * len(SEEN)"), Split)


HARMLESS = {
    "y = F.interpolate(x, scale_factor=2)": "x",
    "y = F.batch_norm(x, None, None)": "x - self.centre",
    "self.bn(x)": "self.bn(x)",
    "log.info('seen')": "x",
    "y = np.prod(x.shape[2:])": "x * self.size",
    "y = torch.linalg.norm(self.centre)": "x - self.centre",
    "y = operator.add(x, 1)": "x - self.centre",
    "y = self.norm.weight.shape": "self.norm(x)",
    "y = len(self.seen)": "x * len(self.seen)",
    "y = sorted([2, 1], key=len)": "x",
    "y = 2 if self.size else 1": "x * self.size",
}


@pytest.mark.parametrize(("first", "last"), HARMLESS.items(), ids=HARMLESS)
def test_what_writes_nothing_is_split(first, last):
    result = result_of(first, last)
    assert isinstance(result, Split), result
