"""A layer that the code does not tell may be any class in sight, one that folds or turns the batch too."""

import pytest
from sources import result_in_users_file

from codegen.types import Refusal, Split

MODEL = """
import torch
from functools import partial
from mmcv.cnn import build_norm_layer
from torch import nn


class Fold(nn.LayerNorm):
    def forward(self, x):
        x = super().forward(x)
        B, N, C = x.shape
        return {gives}


NORMS = {{"layer": nn.LayerNorm, "fold": Fold}}
CONFIG = {{"dim": 8, "norm_layer": Fold}}


class PatchEmbed(nn.Module):
    norm_cls = nn.LayerNorm

    def __init__(self, dim=8, norm_layer=None, norm_cfg=None, **others):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, 4, 4)
        {norm}

    def forward(self, x):
        return self.norm(self.proj(x).flatten(2).transpose(1, 2))


class Tiny(nn.Module):
    def __init__(self, norm="layer", norm_layer=nn.LayerNorm, **options):
        super().__init__()
        {made}
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])

    def forward_features(self, x):
        x = self.patch_embed(x)
        for block in self.blocks:
            x = block(x)
        return x.reshape(-1, 16, 8)


{after}
"""
PASSED = "self.norm = norm_layer(dim) if norm_layer else nn.Identity()"
FOLDED = "x.reshape(B * 4, N // 4, C)"
WAYS = {
    "set afterwards": (PASSED, "self.patch_embed = PatchEmbed()\n        self.patch_embed.norm = Fold(8)", ""),
    "set by a variable": (
        PASSED,
        "stem = self.patch_embed = PatchEmbed()\n        stem.norm = Fold(8)",
        "",
    ),
    "set by a method": (
        f"{PASSED}\n\n    def set_norm(self, norm):\n        self.norm = norm",
        "self.patch_embed = PatchEmbed()\n        self.patch_embed.set_norm(Fold(8))",
        "",
    ),
    "looked up": (PASSED, "self.patch_embed = PatchEmbed(8, NORMS[norm])", ""),
    "in a dictionary": (PASSED, "self.patch_embed = PatchEmbed(**{**CONFIG, **options})", ""),
    "taken out of keywords": (
        "self.norm = others.get('norm')(dim)",
        "self.patch_embed = PatchEmbed(**dict(norm=partial(Fold, eps=2)))",
        "",
    ),
    "a default": (
        PASSED,
        "norm_layer = options.get('n') or Fold\n        self.patch_embed = PatchEmbed(8, norm_layer)",
        "",
    ),
    "by a subclass": (
        PASSED,
        "self.patch_embed = PatchEmbed(8, norm_layer=norm_layer)",
        "class Other(Tiny):\n    def __init__(self):\n        super().__init__(norm_layer=Fold)",
    ),
    "by a subclass's keywords": (
        PASSED,
        "self.patch_embed = PatchEmbed(8, norm_layer=norm_layer)",
        "class Other(Tiny):\n    def __init__(self, **kw):\n"
        "        kw['norm_layer'] = Fold\n        super().__init__(**kw)",
    ),
    "a class attribute": (
        "self.norm = (norm_layer or self.norm_cls)(dim)",
        "self.patch_embed = PatchEmbed()",
        "PatchEmbed.norm_cls = Fold",
    ),
    "by a configuration": (
        "self.norm = build_norm_layer(norm_cfg, dim)[1]",
        "self.patch_embed = PatchEmbed(8, norm_cfg=dict(type='Fold'))",
        "",
    ),
    "in a loop": (
        PASSED,
        "norm = nn.LayerNorm\n        for norm in (norm, Fold):\n            pass\n"
        "        self.patch_embed = PatchEmbed(8, norm)",
        "",
    ),
}


def outcome(way, gives):
    norm, made, after = way
    return result_in_users_file(MODEL.format(norm=norm, made=made, after=after, gives=gives), "Tiny")


