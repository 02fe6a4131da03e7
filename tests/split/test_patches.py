"""Where the patches of an embedding are complete, and why there is no such place; behaviour compared where it runs."""

import pytest
from differential import Value, same, tiny
from sources import outcomes_of, split_of

from codegen.types import Absence, Inherited, Patches, Split

BLOCKS = "\nx = self.blocks[0](x)\nreturn x"
TOKEN = "nn.Parameter()"


def patches_of(source, name="Tiny"):
    patches = split_of(source, name).patches
    assert isinstance(patches, Patches), patches
    return patches


def absence(source, name="Tiny"):
    patches = split_of(source, name).patches
    assert isinstance(patches, Absence), patches
    return patches.reason


def halves(body, parameters="x", **modules):
    """The statements of both methods, of a model whose split does what it does."""
    source = tiny(body + BLOCKS, parameters, **modules)
    patches = patches_of(source)
    same(source)
    return patches.embed_patches.body, patches.embed_positions.body


# Where


def test_the_patches_are_complete_before_their_position():
    assert halves("x = self.patch_embed(x)\nx = x + self.pos_embed\nx = self.pos_drop(x)") == (
        ("x = self.patch_embed(x)",),
        ("x = x + self.pos_embed", "x = self.pos_drop(x)"),
    )


def test_the_patches_are_complete_before_the_prefix_tokens():
    body = "x = self.patch_embed(x)\nx = torch.cat((self.cls_token, x), dim=1)\nx = x + self.pos_embed"
    patches = patches_of(tiny(body + BLOCKS, cls_token=TOKEN))
    assert patches.embed_patches.body == ("x = self.patch_embed(x)",)
    assert patches.reasons == (
        "line 20 completes the patches, `patch_embed`",
        "line 21 adds the prefix tokens",
        "line 22 gives them their position",
    )
    assert (patches.place.line, patches.statement) == (20, "x = self.patch_embed(x)")


def test_prefix_tokens_alone_are_reason_enough():
    join = "def join(self, token, x): return torch.cat((token, x), 1)"
    body = "x = self.patch_embed(x)\nx = self.join(self.cls_token, x)" + BLOCKS
    split = split_of(tiny(body, methods=join, cls_token=TOKEN))
    assert isinstance(split.patches, Patches)
    assert not split.position


def test_all_that_the_patches_run_through_belongs_to_them():
    body = "x = self.patch_embed(x)\nx = self.norm(x)\nx = x.flatten(2).transpose(1, 2)\nx = x + self.pos_embed"
    first, second = halves(body)
    assert first == ("x = self.patch_embed(x)", "x = self.norm(x)", "x = x.flatten(2).transpose(1, 2)")
    assert second == ("x = x + self.pos_embed",)


def test_what_only_looks_at_the_patches_is_left_to_their_position():
    first, second = halves("x = self.patch_embed(x)\nB, C, H, W = x.shape\nx = x + self.pos_embed * W")
    assert first == ("x = self.patch_embed(x)",)
    assert second == ("B, C, H, W = x.shape", "x = x + self.pos_embed * W")


def test_an_inner_model_is_cut_as_any_other():
    source = """
from torch import nn

class Encoder(nn.Module):
    def __init__(self):
        self.patch_embed = nn.Conv2d()
        self.pos_embed = nn.Parameter()
        self.blocks = nn.Sequential(*blocks)

    def forward_features(self, x):
        x, size = self.patch_embed(x)
        x = x + self.pos_embed * size
        return self.blocks(x)

    def forward(self, x):
        x = self.forward_features(x)
        return x

class Tiny(nn.Module):
    def __init__(self):
        self.encoder = Encoder()

    def forward_features(self, x):
        return self.encoder(x)
"""
    patches = patches_of(source)
    assert patches.embed_patches.body == ("x, size = self.encoder.patch_embed(x)",)
    assert patches.record == patches_of(source, "Encoder").record == "EncoderPatches"


# Why not


def test_without_position_and_prefix_tokens_what_embed_returns_are_the_patches():
    source = tiny("x = self.patch_embed(x)\nx = self.pos_drop(x)" + BLOCKS)
    assert absence(source).startswith("neither position nor prefix tokens follow the patch embedding")
    assert not split_of(source).position


@pytest.mark.parametrize(
    ("body", "methods", "whole"),
    [
        (
            "x = self._embed(x)",
            "def _embed(self, x):\n    return self.patch_embed(x) + self.pos_embed\n",
            "one call, `self._embed`,",
        ),
        ("x = self.patch_embed(x) + self.pos_embed", "", "one call, `self.patch_embed`,"),
        ("if self.flag:\n    x = self.patch_embed(x)\n    x = x + self.pos_embed", "", "the `if` on line 19"),
        ("for i in range(2):\n    x = self.patch_embed(x)\n    x = x + self.pos_embed", "", "the `for` on line 19"),
    ],
    ids=["helper", "expression", "condition", "loop"],
)
def test_one_statement_that_gives_patches_and_position_is_not_taken_apart(body, methods, whole):
    source = tiny(body + BLOCKS, methods=methods)
    assert absence(source) == f"{whole} gives the patches and their position"
    assert split_of(source).position
    same(source)


