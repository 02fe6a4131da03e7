"""SimMIM: a simple framework for masked image modelling, https://arxiv.org/abs/2111.09886.

| section 4.1               |                                                          |
|---------------------------|----------------------------------------------------------|
| learning rate             | 1e-4 for 256 images, 10 of 100 epochs of warm-up, cosine |
| AdamW                     | betas 0.9 and 0.999, weight decay 0.05                   |
| gradient                  | clipped at a norm of 5                                   |
| views                     | a crop of 0.67 to 1 of the area, mirrored                |
| mask                      | 60 %, in squares of 32 pixels, replaced by a token       |
| head                      | one linear layer                                         |
| target                    | pixels; mean absolute error                              |
"""

from __future__ import annotations

from collections.abc import Sequence

import method
import torch
from torch import Tensor, nn

from generated import SplitModel


class Method(method.Method):
    """SimMIM, of any backbone with patches."""

    recipe = method.Recipe(
        "arXiv 2111.09886, section 4.1",
        epochs=100,
        warmup_epochs=10,
        base_lr=1e-4,
        min_lr=5e-6,
        betas=(0.9, 0.999),
        clip_grad=5.0,
        crop_scale=(0.67, 1.0),
    )

    def __init__(
        self, backbone: SplitModel, images: Tensor, *, mask_ratio: float = 0.6, mask_unit: int | None = None
    ) -> None:
        super().__init__(backbone, images, mask_ratio=mask_ratio, mask_unit=mask_unit)
        if mask_unit is None:
            token = self.size[0] // self.tokens[0]  # pixels along a side
            pixels = min(32, self.size[0] // 4)  # smaller squares for images of test size
            self.unit = max(self.unit, pixels // token // self.unit * self.unit)
        self.head = nn.Linear(self.grid.channels, images.shape[1] * self.grid.patch[0] * self.grid.patch[1])

    def forward(self, views: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
        """Mean absolute error of the pixels under the mask."""
        (images,), (mask,) = views, masks
        hidden = self.grid.pool(mask)
        error = (self._predict(images, mask) - self.grid.patchify(images)).abs().mean(dim=-1)
        return (error * hidden).sum() / hidden.sum()

    def picture(self, images: Tensor, mask: Tensor) -> list[Tensor]:
        """The visible patches, and with them what is predicted for the others."""
        patches, hidden = self.grid.patchify(images), self.grid.pool(mask)[..., None]
        rebuilt = torch.where(hidden, self._predict(images, mask), patches)
        return [*super().picture(images, mask), self.grid.unpatchify(rebuilt)]

    def _predict(self, images: Tensor, mask: Tensor) -> Tensor:
        features = self.grid.flatten(self.encoder(images, mask).features)[:, self.grid.prefix :]
        return self.head(features).float()  # type: ignore[no-any-return]
