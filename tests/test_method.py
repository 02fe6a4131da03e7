"""``--method``: user models that embed and run their blocks in another method than ``forward_features``."""

import importlib
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from codegen.cli import main

MODELS = """
    import torch
    from torch import nn


    class Block(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.norm = nn.LayerNorm(dim)
            self.fc = nn.Linear(dim, dim)

        def forward(self, x):
            return x + self.fc(self.norm(x))


    class Patches(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.proj = nn.Conv2d(3, dim, 4, 4)

        def forward(self, x):
            return self.proj(x).flatten(2).transpose(1, 2)


    class Plain(nn.Module):
        def __init__(self, dim=8):
            super().__init__()
            self.patch_embed = Patches(dim)
            self.pos_embed = nn.Parameter(torch.randn(1, 4, dim))
            self.blocks = nn.ModuleList([Block(dim) for _ in range(2)])
            self.head = nn.Linear(dim, 3)

        def forward(self, images):
            x = self.patch_embed(images)
            x = x + self.pos_embed
            for block in self.blocks:
                x = block(x)
            return self.head(x.mean(1))


    class Encoding(Plain):
        def encode(self, images, scale=1.0):
            x = self.patch_embed(images)
            x = x + self.pos_embed
            for block in self.blocks:
                x = block(x) * scale
            return x

        def forward(self, images):
            return self.head(self.encode(images, 0.5).mean(1))


    class Small(Plain):
        pass


    class Stateful(Plain):
        def forward(self, images):
            x = self.patch_embed(images)
            self.length = x.shape[1]
            x = x + self.pos_embed
            for block in self.blocks:
                x = block(x)
            return x[:, :self.length]


    class Calling(Plain):
        def forward(self, images):
            return super().forward(images)
"""


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The packages for ``forward`` and ``encode``, and the module of the models."""
    root = tmp_path_factory.mktemp("methods")
    (root / "methods_model.py").write_text(textwrap.dedent(MODELS))
    for method in ("forward", "encode"):
        output = root / f"methods_{method}"
        result = run("generate", "--source", root / "methods_model.py", "--output", output, "--method", method)
        assert result.exit_code == 0, result.output
    sys.path.insert(0, str(root))
    names = ("methods_forward", "methods_encode", "methods_model")
    try:
        yield {name.removeprefix("methods_"): importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(root))


def classes(package):
    return json.loads((Path(package.__file__).parent / "manifest.json").read_text())["classes"]


def test_classes_that_have_it_and_run_blocks_are_the_models(packages):
    found = {name.rpartition(".")[2]: "split" in entry for name, entry in classes(packages["forward"]).items()}
    assert found == {"Plain": True, "Small": True, "Stateful": False, "Encoding": True, "Calling": True}
    assert {name.rpartition(".")[2] for name in classes(packages["encode"])} == {"Encoding"}


def test_the_manifest_says_which(packages):
    manifest = json.loads((Path(packages["encode"].__file__).parent / "manifest.json").read_text())
    assert manifest["method"] == "encode"


@pytest.mark.parametrize(
    ("method", "name"),
    [("forward", "Plain"), ("forward", "Small"), ("forward", "Encoding"), ("encode", "Encoding")],
)
def test_the_split_is_what_the_method_was(packages, method, name):
    torch.manual_seed(0)
    original = getattr(packages["model"], name)()
    images = torch.randn(3, 3, 8, 8)
    expected = getattr(original, method)(images)
    whole = original(images)
    model = packages[method].split(original)
    packages[method].check(model, images)
    assert torch.equal(model.forward_stages(model.embed(images)), expected)
    assert torch.equal(getattr(model, method)(images), expected)
    assert torch.equal(model(images), whole)


def test_its_own_parameters_stay(packages):
    model = packages["encode"].split(packages["model"].Encoding())
    images = torch.randn(2, 3, 8, 8)
    packages["encode"].check(model, images, scale=2.0)
    assert torch.equal(model.encode(images, 2.0), model.forward_stages(model.embed(images), scale=2.0))


def test_hooks_run_as_they_did(packages):
    model = packages["forward"].split(packages["model"].Plain())
    ran = []
    model.register_forward_hook(lambda *_: ran.append("after"))
    model.register_forward_pre_hook(lambda *_: ran.append("before"))
    model(torch.randn(2, 3, 8, 8))
    assert ran == ["before", "after"]


def test_check_finds_a_method_that_does_something_else(packages):
    package = packages["forward"]
    model = package.split(packages["model"].Plain())
    broken = type("Broken", (type(model),), {"forward": lambda self, images: self.head(self.embed(images).mean(1))})
    model.__class__ = broken
    with pytest.raises(package.CheckError, match="forward: feature 0 differs"):
        package.check(model, torch.randn(2, 3, 8, 8))


def test_a_model_whose_class_overrides_it_is_not_split(packages):
    class Own(packages["model"].Plain):
        def forward(self, images):
            return images

    with pytest.raises(TypeError, match="has its own forward in place of"):
        packages["forward"].split(Own())


@pytest.mark.parametrize("name", ["embed", "forward_stages", "__call__", "a b", "embed_patches", "1"])
def test_what_no_method_of_a_model_can_be_called_is_refused(tmp_path, name):
    result = run("list", "--source", tmp_path, "--method", name)
    assert result.exit_code == 2
    assert "name a method of your models" in result.output


def test_timms_own_models_are_split_at_forward_features():
    result = run("list", "--method", "forward")
    assert result.exit_code == 2
    assert "--method is for your own models" in " ".join(result.output.split())


def test_a_class_that_has_it_and_no_blocks_that_are_known_is_named(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\nclass Mine(nn.Module):\n    def encode(self, x):\n        return self.v.patch_embed(x)\n"
    )
    result = run("list", "--source", tmp_path / "mine.py", "--method", "encode")
    assert result.exit_code == 2
    assert "no attribute of Mine is known for its blocks in encode" in " ".join(result.output.split())


def test_no_class_has_it(packages):
    result = run("list", "--source", packages["model"].__file__, "--method", "unheard")
    assert result.exit_code == 2
    assert "holds no class that has the method unheard" in " ".join(result.output.split())


def test_list_show_and_verify_take_it(packages):
    source = packages["model"].__file__
    assert "Encoding" in run("list", "--source", source, "--method", "encode").output
    assert "def encode" in run("show", "Encoding", "--source", source, "--method", "encode").output


@pytest.mark.parametrize("method", ["forward", "encode"])
def test_verify_builds_and_checks(packages, method):
    source = packages["model"].__file__
    command = [sys.executable, "-m", "codegen", "verify", "--source", source, "--method", method]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
