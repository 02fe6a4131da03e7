"""User models whose stages go by numbers, ``getattr(self, f"block{i}")``: split as they run, or refused."""

import pytest
from sources import result_in_users_file

from codegen.generate import analyse
from codegen.source.release import find_release
from codegen.types import Field, Intermediates, Refusal, Split

MODEL = """
import torch.nn as nn


class Patches(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        x = self.proj(x)
        {kept} = x.mean()
        return x


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.stages = 2
        for i in range(2):
            setattr(self, f"patch_embed{{i}}", Patches())
            setattr(self, f"block{{i}}", nn.ModuleList([nn.Linear(8, 8)]))
        {more}

    def forward_features(self, x):
        for i in range(self.stages):
            patch_embed = getattr(self, f"patch_embed{{i}}")
            block = getattr(self, f"block{{i}}")
            {head}
            x = patch_embed(x)
            for layer in block:
                x = layer(x)
        return {last}
"""


def result(tmp_path, kept="mean", more="pass", head="pass", last="x"):
    (tmp_path / "m.py").write_text(MODEL.format(kept=kept, more=more, head=head, last=last))
    outcomes = analyse(find_release(None, tmp_path / "m.py", announce=lambda message: None))
    return next(outcome.result for outcome in outcomes if outcome.name == "M")


def test_the_first_round_gives_the_embedding(tmp_path):
    split = result(tmp_path)
    assert isinstance(split, Split)
    assert split.embed.body == ('patch_embed = getattr(self, f"patch_embed{0}")', "pass", "x = patch_embed(x)")
    loop, last = split.forward_stages.body
    assert 'block = getattr(self, f"block{i}")\n    if i > 0:\n        pass\n        x = patch_embed(x)' in loop
    assert last == "return x"


@pytest.mark.parametrize(
    "last",
    [
        "x * self.patch_embed0.kept",
        "x * getattr(self, f'patch_embed{0}').kept",
        "x * getattr(self, 'patch_embed0').kept",
    ],
)
def test_what_a_stage_keeps_is_not_read_by_another_name(tmp_path, last):
    refusal = result(tmp_path, kept="self.kept", last=last)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "it reads `self.patch_embed{i}.kept`, which the embedding leaves on the model"


REFUSED = {
    "another object under such a name": {
        "kept": "self.kept",
        "more": "self.block7 = nn.ModuleList([self.patch_embed0])",
    },
    "the model under such a name": {"kept": "self.kept", "more": "object.__setattr__(self, 'block3', [self])"},
    "a module that is replaced on the way": {"head": "self.block0 = self.block1"},
    "what the names are counted by": {"head": "self.stages = 1"},
    "the counter": {"head": "i = 1"},
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_may_be_another_in_the_stages_is_refused(tmp_path, case):
    assert isinstance(result(tmp_path, **REFUSED[case]), Refusal)


def test_modules_are_looked_up_again_by_their_number_and_are_no_part_of_the_patches(tmp_path):
    head = 'pos_embed = getattr(self, f"pos_embed{i + 1}")'
    more = 'for i in range(2): setattr(self, f"pos_embed{i + 1}", nn.Parameter(torch.zeros(1, 4, 8)))'
    (tmp_path / "m.py").write_text(
        MODEL.format(kept="mean", more=more, head=head, last="x").replace(
            "            for layer", "            x = x + pos_embed\n            for layer"
        )
    )
    (outcome,) = (o for o in analyse(find_release(None, tmp_path / "m.py", announce=str)) if o.name == "M")
    assert outcome.result.patches.fields == (Field("x", "torch.Tensor"),)


NAMED = """
import torch.nn as nn
from elsewhere import build_norm


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.norm1_name, norm1 = build_norm(8)
        self.add_module(self.norm1_name, norm1)
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])

    @property
    def norm1(self):
        return getattr(self, self.{held})

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        {before}
        for block in self.blocks:
            x = block(x)
        return {last}
"""


def named(tmp_path, before="pass", last="x", held="norm1_name"):
    (tmp_path / "m.py").write_text(NAMED.format(before=before, last=last, held=held))
    outcomes = analyse(find_release(None, tmp_path / "m.py", announce=lambda message: None))
    return next(outcome.result for outcome in outcomes if outcome.name == "M")


def test_a_norm_under_a_name_that_an_attribute_holds_belongs_to_the_stem(tmp_path):
    split = named(tmp_path, before="x = self.norm1(x)")
    assert isinstance(split, Split)
    assert split.embed.body[-1] == "x = self.norm1(x)"
    assert isinstance(named(tmp_path, last="self.norm1(x)"), Split)


def test_what_it_keeps_is_not_read_by_the_stages(tmp_path):
    assert isinstance(named(tmp_path, before="x = self.norm1(x)", last="self.norm1(x)"), Refusal)
    assert isinstance(named(tmp_path, before="x = self.norm1(x)", last="x * self.norm1.kept"), Refusal)


def test_one_under_any_name_may_be_any_module(tmp_path):
    refusal = named(tmp_path, before="x = self.norm1(x)", held="other_name")
    assert isinstance(refusal, Refusal)
    assert refusal.reason.startswith("it reads `self.blocks`, which line ")
    assert refusal.reason.endswith("which cannot be read")


TWO_STEMS = """
import torch.nn as nn


class M(nn.Module):
    def __init__(self):
        super().__init__()
        for i in range(2):
            setattr(self, f"patch_embed{i}", nn.Conv2d(3, 8, 4))
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])

    def every(self):
        for i in range(2):
            yield getattr(self, f"patch_embed{i}")

    def forward_intermediates(self, x, indices=None):
        STEM
        out = []
        for block in self.blocks:
            x = block(x)
            out.append(x)
        return x, out

    def forward_features(self, x):
        x = self.patch_embed0(x)
        for block in self.blocks:
            x = block(x)
        return x
"""


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("x = self.patch_embed0(x)", Intermediates),
        ("x = self.patch_embed1(x)", Refusal),
        ("if self.patch_embed1 is not None: x = self.patch_embed0(x)", Refusal),
    ],
)
def test_stems_of_two_numbers_are_two(tmp_path, stem, expected):
    (tmp_path / "m.py").write_text(TWO_STEMS.replace("STEM", stem))
    (outcome,) = analyse(find_release(None, tmp_path / "m.py", announce=lambda message: None))
    assert isinstance(outcome.result, Split)
    assert isinstance(outcome.result.intermediates, expected)


