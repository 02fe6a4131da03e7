"""Models that are not timm's: what is read of them, what becomes of them, and that a split computes what they do.

``models/`` holds models in the manner of families outside timm, written for these tests.
"""

import copy
import importlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import timm
import torch
from click.testing import CliRunner

import codegen
from codegen.cli import main
from codegen.errors import TimmSplitError, UsageError
from codegen.generate import RenderedPackage, generate
from codegen.package.writer import write_package
from codegen.source import release, user_models
from codegen.source.release import find_release
from codegen.types import Inherited, Refusal, Split

MODELS = Path(__file__).parent / "user_models"
CHECKOUT = Path(codegen.__file__).parents[1]

# The last statement of the embedding, and what crosses beside the tokens.
SPLIT = {
    "compact.CompactTransformer": ("x = self.dropout(x)", ""),
    "compact.PlainTransformer": ("x = self.tokenizer(x).transpose(1, 2)", ""),
    "derived.NormedViT": ("x = self._pos_embed(x)", ""),
    "dropping.DroppingViT": ("x = x + self.pos_embed", "dropped"),
    "dropping.NamedFeaturesViT": ("x = x + self.pos_embed", ""),
    "late_token.LateTokenViT": ("x = self.pos_drop(x + self.pos_embed.view(1, N, C))", ""),
    "mae.MaeViT": ("x = self.pos_drop(x)", ""),
    "masked.BeitViT": ("x = self.pos_drop(x)", ""),
    "masked.DinoViT": ("x = self.prepare_tokens_with_masks(x, masks)", ""),
    "masked.IbotViT": ("x = self.prepare_tokens_with_masks(x, masks)", ""),
    "pyramid.ConvPyramid": ("x = self.downsample_layers[i](x)", ""),
    "pyramid.NamedPyramid": ("x, (H, W) = patch_embed(x)", "H W"),
    "pyramid.ZippedPyramid": ("x = drop(x)", "H W"),
    "registers.RegisterViT": ("x = x + self.pos_embed", ""),
    "rotary.FixedRotaryViT": ("x = self.patch_embed(x)", ""),
    "rotary.RotaryViT": ("rope = self.rope(seq_len + 1)", "rope"),
    "timm.models.vision_transformer.VisionTransformer": ("x = self._pos_embed(x)", ""),
    "trunks.TrunkViT": ("x = self.tokenizer(x)", ""),
    "video.TubeViT": ("x = x + self.pos_embed", ""),
    "video.UnfoldedVideo": ("x = x.flatten(1, 2)", "B"),
    "windows.SwinLike": ("x = self.pos_drop(x)", ""),
    "windows.WindowedViT": ("x = x + self.pos_embed.view(1, 4, 4, 16)", ""),
}
INHERITED = dict.fromkeys(
    ["derived.ShiftedViT", "derived.SmallViT"], "timm.models.vision_transformer.VisionTransformer"
)
# The statement that stands in the way, and why that is right.
REFUSED = {
    # The stages of one embedding would see the size of the images that were embedded last.
    "stateful.StateInBody": ("return x.transpose(1, 2).unflatten(2, (self.H, self.W))", "it reads `self.H`"),
    "stateful.StateInHelper": ("return x.transpose(1, 2).unflatten(2, (self.H, self.W))", "it reads `self.H`"),
    "stateful.StateInLayer": (
        "return x.transpose(1, 2).unflatten(2, tuple(self.patch_embed.grid))",
        "it reads `self.patch_embed.grid`",
    ),
    # Where the trunk begins cannot be told from its name, nor from what it holds.
    "trunks.OpaqueViT": ("return self.norm(x)", "no statement runs the blocks"),
    "trunks.PositionTrunkViT": ("return self.body(x)", "PositionTrunk, may give the tokens their position"),
    # A row of its tokens is a frame: those of a clip could not be selected.
    "video.FoldedVideo": ("x = x + self.pos_embed", "the tokens have each image in several rows"),
}
IMAGES = (2, 3, 8, 8)
CLIPS = (2, 2, 3, 8, 8)
TUBES = (2, 3, 4, 8, 8)
MASKS = torch.tensor([[True, False, False, True], [False, True, False, False]])
RUNS = [
    ("compact.CompactTransformer", {}, IMAGES, {}),
    ("compact.PlainTransformer", {}, IMAGES, {}),
    ("derived.NormedViT", {}, IMAGES, {}),
    ("derived.ShiftedViT", {}, IMAGES, {}),
    ("derived.SmallViT", {}, IMAGES, {}),
    ("dropping.DroppingViT", {}, (2, 3, 16, 16), {}),
    ("dropping.DroppingViT", {}, (2, 3, 16, 16), {"dropped": MASKS[:1].expand(2, -1)}),
    ("late_token.LateTokenViT", {}, IMAGES, {}),
    ("mae.MaeViT", {}, IMAGES, {}),
    ("mae.MaeViT", {"global_pool": True}, IMAGES, {}),
    ("masked.BeitViT", {}, IMAGES, {"bool_masked_pos": MASKS}),
    ("masked.IbotViT", {}, IMAGES, {}),
    ("masked.IbotViT", {"registers": 2}, IMAGES, {"masks": MASKS, "return_all_tokens": True}),
    ("pyramid.ConvPyramid", {}, (2, 3, 16, 16), {}),
    ("pyramid.NamedPyramid", {}, (2, 3, 16, 16), {}),
    ("pyramid.ZippedPyramid", {}, IMAGES, {}),
    ("registers.RegisterViT", {}, IMAGES, {}),
    ("registers.RegisterViT", {"head": False}, IMAGES, {}),
    ("registers.RegisterViT", {}, IMAGES, {"return_all_tokens": True}),
    ("rotary.FixedRotaryViT", {}, IMAGES, {}),
    ("rotary.RotaryViT", {}, IMAGES, {}),
    ("rotary.RotaryViT", {"with_position": False}, IMAGES, {}),
    ("trunks.TrunkViT", {}, IMAGES, {}),
    ("video.TubeViT", {}, TUBES, {}),
    ("video.UnfoldedVideo", {}, CLIPS, {}),
    ("windows.SwinLike", {}, IMAGES, {}),
    ("windows.SwinLike", {"ape": False}, IMAGES, {}),
    ("windows.WindowedViT", {}, IMAGES, {}),
]

