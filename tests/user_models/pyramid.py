"""In the manner of CvT, PVT and the first ConvNeXt: stages that each begin with an embedding of their own."""

from tiny_parts import Block, SizedPatches
from torch import nn


class ZippedPyramid(nn.Module):
    """Containers that are walked side by side."""

    def __init__(self):
        super().__init__()
        self.patch_embeds = nn.ModuleList([SizedPatches(8, 2), SizedPatches(4, 2, channels=16)])
        self.drops = nn.ModuleList([nn.Dropout(0.1) for _ in range(2)])
        self.blocks = nn.ModuleList([nn.Sequential(Block(), Block()) for _ in range(2)])
        self.norms = nn.ModuleList([nn.LayerNorm(16) for _ in range(2)])

    def forward_features(self, x):
        B = x.shape[0]
        for embed, drop, stage, norm in zip(self.patch_embeds, self.drops, self.blocks, self.norms):  # noqa: B905
            x, (H, W) = embed(x)
            x = drop(x)
            x = norm(stage(x))
            x = x.reshape(B, H, W, -1).permute(0, 3, 1, 2).contiguous()
        return x


class NamedPyramid(nn.Module):
    """Stages under numbered names, as PVT has them."""

    def __init__(self):
        super().__init__()
        self.num_stages = 2
        for i in range(self.num_stages):
            setattr(self, f"patch_embed{i + 1}", SizedPatches(8, 2) if i == 0 else SizedPatches(4, 2, channels=16))
            setattr(self, f"block{i + 1}", nn.ModuleList([Block(), Block()]))

    def forward_features(self, x):
        B = x.shape[0]
        for i in range(self.num_stages):
            patch_embed = getattr(self, f"patch_embed{i + 1}")
            block = getattr(self, f"block{i + 1}")
            x, (H, W) = patch_embed(x)
            for blk in block:
                x = blk(x)
            x = x.reshape(B, H, W, -1).permute(0, 3, 1, 2)
        return x.mean([-2, -1])


class ConvPyramid(nn.Module):
    """The first ConvNeXt: the stem is downsampling layer number 0."""

    def __init__(self, dims=(8, 16, 24, 32)):
        super().__init__()
        self.downsample_layers = nn.ModuleList()
        stem = nn.Sequential(nn.Conv2d(3, dims[0], kernel_size=2, stride=2), nn.BatchNorm2d(dims[0]))
        self.downsample_layers.append(stem)
        for i in range(3):
            self.downsample_layers.append(nn.Conv2d(dims[i], dims[i + 1], kernel_size=2, stride=2, padding=1))
        self.stages = nn.ModuleList()
        for i in range(4):
            stage = nn.Sequential(*[nn.Conv2d(dims[i], dims[i], 3, padding=1) for _ in range(2)])
            self.stages.append(stage)
        self.norm = nn.LayerNorm(dims[-1])

    def forward_features(self, x):
        for i in range(4):
            x = self.downsample_layers[i](x)
            x = self.stages[i](x)
        return self.norm(x.mean([-2, -1]))
