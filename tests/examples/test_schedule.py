"""What changes over a run, as the loop sets it, against the papers' formulas written out; drawn to ``tmp_path``."""

import math
from pathlib import Path

import pytest
import torch
from methods import data2vec2, dinov2, ibot, ijepa, mae, maskfeat, simmim
from pretrain import Plan, Settings, main
from test_methods import make

EPOCHS, STEPS = 40, 10  # steps of an epoch
METHODS = {
    "mae": mae,
    "simmim": simmim,
    "maskfeat": maskfeat,
    "data2vec2": data2vec2,
    "ijepa": ijepa,
    "ibot": ibot,
    "dinov2": dinov2,
}


def half_cosine(part: float) -> float:
    """From 1 to 0."""
    return (1 + math.cos(math.pi * part)) / 2


def plan(method: str, batch_size: int) -> Plan:
    """That of a run with nothing but defaults."""
    context = main.make_context("pretrain", ["test_vit", "--epochs", str(EPOCHS), "--batch-size", str(batch_size)])
    return Plan(Settings(**(context.params | {"method": method})), METHODS[method].Method)


def draw(path: Path, **curves: list[float]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(curves), 3), layout="constrained")
    for panel, (name, values) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
        panel.plot(values)
        panel.set(title=name, xlabel="step")
    figure.savefig(path)


# the peak for a batch of 512, the end, the part of the run that warms up, weight decay at the start and the end
PAPERS = {
    "mae": (1.5e-4 * 2, 0, 40 / 800, 0.05, 0.05),
    "simmim": (1e-4 * 2, 5e-6 * 2, 10 / 100, 0.05, 0.05),
    "maskfeat": (2e-4 * 2, 0, 30 / 300, 0.05, 0.05),
    "data2vec2": (1e-3 * 2, 0, 10 / 75, 0.05, 0.05),
    "ijepa": (1e-3 / 4, 1e-6 / 4, 40 / 300, 0.04, 0.4),
    "ibot": (7.5e-4 * 2, 2e-6 / 2, 10 / 400, 0.04, 0.4),
    "dinov2": (4e-3 / math.sqrt(2), 1e-6 / math.sqrt(2), 10 / 100, 0.04, 0.4),
}


@pytest.mark.parametrize("method", METHODS)
def test_learning_rate_and_weight_decay_follow_the_paper(method, tmp_path):
    peak, end, warmup, decay, decay_end = PAPERS[method]
    weights, vectors = torch.nn.Parameter(torch.zeros(2, 2)), torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.AdamW(
        [{"params": [weights], "weight_decay": decay}, {"params": [vectors], "weight_decay": 0.0}]
    )
    run, total = plan(method, 512), EPOCHS * STEPS
    rates, decays = [], []
    for step in range(total):
        run.apply(optimizer, step / total)
        with_decay, without = optimizer.param_groups
        assert without["lr"] == with_decay["lr"]
        assert without["weight_decay"] == 0
        rates.append(with_decay["lr"])
        decays.append(with_decay["weight_decay"])
    draw(tmp_path / f"{method}.png", lr=rates, weight_decay=decays)

    warm = warmup * total
    for step in range(total):
        after = end + (peak - end) * half_cosine((step - warm) / (total - warm))
        assert rates[step] == pytest.approx(peak * step / warm if step < warm else after, rel=1e-9)
        assert decays[step] == pytest.approx(decay_end + (decay - decay_end) * half_cosine(step / total), rel=1e-9)


# the momentum of the teacher where a part of the run is done
MOMENTA = {
    "data2vec2": lambda done: 0.9998 + (0.99999 - 0.9998) * min(done / 0.27, 1),  # a line, then constant
    "ijepa": lambda done: 0.996 + (1 - 0.996) * done,  # a line
    "ibot": lambda done: 1 - (1 - 0.996) * half_cosine(done),
    "dinov2": lambda done: 1 - (1 - 0.992) * half_cosine(done),
}


@pytest.mark.parametrize("method", MOMENTA)
def test_the_momentum_of_a_teacher_follows_the_paper(method, tmp_path, monkeypatch):
    model = make(method)
    found: list[float] = []
    monkeypatch.setattr(model.teacher, "follow", lambda student, momentum: found.append(momentum))
    parts = [step / 100 for step in range(100)]
    for done in parts:
        model.end_step(done)
    draw(tmp_path / f"{method}.png", momentum=found)
    assert found == pytest.approx([MOMENTA[method](done) for done in parts], rel=1e-12)


@pytest.mark.parametrize(("method", "warmup"), [("ibot", 50 / 400), ("dinov2", 30 / 100)])
def test_the_temperature_of_a_teacher_rises_at_first(method, warmup, tmp_path):
    model, found = make(method), []
    parts = [step / 100 for step in range(100)]
    for done in parts:
        model.begin_step(done)
        found.append(model.temperature)
    draw(tmp_path / f"{method}.png", temperature=found)
    assert found == pytest.approx([0.04 + 0.03 * min(done / warmup, 1) for done in parts], rel=1e-12)
