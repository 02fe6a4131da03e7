import torch
from torch import nn


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 2, 2)
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])

    def forward_features(self, x):
        was = self.training
        self.eval()
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        self.train(was)
        for b in self.blocks:
            x = b(x)
        return x
