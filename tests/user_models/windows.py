"""In the manner of Swin and ViTDet: an optional absolute position, windows, tokens that are a grid."""

from tiny_parts import Block, Patches, tokens
from torch import nn


class Windows(nn.Module):
    def __init__(self, window=2):
        super().__init__()
        self.window = window
        self.block = Block()

    def forward(self, x):
        B, H, W, C = x.shape
        w = self.window
        x = x.view(B, H // w, w, W // w, w, C).permute(0, 1, 3, 2, 4, 5).reshape(-1, w * w, C)
        x = self.block(x)
        return x.view(B, H // w, W // w, w, w, C).permute(0, 1, 3, 2, 4, 5).reshape(B, H, W, C)


class SwinLike(nn.Module):
    def __init__(self, ape=True):
        super().__init__()
        self.patch_embed = Patches()
        self.ape = ape
        if self.ape:
            self.absolute_pos_embed = tokens(self.patch_embed.num_patches)
        self.pos_drop = nn.Dropout(p=0.1)
        self.layers = nn.ModuleList()
        for _ in range(2):
            layer = Block()
            self.layers.append(layer)
        self.norm = nn.LayerNorm(16)
        self.avgpool = nn.AdaptiveAvgPool1d(1)

    def forward_features(self, x):
        x = self.patch_embed(x)
        if self.ape:
            x = x + self.absolute_pos_embed
        x = self.pos_drop(x)

        for layer in self.layers:
            x = layer(x)

        x = self.norm(x)
        x = self.avgpool(x.transpose(1, 2))
        return x.flatten(1)


class WindowedViT(nn.Module):
    """Tokens as a grid, global blocks between those of windows."""

    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 16, 2, 2)
        self.pos_embed = tokens(16)
        self.ln_pre = nn.LayerNorm(16)
        self.trunk = nn.ModuleList([Windows(2), Windows(4)])

    def forward_features(self, x):
        x = self.patch_embed(x).permute(0, 2, 3, 1)
        x = x + self.pos_embed.view(1, 4, 4, 16)
        x = self.ln_pre(x)
        for layer in self.trunk:
            x = layer(x)
        return x.permute(0, 3, 1, 2)
