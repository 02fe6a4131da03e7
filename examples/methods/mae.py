"""MAE: masked autoencoders, https://arxiv.org/abs/2111.06377.

| table 8 and section 3     |                                                        |
|---------------------------|--------------------------------------------------------|
| learning rate             | 1.5e-4 for 256 images, 40 epochs of warm-up, cosine    |
| AdamW                     | betas 0.9 and 0.95, weight decay 0.05                  |
| views                     | a crop of 0.2 to 1 of the area, mirrored               |
| mask                      | 75 % of the patches, dropped                           |
| decoder                   | 8 blocks of 512 channels and 16 heads                  |
| target                    | pixels, normalised in each patch; mean squared error   |
| positions                 | sines and cosines, fixed, in encoder and decoder       |
| initialisation            | Xavier's for linear layers, 0.02 for tokens            |
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import method
import torch
from grid import FeatureGrid
from timm.layers import build_sincos2d_pos_embed
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from generated import SplitModel


class Method(method.Method):
    """MAE, of any backbone whose stages can do without the whole grid.

    Of others with ``strategy="replace"``, and of CNNs with ``strategy="sparse"``, as SparK and FCMAE mask them.
    """

    recipe = method.Recipe("arXiv 2111.06377, table 8", epochs=800, warmup_epochs=40, base_lr=1.5e-4)

    def __init__(
        self,
        backbone: SplitModel,
        images: Tensor,
        *,
        mask_ratio: float = 0.75,
        mask_unit: int | None = None,
        strategy: Literal["drop", "replace", "sparse"] = "drop",
        norm_pix: bool = True,
        decoder_dim: int = 512,
        decoder_depth: int = 8,
        decoder_heads: int = 16,
    ) -> None:
        super().__init__(backbone, images, mask_ratio=mask_ratio, mask_unit=mask_unit, strategy=strategy)
        self.norm_pix = norm_pix
        pixels = images.shape[1] * self.grid.patch[0] * self.grid.patch[1]
        self.decoder = Decoder(self.grid, pixels, decoder_dim, decoder_depth, decoder_heads)

    def initialise(self, *, fresh: bool) -> None:
        """As ``initialize_weights`` of the paper's ``models_mae.py``."""
        self.decoder.apply(_xavier)
        if fresh:
            method.fix_sincos_positions(self.encoder.backbone, self.tokens)
            self.encoder.backbone.apply(_xavier)
            if isinstance(token := getattr(self.encoder.backbone, "cls_token", None), nn.Parameter):
                nn.init.normal_(token, std=0.02)
            stem = getattr(getattr(self.encoder.backbone, "patch_embed", None), "proj", None)
            if isinstance(stem, nn.Conv2d):  # a linear layer in other words
                nn.init.xavier_uniform_(stem.weight.data.flatten(1))

    def no_weight_decay(self) -> set[str]:
        """Nothing but vectors is exempt."""
        return set()

    def forward(self, views: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
        """Mean squared error of the pixels under the mask."""
        (images,), (mask,) = views, masks
        targets = self._normalised(self.grid.patchify(images))[0]
        hidden = self.grid.pool(mask)
        error = (self._predict(images, mask) - targets).square().mean(dim=-1)
        return (error * hidden).sum() / hidden.sum()

    def picture(self, images: Tensor, mask: Tensor) -> list[Tensor]:
        """The visible patches, and with them what is predicted for the others, in their true mean and contrast."""
        patches, hidden = self.grid.patchify(images), self.grid.pool(mask)[..., None]
        _, mean, std = self._normalised(patches)
        rebuilt = torch.where(hidden, self._predict(images, mask) * std + mean, patches)
        return [*super().picture(images, mask), self.grid.unpatchify(rebuilt)]

    def _predict(self, images: Tensor, mask: Tensor) -> Tensor:
        features, _, restore = self.encoder(images, mask)
        features = self.grid.flatten(features) if restore is None else features
        return self.decoder(features, self.grid.pool(mask), restore).float()  # type: ignore[no-any-return]

    def _normalised(self, patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Patches, (B, L, P), what was subtracted from them, and what they were divided by."""
        if not self.norm_pix:
            return patches, patches.new_zeros(()), patches.new_ones(())
        mean, std = patches.mean(dim=-1, keepdim=True), (patches.var(dim=-1, keepdim=True) + 1e-6).sqrt()
        return (patches - mean) / std, mean, std


class Decoder(nn.Module):
    """Predicts the pixels of all positions from the features of the visible ones."""

    pos_embed: Tensor

    def __init__(self, grid: FeatureGrid, pixels: int, dim: int, depth: int, num_heads: int) -> None:
        super().__init__()
        self.grid = grid
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.embed = nn.Linear(grid.channels, dim)
        self.mask_token = nn.Parameter(nn.init.normal_(torch.empty(1, 1, dim), std=0.02))
        self.register_buffer("pos_embed", build_sincos2d_pos_embed([grid.rows, grid.columns], dim), persistent=False)
        self.blocks = nn.Sequential(*(Block(dim, num_heads, qkv_bias=True, norm_layer=norm) for _ in range(depth)))
        self.norm = norm(dim)
        self.proj = nn.Linear(dim, pixels)

    def forward(self, features: Tensor, mask: Tensor, restore: Tensor | None) -> Tensor:
        """Features and the mask of positions, (B, L), to pixels, (B, L, P).

        Features are (B, prefix + visible, C), and ``restore`` puts them in order, or (B, prefix + L, C) where hidden
        tokens were replaced.
        """
        x = self.embed(features)
        prefix, visible = x[:, : self.grid.prefix], x[:, self.grid.prefix :]
        token = self.mask_token.to(x.dtype)
        if restore is not None:
            hidden = token.expand(len(x), mask.shape[1] - visible.shape[1], -1)
            x = torch.cat([visible, hidden], dim=1).gather(1, restore[..., None].expand(-1, -1, x.shape[-1]))
        else:
            x = torch.where(mask[..., None], token, visible)
        x = self.blocks(torch.cat([prefix, x + self.pos_embed], dim=1))
        pixels: Tensor = self.proj(self.norm(x[:, self.grid.prefix :]))
        return pixels


def _xavier(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
