import torch
from torch import nn

REG = {}


class Base(nn.Module):
    def __init_subclass__(cls, **kw):
        super().__init_subclass__(**kw)
        if cls.name in REG:
            raise ValueError(f"{cls.name} registered twice")
        REG[cls.name] = cls


class M(Base):
    name = "m"

    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 2, 2)
        self.blocks = nn.ModuleList([nn.Conv2d(8, 8, 1)])

    def forward_features(self, x):
        x = self.patch_embed(x)
        for b in self.blocks:
            x = b(x)
        return x
