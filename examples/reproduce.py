"""Pre-train on digits by every method, and on Fashion-MNIST, measure what was learned, and write it down.

    python examples/reproduce.py --output runs/reproduce --report docs/results.md

Each cell, a backbone trained on some images by a method with a seed, is measured once: results are kept in
``results.json`` of the output folder, and a run that was stopped goes on with the cells that are missing. What a cell
prints goes to a file beside its output.
"""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import shutil
import statistics
import textwrap
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

import click
import torch
from checkpoint import replacing
from data import BUILT_IN, InputError
from evaluate import Settings, epoch_of, evaluate
from options import read_kwargs
from pretrain import METHODS
from pretrain import main as pretrain_main

TRAINING = "--crop-scale 0.6 1 --batch-size 64 --workers 0 --device cpu --log-every 1000000"
"""Alike in each cell. Papers crop less of an image, which makes other digits of some. The log has the mean of each
epoch.
"""


@dataclass(frozen=True)
class Images:
    """What backbones are trained on, and measured with.

    Attributes:
        title: Of their section of the page.
        text: What the section says of them.
        side: Height and width that they are resized to.
        keep: Accuracy is measured after each so many epochs.
        labels: How many k-NN and probe learn from; all by default.
        words: More options of the training.
    """

    title: str
    text: str
    side: int
    keep: int
    labels: int | None = None
    words: str = ""


IMAGES = {
    "digits": Images(
        "Digits",
        "Trained on 1437 of scikit-learn's digits (8 x 8 pixels, cropped and enlarged to 32 x 32), and tested on the"
        " other 360.",
        side=32,
        keep=5,
        words="--no-flip",
    ),
    "fashion-mnist": Images(
        "Fashion-MNIST",
        "Trained on 60,000 pictures of clothes (28 x 28 pixels) of Debian's package `dataset-fashion-mnist`, and tested"
        " on 10,000 others. k-NN and probe learn from 10,000 labels. All of it is left out where the package is not"
        " installed.",
        side=28,
        keep=1,
        labels=10_000,
    ),
}
"""By their names in ``data.BUILT_IN``. Mirrored digits are something else, mirrored clothes are not."""

BACKBONES = {
    "ViT": "test_vit in_chans=1 patch_size=4 depth=4 embed_dim=64 num_heads=4",
    "EVA": "eva02_tiny_patch14_224 in_chans=1 patch_size=4 depth=4 embed_dim=64 num_heads=4",
    "Hiera": "hiera_tiny_224 in_chans=1 embed_dim=48 stages=(1,3) q_pool=1 mask_unit_size=(2,2) "
    "mask_unit_attn=(True,False)",
    "Swin": "swin_tiny_patch4_window7_224 in_chans=1 embed_dim=48 depths=(1,3) num_heads=(3,6) window_size=4",
    "ConvNeXt V2": "convnextv2_atto in_chans=1 patch_size=1 depths=(1,1,2,1) dims=(8,16,48,96)",
}
"""Models of test size: their names, and what they are given."""

DISTILLATION = (
    "local_crops=0 distort=False prototypes=256 hidden=128 bottleneck=64 momentum=0.95 temperatures=(0.04,0.04)"
)
OPTIONS = {
    "mae": "decoder_dim=64 decoder_depth=1 decoder_heads=4",
    "simmim": "",
    "maskfeat": "cell=4",
    "data2vec2": "masks=2 layers=4 decoder_dim=64 decoder_depth=2 momentum=(0.99,0.999)",
    "ijepa": "predictor_dim=48 predictor_depth=2 predictor_heads=4 min_keep=4 momentum=0.99",
    "ibot": f"{DISTILLATION} batch_norm=True",
    "dinov2": f"{DISTILLATION} koleo=1.0",
}
"""What makes each method small enough; all else is its paper's recipe.

In DINOv2 it is also what keeps features of different images apart, which a short run with small batches does not do by
itself: two whole crops, a sharp and quick teacher, and ten times the weight of KoLeo. iBOT, without KoLeo, learns with
batch norm in its head.
"""

WORDS = {
    "ibot": "--weight-decay 0.04 -k drop_path_rate=0. --warmup-epochs 3",
    "dinov2": "--weight-decay 0.04 -k drop_path_rate=0.",
}
"""More options of a method."""

POOL = dict.fromkeys(("ibot", "dinov2"), "model")
"""Which features are measured, if it is not their mean over the positions: the class token, as in these papers."""

