"""Measure what a backbone has learned: k nearest neighbours and a linear probe on its frozen features.

    python examples/evaluate.py test_vit -k patch_size=4 --image-size 32 --data digits runs/pretrain

The first row is the same backbone with random weights. Images with labels are scikit-learn's digits, or a folder that
holds ``train/CLASS/...`` and ``val/CLASS/...``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import safetensors
import safetensors.torch
import torch
from backbone import Kwargs, create_backbone, first_line, statistics_of
from checkpoint import replacing
from data import InputError, Labelled, open_labelled
from options import parse_kwargs, parse_size
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torchvision.transforms import v2
from views import Size

import generated


@dataclass(frozen=True)
class Result:
    """Accuracies, in per cent, of one set of weights."""

    weights: str
    knn: float
    probe: float


@torch.no_grad()
def features_of(backbone: Any, images: Tensor) -> Tensor:
    """The mean of a backbone's features over the positions of each image, (B, C); class and register tokens aside."""
    features: Tensor = backbone.forward_features(images)
    if features.ndim == 3:
        return features[:, getattr(backbone, "num_prefix_tokens", 0) :].mean(dim=1)
    return features.mean(dim=(1, 2) if features.shape[-1] == backbone.num_features else (2, 3))


def extract(backbone: generated.SplitModel, data: Labelled, transform: v2.Compose, device: str) -> np.ndarray[Any, Any]:
    """The features of all images of a data set, (N, C)."""
    backbone.eval().to(device)
    found = []
    for start in range(0, len(data), 256):
        images = torch.stack([transform(data[index]) for index in range(start, min(start + 256, len(data)))])
        found.append(features_of(backbone, images.to(device)).float().cpu())
    return torch.cat(found).numpy()


def measure(name: str, train: Any, test: Any, labels: tuple[Any, Any], neighbours: int) -> Result:
    """Fit both classifiers to the features of one set of images, and test them on those of another."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    knn = KNeighborsClassifier(min(neighbours, len(train)), metric="cosine")
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    accuracies = [100 * model.fit(train, labels[0]).score(test, labels[1]) for model in (knn, probe)]
    return Result(name, *(round(accuracy, 1) for accuracy in accuracies))


def load(backbone: generated.SplitModel, path: Path) -> None:
    """Put the weights of a ``backbone.safetensors``, or of the folder that holds one, into a backbone.

    Raises:
        InputError: They cannot be read, or are those of another model.
    """
    file = path / "backbone.safetensors" if path.is_dir() else path
    try:
        backbone.load_state_dict(safetensors.torch.load_file(file))
    except (OSError, safetensors.SafetensorError, RuntimeError) as error:
        raise InputError(f"{file} holds no weights of this model ({first_line(error)}).") from error


def transform_of(size: Size, mean: list[float], std: list[float]) -> v2.Compose:
    """The middle of an image, as large as it can be: (C, H, W), normalised."""
    return v2.Compose([Covering(size), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])


class Covering:
    """Resizes an image until it just covers a size, and crops what juts out, equally on both sides."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self.crop = v2.CenterCrop(size)

    def __call__(self, image: Tensor) -> Tensor:
        """(C, h, w) to (C, H, W)."""
        height, width = image.shape[-2:]
        scale = max(self.size[0] / height, self.size[1] / width)
        sides = [max(round(height * scale), self.size[0]), max(round(width * scale), self.size[1])]
        resized = v2.functional.resize(image, sides, interpolation=v2.InterpolationMode.BICUBIC, antialias=True)
        return self.crop(resized)  # type: ignore[no-any-return]


def evaluate(
    model: str,
    weights: tuple[Path, ...],
    *,
    data: str,
    kwargs: Kwargs = (),
    image_size: Size | None = None,
    neighbours: int = 10,
    seed: int = 0,
    device: str = "cpu",
) -> tuple[list[Result], dict[str, Any]]:
    """Measure random weights and those of some files.

    Returns:
        The results, random weights first, and the features of the test images by the name of the weights.
    """
    torch.manual_seed(seed)
    backbone, size = create_backbone(model, kwargs, image_size)
    channels, mean, std = statistics_of(backbone, kwargs)
    train, test = open_labelled(data, channels)
    labels = train.labels.numpy(), test.labels.numpy()
    transform = transform_of(size, mean, std)
    results, features = [], {}
    for path in (None, *weights):
        if path is not None:
            load(backbone, path)
        name = "random" if path is None else str(path)
        seen, features[name] = (extract(backbone, images, transform, device) for images in (train, test))
        results.append(measure(name, seen, features[name], labels, neighbours))
    return results, features | {"labels": labels[1]}


def draw(features: dict[str, Any], path: Path) -> None:
    """Draw the two principal components of the features of the test images, coloured by label, a panel for each."""
    from matplotlib.figure import Figure
    from sklearn.decomposition import PCA

    labels = features["labels"]
    names = [name for name in features if name != "labels"]
    figure = Figure(figsize=(4 * len(names), 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        points = PCA(2, random_state=0).fit_transform(features[name])
        axes.scatter(points[:, 0], points[:, 1], c=labels, cmap="tab10", s=6)
        axes.set(title=name, xticks=[], yticks=[])
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=100)


@click.command(context_settings={"show_default": True, "max_content_width": 120})
@click.argument("model")
@click.argument("weights", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--data", default="digits", help="Folder that holds train and val, or digits (scikit-learn's).")
@click.option(
    "-k", "--model-kwarg", multiple=True, callback=parse_kwargs, metavar="NAME=VALUE", help="Goes to the model."
)
@click.option("--image-size", callback=parse_size, metavar="[HxW]", help="Of the images.  [default: the model's own]")
@click.option(
    "--neighbours", type=click.IntRange(min=1), default=10, help="That vote, by the cosine of their features."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the random weights.")
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="Where to compute.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Where results go, too.")
@click.option("--figure", type=click.Path(dir_okay=False, path_type=Path), help="Picture of the features to draw.")
def main(
    model: str,
    weights: tuple[Path, ...],
    data: str,
    model_kwarg: Kwargs,
    image_size: Size | None,
    neighbours: int,
    seed: int,
    device: str,
    json_path: Path | None,
    figure: Path | None,
) -> None:
    """Measure what MODEL has learned with each of WEIGHTS: files or folders that pretrain.py wrote."""
    try:
        results, features = evaluate(
            model,
            weights,
            data=data,
            kwargs=model_kwarg,
            image_size=image_size,
            neighbours=neighbours,
            seed=seed,
            device=device,
        )
    except InputError as error:
        raise click.ClickException(str(error)) from error
    table = Table("weights", f"{neighbours}-NN %", "linear probe %")
    for result in results:
        table.add_row(result.weights, f"{result.knn:.1f}", f"{result.probe:.1f}")
    Console().print(table)
    if json_path is not None:
        with replacing(json_path) as file:
            file.write(json.dumps([asdict(result) for result in results], indent=2).encode())
    if figure is not None:
        draw(features, figure)


if __name__ == "__main__":
    main()
