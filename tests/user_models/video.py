"""In the manner of TimeSformer: frames are folded into the batch for the patch embedding and unfolded again."""

import torch
from tiny_parts import Block, Patches, tokens
from torch import nn


class FoldedVideo(nn.Module):
    """The stages see frames in the batch: a row of the tokens is no clip."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Patches()
        self.pos_embed = tokens(self.patch_embed.num_patches)
        self.time_embed = tokens(2)
        self.blocks = nn.ModuleList([Block() for _ in range(2)])
        self.norm = nn.LayerNorm(16)

    def forward_features(self, x):
        B, T, C, H, W = x.shape
        x = x.reshape(B * T, C, H, W)
        x = self.patch_embed(x)
        x = x + self.pos_embed
        for blk in self.blocks:
            x = blk(x)
        x = self.norm(x).mean(1)
        return x.reshape(B, T, -1) + self.time_embed


class UnfoldedVideo(FoldedVideo):
    """Space and time are one sequence before the blocks."""

    def forward_features(self, x):
        B, T = x.shape[:2]
        x = self.patch_embed(x.flatten(0, 1))
        x = x + self.pos_embed
        x = x.reshape(B, T, -1, 16) + self.time_embed.unsqueeze(2)
        x = x.flatten(1, 2)
        for blk in self.blocks:
            x = blk(x)
        cls = torch.zeros(B, 1, 16)
        return self.norm(torch.cat([cls, x], dim=1))


class TubeViT(nn.Module):
    """In the manner of VideoMAE: tokens of two frames each, and of a square of pixels."""

    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv3d(3, 16, (2, 4, 4), (2, 4, 4))
        self.pos_embed = tokens(8)
        self.blocks = nn.ModuleList([Block() for _ in range(2)])
        self.norm = nn.LayerNorm(16)

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for blk in self.blocks:
            x = blk(x)
        return self.norm(x)
