"""What runs behind an operation, an attribute or a default value may keep something that the stages read."""

import textwrap

import pytest
from sources import result_in_users_file

from codegen.types import Refusal, Split

SOURCE = """
import math

import torch
from torch import nn

LOG = [0.0]
{top}

class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))
{made}
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
{stem}
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return {last}
"""


def result(top="", made="pass", stem="pass", last="x"):
    made, stem = (textwrap.indent(part, " " * 8) for part in (made, stem))
    return result_in_users_file(SOURCE.format(top=top, made=made, stem=stem, last=last))


COUNTING = """
class Key:
    def __init__(self):
        self.asked = 0

    def {method}(self, *given):
        {keep}
        return {answer}


KEY = Key()
"""
OPERATIONS = [
    ("__hash__", "1", "table = {self.key: 2}"),
    ("__hash__", "1", "seen = {self.key}"),
    ("__hash__", "1", "seen = {self.key for _ in range(2)}"),
    ("__hash__", "1", "seen = hash(self.key)"),
    ("__index__", "0", "x = x + x[:, self.key, None]"),
    ("__index__", "0", "x = x[:, self.key:]"),
    ("__index__", "1", "x = x.repeat(1, self.key, 1)"),
    ("__float__", "4.0", "x = x * math.sqrt(self.key)"),
    ("__iter__", "iter([1, 1])", "sizes = [0, *self.key]"),
    ("__iter__", "iter([1, 1])", "first, second = self.key"),
    ("__lt__", "True", "first = sorted([self.key, self.key])"),
    ("__eq__", "True", "same = (self.key, 1) == (2, 1)"),
    ("__eq__", "True", "same = 2 in [self.key]"),
    ("__rmul__", "2 * given[0]", "x = x * KEY"),
    ("__bool__", "True", "x = x if KEY else x + 1"),
]


@pytest.mark.parametrize(("method", "answer", "stem"), OPERATIONS, ids=[stem for _, _, stem in OPERATIONS])
def test_a_method_behind_an_operation_may_keep_something(method, answer, stem):
    last = "x * KEY.asked" if "KEY" in stem else "x * self.key.asked"
    keeping = COUNTING.format(method=method, keep="self.asked += 1", answer=answer)
    assert isinstance(result(keeping, "self.key = Key()", stem, last), Refusal)
    asking = COUNTING.format(method=method, keep="pass", answer=answer)
    assert isinstance(result(asking, "self.key = Key()", stem, last), Split)


PROPERTIES = [
    "note = property(lambda self: 0, lambda self, value: self.log.append(value))",
    "note = property(read, write)",
    "@property\n    def first(self):\n        return 0\n    @first.setter\n    def first(self, value):\n"
    "        self.log.append(value)\n    note = first",
    "note = Descriptor()",
    "note = GLOBAL",
]
PART = """
def read(self):
    return 0


def write(self, value):
    self.log.append(float(value))


class Descriptor:
    def __set__(self, owner, value):
        owner.log.append(float(value))


GLOBAL = property(read, write)


class Part(nn.Module):
    log = [0.0]
    {member}

    def forward(self, x):
        self.note = 1.0
        return x
"""


@pytest.mark.parametrize("member", PROPERTIES)
def test_binding_an_attribute_may_run_code_of_the_class(member):
    top = PART.format(member=member)
    assert isinstance(result(top, "self.part = Part()", "x = self.part(x)", "x * self.part.log[-1]"), Refusal)


def test_an_attribute_of_the_class_that_is_a_plain_value_runs_nothing():
    top = PART.format(member="note = 0.0")
    assert isinstance(result(top, "self.part = Part()", "x = self.part(x)", "x * self.part.log[-1]"), Split)


READING = """
class Part(nn.Module):
    def __init__(self):
        super().__init__()
        self.count, self.seen = 0, 0

    @property
    def number(self):
        {keep}
        return 2

    @number.setter
    def number(self, value):
        self.count = value
"""


def test_reading_a_property_that_has_a_setter_runs_what_reads_it():
    keeping, asking = (READING.format(keep=keep) for keep in ("self.seen += 1", "pass"))
    read = ("self.part = Part()", "x = x * self.part.number", "x * self.part.seen")
    assert isinstance(result(keeping, *read), Refusal)
    assert isinstance(result(asking, *read), Split)


BORG = """
class Borg:
    shared = {"value": 1.0}

    def __init__(self):
        self.__dict__ = self.shared
"""


@pytest.mark.parametrize(
    ("made", "stem", "last"),
    [
        ("self.one, self.other = Borg(), Borg()", "self.one.value = x.mean()", "x * self.other.value"),
        ("pass", "Borg().value = x.mean()", "x * Borg().value"),
        ("pass", "Borg().shared['value'] = x.mean()", "x * Borg.shared['value']"),
    ],
)
def test_objects_of_a_class_that_share_their_attributes(made, stem, last):
    assert isinstance(result(BORG, made, stem, last), Refusal)


DEFAULTS = """
def put(value, log=LOG):
    log.append(value)


def get(log=LOG):
    return log[-1]


class Part(nn.Module):
    def forward(self, x, log=LOG):
        log.append(x.mean())
        return x
"""


@pytest.mark.parametrize("stem", ["put(x.mean())", "put(*[x.mean()])", "x = self.part(x)"])
@pytest.mark.parametrize("last", ["x * get()", "x * LOG[-1]"])
def test_a_default_value_is_the_global_that_it_is_made_from(stem, last):
    assert isinstance(result(DEFAULTS, "self.part = Part()", stem, last), Refusal)
    assert isinstance(result(DEFAULTS, "self.part = Part()", stem, "x"), Split)


REGISTRY = """
class Registry:
    log = [0.0]

    def __class_getitem__(cls, name):
        cls.log.append(name)
        return cls


class Meta(type):
    def __len__(cls):
        cls.log.append(1.0)
        return 1


class Table(metaclass=Meta):
    log = [0.0]
"""


@pytest.mark.parametrize(
    ("stem", "last"),
    [("Registry[1.0]", "x * Registry.log[-1]"), ("n = len(Table)", "x * Table.log[-1]")],
)
def test_an_operation_on_a_class_runs_code_of_it(stem, last):
    assert isinstance(result(REGISTRY, "pass", stem, last), Refusal)


@pytest.mark.parametrize("stem", ["list(map(self.log.append, [1.0]))", "put = self.log.append\nput(1.0)"])
def test_a_method_that_is_handed_on_may_be_called(stem):
    assert isinstance(result("", "self.log = [0.0]", stem, "x * self.log[-1]"), Refusal)
