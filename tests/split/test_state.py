"""What the embedding leaves on the model: refused where the stages read it, and nobody's concern where they do not."""

import pytest
from sources import outcomes_of, refusal_of, result_in_users_file, split_of

from codegen.types import Inherited

MODEL = """
import torch.nn as nn


class Patches(nn.Module):
    def forward(self, x):
        self._measure(x)
        return x

    def _measure(self, x):
        self.grid = x.shape[2:]


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = Patches()
        self.pos_embed = nn.Parameter()
        self.blocks = nn.Sequential(*[])

    def _size(self):
        return self.size

    def _grid(self, x):
        return x.view(self.patch_embed.grid)

    def forward_features(self, x):
        {first}
        x = self.patch_embed(x)
        x = x + self.pos_embed
        x = self.blocks(x)
        return {last}
"""


@pytest.mark.parametrize(
    ("first", "last", "path"),
    [
        ("self.size = x.shape", "x.view(self.size)", "size"),
        ("self.size, n = x.shape, 2", "x.view(self._size())", "size"),
        ("self.count += 1", "x * self.count", "count"),
        ("pass", "x.view(self.patch_embed.grid)", "patch_embed.grid"),
        ("pass", "self._grid(x)", "patch_embed.grid"),
    ],
    ids=["stored", "read by a helper", "augmented", "stored by a module", "both in helpers"],
)
def test_stages_that_read_what_the_embedding_left_are_refused(first, last, path):
    source = MODEL.format(first=first, last=last)
    refusal = refusal_of(source)
    assert refusal.reason == f"it reads `self.{path}`, which the embedding leaves on the model"
    assert refusal.place.line == len(source.splitlines())


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("self.size = x.shape", "x"),
        ("self.size = x.shape", "x.view(self.sizes)"),
        ("pass", "x.view(self.patch_embed.grid_size)"),
        ("pass", "self.patch_embed(x)"),
    ],
)
def test_what_only_the_embedding_reads_is_nobodys_concern(first, last):
    assert split_of(MODEL.format(first=first, last=last))


BRANCHES = """
import torch
import torch.nn as nn


class Counts(nn.Conv2d):
    def forward(self, x):
        {kept} = x.mean()
        return super().forward(x)


class Branches(nn.ModuleDict):
    def __init__(self):
        super().__init__()
        {put}

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.values()])


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = Branches()
        self.pos_embed = nn.Parameter()
        self.blocks = nn.ModuleList([Branches()])

    def forward_features(self, x):
        x = self.stem(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x * self.stem["a"].kept
"""
PUT = {
    "added": "self.add_module('a', Counts(3, 8, 4))",
    "registered": "self.register_module('a', Counts(3, 8, 4))",
    "under a key": "self['a'] = Counts(3, 8, 4)",
    "by a variable": "counts = Counts(3, 8, 4)\n        self['a'] = counts",
    "updated": "self.update({'a': Counts(3, 8, 4)})",
    "an attribute": "self.a = Counts(3, 8, 4)",
}


@pytest.mark.parametrize("put", PUT)
def test_what_a_container_holds_is_what_its_methods_put_into_it(put):
    assert split_of(BRANCHES.format(kept="kept", put=PUT[put]))
    assert (
        "which the embedding leaves on the model" in refusal_of(BRANCHES.format(kept="self.kept", put=PUT[put])).reason
    )


PASSED = """
import functools

import torch
import torch.nn as nn
from elsewhere import Far


class Stem(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Conv2d(3, 8, 4)

    def forward(self, x):
        return self.proj(x)


class Keeps(Stem):
    def forward(self, x):
        self.seen = x.mean()
        return super().forward(x)


def make():
    return Keeps()


class Base(nn.Module):
    def __init__(self, dim=8, stem=Stem, **more):
        super().__init__()
        self.patch_embed = stem()
        self.pos_embed = nn.Parameter()
        self.blocks = nn.Sequential(*[])

    def forward_features(self, x):
        x = self.patch_embed(x)
        x = x + self.pos_embed
        x = self.blocks(x)
        return x * getattr(self.patch_embed, "seen", 1.0)


class Between(Base):
    def __init__(self, inner=Stem):
        super().__init__(stem=inner)


class Tiny({base}):
    def __init__(self{parameters}):
        {call}
"""