STRATEGIES = {("Swin", "mae"): "replace", ("ConvNeXt V2", "mae"): "sparse"}
"""Where patches cannot be dropped: stages that need the whole grid, and convolutions that close its holes."""

CELLS = {
    ("digits", "ViT", "mae"): (40, 2e-3),
    ("digits", "ViT", "simmim"): (40, 2e-3),
    ("digits", "ViT", "maskfeat"): (20, 1e-3),
    ("digits", "ViT", "data2vec2"): (15, 1e-3),
    ("digits", "ViT", "ijepa"): (10, 1e-3),
    ("digits", "ViT", "ibot"): (15, 1e-3),
    ("digits", "ViT", "dinov2"): (20, 1e-3),
    ("digits", "EVA", "mae"): (40, 2e-3),
    ("digits", "EVA", "simmim"): (40, 2e-3),
    ("digits", "Hiera", "mae"): (30, 1e-3),
    ("digits", "Hiera", "simmim"): (30, 4e-4),
    ("digits", "Swin", "mae"): (30, 1e-3),
    ("digits", "Swin", "simmim"): (30, 1e-3),
    ("digits", "ConvNeXt V2", "mae"): (8, 2e-3),
    ("digits", "ConvNeXt V2", "simmim"): (8, 2e-3),
    ("fashion-mnist", "ViT", "mae"): (2, 1e-3),
}
"""Every method on a ViT, and the two that take any backbone on all others: epochs, and the learning rate. Clothes are
many, and have one cell.
"""


Key = tuple[str, str, str, int, int]
"""Images, backbone, method, seed and epochs."""


@dataclass(frozen=True)
class Accuracy:
    """What part of the test is told right, in per cent."""

    knn: float
    probe: float


@dataclass(frozen=True)
class Cell:
    """What a method made of a backbone.

    Attributes:
        random: With timm's random weights.
        start: With the random weights that training began with: papers have initialisations of their own, some of
            which tell much more apart.
        trained: After training.
        losses: The mean of each epoch.
        course: The epoch, and the accuracy after it, of some epochs.
        seconds: How long training and measuring took, on one core; 0 where nobody noted it.
    """

    backbone: str
    method: str
    seed: int
    epochs: int
    random: Accuracy
    start: Accuracy
    trained: Accuracy
    losses: tuple[float, ...]
    course: tuple[tuple[int, Accuracy], ...] = ()
    seconds: int = 0
    data: str = "digits"

    @property
    def key(self) -> Key:
        """What was asked for."""
        return self.data, self.backbone, self.method, self.seed, self.epochs

    @property
    def row(self) -> str:
        """The name of all cells that differ from this one in their seed alone."""
        return row_of(self.data, self.backbone, self.method, self.epochs)


def row_of(data: str, backbone: str, method: str, epochs: int) -> str:
    """A name for files."""
    return f"{data}-{backbone.replace(' ', '-')}-{method}-{epochs}"


def folder_of(output: Path, data: str, backbone: str, method: str, seed: int, epochs: int) -> Path:
    """Where a cell is trained."""
    return output / f"{row_of(data, backbone, method, epochs)}-{seed}"


def options_of(data: str, backbone: str, method: str, seed: int, epochs: int) -> list[str]:
    """The command line that trains a cell."""
    name, *kwargs = BACKBONES[backbone].split()
    strategy = STRATEGIES.get((backbone, method))
    options = OPTIONS[method].split() + ([f"strategy={strategy}"] if strategy else [])
    images = IMAGES[data]
    shown = f"--data {data} --image-size {images.side} --keep-every {images.keep} {images.words}"
    run = f"--method {method} --seed {seed} --epochs {epochs} --lr {CELLS[data, backbone, method][1]}"
    words = [name, *TRAINING.split(), *shown.split(), *run.split(), *WORDS.get(method, "").split()]
    words += [word for kwarg in kwargs for word in ("-k", kwarg)]
    return words + [word for option in options for word in ("-o", option)]


