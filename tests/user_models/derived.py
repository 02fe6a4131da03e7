"""Classes that derive from timm's and leave forward_features to them, or call it."""

import torch
from timm.models import VisionTransformer
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torch import nn

TINY = {"img_size": 8, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 4}


class SmallViT(VisionTransformer):
    """A constructor of its own and nothing else."""

    def __init__(self):
        super().__init__(**TINY, pos_drop_rate=0.1)


class ShiftedViT(TimmViT):
    """A helper of forward_features of its own."""

    def __init__(self):
        super().__init__(**TINY)
        self.shift = nn.Parameter(torch.randn(16))

    def _pos_embed(self, x):
        return super()._pos_embed(x) + self.shift


class NormedViT(TimmViT):
    """More is done to what timm's forward_features gives."""

    def __init__(self):
        super().__init__(**TINY)
        self.extra = nn.LayerNorm(16)

    def forward_features(self, x, attn_mask=None):
        x = super().forward_features(x, attn_mask)
        return self.extra(x)
