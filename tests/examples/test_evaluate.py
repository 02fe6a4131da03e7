"""Evaluation: what it measures, what it writes, and its refusals."""

import json

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from click.testing import CliRunner
from evaluate import Covering, features_of, main, measure
from PIL import Image

import generated

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

VIT = ["test_vit", "-k", "patch_size=8", "-k", "depth=1", "--image-size", "32", "--device", "cpu"]


def run(*arguments):
    return CliRunner().invoke(main, [*VIT, *map(str, arguments)])


@pytest.fixture
def pictures(tmp_path):
    """Black and white pictures, in folders of their names."""
    for part in ("train", "val"):
        for name, value in (("black", 0), ("white", 255)):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for number in range(4):
                Image.new("L", (40, 30), abs(value - 9 * number)).save(folder / f"{number}.png")
    return tmp_path


def test_random_and_given_weights_are_compared(pictures, tmp_path):
    torch.manual_seed(1)
    model = timm.create_model("test_vit", img_size=32, patch_size=8, depth=1)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "backbone.safetensors")
    result = run(
        "--data", pictures, tmp_path, "--neighbours", 3, "--json", tmp_path / "r.json", "--figure", tmp_path / "f.png"
    )
    assert result.exit_code == 0, result.output
    assert "3-NN" in result.output
    rows = json.loads((tmp_path / "r.json").read_text())
    assert [row["weights"] for row in rows] == ["random", str(tmp_path)]
    assert all(row["probe"] == 100 for row in rows)
    assert Image.open(tmp_path / "f.png").size == (800, 400)


def test_accuracies_are_of_the_test_images():
    train, labels = np.array([[1.0, 0.0]] * 5 + [[0.0, 1.0]] * 5), np.array([0] * 5 + [1] * 5)
    test = np.array([[0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
    result = measure("some", train, test, (labels, np.array([0, 1, 1, 0])), neighbours=5)
    assert (result.knn, result.probe) == (75.0, 75.0)


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("test_vit", {"img_size": 32, "patch_size": 8, "depth": 1}),
        ("convnext_atto", {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)}),
        (
            "swin_tiny_patch4_window7_224",
            {"img_size": 32, "embed_dim": 24, "depths": (1, 1), "num_heads": (2, 2), "window_size": 4},
        ),
    ],
)
def test_features_are_means_over_positions(name, kwargs):
    backbone = generated.create_model(name, **kwargs).eval()
    features = features_of(backbone, torch.rand(2, 3, 32, 32))
    assert features.shape == (2, backbone.num_features)


def test_an_image_covers_the_size_in_its_own_proportions():
    image = torch.zeros(1, 20, 40)
    image[..., :10] = 1  # the left quarter, all of which is cropped away
    covered = Covering((10, 10))(image)
    assert covered.shape == (1, 10, 10)
    assert covered[..., 3:].abs().max() < 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "{folder}/nowhere"], "nowhere/train does not exist"),
        (["--data", "{folder}/bare"], "lies in none: sort them into one for each"),
        (["{folder}/other.safetensors"], "other.safetensors holds no weights of this model"),
        (["{folder}/broken.safetensors"], "broken.safetensors holds no weights of this model"),
        (["{folder}/bare"], "backbone.safetensors holds no weights of this model"),
    ],
)
def test_bad_input_gets_one_clear_error(tmp_path, arguments, message):
    for part in ("train", "val"):
        (tmp_path / "bare" / part).mkdir(parents=True)
        Image.new("L", (9, 9)).save(tmp_path / "bare" / part / "a.png")
    safetensors.torch.save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"half")
    result = run(*(argument.format(folder=tmp_path) for argument in arguments))
    assert isinstance(result.exception, SystemExit)
    assert message in result.output
