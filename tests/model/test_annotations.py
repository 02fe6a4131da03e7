"""The types of an embedding's fields: from annotations where there are some, else inferred, else a tensor."""

import ast

import pytest
from sources import facts_of

from codegen.model.annotations import annotate

MODEL = """
import torch
from torch import nn
from typing import Dict, List, Optional, Tuple
from .base import Base
Size = Tuple[int, int]

class PatchEmbed:
    def forward(self, x) -> Tuple[torch.Tensor, Size]:
        return x, (1, 2)

class Unannotated:
    def forward(self, x):
        return x, x.shape[1], x.shape[1] > 2

class Tiny(Base):
    def __init__(self):
        self.patch_embed = PatchEmbed()
        self.unannotated = Unannotated()
        self.embeds = nn.ModuleList([PatchEmbed(), PatchEmbed()])
        self.either = PatchEmbed() if FLAG else None

    def helper(self, x) -> 'Optional[Tensor]':
        return x

    def inner(self, x, flag: bool = False):
        if flag:
            return None
        return self.helper(x)

    def loop(self, x):
        return self.loop(x)

    def features(self, x) -> Dict[str, torch.Tensor]:
        return {}

    def foreign(self, x) -> Sizes:
        return x
"""
BASE = {"timm/models/base.py": "class Base:\n    def inherited(self, x) -> int: return 1\n"}


def kinds(code: str, **parameters: str) -> dict[str, str]:
    statements = ast.parse(code).body
    given = {name: ast.parse(text, mode="eval").body if text else None for name, text in parameters.items()}
    return dict(annotate(facts_of(MODEL, files=BASE), statements, {"x": None, **given}, "x"))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("3", "int"),
        ("None", "None"),
        ("0.5", "float"),
        ("x is None", "bool"),
        ("not x", "bool"),
        ("x > 1 and x < 3", "torch.Tensor"),
        ("len(x) > 1 and len(x) < 3", "bool"),
        ("x.shape", "List[int]"),
        ("x.shape[1]", "int"),
        ("x.shape[1:]", "List[int]"),
        ("x.size(1)", "int"),
        ("x.shape[1] // 2", "int"),
        ("x.shape[1] / 2", "float"),
        ("-x.shape[1]", "int"),
        ("x.shape[1] * 0.5", "float"),
        ("x * 2", "torch.Tensor"),
        ("(x, 1)", "Tuple[torch.Tensor, int]"),
        ("[x, x]", "List[torch.Tensor]"),
        ("[x.shape[1], 2]", "List[int]"),
        ("[f(y) for y in x]", ""),
        ("[y * 2 for y in x]", "List[torch.Tensor]"),
        ("x if FLAG else None", "Optional[torch.Tensor]"),
        ("self.training", "bool"),
        ("len(x)", "int"),
        ("unknown(x)", ""),
        ("self.patch_embed(x)", "Tuple[torch.Tensor, Tuple[int, int]]"),
        ("self.embeds[0](x)", "Tuple[torch.Tensor, Tuple[int, int]]"),
        ("self.helper(x)", "Optional[torch.Tensor]"),
        ("self.inner(x)", "Optional[torch.Tensor]"),
        ("self.inherited(x)", "int"),
        ("self.loop(x)", ""),
        ("self.foreign(x)", "torch.Tensor"),
        ("self.features(x)['a']", "torch.Tensor"),
        ("self.features(x).get('a', None)", "Optional[torch.Tensor]"),
    ],
)
def test_the_type_of_an_expression(value, kind):
    assert kinds(f"y = {value}")["y"] == kind


def test_a_tuple_is_taken_apart_where_its_parts_are_known():
    assert kinds("y, size = self.patch_embed(x)\nH, W = size\nB, N, C = x.shape") == {
        "x": "torch.Tensor",
        "y": "torch.Tensor",
        "size": "Tuple[int, int]",
        **dict.fromkeys(("H", "W", "B", "N", "C"), "int"),
    }


def test_what_a_module_returns_is_inferred_without_an_annotation():
    found = kinds("y, n, large = self.unannotated(x)")
    assert (found["y"], found["n"], found["large"]) == ("torch.Tensor", "int", "bool")


def test_branches_that_agree_but_for_none_make_an_optional():
    assert kinds("if FLAG:\n    y = x.shape[0]\nelse:\n    y = None")["y"] == "Optional[int]"
    assert kinds("y = None\nif FLAG:\n    y = x")["y"] == "Optional[torch.Tensor]"
    assert kinds("if FLAG:\n    y = 1\nelse:\n    y = x")["y"] == ""


def test_parameters_keep_their_annotations_in_terms_of_torch_and_typing():
    found = kinds("pass", mask="Optional[Tensor]", size="Size", other="Foreign", plain="")
    assert found["mask"] == "Optional[torch.Tensor]"
    assert found["size"] == "Tuple[int, int]"
    assert found["other"] == found["plain"] == ""


def test_an_annotation_in_the_body_is_believed():
    assert kinds("y: List[int] = f(x)")["y"] == "List[int]"


def test_a_string_that_is_no_annotation_says_nothing():
    assert kinds("y = x", x="'any image'")["y"] == ""


def test_an_alias_of_itself_ends():
    model = MODEL.replace("Size = Tuple[int, int]", "Size = Size if FLAG else Tuple[int, int]")
    facts = facts_of(model, files=BASE)
    assert dict(annotate(facts, ast.parse("y, n = self.embeds[0](x)").body, {"x": None}, "x"))["n"] == "Tuple[int, int]"
