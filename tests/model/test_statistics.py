"""Who reads the running statistics of torch's norms, and who has buffers of such a name of its own."""

import pytest
from sources import result_in_users_file

from codegen.types import Refusal, Split

SOURCE = """
import torch
from torch import nn


class EvoNorm({base}):
    def __init__(self):
        super().__init__({size})
        self.register_buffer("running_var", torch.ones(8))

    def forward(self, x):
        if self.training:
            self.running_var.copy_(x.detach().var((0, 1)))
        return x / self.running_var.sqrt()

{more}

class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8))
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))
        self.first = EvoNorm()
        self.last = EvoNorm()
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])

    def forward_features(self, x):
        x = {stem}(self.patch_embed(x).flatten(2).transpose(1, 2)) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.last(x)
"""


def result(base="nn.Module", size="", more="", stem="self.first"):
    return result_in_users_file(SOURCE.format(base=base, size=size, more=more, stem=stem))


def test_a_buffer_of_its_own_is_no_statistic_of_torch():
    assert isinstance(result(), Split)


@pytest.mark.parametrize(
    "parts",
    [
        {"base": "nn.BatchNorm1d", "size": "8"},
        {"more": "class Both(EvoNorm, nn.BatchNorm1d):\n    pass\n"},
        {"more": "from elsewhere import Norm\nclass Both(EvoNorm, Norm):\n    pass\n"},
    ],
)
def test_of_what_may_be_a_norm_of_torch_it_may_be_one(parts):
    found = result(**parts)
    assert isinstance(found, Refusal)
    assert "statistics of a norm" in found.reason


def test_a_buffer_of_one_norm_in_both_halves_is_shared():
    assert isinstance(result(stem="self.last"), Refusal)


AGAIN = """
import copy
import pickle

import torch
from torch import nn


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.bn = nn.BatchNorm2d(8)
        self.copied = copy.copy(self.bn)
        self.same = self.bn
        self.own = nn.BatchNorm2d(8)
        self.pos_embed = nn.Parameter(torch.zeros(1, 8, 4, 4))
        self.blocks = nn.ModuleList([nn.Conv2d(8, 8, 1)])

    def forward_features(self, x):
        x = self.bn(self.patch_embed(x)) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return {last}
"""


@pytest.mark.parametrize(
    "last",
    [
        "self.bn.eval()(x)",
        "copy.copy(self.bn).eval()(x)",
        "copy.deepcopy(self.bn).eval()(x)",
        "pickle.loads(pickle.dumps(self.bn)).eval()(x)",
        "nn.BatchNorm2d.forward(self.bn.eval(), x)",
        "copy.deepcopy(nn.Sequential(self.bn)).eval()(x)",
        "torch.jit.script(self.bn).eval()(x)",
        "torch.optim.swa_utils.AveragedModel(self.bn).eval()(x)",
        "self.copied(x)",
        "self.same(x)",
        "[m for m in (self.bn,)][0].eval()(x)",
    ],
)
def test_a_norm_of_the_embedding_that_the_stages_use_again_may_be_in_evaluation_there(last):
    found = result_in_users_file(AGAIN.replace("{last}", last))
    assert isinstance(found, Refusal)


INSIDE = """
from torch import nn


class PatchEmbed(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Conv2d(3, 8, 4, 4)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x):
        return self.norm(self.proj(x))


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = PatchEmbed()
        self.blocks = nn.ModuleList([nn.Conv2d(8, 8, 1)])
        self.norm = nn.BatchNorm2d(8)

    def forward_features(self, x):
        x = self.patch_embed(x)
        for block in self.blocks:
            x = block(x)
        return {last}
"""


def test_a_norm_inside_the_stem_is_another_than_the_models_of_its_name():
    assert isinstance(result_in_users_file(INSIDE.replace("{last}", "self.norm(x)")), Split)
    assert isinstance(result_in_users_file(INSIDE.replace("{last}", "self.patch_embed.norm(x)")), Refusal)
    assert isinstance(result_in_users_file(INSIDE.replace("{last}", "self.patch_embed.norm.eval()(x)")), Refusal)


