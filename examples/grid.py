"""How the features of a backbone lie over its images, so that heads and targets fit them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from generated import SplitModel
from generated.masking import TokenLayout


@dataclass(frozen=True)
class FeatureGrid:
    """How a backbone's features lie over its images. Found by one forward pass, for images of one size."""

    rows: int
    columns: int
    patch: tuple[int, int]  # height and width, in pixels, of what a position stands for
    unit: int  # tokens of the embedding along each side of a position: 1 in a ViT, 8 in a Swin
    prefix: int  # tokens before the positions: class and register tokens
    channels: int
    channels_first: bool

    @classmethod
    @torch.no_grad()
    def of(cls, backbone: SplitModel, layout: TokenLayout, images: Tensor) -> FeatureGrid:
        """Probe a split model with images, (B, C, H, W)."""
        features = backbone.forward_stages(backbone.embed(images))
        if not isinstance(features, Tensor) or features.ndim not in (3, 4):
            raise ValueError(f"{type(backbone).__name__} does not give its features as one tensor, (B, N, C) or 4D.")
        height, width = images.shape[-2:]
        token_rows, token_columns = layout.grid((height, width))
        channels_first = features.ndim == 4 and features.shape[-1] != backbone.num_features
        if channels_first:
            features = features.movedim(1, -1)
        if features.ndim == 4:
            rows, columns = features.shape[1:3]
        else:  # whatever does not fit into the finest grid that is possible is prefix tokens
            units = [n for n in range(1, token_rows + 1) if token_rows % n == 0 == token_columns % n]
            grids = [(token_rows // n, token_columns // n) for n in units]
            rows, columns = next((r, c) for r, c in grids if r * c <= features.shape[1])
            if features.shape[1] >= 2 * rows * columns:
                raise ValueError(
                    f"its {features.shape[1]} features lie on no grid that divides {token_rows}x{token_columns}"
                )
        unit = token_rows // rows
        if (rows * unit, columns * unit) != (token_rows, token_columns) or height % rows or width % columns:
            raise ValueError(
                f"images of {height}x{width} pixels do not divide evenly into the {rows}x{columns} positions of the "
                "features. Choose a multiple of the model's stride."
            )
        prefix = features.flatten(1, -2).shape[1] - rows * columns
        patch = (height // rows, width // columns)
        return cls(rows, columns, patch, unit, prefix, features.shape[-1], channels_first)

    def flatten(self, features: Tensor) -> Tensor:
        """Bring features, as the backbone lays them out, to (B, prefix + positions, C)."""
        if self.channels_first:
            features = features.movedim(1, -1)
        return features.flatten(1, -2)

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