def measure(data: str, backbone: str, method: str, seed: int, epochs: int, output: Path) -> Cell:
    """Train and evaluate."""
    began = time.perf_counter()
    folder = folder_of(output, data, backbone, method, seed, epochs)
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was stopped
    with folder.with_suffix(".log").open("w") as printed, redirect_stdout(printed):
        words = [*options_of(data, backbone, method, seed, epochs), "--output", str(folder)]
        pretrain_main(words, standalone_mode=False)
    name, *kwargs = BACKBONES[backbone].split()
    kept = sorted(folder.glob("backbone-*.safetensors"))
    settings = Settings(
        name,
        ("random", *map(str, kept)),
        folder,
        data=data,
        labels=IMAGES[data].labels,
        model_kwarg=read_kwargs(tuple(kwargs)),
        image_size=(IMAGES[data].side, IMAGES[data].side),
        pool=POOL.get(method, "mean"),
        seed=seed,
    )
    random, *found = [Accuracy(round(100 * one.knn, 2), round(100 * one.probe, 2)) for one in evaluate(settings)]
    course = tuple((epoch_of(file.name) or 0, one) for file, one in zip(kept, found, strict=True))
    with (folder / "log.csv").open(newline="") as log:
        losses = tuple(round(float(row["loss"]), 4) for row in csv.DictReader(log))
    seconds = round(time.perf_counter() - began)
    return Cell(backbone, method, seed, epochs, random, found[0], found[-1], losses, course, seconds, data)


