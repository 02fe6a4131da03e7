"""Images to pre-train on: those of a folder, scikit-learn's digits, or made ones, so that the example runs anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset, default_collate
from torchvision.datasets.folder import IMG_EXTENSIONS
from views import Size

Batch = tuple[Tensor, ...]

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_EXTENSIONS = (*IMG_EXTENSIONS, ".npy")


class InputError(ValueError):
    """Something that only the user can put right. The command shows its message, and no traceback."""


class FolderImages(Dataset[Tensor]):
    """All images below a folder, in folders of classes or not: pre-training needs no labels.

    Args:
        root: The folder. Beside images it may hold arrays, (H, W) or (H, W, C), in ``.npy`` files.
        channels: Which a picture is converted to; arrays need to have as many.
    """

    def __init__(self, root: Path, channels: int = 3) -> None:
        self.channels = channels
        self.paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in _EXTENSIONS)
        if not self.paths:
            raise InputError(f"{root} holds no images. Looked for {', '.join(_EXTENSIONS)}, in all folders below it.")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        path = self.paths[index]
        try:
            return read_image(path, self.channels)
        except Exception as error:  # decoders raise whatever they like
            reason = f"{type(error).__name__}: {error}".replace(str(path), "the file")
            raise InputError(f"{path} cannot be decoded ({reason}). Repair it or take it away.") from error


def read_image(path: Path, channels: int) -> Tensor:
    """An image, (C, H, W), uint8 or, of more than 8 bits, float32 from 0 to 1; upright as its EXIF data says.

    Raises:
        ValueError: It does not have that many channels, and cannot be converted to them.
    """
    if path.suffix.lower() == ".npy":
        array = np.load(path)
    else:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            deep = image.mode.startswith(("I", "F"))  # 16 bits and more, which a conversion would clip
            if not deep and channels not in _MODES:
                raise ValueError(f"a picture has 1, 3 or 4 channels, not {channels}")
            array = np.asarray(image if deep else image.convert(_MODES[channels]))
            if array.dtype == np.int32:  # what pillow makes of 16 bits in some files
                array = array.astype(np.uint16)
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim == 3 and array.shape[-1] == 1:
        array = np.repeat(array, channels, axis=-1)
    if array.ndim != 3 or array.shape[-1] != channels:
        raise ValueError(f"it is of shape {array.shape}, and the model has {channels} channels")
    if array.dtype != np.uint8:
        scale = np.iinfo(array.dtype).max if np.issubdtype(array.dtype, np.integer) else 1
        array = (array / scale).astype(np.float32)
    return torch.from_numpy(array.copy()).movedim(-1, 0)


class Digits(Dataset[Tensor]):
    """Handwritten digits, (C, 8, 8), as scikit-learn ships them: four of five to train with, each fifth to test.

    Attributes:
        labels: (N,), int64.
    """

    def __init__(self, channels: int = 1, *, test: bool = False) -> None:
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise InputError(f"The digits are part of scikit-learn ({error}): pip install scikit-learn.") from error
        digits = load_digits()
        chosen = (np.arange(len(digits.images)) % 5 == 0) == test
        self.images = torch.from_numpy(digits.images[chosen]).float().div(16)[:, None].expand(-1, channels, -1, -1)
        self.labels = torch.from_numpy(digits.target[chosen]).long()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


def open_images(name: str, size: Size, channels: int, *, made: int) -> Dataset[Tensor]:
    """The images to train with that a name stands for: ``made``, ``digits``, or a folder.

    Raises:
        InputError: There is no such folder, or nothing in it.
    """
    if name == "made":
        return MadeImages(made, size, channels)
    if name == "digits":
        return Digits(channels)
    if not Path(name).is_dir():
        raise InputError(f"--data {name} does not exist: name a folder, or one of digits and made.")
    return FolderImages(Path(name), channels)


class MadeImages(Dataset[Tensor]):
    """Images, (C, H, W), with something to learn: stripes on a gradient, behind a rectangle and a disc."""

    def __init__(self, number: int, size: Size, channels: int = 3) -> None:
        self.number, self.channels = number, channels
        self.y, self.x = torch.meshgrid(*(torch.linspace(-1, 1, side) for side in size), indexing="ij")

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: int) -> Tensor:
        generator = torch.Generator().manual_seed(index)

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return low + (high - low) * torch.rand(shape, generator=generator)

        def across(angle: Tensor) -> Tensor:
            return self.x * angle.cos() + self.y * angle.sin()

        colours = uniform(0, 1, 4, self.channels, 1, 1)
        image = torch.lerp(colours[0], colours[1], (across(uniform(0, 2 * math.pi)) / 2.83 + 0.5))
        image = image + 0.1 * (uniform(4, 8) * across(uniform(0, math.pi)) + uniform(0, 6)).sin()
        left, top = uniform(-1, 0, 2)
        inside = (self.x > left) & (self.x < left + 1) & (self.y > top) & (self.y < top + 1)
        image = torch.where(inside, colours[2], image)
        (x, y), radius = uniform(-0.7, 0.7, 2), uniform(0.3, 0.6)
        image = torch.where((self.x - x).square() + (self.y - y).square() < radius.square(), colours[3], image)
        return image.clamp(0, 1)


class Views(Dataset[Batch]):
    """Random views of images. An image's views depend on seed, epoch and index alone.

    So they are the same in whatever process or worker they are made, and after resuming.
    """

    def __init__(self, images: Dataset[Tensor], transform: Callable[[Tensor], Batch], seed: int) -> None:
        self.images, self.transform, self.seed, self.epoch = images, transform, seed, 0

    def __len__(self) -> int:
        return len(self.images)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Batch:
        with torch.random.fork_rng(devices=[]):
            # not torch.manual_seed, which for each image also writes down a stack trace for GPUs that do not draw here
            torch.default_generator.manual_seed(seed_of(self.seed, self.epoch, index))
            return self.transform(self.images[index])

    def __getitems__(self, indices: Sequence[int]) -> list[Batch] | InputError:
        """The views of a batch, or what is wrong with one: of an error that it raises a worker keeps the text alone."""
        try:
            return [self[index] for index in indices]
        except InputError as error:
            return error


def collate(views: list[Batch] | InputError) -> Batch | InputError:
    """The views of a batch, one tensor of B rows for each, or what is wrong with it."""
    return views if isinstance(views, InputError) else tuple(default_collate(views))


def seed_of(*numbers: int) -> int:
    """One seed out of several numbers, such as those of a run and of a step."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
