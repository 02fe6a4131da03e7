"""The methods of the examples: each trains and resumes, follows its recipe, and computes what its paper says."""

import csv
import importlib
import math
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from click.testing import CliRunner
from pretrain import METHODS, main
from schedule import cosine, linear, warmup_cosine

import generated

VIT = "test_vit -k patch_size=8 -k depth=2 -k drop_path_rate=0.2"
TINY = "--made-images 32 --image-size 32 --batch-size 16 --epochs 2 --workers 0 --log-every 1 --device cpu --lr 1e-3"
SMALL = {
    "mae": {"decoder_dim": 32, "decoder_depth": 1, "decoder_heads": 2},
    "simmim": {},
    "maskfeat": {},
    "ijepa": {"predictor_dim": 24, "predictor_depth": 1, "predictor_heads": 3, "min_keep": 1},
    "data2vec2": {"masks": 2, "layers": 2, "decoder_dim": 32, "decoder_depth": 2},
    "ibot": {"local_crops": 1, "prototypes": 32, "hidden": 32, "bottleneck": 16},
    "dinov2": {"local_crops": 1, "prototypes": 32, "hidden": 32, "bottleneck": 16},
}


def train(method: str, output: Path, *more: object) -> list[float]:
    options = " ".join(f"-o {name}={value}" for name, value in SMALL[method].items())
    words = [*VIT.split(), *TINY.split(), *options.split(), "--method", method, "--output", output, *more]
    result = CliRunner().invoke(main, list(map(str, words)))
    assert result.exit_code == 0, result.output
    with (output / "log.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def make(method: str, backbone: torch.nn.Module | None = None, **options: object):
    """A method on a small ViT for images of 32 x 32 pixels."""
    backbone = backbone or generated.create_model("test_vit", img_size=32, patch_size=8, depth=2, dynamic_img_size=True)
    kind = importlib.import_module(f"methods.{method}").Method
    return kind(backbone, torch.zeros(2, 3, 32, 32), **(SMALL[method] | options))


def draw(method, batch: int = 4, seed: int = 0):
    return method.draw(batch, torch.Generator().manual_seed(seed))


def test_every_method_is_tried_here():
    assert sorted(SMALL) == METHODS


@pytest.mark.parametrize("method", METHODS)
def test_a_method_trains_and_resumes_as_if_it_had_never_stopped(method, tmp_path):
    straight = train(method, tmp_path / "straight")
    assert len(straight) == 4
    assert all(map(math.isfinite, straight))

    train(method, tmp_path / "stopped", "--stop-after", 1)
    resumed = train(method, tmp_path / "stopped", "--resume", tmp_path / "stopped/checkpoint.pt")
    assert resumed == straight

    backbone = timm.create_model("test_vit", img_size=32, patch_size=8, depth=2)
    backbone.load_state_dict(safetensors.torch.load_file(tmp_path / "straight/backbone.safetensors"))


@pytest.mark.parametrize("method", METHODS)
def test_gradients_reach_all_that_is_trained(method):
    model = make(method).train()
    model.initialise(fresh=True)
    views = model.views([0.5] * 3, [0.5] * 3)
    batch = [torch.stack(tensors) for tensors in zip(*(views(torch.rand(3, 40, 40)) for _ in range(4)), strict=True)]
    model(batch, draw(model)).backward()
    missed = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert missed == []
    assert all(not p.requires_grad for name, p in model.named_parameters() if name.startswith("teacher."))


@pytest.mark.parametrize("method", ["mae", "ijepa", "data2vec2"])
def test_positions_are_fixed_sines_and_loaded_ones_stay(method):
    fresh, loaded = make(method), make(method)
    before = {name: value.clone() for name, value in loaded.encoder.backbone.state_dict().items()}
    fresh.initialise(fresh=True)
    loaded.initialise(fresh=False)
    assert not fresh.encoder.backbone.pos_embed.requires_grad
    assert fresh.encoder.backbone.pos_embed[0, 1, : 64 // 4].tolist() == [0.0] * 16  # sines of row 0
    for name, value in loaded.encoder.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("method", [name for name in METHODS if name in ("ijepa", "data2vec2", "ibot", "dinov2")])
def test_a_teacher_is_a_moving_average_of_its_student(method):
    model = make(method)
    model.initialise(fresh=True)
    student, teacher = (
        model.encoder.backbone.norm.weight,
        dict(model.named_parameters())[f"{model.exported}.norm.weight"],
    )
    assert torch.equal(student, teacher)
    with torch.no_grad():
        student += 1
    momentum = model.momentum[0] if method == "data2vec2" else model.momentum
    before = teacher.clone()
    model.end_step(0.0)
    torch.testing.assert_close(teacher, momentum * before + (1 - momentum) * student)
    assert not model.train().teacher.module.training


@pytest.mark.parametrize("method", ["ibot", "dinov2"])
def test_the_head_of_a_teacher_normalises_over_the_batch_as_that_of_its_student(method):
    model = make(method, batch_norm=True).train()
    x = torch.randn(6, model.grid.channels) + 3
    head = model.teacher.module["head"]
    with torch.no_grad():
        model.head(torch.randn(6, model.grid.channels))  # no statistics of this batch are kept
        assert torch.equal(head(x), model.head(x))
    assert not any("running" in name for name in model.state_dict())


def test_schedules_are_the_formulas_of_the_papers():
    steps = [warmup_cosine(step / 100, peak=1.0, end=0.1, warmup=0.1) for step in range(101)]
    assert steps[0] == 0
    assert steps[5] == pytest.approx(0.5)
    assert steps[10] == pytest.approx(1)
    assert steps[55] == pytest.approx(0.55)  # the middle of the cosine
    assert steps[100] == pytest.approx(0.1)
    assert [cosine(done, 0.996, 1.0) for done in (0, 0.5, 1)] == pytest.approx([0.996, 0.998, 1.0])
    assert [linear(done, 0.04, 0.07) for done in (0, 0.5, 1, 2)] == pytest.approx([0.04, 0.055, 0.07, 0.07])


@pytest.mark.parametrize(
    ("method", "batch", "lr"),
    [("mae", 4096, 2.4e-3), ("simmim", 2048, 8e-4), ("ijepa", 2048, 1e-3), ("dinov2", 1024, 4e-3)],
)
def test_learning_rates_are_those_of_the_papers(method, batch, lr):
    recipe = importlib.import_module(f"methods.{method}").Method.recipe
    assert recipe.scaled(recipe.base_lr, batch) == pytest.approx(lr)


def test_masked_autoencoding_is_exact():
    model = make("mae").eval()
    images = torch.rand(4, 3, 32, 32)
    (mask,) = draw(model)
    loss = model([images], [mask])

    patches = images.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).flatten(1, 2).flatten(2)
    targets = (patches - patches.mean(-1, keepdim=True)) / (patches.var(-1, keepdim=True) + 1e-6).sqrt()
    features, _, restore = model.encoder(images, mask)
    predicted = model.decoder(features, mask, restore)
    torch.testing.assert_close(loss, (predicted - targets)[mask].square().mean())


def test_histograms_are_of_the_patch_that_predicts_them():
    model = make("maskfeat")
    views = model.views([0.0] * 3, [1.0] * 3)
    stripes = torch.zeros(3, 32, 32)
    stripes[1, 8:16, 24::2] = 1.0  # in the patch of row 1, column 3, in green
    histograms = views.histograms(stripes).view(4, 4, 3, 2, 2, 9)
    assert histograms[1, 3, 1].any(dim=-1).all()  # each cell of this patch
    assert not histograms[:, :, [0, 2]].any()
    assert not histograms[3].any()


def test_targets_lie_outside_of_the_context():
    model = make("ijepa")
    hidden, context, targets = draw(model, batch=8)
    assert hidden.shape == (8, 16)
    assert not hidden.gather(1, context).any()
    assert hidden.gather(1, targets.flatten(1)).all()


def test_each_image_has_several_masks_in_data2vec():
    (masks,) = draw(make("data2vec2", masks=3), batch=4)
    assert masks.shape == (4, 3, 16)
    assert set(masks.sum(dim=2).flatten().tolist()) == {13}


def test_crops_of_an_image_agree_without_a_loss():
    """Student and teacher that say the same of every crop: the loss is the entropy of what they say."""
    model = make("ibot", local_crops=0, temperatures=(0.1, 0.1)).eval()
    model.initialise(fresh=True)
    image = torch.rand(4, 3, 32, 32)
    mask = torch.zeros(8, 16, dtype=torch.bool)
    mask[:, 0] = True
    torch.nn.init.zeros_(model.head.layers[-1].weight)  # every feature to the same point
    torch.nn.init.ones_(model.head.layers[-1].bias)
    model.initialise(fresh=True)
    classes, patches, features = model.compare([image, image], mask)
    said = (model.head(features[:1])[0] / 0.1).softmax(dim=0)
    entropy = -(said * said.log()).sum()
    torch.testing.assert_close(classes, entropy)
    torch.testing.assert_close(patches, entropy)


def test_crops_are_cut_out_and_nothing_else_where_nothing_is_distorted():
    model = make("ibot", distort=False)
    model.crop_scale, model.flip = (1.0, 1.0), False
    image = torch.rand(3, 32, 32)
    for view in model.views([0.5] * 3, [2.0] * 3)(image)[:2]:  # of the same area, but maybe not of its proportions
        assert view.min() >= (image.min() - 0.6) / 2
    assert all(len(crop.transforms) == 2 for crop in model.views([0.5] * 3, [2.0] * 3).crops)


def test_dinov2_masks_half_of_the_crops():
    (mask,) = draw(make("dinov2"), batch=8)
    assert mask.shape == (8, 2, 16)
    assert int(mask.flatten(0, 1).any(dim=1).sum()) == 8
