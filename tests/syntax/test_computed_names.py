"""Attributes with computed names go by one name each, as far as nothing else goes by it."""

from __future__ import annotations

import ast

import pytest

from codegen.syntax.computed_names import find_computed_names, find_held_names

STAGES = """
class A(nn.Module):
    def __init__(self):
        for i in range(2):
            setattr(self, f"stage{i + 1}", nn.Linear(2, 2))

    def forward(self, x):
        for i in range(2):
            stage = getattr(self, f"stage{i + 1}")
            x = stage(x)
        return self.stage1(x)
"""


def read(source, *kin):
    tree = ast.parse(source)
    find_computed_names(tree, [ast.parse(text) for text in kin]).rewrite(tree)
    return ast.unparse(tree)


def test_whatever_a_computed_name_may_mean_goes_by_one_name():
    read_as = read(STAGES)
    assert "setattr(self, 'stage·', nn.Linear(2, 2))" in read_as
    assert "getattr(self, 'stage·', f'stage{i + 1}')" in read_as  # what the name is computed from is still read
    assert "return self.stage·(x)" in read_as


NUMBERED = {
    "a loop over a range": "for i in range(3):\n    getattr(self, f'stage{i}')",
    "an enumeration": "for i, x in enumerate(y):\n    getattr(self, f'stage{i + 1}')",
    "a variable for the name": "for i in range(3):\n    name = f'stage{i}'\n    getattr(self, name)",
    "after the number": "for i in range(3):\n    getattr(self, f'stage{i}_norm')",
}
ANY = {
    "what is counted is not known": "for i in self.indices:\n    getattr(self, f'stage{i}')",
    "one of several is not known": "for i in range(3):\n    getattr(self, f'stage{i}')\ngetattr(self, f'stage{k}')",
    "formatted": "for i in range(3):\n    getattr(self, f'stage{i:02d}')",
    "bound twice": "for i in range(3):\n    i = 'x'\n    getattr(self, f'stage{i}')",
}


def function(body):
    indented = "\n".join(f"        {line}" for line in body.splitlines())
    return f"class A:\n    def f(self, k, y):\n{indented}\n        return self.stage2, self.stage_norm\n"


@pytest.mark.parametrize("case", NUMBERED)
def test_a_number_is_no_other_text(case):
    read_as = read(function(NUMBERED[case]))
    assert "·" in read_as
    assert "self.stage_norm" in read_as


@pytest.mark.parametrize("case", ANY)
def test_what_may_be_any_text_is_any_attribute_that_begins_so(case):
    read_as = read(function(ANY[case]))
    assert "return (self.stage·, self.stage·)" in read_as


@pytest.mark.parametrize(("over", "others"), [("range(3)", ""), ("self.kinds", "·")])
def test_a_list_of_names_stands_for_them(over, others):
    read_as = read(
        "class A:\n"
        "    def __init__(self):\n"
        "        self.names = []\n"
        f"        for i in {over}:\n"
        "            name = f'layer{i}'\n"
        "            self.add_module(name, nn.Linear(2, 2))\n"
        "            self.names.append(name)\n"
        "    def f(self, x):\n"
        "        for i, name in enumerate(self.names):\n"
        "            x = getattr(self, name)(x)\n"
        "        return self.layer_x\n"
    )
    assert f"self.layer{others or '_x'}" in read_as
    assert "self.add_module('layer·', nn.Linear(2, 2))" in read_as
    assert "x = getattr(self, 'layer·', name)(x)" in read_as


STAGED = "        getattr(self, f'stage{i}')\n"
SOMETHING_ELSE = {
    "a method": "class A:\n    def stage1(self): pass\n    def f(self, i):\n        getattr(self, f'stage{i}')",
    "a constant of the class": "class A:\n    stage1 = 1\n    def f(self, i):\n        getattr(self, f'stage{i}')",
    "what every module has": "class A:\n    def f(self, i):\n        getattr(self, f'register_{i}')\n",
    "of another object": "class A:\n    def f(self, i, b):\n        getattr(self, f'stage{i}')\n        b.stage_x()",
    "set by the dictionary": "class A:\n    def f(self, i):\n        self._modules[i] = getattr(self, f'stage{i}')",
    "set by the method": "class A:\n    def f(self, i):\n        self.__setattr__(i, getattr(self, f'stage{i}'))",
    "set by vars": "class A:\n    def f(self, i):\n        vars(self)[i] = getattr(self, f'stage{i}')",
    "no beginning": "class A:\n    def f(self, i):\n        getattr(self, f'{i}')\n",
    "two groups that overlap": "class A:\n    def f(self, i):\n        getattr(self, f'st{i}')\n" + STAGED,
}


@pytest.mark.parametrize("case", SOMETHING_ELSE)
def test_a_name_that_may_mean_something_else_stays_unknown(case):
    assert "·" not in read(SOMETHING_ELSE[case])


def test_a_dictionary_that_is_only_looked_at_is_no_way_around():
    assert "·" in read("class A:\n    def f(self, i):\n        self._modules.values()\n" + STAGED)


LISTS = {
    "appended to elsewhere": "self.names.append(k)",
    "made anew": "self.names = other()",
    "handed on": "use(self.names)",
    "changed": "self.names[0] = k",
}


@pytest.mark.parametrize("case", LISTS)
def test_a_list_that_may_hold_other_names_stays_unknown(case):
    assert "getattr(self, name)" in read(
        "class A:\n"
        "    def __init__(self, k):\n"
        "        self.names = []\n"
        "        for i in range(3):\n"
        "            self.names.append(f'layer{i}')\n"
        f"        {LISTS[case]}\n"
        "    def f(self, x):\n"
        "        for name in self.names:\n"
        "            x = getattr(self, name)(x)\n"
    )


def test_a_name_of_a_parent_or_child_stays_unknown():
    assert "·" not in read(STAGES, "class B(A):\n    def g(self): return self.stage1\n")
    assert "·" not in read(STAGES, "class B(A):\n    def g(self, i): return getattr(self, f'stage{i}')\n")
    assert "·" in read(STAGES, "class B(A):\n    def g(self): return self.stages\n")


HELD = """
class A(nn.Module):
    def __init__(self):
        self.norm_name, norm = build_norm(8)
        self.add_module(self.norm_name, norm)

    @property
    def norm(self):
        return getattr(self, self.norm_name)
"""


def test_a_module_under_a_name_that_an_attribute_holds_goes_by_that_of_the_attribute():
    tree = ast.parse(HELD)
    find_computed_names(tree, held=find_held_names([tree])).rewrite(tree)
    read_as = ast.unparse(tree)
    assert "self.add_module('norm_name·', norm)" in read_as
    assert "getattr(self, 'norm_name·')" in read_as


OTHERWISE = [
    "class B(A):\n    def f(self):\n        self.norm_name = 'other'",
    "class B(A):\n    def f(self):\n        return self.norm_name",
    "class B(A):\n    def f(self):\n        return getattr(self, 'norm_name')",
    "class B(A):\n    norm_name = 'blocks'",
    "def f(a):\n    a.norm_name, norm = build_norm(8)",
    "class B(A):\n    def f(self):\n        del self.norm_name",
    "class B(A):\n    def f(self):\n        return getattr(self.parent, self.norm_name)",
]


@pytest.mark.parametrize("more", OTHERWISE)
def test_a_name_of_which_anything_else_is_made_is_not_known(more):
    assert find_held_names([ast.parse(HELD), ast.parse(more)]) == frozenset()
