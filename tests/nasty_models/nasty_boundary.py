"""Methods whose boundary is hard to see."""

import torch
from torch import nn


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.pos_embed = nn.Parameter(torch.randn(1, 4, 8))
        self.blocks = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])

    def patches(self, x):
        return self.patch_embed(x).flatten(2).transpose(1, 2)


class WhileLoop(Parts):
    """Blocks in a `while` loop."""

    def forward_features(self, x):
        x = self.patches(x) + self.pos_embed
        i = 0
        while i < len(self.blocks):
            x = self.blocks[i](x)
            i += 1
        return x


class NoGrad(Parts):
    """A context manager over the whole body."""

    def forward_features(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            x = self.patches(x) + self.pos_embed
            for block in self.blocks:
                x = block(x)
        return x.float()


class TryFinally(Parts):
    """The mode is put back in `finally`, after the blocks."""

    def forward_features(self, x):
        was = self.training
        try:
            self.eval()
            x = self.patches(x) + self.pos_embed
            for block in self.blocks:
                x = block(x)
        finally:
            self.train(was)
        return x


class LatePosition(Parts):
    """The position is added after the first block."""

    def forward_features(self, x):
        x = self.patches(x)
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i == 0:
                x = x + self.pos_embed
        return x


class LambdaPosition(Parts):
    """The position is in a lambda."""

    def forward_features(self, x):
        place = lambda t: t + self.pos_embed  # noqa: E731
        x = place(self.patches(x))
        for block in self.blocks:
            x = block(x)
        return place(x)


class Guarded(Parts):
    """An early return before the blocks."""

    def forward_features(self, x, stem_only=False):
        x = self.patches(x) + self.pos_embed
        if stem_only:
            return x
        for block in self.blocks:
            x = block(x)
        return x