@pytest.mark.parametrize("last", ["x", "self.own(x)", "x * self.bn.eps", "x if self.bn is None else x + 1"])
def test_a_norm_of_the_stages_is_another(last):
    assert isinstance(result_in_users_file(AGAIN.replace("{last}", last)), Split)


@pytest.mark.parametrize(
    ("made", "refused"),
    [
        ("norm = nn.BatchNorm2d(8)\nself.bn = norm\nself.own = norm", True),
        (
            "norm = nn.BatchNorm2d(8)\nself.bn = nn.Sequential(norm)\nself.own = nn.Sequential(nn.Identity(), norm)",
            True,
        ),
        ("norm = make(8)\nself.bn = norm\nself.own = norm", True),
        ("norm = nn.BatchNorm2d(8)\nself.bn = norm\nnorm = nn.BatchNorm2d(8)\nself.own = norm", False),
        ("act = nn.GELU()\nself.bn = nn.Sequential(nn.BatchNorm2d(8), act)\nself.own = nn.Sequential(act)", False),
        ("size = to_2tuple(8)[0]\nself.bn = nn.BatchNorm2d(size)\nself.own = nn.BatchNorm2d(size)", False),
        ("size = 8\nself.bn = nn.BatchNorm2d(size)\nself.own = nn.BatchNorm2d(size)", False),
    ],
)
def test_a_norm_that_two_attributes_are_given_is_one(made, refused):
    lines = made.replace("\n", "\n        ")
    source = AGAIN.replace("self.own = nn.BatchNorm2d(8)", lines).replace("{last}", "self.own(x)")
    source = source.replace("import torch\n", "import torch\nfrom timm.layers import to_2tuple\n", 1)
    source = source.replace("class M(", "def make(dim):\n    return nn.BatchNorm2d(dim)\n\n\nclass M(")
    assert isinstance(result_in_users_file(source), Refusal) is refused


PYRAMID = """
from torch import nn


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.downsample_layers = nn.ModuleList([nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8))])
        for _ in range(2):
            self.downsample_layers.append(nn.Sequential(nn.BatchNorm2d(8), nn.Conv2d(8, 8, 2, 2)))
        self.stages = nn.ModuleList([nn.Conv2d(8, 8, 1) for _ in range(3)])

    def forward_features(self, x):
        {first}
            x = self.downsample_layers[i](x)
            x = self.stages[i](x)
        return x
"""


@pytest.mark.parametrize(
    "first",
    [
        "for i in range(3):",
        "x = self.downsample_layers[0](x)\n        x = self.stages[0](x)\n        for i in range(1, 3):",
    ],
)
def test_stages_have_norms_of_their_own_in_the_container_that_begins_with_the_stem(first):
    assert isinstance(result_in_users_file(PYRAMID.replace("{first}", first)), Split)


COPIED = """
import copy
import torch
from torch import nn


class Norm(nn.BatchNorm1d):
    frozen = False

    def train(self, mode=True):
        return super().train(mode and not self.frozen)


class Part(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        return self.norm(x.mT).mT


class Stem(Part):
    def forward(self, x):
        return super().forward(x.flatten(2).mT)


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        {made}
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))
        self.blocks = nn.ModuleList([nn.Linear(8, 8), Part(last)])

    def forward_features(self, x):
        x = self.stem(self.patch_embed(x)) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x
"""


@pytest.mark.parametrize(
    "made",
    [
        "first = Norm(8); last = copy.copy(first); last.frozen = True; self.stem = Stem(first)",
        "first = last = Norm(8); self.stem = Stem(first)",
        "self.stem = Stem(Norm(8)); last = copy.copy(self.stem.norm); last.frozen = True",
    ],
)
def test_a_block_with_a_copy_of_the_norm_of_the_stem(made):
    assert isinstance(result_in_users_file(COPIED.format(made=made)), Refusal)


