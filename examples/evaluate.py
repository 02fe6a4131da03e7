"""Measure what a backbone has learned: k-NN, linear probe and fine-tuning, of several checkpoints beside each other.

    python examples/evaluate.py test_vit -k patch_size=4 --image-size 32 random runs/pretrain
    python examples/evaluate.py test_vit -k patch_size=4 --image-size 32 runs/pretrain/backbone-*.safetensors

The second draws accuracy over the epochs that ``pretrain.py --keep-every`` kept.
``labelled.py`` has the images, ``backbone.py`` the model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import checkpoint
import click
import numpy as np
import numpy.typing as npt
import timm
import torch
import torch.nn.functional as F
from backbone import Kwargs, create_backbone, first_line, statistics_of
from data import InputError, seed_of
from labelled import Labelled, evaluation_transform, few, open_labelled
from options import parse_kwargs, parse_size
from pretrain import DEVICES, FOLDER, POSITIVE, RATE, seed_everything
from rich.console import Console
from rich.table import Table
from schedule import warmup_cosine
from timm.optim import create_optimizer_v2
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from views import Size

import generated
from generated.masking import MaskedImageModel

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Settings:
    """The options of the command; ``--help`` explains them."""

    model: str
    checkpoints: tuple[str, ...]
    output: Path
    data: str = "digits"
    test_data: str | None = None
    labels: int | None = None
    model_kwarg: Kwargs = ()
    image_size: Size | None = None
    pool: str = "model"
    neighbours: int = 10
    finetune_epochs: int = 0
    finetune_lr: float = 1e-3
    batch_size: int = 64
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True)
class Scores:
    """What part of the test's images is told right, from 0 to 1; ``finetune`` if it was asked for."""

    checkpoint: str
    knn: float
    probe: float
    finetune: float | None


class Shown(NamedTuple):
    """The features of the test's images, (N, C), and their labels, (N,)."""

    features: Array
    labels: Array


class Prepared(Dataset[Tensor]):
    """Images as the backbone takes them, (C, H, W)."""

    def __init__(self, images: Dataset[Tensor], transform: Callable[[Tensor], Tensor]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(self.images[index])


def create_model(settings: Settings, weights: str, classes: int = 0) -> tuple[generated.SplitModel, Size]:
    """A model with the weights of a checkpoint, or random ones, and the size of its images.

    Raises:
        InputError: There is no such model, or the checkpoint is not one of it.
    """
    seed_everything(settings.seed)
    model, size = create_backbone(settings.model, settings.model_kwarg, settings.image_size, num_classes=classes)
    if weights != "random":
        _load(model, Path(weights))
    model.to(settings.device)
    return model, size


def _load(model: nn.Module, path: Path) -> None:
    """Load what was pre-trained, from a file or the folder of a run: all weights but those of a classifier."""
    path = path / "backbone.safetensors" if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"{path} does not exist: name files such as runs/pretrain/backbone.safetensors, or random.")
    try:
        weights = timm.models.load_state_dict(str(path), use_ema=False)
        own = model.state_dict()
        head = [name for name in {*own, *weights} if name.split(".")[0].startswith("head")]
        loose = {
            name for name in head if name not in own or name not in weights or own[name].shape != weights[name].shape
        }
        found = model.load_state_dict({n: w for n, w in weights.items() if n not in loose}, strict=False)
    except Exception as error:  # a damaged file fails anywhere in the reader
        raise InputError(f"{path} cannot be loaded into the model: {first_line(error)}.") from error
    missing = [name for name in found.missing_keys if name not in loose]
    wrong = [*missing, *found.unexpected_keys]
    if wrong:
        raise InputError(
            f"{path} is not of this model: {len(wrong)} names differ, {wrong[0]} for one. Give the same -k."
        )


@torch.no_grad()
def features_of(model: nn.Module, images: Dataset[Tensor], settings: Settings) -> Array:
    """What the backbone makes of images, (N, C), float32, pooled as ``--pool`` says."""
    model.eval()
    pooled = []
    mean = settings.pool == "mean"
    height, width = images[0].shape[1:]
    norm = _final_norm(model, (height, width)) if mean else None
    for batch in DataLoader(images, batch_size=settings.batch_size):
        features = model.forward_features(batch.to(settings.device))  # type: ignore[operator]
        features = features if norm is None else norm(model, features)
        one = _mean(model, features) if mean else model.forward_head(features, pre_logits=True)  # type: ignore[operator]
        pooled.append(one.float().cpu())
    return torch.cat(pooled).numpy()


def _final_norm(model: nn.Module, size: Size) -> Callable[[nn.Module, Any], Tensor] | None:
    """The norm that timm leaves to the head and pre-training applies to each position; ``None`` where there is none."""
    try:
        return MaskedImageModel(model, image_size=size).final_norm
    except (TypeError, ValueError):  # a backbone without patches
        return None