@pytest.mark.parametrize(
    ("base", "parameters", "call"),
    [
        ("Base", "", "super().__init__(8, Keeps)"),
        ("Base", "", "super().__init__(stem=Keeps)"),
        ("Base", "", "super(Tiny, self).__init__(8, Keeps)"),
        ("Base", "", "Base.__init__(self, 8, Keeps)"),
        ("Base", "", "super().__init__(stem=functools.partial(Keeps))"),
        ("Base", "", "super().__init__(stem=lambda: Keeps())"),
        ("Base", "", "super().__init__(stem=make)"),
        ("Base", "", "super().__init__(stem=Far)"),
        ("Base", "", "super().__init__(**dict(stem=Keeps))"),
        ("Base", ", **kwargs", "super().__init__(**{**kwargs, 'stem': Keeps})"),
        ("Base", ", **kwargs", "kwargs.setdefault('stem', Keeps)\n        super().__init__(**kwargs)"),
        ("Base", ", **kwargs", "kwargs['stem'] = Keeps\n        super().__init__(**kwargs)"),
        ("Base", ", stem=Keeps", "super().__init__(stem=stem)"),
        ("Between", "", "super().__init__(Keeps)"),
        ("Between", ", inner=Keeps", "super().__init__(inner=inner)"),
    ],
)
def test_the_stem_is_what_a_child_passes_to_its_parents_constructor(base, parameters, call):
    refusal = refusal_of(PASSED.format(base=base, parameters=parameters, call=call))
    stem = "`self.patch_embed`, made by the argument `stem` of the constructor"
    unread = f"which line 36 may change: it runs {stem}, which cannot be read"
    may_be_any = "lambda" in call or "make" in call or "Far" in call
    why = unread if may_be_any else "which the embedding leaves on the model"
    assert refusal.reason == f"it reads `self.patch_embed.seen`, {why}"


BACKBONE = """
import torch.nn as nn


class Patches(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Conv2d(3, 8, 4)
        self.pad = False

    def forward(self, x):
        return self.proj(x)


class Hybrid(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.pad = False

    def forward(self, x):
        return self.backbone(x)


class Tiny(nn.Module):
    def __init__(self, backbone=None):
        super().__init__()
        if backbone is not None:
            self.patch_embed = Hybrid(backbone)
        else:
            self.patch_embed = Patches()
        self.blocks = nn.Sequential(*[])

    def forward_features(self, x):
        x = self.patch_embed(x)
        return self.blocks(x), self.patch_embed.pad
"""


UNREAD_IN_A_BRANCH = """
import torch.nn as nn
from somewhere import build


class Tiny(nn.Module):
    def __init__(self, deep=False):
        super().__init__()
        self.deep = deep
        self.norm_name, norm = build()
        self.add_module(self.norm_name, norm)
        self.patch_embed = nn.Conv2d(3, 8, 4)
        self.pos_embed = nn.Parameter()
        self.blocks = nn.Sequential(*[])
        self.scale = 1.0

    @property
    def norm1(self):
        return getattr(self, self.norm_name)

    def forward_features(self, x):
        x = self.patch_embed(x)
        if self.deep:
            x = x.flatten(2)
            x = self.norm1(x)
        x = x + self.pos_embed
        x = self.blocks(x)
        return x * self.scale
"""


def test_the_line_that_cannot_be_read_is_named_and_not_the_branch_around_it():
    refusal = refusal_of(UNREAD_IN_A_BRANCH)
    assert refusal.reason == (
        "it reads `self.blocks`, which line 25 may change: it runs what cannot be read, `x = self.norm1(x)`"
    )


