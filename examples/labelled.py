"""Images with labels, to measure what a backbone has learned: of folders, tars or Hugging Face, or built in."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from data import BUILT_IN, FolderImages, InputError, ReaderImages, open_reader
from timm.data.readers.reader_image_in_tar import ReaderImageInTar
from timm.utils import natural_key
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


def open_labelled(data: str, test: str | None, channels: int) -> tuple[Labelled, Labelled]:
    """Images to learn from, and others to test with.

    Args:
        data: One of ``BUILT_IN``, a folder that holds one folder for each class, or what ``data.open_reader`` takes.
        test: Another of these; by default each fifth image of ``data`` is for the test.
        channels: That the images are converted to.

    Raises:
        InputError: There is no such thing, or it has no classes, or the two have not the same ones.
    """
    if data in BUILT_IN:
        if test is not None:
            raise InputError(f"--test-data does not go with --data {data}, which has a test of its own.")
        learn, rest = (BUILT_IN[data](channels, test=held_out) for held_out in (False, True))
        return Labelled(learn, learn.labels, learn.classes), Labelled(rest, rest.labels, rest.classes)
    whole = _with_classes(data, channels)
    if test is not None:
        others = _with_classes(test, channels)
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


def _with_classes(name: str, channels: int) -> Labelled:
    reader = open_reader(name)
    images: FolderImages | ReaderImages
    if reader is not None:
        images, labels = ReaderImages(reader, name, channels), _labels_of(reader, name)
    else:
        images, labels = _folder_of_classes(Path(name), channels)
    classes = tuple(sorted(set(labels), key=natural_key))
    if len(classes) < 2:
        raise InputError(f"{name} holds one class alone, {classes[0]}: it takes two to tell apart.")
    number = {label: index for index, label in enumerate(classes)}
    return Labelled(images, torch.tensor([number[label] for label in labels]), classes)


def _folder_of_classes(root: Path, channels: int) -> tuple[FolderImages, list[str]]:
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise InputError(
            f"{root} {what}: name a folder that holds one folder for each class, a tar, hfds/NAME, or one of "
            f"{', '.join(BUILT_IN)}."
        )
    images = FolderImages(root, channels)
    labels = [path.relative_to(root).parts[0] if path.parent != root else "" for path in images.paths]
    loose = labels.count("")
    if loose:
        raise InputError(f"{loose} images of {root} have no label: put each into a folder with the name of its class.")
    return images, labels


def _labels_of(reader: Any, name: str) -> list[str]:
    """The class of each image of one of timm's readers."""
    if isinstance(reader, ReaderImageInTar):
        return _labels_in_tars(reader)
    columns = reader.dataset.features
    if "label" not in columns:
        raise InputError(f"{name} has no column 'label', but {', '.join(columns)}.")
    labels = list(reader.dataset["label"])
    none = sum(label in (None, -1) for label in labels)  # -1 is Hugging Face's for a class that is not told
    if none:
        raise InputError(f"{none} of the {len(labels)} images of {name} have no label.")
    names = getattr(columns["label"], "names", None)
    return [names[label] if names else str(label) for label in labels]


def _labels_in_tars(reader: ReaderImageInTar) -> list[str]:
    """What stands in the file beside each image that has its name and ends in ``.cls``, or else the image's folder."""
    root = Path(reader.root)
    beside = {}
    for path in [root] if reader.root_is_tar else sorted(root.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".cls") and (file := tar.extractfile(member)):
                    beside[path.name, _sample(member.name)] = file.read().decode().strip()
    labels = []
    for (member, tar_name, _), target in zip(reader.samples, reader.targets.tolist(), strict=True):
        folder = reader.class_idx_to_name[target]
        labels.append(beside.get((tar_name or root.name, _sample(member.name)), folder))
    return labels


def _sample(member: str) -> str:
    """What WebDataset's files of one sample share: their path up to the first dot of their name."""
    path = PurePosixPath(member)
    return str(path.with_name(path.name.partition(".")[0]))


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
