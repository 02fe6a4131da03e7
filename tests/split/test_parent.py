"""``super().forward_features(x)`` is what the parent's statements are, written out; else it is refused."""

import importlib
import textwrap

import pytest
import torch

from codegen.generate import analyse, generate
from codegen.package.writer import write_package
from codegen.source.release import find_release
from codegen.types import Refusal, Release, Split

PARENT = """
    import torch
    from torch import nn

    def shift(x):
        return x + 1


    class Parent(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch_embed = nn.Conv2d(3, 4, 4, 4)
            self.pos_embed = nn.Parameter(torch.randn(4, 2, 2))
            self.blocks = nn.ModuleList([nn.Conv2d(4, 4, 1)])
            self.norm = nn.Identity()

        def forward_features(self, x, scale=2.0):
            x = self.patch_embed(x)
            x = x + self.pos_embed
            for block in self.blocks:
                x = shift(block(x)) * scale
            return x
"""
CHILD = """
    from parent import Parent


    class Child(Parent):
        def forward_features(self, x):
            x = super().forward_features(x)
            return self.norm(x)
"""


def result_of(child, parent=PARENT, name="Child", **files):
    texts = {"child.py": child, "parent.py": parent, **{f"{n}.py": text for n, text in files.items()}}
    release = Release("", "memory", {n: textwrap.dedent(text) for n, text in texts.items()}, ("child.py",))
    return {outcome.name: outcome.result for outcome in analyse(release)}[name]


def test_the_statements_of_the_parent_stand_for_the_call():
    split = result_of(CHILD)
    assert isinstance(split, Split), split
    assert split.embed.body == ("x = self.patch_embed(x)", "x = x + self.pos_embed")
    assert split.forward_stages.body[-1] == "return self.norm(x)"
    assert ("shift", "parent") in {(i.name, i.module) for i in split.imports}
    assert split.parents == ("parent.Parent",)


@pytest.mark.parametrize(
    "call",
    [
        "return super().forward_features(x)",
        "x = super().forward_features(x, scale=scale)\n            return x",
        "x = super().forward_features(x=x, scale=scale)\n            return self.norm(x)",
        "y = super().forward_features(x)\n            return y",
    ],
)
def test_ways_to_call_it(call):
    child = CHILD.replace("self, x)", "self, x, scale=3.0)")
    child = child[: child.index("x = super")] + call + "\n"
    assert isinstance(result_of(child), Split), result_of(child)


def test_a_grandparent_is_written_out_as_well():
    child = CHILD + textwrap.indent(
        "\n\nclass Grandchild(Child):\n    def forward_features(self, x):\n        x = super().forward_features(x)\n"
        "        return x * 2\n",
        "    ",
    )
    split = result_of(child, name="Grandchild")
    assert split.parents == ("child.Child", "parent.Parent")
    assert split.forward_stages.body[-2:] == ("x = self.norm(x)", "return x * 2")


@pytest.mark.parametrize(
    ("child", "parent", "reason"),
    [
        (CHILD.replace("super()", "super(Child, self)"), PARENT, "`super()` sees"),
        (CHILD.replace("super().forward_features(x)", "super().forward_features(x) * 2"), PARENT, "`super()` sees"),
        (CHILD.replace("super().forward_features(x)", "super().forward(x)"), PARENT, "`super()` sees"),
        (CHILD.replace("super().forward_features(x)", "super().forward_features(x * 2)"), PARENT, "under its own name"),
        (CHILD.replace("super().forward_features(x)", "super().forward_features(*[x])"), PARENT, "under its own name"),
        (CHILD, PARENT.replace("scale=2.0", "scale=shift(1)"), "a default value is the result of a call"),
        (CHILD, PARENT.replace("scale=2.0", "scale"), "under its own name"),
        (CHILD, PARENT.replace("scale=2.0", "*scale"), "under its own name"),
        (CHILD, PARENT.replace("x = x + self.pos_embed", "if scale:\n                return x"), "must return once"),
        (CHILD, PARENT.replace("shift(block(x)) * scale", "self.__hidden(x)"), "private name"),
        (CHILD, PARENT.replace("def forward_f", "@torch.no_grad()\n        def forward_f"), "is decorated"),
        ("from torch import relu as shift\n" + textwrap.dedent(CHILD), PARENT, "`shift` means one thing in its module"),
        (CHILD, PARENT.replace("shift", "abs"), "`abs` means one thing in its module"),
        (CHILD, PARENT + "\n    def swap(f):\n        Parent.forward_features = f\n", "assigns to `forward_features`"),
        (CHILD.replace("(Parent)", "(Unheard, Parent)"), PARENT, "its base `Unheard` is unknown"),
        (CHILD.replace("from parent", "from unheard"), PARENT, "no parent of `Child` that can be read"),
        (CHILD.replace("return self.norm(x)", "scale = 1\n            return x * scale"), PARENT, "`scale` means one"),
    ],
)  # fmt: skip
def test_what_may_be_something_else_is_refused(child, parent, reason):
    result = result_of(child, parent)
    assert isinstance(result, Refusal), result.parents
    assert reason in result.reason


DIAMOND = """
    from child import Child
    from parent import Parent


    class Between(Parent):
        def forward_features(self, x):
            return -x


    class Both(Child, Between):
        pass
"""


def test_another_order_of_classes_has_another_parent():
    files = {"child.py": CHILD, "parent.py": PARENT, "both.py": DIAMOND}
    texts = {name: textwrap.dedent(text) for name, text in files.items()}
    found = {o.name: o.result for o in analyse(Release("", "memory", texts, ("both.py", "child.py")))}
    assert isinstance(found["Child"], Split)
    assert isinstance(found["Both"], Refusal)  # it runs that of Between, which has no blocks


def test_a_split_does_what_the_child_does_and_no_other_order_of_classes_is_split(tmp_path, monkeypatch):
    for name, text in (("parent", PARENT), ("child", CHILD), ("both", DIAMOND)):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    write_package(tmp_path / "child_splits", generate(find_release(None, tmp_path / "child.py")).files)
    monkeypatch.syspath_prepend(tmp_path)
    child, both, splits = (importlib.import_module(name) for name in ("child", "both", "child_splits"))
    splits.check(splits.split(child.Child()), torch.randn(2, 3, 8, 8))
    splits.check(splits.split(type("Own", (child.Child,), {})()), torch.randn(2, 3, 8, 8))
    with pytest.raises(TypeError, match=r"super\(\)\.forward_features of Child is another method in Both"):
        splits.split(both.Both())
