"""What iBOT and DINOv2 share: a student learns what its moving average says of other crops, and of what is masked.

Classes are compared between crops, as in DINO, https://arxiv.org/abs/2104.14294, and patches under the mask between
student and teacher, as in iBOT, https://arxiv.org/abs/2111.07832. The losses and the head are lightly's.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import method
import schedule
import torch
from lightly.loss import DINOLoss, IBOTPatchLoss
from lightly.models.modules import DINOProjectionHead
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from views import Crops

from generated import SplitModel
from generated.masking import block_mask


class Distillation(method.Method):
    """A student, its teacher, and what both say: of any backbone with patches that takes images of two sizes.

    Of one that takes a single size with ``local_crops=0``.

    Args:
        prototypes: Among which both tell crops and patches apart.
        local_crops: Small ones beside the two global crops, which the student alone is given.
        momentum: Of the teacher, at first.
        temperature_warmup: The part of a run in which the teacher's temperature rises.
        frozen: The part of a run in which the prototypes stay as they are.
        mask_ratio: Least and greatest part of a global crop that is masked, if it is.
        local_scale: Least and greatest part of the area of a local crop.
        distort: Whether colours are changed, blurred and solarised.
        hidden: Channels of the head.
        bottleneck: Channels of the head's output, before the prototypes.
        batch_norm: Whether the head normalises over the batch, as both papers' code has it for CNNs: it takes away what
            features of all images have in common, by which those of a short run with few images are told apart.
        temperatures: Of the teacher, at first and in the end.
    """

    sizes = True
    pictures = False
    exported = "teacher.module.encoder.backbone"  # which the papers evaluate

    def __init__(
        self,
        backbone: SplitModel,
        images: Tensor,
        *,
        prototypes: int,
        local_crops: int,
        momentum: float,
        temperature_warmup: float,
        frozen: float,
        mask_ratio: tuple[float, float] = (0.1, 0.5),
        local_scale: tuple[float, float] = (0.05, 0.32),
        distort: bool = True,
        hidden: int = 2048,
        bottleneck: int = 256,
        batch_norm: bool = False,
        temperatures: tuple[float, float] = (0.04, 0.07),
    ) -> None:
        super().__init__(backbone, images)
        self.mask_ratios, self.local_crops, self.local_scale = mask_ratio, local_crops, local_scale
        self.distort = distort
        self.momentum, self.temperatures, self.temperature_warmup = momentum, temperatures, temperature_warmup
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of the weight norm that is replaced at once
            self.head = DINOProjectionHead(
                self.grid.channels, hidden, bottleneck, prototypes, batch_norm, freeze_last_layer=frozen
            )
        _copyable(self.head)
        _normalise_by_the_batch(self.head)
        self.teacher = method.Teacher(self.student)
        self.class_loss, self.patch_loss = DINOLoss(prototypes), IBOTPatchLoss(prototypes)
        self.temperature = temperatures[0]

    @property
    def student(self) -> nn.ModuleDict:
        """What the teacher is an average of."""
        return nn.ModuleDict({"encoder": self.encoder, "head": self.head})

    def initialise(self, *, fresh: bool) -> None:
        """Nothing but what timm and lightly do; the teacher begins as the student."""
        self.teacher.set(self.student)

    def views(self, mean: Sequence[float], std: Sequence[float]) -> Callable[[Any], tuple[Tensor, ...]]:
        """Two global crops, and local ones of three sevenths of their sides, in whole features."""
        local = [max(round(3 / 7 * n / p), 1) * p for n, p in zip(self.size, self.grid.patch, strict=True)]
        return Crops(
            self.size,
            mean,
            std,
            local_size=(local[0], local[1]),
            number=self.local_crops,
            scales=(self.crop_scale, self.local_scale),
            flip=self.flip,
            distort=self.distort,
        )

    def blocks(self, ratios: Tensor, generator: torch.Generator, largest: int | None = None) -> Tensor:
        """Masks of blocks for so many global crops, (B, 2, N), as large a part of each as ``ratios`` say, (2 B,)."""
        units = self.tokens[0] * self.tokens[1] // self.unit**2
        mask: Tensor = block_mask(
            len(ratios),
            self.tokens,
            ratios,
            unit=self.unit,
            smallest=min(4, units // 4),
            largest=largest,
            generator=generator,
        )
        pairs: Tensor = mask.unflatten(0, (-1, 2))
        return pairs

    def begin_step(self, done: float) -> None:
        """Set the temperature of the teacher."""
        self.temperature = schedule.linear(done / self.temperature_warmup, *self.temperatures)

    def compare(self, views: Sequence[Tensor], mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both losses, and the student's class features of the global crops, (2 B, C); ``mask`` is (2 B, N)."""
        large = torch.cat(list(views[:2]))
        hidden = self.grid.pool(mask)
        none = not hidden.any()
        if none:  # each process has to take part in the mean that centres patches: one of them, whose loss is not used
            hidden = hidden.clone()
            hidden[0, 0] = True
        with torch.no_grad():
            wanted, wanted_patches = self._features(self.teacher.module, large, torch.zeros_like(mask))
            wanted_classes = self.teacher.module["head"](wanted).float().chunk(2)
            wanted_patches = self.teacher.module["head"](wanted_patches[hidden]).float()
        global_features, patches = self._features(self.student, large, mask)
        classes = list(self.head(global_features).float().chunk(2))
        if views[2:]:
            small = torch.cat(list(views[2:]))
            tokens = self.encoder.grid((small.shape[-2], small.shape[-1]))
            visible = mask.new_zeros(len(small), tokens[0] * tokens[1])
            local_features = self.grid.summary(self.encoder(small, visible).features)
            classes += self.head(local_features).float().chunk(len(views) - 2)
        class_loss = self.class_loss(list(wanted_classes), classes, teacher_temp=self.temperature)
        predicted = self.head(patches[hidden]).float()
        square = hidden.unflatten(1, (self.grid.rows, self.grid.columns))
        patch_loss = self.patch_loss(wanted_patches, predicted, square, teacher_temp=self.temperature)
        return class_loss, patch_loss * (not none), global_features

    def _features(self, network: nn.ModuleDict, images: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The features of whole images, (B, C), and of their positions, (B, L, C)."""
        features = network["encoder"](images, mask).features
        return self.grid.summary(features), self.grid.flatten(features)[:, self.grid.prefix :]

    def no_weight_decay(self) -> set[str]:
        """Nothing but vectors is exempt."""
        return set()

    def after_backward(self, done: float) -> None:
        """No gradient for the last layer at first."""
        self.head.cancel_last_layer_gradients(done)

    def end_step(self, done: float) -> None:
        """Move the teacher."""
        self.teacher.follow(self.student, schedule.cosine(done, self.momentum, 1.0))


def _copyable(head: DINOProjectionHead) -> None:
    """Write the weight norm of a head in torch's newer way, which can be copied; prototypes stay of length 1."""
    nn.utils.remove_weight_norm(head.last_layer)
    weight_norm(head.last_layer)
    head.last_layer.parametrizations.weight.original0.requires_grad_(False)


def _normalise_by_the_batch(head: DINOProjectionHead) -> None:
    """Let batch norms use the statistics of what they are given in evaluation too, in which the teacher always is.

    Running means are of class tokens and patches mixed, and late: by them the teacher would not see what the student
    sees. In the code of DINO and iBOT the teacher is in training mode.
    """
    for module in head.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
