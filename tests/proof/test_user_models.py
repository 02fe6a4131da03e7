"""User models are built, split and checked."""

import json
from pathlib import Path

import pytest

from codegen.errors import UsageError
from codegen.generate import generate
from codegen.package.writer import write_package
from codegen.proof.user_models import check_package, verify_user_models
from codegen.source.release import find_release

SOURCE = '''
import torch
from torch import nn


class Block(nn.Module):
    def forward(self, x):
        return x * 2


class Tiny(nn.Module):
    def __init__(self{parameters}):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 6, 4, 4)
        self.pos_embed = nn.Parameter(torch.zeros(1, 6, 2, 2))
        self.blocks = nn.Sequential(nn.Conv2d(6, 6, 1), Block())

    def forward_features(self, x):
        x = self.patch_embed(x)
        x = x + self.pos_embed
        return self.blocks(x)
'''


def source(folder: Path, parameters: str = "") -> Path:
    path = folder / "tiny_models.py"
    path.write_text(SOURCE.format(parameters=parameters))
    return path


def test_a_class_that_can_be_built_is_checked(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    assert verify_user_models(find_release(None, source(tmp_path)), ["Ti*"], report) == 0
    assert "1 of 1 names hold" in capfd.readouterr().out
    (result,) = json.loads(report.read_text())["names"]
    assert (result["name"], result["verdict"]) == ("Tiny", "holds")
    assert result["checks"] == [{"name": "check", "verdict": "holds", "detail": "images of 8 x 8"}]


def test_one_that_takes_arguments_is_not_run_and_says_what_to_do(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert verify_user_models(find_release(None, source(tmp_path, ", width")), []) == 1
    out = capfd.readouterr().out
    assert "not run  Tiny" in out
    assert "build a Tiny yourself, and call check(split(model), images)" in out


def test_a_split_that_is_wrong_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "wrong_splits"
    files = dict(generate(find_release(None, source(tmp_path))).files)
    files["tiny_models.py"] = files["tiny_models.py"].replace("return self.blocks(x)", "return self.blocks(x) + 1")
    write_package(package, files)
    (result,) = check_package(package, []).names
    assert result.verdict == "fails"
    assert "feature 0 differs by up to 1" in result.checks[0].detail
    with pytest.raises(UsageError, match="no class is named Other: there are Tiny"):
        check_package(package, ["Other"])