def _mean(model: nn.Module, features: Tensor) -> Tensor:
    """The mean over the positions of features, (B, N, C) or 4D, without prefix tokens: (B, C)."""
    if features.ndim == 4:
        return features.mean(dim=(1, 2) if features.shape[-1] == model.num_features else (2, 3))
    return features[:, getattr(model, "num_prefix_tokens", 0) :].mean(dim=1)


def knn(learn: Array, labels: Array, test: Array, wanted: Array, neighbours: int) -> float:
    """Accuracy of the vote of the nearest neighbours by cosine."""
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(n_neighbors=min(neighbours, len(learn)), metric="cosine")
    return float(classifier.fit(learn, labels).score(test, wanted))


def probe(learn: Array, labels: Array, test: Array, wanted: Array) -> float:
    """Accuracy of a logistic regression on standardised features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    return float(classifier.fit(learn, labels).score(test, wanted))


def finetune(model: nn.Module, learn: Labelled, images: Dataset[Tensor], settings: Settings) -> None:
    """Train all of a model with a classifier: AdamW, a tenth of the run to warm up, then a cosine to 0."""
    optimizer = create_optimizer_v2(model, "adamw", lr=settings.finetune_lr, weight_decay=0.05)
    batch = min(settings.batch_size, len(learn.labels))
    steps = len(learn.labels) // batch
    for step in range(steps * settings.finetune_epochs):
        if step % steps == 0:
            generator = torch.Generator().manual_seed(seed_of(settings.seed, step))
            order = torch.randperm(len(learn.labels), generator=generator)
        chosen = order[step % steps * batch :][:batch]
        for group in optimizer.param_groups:
            done = (step + 1) / (steps * settings.finetune_epochs)
            group["lr"] = warmup_cosine(done, settings.finetune_lr, 0.0, 0.1)
        inputs = torch.stack([images[int(index)] for index in chosen]).to(settings.device)
        loss = F.cross_entropy(model.train()(inputs), learn.labels[chosen].to(settings.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def accuracy(model: nn.Module, images: Dataset[Tensor], wanted: Tensor, settings: Settings) -> float:
    """The part of images that a model tells right."""
    model.eval()
    batches = DataLoader(images, batch_size=settings.batch_size)
    told = torch.cat([model(batch.to(settings.device)).argmax(dim=1).cpu() for batch in batches])
    return float((told == wanted).float().mean())


def measure(settings: Settings, weights: str) -> tuple[Scores, Shown]:
    """The scores of a checkpoint, and what to draw of it."""
    model, size = create_model(settings, weights)
    channels, mean, std = statistics_of(model, settings.model_kwarg)
    learn, test = open_labelled(settings.data, settings.test_data, channels)
    learn = few(learn, settings.labels) if settings.labels else learn
    transform = evaluation_transform(size, mean, std)
    inputs, others = Prepared(learn.images, transform), Prepared(test.images, transform)
    try:
        known, new = features_of(model, inputs, settings), features_of(model, others, settings)
    except InputError:
        raise
    except Exception as error:  # models refuse images in many ways, assertions among them
        raise InputError(
            f"{settings.model} does not run on {size[0]}x{size[1]} images: {first_line(error)}."
        ) from error
    if not (np.isfinite(known).all() and np.isfinite(new).all()):
        raise InputError(f"{weights} gives features that are not finite.")
    labels, wanted = learn.labels.numpy(), test.labels.numpy()
    tuned = None
    if settings.finetune_epochs:
        classifier, _ = create_model(settings, weights, classes=len(learn.classes))
        finetune(classifier, learn, inputs, settings)
        tuned = accuracy(classifier, others, test.labels, settings)
    scores = Scores(
        weights,
        knn=knn(known, labels, new, wanted, settings.neighbours),
        probe=probe(known, labels, new, wanted),
        finetune=tuned,
    )
    return scores, Shown(new, wanted)


def evaluate(settings: Settings) -> list[Scores]:
    """Measure each checkpoint, and write a table, ``scores.json`` and ``features.png``."""
    measured = [measure(settings, weights) for weights in settings.checkpoints]
    found = [scores for scores, _ in measured]
    write(settings, found, [shown for _, shown in measured])
    return found


def write(settings: Settings, found: list[Scores], shown: list[Shown]) -> None:
    """Write the scores, and a picture of the test's features, into the output folder.

    Raises:
        InputError: The folder cannot be written to.
    """
    record = {"model": settings.model, "data": settings.data, "scores": [asdict(scores) for scores in found]}
    try:
        settings.output.mkdir(parents=True, exist_ok=True)
        with checkpoint.replacing(settings.output / "scores.json") as file:
            file.write((json.dumps(record, indent=2) + "\n").encode())
        with checkpoint.replacing(settings.output / "features.png") as file:
            file.write(picture(found, shown))
    except OSError as error:
        raise InputError(f"{settings.output} cannot be written to ({error}). Choose another --output.") from error


def picture(found: list[Scores], shown: list[Shown]) -> bytes:
    """A PNG: the two main directions of the features of each checkpoint, coloured by class, and its scores.

    Of the weights that a run kept of its epochs, the last ones alone; and the scores over the epochs.
    """
    from io import BytesIO

    from matplotlib.figure import Figure
    from sklearn.decomposition import PCA

    runs = over_epochs(found)
    last = {scores[max(scores)].checkpoint for scores in runs.values()}
    points = [
        one
        for one in zip(found, shown, strict=True)
        if epoch_of(one[0].checkpoint) is None or one[0].checkpoint in last
    ]
    number = len(points) + bool(runs)
    figure = Figure(figsize=(4 * number, 4), layout="constrained")
    panels = figure.subplots(1, number, squeeze=False)[0]
    for panel, (scores, (features, labels)) in zip(panels, points, strict=False):
        plane = PCA(n_components=2, random_state=0).fit_transform(features)
        panel.scatter(plane[:, 0], plane[:, 1], c=labels, cmap="tab10", s=6)
        title = f"{short(scores.checkpoint)}\nk-NN {scores.knn:.1%}, probe {scores.probe:.1%}"
        panel.set(xticks=[], yticks=[], title=title)
    for colour, (run, scores_of) in enumerate(runs.items()):
        for measured, dashes in (("knn", "-"), ("probe", "--")):
            values = [100 * getattr(scores, measured) for scores in scores_of.values()]
            panels[-1].plot(list(scores_of), values, f"C{colour}{dashes}", label=f"{short(run)}, {measured}")
    if runs:
        panels[-1].set(xlabel="epoch", ylabel="accuracy, %")
        panels[-1].legend()
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def epoch_of(name: str) -> int | None:
    """The epoch that ``pretrain.py --keep-every`` kept weights of; ``None`` for other files and folders."""
    match = re.fullmatch(r"backbone-(\d+)\.safetensors", Path(name).name)
    return int(match[1]) if match else None


def over_epochs(found: list[Scores]) -> dict[str, dict[int, Scores]]:
    """For the folder of each run of which several epochs were measured, the scores by epoch."""
    runs: dict[str, dict[int, Scores]] = {}
    for scores in sorted(found, key=lambda scores: scores.checkpoint):
        epoch = epoch_of(scores.checkpoint)
        if epoch is not None:
            runs.setdefault(str(Path(scores.checkpoint).parent), {})[epoch] = scores
    return {run: dict(sorted(by_epoch.items())) for run, by_epoch in runs.items() if len(by_epoch) > 1}


def short(name: str) -> str:
    """The last two parts of a path."""
    return "/".join(Path(name).parts[-2:])


def table(found: list[Scores]) -> Table:
    """The scores in per cent."""
    shown = Table("checkpoint", "k-NN", "probe", *(["fine-tuned"] if found[0].finetune is not None else []))
    for scores in found:
        numbers = [scores.knn, scores.probe, *([] if scores.finetune is None else [scores.finetune])]
        shown.add_row(short(scores.checkpoint), *(f"{number:.1%}" for number in numbers))
    return shown


DATA = (
    "A folder with one folder for each class, a tar or folder of tars, hfds/NAME (Hugging Face), digits "
    "(scikit-learn's), or fashion-mnist (of Debian's package dataset-fashion-mnist)."
)


@click.command(context_settings={"show_default": True, "max_content_width": 120})
@click.argument("model")
@click.argument("checkpoints", nargs=-1, required=True)
@click.option("--data", default="digits", help=DATA)
@click.option("--test-data", help="Such a thing to test with.  [default: each fifth image of --data]")
@click.option("--labels", type=POSITIVE, help="How many labels to learn from, equally of each class.  [default: all]")
@click.option("--output", type=FOLDER, default="runs/evaluate", help="Where scores.json and features.png go.")
@click.option(
    "-k", "--model-kwarg", multiple=True, callback=parse_kwargs, metavar="NAME=VALUE", help="Goes to the model."
)
@click.option("--image-size", callback=parse_size, metavar="[HxW]", help="Of the images.  [default: the model's own]")
@click.option("--pool", type=click.Choice(["model", "mean"]), default="model", help="How features become one.")
@click.option("--neighbours", type=POSITIVE, default=10, help="That vote in k-NN.")
@click.option("--finetune-epochs", type=click.IntRange(min=0), default=0, help="Fine-tune for so long, too.")
@click.option("--finetune-lr", type=RATE, default=1e-3, help="Peak of its schedule.")
@click.option("--batch-size", type=POSITIVE, default=64, help="For features and fine-tuning.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of random weights and of fine-tuning.")
@click.option("--device", type=click.Choice(DEVICES), default=DEVICES[0], help="Where to compute.")
def main(**options: Any) -> None:
    """Measure CHECKPOINTS of MODEL: files or folders that pretrain.py wrote, or the word random.

    k-NN is the vote of the nearest neighbours by cosine, the probe a logistic regression; both leave the backbone as it
    is. Fine-tuning trains all of it.
    """
    try:
        found = evaluate(Settings(**options))
    except ImportError as error:
        raise click.ClickException(f"This needs {error.name}: pip install -e '.[examples]'.") from error
    except InputError as error:
        raise click.ClickException(str(error)) from error
    Console().print(table(found))


if __name__ == "__main__":
    main()
