"""Images to pre-train on: of a folder, of tars, of Hugging Face, digits, Fashion-MNIST, or made ones, to try it."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from timm.data.readers import create_reader
from timm.data.readers.reader_image_in_tar import ReaderImageInTar
from torch import Tensor
from torch.utils.data import Dataset, default_collate
from torchvision import datasets
from torchvision.datasets.folder import IMG_EXTENSIONS
from views import Size

View = tuple[Tensor, ...]

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_BITS = 258  # TIFF's tag, for each channel
_EXTENSIONS = (*IMG_EXTENSIONS, ".npy")
_BYTES = 0x800  # what an idx file of bytes begins with, and the number of dimensions added to it

FASHION = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package ``dataset-fashion-mnist`` has its files."""


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
            raise _undecodable(str(path), error) from error


class ReaderImages(Dataset[Tensor]):
    """Images of one of timm's readers: of a tar or a folder of tars (WebDataset's shards among them), or ``hfds/NAME``.

    Args:
        reader: Gives an open file, and a label that is not used.
        name: Of the whole.
        channels: Which a picture is converted to.
    """

    def __init__(self, reader: Any, name: str, channels: int = 3) -> None:
        self.reader, self.name, self.channels = reader, name, channels

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> Tensor:
        try:
            with self.reader[index][0] as file:
                return read_image(file, self.channels)
        except Exception as error:  # decoders raise whatever they like
            raise _undecodable(f"{self.name}: {self.reader.filename(index)}", error) from error


def _undecodable(image: str, error: Exception) -> InputError:
    reason = f"{type(error).__name__}: {error}".replace(image, "the file")
    return InputError(f"{image} cannot be decoded ({reason}). Repair it or take it away.")


def read_image(source: Path | IO[bytes], channels: int) -> Tensor:
    """An image, (C, H, W), uint8 or, of more than 8 bits, float32 from 0 to 1; upright as its EXIF data says.

    Raises:
        ValueError: It does not have that many channels, and cannot be converted to them; or its numbers do not say what
            is white.
    """
    array = (
        np.load(source) if isinstance(source, Path) and source.suffix.lower() == ".npy" else _pixels(source, channels)
    )
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim == 3 and array.shape[-1] == 1:
        array = np.repeat(array, channels, axis=-1)
    if array.ndim != 3 or array.shape[-1] != channels:
        raise ValueError(f"it is of shape {array.shape}, and the model has {channels} channels")
    if array.dtype in (np.uint8, np.uint16):
        array = array if array.dtype == np.uint8 else (array / 65535).astype(np.float32)
    elif np.issubdtype(array.dtype, np.floating) or array.dtype == np.bool_:
        array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise ValueError("not all of its numbers are finite")
    else:
        raise ValueError(f"{array.dtype} does not say what is white: store uint8, uint16, or floats from 0 to 1")
    return torch.from_numpy(array.copy()).movedim(-1, 0)


def _pixels(source: Path | IO[bytes], channels: int) -> npt.NDArray[Any]:
    """A picture, (H, W) or (H, W, C), of as many channels if it has 8 bits."""
    with Image.open(source) as image:
        bits = max(getattr(image, "tag_v2", {}).get(_BITS, (16,)))
        ImageOps.exif_transpose(image, in_place=True)
        if not image.mode.startswith(("I", "F")):  # those have 16 bits and more, which a conversion would clip
            if channels not in _MODES:
                raise ValueError(f"a picture has 1, 3 or 4 channels, not {channels}")
            mode = _MODES[channels]
            return np.asarray(image if image.mode == mode else image.convert(mode))  # which copies
        array = np.asarray(image)
        # pillow makes 32 bits of 16 in some files; of 32 they are 32, and negative where they are large
        return array.astype(np.uint16) if array.dtype == np.int32 and bits <= 16 else array


class Digits(Dataset[Tensor]):
    """Handwritten digits, (C, 8, 8), as scikit-learn ships them: four of five to train with, each fifth to test.

    Attributes:
        labels: (N,), int64, an index into ``classes`` for each.
    """

    classes = tuple("0123456789")

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


class FashionMNIST(Dataset[Tensor]):
    """Clothes, (C, 28, 28), uint8, as Debian packages them: 60,000 to train with, 10,000 to test.

    Attributes:
        labels: (N,), int64, an index into ``classes`` for each.
    """

    classes = tuple(datasets.FashionMNIST.classes)

    def __init__(self, channels: int = 1, *, test: bool = False) -> None:
        if not FASHION.is_dir():
            raise InputError(f"Fashion-MNIST is not in {FASHION}: apt install dataset-fashion-mnist.")
        part = "t10k" if test else "train"
        images = _read_idx(FASHION / f"{part}-images-idx3-ubyte.gz", dimensions=3)
        self.images = images[:, None].expand(-1, channels, -1, -1)
        self.labels = _read_idx(FASHION / f"{part}-labels-idx1-ubyte.gz", dimensions=1).long()
        if len(self.images) != len(self.labels):
            raise InputError(f"{FASHION} has {len(self.images)} images and {len(self.labels)} labels. {_REINSTALL}")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


_REINSTALL = "Repair it: apt reinstall dataset-fashion-mnist."


