"""Measuring backbones: labels and how they are split, what the scores mean, what a checkpoint must be, and refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from click.testing import CliRunner, Result
from data import InputError
from evaluate import Scores, Settings, features_of, knn, main, over_epochs, probe
from labelled import evaluation_transform, few, open_labelled
from PIL import Image

VIT = "test_vit -k img_size=16 -k patch_size=4 -k depth=1 -k embed_dim=32 -k num_heads=2"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [word for argument in arguments for word in str(argument).split()])


@pytest.fixture
def classes(tmp_path):
    """Six red images and six blue ones of 20 x 12 pixels, in folders of classes."""
    for name, colour in (("blue", (0, 0, 200)), ("red", (200, 0, 0))):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(6):
            shade = tuple(part + number for part in colour)
            Image.new("RGB", (20, 12), shade).save(tmp_path / "images" / name / f"{number}.png")
    return tmp_path / "images"


def test_each_fifth_image_of_a_class_is_to_test_with(classes):
    learn, test = open_labelled(str(classes), None, 3)
    assert learn.classes == test.classes == ("blue", "red")
    assert learn.labels.tolist() == [0] * 5 + [1] * 5
    assert test.labels.tolist() == [0, 1]
    assert test.images[1][0].unique().tolist() == [204]  # red, the fifth


def test_digits_are_split_as_for_pretraining():
    learn, test = open_labelled("digits", None, 3)
    assert (len(learn.labels), len(test.labels)) == (1437, 360)
    assert learn.images[0].shape == (3, 8, 8)


def test_few_labels_are_of_each_class_equally_many():
    learn, _ = open_labelled("digits", None, 1)
    assert few(learn, 50).labels.bincount().tolist() == [5] * 10
    assert few(learn, 7).labels.bincount(minlength=10).max() == 1
    with pytest.raises(InputError, match="--labels 2000 are more than the 1437 images"):
        few(learn, 2000)


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [((12, 20), (0, 12), (0, 20)), ((12, 12), (0, 12), (4, 16)), ((6, 20), (3, 9), (0, 20))],
)
def test_the_middle_is_as_large_as_fits(size, rows, columns):
    image = torch.rand(3, 12, 20)
    view = evaluation_transform(size, [0.5] * 3, [2.0] * 3)(image)
    torch.testing.assert_close(view, (image[:, slice(*rows), slice(*columns)] - 0.5) / 2)
    assert evaluation_transform((24, 24), [0.5] * 3, [2.0] * 3)(image).shape == (3, 24, 24)


def test_scores_are_the_part_that_is_told_right():
    learn, labels = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]), np.array([0, 0, 1, 1])
    test, wanted = np.array([[5.0, 0.2], [0.2, 5.0], [5.0, 0.1], [0.3, 5.0]]), np.array([0, 1, 1, 1])
    assert knn(learn, labels, test, wanted, neighbours=2) == 0.75
    assert probe(learn, labels, test, wanted) == 0.75


def test_checkpoints_stand_beside_each_other(tmp_path):
    torch.manual_seed(1)
    model = timm.create_model("test_vit", img_size=16, patch_size=4, depth=1, embed_dim=32, num_heads=2)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "backbone.safetensors")  # with a classifier of its own
    result = run(
        VIT, "random", tmp_path / "backbone.safetensors", "--labels 100 --finetune-epochs 1 --output", tmp_path
    )
    assert result.exit_code == 0, result.output
    assert "fine-tuned" in result.output
    scores = json.loads((tmp_path / "scores.json").read_text())["scores"]
    assert [row["checkpoint"] for row in scores] == ["random", str(tmp_path / "backbone.safetensors")]
    assert all(0.1 < row[name] <= 1 for row in scores for name in ("knn", "probe"))
    assert scores[0]["knn"] != scores[1]["knn"]
    assert Image.open(tmp_path / "features.png").width == 800

    assert run(VIT, tmp_path, "--labels 100 --output", tmp_path / "folder").exit_code == 0  # of a run
    again = json.loads((tmp_path / "folder/scores.json").read_text())["scores"]
    assert again[0]["knn"] == scores[1]["knn"]


def test_what_is_measured_is_the_same_each_time(tmp_path):
    words = (VIT, "random --labels 50 --finetune-epochs 1 --output")
    assert run(*words, tmp_path / "one").exit_code == run(*words, tmp_path / "other").exit_code == 0
    one, other = ((tmp_path / name / "scores.json").read_text() for name in ("one", "other"))
    assert one == other


def test_accuracy_is_drawn_over_the_epochs_that_a_run_kept(tmp_path):
    model = timm.create_model("test_vit", img_size=16, patch_size=4, depth=1, embed_dim=32, num_heads=2)
    files = [tmp_path / f"backbone-{epoch:04}.safetensors" for epoch in (10, 0, 5)]
    for file in files:
        safetensors.torch.save_file(model.state_dict(), file)
    output = tmp_path / "out"
    assert run(VIT, "random", *files, "--labels 100 --output", output).exit_code == 0
    assert Image.open(output / "features.png").width == 1200  # features of two, the last of the run, and the curve
    scores = [Scores(name, 0.5, 0.6, None) for name in ("random", *map(str, files), f"{tmp_path}/b/backbone-0001.pt")]
    assert {run: list(epochs) for run, epochs in over_epochs(scores).items()} == {str(tmp_path): [0, 5, 10]}


def test_the_mean_is_over_positions_as_pretraining_normalises_them():
    """timm leaves the norm of a Hiera to its head, where pre-training gives the loss normalised positions."""
    sizes = {"stages": (1, 1), "q_pool": 1, "mask_unit_size": (2, 2), "mask_unit_attn": (True, False)}
    model = timm.create_model("hiera_tiny_224", img_size=32, embed_dim=16, num_heads=1, num_classes=0, **sizes)
    images = list(torch.rand(3, 3, 32, 32))
    torch.nn.init.normal_(model.head.norm.weight)
    found = features_of(model, images, Settings("hiera_tiny_224", (), Path(), pool="mean"))
    with torch.no_grad():
        wanted = model.head.norm(model.forward_features(torch.stack(images))).mean(dim=1)
    torch.testing.assert_close(torch.from_numpy(found), wanted)


@pytest.mark.parametrize("model", ["test_convnext", "test_resnet", "test_efficientnet"])
@pytest.mark.parametrize("pool", ["model", "mean"])
def test_backbones_of_other_forms_are_measured(classes, tmp_path, model, pool):
    result = run(model, "random --image-size 32x64 --data", classes, "--pool", pool, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (f"{VIT} {{folder}}/nowhere.pth", "nowhere.pth does not exist"),
        (f"{VIT} {{folder}}/damaged.safetensors", "damaged.safetensors cannot be loaded"),
        (f"{VIT} -k qkv_bias=False {{folder}}/whole.safetensors", "is not of this model: 1 names differ"),
        (
            f"{VIT} -k depth=2 {{folder}}/whole.safetensors",
            "names differ, blocks.1.norm1.weight for one. Give the same",
        ),
        (f"{VIT} -k patch_size=8 {{folder}}/whole.safetensors", "cannot be loaded into the model"),
        (f"{VIT} {{folder}}/nan.safetensors", "gives features that are not finite"),
        (f"{VIT} random --data {{folder}}/nowhere", "nowhere does not exist"),
        (f"{VIT} random --data {__file__}", "test_evaluate.py is not a folder: name a folder that holds one"),
        (f"{VIT} random --data {{folder}}/loose", "2 images of {folder}/loose have no label"),
        (f"{VIT} random --data {{folder}}/one", "holds one class alone"),
        (f"{VIT} random --data {{folder}}/images --test-data {{folder}}/other", "hold different classes: green, red"),
        (f"{VIT} random --test-data {{folder}}/one", "--test-data does not go with --data digits"),
        (f"{VIT} random --labels 99999", "more than the 1437 images"),
        (f"{VIT} random --labels 10 --output {{folder}}/damaged.safetensors/out", "cannot be written to"),
        ("vit_nothing random", "vit_nothing cannot be created"),
        ("test_vit random --image-size 20", "does not run on 20x20 images"),
        (f"{VIT} random --finetune-lr nan", "nan is not a number"),
    ],
)
def test_bad_input_gets_one_clear_error(classes, tmp_path, arguments, message):
    for name in ("loose", "one/blue", "other/blue", "other/green"):
        (tmp_path / name).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{number}.png")
    weights = timm.create_model("test_vit", img_size=16, patch_size=4, depth=1, embed_dim=32, num_heads=2).state_dict()
    safetensors.torch.save_file(weights, tmp_path / "whole.safetensors")
    weights["norm.weight"] = weights["norm.weight"] * float("nan")
    safetensors.torch.save_file(weights, tmp_path / "nan.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:900])

    result = run("--output", tmp_path / "out", arguments.format(folder=tmp_path))
    assert result.exit_code != 0
    assert isinstance(result.exception, SystemExit), result.exception
    assert message.format(folder=tmp_path) in " ".join(result.output.split()), result.output
    assert "Traceback" not in result.output
