"""Effects that do not look like effects."""

import torch
from torch import nn


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.pos_embed = nn.Parameter(torch.randn(1, 4, 8))
        self.blocks = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])


class EvalInPrefix(Parts):
    """The prefix sets the mode that the stages read."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.eval()
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = nn.functional.dropout(x, 0.5, self.training)
        return x


class DictUpdate(Parts):
    """The prefix writes through `__dict__`."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.__dict__.update(scale=float(x.mean()))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class SetAttr(Parts):
    """The prefix writes with `setattr`."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        setattr(self, "scale", float(x.mean()))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class ObjectSetAttr(Parts):
    """The prefix writes with `object.__setattr__`."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        object.__setattr__(self, "scale", float(x.mean()))
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x


class Seeded(Parts):
    """The prefix seeds what the stages draw."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        torch.manual_seed(x.shape[0])
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x + torch.rand(8)
        return x


class PropertyEffect(Parts):
    """A property that is read in the prefix writes."""

    def __init__(self):
        super().__init__()
        self.scale = 1.0

    @property
    def one(self):
        self.scale = self.scale + 1.0
        return 1.0

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x * self.one
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * self.scale
        return x
