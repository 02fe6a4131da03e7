"""In the manner of Hiera under MAE, and of DINOv2: patches that the model drops itself, features in a dictionary."""

import torch
from tiny_parts import Block, Patches, tokens
from torch import nn


class DroppingViT(nn.Module):
    """Which squares of 2 x 2 patches are dropped is a parameter."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Patches(size=16)
        self.squares = (2, 2)
        self.pos_embed = tokens(self.patch_embed.num_patches)
        self.blocks = nn.ModuleList([Block() for _ in range(2)])

    def forward_features(self, x, dropped=None):
        if dropped is not None:
            dropped = dropped.view(-1, *self.squares).repeat_interleave(2, dim=1).repeat_interleave(2, dim=2).flatten(1)
        x = self.patch_embed(x)
        x = x + self.pos_embed
        if dropped is not None:
            x = x[~dropped].view(len(x), -1, x.shape[-1])
        for block in self.blocks:
            x = block(x)
        return x


class NamedFeaturesViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = Patches(size=16)
        self.cls_token = tokens(1)
        self.pos_embed = tokens(self.patch_embed.num_patches + 1)
        self.blocks = nn.ModuleList([Block() for _ in range(2)])
        self.norm = nn.LayerNorm(16)

    def forward_features(self, x):
        x = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        normed = self.norm(x)
        return {"class_token": normed[:, 0], "patch_tokens": normed[:, 1:]}
