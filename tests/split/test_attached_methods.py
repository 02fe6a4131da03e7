"""What code gives a class after it was made, a method or an object for all: the class is not what it reads."""

import pytest
from sources import result_in_users_file

from codegen.generate import analyse
from codegen.source.release import find_release
from codegen.types import Refusal, Split

PARTS = """
import torch
from torch import nn

STATE = {"mean": 1.0}


class Keeping(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = 0.0

    def forward(self, x):
        y = x + self.last
        self.last = float(x.detach().mean())
        return y


KEPT = Keeping()


class Part(nn.Module):
    def __init__(self):
        super().__init__()
        self.make()

    def make(self):
        self.kept = nn.Identity()

    def note(self, x):
        return x

    def forward(self, x):
        return self.kept(self.note(x))


class Child(Part):
    pass
"""
MODEL = """
class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))
        self.a, self.b = Part(), Child()
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])

    def forward_features(self, x):
        x = self.a(self.patch_embed(x).flatten(2).transpose(1, 2)) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.b(x) * STATE["mean"]
"""
FUNCTIONS = {
    "make": "def make(self):\n    self.kept = KEPT\n",
    "note": "def note(self, x):\n    STATE['mean'] = float(x.mean())\n    return x\n",
    "forward": "def forward(self, x):\n    STATE['mean'] = float(x.mean())\n    return x\n",
}
WAYS = [
    "Part.{0}, other = {0}, None\n",
    "for Part.{0} in [{0}]:\n    pass\n",
    "import contextlib\nwith contextlib.nullcontext({0}) as Part.{0}:\n    pass\n",
    "[None for Part.{0} in [{0}]]\n",
    "Part.{0}: object = {0}\n",
    "(lambda cls: setattr(cls, '{0}', {0}))(Part)\n",
    "list(map(lambda cls: setattr(cls, '{0}', {0}), [Part]))\n",
    "{{setattr(cls, '{0}', {0}) for cls in [Part]}}\n",
    "def give(cls=Part):\n    cls.{0} = {0}\ngive()\n",
    "class Giver:\n    def __init__(self, cls):\n        cls.{0} = {0}\nGiver(Part)\n",
    "Part.{0} = {0}",
    "setattr(Part, '{0}', {0})",
    "for cls in (Part, Child):\n    cls.{0} = {0}",
    "def install(cls):\n    cls.{0} = {0}\ninstall(Part)",
    "def method_of(cls):\n    return lambda function: setattr(cls, function.__name__, function)\nmethod_of(Part)({0})",
    "Child.{0} = Part.{0} = {0}",
]


HELPER = "class Helper:\n    def {1}(self, cls):\n        cls.{0} = {0}\n"
UNSEEN = [
    "setattr(*(Part, '{0}', {0}))\n",
    "put = setattr\nput(Part, '{0}', {0})\n",
    "import functools\nfunctools.partial(setattr, Part, '{0}')({0})\n",
    "list(map(setattr, [Part], ['{0}'], [{0}]))\n",
    "type.__setattr__(Part, '{0}', {0})\n",
    "import functools\nclass Source:\n    {0} = {0}\nfunctools.update_wrapper(Part, Source, ['{0}'], [])\n",
    "import copy\ncopy.copy(Part).{0} = {0}\n",
    "CLASSES = dict(a=Part)\nCLASSES['a'].{0} = {0}\n",
    "CLASSES = [Part]\nCLASSES[-1].{0} = {0}\n",
    "first = lambda: Part\nfirst().{0} = {0}\n",
    "def first():\n    return Part\nfirst().{0} = {0}\n",
    "type(Part()).{0} = {0}\n",
    "Part().__class__.{0} = {0}\n",
    "Part.forward.__globals__['Part'].{0} = {0}\n",
    "def noisy(cls):\n    cls.{0} = {0}\nfor cls in [Part]:\n    noisy(cls)\n",
    f"{HELPER.replace('{1}', '__lshift__')}Helper() << Part\n",
    f"{HELPER.replace('{1}', '__getitem__')}Helper()[Part]\n",
    f"{HELPER.replace('{1}', '__contains__')}Part in Helper()\n",
    f"{HELPER.replace('{1}', '__call__')}Helper()(Part)\n",
    "def made(function):\n    return lambda self, *x: function(self, *x)\nPart.{0} = made({0})\n",
    "import functools\nPart.{0} = functools.wraps({0})({0})\n",
    "FUNCTIONS = dict(a={0})\nPart.{0} = FUNCTIONS['a']\n",
    "given = ({0},)[0]\nPart.{0} = given\n",
    "Part.{0} = {0} if True else None\n",
    "class Base:\n    def __init_subclass__(cls, of):\n        of.{0} = {0}\nclass Other(Base, of=Part):\n    pass\n",
    "def give(cls):\n    cls.{0} = {0}\n    return cls\nOTHER = give(Part)\n",
    "if True:\n    for _, cls in [(0, Part)]:\n        cls.{0} = {0}\n",
    "(setattr, delattr)[0](Part, '{0}', {0})\n",
    "import builtins\nbuiltins.setattr(Part, '{0}', {0})\n",
    "import operator\noperator.methodcaller('__setattr__', '{0}', {0})\nPart.{0} = {0}\nPart.{0} = Part.{0}\n",
]