def _read_idx(path: Path, dimensions: int) -> Tensor:
    """The bytes of an idx file that gzip has packed, uint8; torchvision reads no packed ones.

    Raises:
        InputError: It cannot be read, or is damaged, or has other dimensions.
    """
    try:
        content = gzip.decompress(path.read_bytes())
        kind, *shape = np.frombuffer(content, ">u4", 1 + dimensions).tolist()
        if kind != _BYTES + dimensions:
            raise ValueError(f"it does not hold bytes in {dimensions} dimensions")
        array = np.frombuffer(content, np.uint8, offset=4 * (1 + dimensions)).reshape(shape)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise InputError(f"{path} cannot be read ({type(error).__name__}: {error}). {_REINSTALL}") from error
    return torch.from_numpy(array.copy())  # torch writes to what it shares


BUILT_IN: dict[str, type[Digits | FashionMNIST]] = {"digits": Digits, "fashion-mnist": FashionMNIST}
"""Images with labels and a test of their own, by the name that ``--data`` knows them by."""


def open_images(name: str, size: Size, channels: int, *, made: int) -> Dataset[Tensor]:
    """The images to train with that a name stands for.

    Args:
        name: ``made``, one of ``BUILT_IN``, a folder of images, or what ``open_reader`` takes.
        size: Height and width of made images.
        channels: That images are converted to.
        made: How many are made.

    Raises:
        InputError: There is no such thing, or nothing in it.
    """
    if name == "made":
        return MadeImages(made, size, channels)
    if name in BUILT_IN:
        return BUILT_IN[name](channels)
    reader = open_reader(name)
    if reader is not None:
        return ReaderImages(reader, name, channels)
    path = Path(name)
    if not path.exists():
        known = ", ".join([*BUILT_IN, "made"])
        raise InputError(f"--data {name} does not exist: name a folder, a tar, hfds/NAME, or one of {known}.")
    if not path.is_dir():
        raise InputError(f"--data {name} is neither a folder nor a tar.")
    return FolderImages(path, channels)


def open_reader(name: str) -> Any | None:
    """timm's reader of ``hfds/NAME`` or ``hfds/NAME:SPLIT``, a tar, or a folder of tars; ``None`` of what is none.

    WebDataset's shards are such a folder, with ``wds/`` before it or not. They are read at random, so that their images
    are in the same order on any number of processes, and a run that goes on finds its place.

    Raises:
        InputError: It cannot be read, or there is nothing in it.
    """
    path = Path(name.removeprefix("wds/"))
    try:
        if name.startswith("hfds/"):
            name, _, split = name.partition(":")
            reader = create_reader(name, split=split or "train")
        elif path.suffix == ".tar" or (path.is_dir() and any(path.glob("*.tar"))):
            # a tar that stays open has one place to read from, which processes that load images would share
            reader = ReaderImageInTar(str(path), cache_tarfiles=False, cache_tarinfo=False)
        else:
            return None
    except Exception as error:  # a library that is missing, a name that is unknown, a tar without an image
        raise InputError(f"--data {name} cannot be read ({type(error).__name__}: {error}).") from error
    if not len(reader):
        raise InputError(f"{name} holds no images.")
    return reader


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


class Loaded(NamedTuple):
    """A batch.

    Attributes:
        views: Each of B rows.
        skipped: What was wrong with the images that others stand in for.
    """

    views: View
    skipped: tuple[str, ...]


class Views(Dataset[View]):
    """Random views of images. An image's views depend on seed, epoch and index alone.

    So they are the same in whatever process or worker they are made, and after resuming.

    Args:
        images: Raise ``InputError`` where one cannot be decoded.
        transform: Makes the views of one.
        seed: Of the run.
        skip: Whether the next image stands in for one that cannot be decoded, so that batches stay as large.
    """

    def __init__(
        self, images: Dataset[Tensor], transform: Callable[[Tensor], View], seed: int, *, skip: bool = False
    ) -> None:
        self.images, self.transform, self.seed, self.skip, self.epoch = images, transform, seed, skip, 0

    def __len__(self) -> int:
        return len(self.images)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> View:
        return self.load(index)[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[View, list[str]]] | InputError:
        """The views of a batch, or what is wrong with one: of an error that it raises a worker keeps the text alone."""
        try:
            return [self.load(index) for index in indices]
        except InputError as error:
            return error

    def load(self, index: int) -> tuple[View, list[str]]:
        """The views of an image, and what was wrong with those that it stands in for.

        Raises:
            InputError: It cannot be decoded, and is not skipped; or no image can be.
        """
        image, wrong = self._decode(index)
        with torch.random.fork_rng(devices=[]):
            # not torch.manual_seed, which for each image also writes down a stack trace for GPUs that do not draw here
            torch.default_generator.manual_seed(seed_of(self.seed, self.epoch, index))
            return self.transform(image), wrong

    def _decode(self, index: int) -> tuple[Tensor, list[str]]:
        wrong: list[str] = []
        for step in range(len(self)):
            try:
                return self.images[(index + step) % len(self)], wrong
            except InputError as error:
                if not self.skip:
                    raise
                wrong.append(str(error))
        raise InputError(f"None of the {len(self)} images can be decoded. {wrong[0]}")


def collate(loaded: list[tuple[View, list[str]]] | InputError) -> Loaded | InputError:
    """One tensor of B rows for each view, or what is wrong with the batch."""
    if isinstance(loaded, InputError):
        return loaded
    return Loaded(
        tuple(default_collate([views for views, _ in loaded])), tuple(w for _, wrong in loaded for w in wrong)
    )


def seed_of(*numbers: int) -> int:
    """One seed out of several numbers, such as those of a run and of a step."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
