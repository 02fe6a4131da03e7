"""The page of results: what it says of the cells, and that a run goes on with those that are missing."""

import json
from dataclasses import asdict

import pytest
import reproduce
from click.testing import CliRunner
from pretrain import METHODS
from reproduce import BACKBONES, OPTIONS, Cell, report


def test_each_row_is_the_mean_and_spread_over_seeds():
    cells = [
        Cell("ViT", "mae", 0, 40, 40.0, 80.0, 70.0, 90.0),
        Cell("ViT", "simmim", 0, 40, 40.0, 39.0, 70.0, 71.0),
        Cell("ViT", "mae", 1, 40, 42.0, 84.0, 72.0, 94.0),
        Cell("ViT", "mae", 1, 80, 42.0, 90.0, 72.0, 95.0),  # a row of its own
    ]
    rows = [line for line in report(cells).splitlines() if line.startswith("| ViT")]
    assert rows == [
        "| ViT | mae | 40 | 2 | 41.0 ± 1.4 | 82.0 ± 2.8 | 71.0 ± 1.4 | 92.0 ± 2.8 |",
        "| ViT | simmim | 40 | 1 | 40.0 | 39.0 | 70.0 | 71.0 |",  # what does not help stays in the table
        "| ViT | mae | 80 | 1 | 42.0 | 90.0 | 72.0 | 95.0 |",
    ]


def test_a_run_goes_on_with_the_cells_that_are_missing(tmp_path, monkeypatch):
    measured = []

    def measure(backbone, method, seed, epochs, output):
        measured.append((backbone, method, seed))
        return Cell(backbone, method, seed, epochs, 1.0, 2.0, 3.0, 4.0)

    monkeypatch.setattr(reproduce, "measure", measure)
    there = [Cell("ViT", "mae", 0, 40, 1.0, 2.0, 3.0, 4.0), Cell("ViT", "simmim", 0, 9, 1.0, 2.0, 3.0, 4.0)]
    (tmp_path / "results.json").write_text(json.dumps([asdict(cell) for cell in there]))  # one of 9 epochs is another
    options = [
        "--output",
        tmp_path,
        "--report",
        tmp_path / "page.md",
        "--backbone",
        "ViT",
        "--seeds",
        2,
    ]
    result = CliRunner().invoke(reproduce.main, list(map(str, options)))
    assert result.exit_code == 0, result.output
    assert measured == [("ViT", "simmim", 0), ("ViT", "mae", 1), ("ViT", "simmim", 1)]
    assert len(json.loads((tmp_path / "results.json").read_text())) == 5
    assert "| ViT | mae |" in (tmp_path / "page.md").read_text()


def test_every_method_has_options_of_test_size():
    assert sorted(OPTIONS) == METHODS


@pytest.mark.parametrize(
    "backbone", [pytest.param(name, marks=[pytest.mark.exhaustive] if name != "ViT" else []) for name in BACKBONES]
)
def test_a_cell_is_trained_and_measured(backbone, tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce, "TRAINING", reproduce.TRAINING.replace("--batch-size 64", "--batch-size 1437"))
    cell = reproduce.measure(backbone, "mae", 0, 1, tmp_path)
    assert (cell.backbone, cell.method, cell.epochs) == (backbone, "mae", 1)
    assert 10 < cell.knn <= 100
