"""Layers that the models here share, as small as they can be. No model."""

import torch
from torch import nn


class Patches(nn.Module):
    """Images to tokens, (B, N, C)."""

    def __init__(self, size=8, patch=4, channels=3, dim=16):
        super().__init__()
        self.num_patches = (size // patch) ** 2
        self.proj = nn.Conv2d(channels, dim, patch, patch)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class SizedPatches(Patches):
    """Images to tokens and the size of their grid."""

    def forward(self, x):
        x = self.proj(x)
        H, W = x.shape[2:]
        return x.flatten(2).transpose(1, 2), (H, W)


class Block(nn.Module):
    def __init__(self, dim=16, heads=2, drop=0.1):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads, dropout=drop, batch_first=True)
        self.mlp = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU(), nn.Dropout(drop))

    def forward(self, x):
        normed = self.norm(x)
        x = x + self.attn(normed, normed, normed, need_weights=False)[0]
        return x + self.mlp(x)


class RotaryBlock(Block):
    def forward(self, x, angle):
        return super().forward(x * angle.cos() + x.roll(1, -1) * angle.sin())


def tokens(count, dim=16):
    return nn.Parameter(torch.randn(1, count, dim))