@pytest.mark.parametrize("gives", [FOLDED, "x.transpose(0, 1)", "x.permute(1, 0, 2)"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_is_not_told_may_be_what_moves_rows(way, gives):
    assert isinstance(outcome(way, gives), Refusal)


def test_a_refusal_names_the_class_that_it_may_be():
    reason = outcome(WAYS["looked up"], FOLDED).reason
    assert "may be `Fold` (models.py:8), which gives images other rows than it is given" in reason


@pytest.mark.parametrize("way", ["set by a method", "by a subclass", "looked up"])
def test_a_layer_that_keeps_rows_may_be_anything(way):
    assert isinstance(outcome(WAYS[way], "x * 2"), Split)


def test_a_layer_that_is_told_is_what_it_is():
    told = ("self.norm = nn.LayerNorm(dim)", "self.patch_embed = PatchEmbed()\n        self.last = Fold(8)", "")
    assert isinstance(outcome(told, FOLDED), Split)


SUPER = """
from torch import nn


class Norm(nn.LayerNorm):
    def forward(self, x):
        kind = x.dtype
        return super().forward(x.type(nn.Module.dtype)).type(kind)


class Stem(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Conv2d(3, 8, 4, 4)
        self.norm = Norm(8)

    def forward(self, x):
        return self.norm(self.proj(x).flatten(2).transpose(1, 2))


class Scaled(Stem):
    def forward(self, x):
        return super().forward(x){after}


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = Scaled()
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])

    def forward_features(self, x):
        x = self.patch_embed(x)
        for block in self.blocks:
            x = block(x)
        return x
"""


def test_what_a_parent_gives_is_read():
    split = result_in_users_file(SUPER.format(after=" * 2"), "Tiny")
    assert isinstance(split, Split)
    assert split.layout == "NLC"
    assert "in another dimension" in result_in_users_file(SUPER.format(after=".transpose(0, 1)"), "Tiny").reason


@pytest.mark.parametrize(
    ("layers", "keeps"),
    [
        ("nn.Flatten(0, 1), nn.Unflatten(0, (-1, 4))", False),
        ("nn.Unflatten(0, (-1, 2)), nn.Flatten(1, 2)", False),
        ("nn.Unflatten(1, (4, 4)), nn.Flatten(1, 2)", True),
    ],
)
def test_what_torch_takes_apart_may_be_the_batch(layers, keeps):
    way = (f"self.norm = nn.Sequential({layers})", "self.patch_embed = PatchEmbed()", "")
    assert isinstance(outcome(way, "x"), Split if keeps else Refusal)


PATTERNS = {
    "b c (h p) (w q) -> b (h w) (c p q)": True,
    "b c (h p) (w q) -> (b h) w (c p q)": False,
    "b c (h p) (w q) -> (h w) b (c p q)": False,
}
COMPUTED = {
    "one after the other": 'left = "{left}"\n        right = "{right}"\n        text = f"{{left}} -> {{right}}"',
    "a part": 'inner = "".join(["(h p) ", "(w q)"])\n        text = f"b c {{inner}} -> {right}"',
}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("way", COMPUTED)
def test_a_pattern_that_is_put_together_tells_where_the_images_are(pattern, way):
    left, right = pattern.split(" -> ")
    made = COMPUTED[way].format(left=left, right=right)
    norm = f"{made}\n        self.proj = nn.Sequential(Rearrange(text, p=4, q=4), nn.Linear(48, dim))"
    source = MODEL.format(norm=norm, made="self.patch_embed = PatchEmbed()", after="", gives="x")
    source = source.replace(
        "from torch import nn", "from einops.layers.torch import Rearrange\nfrom torch import nn", 1
    )
    source = source.replace("self.norm(self.proj(x).flatten(2).transpose(1, 2))", "self.proj(x)")
    assert isinstance(result_in_users_file(source, "Tiny"), Split if PATTERNS[pattern] else Refusal)
