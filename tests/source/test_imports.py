"""What import statements bind, and which module they name."""

import ast

import pytest

from codegen.source.imports import Import, imports, source_module

EVA = "timm/models/eva.py"
PACKAGE = "timm/models/__init__.py"


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("import torch", {"torch": "torch"}),
        ("import torch.nn.functional", {"torch": "torch"}),
        ("import torch.nn.functional as F, math", {"F": "torch.nn.functional", "math": "math"}),
        ("from torch import nn, Tensor as T", {"nn": "torch.nn", "T": "torch.Tensor"}),
        ("from ._registry import register_model", {"register_model": "timm.models._registry.register_model"}),
        ("from .. import layers", {"layers": "timm.layers"}),
        ("from torch.nn import *", {"*": "torch.nn.*"}),
        ("torch = None", {}),
    ],
)
def test_what_each_name_stands_for(text, bound):
    assert {name: origin.path for name, origin in imports(ast.parse(text).body[0], EVA).items()} == bound


def test_a_name_and_its_module_are_kept_apart():
    [statement] = ast.parse("from torch import nn").body
    assert imports(statement, EVA) == {"nn": Import("torch", "nn")}


@pytest.mark.parametrize(
    ("text", "file", "module"),
    [
        ("from torch import nn", EVA, "torch"),
        ("from . import vit", EVA, "timm.models"),
        ("from .vit import Block", EVA, "timm.models.vit"),
        ("from ..layers.drop import DropPath", EVA, "timm.layers.drop"),
        ("from . import vit", PACKAGE, "timm.models"),
        ("from .. import layers", PACKAGE, "timm"),
        ("from .parts import Block", "my_model.py", "parts"),
    ],
)
def test_a_relative_import_starts_at_the_package_of_its_file(text, file, module):
    assert source_module(ast.parse(text).body[0], file) == module
