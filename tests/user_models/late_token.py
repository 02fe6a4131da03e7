"""In the manner of CaiT and PiT: a class token that joins the patches after these have their position."""

import torch
from tiny_parts import Block, Patches, tokens
from torch import nn


class LateTokenViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = Patches()
        self.pos_embed = tokens(self.patch_embed.num_patches)
        self.pos_drop = nn.Dropout(0.1)
        self.cls_token = tokens(1)
        self.blocks = nn.ModuleList([Block() for _ in range(2)])
        self.norm = nn.LayerNorm(16)

    def forward_features(self, x):
        x = self.patch_embed(x)
        B, N, C = x.shape
        x = self.pos_drop(x + self.pos_embed.view(1, N, C))
        x = torch.cat((self.cls_token.expand(B, -1, -1), x), dim=1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 0]