def test_what_cannot_be_read_is_named_where_it_may_change_what_is_read():
    refusal = refusal_of(BACKBONE)
    assert refusal.reason == (
        "it reads `self.patch_embed.pad`, which line 35 may change: "
        "by way of `self.patch_embed.backbone` it runs what cannot be read"
    )


@pytest.mark.parametrize(
    "call", ["super().__init__(16)", "super().__init__(stem=Stem)", "super().__init__(other=Keeps)"]
)
def test_a_child_that_passes_no_other_stem_has_that_of_its_parent(call):
    assert outcomes_of(PASSED.format(base="Base", parameters="", call=call))["Tiny"].result == Inherited(
        "timm.models.tiny.Base"
    )


@pytest.mark.parametrize(
    "change",
    [
        "self.patch_embed = Keeps()",
        "self.add_module('patch_embed', Keeps())",
        "self.set_submodule('patch_embed', Keeps())",
        "self._modules['patch_embed'] = Keeps()",
        "self.__dict__['_modules'].update(patch_embed=Keeps())",
        "vars(self)['_modules']['patch_embed'] = Keeps()",
        "for name, _ in list(self.named_children()):\n            setattr(self, name, Keeps())",
        "replace(self)",
        "self.patch_embed.forward = self.keep",
        "self.reset()",
    ],
)
def test_a_stem_that_is_replaced_later_is_another(change):
    more = """
    def reset(self):
        self.patch_embed = Keeps()

    def keep(self, x):
        self.patch_embed.seen = x.mean()
        return x


def replace(model):
    model.patch_embed = Keeps()
"""
    call = f"super().__init__()\n        {change}\n{more}"
    found = refusal_of(PASSED.format(base="Base", parameters="", call=call))
    assert "which the embedding leaves on the model" in found.reason


LOGGER = """
import logging
import torch.nn as nn

logger = logging.getLogger(__name__)


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.pos_embed = nn.Parameter()
        self.blocks = nn.Sequential(*[])

    def forward_features(self, x):
        {first}
        x = self.patch_embed(x)
        x = x + self.pos_embed
        x = self.blocks(x)
        {last}
        return x
"""


def test_a_logger_that_only_logs_is_nobodys_concern():
    split_of(LOGGER.format(first="logger.debug('embedding')", last="logger.debug('done')"))


def test_a_logger_under_another_name_may_keep_anything():
    kept = LOGGER.format(first="note = logger; note.size = x.shape", last="seen = logger; x = x.view(seen.size)")
    assert refusal_of(kept).reason == "it reads `timm.models.tiny.logger`, which the embedding writes"


UNREAD_ARGUMENT = """
import torch
from torch import nn


class Embed(nn.Module):
    def __init__(self, norm_layer):
        super().__init__()
        self.proj = nn.Conv2d(3, 8, 4, 4)
        self.norm = norm_layer(8)

    def forward(self, x):
        return self.norm(self.proj(x).flatten(2).transpose(1, 2))


class M(nn.Module):
    def __init__(self, norm_layer):
        super().__init__()
        self.patch_embed = {embed}
        self.norm = {norm}
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])

    def forward_features(self, x):
        x = self.norm(self.patch_embed(x))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.norm(x) + self.pos_embed.mean()
"""


@pytest.mark.parametrize(
    ("embed", "norm", "named"),
    [
        ("nn.Conv2d(3, 8, 4, 4)", "norm_layer(8)", "self.norm"),
        ("Embed(norm_layer)", "norm_layer(8)", "self.norm"),
        ("nn.Conv2d(3, 8, 4, 4)", "norm_layer", "self.norm"),
    ],
)
def test_a_layer_that_the_constructor_is_given_is_named_as_what_cannot_be_read(embed, norm, named):
    refusal = result_in_users_file(UNREAD_ARGUMENT.format(embed=embed, norm=norm))
    assert f"it runs `{named}`, made by the argument `norm_layer` of the constructor" in refusal.reason
