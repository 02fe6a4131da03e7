"""Finding the model classes of a release, and where each name in it comes from."""

import pytest
from sources import class_of, index_of, module_of, recorded, release_of, timm_release

from codegen.errors import TimmSplitError
from codegen.source.imports import Import
from codegen.source.index import Index

MODEL = "class Tiny:\n    def forward_features(self, x):\n        return x\n"


def models(index: Index) -> list[tuple[str, str]]:
    return [(cls.path, owner.name) for cls, owner in index.models()]


# Models


def test_a_class_with_forward_features_is_a_model_and_so_is_a_class_that_inherits_it():
    index = index_of(MODEL + "class Child(Tiny): pass\nclass Other: pass\n")
    assert models(index) == [("timm.models.tiny.Tiny", "Tiny"), ("timm.models.tiny.Child", "Tiny")]


def test_models_come_in_order_of_file_and_line():
    index = index_of(MODEL, {"timm/models/a.py": MODEL.replace("Tiny", "Z") + MODEL.replace("Tiny", "A")})
    assert [path for path, _ in models(index)] == ["timm.models.a.Z", "timm.models.a.A", "timm.models.tiny.Tiny"]


def test_a_method_that_a_child_overrides_is_the_childs():
    index = index_of(MODEL + MODEL.replace("class Tiny", "class Child(Tiny)"))
    assert models(index)[1] == ("timm.models.tiny.Child", "Child")


def test_layers_are_no_models_and_are_parsed_only_when_something_leads_to_them():
    release = release_of(
        "from timm.layers import Base\nclass Tiny(Base): pass\n", {"timm/layers/base.py": "syntax error ("}
    )
    assert [module.path for module in Index(release).model_modules.values()] == ["timm/models/tiny.py"]
    index = index_of(
        "from timm.layers import Base\nclass Tiny(Base): pass\n",
        {"timm/layers/__init__.py": "from .base import Base", "timm/layers/base.py": MODEL.replace("Tiny", "Base")},
    )
    assert models(index) == [("timm.models.tiny.Tiny", "Base")]


def test_a_file_that_does_not_parse_is_named_with_its_line():
    with pytest.raises(TimmSplitError, match=r"timm/models/tiny\.py:2 does not parse: .*newer Python"):
        Index(release_of("x = 1\ndef f(:\n")).parse("timm/models/tiny.py")


@recorded
def test_all_models_of_timm_are_found():
    found = dict(models(Index(timm_release())))
    assert found["timm.models.deit.VisionTransformerDistilled"] == "VisionTransformer"
    assert found["timm.models.eva.Eva"] == "Eva"
    assert len(found) == 98


# Imports


@pytest.mark.parametrize(
    ("line", "name", "origin"),
    [
        ("import torch", "torch", Import("torch")),
        ("import torch.nn", "torch", Import("torch")),
        ("import torch\nimport torch.nn", "torch", Import("torch")),
        ("import torch.nn as nn", "nn", Import("torch.nn")),
        ("import torch, math", "math", Import("math")),
        ("from torch import nn", "nn", Import("torch", "nn")),
        ("from torch import nn as modules", "modules", Import("torch", "nn")),
        ("from ._manipulate import checkpoint", "checkpoint", Import("timm.models._manipulate", "checkpoint")),
        ("from . import eva", "eva", Import("timm.models", "eva")),
        ("from ..layers.drop import DropPath", "DropPath", Import("timm.layers.drop", "DropPath")),
        ("with quiet():\n    import torch", "torch", Import("torch")),
        ("try:\n    import torch\nexcept ImportError:\n    pass", "torch", None),
        ("if FAST:\n    import torch", "torch", None),
        ("import torch\ntorch = None", "torch", None),
        ("import numpy as torch\nimport torch", "torch", None),
        ("import torch.nn as nn\nfrom torch import nn", "nn", Import("torch.nn")),
        ("from torch import nn\nfrom torch import nn, einsum", "nn", Import("torch", "nn")),
        ("import torch.nn as nn\nfrom timm import nn", "nn", None),
        ("import torch\nfor torch in libraries:\n    pass", "torch", None),
        ("import torch\nwith library() as torch:\n    pass", "torch", None),
        ("import torch\nloaded = (torch := fast(torch))", "torch", None),
        ("import torch\ndel torch", "torch", None),
        ("for name in names:\n    import torch", "torch", None),
        ("torch = 1", "torch", None),
        ("", "torch", None),
    ],
)
def test_where_a_name_is_imported_from(line, name, origin):
    assert module_of(line + "\n" or "\n").import_of(name) == origin


