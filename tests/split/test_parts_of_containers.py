"""What the parts of a list of modules have in common, and with what they begin."""

import pytest
from sources import result_in_users_file

from codegen.types import Refusal, Split

SHARED = """
import copy
from torch import nn


class M(nn.Module):
    def __init__(self, dims=(8, 8, 8), wrap=False):
        super().__init__()
        self.known = {{}}
        self.downsample_layers = nn.ModuleList()
        {made}
        self.stages = nn.ModuleList([nn.Conv2d(8, 8, 1) for _ in range(3)])

    def norm_for(self, dim):
        if dim not in self.known:
            self.known[dim] = nn.BatchNorm2d(dim)
        return self.known[dim]

    def forward_features(self, x):
        for i in range(3):
            x = self.downsample_layers[i](x)
            x = self.stages[i](x)
        return x
"""


def shared(made):
    return result_in_users_file(SHARED.format(made=made.replace("; ", "\n        ")))


LOOP = "for i in range(2):\n            layer = nn.Sequential(nn.BatchNorm2d(8), nn.Conv2d(8, dims[i + 1], 2, 2))\n"


@pytest.mark.parametrize(
    "made",
    [
        f"stem = nn.Sequential(nn.Conv2d(3, 8, 2, 2), nn.BatchNorm2d(8)); self.downsample_layers.append(stem); {LOOP}"
        "            self.downsample_layers.append(layer)",
        f"stem = nn.Sequential(nn.Conv2d(3, 8, 2, 2), nn.BatchNorm2d(8)); self.downsample_layers.append(stem); {LOOP}"
        "            if wrap:\n                layer = nn.Sequential(layer, nn.GELU())\n"
        "            self.downsample_layers.append(layer)",
        "self.downsample_layers = nn.ModuleList([nn.Sequential(nn.Conv2d(3, 8, 2), nn.BatchNorm2d(8)) for _ in dims])",
        "self.downsample_layers.extend([nn.Sequential(nn.Conv2d(3, 8, 2, 2), nn.BatchNorm2d(8)) for _ in dims])",
        "self.channels = dims; stem = nn.Sequential(nn.Conv2d(3, self.channels[0], 2, 2), nn.BatchNorm2d(8)); "
        "self.downsample_layers.append(stem); self.downsample_layers.append(nn.Conv2d(self.channels[0], 8, 2, 2))",
    ],
)
def test_parts_that_are_made_apart_have_norms_of_their_own(made):
    found = shared(made)
    assert isinstance(found, Split), found.reason


STEM = "self.downsample_layers.append(nn.Sequential(nn.Conv2d(3, 8, 2, 2), norm)); "


@pytest.mark.parametrize(
    "made",
    [
        f"norm = nn.BatchNorm2d(8); {STEM}self.downsample_layers.append(nn.Sequential(norm, nn.Conv2d(8, 8, 2, 2)))",
        f"norm = nn.BatchNorm2d(8); {STEM}self.downsample_layers.append(nn.Sequential(copy.copy(norm), nn.GELU()))",
        f"norm = nn.BatchNorm2d(8); {STEM}self.downsample_layers.extend([nn.Identity(), norm])",
        "stem = nn.Sequential(nn.Conv2d(3, 3, 2, 2), nn.BatchNorm2d(3)); self.downsample_layers.extend([stem, stem])",
        "self.downsample_layers = nn.ModuleList([nn.Sequential(nn.Conv2d(3, 3, 2, 2), nn.BatchNorm2d(3))] * 3)",
        "parts = [nn.Sequential(nn.Conv2d(3, 3, 2, 2), nn.BatchNorm2d(3))]; parts.append(parts[0]); "
        "self.downsample_layers = nn.ModuleList(parts)",
        "for i in range(3):\n            "
        "self.downsample_layers.append(nn.Sequential(nn.Conv2d(8, 8, 1), self.norm_for(8)))",
        "stem = nn.Sequential(nn.Conv2d(3, 3, 2, 2), nn.BatchNorm2d(3)); for i in range(3): "
        "self.downsample_layers.append(stem)",
        "norms = nn.ModuleList([nn.BatchNorm2d(8)]); self.norms = norms; for i in range(3): "
        "self.downsample_layers.append(nn.Sequential(nn.Conv2d(8, 8, 1), self.norms[0]))".replace(
            "; for", "\n        for"
        ),
    ],
)
def test_a_norm_that_two_parts_have_is_refused(made):
    assert "keeps statistics of the images" in shared(made.replace("; for", "\n        for")).reason


