"""Models that look dangerous and are not: each is split, and rightly."""

import functools
import logging

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

LOGGER = logging.getLogger(__name__)
DEPTH = 2


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.pos_embed = nn.Parameter(torch.randn(1, 4, 8))
        self.blocks = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])


class Sized(nn.Conv2d):
    def forward(self, x):
        x = super().forward(x)
        self.last_shape = tuple(x.shape)
        return x


class UnreadAttribute(Parts):
    """The stem writes an attribute that nobody reads."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Sized(3, 8, 4, 4)

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class UnreadOfModel(Parts):
    """The prefix writes an attribute of the model that nobody reads."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        self.num_tokens = x.shape[1]
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class Running(nn.Conv2d):
    def __init__(self):
        super().__init__(3, 8, 4, 4)
        self.level = None

    def forward(self, x):
        x = super().forward(x)
        self.level = x.detach().mean((1, 2, 3), keepdim=True)
        return x * self.level


class StemOwnState(Parts):
    """Only the stem reads what the stem keeps."""

    def __init__(self):
        super().__init__()
        self.patch_embed = Running()

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class ComputedGetattr(Parts):
    """The stages compute a name, of a block."""

    def __init__(self):
        super().__init__()
        self.block1 = nn.Linear(8, 8)
        self.block2 = nn.Linear(8, 8)

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for i in (1, 2):
            x = getattr(self, f"block{i}")(x)
        return x


class Cached(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Linear(8, 8)
        self.table = None

    def forward(self, x):
        if self.table is None or self.table.shape[1] != x.shape[1]:
            self.table = torch.linspace(0, 1, x.shape[1], device=x.device).view(1, -1, 1)
        return self.proj(x) + self.table


class BlockCache(Parts):
    """Blocks keep caches of their own."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Cached(), Cached()])

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class BatchNormStem(Parts):
    """The stem has statistics that it alone reads."""

    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8), nn.ReLU())

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class DropoutRate(Parts):
    """Dropout with a rate on both sides."""

    def __init__(self):
        super().__init__()
        self.pos_drop = nn.Dropout(p=0.1)
        self.drop = nn.Dropout(0.1)

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = self.pos_drop(x + self.pos_embed)
        for block in self.blocks:
            x = self.drop(block(x))
        return x


class LoggingMethod(Parts):
    """A method that is not called could hook the blocks."""

    def log_blocks(self):
        for block in self.blocks:
            block.register_forward_hook(lambda m, i, o: LOGGER.debug("%s", o.shape))

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class StageState(Parts):
    """Only the stages write and read."""

    def __init__(self):
        super().__init__()
        self.level = 0.0

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        self.level = x.detach().mean((1, 2), keepdim=True)
        x = x * self.level
        return x


class StageBuffer(Parts):
    """Only the stages write a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("level", torch.zeros(1))

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        self.level.fill_(2.0)
        x = x * self.level.clone()
        return x


class GradCheckpointing(Parts):
    """Blocks may be checkpointed."""

    def __init__(self):
        super().__init__()
        self.grad_checkpointing = False

    def set_grad_checkpointing(self, enable=True):
        self.grad_checkpointing = enable

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            if self.grad_checkpointing and not torch.jit.is_scripting():
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        return x


class Scripting(Parts):
    """A branch for scripting."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        if not torch.jit.is_scripting():
            x = x * 2
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class Asserts(Parts):
    """Asserts on the size of the image."""

    def forward_features(self, x):
        B, C, H, W = x.shape
        assert C == 3, f"expected 3 channels, got {C}"
        assert H % 4 == 0
        assert W % 4 == 0
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class Logs(Parts):
    """Logging on both sides."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        LOGGER.debug("tokens %s", x.shape)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        LOGGER.debug("out %s", x.shape)
        return x


class FormatString(Parts):
    """A string is formatted and raised when the width is wrong."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        if x.shape[-1] != 8:
            raise ValueError(f"width {x.shape[-1]!r:>4} is not {8}")
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class Intermediates(Parts):
    """A list of the outputs of the blocks."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        outs = []
        for block in self.blocks:
            x = block(x)
            outs.append(x)
        x = sum(outs) / len(outs)
        return x


class NormLayer(Parts):
    """The norm is a default that may be None."""

    def __init__(self, norm_layer=None, pre_norm=False):
        super().__init__()
        norm_layer = norm_layer or functools.partial(nn.LayerNorm, eps=1e-6)
        self.norm_pre = norm_layer(8) if pre_norm else nn.Identity()
        self.norm = norm_layer(8)

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = self.norm_pre(x + self.pos_embed)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class PatchEmbed(nn.Module):
    def __init__(self, dim=8, flatten=True):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, 4, 4)
        self.flatten = flatten

    def forward(self, x):
        x = self.proj(x)
        if self.flatten:
            x = x.flatten(2).transpose(1, 2)
        return x


class EmbedLayer(Parts):
    """The stem is made by a default argument."""

    def __init__(self, embed_layer=PatchEmbed, embed_dim=8):
        super().__init__()
        self.patch_embed = embed_layer(dim=embed_dim)

    def forward_features(self, x):
        x = self.patch_embed(x)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class SequentialInLoop(Parts):
    """Blocks are gathered in a list and made a Sequential."""

    def __init__(self):
        super().__init__()
        layers = []
        for i in range(DEPTH):
            layers.append(nn.Linear(8, 8))
            if i < DEPTH - 1:
                layers += [nn.GELU()]
        self.blocks = nn.Sequential(*layers)

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        x = self.blocks(x)
        return x


def make_block(dim, act_layer=nn.GELU):
    return nn.Sequential(nn.Linear(dim, dim), act_layer())


class BlockFactory(Parts):
    """A function makes the blocks."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([make_block(8) for _ in range(DEPTH)])

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class BlockByPartial(Parts):
    """A partial makes the blocks."""

    def __init__(self):
        super().__init__()
        block = functools.partial(nn.Linear, out_features=8)
        self.blocks = nn.ModuleList(block(8) for _ in range(DEPTH))

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class ConfigRead(Parts):
    """A dictionary on the model is only read."""

    def __init__(self):
        super().__init__()
        self.config = {"scale": 2.0}

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x * self.config["scale"]
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x / self.config["scale"]
        return x


class ListRead(Parts):
    """A list on the model is only read."""

    def __init__(self):
        super().__init__()
        self.scales = [1.0, 2.0]

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block, scale in zip(self.blocks, self.scales):
            x = block(x) * scale
        return x


@functools.lru_cache
def width(size):
    return size * 2


class CachedPure(Parts):
    """A cached function is pure."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x * width(x.shape[1])
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x / width(x.shape[1])
        return x


class LocalList(Parts):
    """A local list is filled before and ends there."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        parts = []
        parts.append(x)
        x = torch.cat(parts, dim=-1)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class InPlaceLocal(Parts):
    """In place on tokens that nobody else holds."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x.contiguous()
        x.mul_(2.0)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class ConstantBuffer(Parts):
    """A buffer is read on both sides and never written."""

    def __init__(self):
        super().__init__()
        self.register_buffer("grid", torch.linspace(0, 1, 8), persistent=False)

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.grid
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x - self.grid
        return x


class StemProperty(Parts):
    """The stages read a constant of the stem."""

    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, kernel_size=4, stride=4)

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x / self.patch_embed.stride[0]
        return x


class LocalLambda(Parts):
    """A lambda of the stages closes over nothing that is written."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        scale = lambda y: y * 2.0
        x = scale(x)
        return x


class ClassToken(Parts):
    """A class token is expanded and concatenated."""

    def __init__(self):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 8))

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        return x