def test_a_relative_import_of_a_package_starts_at_the_package():
    module = index_of("", {"timm/models/__init__.py": "from .eva import Eva"}).parse("timm/models/__init__.py")
    assert module.name == "timm.models"
    assert module.import_of("Eva") == Import("timm.models.eva", "Eva")


@pytest.mark.parametrize(
    "body",
    [
        "\n    global MODE\n    MODE = 2",
        "\n    global OTHER, MODE  # both\n    MODE = 2",
        "\n    global \\\n        MODE\n    MODE = 2",
        " global MODE; MODE = 2",
    ],
)
def test_a_name_that_a_function_rebinds_as_a_global_is_known(body):
    assert "MODE" in module_of(f"MODE = 1\n\ndef switch():{body}\n").rebound


def test_postponed_annotations_are_seen():
    assert module_of("from __future__ import annotations\n").postponed_annotations
    assert not module_of("import annotations\n").postponed_annotations


# Classes


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("class Tiny: pass\n", None),
        ("class Tiny: pass\nclass Tiny: pass\n", 2),
        ("if FAST:\n    class Tiny: pass\nelse:\n    class Tiny: pass\n", 4),
        ("if FAST:\n    class Tiny: pass\n", 2),
        ("class Tiny: pass\nTiny = wrap(Tiny)\nclass Tiny: pass\n", 3),
    ],
)
def test_a_class_that_may_be_another_one_is_doubted(source, line):
    doubt = module_of(source).doubt("Tiny")
    assert (doubt and doubt.line) == line


@pytest.mark.parametrize(
    ("header", "base"),
    [
        ("from .base import Base", "Base"),
        ("from .base import Base as B", "B"),
        ("from timm.models.base import Base", "Base"),
        ("from timm.models import Base", "Base"),
        ("from timm.models import base", "base.Base"),
        ("from . import base as b", "b.Base"),
        ("from ..layers import Base", "Base"),
    ],
)
def test_a_base_class_is_followed_through_imports_and_re_exports(header, base):
    index = index_of(
        f"{header}\nclass Tiny({base}): pass\n",
        {
            "timm/models/base.py": "class Base: pass\n",
            "timm/models/__init__.py": "from .base import Base",
            "timm/layers/__init__.py": "from timm.models import Base",
        },
    )
    tiny = index.classes(index.parse("timm/models/tiny.py"))["Tiny"]
    assert [cls.path for cls in index.lineage(tiny)] == ["timm.models.tiny.Tiny", "timm.models.base.Base"]


def test_a_base_class_outside_the_release_is_left_out():
    tiny = class_of("from torch import nn\nclass Tiny(nn.Module, Unknown): pass\n")
    assert index_of("x = 1").lineage(tiny) == (tiny,)


def test_modules_that_import_from_each_other_in_a_circle_lead_nowhere():
    index = index_of(
        "from .other import Base\nclass Tiny(Base): pass\n", {"timm/models/other.py": "from .tiny import Base"}
    )
    assert models(index) == []


def test_bases_are_looked_up_in_pythons_order():
    source = "class A: pass\nclass B(A): pass\nclass C(A): pass\nclass Tiny(B, C): pass\n"
    index = index_of(source)
    order = [cls.name for cls in index.lineage(index.classes(index.parse("timm/models/tiny.py"))["Tiny"])]
    python: dict = {}
    exec(source, python)
    assert order == [cls.__name__ for cls in python["Tiny"].__mro__[:-1]] == ["Tiny", "B", "C", "A"]


def test_a_class_that_is_its_own_ancestor_does_not_hang():
    index = index_of("class Tiny(Other): pass\nclass Other(Tiny): pass\n")
    assert {cls.name for cls in index.lineage(index.classes(index.parse("timm/models/tiny.py"))["Tiny"])} == {
        "Tiny",
        "Other",
    }


def test_members_of_a_class_are_its_methods_and_its_assignments():
    cls = class_of("class Tiny:\n    a = 1\n    b: int = 2\n    c, d = 3, 4\n    def e(self): pass\n")
    assert list(cls.members) == ["a", "b", "c", "d", "e"]


def test_an_attribute_that_the_module_sets_on_a_class_is_not_another_definition_of_it():
    index = index_of(MODEL + "Tiny.extra = 1\n")
    assert models(index) == [("timm.models.tiny.Tiny", "Tiny")]
    assert index.parse("timm/models/tiny.py").doubt("Tiny") is None
