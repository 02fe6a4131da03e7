"""A split of a small DeepSeek classifier that is right, for tests to spoil: it delegates to an encoder."""

from timm.models.deepseek_vit import DeepseekVitClassifier, DeepseekVitEncoder

CLASSIFIER = "timm.models.deepseek_vit.DeepseekVitClassifier"


class RightEncoder(DeepseekVitEncoder):
    def embed(self, x):
        x = self.patch_embed(x)
        _, H, W, _ = x.shape
        return *self._pos_embed(x), H, W

    def forward_stages(self, embedding):
        x, rope, H, W = embedding
        for blk in self.blocks:
            x = blk(x, rope=rope)
        return self.norm(x).reshape(x.shape[0], H, W, -1)


class RightClassifier(DeepseekVitClassifier):
    def embed(self, x):
        return self.encoder.embed(x) if isinstance(self.encoder, RightEncoder) else RightEncoder.embed(self.encoder, x)

    def forward_stages(self, embedding):
        if isinstance(self.encoder, RightEncoder):
            return self.encoder.forward_stages(embedding)
        return RightEncoder.forward_stages(self.encoder, embedding)


def splitting(classifier, encoder=RightEncoder):
    def split(model):
        model.__class__ = classifier
        model.encoder.__class__ = encoder
        return model

    return split
