"""Images to pre-train on: those of a folder, or made ones, so that the example runs anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms import v2


class InputError(ValueError):
    """Something that only the user can put right. The command shows its message, and no traceback."""


class FolderImages(Dataset[Image.Image]):
    """All images below a folder, in folders of classes or not: pre-training needs no labels."""

    def __init__(self, root: Path) -> None:
        self.paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in IMG_EXTENSIONS)
        if not self.paths:
            raise InputError(
                f"{root} holds no images. Looked for {', '.join(IMG_EXTENSIONS)}, in all folders below it."
            )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Image.Image:
        try:
            return Image.open(self.paths[index]).convert("RGB")
        except Exception as error:  # decoders raise whatever they like
            reason = f"{type(error).__name__}: {error}".replace(str(self.paths[index]), "the file")
            raise InputError(f"{self.paths[index]} cannot be decoded ({reason}). Repair it or take it away.") from error


class MadeImages(Dataset[Tensor]):
    """Images, (3, size, size), with something to learn: stripes on a gradient, behind a rectangle and a disc."""

    def __init__(self, number: int, size: int) -> None:
        self.number = number
        axis = torch.linspace(-1, 1, size)
        self.y, self.x = torch.meshgrid(axis, axis, indexing="ij")

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: int) -> Tensor:
        generator = torch.Generator().manual_seed(index)

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return low + (high - low) * torch.rand(shape, generator=generator)

        def across(angle: Tensor) -> Tensor:
            return self.x * angle.cos() + self.y * angle.sin()

        colours = uniform(0, 1, 4, 3, 1, 1)
        image = torch.lerp(colours[0], colours[1], (across(uniform(0, 2 * math.pi)) / 2.83 + 0.5))
        image = image + 0.1 * (uniform(4, 8) * across(uniform(0, math.pi)) + uniform(0, 6)).sin()
        left, top = uniform(-1, 0, 2)
        inside = (self.x > left) & (self.x < left + 1) & (self.y > top) & (self.y < top + 1)
        image = torch.where(inside, colours[2], image)
        (x, y), radius = uniform(-0.7, 0.7, 2), uniform(0.3, 0.6)
        image = torch.where((self.x - x).square() + (self.y - y).square() < radius.square(), colours[3], image)
        return image.clamp(0, 1)


class Views(Dataset[Tensor]):
    """Random views of images. An image's view depends on seed, epoch and index alone.

    So it is the same in whatever process or worker it is made, and after resuming.
    """

    def __init__(self, images: Dataset[Any], transform: Callable[[Any], Tensor], seed: int) -> None:
        self.images, self.transform, self.seed, self.epoch = images, transform, seed, 0

    def __len__(self) -> int:
        return len(self.images)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self.seed, self.epoch, index))
            return self.transform(self.images[index])

    def __getitems__(self, indices: Sequence[int]) -> list[Tensor] | InputError:
        """The views of a batch, or what is wrong with one: of an error that it raises a worker keeps the text alone."""
        try:
            return [self[index] for index in indices]
        except InputError as error:
            return error


def collate(views: list[Tensor] | InputError) -> Tensor | InputError:
    """One tensor of a batch, (B, 3, size, size), or what is wrong with it."""
    return views if isinstance(views, InputError) else torch.stack(views)


def seed_of(*numbers: int) -> int:
    """One seed out of several numbers, such as those of a run and of a step."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def training_transform(size: int, mean: Sequence[float], std: Sequence[float]) -> v2.Compose:
    """MAE's augmentation: a random crop and a flip, to a normalised image, (3, size, size)."""
    return v2.Compose(
        [
            v2.ToImage(),
            v2.RandomResizedCrop(size, scale=(0.2, 1), interpolation=v2.InterpolationMode.BICUBIC, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean, std),
            v2.ToPureTensor(),
        ]
    )