def test_a_block_with_a_norm_of_its_own():
    found = result_in_users_file(COPIED.format(made="first = Norm(8); last = Norm(8); self.stem = Stem(first)"))
    assert isinstance(found, Split)


def test_the_part_of_the_container_that_is_the_stem_is_no_other_where_the_stages_name_it():
    source = PYRAMID.replace("{first}", "for i in range(3):")
    for last, found in (("0", Refusal), ("1", Split)):
        again = source.replace("return x", f"return self.downsample_layers[{last}][0].eval()(x)")
        assert isinstance(result_in_users_file(again), found)


NUMBERED = """
import copy

from torch import nn

SHARED = nn.BatchNorm2d(8)


class Patches(nn.Module):
    def __init__(self, inside, outside=8, norm=None):
        super().__init__()
        self.proj = nn.Conv2d(inside, outside, 2, 2)
        self.norm = {norm}

    def forward(self, x):
        return self.norm(self.proj(x))


class M(nn.Module):
    def __init__(self, widths=(8, 8, 8), rounds=3):
        super().__init__()
        self.rounds = rounds
        {before}
        for i in range(rounds):
            {made}
            setattr(self, f"patch_embed{i + 1}", {set})
            setattr(self, f"block{i + 1}", nn.ModuleList([nn.Conv2d(8, 8, 1)]))
        {more}

    def forward_features(self, x):
        for i in range(self.rounds):
            patch_embed = getattr(self, f"patch_embed{i + 1}")
            block = getattr(self, f"block{i + 1}")
            x = {run}(x)
            for layer in block:
                x = layer(x)
            {last}
        {after}
        return x
"""
NEW = "Patches(3 if i == 0 else widths[i - 1], widths[i])"


def numbered(**parts):
    parts = {"made": f"patch_embed = {NEW}", "set": "patch_embed", "run": "patch_embed", **parts}
    source = NUMBERED
    for name in ("norm", "before", "made", "set", "more", "run", "last", "after"):
        plain = "nn.BatchNorm2d(outside)" if name == "norm" else "pass"
        source = source.replace("{" + name + "}", parts.get(name, plain))
    return result_in_users_file(source)


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"made": "pass", "set": NEW},
        {"made": f"if i == 0:\n                patch_embed = Patches(3)\n            else: patch_embed = {NEW}"},
        {"run": 'getattr(self, f"patch_embed{i + 1}")'},
        {"more": 'for i in range(rounds):\n            getattr(self, f"patch_embed{i + 1}").requires_grad_(True)'},
        {"more": "self.patch_embed1.requires_grad = False"},
        {"after": "for i in range(1, self.rounds):\n            x = getattr(self, f'patch_embed{i + 1}')(x)"},
        {"after": "x = self.patch_embed2(x)"},
    ],
)
def test_numbered_stages_have_norms_of_their_own(parts):
    assert isinstance(numbered(**parts), Split)


