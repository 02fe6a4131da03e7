"""The golden record: ``generated/`` is what the generator makes of timm, byte for byte, and its manifest is true."""

import ast
import functools
import gc
import os
import subprocess
import sys
import tarfile
import weakref
import zipfile

import pytest
from sources import CHECKOUT, GENERATED, committed_manifest, recorded, release_of, timm_package, timm_release

from codegen.generate import analyse, generate
from codegen.package.writer import differences
from codegen.source.index import Index
from codegen.types import METHOD

REFUSED = {
    "timm.models.densenet.DenseNet": 6,
    "timm.models.dpn.DPN": 7,
    "timm.models.hrnet.HighResolutionNetFeatures": 0,
    "timm.models.inception_v3.InceptionV3": 1,
    "timm.models.inception_v4.InceptionV4": 1,
    "timm.models.tresnet.TResNet": 4,
    "timm.models.vgg.VGG": 8,
}
PURE_CNNS = {
    "convmixer",
    "convnext",
    "cspnet",
    "cspnext",
    "densenet",
    "dla",
    "dpn",
    "efficientnet",
    "fasternet",
    "ghostnet",
    "hgnet",
    "hrnet",
    "inception_next",
    "inception_resnet_v2",
    "inception_v3",
    "inception_v4",
    "lcnetv2",
    "mambaout",
    "mobilenetv3",
    "nasnet",
    "nfnet",
    "pnasnet",
    "rdnet",
    "regnet",
    "repghost",
    "repvit",
    "resnet",
    "resnetv2",
    "rexnet",
    "selecsls",
    "senet",
    "starnet",
    "tresnet",
    "vgg",
    "vovnet",
    "xception",
    "xception_aligned",
}
CLASSES = committed_manifest()["classes"]
SPLIT = {path: entry for path, entry in CLASSES.items() if "split" in entry}


def test_regenerating_reproduces_the_committed_package_byte_for_byte():
    assert "\n".join(differences(GENERATED, timm_package().files)) == ""


def as_wheel(folder):
    with zipfile.ZipFile(folder / "timm.whl", "w") as archive:
        for path, text in timm_release().files.items():
            archive.writestr(path, text)
    return folder / "timm.whl"


def as_directory(folder):
    for path, text in timm_release().files.items():
        (folder / "unpacked" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "unpacked" / path).write_text(text, encoding="utf-8")
    return folder / "unpacked"


def as_sdist(folder):
    with tarfile.open(folder / "timm.tar.gz", "w:gz") as archive:
        archive.add(as_directory(folder), "timm-sdist")
    return folder / "timm.tar.gz"


# with neither, Python takes the locale C for one of UTF-8
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.mark.parametrize(
    ("source", "environment"),
    [
        (None, {"PYTHONHASHSEED": "0"}),
        (as_wheel, {"PYTHONHASHSEED": "1", **ASCII}),
        (as_directory, {"PYTHONHASHSEED": "2", "TZ": "Asia/Kathmandu", "COLUMNS": "20"}),
        (as_sdist, {"PYTHONHASHSEED": "3", "PYTHONOPTIMIZE": "2", **ASCII}),
    ],
    ids=["installed", "wheel", "directory", "sdist"],
)
def test_regenerating_by_the_command_reproduces_the_committed_package_byte_for_byte(tmp_path, source, environment):
    chosen = ["--source", source(tmp_path)] if source else ["--timm-version", committed_manifest()["timm_version"]]
    here = tmp_path / "working directory"
    here.mkdir()
    subprocess.run(
        [sys.executable, "-m", "codegen", "generate", *chosen, "--output", "again"],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), **environment},
        check=True,
        capture_output=True,
    )

    def content(folder):
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "__pycache__"}

    assert content(here / "again") == content(GENERATED)


def test_generating_twice_gives_the_same_text_whatever_the_order_of_hashes():
    assert generate(timm_release()).files == timm_package().files


@recorded
def test_what_is_refused_and_how_many_names_that_leaves():
    refused = {path: len(entry["models"]) for path, entry in CLASSES.items() if "refused" in entry}
    assert refused == REFUSED
    names = [name for entry in SPLIT.values() for name in entry["models"]]
    assert len(names) == len(set(names)) == 1344