def measure_all(keys: Sequence[Key], output: Path, jobs: int) -> Iterator[Cell]:
    """The cells in the order in which they end, of so many processes."""
    if jobs == 1:
        yield from (measure(*key, output) for key in keys)
        return
    spawn = multiprocessing.get_context("spawn")  # a fork would copy the threads of torch's pools, dead
    with ProcessPoolExecutor(jobs, spawn, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for future in as_completed([pool.submit(measure, *key, output) for key in keys]):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def usable(names: Iterable[str]) -> set[str]:
    """Which images are there; a line says what is missing of others."""
    found = set()
    for name in names:
        try:
            BUILT_IN[name]()
            found.add(name)
        except InputError as error:
            click.echo(f"{name} is left out. {error}")
    return found


def read(file: Path) -> list[Cell]:
    """The cells of a file that ``write`` wrote; none if there is no file."""
    cells = json.loads(file.read_text()) if file.exists() else []
    for cell in cells:
        cell |= {name: Accuracy(**cell[name]) for name in ("random", "start", "trained")}
        cell["losses"] = tuple(cell["losses"])
        cell["course"] = tuple((epoch, Accuracy(**accuracy)) for epoch, accuracy in cell["course"])
    return [Cell(**cell) for cell in cells]


def write(file: Path, cells: Sequence[Cell]) -> None:
    """Keep the cells."""
    with replacing(file) as opened:
        opened.write(json.dumps([asdict(cell) for cell in cells], indent=2).encode())


def spread(numbers: Sequence[float]) -> str:
    """The mean, and how far the numbers are from each other if there are several."""
    mean = f"{statistics.mean(numbers):.1f}"
    return f"{mean} ± {statistics.stdev(numbers):.1f}" if len(numbers) > 1 else mean


def rows(cells: Sequence[Cell]) -> list[list[Cell]]:
    """The cells that differ in their seed alone."""
    return [[cell for cell in cells if cell.row == row] for row in dict.fromkeys(cell.row for cell in cells)]


def report(cells: Sequence[Cell], pictures: Sequence[Path] = ()) -> str:
    """The results as a page of documentation, which shows some pictures of a folder beside it."""
    sections = [section(data, of) for data in IMAGES if (of := [cell for cell in cells if cell.data == data])]
    shown = [f"### {file.stem}\n\n![{file.stem}]({file.parent.name}/{file.name})\n" for file in pictures]
    return "\n".join([HEAD, *sections, TAIL, *([PICTURES, *shown] if shown else [])])


def section(data: str, cells: Sequence[Cell]) -> str:
    """What the page says of the cells of some images: a table, and in how many rows training helped."""
    images = IMAGES[data]
    lines = []
    for same in rows(cells):
        columns = [same[0].backbone, same[0].method, str(same[0].epochs), str(len(same))]
        for measured in ("knn", "probe"):
            columns += [
                spread([getattr(getattr(cell, when), measured) for cell in same])
                for when in ("random", "start", "trained")
            ]
        lines.append(f"| {' | '.join(columns)} |")
    text = textwrap.fill(images.text, 120)
    return "\n".join([f"## {images.title}\n\n{text}\n", TABLE, *lines, "", verdict(cells), ""])


def verdict(cells: Sequence[Cell]) -> str:
    """In how many rows training made 10-NN better, and in which it did not."""
    text = []
    for when, what in (("random", "timm's random weights"), ("start", "the weights that training begins with")):
        helped = {
            f"{same[0].method} on {same[0].backbone}": statistics.mean(
                cell.trained.knn - getattr(cell, when).knn for cell in same
            )
            > 0
            for same in rows(cells)
        }
        others = [name for name, better in helped.items() if not better]
        text.append(
            f"10-NN is better than with {what} in {sum(helped.values())} of {len(helped)} rows"
            + (f", not in {', '.join(others)}." if others else ".")
        )
    return textwrap.fill(" ".join(text), 120)


HEAD = """# What pre-training gives

Small backbones, trained without labels. Their frozen features are then measured on other images: by the vote of 10
nearest neighbours and by a linear probe. Features are the mean over the positions, each normalised as in training; of
iBOT and DINOv2 the class token, which their papers measure. Accuracies are in per cent; ± is the standard deviation
over seeds, where there is more than one. What does not help stays in the table. Cells that are not in it were not
measured to the end.

`random` is the backbone with timm's random weights, `start` with the random weights that training begins with. The
two differ where a paper initialises in its own way, and where it only draws others. MAE's Xavier weights and fixed
positions alone tell many more digits apart than timm's do: what training itself gives is the step from `start` to
`trained`.
"""

TABLE = """| backbone | method | epochs | seeds | 10-NN, random | start | trained | probe, random | start | trained |
|---|---|---|---|---|---|---|---|---|---|"""

TAIL = """## How

Made by `python examples/reproduce.py --report docs/results.md`, on one CPU core, which goes on from these numbers if
`docs/results/results.json` is copied to its `--output`. Recipes are the papers' but for what `examples/reproduce.py`
says: epochs, learning rates, crops of at least 0.6 of the area, no digit mirrored, and the sizes of decoders,
predictors and heads. These were chosen by the scores on digits with seed 0, in up to ten trials for a method.

- Under MAE, 10-NN on digits falls in the first ten epochs on each backbone but ConvNeXt V2, of which the run is
  shorter, and rises later.
- Hiera learns by MAE at 1e-3 and not at 2e-3: 10-NN after 15 epochs was 87 and 62. SimMIM does not help it: after 60
  epochs at 1e-3 10-NN was 68, and masks of 40 % and 80 % made the first ten epochs no better. With a stem of stride 2
  10-NN was 72 after 30 epochs, and 78 before. At 1e-4 it was 81 after 30 epochs, at 5e-5 84 after 10, at 2e-3 72 after
  60, with squares of twice the side 76 after 30, all from 87 (seed 0). With Xavier's weights (`weight_init=jax`) it was
  74 after 30 epochs at 1e-3, from 86; without weight decay, warmed up for half of 15 epochs, 73, from 87. Three stages
  with a stem of stride 2 went from 73 to 74 at 1e-3, with a loss that stopped at 1.0, and to 66 at 2e-3; by MAE from 81
  to 84. Nor does time help: at 1e-3 10-NN was 82 after 150 epochs, at 2e-3 79; in a run of 300 epochs it rose to 83 and
  fell to 74 again. With global attention in both stages it was 72, with six blocks in the second 66, with three in the
  first 69 (30 epochs). Without its pooling Hiera went from 61 to 68, and the probe from 82 to 91: what SimMIM does not
  reach is what pooled random features say about digits.
- The class tokens of a ViT with timm's random weights differ from image to image by 4 % of their power, which iBOT
  loses in the first steps unless its head normalises over the batch. The teacher's has to do so by the batch, too: by
  running statistics, 10-NN was 39 at the end of such a run (seed 0, 64 prototypes), and each image had the same even
  spread over the prototypes. Ten times the weight of KoLeo in DINOv2 keeps images apart, and 10-NN gains by it.
"""

PICTURES = """## Pictures

The loss of each epoch, divided by the first, and 10-NN over the epochs. Then images after the last epoch, for some
backbones and methods: as they are, what is visible, and the reconstruction.
"""


def curves(cells: Sequence[Cell]) -> bytes:
    """An SVG, over the epochs: the loss, divided by that of the first, and the accuracy of k-NN; a line for a seed."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    columns = list(dict.fromkeys(cell.key[:2] for cell in cells))
    figure = Figure(figsize=(3 * len(columns), 5), layout="constrained")
    panels = figure.subplots(2, len(columns), squeeze=False, sharey="row", sharex="col")
    for (upper, lower), column in zip(panels.T, columns, strict=True):
        for cell in cells:
            if cell.key[:2] == column:
                first = cell.seed == min(other.seed for other in cells if other.key[:3] == cell.key[:3])
                look = {"c": f"C{list(OPTIONS).index(cell.method)}", "lw": 0.8, "label": cell.method if first else None}
                upper.plot(range(1, len(cell.losses) + 1), [loss / cell.losses[0] for loss in cell.losses], **look)
                lower.plot([epoch for epoch, _ in cell.course], [one.knn for _, one in cell.course], **look)
        upper.set(title=", ".join(reversed(column)), yscale="log")
        lower.set(xlabel="epoch")
        upper.legend(fontsize="x-small")
    panels[0, 0].set_ylabel("loss / loss of the first epoch")
    panels[1, 0].set_ylabel("10-NN, %")
    buffer = BytesIO()
    with rc_context({"svg.hashsalt": "timm-split"}):  # the same file for the same numbers
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def draw(cells: Sequence[Cell], output: Path, folder: Path) -> list[Path]:
    """Write the cells, their curves, and the last reconstructions of the first seed of some rows.

    A reconstruction that an earlier run wrote stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = {"loss.svg": curves(cells)}
    for same in rows(cells):
        cell = same[0]
        if cell.method == "mae" or (cell.backbone, cell.method) == ("ViT", "simmim"):  # others look much alike
            picture = folder / f"{cell.row}.png"
            last = folder_of(output, *cell.key) / f"epoch-{cell.epochs:04}.png"
            source = last if last.exists() else picture
            if source.exists():
                found[picture.name] = source.read_bytes()
    for name, content in found.items():
        (folder / name).write_bytes(content)
    write(folder / "results.json", cells)
    return [folder / name for name in found]


@click.command(context_settings={"show_default": True, "max_content_width": 120})
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), default="runs/reproduce", help="Of all runs."
)
@click.option(
    "--report",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Page to write; its pictures go to a folder of the same name.",
)
@click.option("--data", "names", multiple=True, type=click.Choice(list(IMAGES)), default=list(IMAGES))
@click.option("--backbone", "backbones", multiple=True, type=click.Choice(list(BACKBONES)), default=list(BACKBONES))
@click.option("--method", "methods", multiple=True, type=click.Choice(METHODS), default=METHODS)
@click.option("--seeds", type=click.IntRange(min=1), default=3, help="How many.")
@click.option("--epochs", type=click.IntRange(min=1), help="Of each run.  [default: as many as each method needs]")
@click.option("--jobs", type=click.IntRange(min=1), default=os.cpu_count(), help="Processes, of one thread each.")
@click.option("--measure/--no-measure", "measuring", default=True, help="Whether to run the cells that are missing.")
def main(
    output: Path,
    page: Path | None,
    names: tuple[str, ...],
    backbones: tuple[str, ...],
    methods: tuple[str, ...],
    seeds: int,
    epochs: int | None,
    jobs: int,
    measuring: bool,
) -> None:
    """Measure the cells that are missing, and write all that are there."""
    torch.set_num_threads(1)  # tiny models gain nothing by more
    output.mkdir(parents=True, exist_ok=True)
    file = output / "results.json"
    cells = read(file)
    there = {cell.key for cell in cells}
    wanted = [cell for cell in CELLS if cell[0] in names and cell[1] in backbones and cell[2] in methods]
    keys = [(*cell, seed, epochs or CELLS[cell][0]) for seed in range(seeds) for cell in wanted]
    missing = [key for key in keys if key not in there] if measuring else []
    here = usable({key[0] for key in missing})
    missing = [key for key in missing if key[0] in here]
    for number, cell in enumerate(measure_all(missing, output, jobs), 1):
        cells.append(cell)
        write(file, cells)
        what = f"{cell.data}, {cell.method} on {cell.backbone}, seed {cell.seed}"
        click.echo(
            f"{number} of {len(missing)}: {what}: 10-NN {cell.start.knn} -> {cell.trained.knn} %, {cell.seconds} s"
        )
    cells.sort(key=lambda cell: (list(CELLS).index(cell.key[:3]), cell.epochs, cell.seed))
    pictures = draw(cells, output, page.with_suffix("")) if page and cells else []
    text = report(cells, pictures)
    click.echo(text)
    if page is not None:
        page.write_text(text)


if __name__ == "__main__":
    main()
