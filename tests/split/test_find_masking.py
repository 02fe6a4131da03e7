"""What masking has to know of a split is found by how the statements use a value, whatever its name."""

import pytest
from differential import tiny
from sources import committed_manifest, recorded, split_of

from codegen.types import Masking, UnitMask

NONE = Masking(None, (), None)
EMBED = "x = self.patch_embed(x)\nx = x + self.pos_embed\n"
BLOCKS = "for block in self.blocks:\n    x = block(x)\n"
TRANSFORMER = """
from torch import nn
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

class Attention(nn.Module):
    def __init__(self):
        self.qkv = nn.Linear()
        self.attn = nn.MultiheadAttention(16, 2)

    def forward(self, x, bias=None):
        q, k, v = self.qkv(x)
        {attention}
        return x

class Block(nn.Module):
    def __init__(self):
        self.attn = Attention()

    def forward(self, x, extra=None):
        return x + self.attn(x, bias=extra)

class Tiny(nn.Module):
    def __init__(self):
        self.patch_embed = nn.Conv2d()
        self.pos_embed = nn.Parameter()
        self.blocks = nn.ModuleList([Block() for _ in range(2)])

    def forward_features(self, x):
        x, valid = self.patch_embed(x)
        x = x + self.pos_embed
        for i, block in enumerate(self.blocks):
            x = {call}
        return x
"""


def masking(body, parameters="x, keep=None"):
    return split_of(tiny(body, parameters)).masking


# Masks of units that the model drops


@pytest.mark.parametrize(
    ("prepare", "select", "expected"),
    [
        ("keep = keep.view(-1, *self.grid)", "x = x[keep]", UnitMask("keep", True, "grid")),
        ("keep = keep.reshape(2, self.side[0], self.side[1])", "x = x[keep.bool()]", UnitMask("keep", True, "side")),
        ("keep = keep.flatten(1)", "x = x[keep].view(2, -1, 16)", UnitMask("keep", True, None)),
        ("keep = keep.flatten(1)", "x = x[~keep]", UnitMask("keep", False, None)),
        ("keep = keep.flatten(1)", "x = x[keep.logical_not()]", UnitMask("keep", False, None)),
    ],
)
def test_a_parameter_that_selects_tokens_is_a_mask_of_units(prepare, select, expected):
    assert masking(f"{prepare}\n{EMBED}{select}\n{BLOCKS}return x") == Masking(expected, (), None)


@pytest.mark.parametrize(
    "select",
    ["x = x * keep", "x = x[:, keep]", "x = x[0]", "y = other[keep]", "x = keep[x]"],
    ids=["multiplies", "one dimension", "a number", "others", "is selected"],
)
def test_another_use_of_a_parameter_makes_it_no_mask_of_units(select):
    assert masking(f"keep = keep.flatten(1)\n{EMBED}{select}\n{BLOCKS}return x, keep", "x, keep=None, other=1") == NONE


def test_a_value_that_the_embedding_makes_is_no_mask_that_a_caller_can_give():
    assert masking(f"{EMBED}keep = self.choose(x)\nx = x[keep]\n{BLOCKS}return x", "x") == NONE


# Masks of attention


@pytest.mark.parametrize(
    "attention",
    [
        "x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)",
        "x = F.scaled_dot_product_attention(q, k, v, bias[:, None])",
        "x, _ = self.attn(q, k, v, attn_mask=bias)",
        "scores = q @ k + bias\n        x = scores.softmax(-1) @ v",
        "scores = q @ k\n        scores += bias\n        x = F.softmax(scores, dim=-1) @ v",
        "scores = (q @ k).masked_fill(bias, 0)\n        x = scores.softmax(-1) @ v",
    ],
)
@pytest.mark.parametrize(
    "call", ["block(x, valid)", "block(x, extra=valid)", "self.blocks[i](x, valid)", "checkpoint(block, x, valid)"]
)
def test_a_mask_of_attention_is_followed_to_attention(attention, call):
    source = TRANSFORMER.format(attention=attention, call=call)
    assert split_of(source).masking == Masking(None, ("valid",), None)


@pytest.mark.parametrize(
    "attention",
    [
        "x = F.scaled_dot_product_attention(q + bias, k, v)",
        "q = q + bias\n        x = (q @ k).softmax(-1) @ v",
        "x = x * bias.sigmoid()",
    ],
    ids=["on queries", "on queries before a softmax", "a gate"],
)
def test_what_attention_uses_otherwise_is_no_mask_of_it(attention):
    assert split_of(TRANSFORMER.format(attention=attention, call="block(x, valid)")).masking == NONE


def test_where_the_class_of_a_block_cannot_be_told_the_name_of_its_parameter_tells():
    source = TRANSFORMER.replace("Block() for", "make_block() for")
    named, unnamed = (
        split_of(source.format(attention="pass", call=f"block(x, {name}=valid)")).masking.attention_masks
        for name in ("attn_mask", "extra")
    )
    assert (named, unnamed) == (("valid",), ())


# Features in a dictionary


@pytest.mark.parametrize(
    ("returned", "key"),
    [
        ("{'tokens': x, 'size': n}", "tokens"),
        ("{'cls': x[:, 0], 'rest': x[:, 1:]}", "rest"),
        ("{'registers': x[:, 1:5], 'rest': x[:, 5:]}", "rest"),
        ("{'size': n}", None),
        ("x", None),
    ],
)
def test_the_entry_that_holds_the_tokens_is_found(returned, key):
    assert masking(f"{EMBED}{BLOCKS}x = self.norm(x)\nn = x.shape[1]\nreturn {returned}").features == key


# timm's


@recorded
def test_timm_has_one_model_that_drops_units_and_one_with_masks_of_attention():
    found = {
        entry["class"]: {key: value for key, value in entry["split"]["masking"].items() if value}
        for entry in committed_manifest()["classes"].values()
        if "split" in entry
    }
    assert {name: masking for name, masking in found.items() if masking} == {
        "Hiera": {"unit_mask": {"parameter": "mask", "keeps": True, "grid": "mask_spatial_shape"}},
        "NaFlexVit": {"attention_masks": ["attn_mask"], "features": "patches"},
    }
