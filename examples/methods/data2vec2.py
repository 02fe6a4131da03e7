"""data2vec 2: efficient self-supervised learning with contextualised targets, https://arxiv.org/abs/2212.07525.

| ViT-B, config/v2/base_images_only_task.yaml of fairseq |                                                |
|---------------------------|-----------------------------------------------------------------------------|
| learning rate             | 1e-3 for 256 images, 50,040 of 375,300 steps of warm-up, cosine             |
| Adam                      | betas 0.9 and 0.95, weight decay 0.05                                       |
| gradient                  | clipped at a norm of 4                                                      |
| masks                     | 16 for each image: 80 %, all but blocks of 3 x 3, dropped                   |
| decoder                   | 6 convolutions of 3 x 3 in 16 groups; noise of 0.01 for masked patches      |
| teacher                   | a moving average, from 0.9998 to 0.99999 in 100,000 of 375,300 steps        |
| target                    | mean of the last 10 feed-forward outputs, normalised for each channel       |
| loss                      | squared error; 0.01 times that of the class token to the mean of the target |

The images are cropped as in MAE.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import method
import schedule
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generated import SplitModel
from generated.masking import drop, inverse_block_mask, repeat


class Method(method.Method):
    """data2vec 2, of backbones with blocks that have an ``mlp``, and whose stages can do without the whole grid."""

    recipe = method.Recipe(
        "arXiv 2212.07525, and its configuration in fairseq",
        epochs=75,
        warmup_epochs=10,
        base_lr=1e-3,
        clip_grad=4.0,
    )

    pictures = False

    def __init__(
        self,
        backbone: SplitModel,
        images: Tensor,
        *,
        mask_ratio: float = 0.8,
        masks: int = 16,
        layers: int = 10,
        momentum: tuple[float, float] = (0.9998, 0.99999),
        anneal: float = 0.27,
        cls_loss: float = 0.01,
        decoder_dim: int = 768,
        decoder_depth: int = 6,
        decoder_groups: int = 16,
    ) -> None:
        super().__init__(backbone, images, strategy="drop", mask_ratio=mask_ratio)
        if self.encoder.layout.leaks or self.encoder.layout.unit:
            raise ValueError("one embedding cannot serve several masks where tokens see beyond their patch")
        self.masks, self.layers, self.momentum, self.anneal = masks, layers, momentum, anneal
        self.cls_loss = cls_loss
        self.decoder = Decoder(self.grid.channels, decoder_dim, decoder_depth, decoder_groups)
        self.teacher = method.Teacher(self.encoder)

    def initialise(self, *, fresh: bool) -> None:
        """Positions of sines and cosines where none are learned yet."""
        if fresh:
            method.fix_sincos_positions(self.encoder.backbone, self.tokens)
        self.teacher.set(self.encoder)

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """(B, M, N), True where masked."""
        masks = inverse_block_mask(batch * self.masks, self.tokens, self.mask_ratio, generator=generator)
        return (masks.unflatten(0, (batch, self.masks)),)

    def forward(self, views: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
        """Squared error of the predictions under the masks, by the root of the channels as in the reference."""
        (images,), (mask,) = views, masks
        mask = mask.flatten(0, 1)
        target = self._target(images).repeat_interleave(self.masks, dim=0)
        layout, backbone = self.encoder.layout, self.encoder.backbone
        dropped = drop(layout, repeat(layout, backbone.embed(images), self.masks), mask)
        features = backbone.forward_stages(dropped.embedding)
        if self.encoder.final_norm is not None:
            features = self.encoder.final_norm(backbone, features)
        prefix = self.grid.prefix
        noise = 0.01 * torch.randn(len(mask), int(mask[0].sum()), features.shape[-1], device=mask.device)
        tokens = torch.cat([features[:, prefix:], noise.to(features.dtype)], dim=1)
        tokens = tokens.gather(1, dropped.restore.unsqueeze(-1).expand_as(tokens))
        grid = tokens.transpose(1, 2).unflatten(2, self.tokens)
        predicted = self.decoder(grid).flatten(2).transpose(1, 2).float()
        error = (predicted - target[:, prefix:]).square().mean(dim=-1)
        loss: Tensor = (error * mask).sum() / mask.sum()
        if prefix:
            loss = loss + self.cls_loss * F.mse_loss(features[:, 0].float(), target.mean(dim=1))
        return loss * math.sqrt(features.shape[-1])

    @torch.no_grad()
    def _target(self, images: Tensor) -> Tensor:
        """What the teacher makes of the whole images, (B, prefix + N, C)."""
        outputs: list[Tensor] = []
        blocks = list(self.teacher.module.backbone.blocks)[-self.layers :]
        hooks = [block.mlp.register_forward_hook(lambda *call: outputs.append(call[-1].float())) for block in blocks]
        mask = torch.zeros(len(images), self.tokens[0] * self.tokens[1], dtype=torch.bool, device=images.device)
        try:
            self.teacher(images, mask, count=0)
        finally:
            for hook in hooks:
                hook.remove()
        normalised = [F.instance_norm(output.transpose(1, 2)).transpose(1, 2) for output in outputs]
        mean = torch.stack(normalised).mean(dim=0)
        return F.layer_norm(mean, mean.shape[-1:])

    def end_step(self, done: float) -> None:
        """Move the teacher."""
        self.teacher.follow(self.encoder, schedule.linear(done / self.anneal, *self.momentum))


class Decoder(nn.Module):
    """Convolutions over the grid, (B, C, H, W), each added to what it was given where the channels are as many."""

    def __init__(self, channels: int, dim: int, depth: int, groups: int) -> None:
        super().__init__()
        widths = [channels, *[dim] * depth]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(one, other, 3, padding=1, groups=groups) for one, other in pairwise(widths)
        )
        self.proj = nn.Conv2d(dim, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to as much."""
        for convolution in self.convolutions:
            y = convolution(x)
            y = F.gelu(F.layer_norm(y.movedim(1, -1), y.shape[1:2]).movedim(-1, 1))
            x = x + y if x.shape == y.shape else y
        return self.proj(x)  # type: ignore[no-any-return]
