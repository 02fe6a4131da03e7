"""The page of results: what it says of the cells, and that a run goes on with those that are missing."""

from dataclasses import replace
from pathlib import Path

import data
import pytest
import reproduce
from click.testing import CliRunner
from data import BUILT_IN
from pretrain import METHODS
from reproduce import BACKBONES, CELLS, IMAGES, OPTIONS, Accuracy, Cell, curves, draw, read, report, verdict, write
from test_data import fashion


def cell(backbone: str, method: str, seed: int = 0, epochs: int = 40, knn: float = 80.0, probe: float = 90.0) -> Cell:
    random, start = Accuracy(40.0 + seed, 70.0), Accuracy(50.0, 75.0 + 2 * seed)
    trained = Accuracy(knn, probe)
    return Cell(backbone, method, seed, epochs, random, start, trained, (2.0, 1.5, 1.0), ((0, start), (3, trained)), 60)


def test_each_row_is_the_mean_and_spread_over_seeds():
    cells = [
        cell("ViT", "mae"),
        cell("ViT", "simmim", knn=39.0, probe=71.0),
        cell("ViT", "mae", seed=1, knn=84.0, probe=94.0),
        cell("ViT", "mae", seed=1, epochs=80, knn=90.0, probe=95.0),  # a row of its own
    ]
    rows = [line for line in report(cells).splitlines() if line.startswith("| ViT")]
    assert rows == [
        "| ViT | mae | 40 | 2 | 40.5 ± 0.7 | 50.0 ± 0.0 | 82.0 ± 2.8 | 70.0 ± 0.0 | 76.0 ± 1.4 | 92.0 ± 2.8 |",
        "| ViT | simmim | 40 | 1 | 40.0 | 50.0 | 39.0 | 70.0 | 75.0 | 71.0 |",  # what does not help stays in the table
        "| ViT | mae | 80 | 1 | 41.0 | 50.0 | 90.0 | 70.0 | 77.0 | 95.0 |",
    ]


def test_the_page_says_what_does_not_help():
    helps, does_not = cell("ViT", "mae", knn=80.0), cell("Hiera", "mae", knn=45.0)  # 40 at random, 50 at the start
    assert verdict([helps]).count("in 1 of 1 rows.") == 2
    text = " ".join(report([helps, does_not]).split())
    assert "timm's random weights in 2 of 2 rows." in text
    assert "training begins with in 1 of 2 rows, not in mae on Hiera." in text


def test_a_run_goes_on_with_the_cells_that_are_missing(tmp_path, monkeypatch):
    measured = []

    def measure(data, backbone, method, seed, epochs, output):
        measured.append((backbone, method, seed))
        return cell(backbone, method, seed, epochs)

    monkeypatch.setattr(reproduce, "measure", measure)
    there = [
        cell("EVA", "mae", epochs=CELLS["digits", "EVA", "mae"][0]),
        cell("EVA", "simmim", epochs=9),
    ]  # one of 9 epochs is another
    write(tmp_path / "results.json", there)
    page = tmp_path / "page.md"
    options = ["--output", tmp_path, "--report", page, "--backbone", "EVA", "--seeds", 2, "--jobs", 1]
    result = CliRunner().invoke(reproduce.main, list(map(str, options)))
    assert result.exit_code == 0, result.output
    assert measured == [("EVA", "simmim", 0), ("EVA", "mae", 1), ("EVA", "simmim", 1)]
    assert len(read(tmp_path / "results.json")) == 5
    assert set(there) < set(read(tmp_path / "results.json"))
    assert "| EVA | mae |" in page.read_text()
    assert "(page/loss.svg)" in page.read_text()
    assert (tmp_path / "page" / "loss.svg").exists()
    assert set(read(tmp_path / "page" / "results.json")) == set(read(tmp_path / "results.json"))


def test_the_page_is_written_again_without_running_anything(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce, "measure", None)
    write(tmp_path / "results.json", [cell("ViT", "mae")])
    result = CliRunner().invoke(reproduce.main, ["--output", str(tmp_path), "--no-measure"])
    assert result.exit_code == 0, result.output
    assert "| ViT | mae | 40 | 1 |" in result.output
    assert "simmim" not in result.output


