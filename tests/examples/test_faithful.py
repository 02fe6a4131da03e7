"""Where the methods follow their papers' code in detail: gradients, decay, the end of the schedule, rare batches."""

import importlib

import pytest
import torch
from pretrain import METHODS
from test_methods import SMALL, draw, make
from timm.optim import create_optimizer_v2

import generated


@pytest.mark.parametrize(
    ("method", "batch", "end"), [("ijepa", 2048, 1e-6), ("ibot", 1024, 2e-6), ("dinov2", 1024, 1e-6)]
)
def test_the_learning_rate_ends_where_the_paper_says_for_its_batch(method, batch, end):
    recipe = importlib.import_module(f"methods.{method}").Method.recipe
    assert recipe.scaled(recipe.min_lr, batch) == pytest.approx(end)


def gradients(model) -> dict[str, torch.Tensor]:
    """Large ones, of which each has another norm."""
    for number, parameter in enumerate(p for p in model.parameters() if p.requires_grad):
        parameter.grad = torch.full_like(parameter, 1.0 + number)
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("method", ["mae", "simmim", "maskfeat", "data2vec2"])
def test_gradients_are_clipped_together(method):
    model = make(method)
    grads = gradients(model)
    model.clip_gradients(2.0)
    assert torch.stack([grad.norm() for grad in grads.values()]).norm() == pytest.approx(2.0, rel=1e-4)


def test_ibot_clips_the_gradient_of_each_parameter():
    model = make("ibot")
    grads = gradients(model)
    model.clip_gradients(0.3)
    assert [float(grad.norm()) for grad in grads.values()] == pytest.approx([0.3] * len(grads), rel=1e-4)


def test_dinov2_clips_backbone_and_head_apart():
    model = make("dinov2")
    grads = gradients(model)
    model.clip_gradients(3.0)
    for part in ("encoder", "head"):
        norms = [grad.norm() for name, grad in grads.items() if name.startswith(f"{part}.")]
        assert torch.stack(norms).norm() == pytest.approx(3.0, rel=1e-4)


@pytest.mark.parametrize("method", ["mae", "ijepa", "ibot", "dinov2"])
def test_nothing_but_vectors_is_spared_from_weight_decay(method):
    """The class token and positions that are trained decay: these papers' code exempts biases and norms alone."""
    model = make(method)
    decayed = {
        id(parameter)
        for group in create_optimizer_v2(model, "adamw", lr=1.0, weight_decay=0.1).param_groups
        if group["weight_decay"]
        for parameter in group["params"]
    }
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert (id(parameter) in decayed) == (parameter.ndim > 1), name


@pytest.mark.parametrize("method", ["ibot", "dinov2"])
def test_a_process_whose_crops_are_all_whole_trains_on(method):
    """Of a small batch it happens that none is masked: there is no loss between patches, and all gets a gradient."""
    model = make(method).train()
    model.initialise(fresh=True)
    views = model.views([0.5] * 3, [0.5] * 3)
    batch = [torch.stack(tensors) for tensors in zip(*(views(torch.rand(3, 40, 40)) for _ in range(2)), strict=True)]
    (mask,) = draw(model, batch=2)
    loss = model(batch, [torch.zeros_like(mask)])
    loss.backward()
    assert loss.isfinite()
    assert model.patch_loss.center.value.isfinite().all()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize("method", METHODS)
def test_trying_a_method_changes_nothing(method):
    model = make(method)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.try_out([0.5] * 3, [0.5] * 3, channels=3)
    assert not model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_backbone_that_takes_one_size_alone_is_refused_before_training():
    """A Swin of 64 x 64 pixels does not take local crops of 32 x 32."""
    backbone = generated.create_model(
        "swin_tiny_patch4_window7_224", img_size=64, embed_dim=24, depths=(1, 1), num_heads=(2, 2), window_size=4
    )
    kind = importlib.import_module("methods.ibot").Method
    model = kind(backbone, torch.zeros(2, 3, 64, 64), **SMALL["ibot"])
    with pytest.raises(Exception, match=r"Input height"):
        model.try_out([0.5] * 3, [0.5] * 3, channels=3)
