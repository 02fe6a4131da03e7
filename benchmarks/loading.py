"""How fast the example loads images, against timm's `create_loader` on the same folder.

    python benchmarks/loading.py [--rounds 5] [--images 256] [--workers 1] [--data FOLDER]

Both decode JPEG files of 500 x 375 pixels (made for it, unless a folder is named) with so many workers, crop a part of
0.2 to 1 of the area to 224 x 224 pixels by bicubic interpolation, mirror half of them, and normalise. They take turns;
starting workers is not counted. Prints medians in images per second, and their ratio.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

BATCH, SIZE = 32, (224, 224)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def make_images(folder: Path, number: int) -> None:
    """Smooth noise, which is about as hard to decode as a photograph."""
    random = np.random.default_rng(0)
    for index in range(number):
        small = Image.fromarray(random.integers(0, 256, (75, 100, 3), dtype=np.uint8))
        small.resize((500, 375), Image.Resampling.BICUBIC).save(folder / f"{index:05}.jpg", quality=90)


def of_timm(folder: Path, workers: int) -> Iterable[Any]:
    """timm's loader, on the CPU."""
    import torch
    from timm.data import create_dataset, create_loader

    return create_loader(  # type: ignore[no-any-return]
        create_dataset("", root=str(folder)),
        input_size=(3, *SIZE),
        batch_size=BATCH,
        is_training=True,
        use_prefetcher=False,
        no_aug=False,
        scale=(0.2, 1.0),
        color_jitter=None,
        interpolation="bicubic",
        mean=MEAN,
        std=STD,
        num_workers=workers,
        persistent_workers=False,
        pin_memory=False,
        device=torch.device("cpu"),
    )


def of_the_example(folder: Path, workers: int) -> Iterable[Any]:
    """That of `examples/pretrain.py`."""
    from data import FolderImages, Views, collate
    from torch.utils.data import DataLoader
    from views import OneView

    views = Views(FolderImages(folder), OneView(SIZE, MEAN, STD, scale=(0.2, 1.0), flip=True), seed=0)
    return DataLoader(views, batch_size=BATCH, shuffle=True, num_workers=workers, collate_fn=collate, drop_last=True)


def speed(loader: Iterable[Any]) -> float:
    """Images per second, from the first batch to the last."""
    batches = iter(loader)
    next(batches)
    began = time.perf_counter()
    number = sum(1 for _ in islice(batches, None))
    return number * BATCH / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--data", type=Path, help="a folder of folders of images")
    options = parser.parse_args()
    kinds: dict[str, Callable[[Path, int], Iterable[Any]]] = {"timm": of_timm, "example": of_the_example}
    speeds: dict[str, list[float]] = {name: [] for name in kinds}
    with tempfile.TemporaryDirectory() as made:
        folder = options.data or Path(made)
        if options.data is None:
            (folder / "class").mkdir()
            make_images(folder / "class", options.images)
        for _ in range(options.rounds):
            for name, loader in kinds.items():
                speeds[name].append(speed(loader(folder, options.workers)))
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    for name, median in medians.items():
        print(f"{name:8} {median:7.1f} images/s")
    print(f"ratio    {medians['example'] / medians['timm']:7.2f}")


if __name__ == "__main__":
    main()