def test_a_module_of_the_stem_may_hold_the_position():
    source = """
from torch import nn

class Embed(nn.Module):
    def __init__(self):
        self.proj = nn.Linear()
        self.{name} = nn.Parameter()

    def forward(self, x):
        return self.proj(x) + self.{name}

class Tiny(nn.Module):
    def __init__(self):
        self.patch_embed = Embed()
        self.blocks = nn.Sequential(*blocks)

    def forward_features(self, x):
        x = self.patch_embed(x)
        return self.blocks(x)
"""
    held = source.format(name="position_table")
    assert absence(held) == "one call, `self.patch_embed`, gives the patches and their position"
    assert split_of(held).position
    assert "line 18 gives the tokens their position, inside the stem" in split_of(held).boundary.reasons
    assert not split_of(source.format(name="shift")).position


@pytest.mark.parametrize(
    "body",
    [
        "pos = self.pos_embed * 2\nx = self.patch_embed(x)\nx = x + pos",
        "x = self.patch_embed(x)\nx = x + self.pos_embed\nx = self.patch_embed2(x)\nx = x + self.pos_embed",
        "x = x + self.pos_embed",
    ],
    ids=["made before", "patches again", "no patches"],
)
def test_statements_do_not_change_their_order(body):
    source = tiny(body + BLOCKS, patch_embed2="nn.Conv2d()")
    assert "brings in `pos_embed` before the patches are complete" in absence(source)
    same(source)


def test_what_cannot_cross_is_a_reason_not_to_cut():
    source = tiny("x = self.patch_embed(x)\n_n = x.shape[3]\nx = self.norm(x)\nx = x + self.pos_embed * _n" + BLOCKS)
    why = "`_n` would cross, and no field of a NamedTuple begins with `_` (line 22)"
    assert absence(source) == f"it cannot be cut after its patches: {why}"
    same(source)


def test_what_is_imported_with_the_patches_is_imported_with_their_positions_too():
    source = tiny("x = self.patch_embed(x)\nimport math\nx = self.norm(x)\nx = x + self.pos_embed * math.pi" + BLOCKS)
    assert patches_of(source).recomputed == ("import math",)
    same(source)


def test_what_the_patch_embedding_leaves_on_the_model_is_a_reason_not_to_cut():
    body = "x = self.patch_embed(x)\nself.size = x.shape\nx = self.norm(x)\nx = x + self.pos_embed * self.size[0]"
    source = tiny(body + BLOCKS)
    assert "it reads `self.size`, which the embedding leaves on the model" in absence(source)
    same(source)


@pytest.mark.parametrize("name", ["embed_patches", "embed_positions"])
def test_a_method_of_that_name_costs_a_class_its_pair_alone(name):
    body = "x = self.patch_embed(x)\nx = x + self.pos_embed"
    source = tiny(body + BLOCKS, methods=f"def {name}(self, x):\n    return x\n")
    assert absence(source) == f"the class has a `{name}` of its own"
    same(source)


def test_a_child_with_a_method_of_that_name_is_split_by_itself():
    child = "\nclass Child(Tiny):\n    {}\n"
    source = tiny("x = self.patch_embed(x)\nx = x + self.pos_embed" + BLOCKS)
    assert isinstance(outcomes_of(source + child.format("pass"))["Child"].result, Inherited)
    result = outcomes_of(source + child.format("embed_patches = None"))["Child"].result
    assert isinstance(result, Split)
    assert result.patches == Absence("the class has a `embed_patches` of its own")


# What crosses


def crossing(body, parameters="x"):
    source = tiny(body + BLOCKS, parameters)
    patches = patches_of(source)
    same(source)
    named = [[p.name for p in m.parameters] for m in (patches.embed_patches, patches.embed_positions)]
    return [field.name for field in patches.fields], patches.recomputed, *named


def test_what_the_position_needs_of_the_patches_crosses_with_them():
    body = "x = self.patch_embed(x)\nn = x.shape[3]\nx = self.norm(x)\nx = x + self.pos_embed * n"
    assert crossing(body) == (["x", "n"], (), ["x"], [])


def test_what_only_the_stages_need_crosses_too():
    body = "x = self.patch_embed(x)\nn = x.shape[3]\nx = self.norm(x)\nx = x + self.pos_embed\nx = self.blocks[1](x, n)"
    assert crossing(body)[0] == ["x", "n"]


def test_the_batch_size_is_read_again_from_the_patches():
    body = "B = x.shape[0]\nx = self.patch_embed(x)\nx = x + self.pos_embed * B"
    assert crossing(body) == (["x"], ("B = x.shape[0]",), ["x"], [])


def test_a_parameter_goes_to_the_method_that_reads_it():
    body = "x = self.patch_embed(x, a, b)\nx = x + self.pos_embed * b * c"
    assert crossing(body, "x, a=1, b=2, c=3, d=4") == (["x"], (), ["x", "a", "b"], ["b", "c"])


def test_a_parameter_that_may_have_been_bound_anew_crosses():
    body = "if self.flag:\n    mask = 2\nx = self.patch_embed(x, mask)\nx = x + self.pos_embed * mask"
    assert crossing(body, "x, mask=1") == (["x", "mask"], (), ["x", "mask"], [])


def test_arguments_of_every_kind_arrive():
    body = "x = self.patch_embed(x, a, *rest)\nx = x + self.pos_embed * b * c * len(rest) * len(named)"
    source = tiny(body + BLOCKS, "x, a, b=2, *rest, c, **named")
    assert isinstance(split_of(source).patches, Patches)
    same(source, Value("images"), 1, 2, 3, 4, c=5, d=6)
