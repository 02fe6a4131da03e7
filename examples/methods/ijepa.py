"""I-JEPA: a joint-embedding predictive architecture for images, https://arxiv.org/abs/2301.08243.

| appendix A.1              |                                                              |
|---------------------------|--------------------------------------------------------------|
| learning rate             | 1e-3 for 2048 images, 40 of 300 epochs of warm-up, to 1e-6    |
| AdamW                     | betas 0.9 and 0.999, weight decay from 0.04 to 0.4            |
| views                     | a crop of 0.3 to 1 of the area, nothing else                  |
| targets                   | 4 blocks of 0.15 to 0.2 of the image, sides of 0.75 to 1.5    |
| context                   | a block of 0.85 to 1 without the targets, others dropped      |
| teacher                   | a moving average, from 0.996 to 1 along a line                |
| predictor                 | 12 blocks of 384 channels                                     |
| loss                      | smooth L1 to the normalised features of the teacher           |
| positions                 | sines and cosines, fixed, in encoder and predictor            |

The paper warms up from a fifth of the peak; here from 0 as the others do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import method
import schedule
import torch
import torch.nn.functional as F
from lightly.models.modules import IJEPAPredictorTIMM
from lightly.models.utils import apply_masks
from torch import Tensor, nn

from generated import SplitModel
from generated.masking import target_masks


class Method(method.Method):
    """I-JEPA, of any backbone whose stages can do without the whole grid; the paper's have no class token."""

    recipe = method.Recipe(
        "arXiv 2301.08243, appendix A.1",
        epochs=300,
        warmup_epochs=40,
        base_lr=1.25e-4,
        min_lr=1.25e-7,
        weight_decay=0.04,
        weight_decay_end=0.4,
        betas=(0.9, 0.999),
        crop_scale=(0.3, 1.0),
        flip=False,
    )
    exported = "teacher.module.backbone"  # which the paper evaluates

    def __init__(
        self,
        backbone: SplitModel,
        images: Tensor,
        *,
        targets: int = 4,
        min_keep: int = 10,
        momentum: float = 0.996,
        predictor_dim: int = 384,
        predictor_depth: int = 12,
        predictor_heads: int = 12,
    ) -> None:
        super().__init__(backbone, images, strategy="drop")
        if self.grid.rows != self.grid.columns or self.grid.unit > 1:
            raise ValueError("the predictor takes features of each token of a square grid")
        self.targets, self.min_keep, self.momentum = targets, min_keep, momentum
        self.predictor = IJEPAPredictorTIMM(
            num_patches=self.grid.rows * self.grid.columns,
            depth=predictor_depth,
            mlp_dim=self.grid.channels,
            predictor_embed_dim=predictor_dim,
            num_heads=predictor_heads,
        )
        self.teacher = method.Teacher(self.encoder)

    def initialise(self, *, fresh: bool) -> None:
        """Linear layers and the mask token at 0.02, and each block's outputs smaller by its depth, as in BEiT."""
        if fresh:
            method.fix_sincos_positions(self.encoder.backbone, self.tokens)
            _initialise(self.encoder.backbone, self.encoder.backbone.blocks)
        _initialise(self.predictor, self.predictor.decoder.blocks)
        nn.init.trunc_normal_(self.predictor.decoder.mask_token, std=0.02)
        self.teacher.set(self.encoder)

    def no_weight_decay(self) -> set[str]:
        """Nothing but vectors is exempt."""
        return set()

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """What is hidden from the context, (B, N), and the indices of context, (B, n), and targets, (B, 4, m)."""
        masks = target_masks(batch, self.tokens, self.targets, min_keep=self.min_keep, generator=generator)
        return masks.context, masks.context_indices, masks.target_indices

    def forward(self, views: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
        """How far the predictions of the targets are from what the teacher makes of the whole image."""
        (images,), (hidden, context, targets) = views, masks
        places = list(targets.unbind(dim=1))
        with torch.no_grad():
            whole = self.teacher(images, torch.zeros_like(hidden), count=0).features[:, self.grid.prefix :]
            wanted = apply_masks(F.layer_norm(whole.float(), whole.shape[-1:]), places)
        seen = self.encoder(images, hidden, count=hidden.shape[1] - context.shape[1]).features[:, self.grid.prefix :]
        return F.smooth_l1_loss(self.predictor(seen, [context], places).float(), wanted)

    def end_step(self, done: float) -> None:
        """Move the teacher."""
        self.teacher.follow(self.encoder, schedule.linear(done, self.momentum, 1.0))


@torch.no_grad()
def _initialise(module: nn.Module, blocks: Any) -> None:
    module.apply(method.trunc_normal)
    for depth, block in enumerate(blocks, start=1):
        block.attn.proj.weight /= (2 * depth) ** 0.5
        block.mlp.fc2.weight /= (2 * depth) ** 0.5
