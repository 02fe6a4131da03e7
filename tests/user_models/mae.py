"""In the manner of MAE's encoder for fine-tuning: timm's ViT with a forward_features of its own."""

import timm.models.vision_transformer
import torch
from torch import nn


class MaeViT(timm.models.vision_transformer.VisionTransformer):
    def __init__(self, global_pool=False, **kwargs):
        super().__init__(img_size=8, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=4, **kwargs)
        self.average = global_pool
        if self.average:
            self.fc_norm = nn.LayerNorm(16)
            del self.norm

    def forward_features(self, x):
        B = x.shape[0]
        x = self.patch_embed(x)

        cls_tokens = self.cls_token.expand(B, -1, -1)  # one for each image
        x = torch.cat((cls_tokens, x), dim=1)
        x = x + self.pos_embed
        x = self.pos_drop(x)

        for blk in self.blocks:
            x = blk(x)

        if self.average:
            return self.fc_norm(x[:, 1:, :].mean(dim=1))
        return self.norm(x)[:, 0]
