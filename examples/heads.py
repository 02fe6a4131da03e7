"""What pre-training adds to a backbone: the MAE decoder, the SimMIM head, and the loss on the pixels under the mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from timm.layers import build_sincos2d_pos_embed
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.func import functional_call

from generated import SplitModel
from generated.masking import FeatureLayout, MaskedImageModel, feature_layout


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

    def flatten(self, features: Tensor) -> Tensor:
        """Bring features of whole images, as the backbone lays them out, to (B, prefix + positions, C)."""
        patches = self.layout.patches(features)
        return torch.cat([features[:, : self.prefix], patches], dim=1) if self.prefix else patches

    def pool(self, mask: Tensor) -> Tensor:
        """Turn a mask of tokens, (B, N), into one of positions, (B, L). All tokens of a position share its fate."""
        return torch.unflatten(mask, 1, (self.rows, self.unit, self.columns, self.unit))[:, :, 0, :, 0].flatten(1)

    def patchify(self, images: Tensor) -> Tensor:
        """Cut images, (B, 3, H, W), into the pixels of each position, (B, L, P)."""
        return F.unfold(images, self.patch, stride=self.patch).transpose(1, 2)

    def unpatchify(self, patches: Tensor) -> Tensor:
        """The inverse of ``patchify``."""
        size = (self.rows * self.patch[0], self.columns * self.patch[1])
        return F.fold(patches.transpose(1, 2), size, self.patch, stride=self.patch)


class SimMIMHead(nn.Module):
    """Predicts the pixels of each position from its feature alone, as SimMIM does (arXiv 2111.09886)."""

    def __init__(self, grid: FeatureGrid, pixels: int) -> None:
        super().__init__()
        self.grid = grid
        self.proj = nn.Linear(grid.layout.stream.channels, pixels)

    def forward(self, features: Tensor, mask: Tensor, restore: Tensor | None) -> Tensor:
        """Features, (B, prefix + L, C), to pixels, (B, L, P)."""
        pixels: Tensor = self.proj(features[:, self.grid.prefix :])
        return pixels


class MAEDecoder(nn.Module):
    """Predicts the pixels of all positions from the features of the visible ones, as MAE does (arXiv 2111.06377)."""

    pos_embed: Tensor

    def __init__(self, grid: FeatureGrid, pixels: int, dim: int, depth: int, num_heads: int) -> None:
        super().__init__()
        self.grid = grid
        self.embed = nn.Linear(grid.layout.stream.channels, dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.register_buffer("pos_embed", build_sincos2d_pos_embed([grid.rows, grid.columns], dim), persistent=False)
        self.blocks = nn.Sequential(*(Block(dim, num_heads, qkv_bias=True) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)
        self.proj = nn.Linear(dim, pixels)
        nn.init.normal_(self.mask_token, std=0.02)

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


class Pretraining(nn.Module):
    """A split backbone under a mask, with the head that predicts what is there.

    Args:
        backbone: A split model. It keeps its parameters and their names; its classifier waits for fine-tuning.
        images: Images of the size to train with, (B, 3, H, W), of any content. They show how the features lie.
        method: ``mae`` or ``simmim``.
        strategy: ``drop`` or ``replace`` the tokens under the mask.
        norm_pix: Predict pixels normalised within their patch.
        decoder: What ``MAEDecoder`` takes besides: ``dim``, ``depth``, ``num_heads``.
    """

    def __init__(
        self,
        backbone: SplitModel,
        images: Tensor,
        *,
        method: str,
        strategy: Literal["drop", "replace"],
        norm_pix: bool,
        decoder: dict[str, int],
    ) -> None:
        super().__init__()
        self.eval()
        size = (images.shape[-2], images.shape[-1])
        self.masked = MaskedImageModel(backbone.eval(), strategy=strategy, image_size=size)
        self.norm_pix = norm_pix
        self.grid = FeatureGrid.of(backbone, size)
        self.tokens = self.masked.grid(size)
        start_from_sincos(backbone, self.tokens)
        pixels = images.shape[1] * self.grid.patch[0] * self.grid.patch[1]
        if method == "mae":
            self.head: nn.Module = MAEDecoder(self.grid, pixels, **decoder)
            self.error = F.mse_loss
        else:
            self.head = SimMIMHead(self.grid, pixels)
            self.error = F.l1_loss

    def forward(self, images: Tensor, mask: Tensor, count: int | None = None) -> tuple[Tensor, Tensor]:
        """Predict the pixels under the mask.

        Args:
            images: (B, 3, H, W).
            mask: Of tokens, (B, N), true where masked.
            count: Tokens that each row masks; counted, which waits for the device, if it is not given.

        Returns:
            The error, averaged over the pixels of a position and summed over the positions under the mask; and the
            predictions for all positions, (B, L, P), to look at.
        """
        features, _, restore = self.masked(images, mask, count=count)
        hidden = self.grid.pool(mask)
        features = self.grid.flatten(features) if restore is None else features
        predictions = self.head(features, hidden, restore).float()
        targets = self.grid.patchify(images)
        if self.norm_pix:
            mean, std = _statistics(targets)
            targets = (targets - mean) / std
        error = self.error(predictions, targets, reduction="none").mean(dim=-1)
        return (error * hidden).sum(), predictions.detach()

    def reconstruct(self, predictions: Tensor, images: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Images with nothing under the mask, and with the predictions there; both (B, 3, H, W)."""
        patches, hidden = self.grid.patchify(images), self.grid.pool(mask)[..., None]
        if self.norm_pix:
            mean, std = _statistics(patches)
            predictions = predictions * std + mean
        rebuilt = torch.where(hidden, predictions, patches)
        return self.grid.unpatchify(patches.masked_fill(hidden, 0)), self.grid.unpatchify(rebuilt)

    def no_weight_decay(self) -> set[str]:
        """The names that timm's optimizer factory exempts from weight decay: the backbone's own, and mask tokens."""
        names = {name for name, _ in self.named_parameters() if name.endswith("mask_token")}
        own: set[str] = getattr(self.masked.backbone, "no_weight_decay", set)()
        return names | {f"masked.backbone.{name}" for name in own}

    def freeze_unused(self, images: Tensor, mask: Tensor) -> None:
        """Freeze what the loss does not reach, such as the classifier: DDP wants a gradient for all that is trained."""
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        buffers = {name: buffer.clone() for name, buffer in self.named_buffers()}  # running statistics stay as they are
        loss, _ = functional_call(self.train(), buffers, (images, mask))
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.requires_grad_(gradient is not None)


@torch.no_grad()
def start_from_sincos(backbone: nn.Module, grid: tuple[int, int]) -> None:
    """Let learned positions, (1, prefix + N, C), begin as MAE's sines and cosines: noise takes long."""
    position, patches = getattr(backbone, "pos_embed", None), grid[0] * grid[1]
    if isinstance(position, nn.Parameter) and position.ndim == 3 and 0 <= position.shape[1] - patches < 8:
        position[:, -patches:] = build_sincos2d_pos_embed(list(grid), position.shape[-1])


def _statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the pixels of each patch, (B, L, 1)."""
    mean, variance = patches.mean(dim=-1, keepdim=True), patches.var(dim=-1, keepdim=True)
    return mean, (variance + 1e-6).sqrt()
