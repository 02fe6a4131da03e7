"""How the features of a backbone lie over its images, so that heads and targets fit them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from generated import SplitModel
from generated.masking import FeatureLayout, feature_layout


@dataclass(frozen=True)
class FeatureGrid:
    """How a backbone's features lie over its images, for images of one size."""

    layout: FeatureLayout
    patch: tuple[int, int]  # height and width, in pixels, of what a position stands for
    unit: int  # tokens of the embedding along each side of a position: 1 in a ViT, 8 in a Swin

    @classmethod
    def of(cls, backbone: SplitModel, size: tuple[int, int]) -> FeatureGrid:
        """Find it for a split model and images of some height and width."""
        layout = feature_layout(backbone, size)
        (height, width), (rows, columns), tokens = size, layout.grid, layout.tokens
        unit = tokens[0] // rows
        if (rows * unit, columns * unit) != tokens or height % rows or width % columns:
            raise ValueError(
                f"images of {height}x{width} pixels do not divide evenly into the {rows}x{columns} positions of the "
                "features. Choose a multiple of the model's stride."
            )
        return cls(layout, (height // rows, width // columns), unit)

    @property
    def rows(self) -> int:
        """Positions from top to bottom."""
        return self.layout.grid[0]

    @property
    def columns(self) -> int:
        """Positions from left to right."""
        return self.layout.grid[1]

    @property
    def prefix(self) -> int:
        """Tokens before the positions: class and register tokens."""
        return self.layout.stream.prefix

    @property
    def channels(self) -> int:
        """Of the features."""
        return self.layout.stream.channels

    def flatten(self, features: Tensor) -> Tensor:
        """Bring features of whole images, as the backbone lays them out, to (B, prefix + positions, C)."""
        patches = self.layout.patches(features)
        return torch.cat([features[:, : self.prefix], patches], dim=1) if self.prefix else patches

    def summary(self, features: Tensor) -> Tensor:
        """One feature for each image of any size, (B, C): its class token, or the mean over all where there is none."""
        if self.prefix:
            return features[:, 0]
        channels = 1 if self.layout.stream.order == "NCHW" else -1
        return features.movedim(channels, -1).flatten(1, -2).mean(dim=1)

    def pool(self, mask: Tensor) -> Tensor:
        """Turn a mask of tokens, (B, N), into one of positions, (B, L). All tokens of a position share its fate."""
        return torch.unflatten(mask, 1, (self.rows, self.unit, self.columns, self.unit))[:, :, 0, :, 0].flatten(1)

    def patchify(self, images: Tensor) -> Tensor:
        """Cut images, (B, C, H, W), into the pixels of each position, (B, L, P)."""
        return F.unfold(images, self.patch, stride=self.patch).transpose(1, 2)

    def unpatchify(self, patches: Tensor) -> Tensor:
        """The inverse of ``patchify``."""
        size = (self.rows * self.patch[0], self.columns * self.patch[1])
        return F.fold(patches.transpose(1, 2), size, self.patch, stride=self.patch)
