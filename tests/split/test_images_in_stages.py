"""Stages that embed the images once more: no mask of the tokens would reach what comes in by that way."""

import textwrap

import pytest
from sources import result_in_users_file

from codegen.types import Refusal, Split

SOURCE = """
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.patch_embed2 = nn.Conv2d(3, 8, 4, 4)
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))
        self.blocks = nn.ModuleList([nn.Linear(8, 8) for _ in range(2)])
        self.head = nn.Linear(8, 3 * 16)

    def second(self, images):
        return self.patch_embed2(images).flatten(2).mT

    def loss(self, images, x):
        return (images.mean() - x.mean()) ** 2

    def forward_features(self, images):
        size = images.shape[-2:]
        small = F.interpolate(images, scale_factor=1.0)
        x = self.patch_embed(images).flatten(2).mT + self.pos_embed
        for block in self.blocks:
            x = block(x)
{last}
"""


def result(last):
    return result_in_users_file(SOURCE.format(last=textwrap.indent(textwrap.dedent(last).strip(), " " * 8)))


@pytest.mark.parametrize(
    "last",
    [
        "return x + self.patch_embed2(images).flatten(2).mT",
        "return x + self.second(images)",
        "return x + self.second(images=small)",
        "flipped = small.flip(-1)\nreturn x + self.second(flipped)",
        "return x + checkpoint(self.patch_embed2, images).flatten(2).mT",
        "if self.training:\n    x = x + self.second(images)\nreturn x",
        "small = small * 2\nx = x + self.patch_embed2(small).flatten(2).mT\nreturn self.blocks[0](x)",
    ],
)
def test_a_stem_that_runs_on_the_images_after_the_blocks_is_refused(last):
    found = result(last)
    assert isinstance(found, Refusal)
    assert "embeds the images after the first blocks" in found.reason


@pytest.mark.parametrize(
    "last",
    [
        "return x",
        "return self.loss(images, x)",
        "return F.mse_loss(self.head(x).mean(), images.mean())",
        "return self.patch_embed2(x.mT.reshape(-1, 8, 4, 4)[:, :3]), size",
    ],
)
def test_a_loss_or_the_size_of_the_images_is_not(last):
    assert isinstance(result(last), Split)


ROUNDS = """
from torch import nn


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.downsample_layers = nn.ModuleList([nn.Conv2d(3, 8, 2, 2), nn.Conv2d({channels}, 8, 2, 2)])
        self.stages = nn.ModuleList([nn.Conv2d(8, 8, 1) for _ in range(2)])

    def forward_features(self, x):
        outs = []
        for i in range(2):
            {down}
            outs.append(self.stages[i]({given}))
        return outs
"""


def test_a_round_that_embeds_the_images_anew_is_refused():
    found = result_in_users_file(ROUNDS.format(channels=3, down="y = self.downsample_layers[i](x)", given="y"))
    assert "embeds the images after the first blocks" in found.reason
    assert isinstance(
        result_in_users_file(ROUNDS.format(channels=8, down="x = self.downsample_layers[i](x)", given="x")), Split
    )


SEVERAL = """
from torch import nn


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.blocks = nn.ModuleList([nn.Conv2d(8, 8, 1)])
        self.prompt_embed = nn.Linear(4, 8)

    def run(self, x):
        x = self.patch_embed(x)
        for block in self.blocks:
            x = block(x)
        return x

    def forward_features(self, x, other, prompt=None):
        {body}
"""
ONE = "x = self.patch_embed(x)\n        for block in self.blocks:\n            x = block(x)\n        "


@pytest.mark.parametrize(
    "body",
    [
        "a = self.run(x)\n        b = self.run(other)\n        return a - b",
        f"{ONE}return x - self.patch_embed(other)",
        f"{ONE}y = other\n        y = self.patch_embed(y.flip(-1))\n        return x - y",
    ],
)
def test_a_second_image_that_is_embedded_after_the_blocks_is_refused(body):
    assert "embeds other images after the first blocks" in result_in_users_file(SEVERAL.format(body=body)).reason


@pytest.mark.parametrize("body", [f"{ONE}return x + other", f"{ONE}return x, self.prompt_embed(prompt)"])
def test_what_is_no_image_may_be_given_to_the_stages(body):
    assert isinstance(result_in_users_file(SEVERAL.format(body=body)), Split)
