"""iBOT: image BERT pre-training with an online tokenizer, https://arxiv.org/abs/2111.07832.

| ViT-B, section 3.3        |                                                              |
|---------------------------|--------------------------------------------------------------|
| learning rate             | 7.5e-4 for 256 images, 10 of 400 epochs of warm-up, to 2e-6   |
| AdamW                     | betas 0.9 and 0.999, weight decay from 0.04 to 0.4            |
| gradient                  | clipped at a norm of 0.3 for each parameter, at first none for the last layer |
| views                     | 2 crops of 0.32 to 1 of the area, 10 of 0.05 to 0.32          |
| mask                      | blocks of 0.1 to 0.5 in half of the large crops, replaced     |
| teacher                   | a moving average, from 0.996 to 1 along a cosine              |
| head                      | 3 layers of 2048 to 256, 8192 prototypes, for class and patch |
| temperature               | 0.1 of the student, 0.04 to 0.07 in 50 epochs of the teacher  |
| drop path                 | 0.1                                                           |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from distillation import Distillation
from method import Recipe
from torch import Tensor, nn

from generated import SplitModel
from generated.masking import mask_ratios


class Method(Distillation):
    """iBOT, of any backbone with patches that takes images of two sizes, or of one with ``local_crops=0``."""

    recipe = Recipe(
        "arXiv 2111.07832, section 3.3",
        epochs=400,
        warmup_epochs=10,
        base_lr=7.5e-4,
        min_lr=2e-6 * 256 / 1024,
        weight_decay=0.04,
        weight_decay_end=0.4,
        betas=(0.9, 0.999),
        clip_grad=0.3,
        crop_scale=(0.32, 1.0),
        drop_path=0.1,
    )

    def __init__(
        self,
        backbone: SplitModel,
        images: Tensor,
        *,
        local_crops: int = 10,
        prototypes: int = 8192,
        momentum: float = 0.996,
        temperature_warmup: float = 50 / 400,
        frozen: float = 3 / 400,
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

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """(B, 2, N): masks of the global crops, each of which is masked or not."""
        ratios = mask_ratios(2 * batch, self.mask_ratios, masked=0.5, even=False, generator=generator)
        return (self.blocks(ratios, generator),)

    def forward(self, views: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
        """The loss between classes of different crops, and that between patches under the mask."""
        classes, patches, _ = self.compare(views, masks[0].transpose(0, 1).flatten(0, 1))
        return classes + patches

    def clip_gradients(self, norm: float) -> None:
        """Clip that of each parameter by itself."""
        for parameter in self.parameters():
            nn.utils.clip_grad_norm_(parameter, norm)
