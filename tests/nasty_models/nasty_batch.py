"""The batch size, read and kept."""

import torch
from torch import nn


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.pos_embed = nn.Parameter(torch.randn(1, 4, 8))
        self.blocks = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])


class SizeCall(Parts):
    """`x.size(0)` crosses."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        B = x.size(0)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x.reshape(B, -1, 8)
        return x


class LenCall(Parts):
    """`len(x)` crosses."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        B = len(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x.reshape(B, 4, 8)
        return x


class IntShape(Parts):
    """`int(x.shape[0])` crosses."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        B = int(x.shape[0])
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x.view(B, 4, 8)
        return x


class WholeShape(Parts):
    """The whole shape crosses."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        shape = x.shape
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x.reshape(shape)
        return x


class Arange(Parts):
    """Indices over the batch cross."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        index = torch.arange(x.shape[0])
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x[index]
        return x


class Doubled(Parts):
    """A multiple of the batch size crosses."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        N = x.shape[0] * 2
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x.reshape(N, 2, 8).reshape(-1, 4, 8)
        return x


class Starred(Parts):
    """`B, *rest` crosses."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        B, *rest = x.shape
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x.reshape(B, *rest)
        return x


class Counted(Parts):
    """The batch size is told from `numel`."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        B = x.shape.numel() // 32
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x.reshape(B, 4, 8)
        return x


class Catted(Parts):
    """The batch is doubled and halved again."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([x, x])
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x.chunk(2)[0]
        return x


class Interleaved(Parts):
    """Rows are repeated, and joined again."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        B = x.shape[0]
        x = x.repeat_interleave(2, 0)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x.view(B, 2, 4, 8).mean(1)
        return x