@recorded
def test_every_transformer_hybrid_and_mixer_is_split():
    paths = {path: entry for path, entry in CLASSES.items() if path.split(".")[2] not in PURE_CNNS}
    assert paths.items() <= SPLIT.items()
    assert len(paths) == 60
    assert sum(len(entry["models"]) for entry in paths.values()) == 796


def test_every_class_with_forward_features_is_in_the_manifest():
    defining = {
        f"timm.models.{path.removeprefix('timm/models/').removesuffix('.py').replace('/', '.')}.{node.name}"
        for path, text in timm_release().files.items()
        if METHOD in text
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(member, ast.FunctionDef) and member.name == METHOD for member in node.body)
    }
    inheriting = {path for path, entry in SPLIT.items() if entry["split"]["inherits"]}
    assert defining | inheriting == set(CLASSES)


# What the manifest says of timm's source can be read there


@functools.cache
def lines(file: str) -> list[str]:
    return timm_release().files[file].splitlines()


@functools.cache
def statements(file: str) -> list[ast.stmt]:
    return [node for node in ast.walk(ast.parse(timm_release().files[file])) if isinstance(node, ast.stmt)]


@pytest.mark.parametrize("path", CLASSES)
def test_the_line_of_a_class_is_that_of_its_method_or_of_itself_if_it_inherits(path):
    entry = CLASSES[path]
    inherits = "split" in entry and entry["split"]["inherits"]
    text = lines(entry["file"])[entry["line"] - 1]
    assert text.startswith(f"class {entry['class']}(" if inherits else f"    def {METHOD}(")


@pytest.mark.parametrize("path", SPLIT)
def test_the_boundary_of_a_class_reads_in_timm_as_the_manifest_says(path):
    boundary = SPLIT[path]["split"]["boundary"]
    ending = [node for node in statements(boundary["file"]) if node.end_lineno == boundary["line"]]
    first_lines = [lines(boundary["file"])[node.lineno - 1].strip() for node in ending]
    assert boundary["statement"] in first_lines


@pytest.mark.parametrize("path", [path for path in CLASSES if path not in SPLIT])
def test_the_line_that_a_refusal_names_is_in_the_method_and_holds_what_it_quotes(path):
    entry = CLASSES[path]
    refused = entry["refused"]
    assert refused["file"] == entry["file"]
    method = next(n for n in statements(entry["file"]) if isinstance(n, ast.FunctionDef) and n.lineno == entry["line"])
    assert method.lineno < refused["line"] <= method.end_lineno
    assert any(node.lineno == refused["line"] for node in ast.walk(method) if isinstance(node, ast.stmt))
    for attribute in refused["reason"].split("`")[1::2]:
        assert f"self.{attribute}" in "\n".join(lines(refused["file"]))


@pytest.mark.parametrize("path", SPLIT)
def test_stem_and_blocks_are_attributes_that_the_class_has(path):
    boundary = SPLIT[path]["split"]["boundary"]
    assert boundary["stem"]
    text = "\n".join(lines(boundary["file"]))
    for attribute in (*boundary["stem"], *boundary["blocks"]):
        assert f"self.{attribute.partition('.')[0]}" in text or attribute == "?"


# Only text is read


def test_generate_imports_nothing_of_timm_or_torch(tmp_path):
    script = f"""
import sys
from codegen.cli import main
try:
    main(["generate", "--output", {str(tmp_path / "out")!r}])
finally:
    loaded = {{name.partition(".")[0] for name in sys.modules}} & {{"timm", "torch", "torchvision", "numpy"}}
    print("loaded:", sorted(loaded), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "loaded: []"


def test_the_trees_of_a_release_go_with_its_analysis(monkeypatch):
    made = []

    def make(release):
        index = Index(release)
        made.append(weakref.ref(index))
        return index

    source = """
        class Tiny(nn.Module):
            def __init__(self):
                super().__init__()
                self.patch_embed = Embed()
                self.blocks = nn.Sequential(Block(), Block())

            def forward_features(self, x):
                x = self.patch_embed(x)
                return self.blocks(x)

        class Embed(nn.Module):
            def __init__(self):
                super().__init__()
                self.proj = nn.Conv2d(3, 8, 4)

            def forward(self, x):
                return self.proj(x).flatten(2).transpose(1, 2)
    """
    monkeypatch.setattr("codegen.generate.Index", make)
    gc.disable()
    try:
        assert [outcome.name for outcome in analyse(release_of(source))] == ["Tiny"]
        assert made[0]() is None
    finally:
        gc.enable()
