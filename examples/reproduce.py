"""Pre-train on scikit-learn's digits by every method, measure what was learned, and write it down.

    python examples/reproduce.py --output runs/reproduce --report docs/results.md

Each cell, a backbone trained by a method with a seed, is measured once: results are kept in ``results.json`` of the
output folder, and a run that was stopped goes on with the cells that are missing.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from checkpoint import replacing
from evaluate import Settings, evaluate
from options import read_kwargs
from pretrain import METHODS
from pretrain import main as pretrain_main

SIZE = (32, 32)
TRAINING = "--data digits --image-size 32 --batch-size 64 --workers 0 --device cpu --log-every 22 --lr 2e-3"

BACKBONES = {
    "ViT": "test_vit in_chans=1 patch_size=4 depth=4 embed_dim=64 num_heads=4",
    "EVA": "eva02_tiny_patch14_224 in_chans=1 patch_size=4 depth=4 embed_dim=64 num_heads=4",
    "Hiera": "hiera_tiny_224 in_chans=1 embed_dim=48 stages=(1,3) q_pool=1 mask_unit_size=(2,2) "
    "mask_unit_attn=(True,False)",
    "Swin": "swin_tiny_patch4_window7_224 in_chans=1 embed_dim=48 depths=(1,3) num_heads=(3,6) window_size=4",
}
"""Models of test size: their names, and what they are given."""

OPTIONS = {
    "mae": "decoder_dim=64 decoder_depth=2 decoder_heads=4",
    "simmim": "",
    "maskfeat": "",
    "data2vec2": "masks=4 layers=4 decoder_dim=64 decoder_depth=2 momentum=(0.99,0.999)",
    "ijepa": "predictor_dim=48 predictor_depth=2 predictor_heads=4 min_keep=4 momentum=0.99",
    "ibot": "local_crops=2 prototypes=256 hidden=128 bottleneck=64 momentum=0.99",
    "dinov2": "local_crops=2 prototypes=256 hidden=128 bottleneck=64 momentum=0.99",
}
"""What makes each method small enough; all else is its paper's recipe, but for the learning rate."""


@dataclass(frozen=True)
class Cell:
    """Accuracies, in per cent, of a backbone with random weights and after training."""

    backbone: str
    method: str
    seed: int
    epochs: int
    random_knn: float
    knn: float
    random_probe: float
    probe: float


def measure(backbone: str, method: str, seed: int, epochs: int, output: Path) -> Cell:
    """Train and evaluate."""
    name, *kwargs = BACKBONES[backbone].split()
    folder = output / f"{backbone}-{method}-{seed}"
    whole = "strategy=replace" if (backbone, method) == ("Swin", "mae") else ""
    words = [name, *TRAINING.split(), "--method", method, "--seed", seed, "--epochs", epochs, "--output", folder]
    words += [word for kwarg in kwargs for word in ("-k", kwarg)]
    words += [word for option in [*OPTIONS[method].split(), *whole.split()] for word in ("-o", option)]
    pretrain_main([str(word) for word in words], standalone_mode=False)
    given = read_kwargs(tuple(kwargs))
    settings = Settings(
        name, ("random", str(folder)), folder, model_kwarg=given, image_size=SIZE, pool="mean", seed=seed
    )
    random, trained = evaluate(settings)
    accuracies = (random.knn, trained.knn, random.probe, trained.probe)
    return Cell(backbone, method, seed, epochs, *(round(100 * accuracy, 2) for accuracy in accuracies))


def spread(numbers: list[float]) -> str:
    """The mean, and how far the numbers are from each other if there are several."""
    mean = f"{statistics.mean(numbers):.1f}"
    return f"{mean} ± {statistics.stdev(numbers):.1f}" if len(numbers) > 1 else mean


def report(cells: list[Cell]) -> str:
    """The results as a page of documentation."""
    rows = []
    for key in dict.fromkeys((cell.backbone, cell.method, cell.epochs) for cell in cells):
        same = [cell for cell in cells if (cell.backbone, cell.method, cell.epochs) == key]
        columns = [spread([getattr(cell, name) for cell in same]) for name in ("random_knn", "knn")]
        columns += [spread([getattr(cell, name) for cell in same]) for name in ("random_probe", "probe")]
        rows.append(f"| {' | '.join([*map(str, key), str(len(same)), *columns])} |")
    return "\n".join([HEAD, *rows, TAIL])


HEAD = """# What pre-training gives

Small backbones, trained on 1437 of scikit-learn's digits (8 x 8 pixels, cropped and enlarged to 32 x 32), without
labels. Their frozen features, averaged over the positions, are then measured on the other 360: by the vote of 10
nearest neighbours and by a linear probe, against the same backbone with random weights. Accuracies are in per
cent; ± is the standard deviation over seeds, where there is more than one. Nothing that was measured is left out.

| backbone | method | epochs | seeds | 10-NN, random | 10-NN, trained | probe, random | probe, trained |
|---|---|---|---|---|---|---|---|"""

TAIL = """
Made by `python examples/reproduce.py --report docs/results.md`. Recipes are the papers' but for the learning rate
(2e-3 for 64 images) and for what `examples/reproduce.py` says of each method.
"""


@click.command(context_settings={"show_default": True, "max_content_width": 120})
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), default="runs/reproduce", help="Of all runs."
)
@click.option("--report", "page", type=click.Path(dir_okay=False, path_type=Path), help="Page to write.")
@click.option("--backbone", "backbones", multiple=True, type=click.Choice(list(BACKBONES)), default=list(BACKBONES))
@click.option("--method", "methods", multiple=True, type=click.Choice(METHODS), default=["mae", "simmim"])
@click.option("--seeds", type=click.IntRange(min=1), default=3, help="How many.")
@click.option("--epochs", type=click.IntRange(min=1), default=40, help="Of each run.")
def main(
    output: Path, page: Path | None, backbones: tuple[str, ...], methods: tuple[str, ...], seeds: int, epochs: int
) -> None:
    """Measure the cells that are missing, and write all that are there."""
    output.mkdir(parents=True, exist_ok=True)
    file = output / "results.json"
    cells = [Cell(**cell) for cell in json.loads(file.read_text())] if file.exists() else []
    for seed in range(seeds):
        for backbone in backbones:
            for method in methods:
                if (backbone, method, seed, epochs) in [(c.backbone, c.method, c.seed, c.epochs) for c in cells]:
                    continue
                cells.append(measure(backbone, method, seed, epochs, output))
                with replacing(file) as opened:
                    opened.write(json.dumps([asdict(cell) for cell in cells], indent=2).encode())
    text = report(cells)
    click.echo(text)
    if page is not None:
        page.write_text(text)


if __name__ == "__main__":
    main()
