"""``from x import *`` binds what the file says that it binds, or is refused."""

import ast

import pytest
from differential import tiny

from codegen.errors import UsageError
from codegen.generate import analyse
from codegen.source.imports import Import
from codegen.source.index import Index
from codegen.syntax.walking import walk
from codegen.types import Refusal, Release

BODY = "x = self.patch_embed(x)\nx = self.blocks[0](x)\nreturn {}"
TORCH = ("torch", Import("torch"))


def bound(neighbour, path="n.py", name="n", files=None, header=""):
    """What ``from n import *`` binds, and where that comes from; ``None`` for what may be unbound, or another thing."""
    texts = {"m.py": f"{header}\nfrom {name} import *\n", path: neighbour, **(files or {})}
    module = Index(Release("", "memory", texts, ("m.py",))).parse("m.py")
    return {name: module.import_of(name) for name in module.bindings}


def results(body, neighbour, header="from n import *", files=None):
    texts = {"m.py": tiny(body, header=header), "n.py": neighbour, **(files or {})}
    return {o.name: o.result for o in analyse(Release("", "memory", texts, ("m.py",)))}


@pytest.mark.parametrize(
    ("neighbour", "expected"),
    [
        ("def shift(x): return x", {"shift": Import("n", "shift")}),
        ("def shift(x): return x\ndef _hidden(x): return x\n__version__ = 1", {"shift": Import("n", "shift")}),
        ("__all__ = ['_own']\ndef shift(x): return x\ndef _own(x): return x", {"_own": Import("n", "_own")}),
        ("__all__ = ('torch',)\nimport torch\nfrom torch import nn", dict([TORCH])),
        ("import torch\nfrom torch import nn as layers", {**dict([TORCH]), "layers": Import("torch", "nn")}),
        ("import torch.nn.functional as F", {"F": Import("torch.nn.functional")}),
        ("A = B = 1\ndel A", {"A": None, "B": Import("n", "B")}),
        ("if unheard:\n    A = 1", {"A": None}),
        ("if unheard:\n    A = 1\nelse:\n    A = 2", {"A": Import("n", "A")}),
        ("try:\n    import torch\nexcept ImportError:\n    torch = None", {"torch": Import("n", "torch")}),
        ("def f():\n    global A\n    A = 1\nA = 2", {"f": Import("n", "f"), "A": Import("n", "A")}),
        ("", {}),
    ],
)  # fmt: skip
def test_it_takes_public_names_or_those_in_all(neighbour, expected):
    assert bound(neighbour) == expected


def test_what_is_spelled_out_is_seen_by_all_that_read_the_file():
    index = Index(
        Release("", "memory", {"m.py": "try:\n    from n import *\nfinally:\n    pass", "n.py": "A = 1"}, ("m.py",))
    )
    module = index.parse("m.py")
    taken = [
        node.module for node in walk(module.tree) if isinstance(node, ast.ImportFrom) and node.names[0].name == "A"
    ]
    assert taken == ["n"]


@pytest.mark.parametrize(
    "neighbour",
    [
        "__all__ = ['A']\n__all__ += ['B']\nA = B = 1",
        "__all__ = ['A']\n__all__.append('B')\nA = B = 1",
        "__all__ = ['A', *['B']]\nA = B = 1",
        "__all__ = [name for name in 'AB']\nA = B = 1",
        "__all__ = ['A', 'B']\nA = 1",
        "if unheard:\n    __all__ = ['A']\nA = 1",
        "from elsewhere import *\nA = 1",
        "def __getattr__(name): return 1\n__all__ = ['A']",
    ],
)
def test_where_its_names_cannot_be_known_it_stays(neighbour):
    assert "*" in bound(neighbour)


def test_names_go_through_several_files():
    assert bound("from o import *\nA = 1", files={"o.py": "B = 2"}) == {"A": Import("n", "A"), "B": Import("o", "B")}


def test_files_that_import_one_another_end():
    assert "*" in bound("from m import *\nA = 1")


def test_a_file_that_imports_this_one_may_have_bound_nothing_yet():
    assert bound("import m\nA = 1") == {"A": None, "m": None}
    assert bound("import o\nA = 1", files={"o.py": "def f():\n    import m"})["A"] is None


def test_a_package_may_have_its_submodules_as_names():
    files = {"p/rope.py": "A = 1", "p/_own.py": "", "p/vit/__init__.py": ""}
    found = bound("from .rope import A", "p/__init__.py", "p", files)
    assert found == {"A": Import("p.rope", "A"), "rope": None, "vit": None}


def test_a_relative_import_starts_at_the_package_of_its_file():
    texts = {"p/__init__.py": "", "p/m.py": "from .n import *", "p/n.py": "A = 1"}
    module = Index(Release("", "memory", texts, ("p/m.py",))).parse("p/m.py")
    assert module.import_of("A") == Import("p.n", "A")


def test_a_name_that_is_bound_before_is_in_doubt():
    assert bound("def relu(x): return x", header="from torch import relu")["relu"] is None
    assert bound("from torch import relu", header="from torch import relu")["relu"] == Import("torch", "relu")
    assert bound("from elsewhere import *", header="from torch import relu")["relu"] is None


def test_a_class_is_split_with_the_names_of_its_neighbour():
    (split,) = results(BODY.format("shift(x)"), "import torch\ndef shift(x): return x").values()
    assert [(i.name, i.module) for i in split.imports if i.name == "shift"] == [("shift", "n")]


@pytest.mark.parametrize(
    ("body", "neighbour", "reason"),
    [
        ("x", "from elsewhere import *", "`from n import *` may bind any name of its module"),
        ("len(x)", "def len(x): return 3", "`len` is not the builtin of that name"),
        ("len(x)", "if unheard:\n    def len(x): return 3", "`len` is not the builtin of that name"),
        ("abs(x)", "if unheard:\n    def abs(x): return 3", "defines `abs` under a condition"),
        ("shift(x)", "def _shift(x): return x", "`shift` is not defined at the top level"),
        ("shift(x)", "def shift(x): return x\ndef f():\n    global shift\n    shift = 1", "`shift` is a global that"),
        ("shift(x)", "if unheard:\n    def shift(x): return x", "defines `shift` under a condition"),
        ("torch.relu(x)", "torch = 3", "`torch` is another thing"),
        ("self.blocks[1](x)", "class SplitModel: pass", None),
    ],
)
def test_what_a_neighbour_shadows_is_refused(body, neighbour, reason):
    (result,) = results(BODY.format(body), neighbour).values()
    assert (reason in result.reason) if reason else not isinstance(result, Refusal)


def test_a_class_that_a_neighbour_replaces_is_none():
    texts = {"m.py": tiny(BODY.format("x")) + "\nfrom n import *\n", "n.py": "class Tiny: pass"}
    with pytest.raises(UsageError, match="holds no class that has the method forward_features"):
        analyse(Release("", "memory", texts, ("m.py",)))


def test_the_line_of_an_import_that_cannot_be_read_is_named():
    (result,) = results(BODY.format("x"), "", header="from elsewhere import *").values()
    assert result.reason.startswith("`from elsewhere import *` may bind any name")
    assert tiny(BODY.format("x"), header="from elsewhere import *").splitlines()[result.place.line - 1] == (
        "from elsewhere import *"
    )