@pytest.mark.parametrize("way", [*WAYS, *UNSEEN])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_method_that_is_given_later(name, way):
    assert isinstance(result_in_users_file(PARTS + FUNCTIONS[name] + way.format(name) + MODEL), Refusal)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_method_that_another_file_gives(tmp_path, name):
    (tmp_path / "parts.py").write_text(PARTS)
    names = "from parts import KEPT, STATE, Part\n"
    (tmp_path / "patch.py").write_text(f"{names}{FUNCTIONS[name]}Part.{name} = {name}\n")
    (tmp_path / "m.py").write_text(f"from parts import *\nimport patch\nimport torch\nfrom torch import nn\n{MODEL}")
    outcomes = analyse(find_release(None, tmp_path / "m.py", announce=lambda message: None))
    assert isinstance(next(o.result for o in outcomes if o.name == "M"), Refusal)


GIVEN = ["Part.kept = KEPT", "setattr(Part, 'kept', KEPT)", "def give(cls):\n    cls.kept = Keeping()\ngive(Part)"]


@pytest.mark.parametrize("way", GIVEN)
def test_an_object_that_a_class_is_given_is_one_for_all(way):
    parts = PARTS.replace("        self.kept = nn.Identity()", "        pass")
    assert isinstance(result_in_users_file(f"{parts}\n{way}\n{MODEL}"), Refusal)


@pytest.mark.parametrize("way", ["", "Keeping.note = print", "setattr(Part, 'title', 'a part')", "Part.depth = 2"])
def test_what_does_not_concern_what_runs(way):
    assert isinstance(result_in_users_file(f"{PARTS}\n{way}\n{MODEL}"), Split)


@pytest.mark.parametrize("name", ["'a'", "'' + 'a'", "f\"{'a'}\""])
def test_a_part_that_is_set_under_a_name_in_parts_is_what_runs(name):
    made = f"self.a, self.b = Part(), Child()\n        setattr(self, {name}, KEPT)"
    model = MODEL.replace("self.a, self.b = Part(), Child()", made).replace("self.b(x)", "KEPT(x)")
    assert isinstance(result_in_users_file(PARTS + model), Refusal)


@pytest.mark.parametrize("name", ["name", "names[0]", "f'{name}'"])
def test_a_part_that_is_set_under_a_name_that_is_not_in_sight_may_be_any(name):
    made = f"self.a, self.b = Part(), Child()\n        for name in names:\n            setattr(self, {name}, Noting())"
    noting = f"{FUNCTIONS['note']}class Noting(nn.Module):\n    def forward(self, x):\n        return note(self, x)\n"
    model = MODEL.replace("self.a, self.b = Part(), Child()", made).replace(
        "def __init__(self)", "def __init__(self, names)"
    )
    assert isinstance(result_in_users_file(PARTS + noting + model), Refusal)
