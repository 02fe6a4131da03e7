"""Blocks that are not in the model itself, but in a module of its own."""

from tiny_parts import Block, Patches, tokens
from torch import nn


class Trunk(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([Block() for _ in range(2)])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class PositionTrunk(Trunk):
    def __init__(self):
        super().__init__()
        self.pos_embed = tokens(4)

    def forward(self, x):
        x = x + self.pos_embed
        for layer in self.layers:
            x = layer(x)
        return x


class Opaque(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = Block()
        self.two = Block()

    def forward(self, x):
        return self.two(self.one(x))


class TrunkViT(nn.Module):
    """The trunk is known by what it runs."""

    def __init__(self):
        super().__init__()
        self.tokenizer = Patches()
        self.body = Trunk()

    def forward_features(self, x):
        x = self.tokenizer(x)
        return self.body(x)


class PositionTrunkViT(nn.Module):
    """The trunk gives the tokens their position as well: a split around it would leave that to the stages."""

    def __init__(self):
        super().__init__()
        self.tokenizer = Patches()
        self.body = PositionTrunk()

    def forward_features(self, x):
        x = self.tokenizer(x)
        return self.body(x)


class OpaqueViT(nn.Module):
    """Nothing tells the trunk from a part of the stem."""

    def __init__(self):
        super().__init__()
        self.tokenizer = Patches()
        self.body = Opaque()
        self.norm = nn.LayerNorm(16)

    def forward_features(self, x):
        x = self.tokenizer(x)
        x = self.body(x)
        return self.norm(x)
