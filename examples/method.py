"""What the loop knows of a method: its recipe, the views it wants, the masks it draws, and its loss.

A new method is one new file in ``methods/`` with a class ``Method``. The loop calls, for each step: ``draw`` for the
masks of a global batch, ``begin_step``, ``forward``, ``clip_gradients``, ``after_backward`` and ``end_step``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from grid import FeatureGrid
from timm.layers import build_sincos2d_pos_embed
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.func import functional_call
from views import OneView, Size

from generated import SplitModel
from generated.masking import MaskedImageModel, random_mask


@dataclass(frozen=True)
class Recipe:
    """A paper's table of hyper-parameters.

    Attributes:
        source: Where they stand.
        epochs: Length of the schedule.
        warmup_epochs: Part of it in which the learning rate rises from 0; a run of another length has the same part.
        base_lr: Peak of the learning rate for a batch of 256.
        lr_power: The learning rate grows with this power of the batch: 1 is linear scaling, 0.5 that by square root.
        min_lr: Where it ends, for a batch of 256.
        weight_decay: Of AdamW, at the start.
        weight_decay_end: At the end, along a cosine; ``None`` where it is constant.
        betas: Of AdamW.
        clip_grad: Largest norm of the gradient.
        crop_scale: Least and greatest part of an image's area that is cropped; of several crops, the global ones'.
        flip: Whether half of the images are mirrored.
        drop_path: Rate of stochastic depth in the backbone.
    """

    source: str
    epochs: int
    warmup_epochs: float
    base_lr: float
    weight_decay: float = 0.05
    weight_decay_end: float | None = None
    lr_power: float = 1.0
    min_lr: float = 0.0
    betas: tuple[float, float] = (0.9, 0.95)
    clip_grad: float | None = None
    crop_scale: tuple[float, float] = (0.2, 1.0)
    flip: bool = True
    drop_path: float = 0.0

    def scaled(self, rate: float, batch: int) -> float:
        """A learning rate that is meant for a batch of 256, for another one."""
        return rate * float((batch / 256) ** self.lr_power)


class Method(nn.Module):
    """A split backbone under a mask.

    Args:
        backbone: A split model. It keeps its parameters and their names.
        images: Images of the size to train with, (B, C, H, W), of any content. They show how the features lie.
        strategy: ``drop`` or ``replace`` the tokens under the mask, or keep CNNs ``sparse`` there.
        mask_ratio: The part of each image that is masked.
        mask_unit: Side of what is masked as one, in tokens; by default that of a feature.

    Attributes:
        recipe: The paper's.
        crop_scale: Least and greatest part of an image's area that is cropped: the recipe's, or what a user wants.
        flip: Whether half of the images are mirrored; likewise.
        sizes: Whether the backbone is given images of several sizes.
        pictures: Whether ``picture`` takes what ``draw`` draws first.
        exported: The name of the backbone that a user wants after training.
    """

    recipe: ClassVar[Recipe]
    sizes: ClassVar[bool] = False
    pictures: ClassVar[bool] = True
    exported: ClassVar[str] = "encoder.backbone"

    def __init__(
        self,
        backbone: SplitModel,
        images: Tensor,
        *,
        strategy: Literal["drop", "replace", "sparse"] = "replace",
        mask_ratio: float = 0.5,
        mask_unit: int | None = None,
    ) -> None:
        super().__init__()
        self.size: Size = (images.shape[-2], images.shape[-1])
        self.mask_ratio = mask_ratio
        self.crop_scale, self.flip = self.recipe.crop_scale, self.recipe.flip
        self.encoder = MaskedImageModel(backbone.eval(), strategy=strategy, image_size=self.size)
        self.grid = FeatureGrid.of(backbone, self.size)
        self.tokens = self.encoder.grid(self.size)
        self.unit = mask_unit or max(self.grid.unit, self.encoder.unit)

    def views(self, mean: Sequence[float], std: Sequence[float]) -> Callable[[Any], tuple[Tensor, ...]]:
        """What makes the views of an image: one random crop, by default."""
        return OneView(self.size, mean, std, scale=self.crop_scale, flip=self.flip)

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """The masks of a global batch, each of ``batch`` rows, on the CPU; by default (B, N), True where masked."""
        return (random_mask(batch, self.tokens, self.mask_ratio, unit=self.unit, generator=generator),)

    def forward(self, views: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
        """The loss: a mean over the rows of the batch, so that processes average theirs."""
        raise NotImplementedError

    def begin_step(self, done: float) -> None:
        """Called before each step with the part of the run that is done, from 0 to 1."""

    def clip_gradients(self, norm: float) -> None:
        """Bring gradients of a larger norm to this one, by default those of all parameters together."""
        nn.utils.clip_grad_norm_(self.parameters(), norm)

    def after_backward(self, done: float) -> None:
        """Called when the gradients are there, clipped, and not yet used."""

    def end_step(self, done: float) -> None:
        """Called after each step of the optimizer."""

    @torch.no_grad()
    def try_out(self, mean: Sequence[float], std: Sequence[float], *, channels: int) -> None:
        """Run the method on two images, which shows whether the backbone takes them in all the sizes that it is given.

        Raises:
            Exception: Whatever the backbone raises.
        """
        views = self.views(mean, std)
        black = torch.zeros(channels, *self.size)
        batch = [torch.stack([view, view]) for view in views(black)]
        buffers = {
            name: buffer.clone() for name, buffer in self.named_buffers()
        }  # means of a centring stay as they are
        functional_call(self.eval(), buffers, (batch, self.draw(2, torch.Generator())))

    def picture(self, images: Tensor, mask: Tensor) -> list[Tensor]:
        """Images, (B, C, H, W), to show beside the normalised ``images``."""
        return [self.grid.unpatchify(self.grid.patchify(images).masked_fill(self.grid.pool(mask)[..., None], 0))]

    def no_weight_decay(self) -> set[str]:
        """The names that timm's optimizer factory exempts beside vectors: what the backbone spares, and mask tokens."""
        tokens = {name for name, _ in self.named_parameters() if name.endswith("mask_token")}
        return tokens | {f"encoder.{name}" for name in self.encoder.no_weight_decay()}

    def initialise(self, *, fresh: bool) -> None:
        """Set weights as the paper does. Those of a backbone that is not ``fresh`` were loaded, and stay."""


class Teacher(ModelEmaV3):  # type: ignore[misc]  # timm is not typed
    """A moving average of a module, which is given no gradient."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__(student)
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> Teacher:
        """Stay in evaluation mode: no stochastic depth."""
        super().train(False)
        return self

    @torch.no_grad()
    def follow(self, student: nn.Module, momentum: float) -> None:
        """Move towards the student: ``momentum`` of the teacher, the rest of the student."""
        self.decay = momentum
        self.update(student)


def fix_sincos_positions(backbone: nn.Module, grid: tuple[int, ...]) -> None:
    """Set positions, (1, prefix + N, C), to sines and cosines that are not trained, as MAE and I-JEPA do."""
    position, patches = getattr(backbone, "pos_embed", None), grid[0] * grid[1]
    if isinstance(position, nn.Parameter) and position.ndim == 3 and 0 <= position.shape[1] - patches < 8:
        position.data.zero_()  # the class token has none
        position.data[:, -patches:] = build_sincos2d_pos_embed(list(grid), position.shape[-1])
        position.requires_grad_(False)


def trunc_normal(module: nn.Module) -> None:
    """Initialise linear layers and convolutions: a normal distribution of deviation 0.02, cut off, and biases of 0."""
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