@pytest.mark.parametrize(
    "parts",
    [
        # one object in several rounds
        {"before": f"i = 1\n        patch_embed = {NEW}", "made": "pass"},
        {"made": f"if i == 0:\n                patch_embed = {NEW}"},
        {"made": "pass", "set": f"patch_embed if i else {NEW}", "before": "patch_embed = Patches(3)"},
        {"made": f"patch_embed = {NEW} if i == 0 else self.patch_embed1"},
        {"made": f"patch_embed = getattr(self, f'patch_embed{{i}}') if i else {NEW}"},
        {
            "set": "patch_embed)\n            patch_embed = Patches(8",
            "made": "pass",
            "before": "patch_embed = Patches(3)",
        },
        {"made": "patch_embed = made[0]", "before": "made = [Patches(3)]"},
        {"more": "self.patch_embed2 = self.patch_embed1"},
        {"more": "self.patch_embed2 = copy.copy(self.patch_embed1)"},
        {"more": "self.add_module('patch_embed2', self.patch_embed1)"},
        {"more": "one = getattr(self, 'patch_embed1')\n        setattr(self, 'patch_embed2', one)"},
        # one norm in several objects
        {"norm": "SHARED"},
        {"norm": "norm", "made": f"patch_embed = {NEW[:-1]}, norm)", "before": "norm = nn.BatchNorm2d(8)"},
        {
            "norm": "norm",
            "made": f"patch_embed = {NEW[:-1]}, norm=self.norm)",
            "before": "self.norm = nn.BatchNorm2d(8)",
        },
        {"norm": "norm[0]", "made": f"patch_embed = {NEW[:-1]}, norm)", "before": "norm = [nn.BatchNorm2d(8)]"},
        {"norm": "norm", "made": "patch_embed = Patches(3, 8, SHARED)"},
        {"more": "self.patch_embed2.norm = self.patch_embed1.norm"},
        {"more": "one = self.patch_embed1\n        self.patch_embed2.norm = one.norm"},
        {"more": "for i in range(2):\n            getattr(self, f'patch_embed{i + 1}').norm = SHARED"},
        {"before": "self.patch_embed0 = self.patch_embed1"},
        # the same in a later round, or after them
        {"after": "x = self.patch_embed1(x)"},
        {"after": "x = self.patch_embed1.norm.eval()(x)"},
        {"after": "x = getattr(self, 'patch_embed1').norm.eval()(x)"},
        {"after": "x = patch_embed.norm.eval()(x)"},
        {"after": "for i in range(1):\n            x = getattr(self, f'patch_embed{i + 1}').norm.eval()(x)"},
        {"after": "for j in range(1, 3):\n            x = getattr(self, f'patch_embed{j}').norm.eval()(x)"},
        {"last": "x = patch_embed.norm.eval()(x)"},
        {"last": "x = getattr(self, f'patch_embed{i + 1}').norm.eval()(x)"},
        {"last": "x = getattr(self, f'patch_embed{i * 0 + 1}').norm.eval()(x)"},
        {"last": "x = getattr(self, 'patch_embed' + '1').norm.eval()(x)"},
        {"last": "x = getattr(self, f'patch_embed{i % 2 + 1}').norm.eval()(x)"},
        {"run": 'getattr(self, f"patch_embed{i % 2 + 1}")'},
        {"last": "name = f'patch_embed{i * 0 + 1}'\n            x = getattr(self, name)(x)"},
        {"last": "patch_embed = self.patch_embed1\n            x = patch_embed.norm.eval()(x)"},
        {"last": "for i in range(1, 3):\n                x = patch_embed(x)"},
        {"last": "x = [getattr(self, f'patch_embed{i + 1}')(x) for i in range(1)][0]"},
        {"last": "if i > 0:\n                i = 0\n                x = getattr(self, f'patch_embed{i + 1}')(x)"},
    ],
)
def test_numbered_stages_that_may_have_a_norm_in_common_are_refused(parts):
    assert isinstance(numbered(**parts), Refusal)


STEMS = """
from torch import nn


class M(nn.Module):
    def __init__(self):
        super().__init__()
        for i in range(3):
            setattr(self, f"stem{i}", nn.Sequential(nn.Conv2d(8 if i else 3, 8, 1), nn.BatchNorm2d(8)))
        self.blocks = nn.ModuleList([nn.Conv2d(8, 8, 1)])

    def forward_features(self, x):
        for i in range(2):
            x = getattr(self, f"stem{i}")(x)
        for block in self.blocks:
            x = block(x)
        return {last}
"""


@pytest.mark.parametrize("last", ["self.stem1[1].eval()(x)", "self.stem0[1].eval()(x)", "getattr(self, 'stem1')(x)"])
def test_a_loop_of_the_embedding_uses_all_that_it_may(last):
    assert isinstance(result_in_users_file(STEMS.replace("{last}", last)), Refusal)