PYRAMID = """
import torch
import torch.nn.functional as F
from torch import nn


class Patches(nn.Module):
    def __init__(self, inside, size):
        super().__init__()
        self.H = self.W = size
        self.proj = nn.Conv2d(inside, 8, 2, 2)

    def forward(self, x):
        x = self.proj(x)
        return x.flatten(2).transpose(1, 2), x.shape[2:]


class Keeper(nn.Module):
    def forward(self, x):
        self.kept = x.mean()
        return x


class M(nn.Module):
    def __init__(self, rounds=2):
        super().__init__()
        self.rounds = rounds
        for i in range(rounds):
            setattr(self, f"patch_embed{i + 1}", Patches(8 if i else 3, 8 // (i + 1)))
            pos_embed = {made}
            setattr(self, f"pos_embed{i + 1}", pos_embed)
            setattr(self, f"block{i + 1}", nn.ModuleList([nn.Linear(8, 8)]))
        for i in range(rounds):
            pos_embed = {again}
            nn.init.trunc_normal_(pos_embed, std=.02)

    def resized(self, pos_embed, patch_embed, H, W):
        if H * W == self.patch_embed1.H:
            return pos_embed
        pos_embed = pos_embed.reshape(1, patch_embed.H, patch_embed.W, -1).permute(0, 3, 1, 2)
        return F.interpolate(pos_embed, size=(H, W)).reshape(1, -1, H * W).permute(0, 2, 1)

    def forward_features(self, x):
        B = x.shape[0]
        for i in range(self.rounds):
            patch_embed = getattr(self, f"patch_embed{i + 1}")
            pos_embed = getattr(self, f"pos_embed{i + 1}")
            block = getattr(self, f"block{i + 1}")
            x, (H, W) = patch_embed(x)
            pos_embed = self.resized(pos_embed, patch_embed, H, W)
            x = x + pos_embed
            for layer in block:
                x = layer(x)
            x = x.reshape(B, H, W, -1).permute(0, 3, 1, 2)
        return x{last}
"""
POSITION = "nn.Parameter(torch.zeros(1, 64 >> i, 8))"
SAME = 'getattr(self, f"pos_embed{i + 1}")'


def pyramid(made=POSITION, again=SAME, last=""):
    source = PYRAMID.replace("{made}", made).replace("{again}", again).replace("{last}", last)
    return result_in_users_file(source)


@pytest.mark.parametrize("again", [SAME, "getattr(self, 'pos_embed2')", "self.pos_embed1"])
def test_what_is_looked_up_by_its_name_is_what_was_set(again):
    split = pyramid(again=again)
    assert isinstance(split, Split)
    assert [field.name for field in split.fields] == ["x", "H", "W"]
    assert split.recomputed == ("B = x.shape[0]",)


@pytest.mark.parametrize(
    "made", ["nn.Parameter(torch.zeros(64 >> i, 1, 8))", "nn.Parameter(make(i))", "torch.zeros(i)"]
)
def test_the_batch_is_not_read_from_tokens_to_which_anything_is_added(made):
    split = pyramid(made=made)
    assert isinstance(split, Refusal) or split.recomputed == ()


def test_a_module_that_is_looked_up_by_its_name_does_what_it_does():
    assert isinstance(pyramid(made="Keeper()", again="self.patch_embed1.proj.weight"), Refusal)
    assert isinstance(pyramid(again="getattr(self, 'kept', Keeper())", last=" * self.pos_embed1.kept"), Refusal)
