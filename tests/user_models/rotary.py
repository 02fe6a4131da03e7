"""In the manner of EVA-02 and its kin: a rotary embedding that the constructor makes and every block is given."""

import torch
from tiny_parts import Patches, RotaryBlock, tokens
from torch import nn


class Angles(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.register_buffer("bands", torch.linspace(0, 1, dim), persistent=False)

    def forward(self, length):
        return torch.outer(torch.arange(length, device=self.bands.device), self.bands)


class RotaryViT(nn.Module):
    def __init__(self, with_position=True):
        super().__init__()
        self.patch_embed = Patches()
        self.cls_token = tokens(1)
        self.pos_embed = tokens(self.patch_embed.num_patches + 1) if with_position else None
        self.pos_drop = nn.Dropout(0.1)
        self.rope = Angles(16)
        self.blocks = nn.ModuleList([RotaryBlock() for _ in range(2)])
        self.norm = nn.LayerNorm(16)

    def forward_features(self, x):
        x = self.patch_embed(x)
        batch_size, seq_len, _ = x.size()
        x = torch.cat((self.cls_token.expand(batch_size, -1, -1), x), dim=1)
        if self.pos_embed is not None:
            x = x + self.pos_embed
        x = self.pos_drop(x)
        rope = self.rope(seq_len + 1)
        for blk in self.blocks:
            x = blk(x, rope)
        return self.norm(x)


class FixedRotaryViT(nn.Module):
    """The angles are a buffer that the stages read by themselves."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Patches()
        rope = Angles(16)
        self.register_buffer("rope_angles", rope(self.patch_embed.num_patches), persistent=False)
        self.blocks = nn.ModuleList([RotaryBlock() for _ in range(2)])

    def forward_features(self, x):
        x = self.patch_embed(x)
        for blk in self.blocks:
            x = blk(x, self.rope_angles)
        return x
