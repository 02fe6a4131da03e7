import json
import sys
from pathlib import Path

import pytest
import timm

from codegen.errors import TimmSplitError, UsageError
from codegen.proof import generated_package as packages

from .conftest import VIT, manifest


def test_the_manifest_says_what_each_name_is_and_what_is_refused(package):
    found = packages.find(package)
    assert found.classes["test_vit"] == VIT
    assert found.refused == {"timm.models.resnet.ResNet": "it has no stem"}


def test_the_package_here_is_the_default(package, monkeypatch):
    package.rename(package.parent / "generated")
    monkeypatch.chdir(package.parent)
    assert packages.find(None).directory == package.parent / "generated"


def test_a_package_is_imported_by_its_path_under_its_name(package, monkeypatch):
    (package / "part.py").write_text("value = 7\n")
    (package / "__init__.py").write_text("from handmade.part import value\nfrom . import part\n")
    (package.parent / "json.py").write_text("raise SystemExit\n")  # what lies beside a package hides nothing
    path = list(sys.path)
    module = packages.load(package)
    for name in ("handmade", "handmade.part"):
        monkeypatch.delitem(sys.modules, name)
    assert module.__name__ == "handmade"
    assert module.value == 7
    assert sys.path == path


def test_a_package_that_cannot_be_imported_is_a_failure_in_one_line(package):
    (package / "__init__.py").write_text("raise ImportError('made for another timm')\n")
    with pytest.raises(TimmSplitError, match="made for another timm") as error:
        packages.load(package)
    assert error.value.exit_code == 1
    assert "handmade" not in sys.modules


def test_a_directory_without_a_manifest_is_not_a_package(package):
    (package / "manifest.json").unlink()
    with pytest.raises(UsageError, match="is not a package that timm-split generated"):
        packages.find(package)
    with pytest.raises(UsageError, match="is not a package that timm-split generated"):
        packages.find(package / "missing")


def test_a_damaged_manifest_is_reported(package):
    (package / "manifest.json").write_text("{")
    with pytest.raises(UsageError, match=r"manifest\.json is damaged"):
        packages.find(package)


def test_a_package_of_an_older_generator_is_refused(package):
    (package / "manifest.json").write_text(json.dumps(manifest(format=1)))
    with pytest.raises(UsageError, match="has format 1"):
        packages.find(package)


def test_a_package_for_another_timm_is_refused_with_the_command_that_regenerates(package):
    (package / "manifest.json").write_text(json.dumps(manifest(timm_version="0.0.1")))
    with pytest.raises(UsageError, match=r"made for timm 0\.0\.1.*timm-split generate --timm-version 1\.") as error:
        packages.find(package)
    assert f"--output {package}" in str(error.value)


@pytest.mark.parametrize("version", ["0.0.1", None, timm.__version__])
def test_a_package_for_user_models_is_refused_and_not_to_be_overwritten_by_timms(package, version):
    (package / "manifest.json").write_text(json.dumps(manifest(timm_version=version, user_source="my_model.py")))
    with pytest.raises(UsageError, match=r"is for the models of my_model\.py, .* docs/user-models\.md") as error:
        packages.find(package)
    assert "generate" not in str(error.value)


def test_a_package_that_needs_no_timm_is_refused(package):
    (package / "manifest.json").write_text(json.dumps(manifest(timm_version=None)))
    with pytest.raises(UsageError, match="made for models that need no timm, and timm 1"):
        packages.find(package)


def test_the_stride_of_a_stem_does_not_make_a_model_sound_small():
    names = ["vit_large_r50_s32_224", "vit_base_patch16_224", "vit_tiny_r_s16_p8_224"]
    package = packages.GeneratedPackage(Path(), "1.0.31", dict.fromkeys(names, VIT), {})
    assert packages.one_of_each(package, names) == ["vit_tiny_r_s16_p8_224"]
    assert packages.one_of_each(package, names[:2]) == ["vit_base_patch16_224"]


@pytest.mark.parametrize("name", ["fastvit_t8", "fastvit_s12", "mobilevit_xxs", "tf_efficientnetv2_s", "test_vit"])
def test_a_size_in_letters_sounds_small(name):
    names = ["a_b", name]
    package = packages.GeneratedPackage(Path(), "1.0.31", dict.fromkeys(names, VIT), {})
    assert packages.one_of_each(package, names) == [name]
