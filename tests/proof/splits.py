"""A split of a small VisionTransformer that is right, for tests to spoil."""

from timm.models.vision_transformer import VisionTransformer

from generated.vit import VisionTransformerSplit

VIT = "timm.models.vision_transformer.VisionTransformer"


class Right(VisionTransformer):
    def embed(self, x):
        return self._pos_embed(self.patch_embed(x))

    def forward_stages(self, x):
        return self.norm(self.blocks(self.norm_pre(self.patch_drop(x))))

    def forward_features(self, x):
        return self.forward_stages(self.embed(x))


class Tapped(Right):
    forward_stages_intermediates = VisionTransformerSplit.forward_stages_intermediates


def splitting(split_class):
    def split(model):
        model.__class__ = split_class
        return model

    return split
