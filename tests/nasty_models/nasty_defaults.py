"""Defaults and arguments."""

import torch
from torch import nn


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.pos_embed = nn.Parameter(torch.randn(1, 4, 8))
        self.blocks = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])


class MutableDefault(Parts):
    """A mutable default carries a value across."""

    def forward_features(self, x, cache=[]):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        cache.append(float(x.mean()))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * cache[-1]
        return x


class KeywordOnly(Parts):
    """A keyword-only argument is read on both sides."""

    def forward_features(self, x, *, scale=2.0):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x * scale
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * scale
        return x


class DefaultDict(Parts):
    """A default that is a call is changed in the prefix."""

    def forward_features(self, x, state=dict()):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        state.update(scale=float(x.mean()))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * state["scale"]
        return x


class Rebound(Parts):
    """An argument is rebound in the prefix and read in the stages."""

    def forward_features(self, x, scale=None):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        scale = 1.0 if scale is None else scale
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * scale
        return x
