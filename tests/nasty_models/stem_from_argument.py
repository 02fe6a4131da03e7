import torch
from torch import nn


class PE(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Conv2d(3, 8, 2, 2)

    def forward(self, x):
        self.mean = x.mean((1, 2, 3))
        return self.proj(x).flatten(2).transpose(1, 2)


class M(nn.Module):
    def __init__(self, embed_layer=PE):
        super().__init__()
        self.patch_embed = embed_layer()
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])

    def forward_features(self, x):
        x = self.patch_embed(x)
        x = x + self.pos_embed
        for b in self.blocks:
            x = b(x)
        return x + self.patch_embed.mean[:, None, None]
