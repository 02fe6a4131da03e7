"""DINOv2: learning robust visual features without supervision, https://arxiv.org/abs/2304.07193.

| ssl_default_config.yaml   |                                                                |
|---------------------------|----------------------------------------------------------------|
| learning rate             | 4e-3 for 1024 images by square root, 10 of 100 epochs of warm-up |
| AdamW                     | betas 0.9 and 0.999, weight decay from 0.04 to 0.4              |
| gradient                  | clipped at a norm of 3 in backbone and head, none for the last layer in one epoch |
| views                     | 2 crops of 0.32 to 1 of the area, 8 of 0.05 to 0.32             |
| mask                      | blocks of 0.1 to 0.5 in exactly half of the large crops         |
| teacher                   | a moving average, from 0.992 to 1 along a cosine                |
| head                      | that of iBOT with 65,536 prototypes                             |
| temperature               | 0.04 to 0.07 in 30 epochs of the teacher                        |
| KoLeo                     | 0.1 times, of the class features of each large crop             |
| drop path                 | 0.3                                                             |

Layer decay (0.9) and the smaller learning rate of the patch embedding (0.2) are not applied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from distillation import Distillation
from lightly.loss import KoLeoLoss
from method import Recipe
from torch import Tensor, nn

from generated import SplitModel
from generated.masking import mask_ratios


class Method(Distillation):
    """DINOv2: iBOT with more prototypes, an even part of masked crops, and features that keep apart."""

    recipe = Recipe(
        "arXiv 2304.07193, ssl_default_config.yaml",
        epochs=100,
        warmup_epochs=10,
        base_lr=2e-3,
        lr_power=0.5,
        min_lr=1e-6 * (256 / 1024) ** 0.5,
        weight_decay=0.04,
        weight_decay_end=0.4,
        betas=(0.9, 0.999),
        clip_grad=3.0,
        crop_scale=(0.32, 1.0),
        drop_path=0.3,
    )

    def __init__(
        self,
        backbone: SplitModel,
        images: Tensor,
        *,
        local_crops: int = 8,
        prototypes: int = 65536,
        momentum: float = 0.992,
        temperature_warmup: float = 30 / 100,
        frozen: float = 1 / 100,
        koleo: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(
            backbone,
            images,
            local_crops=local_crops,
            prototypes=prototypes,
            momentum=momentum,
            temperature_warmup=temperature_warmup,
            frozen=frozen,
            **options,
        )
        self.koleo, self.koleo_loss = koleo, KoLeoLoss()

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """(B, 2, N): masks of the global crops, half of which are masked."""
        ratios = mask_ratios(2 * batch, self.mask_ratios, masked=0.5, generator=generator)
        units = self.tokens[0] * self.tokens[1] // self.unit**2
        return (self.blocks(ratios, generator, largest=units // 2),)

    def forward(self, views: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
        """iBOT's losses, and KoLeo's for the images of each large crop."""
        classes, patches, features = self.compare(views, masks[0].transpose(0, 1).flatten(0, 1))
        apart: Tensor = sum(self.koleo_loss(crop.float()) for crop in features.chunk(2))
        return classes + patches + self.koleo * apart

    def clip_gradients(self, norm: float) -> None:
        """Clip those of the backbone and those of the head, each together."""
        for part in (self.encoder, self.head):
            nn.utils.clip_grad_norm_(part.parameters(), norm)