IN_PLACE = """
from mmcv.cnn import build_norm_layer
from torch import nn


def stage(dim):
    return nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(dim, dim, 1))


class PreAct(nn.Sequential):
    def __init__(self, dim, inplace=True):
        super().__init__(nn.ReLU(inplace=inplace), nn.Conv2d(dim, dim, 1))


class Post(nn.Sequential):
    def __init__(self, dim):
        super().__init__(nn.Conv2d(dim, dim, 1), nn.ReLU(inplace=True))


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        {made}

    def first(self, dim):
        return nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(dim, dim, 1))

    def forward_features(self, x):
        x = self.patch_embed(x)
        for block in self.blocks:
            x = {run}
        return x
"""


def in_place(made, run="block(x)"):
    return result_in_users_file(IN_PLACE.format(made=made.replace("; ", "\n        "), run=run))


@pytest.mark.parametrize(
    "made",
    [
        "self.blocks = nn.ModuleList([nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(8, 8, 1))])",
        "self.blocks = nn.ModuleList([nn.Sequential(nn.ReLU(True), nn.Conv2d(8, 8, 1)) for _ in range(2)])",
        "self.blocks = nn.ModuleList([nn.Conv2d(8, 8, 1), nn.ReLU(True)])",
        "self.blocks = nn.ModuleList(nn.Sequential(nn.ReLU(True), nn.Conv2d(8, 8, 1)) for _ in range(2))",
        "self.blocks = nn.ModuleList([nn.Sequential(nn.Identity(), nn.ReLU(True), nn.Conv2d(8, 8, 1))])",
        "self.blocks = nn.ModuleList([nn.Sequential(nn.Dropout(), nn.Identity(), nn.ReLU(True), nn.Conv2d(8, 8, 1))])",
        "self.blocks = nn.ModuleList([nn.Sequential(nn.Sequential(nn.ReLU(True)), nn.Conv2d(8, 8, 1))])",
        "self.blocks = nn.ModuleList([stage(8) for _ in range(2)])",
        "self.blocks = nn.ModuleList([self.first(8)])",
        "self.blocks = nn.ModuleList([PreAct(8) for _ in range(2)])",
        "self.blocks = nn.ModuleList(); self.blocks.append(PreAct(8))",
        "self.blocks = nn.ModuleList(); self.blocks.append(nn.Sequential(nn.ReLU(True), nn.Conv2d(8, 8, 1)))",
        "self.blocks = nn.ModuleList(); a = nn.ReLU(True); self.blocks.append(nn.Sequential(a, nn.Conv2d(8, 8, 1)))",
        "blocks = [nn.Sequential(nn.ReLU(True), nn.Conv2d(8, 8, 1))]; self.blocks = nn.ModuleList(blocks)",
        "blocks = []; blocks.append(stage(8)); self.blocks = nn.ModuleList(blocks)",
        "self.blocks = nn.ModuleList([*[stage(8)], nn.Conv2d(8, 8, 1)])",
    ],
)
def test_a_part_that_begins_in_place_changes_the_tokens(made):
    assert "change it in place" in in_place(made).reason


def test_so_does_one_of_a_table():
    made = "act = nn.ReLU(True); self.blocks = nn.ModuleList([nn.ModuleDict(dict(act=act, conv=nn.Conv2d(8, 8, 1)))])"
    assert "change it in place" in in_place(made, run="block['conv'](block['act'](x))").reason


@pytest.mark.parametrize(
    "made",
    [
        "self.blocks = nn.ModuleList([nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(inplace=True))])",
        "self.blocks = nn.ModuleList([nn.Sequential(nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU(True)) for _ in range(2)])",
        "self.blocks = nn.ModuleList(); self.blocks.append(nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(True)))",
        "self.blocks = nn.ModuleList([Post(8) for _ in range(2)])",
        "self.blocks = nn.ModuleList([nn.Sequential(build_norm_layer(dict(type='GN'), 8)[1], nn.ReLU(True))])",
    ],
)
def test_one_that_begins_with_a_convolution_does_not(made):
    found = in_place(made)
    assert isinstance(found, Split), found.reason


@pytest.mark.parametrize("made", ["self.blocks = nn.Sequential(nn.ReLU(True), nn.Conv2d(8, 8, 1))"])
def test_a_sequence_is_as_before(made):
    assert isinstance(in_place(made), Refusal)
