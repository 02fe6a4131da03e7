"""In the manner of iBOT, DINOv2 and BEiT: forward_features takes the mask."""

import torch
from tiny_parts import Block, Patches, tokens
from torch import nn


class _Masked(nn.Module):
    def __init__(self, registers=0):
        super().__init__()
        self.patch_embed = Patches()
        self.cls_token = tokens(1)
        self.register_tokens = tokens(registers) if registers else None
        self.mask_token = nn.Parameter(torch.zeros(1, 16))
        self.pos_embed = tokens(self.patch_embed.num_patches + 1)
        self.blocks = nn.ModuleList([Block() for _ in range(2)])
        self.norm = nn.LayerNorm(16)
        self.head = nn.Identity()

    def prepare_tokens_with_masks(self, x, masks=None):
        x = self.patch_embed(x)
        if masks is not None:
            x = torch.where(masks.unsqueeze(-1), self.mask_token.to(x.dtype).unsqueeze(0), x)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1)
        x = x + self.pos_embed
        if self.register_tokens is not None:
            x = torch.cat((x[:, :1], self.register_tokens.expand(x.shape[0], -1, -1), x[:, 1:]), dim=1)
        return x


class IbotViT(_Masked):
    def forward_features(self, x, masks=None, return_all_tokens=False):
        x = self.prepare_tokens_with_masks(x, masks)
        for blk in self.blocks:
            x = blk(x)
        x = self.norm(x)
        if return_all_tokens:
            return x
        return x[:, 0]


class DinoViT(_Masked):
    """DINOv2 also takes a list of crops of different sizes, and then gives a list."""

    def forward_features_list(self, x_list, masks_list):
        return [self.forward_features(x, masks) for x, masks in zip(x_list, masks_list, strict=True)]

    def forward_features(self, x, masks=None):
        if isinstance(x, list):
            return self.forward_features_list(x, masks)
        x = self.prepare_tokens_with_masks(x, masks)
        for blk in self.blocks:
            x = blk(x)
        x_norm = self.norm(x)
        return {"x_norm_clstoken": x_norm[:, 0], "x_norm_patchtokens": x_norm[:, 1:], "masks": masks}


class BeitViT(nn.Module):
    """The mask replaces patches between the patch embedding and the class token."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Patches()
        self.cls_token = tokens(1)
        self.mask_token = tokens(1)
        self.pos_embed = tokens(self.patch_embed.num_patches + 1)
        self.pos_drop = nn.Dropout(p=0.1)
        self.blocks = nn.ModuleList([Block() for _ in range(2)])
        self.norm = nn.LayerNorm(16)

    def forward_features(self, x, bool_masked_pos):
        x = self.patch_embed(x)
        batch_size, seq_len, _ = x.size()
        cls_tokens = self.cls_token.expand(batch_size, -1, -1)
        mask_token = self.mask_token.expand(batch_size, seq_len, -1)
        w = bool_masked_pos.unsqueeze(-1).type_as(mask_token)
        x = x * (1 - w) + mask_token * w
        x = torch.cat((cls_tokens, x), dim=1)
        if self.pos_embed is not None:
            x = x + self.pos_embed
        x = self.pos_drop(x)
        for blk in self.blocks:
            x = blk(x)
        return self.norm(x)
