"""Models that leave what the stages need on themselves, instead of handing it on."""

from tiny_parts import Block, Patches, tokens
from torch import nn


class StateInBody(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = Patches()
        self.pos_embed = tokens(self.patch_embed.num_patches)
        self.blocks = nn.ModuleList([Block() for _ in range(2)])

    def forward_features(self, x):
        self.H, self.W = x.shape[-2] // 4, x.shape[-1] // 4
        x = self.patch_embed(x)
        x = x + self.pos_embed
        for blk in self.blocks:
            x = blk(x)
        return x.transpose(1, 2).unflatten(2, (self.H, self.W))


class StateInHelper(StateInBody):
    def _embed(self, x):
        x = self.patch_embed.proj(x)
        self.H, self.W = x.shape[-2:]
        return x.flatten(2).transpose(1, 2) + self.pos_embed

    def forward_features(self, x):
        x = self._embed(x)
        for blk in self.blocks:
            x = blk(x)
        return x.transpose(1, 2).unflatten(2, (self.H, self.W))


class RememberingPatches(Patches):
    def forward(self, x):
        x = self.proj(x)
        self.grid = x.shape[-2:]
        return x.flatten(2).transpose(1, 2)


class StateInLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = RememberingPatches()
        self.pos_embed = tokens(self.patch_embed.num_patches)
        self.blocks = nn.ModuleList([Block() for _ in range(2)])

    def forward_features(self, x):
        x = self.patch_embed(x)
        x = x + self.pos_embed
        for blk in self.blocks:
            x = blk(x)
        return x.transpose(1, 2).unflatten(2, tuple(self.patch_embed.grid))
