"""Models that are written to mislead a splitter: each is refused, or its split does exactly what the model does."""

import ast
import copy
import importlib
import sys
from pathlib import Path

import pytest
import torch

from codegen.generate import generate
from codegen.package.writer import write_package
from codegen.source.release import find_release
from codegen.types import Refusal

METHOD = "forward_features"
FOLDER = Path(__file__).parent / "nasty_models"
MODELS = [
    f"{path.stem}.{node.name}"
    for path in sorted(FOLDER.glob("*.py"))
    for node in ast.parse(path.read_text(encoding="utf-8")).body
    if isinstance(node, ast.ClassDef) and any(isinstance(n, ast.FunctionDef) and n.name == METHOD for n in node.body)
]
# what crosses has the batch size in it and cannot be recomputed: the stages say that the rows do not fit
CROSSES = {"nasty_batch.WholeShape", "nasty_batch.Counted"}


@pytest.fixture(scope="module")
def package():
    return generate(find_release(None, FOLDER))


@pytest.fixture(scope="module")
def splits(package, tmp_path_factory):
    root = tmp_path_factory.mktemp("nasty")
    write_package(root / "nasty_splits", package.files)
    sys.path[:0] = [str(root), str(FOLDER)]
    try:
        yield importlib.import_module("nasty_splits")
    finally:
        del sys.path[:2]


def images_for(path, count):
    side = 32 if path == "joined_streams.FramesViT" else 8  # the others have patches of any size
    return torch.randn(count, 3, side, side)


def made(path):
    module, _, name = path.rpartition(".")
    torch.manual_seed(0)
    return getattr(importlib.import_module(module), name)()


def twin_of(package, splits, path):
    if any(o.path == path and isinstance(o.result, Refusal) for o in package.outcomes):
        return None
    return splits.split(made(path))


def observed(model, features):
    model.zero_grad()
    parts = list(features.values()) if isinstance(features, dict) else [features]
    sum(part.sum() for part in parts).backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    modes = {name: m.training for name, m in model.named_modules()}
    return [part.detach() for part in parts], gradients, modes, dict(model.named_buffers()), torch.get_rng_state()


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("path", MODELS)
def test_the_original_runs(splits, path):
    assert made(path).forward_features(images_for(path, 2)) is not None


@pytest.mark.parametrize("training", [False, True], ids=["eval", "training"])
@pytest.mark.parametrize("path", MODELS)
def test_halves_and_whole_do_what_the_model_does_twice(package, splits, path, training):
    if twin_of(package, splits, path) is None:
        return
    images = [images_for(path, 2) for _ in range(2)]
    runs = []
    for way in ("original", "whole", "halves"):
        model = made(path) if way == "original" else twin_of(package, splits, path)
        model.train(training)
        torch.manual_seed(1)
        run = []
        for x in images:
            y = model.forward_stages(model.embed(x)) if way == "halves" else model.forward_features(x)
            run.append(copy.deepcopy(observed(model, y)))
        runs.append(run)
    assert_same(runs[1], runs[0])
    assert_same(runs[2], runs[0])


@pytest.mark.parametrize("path", MODELS)
def test_an_embedding_is_not_changed_by_the_next(package, splits, path):
    if twin_of(package, splits, path) is None:
        return
    a, b = images_for(path, 2), images_for(path, 3)
    results = []
    for interrupted in (False, True):
        model = twin_of(package, splits, path).eval()
        embedding = model.embed(a)
        if interrupted:
            model.embed(b)
        torch.manual_seed(1)
        results.append(model.forward_stages(embedding))
    assert_same(results[1], results[0])


@pytest.mark.parametrize("path", MODELS)
def test_rows_of_an_embedding_may_be_selected_and_repeated(package, splits, path):
    model = twin_of(package, splits, path)
    if model is None:
        return
    model.eval()
    images, rows = images_for(path, 2), [1, 0, 0]
    embedding = model.embed(images)
    tokens = embedding if isinstance(embedding, torch.Tensor) else embedding[0]
    if tokens.shape[0] != 2:
        return  # its first dimension is not the batch
    if not isinstance(embedding, torch.Tensor) and any(
        not isinstance(value, torch.Tensor | int | float | str | None) for value in embedding[1:]
    ):
        return  # an object that crosses has rows of its own, which only its author can select
    if isinstance(embedding, torch.Tensor):
        chosen = embedding[rows]
    else:
        fields = {name: value for name, value in embedding._asdict().items() if isinstance(value, torch.Tensor)}
        chosen = embedding._replace(**{name: v[rows] for name, v in fields.items() if v.shape[:1] == (2,)})
    if path in CROSSES:
        with pytest.raises(RuntimeError, match="is invalid for input of size"):
            model.forward_stages(chosen)
    else:
        expected = twin_of(package, splits, path).eval().forward_features(images[rows])
        torch.testing.assert_close(model.forward_stages(chosen), expected)


REFUSED = {
    "default_cache.DefaultCache": "a default value is a dictionary",
    "frozen_stem.M": "it changes the mode of the model",
    "init_subclass.M": "`__init_subclass__` of Base would run for its split too",
    "rebound_submodule_method.Leak4": "which the embedding leaves on the model",
    "stem_from_argument.M": "it reads `self.patch_embed.mean`, which the embedding leaves on the model",
    "submodule_state.Leak3": "which the embedding leaves on the model",
}


@pytest.mark.parametrize(("path", "reason"), REFUSED.items(), ids=REFUSED)
def test_what_cannot_be_taken_apart_is_refused_with_the_reason(package, path, reason):
    (result,) = (outcome.result for outcome in package.outcomes if outcome.path == path)
    assert isinstance(result, Refusal), result
    assert reason in result.reason


FINE = [path for path in MODELS if path.startswith(("nasty_fine.", "class_decorator.", "star_import."))]


@pytest.mark.parametrize("path", FINE)
def test_what_only_looks_dangerous_is_split(package, path):
    (result,) = (outcome.result for outcome in package.outcomes if outcome.path == path)
    assert not isinstance(result, Refusal), result.reason


BOUNDARIES = {
    "functional_dropout.FunctionalDropout": "x = F.dropout(x, p=0.1, training=self.training)",
    "helper_with_position_and_blocks.Helper": "x = self.pos_drop(x)",
    "joined_streams.FramesViT": "x = x + self.pos_embed",
}


@pytest.mark.parametrize(("path", "statement"), BOUNDARIES.items(), ids=BOUNDARIES)
def test_the_embedding_ends_where_it_is_complete(package, path, statement):
    (result,) = (outcome.result for outcome in package.outcomes if outcome.path == path)
    assert result.boundary.statement == statement


def test_patches_are_complete_after_several_streams_are_joined(package):
    (result,) = (outcome.result for outcome in package.outcomes if outcome.path == "joined_streams.FramesViT")
    assert result.patches.statement == "x = torch.cat([x1, x2], dim=1)"
