"""Register tokens and a head that may be missing: the features are returned early then."""

import torch
from tiny_parts import Block, Patches, tokens
from torch import nn


class RegisterViT(nn.Module):
    def __init__(self, head=True):
        super().__init__()
        self.patch_embed = Patches()
        self.cls_token = tokens(1)
        self.reg_token = tokens(4)
        self.pos_embed = tokens(self.patch_embed.num_patches)
        self.encoder = nn.Sequential(Block(), Block())
        self.head = nn.Linear(16, 4) if head else None

    def forward_features(self, x: torch.Tensor, return_all_tokens: bool = False) -> torch.Tensor:
        x = self.patch_embed(x)
        x = x + self.pos_embed
        prefix = torch.cat([self.cls_token, self.reg_token], dim=1).expand(len(x), -1, -1)
        x = torch.cat([prefix, x], dim=1)
        x = self.encoder(x)
        if return_all_tokens:
            return x
        if self.head is None:
            return x[:, 0]
        return self.head(x[:, 0])
