"""State that crosses unseen."""

import torch
from torch import nn


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.pos_embed = nn.Parameter(torch.randn(1, 4, 8))
        self.blocks = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])


class ListState(Parts):
    """A list carries a value across."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.seen.append(float(x.mean()))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.seen[-1]
        return x


class VarsState(Parts):
    """The stages read state through `vars`."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.scale = float(x.mean())
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * vars(self)["scale"]
        return x


class GetattrState(Parts):
    """The stages read state through `getattr`."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.scale = float(x.mean())
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * getattr(self, "scale")
        return x


class BufferCopy(Parts):
    """A buffer written in place carries a value across."""

    def __init__(self):
        super().__init__()
        self.register_buffer("stat", torch.ones(()))

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.stat.copy_(x.detach().mean())
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.stat
        return x


class BufferStateDict(Parts):
    """The stages read a buffer through `state_dict`."""

    def __init__(self):
        super().__init__()
        self.register_buffer("stat", torch.ones(()))

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.stat.data = x.detach().mean()
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.state_dict()["stat"]
        return x


class ClassState(Parts):
    """A class attribute carries a value across."""

    scale = 1.0

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        type(self).scale = float(x.mean())
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class AliasState(Parts):
    """The prefix writes on a submodule through an alias."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        stem = self.patch_embed
        stem.scale = float(x.mean())
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.patch_embed.scale
        return x


class MethodState(Parts):
    """Normalized before, denormalized after, by two methods."""

    def normalize(self, x):
        self.mean = x.mean(1, keepdim=True).detach()
        return x - self.mean

    def denormalize(self, x):
        return x + self.mean

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = self.normalize(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = self.denormalize(x)
        return x


class NextState(Parts):
    """An iterator advances in the prefix and in the stages."""

    def __init__(self):
        super().__init__()
        self.counter = iter(range(1, 1000))

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x * next(self.counter)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * next(self.counter)
        return x