def test_the_numbers_of_the_page_can_be_gone_on_from():
    cells = read(Path(reproduce.__file__).parents[1] / "docs" / "results" / "results.json")
    assert {cell.key[:3] for cell in cells} <= set(CELLS)


def test_images_of_each_kind_have_a_section_of_their_own():
    page = report([cell("ViT", "mae"), replace(cell("ViT", "mae", epochs=3, knn=30.0), data="fashion-mnist")])
    _, digits, clothes, _ = page.split("\n## ")
    assert digits.startswith("Digits\n")
    assert "| ViT | mae | 40 |" in digits
    assert "better than with timm's random weights in 1 of 1 rows." in " ".join(digits.split())
    assert clothes.startswith("Fashion-MNIST\n")
    assert "| ViT | mae | 3 |" in clothes
    assert "in 0 of 1 rows, not in mae on ViT." in " ".join(clothes.split())


@pytest.mark.parametrize("installed", [True, False])
def test_images_that_are_not_installed_are_left_out(installed, tmp_path, monkeypatch):
    measured = []

    def measure(name, backbone, method, seed, epochs, output):
        measured.append(name)
        return replace(cell(backbone, method, seed, epochs), data=name)

    monkeypatch.setattr(reproduce, "measure", measure)
    monkeypatch.setattr(data, "FASHION", tmp_path / "fashion-mnist")
    if installed:
        fashion(tmp_path / "fashion-mnist")
    options = ["--output", tmp_path, "--backbone", "ViT", "--method", "mae", "--seeds", 1, "--jobs", 1]
    result = CliRunner().invoke(reproduce.main, list(map(str, options)))
    assert result.exit_code == 0, result.output
    assert measured == ["digits", "fashion-mnist"] if installed else ["digits"]
    said = "fashion-mnist is left out. Fashion-MNIST is not in "
    assert result.output.count(said) == (not installed)


def test_a_reconstruction_of_an_earlier_run_stays(tmp_path):
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "digits-ViT-mae-40.png").write_bytes(b"earlier")
    (tmp_path / "digits-ViT-mae-80-0").mkdir()
    (tmp_path / "digits-ViT-mae-80-0" / "epoch-0080.png").write_bytes(b"new")
    cells = [cell("ViT", "mae"), cell("ViT", "mae", epochs=80), cell("ViT", "simmim")]
    pictures = draw(cells, tmp_path, tmp_path / "page")
    assert [path.name for path in pictures] == ["loss.svg", "digits-ViT-mae-40.png", "digits-ViT-mae-80.png"]
    assert [path.read_bytes() for path in pictures[1:]] == [b"earlier", b"new"]


def test_the_curves_are_the_same_file_for_the_same_numbers():
    cells = [cell("ViT", "mae"), cell("ViT", "mae", seed=1), cell("Swin", "simmim")]
    assert curves(cells) == curves(cells)


def test_every_method_has_options_of_test_size_and_a_cell():
    assert sorted(OPTIONS) == METHODS
    assert {method for _, _, method in CELLS} == set(METHODS)
    assert {backbone for _, backbone, _ in CELLS} == set(BACKBONES)
    assert {data for data, _, _ in CELLS} == set(IMAGES) <= set(BUILT_IN)


@pytest.mark.parametrize(
    ("backbone", "method"),
    [
        pytest.param(backbone, method, marks=[] if (backbone, method) == ("ViT", "mae") else pytest.mark.exhaustive)
        for data, backbone, method in CELLS
        if data == "digits"
    ],
)
def test_a_cell_is_trained_and_measured(backbone, method, tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce, "TRAINING", reproduce.TRAINING.replace("--batch-size 64", "--batch-size 1437"))
    cell = reproduce.measure("digits", backbone, method, 0, 1, tmp_path)
    assert cell.key == ("digits", backbone, method, 0, 1)
    assert 10 < cell.trained.knn <= 100
    assert len(cell.losses) == 1
    if method == "mae" and backbone == "ViT":  # Xavier's weights and fixed positions tell more apart than timm's
        assert cell.start.knn > cell.random.knn + 20
