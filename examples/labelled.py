"""Images with labels, to measure what a backbone has learned: scikit-learn's digits, or folders of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from data import Digits, FolderImages, InputError
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2
from views import Size


@dataclass(frozen=True)
class Labelled:
    """Images and what they show.

    Attributes:
        images: Gives (C, h, w), of any size.
        labels: (N,), int64, an index into ``classes`` for each image.
        classes: Their names.
    """

    images: Dataset[Tensor]
    labels: Tensor
    classes: tuple[str, ...]

    def part(self, indices: Sequence[int]) -> Labelled:
        """Some of the images."""
        chosen = list(indices)
        return Labelled(torch.utils.data.Subset(self.images, chosen), self.labels[chosen], self.classes)


def open_labelled(data: str, test: Path | None, channels: int) -> tuple[Labelled, Labelled]:
    """Images to learn from, and others to test with.

    Args:
        data: ``digits``, or a folder that holds one folder for each class.
        test: Another such folder; by default each fifth image of ``data`` is for the test.
        channels: That the images are converted to.

    Raises:
        InputError: There is no such folder, or it has no classes, or the two have not the same ones.
    """
    if data == "digits":
        if test is not None:
            raise InputError("--test-data does not go with --data digits, which have a test of their own.")
        learn, rest = (Digits(channels, test=held_out) for held_out in (False, True))
        names = tuple(map(str, range(10)))
        return Labelled(learn, learn.labels, names), Labelled(rest, rest.labels, names)
    whole = _folder_of_classes(Path(data), channels)
    if test is not None:
        others = _folder_of_classes(test, channels)
        if others.classes != whole.classes:
            raise InputError(f"{data} and {test} hold different classes: {_difference(whole.classes, others.classes)}.")
        return whole, others
    held_out = _each_fifth(whole.labels)
    indices = torch.arange(len(whole.labels))
    return whole.part(indices[~held_out].tolist()), whole.part(indices[held_out].tolist())


def few(images: Labelled, number: int) -> Labelled:
    """So many images, of each class equally many as far as they go, the first ones."""
    rank = torch.zeros_like(images.labels)
    for label in images.labels.unique():
        of_class = images.labels == label
        rank[of_class] = torch.arange(int(of_class.sum()))
    order = rank.argsort(stable=True)
    if number > len(order):
        raise InputError(f"--labels {number} are more than the {len(order)} images to learn from.")
    return images.part(order[:number].sort().values.tolist())


def evaluation_transform(size: Size, mean: Sequence[float], std: Sequence[float]) -> v2.Compose:
    """The middle of an image, as large as fits, (C, H, W), normalised."""
    return v2.Compose([_Middle(size), v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(mean), list(std))])


class _Middle:
    """The largest part of an image, (C, h, w), in its middle, that has the proportions of a size; resized to it."""

    def __init__(self, size: Size) -> None:
        self.size = size

    def __call__(self, image: Tensor) -> Tensor:
        (height, width), (tall, wide) = self.size, image.shape[-2:]
        scale = min(tall / height, wide / width)
        crop = [max(round(height * scale), 1), max(round(width * scale), 1)]
        middle = v2.functional.center_crop(image, crop)
        resized: Tensor = v2.functional.resize(middle, list(self.size), v2.InterpolationMode.BICUBIC, antialias=True)
        return resized


def _folder_of_classes(root: Path, channels: int) -> Labelled:
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise InputError(f"{root} {what}: name a folder that holds one folder for each class, or digits.")
    images = FolderImages(root, channels)
    names = [path.relative_to(root).parts[0] if path.parent != root else "" for path in images.paths]
    loose = names.count("")
    if loose:
        raise InputError(f"{loose} images of {root} have no label: put each into a folder with the name of its class.")
    classes = tuple(sorted(set(names)))
    if len(classes) < 2:
        raise InputError(f"{root} holds one class alone, {classes[0]}: it takes two to tell apart.")
    return Labelled(images, torch.tensor([classes.index(name) for name in names]), classes)


def _each_fifth(labels: Tensor) -> Tensor:
    """(N,), bool: each fifth image of each class, so that all classes are in both parts."""
    chosen = torch.zeros_like(labels, dtype=torch.bool)
    for label in labels.unique().tolist():
        indices = (labels == label).nonzero().flatten()
        if len(indices) < 2:
            raise InputError("A class has one image alone, which cannot be to learn from and to test with.")
        chosen[indices[4::5] if len(indices) >= 5 else indices[-1:]] = True
    return chosen


def _difference(one: tuple[str, ...], other: tuple[str, ...]) -> str:
    return ", ".join(sorted(set(one) ^ set(other)))
