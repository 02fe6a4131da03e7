"""MaskFeat: masked feature prediction, https://arxiv.org/abs/2112.09133, with histograms of oriented gradients.

| section 3 and appendix A  |                                                           |
|---------------------------|-----------------------------------------------------------|
| learning rate             | 2e-4 for 256 images, 30 of 300 epochs of warm-up, cosine  |
| AdamW                     | betas 0.9 and 0.999, weight decay 0.05                    |
| gradient                  | clipped at a norm of 0.02                                 |
| views                     | a crop of 0.5 to 1 of the area, mirrored                  |
| mask                      | 40 %, in blocks as BEiT's, replaced by a token            |
| target                    | HOG of each channel: 9 directions in cells of 8 x 8, by L2 |
| head                      | one linear layer; mean squared error                      |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import method
import numpy as np
import torch
from grid import FeatureGrid
from skimage.feature import hog
from torch import Tensor, nn
from views import OneView

from generated import SplitModel
from generated.masking import block_mask

DIRECTIONS = 9


class Method(method.Method):
    """MaskFeat, of any backbone with patches."""

    recipe = method.Recipe(
        "arXiv 2112.09133, appendix A",
        epochs=300,
        warmup_epochs=30,
        base_lr=2e-4,
        betas=(0.9, 0.999),
        clip_grad=0.02,
        crop_scale=(0.5, 1.0),
    )

    def __init__(
        self,
        backbone: SplitModel,
        images: Tensor,
        *,
        mask_ratio: float = 0.4,
        mask_unit: int | None = None,
        cell: int | None = None,
    ) -> None:
        super().__init__(backbone, images, mask_ratio=mask_ratio, mask_unit=mask_unit)
        side = min(self.grid.patch)
        self.cell = cell or (8 if side % 8 == 0 and side > 8 else max(side // 2, 1))
        if any(length % self.cell for length in self.grid.patch):
            raise ValueError(f"cells of {self.cell} pixels do not fit into positions of {self.grid.patch} pixels")
        cells = self.grid.patch[0] * self.grid.patch[1] // self.cell**2
        self.head = nn.Linear(self.grid.channels, images.shape[1] * cells * DIRECTIONS)

    def initialise(self, *, fresh: bool) -> None:
        """The head as the layers of the backbone."""
        self.head.apply(method.trunc_normal)

    def views(self, mean: Sequence[float], std: Sequence[float]) -> Callable[[Any], tuple[Tensor, ...]]:
        """A crop, and its histograms, (L, D), which are made where images are loaded."""
        one = OneView(self.size, mean, std, scale=self.crop_scale, flip=self.flip)
        return WithHistograms(one, self.grid, self.cell)

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Blocks, (B, N)."""
        smallest = min(16, self.tokens[0] * self.tokens[1] // self.unit**2 // 4)
        return (
            block_mask(batch, self.tokens, self.mask_ratio, unit=self.unit, smallest=smallest, generator=generator),
        )

    def forward(self, views: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
        """Mean squared error of the histograms under the mask."""
        (images, targets), (mask,) = views, masks
        features = self.grid.flatten(self.encoder(images, mask).features)[:, self.grid.prefix :]
        hidden = self.grid.pool(mask)
        predicted: Tensor = self.head(features).float()
        error = (predicted - targets).square().mean(dim=-1)
        return (error * hidden).sum() / hidden.sum()


class WithHistograms:
    """A view, and the histograms of oriented gradients in each of its positions.

    Args:
        view: Crops and normalises.
        grid: The positions.
        cell: Side of what has a histogram of its own, in pixels.
    """

    def __init__(self, view: OneView, grid: FeatureGrid, cell: int) -> None:
        self.view, self.cell = view, cell
        self.rows, self.columns = grid.rows, grid.columns

    def __call__(self, image: Tensor) -> tuple[Tensor, ...]:
        """An image, (C, h, w), to its view, (C, H, W), and its histograms, (L, C * cells * 9)."""
        crop = self.view.crop(image)
        return self.view.normalise(crop), self.histograms(crop)

    def histograms(self, image: Tensor) -> Tensor:
        """(L, C * cells * 9) of an image, (C, H, W)."""
        found = [
            hog(
                channel,
                orientations=DIRECTIONS,
                pixels_per_cell=(self.cell, self.cell),
                cells_per_block=(1, 1),
                block_norm="L2",
                feature_vector=False,
            )[:, :, 0, 0]
            for channel in image.double().numpy()
        ]
        cells = torch.from_numpy(np.stack(found)).float()  # (C, H / cell, W / cell, 9)
        rows, columns = self.rows, self.columns
        tall, wide = cells.shape[1] // rows, cells.shape[2] // columns
        split = cells.view(-1, rows, tall, columns, wide, DIRECTIONS)
        return split.permute(1, 3, 0, 2, 4, 5).reshape(rows * columns, -1)