PLAIN = """
    import torch.nn as nn


    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch_embed = nn.Conv2d(3, 4, 4, 4)
            self.blocks = nn.ModuleList([nn.ReLU()])

        def forward_features(self, x):
            x = self.patch_embed(x)
            for block in self.blocks:
                x = block(x)
            return x
    """
DERIVED = """
    from timm.models.vision_transformer import VisionTransformer


    class Derived(VisionTransformer):
        pass
    """


def write_files(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    return root


def paths_of(package: RenderedPackage) -> list[str]:
    return [outcome.path for outcome in package.outcomes]


def refused(source: Path, kind: type[TimmSplitError] = UsageError) -> str:
    with pytest.raises(kind) as caught:
        generate(find_release(None, source))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def package():
    return generate(find_release(None, MODELS))


@pytest.fixture(scope="module")
def splits(package, tmp_path_factory):
    """The generated package, imported."""
    root = tmp_path_factory.mktemp("own")
    write_package(root / "user_splits", package.files)
    before = set(sys.modules)
    sys.path[:0] = [str(root), str(MODELS)]
    try:
        yield importlib.import_module("user_splits")
    finally:
        del sys.path[:2]
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in {"user_splits", *(path.stem for path in MODELS.glob("*.py"))}:
                del sys.modules[name]


def class_of(path: str) -> type[torch.nn.Module]:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


# The families


def test_every_model_is_split_or_refused_as_expected(package):
    kinds = {Split: SPLIT, Inherited: INHERITED, Refusal: REFUSED}
    for kind, expected in kinds.items():
        assert {outcome.path for outcome in package.outcomes if type(outcome.result) is kind} == set(expected)


@pytest.mark.parametrize("path", SPLIT)
def test_the_embedding_ends_where_the_author_of_the_model_would_say(package, path):
    result = next(outcome.result for outcome in package.outcomes if outcome.path == path)
    statement, crossing = SPLIT[path]
    assert result.boundary.statement == statement
    assert " ".join(field.name for field in result.fields[1:]) == crossing


@pytest.mark.parametrize("path", REFUSED)
def test_a_refusal_names_the_statement_that_stands_in_the_way(package, path):
    result = next(outcome.result for outcome in package.outcomes if outcome.path == path)
    statement, reason = REFUSED[path]
    assert (MODELS / result.place.file).read_text().splitlines()[result.place.line - 1].strip() == statement
    assert reason in result.reason


# those whose patches get position or prefix tokens in statements of their own
HALVED = {
    *(
        "CompactTransformerSplit",
        "SmallViTSplit",
        "NormedViTSplit",
        "ShiftedViTSplit",
        "LateTokenViTSplit",
        "MaeViTSplit",
    ),
    *(
        "DroppingViTSplit",
        "NamedFeaturesViTSplit",
        "BeitViTSplit",
        "RegisterViTSplit",
        "RotaryViTSplit",
        "TubeViTSplit",
        "UnfoldedVideoSplit",
    ),
    *("SwinLikeSplit", "WindowedViTSplit"),
}


@pytest.mark.parametrize("training", [False, True], ids=["eval", "training"])
@pytest.mark.parametrize(("path", "made_with", "shape", "arguments"), RUNS)
def test_a_split_computes_exactly_what_the_model_does(splits, path, made_with, shape, arguments, training):
    torch.manual_seed(0)
    model = class_of(path)(**made_with).train(training)
    inputs = torch.randn(shape)
    twin = splits.split(copy.deepcopy(model))
    assert type(twin).__name__ == f"{type(model).__name__}Split"

    entry = importlib.import_module("user_splits._manifest").by_class()[path]["split"]
    split_class = getattr(importlib.import_module(f"user_splits.{entry['module']}"), entry["class"])
    taken = {}
    for name in ("embed", "embed_patches", "embed_positions", "forward_stages"):
        code = getattr(getattr(split_class, name, None), "__code__", None)
        names = code.co_varnames[: code.co_argcount] if code else ()
        taken[name] = {key: value for key, value in arguments.items() if key in names}
    torch.manual_seed(1)
    expected = model.forward_features(inputs, **arguments)
    torch.manual_seed(1)
    whole = twin.forward_features(inputs, **arguments)
    twin.load_state_dict(model.state_dict())  # running statistics have moved once in both
    torch.manual_seed(1)
    halves = twin.forward_stages(twin.embed(inputs, **taken["embed"]), **taken["forward_stages"])
    assert torch.equal(whole, expected)
    assert torch.equal(halves, expected)
    assert hasattr(twin, "embed_patches") == (entry["class"] in HALVED)
    if entry["class"] in HALVED:
        twin.load_state_dict(model.state_dict())
        torch.manual_seed(1)
        patches = twin.embed_patches(inputs, **taken["embed_patches"])
        embedding = twin.embed_positions(patches, **taken["embed_positions"])
        assert torch.equal(twin.forward_stages(embedding, **taken["forward_stages"]), expected)


def test_rows_of_an_embedding_may_be_repeated_where_the_batch_size_is_read_again(splits):
    model = splits.split(class_of("late_token.LateTokenViT")().eval())
    embedding = model.embed(torch.randn(IMAGES))
    once, thrice = model.forward_stages(embedding), model.forward_stages(embedding.repeat(3, 1, 1))
    torch.testing.assert_close(thrice, once.repeat(3, 1))


def test_a_mask_of_ones_own_goes_to_the_half_that_replaces_patches(splits):
    model = splits.split(class_of("masked.BeitViT")().eval())
    patches = model.embed_patches(torch.randn(IMAGES))
    none, all_ = (torch.full(patches.shape[:2], masked) for masked in (False, True))
    assert torch.equal(model.embed_positions(torch.zeros_like(patches), all_), model.embed_positions(patches, all_))
    assert not torch.equal(model.embed_positions(patches, none), model.embed_positions(patches, all_))


def test_models_of_ones_own_are_masked_like_timms(splits):
    masking = importlib.import_module("user_splits.masking")
    model = masking.MaskedImageModel(class_of("rotary.RotaryViT")(), mask_ratio=0.5, image_size=IMAGES[2:])
    features, mask, _ = model(torch.randn(IMAGES))
    assert mask.sum(dim=1).tolist() == [mask.shape[1] // 2] * 2
    assert features.shape[1] == mask.shape[1] + 1
    # the angles that its stages hold are those of all patches
    with pytest.raises(ValueError, match="need the whole grid"):
        masking.MaskedImageModel(class_of("rotary.FixedRotaryViT")(), strategy="drop", image_size=IMAGES[2:])


def test_videos_are_masked_in_tubes(splits):
    masking = importlib.import_module("user_splits.masking")
    model = masking.MaskedImageModel(
        class_of("video.TubeViT")(), strategy="drop", sampler="tube", mask_ratio=0.5, image_size=TUBES[2:]
    )
    features, mask, _ = model(torch.rand(TUBES))
    assert features.shape == (2, 4, 16)
    assert torch.equal(mask[:, :4], mask[:, 4:])


def test_a_model_that_drops_units_of_patches_itself_is_given_them(splits):
    masking = importlib.import_module("user_splits.masking")
    torch.manual_seed(0)
    model = masking.MaskedImageModel(
        class_of("dropping.DroppingViT")(), strategy="drop", mask_ratio=0.25, image_size=(16, 16)
    ).eval()
    images = torch.randn(2, 3, 16, 16)
    features, mask, _ = model(images)
    assert model.unit == 2
    assert mask.sum(dim=1).tolist() == [4, 4]
    patches = model.backbone.embed(images).x[~mask].view(2, 12, 16)
    for block in model.backbone.blocks:
        patches = block(patches)
    torch.testing.assert_close(features, patches)
    with pytest.raises(ValueError, match=r"embed\(images, dropped=units\), .* True where a unit is dropped"):
        masking.drop(model.layout, model.backbone.embed(images), mask)


def test_patches_are_found_in_the_dictionary_that_stages_return(splits):
    masking = importlib.import_module("user_splits.masking")
    backbone = class_of("dropping.NamedFeaturesViT")()
    model = masking.MaskedImageModel(backbone, strategy="drop", mask_ratio=0.75, image_size=(16, 16))
    features, _, _ = model(torch.randn(2, 3, 16, 16))
    assert features["patch_tokens"].shape == (2, 4, 16)


def test_a_name_is_no_backbone_where_models_have_none(splits):
    masking = importlib.import_module("user_splits.masking")
    with pytest.raises(TypeError, match="'vit_base' is a name, and only timm's models have names"):
        masking.MaskedImageModel("vit_base")


# The generated package


def test_a_refused_model_is_refused_at_run_time_with_file_line_and_reason(splits):
    model = class_of("stateful.StateInBody")()
    with pytest.raises(TypeError, match=r"StateInBody has no split: it reads `self\.H`.* \(stateful\.py:\d+\)\.$"):
        splits.split(model)
    assert type(model) is class_of("stateful.StateInBody")


def test_a_model_of_another_source_is_refused(splits):
    with pytest.raises(TypeError, match="split\\(\\) takes a model of user_models, and the model is of type torch"):
        splits.split(torch.nn.Linear(2, 2))


def test_a_split_class_can_be_built_and_has_the_same_weights(splits):
    from user_splits.late_token import LateTokenViTSplit

    names = list(class_of("late_token.LateTokenViT")().state_dict())
    assert list(LateTokenViTSplit().state_dict()) == names


def test_a_class_that_is_named_as_the_base_of_split_classes_is_refused(tmp_path):
    write_files(tmp_path, {"my_model.py": PLAIN.replace("Plain", "SplitModel")})
    (outcome,) = generate(find_release(None, tmp_path / "my_model.py")).outcomes
    assert outcome.result.reason == "`SplitModel` is the base of every split class: rename this one"


def test_a_class_that_inherits_brings_the_split_of_its_parent_in_timm(splits):
    from user_splits.derived import SmallViTSplit
    from user_splits.vit import VisionTransformerSplit

    assert issubclass(SmallViTSplit, (VisionTransformerSplit, class_of("derived.SmallViT")))
    assert splits.split(timm.create_model("vit_tiny_patch16_224", depth=1)).embed


def test_the_package_holds_what_it_needs_and_no_factory(package, splits):
    assert "_factory.py" not in package.files
    assert dir(splits) == ["CheckError", "SplitModel", "__timm_version__", "check", "split"]
    assert splits.__timm_version__ == timm.__version__


def test_under_another_timm_the_package_says_how_to_generate_it_again(splits, monkeypatch):
    monkeypatch.setattr(timm, "__version__", "0.0.1")
    with pytest.raises(
        ImportError, match=r"timm 0\.0\.1 is installed.*generate --source user_models --output user_splits"
    ):
        importlib.reload(splits)


def test_models_without_timm_need_none(tmp_path):
    write_files(tmp_path, {"my_model.py": PLAIN})
    package = generate(find_release(None, tmp_path / "my_model.py"))
    assert package.version == ""
    write_package(tmp_path / "my_splits", package.files)
    script = """
import sys
sys.modules["timm"] = None
import torch, my_model, my_splits
model, images = my_model.Plain(), torch.randn(2, 3, 8, 8)
expected = model.forward_features(images)
split = my_splits.split(model)
assert torch.equal(split.forward_stages(split.embed(images)), expected)
assert sorted(my_splits.__all__) == ["CheckError", "SplitModel", "check", "split"]
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)


def test_generated_code_is_formatted_and_lints(package, tmp_path):
    write_package(tmp_path / "user_splits", package.files)
    common = ["--isolated", "--line-length=120", str(tmp_path / "user_splits")]
    for command in (
        ["check", "--select=F,I", *common],
        ["format", "--check", "--config=format.quote-style='preserve'", *common],
    ):
        subprocess.run([sys.executable, "-m", "ruff", *command], check=True, capture_output=True)


def test_generating_twice_gives_the_same_text(package):
    assert generate(find_release(None, MODELS)).files == package.files


# Under which names they are imported


@pytest.mark.parametrize(
    ("files", "source", "expected"),
    [
        ({"my_model.py": PLAIN}, "my_model.py", ["my_model.Plain"]),
        ({"vit.py": PLAIN, "more/pvt.py": PLAIN, "train.py": "x = 1"}, ".", ["more.pvt.Plain", "vit.Plain"]),
        ({"my_models/__init__.py": "", "my_models/vit.py": PLAIN}, "my_models", ["my_models.vit.Plain"]),
        ({"my_models/__init__.py": "", "my_models/vit.py": PLAIN}, "my_models/vit.py", ["my_models.vit.Plain"]),
        ({"my_models/__init__.py": PLAIN}, "my_models", ["my_models.Plain"]),
        ({"a/__init__.py": "", "a/b/__init__.py": "", "a/b/c.py": PLAIN}, "a/b", ["a.b.c.Plain"]),
        ({"my_models/__init__.py": "", "my_models/layers/vit.py": PLAIN}, ".", ["my_models.layers.vit.Plain"]),
    ],
    ids=["file", "plain directory", "package", "file of a package", "package alone", "inner package", "layers"],
)
def test_a_class_has_the_name_under_which_python_imports_it(tmp_path, files, source, expected):
    root = write_files(tmp_path / "root", files)
    assert paths_of(generate(find_release(None, root / source))) == expected


def test_the_current_directory_may_be_the_source(tmp_path, monkeypatch):
    write_files(tmp_path / "my_models", {"__init__.py": "", "vit.py": PLAIN})
    monkeypatch.chdir(tmp_path / "my_models")
    package = generate(find_release(None, Path()))
    assert paths_of(package) == ["my_models.vit.Plain"]
    assert "my_models with an explicit boundary" in package.files["__init__.py"]


def test_a_base_class_beside_the_file_is_read_and_only_what_is_named_is_split(tmp_path):
    child = "from base import Plain\nclass Child(Plain): pass\n"
    relative = "from .base import Plain\nclass Child(Plain): pass\n"
    write_files(tmp_path, {"base.py": PLAIN, "child.py": child, "other.py": PLAIN})
    assert paths_of(generate(find_release(None, tmp_path / "child.py"))) == ["child.Child", "base.Plain"]
    write_files(tmp_path / "pkg", {"__init__.py": "", "base.py": PLAIN, "child.py": relative})
    package = generate(find_release(None, tmp_path / "pkg" / "child.py"))
    assert paths_of(package) == ["pkg.child.Child", "pkg.base.Plain"]
    assert "from .pkg_base import PlainSplit" in package.files["pkg_child.py"]


@pytest.mark.parametrize(
    "header",
    [
        "from timm.models.vision_transformer import VisionTransformer as Base",
        "from timm.models import VisionTransformer as Base",
        "import timm.models.vision_transformer\nBase = None\n",
        "from timm.models import vision_transformer as vits",
        "import timm.models.vision_transformer as vits",
        "import timm",
    ],
)
def test_a_class_of_timm_is_found_however_it_is_imported(tmp_path, header):
    base = "Base" if header.endswith("as Base") else "vits.VisionTransformer" if "vits" in header else ""
    base = base or ("timm.models.VisionTransformer" if header == "import timm" else "")
    source = f"{header}\n\nclass Mine({base or 'timm.models.vision_transformer.VisionTransformer'}): pass\n"
    write_files(tmp_path, {"my_model.py": source})
    mine = generate(find_release(None, tmp_path / "my_model.py")).outcomes[0]
    assert mine.result == Inherited("timm.models.vision_transformer.VisionTransformer")


def test_ones_own_file_of_the_name_of_timms_keeps_it_and_ones_own_class_too(tmp_path, monkeypatch):
    source = "from timm.models import VisionTransformer as T\n\n\nclass VisionTransformer(T):\n    pass\n"
    write_files(tmp_path, {"mine/__init__.py": "", "vit.py": source, "_split.py": PLAIN})
    package = generate(find_release(None, tmp_path))
    assert {"vit.py", "vit_.py", "_split.py", "_split_.py"} <= set(package.files)
    write_package(tmp_path / "vit_splits", package.files)
    script = """
import vit, vit_splits
model = vit.VisionTransformer(img_size=8, patch_size=4, embed_dim=16, depth=1, num_heads=2)
assert type(vit_splits.split(model)).__module__ == "vit_splits.vit"
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)


def test_a_class_that_changes_what_its_parent_is_split_by_is_split_by_itself(tmp_path):
    source = (
        PLAIN
        + """
    class Padded(Plain):
        def __init__(self):
            super().__init__()
            self.blocks = nn.Sequential(nn.ReLU())
            self.patch_embed = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU())

        def forward_features(self, x):
            x = self.patch_embed(x)
            for block in self.blocks:
                x = block(x)
            return x.flatten(1)

    class Wrapped(Padded):
        def __init__(self):
            super().__init__()
            self.embed_dim = 4
    """
    )
    write_files(tmp_path, {"my_model.py": source})
    results = {o.name: o.result for o in generate(find_release(None, tmp_path / "my_model.py")).outcomes}
    assert results["Wrapped"] == Inherited("my_model.Padded")
    assert isinstance(results["Padded"], Split | Refusal)


def test_one_name_for_two_classes_is_refused(tmp_path):
    write_files(tmp_path, {"my_model.py": PLAIN + PLAIN})
    (outcome,) = generate(find_release(None, tmp_path / "my_model.py")).outcomes
    assert "is defined more than once" in outcome.result.reason


def test_a_package_without_an_init_file_is_named_as_such_if_its_files_import_one_another(tmp_path):
    child = "from .base import Plain\nclass Child(Plain): pass\n"
    write_files(tmp_path / "models", {"base.py": PLAIN, "child.py": child})
    found = generate(find_release(None, tmp_path / "models"))
    assert paths_of(found) == ["models.base.Plain", "models.child.Child"]
    with pytest.raises(UsageError, match=r"child\.py:1 imports relative to a package .* --source .*models$"):
        find_release(None, tmp_path / "models" / "child.py")


def test_a_file_that_cannot_be_imported_is_passed_over_where_others_can(tmp_path):
    child = "from .base import Plain\nclass Child(Plain): pass\n"
    write_files(tmp_path, {"base.py": PLAIN, "child.py": child, "main.py": "from base import Plain\nclass A: pass\n"})
    said = []
    found = generate(find_release(None, tmp_path, announce=said.append))
    assert paths_of(found) == ["base.Plain"]
    assert said == ["passing over child.py: child.py:1 imports relative to a package that the file is not in"]


def test_a_relative_import_that_may_fail_is_no_obstacle(tmp_path):
    header = "try:\n    from .base import helper\nexcept ImportError:\n    from base import helper\n"
    write_files(tmp_path, {"my_model.py": header + textwrap.dedent(PLAIN)})
    assert paths_of(generate(find_release(None, tmp_path / "my_model.py"))) == ["my_model.Plain"]


def test_classes_that_are_named_as_split_classes_keep_their_names(tmp_path):
    source = (
        textwrap.dedent(PLAIN)
        + "\n\nclass PlainSplit(Plain): pass\n"
        + "\n\nfrom timm.models.vision_transformer import VisionTransformer\n"
        + "\n\nclass VisionTransformerSplit(VisionTransformer): pass\n"
    )
    write_files(tmp_path, {"my_model.py": source})
    write_package(tmp_path / "my_splits", generate(find_release(None, tmp_path / "my_model.py")).files)
    script = """
import my_model, my_splits
for cls, options in ((my_model.Plain, {}), (my_model.PlainSplit, {}), (my_model.VisionTransformerSplit, {"depth": 1})):
    model = my_splits.split(cls(**options))
    assert type(model).__mro__[0].__module__ == "my_splits.my_model", type(model).__mro__
    assert isinstance(model, cls) and hasattr(model, "embed")
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)


# Bad input


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("torch", "the name of an installed package"),
        ("json", "the name of a module of Python's standard library"),
        ("my_model", "the name of what it is generated from"),
        ("class", "no name that Python can import"),
        ("my-splits", "no name that Python can import"),
    ],
)
def test_a_package_that_python_could_not_import_or_that_hides_another_is_refused(tmp_path, name, why):
    write_files(tmp_path, {"my_model.py": PLAIN})
    command = ["generate", "--source", str(tmp_path / "my_model.py"), "--output", str(tmp_path / name)]
    done = CliRunner().invoke(main, command)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert why in done.stderr
    assert not (tmp_path / name).exists()


def test_a_package_beside_its_models_is_generated_again(tmp_path):
    write_files(tmp_path, {"my_model.py": PLAIN, "train.py": "from my_splits import split\nclass A: pass\n"})
    command = ["generate", "--source", str(tmp_path), "--output", str(tmp_path / "my_splits")]
    assert [CliRunner().invoke(main, command).exit_code for _ in range(2)] == [0, 0]


@pytest.mark.parametrize("command", [["generate", "--output", "my_splits"], ["list"], ["verify"]])
def test_two_sources_are_refused(tmp_path, command):
    write_files(tmp_path, {"a.py": PLAIN, "b.py": PLAIN})
    done = CliRunner().invoke(main, [*command, "--source", str(tmp_path / "a.py"), "--source", str(tmp_path / "b.py")])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "--source is given more than once: name one directory" in done.stderr


def test_a_file_that_is_named_as_a_keyword_is_refused(tmp_path):
    write_files(tmp_path, {"class.py": PLAIN})
    with pytest.raises(UsageError, match=r"class\.py cannot be imported under that name"):
        find_release(None, tmp_path / "class.py")


def test_nothing_of_user_models_is_ever_executed(tmp_path):
    trace = tmp_path / "trace"
    leave = f"open({str(trace)!r}, 'a').close()\n"
    files = {
        "my_models/__init__.py": leave,
        "my_models/vit.py": leave + "from . import base\nfrom sibling import *\n" + textwrap.dedent(DERIVED),
        "my_models/base.py": leave,
        "sibling.py": leave,
        "setup.py": leave,
        "sitecustomize.py": leave,
        "timm_split.py": leave,
    }
    root = write_files(tmp_path / "root", files)
    command = [sys.executable, "-m", "codegen", "generate", "--output", str(tmp_path / "out"), "--source"]
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    for source in ("my_models", "my_models/vit.py", "."):
        subprocess.run([*command, str(root / source)], env=environment, check=True, capture_output=True)
    assert (tmp_path / "out" / "my_models_vit.py").exists()
    assert not trace.exists()
    subprocess.run([sys.executable, "-c", "import my_models"], cwd=root, check=True)
    assert trace.exists()


@pytest.mark.parametrize("text", ["class A:\n    def f(self:\n        pass\n", "class A:\n    x = `1`\n"])
def test_what_does_not_parse_is_named_with_its_line_and_the_python_that_was_tried(tmp_path, text):
    write_files(tmp_path, {"pkg/__init__.py": "", "pkg/good.py": PLAIN, "pkg/new.py": text})
    message = refused(tmp_path / "pkg", TimmSplitError)
    assert message.startswith("pkg/new.py:2 does not parse")
    assert f"newer Python than this one ({sys.version_info.major}.{sys.version_info.minor})" in message


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="this Python knows the syntax")
def test_syntax_newer_than_this_python_is_an_error_of_one_line(tmp_path):
    write_files(tmp_path, {"my_model.py": PLAIN + "\n    type Pair = tuple[int, int]\n"})
    done = CliRunner().invoke(main, ["generate", "--source", str(tmp_path / "my_model.py"), "--output", "x"])
    assert done.exit_code == 1
    assert done.output.startswith("error: my_model.py:17 does not parse")
    assert done.output.count("\n") == 1


def test_a_file_that_cannot_be_read_as_text_is_named(tmp_path):
    (tmp_path / "my_model.py").write_bytes(b"class A: x = '\xe4'\n")
    assert "my_model.py is not text that python reads" in refused(tmp_path / "my_model.py", TimmSplitError)
    (tmp_path / "my_model.py").write_bytes(b"class A: x = '\0'\n")
    assert "my_model.py is not text that python reads" in refused(tmp_path, TimmSplitError)


def test_absurd_sizes_are_refused(tmp_path, monkeypatch):
    write_files(tmp_path, {"one.py": PLAIN, "two.py": PLAIN})
    monkeypatch.setattr(user_models, "_COUNT_LIMIT", 1)
    assert "more than 1 files" in refused(tmp_path)
    (tmp_path / "three.py").write_text("import table\nclass A: pass\n")
    (tmp_path / "table.py").write_text("x = 1\n" * 20)
    monkeypatch.setattr(user_models, "_FILE_LIMIT", 100)
    assert "no class that has the method forward_features" in refused(
        tmp_path / "three.py"
    )  # what it imports is left out
    assert "more than 100 bytes" in refused(tmp_path / "one.py", TimmSplitError)


@pytest.mark.parametrize(("directory", "others"), [("site-packages", []), ("src", ["other/__init__.py"])])
def test_what_is_installed_beside_a_package_is_a_library(tmp_path, directory, others):
    root = tmp_path / directory
    files = {
        "mine/__init__.py": "",
        "mine/one.py": "import other\nfrom . import two\nclass A: pass\n",
        "mine/two.py": "x = 1",
    }
    for path, text in {**files, "other/__init__.py": "y = 1"}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    found = user_models.read_user_models(root / "mine" / "one.py", lambda line: None)
    assert list(found.files) == [*files, *others]


def test_a_large_table_in_a_directory_is_passed_over(tmp_path):
    write_files(tmp_path, {"one.py": PLAIN, "table.py": "class A: pass\n" + "x = 1\n" * 200_000})
    said: list[str] = []
    assert list(user_models.read_user_models(tmp_path, said.append).files) == ["one.py"]
    assert said == ["passing over table.py, which has more than 1000000 bytes: that is no model"]


def test_a_directory_with_models_and_a_version_is_no_timm_but_for_its_name(tmp_path):
    package = {"fork/__init__.py": "", "fork/version.py": "__version__ = '1'", "fork/models/one.py": PLAIN}
    write_files(tmp_path, package)
    assert user_models.holds_user_models(tmp_path / "fork")
    (tmp_path / "fork").rename(tmp_path / "timm")
    assert not user_models.holds_user_models(tmp_path / "timm")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_is_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "my_model.py")
    assert "no regular file" in refused(tmp_path / "my_model.py", TimmSplitError)
    assert "no regular file" in refused(tmp_path, TimmSplitError)


@pytest.mark.parametrize(
    ("files", "source", "message"),
    [
        ({"my_model.py": "x = 1\n"}, "my_model.py", "defines no class"),
        ({"my_model.py": "class A: pass\n"}, "my_model.py", "holds no class that has the method forward_features"),
        ({"my-model.py": PLAIN}, "my-model.py", "my-model.py cannot be imported under that name"),
        ({"timm.py": PLAIN}, "timm.py", "in place of a library"),
        ({"torch/__init__.py": PLAIN}, "torch", "in place of a library"),
        ({"notes.txt": ""}, ".", "is not timm"),
        ({}, "nowhere.py", "does not exist"),
    ],
)
def test_what_holds_no_model_is_refused(tmp_path, files, source, message):
    assert message in refused(write_files(tmp_path / "root", files) / source)


def test_files_that_cannot_be_imported_are_passed_over_with_a_word(tmp_path):
    said: list[str] = []
    write_files(tmp_path, {"good.py": PLAIN, "train-vit.py": PLAIN})
    found = find_release(None, tmp_path, announce=said.append)
    assert found.user_files == ("good.py",)
    assert said == ["passing over train-vit.py, which cannot be imported under that name"]


def test_environments_and_generated_packages_are_no_models(tmp_path):
    venv = "env/lib/python3.11/site-packages/timm/models/eva.py"
    write_files(tmp_path, {"good.py": PLAIN, venv: PLAIN, ".hidden/x.py": PLAIN})
    write_package(tmp_path / "my_splits", generate(find_release(None, tmp_path)).files)
    assert find_release(None, tmp_path).user_files == ("good.py",)


def test_models_that_import_timm_need_one_and_may_name_which(tmp_path, monkeypatch):
    write_files(tmp_path, {"my_model.py": DERIVED})
    monkeypatch.setattr(release, "_installed", dict)
    with pytest.raises(UsageError, match="timm is not installed: name a release with --timm-version"):
        find_release(None, tmp_path / "my_model.py")
    asked = []
    monkeypatch.setattr(release, "_choose", lambda wanted, *rest: asked.append(wanted.text) or wanted.nearest)
    monkeypatch.setattr(release, "_cached", dict)
    monkeypatch.setattr(release, "_download", lambda version: Path(timm.__file__).parent)
    assert find_release(timm.__version__, tmp_path / "my_model.py").version == timm.__version__
    assert asked == [timm.__version__]


def test_a_timm_version_for_models_without_timm_is_answered_with_a_word(tmp_path):
    said: list[str] = []
    write_files(tmp_path, {"my_model.py": PLAIN})
    assert find_release("1.0.20", tmp_path / "my_model.py", announce=said.append).version == ""
    assert "says nothing" in said[0]


# The command


def test_the_command_says_what_became_of_each_class(tmp_path):
    write_files(tmp_path, {"my_model.py": PLAIN.replace("import", "import torch\n    import", 1)})
    command = ["generate", "--source", str(tmp_path / "my_model.py"), "--output", str(tmp_path / "my_splits")]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0
    assert done.output.splitlines() == [
        f"{tmp_path / 'my_model.py'} -> {tmp_path / 'my_splits'}/",
        "   split  Plain  after my_model.py:13  x = self.patch_embed(x)",
    ]
    assert CliRunner().invoke(main, command).exit_code == 0


def test_the_command_wants_a_package_of_its_own_for_them(tmp_path, monkeypatch):
    monkeypatch.chdir(write_files(tmp_path, {"my_model.py": PLAIN}))
    done = CliRunner().invoke(main, ["generate", "--source", "my_model.py"])
    assert done.exit_code == 2
    assert "name its directory with --output" in done.output
    assert not (tmp_path / "generated").exists()


def test_the_command_never_replaces_the_models_by_their_splits(tmp_path):
    root = write_files(tmp_path, {"my_models/__init__.py": "", "my_models/vit.py": PLAIN})
    source = str(root / "my_models")
    done = CliRunner().invoke(main, ["generate", "--source", source, "--output", source])
    assert done.exit_code == 2
    assert "has the name of what it is generated from" in done.output
    assert (root / "my_models" / "vit.py").read_text() == textwrap.dedent(PLAIN)


@pytest.mark.parametrize("command", [["generate", "--output", "trusting"], ["list"], ["show", "Plain"]])
def test_a_decorator_that_cannot_be_read_is_trusted_on_request(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    text = textwrap.dedent(PLAIN).replace("class Plain", "@MODELS.register_module()\nclass Plain")
    Path("model.py").write_text(f"from mmengine import MODELS\n{text}")
    arguments = [*command, "--source", "model.py"]
    assert "--trust-decorator" in " ".join(CliRunner().invoke(main, arguments).output.split())
    trusted = CliRunner().invoke(main, [*arguments, "--trust-decorator", "MODELS.register_module"])
    assert trusted.exit_code == 0
    assert "refused" not in trusted.output


def test_a_list_of_crops_is_answered_as_before(splits):
    torch.manual_seed(0)
    model = class_of("masked.DinoViT")().eval()
    twin = splits.split(copy.deepcopy(model))
    splits.check(twin, torch.randn(IMAGES), masks=MASKS)
    crops = [torch.randn(IMAGES), torch.randn(IMAGES)]
    found, expected = (m.forward_features(crops, [MASKS, None]) for m in (twin, model))
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one["x_norm_patchtokens"], other["x_norm_patchtokens"])
