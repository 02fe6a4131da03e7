"""What users call: ``import generated``, ``create_model``, ``list_models``, ``split``."""

import copy
import importlib
import importlib.util
import inspect
import io
import pickle
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import timm
import torch
import torch.distributed as dist
from timm.models.deepseek_vit import DeepseekVitClassifier, DeepseekVitEncoder
from timm.models.deit import VisionTransformerDistilled
from timm.models.densenet import DenseNet
from timm.models.eva import Eva
from timm.models.qwen3_vit import Qwen3VitEncoder
from timm.models.vision_transformer import VisionTransformer
from torch import nn

import generated
import generated._manifest
from codegen.manifest import FORMAT
from generated.deepseek_vit import DeepseekVitClassifierSplit, DeepseekVitEncoderSplit
from generated.deit import VisionTransformerDistilledSplit
from generated.eva import EvaSplit
from generated.vit import VisionTransformerSplit

PACKAGE = Path(generated.__file__).parent
CHECKOUT = PACKAGE.parent
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2, "num_classes": 5}
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


class Doubled(VisionTransformer):
    """A user's class that inherits forward_features and overrides a helper of it."""

    def _pos_embed(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super()._pos_embed(x)


class Distilled(VisionTransformerDistilled):
    """A user's class below a class of timm's that itself inherits forward_features."""


class OwnFeatures(VisionTransformer):
    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward_features(x)


class OwnEmbed(VisionTransformer):
    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return x


class OwnForwardEncoder(DeepseekVitEncoder):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


class OwnPosEmbedEncoder(DeepseekVitEncoder):
    def _pos_embed(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, rope = super()._pos_embed(x)
        return 2 * x, rope


def vit(cls: type[nn.Module] = VisionTransformer, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return cls(**SMALL, **options).eval()


def run(*code: str, path: Path = CHECKOUT) -> str:
    """Run lines of Python in a new process that finds packages in ``path`` and here, and return what they print."""
    start = f"import sys; sys.path[:0] = {[str(path), str(CHECKOUT)]!r}"
    command = [sys.executable, "-c", "\n".join([start, *code])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def import_from(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path, str], ModuleType]]:
    """Import a package from a folder or an archive, and forget it after the test."""
    before = set(sys.modules)

    def import_(path: Path, name: str) -> ModuleType:
        monkeypatch.syspath_prepend(path)
        return importlib.import_module(name)

    yield import_
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def other_package(tmp_path: Path) -> Path:
    """A copy of the package, named ``my_splits``."""
    shutil.copytree(PACKAGE, tmp_path / "my_splits", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


# import


def test_importing_it_imports_no_model_module_of_either_package() -> None:
    added = run(
        "import timm",
        "before = set(sys.modules)",
        "import generated",
        "print(*sorted(name for name in set(sys.modules) - before if name.startswith(('generated', 'timm'))))",
    ).split()
    runtime = ["_check", "_factory", "_intermediates", "_leaves", "_manifest", "_observe", "_split"]
    assert added == ["generated", *(f"generated.{name}" for name in runtime)]


def test_splitting_a_model_imports_its_module_alone() -> None:
    added = run(
        "import timm, generated",
        "before = set(sys.modules)",
        f"generated.split(timm.models.eva.Eva(**{SMALL!r}))",
        "print(*sorted(name for name in set(sys.modules) - before if name.startswith('generated')))",
    ).split()
    assert added == ["generated.eva"]


def test_importing_it_under_another_timm_says_how_to_match_them(
    other_package: Path, import_from: Callable[[Path, str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timm, "__version__", "1.0.99")
    with pytest.raises(ImportError) as error:
        import_from(other_package, "my_splits")
    message = str(error.value)
    assert f"generated from timm {generated.__timm_version__}" in message
    assert "timm 1.0.99 is installed" in message
    assert "timm-split generate --timm-version 1.0.99" in message
    assert 'pip install "timm-split==1.0.99.*"' in message


@pytest.mark.parametrize("manifest", [None, "", "{", "[]", '{"format": 3}', '{"format": 5}'])
def test_a_damaged_manifest_is_an_error_of_one_line_that_says_what_to_do(
    other_package: Path, import_from: Callable[[Path, str], ModuleType], manifest: str | None
) -> None:
    path = other_package / "my_splits" / "manifest.json"
    path.unlink()
    if manifest is not None:
        path.write_text(manifest)
    package = import_from(other_package, "my_splits")
    for use in (lambda: package.split(vit()), lambda: package.create_model("vit_tiny_patch16_224")):
        with pytest.raises(
            ImportError, match=r"^manifest.json of my_splits is damaged .*: timm-split generate --force$"
        ):
            use()


def test_the_package_reads_the_format_that_the_generator_writes() -> None:
    assert generated._manifest.FORMAT == FORMAT


def test_package_works_under_any_name(other_package: Path, import_from: Callable[[Path, str], ModuleType]) -> None:
    model = import_from(other_package, "my_splits").split(vit())
    assert type(model).__module__ == "my_splits.vit"
    assert not isinstance(model, VisionTransformerSplit)


def test_package_works_from_an_archive(
    other_package: Path, tmp_path: Path, import_from: Callable[[Path, str], ModuleType]
) -> None:
    archive = shutil.make_archive(str(tmp_path / "archive"), "zip", other_package, "my_splits")
    shutil.rmtree(other_package / "my_splits")
    package = import_from(Path(archive), "my_splits")
    assert archive in package.__file__
    assert type(package.split(vit())).__name__ == "VisionTransformerSplit"


def test_every_split_class_is_a_split_model() -> None:
    assert issubclass(VisionTransformerSplit, generated.SplitModel)
    assert isinstance(generated.split(vit(Doubled)), generated.SplitModel)
    assert not isinstance(vit(), generated.SplitModel)
    assert not any(callable(value) for value in vars(generated.SplitModel).values()), "its methods are for checkers"


def test_it_shows_its_interface_and_no_more() -> None:
    assert dir(generated) == [
        "CheckError",
        "SplitModel",
        "__timm_version__",
        "check",
        "create_model",
        "list_models",
        "split",
    ]
    assert set(generated.__all__) == set(dir(generated))
    assert generated.__timm_version__ == timm.__version__
    assert (PACKAGE / "py.typed").is_file()


# create_model


def test_create_model_builds_timms_model_and_splits_it() -> None:
    torch.manual_seed(0)
    model = generated.create_model("eva02_tiny_patch14_224", pretrained=False, **SMALL).eval()
    torch.manual_seed(0)
    expected = timm.create_model("eva02_tiny_patch14_224", pretrained=False, **SMALL).eval()
    assert type(model) is EvaSplit
    assert torch.equal(model.forward_stages(model.embed(IMAGES)), expected.forward_features(IMAGES))
    assert model.pretrained_cfg == expected.pretrained_cfg


def test_create_model_takes_a_name_with_a_tag() -> None:
    model = generated.create_model("vit_tiny_patch16_224.augreg_in21k", **SMALL)
    assert type(model) is VisionTransformerSplit
    assert model.pretrained_cfg["tag"] == "augreg_in21k"


@pytest.mark.parametrize("name", ["create_model", "list_models"])
def test_functions_have_the_signatures_of_timms(name: str) -> None:
    ours, timms = getattr(generated, name), getattr(timm, name)
    assert inspect.signature(ours) == inspect.signature(timms)
    assert ours.__module__ == "generated._factory"
    assert ours.__doc__ != timms.__doc__


@pytest.mark.parametrize("name", ["densenet121", "densenet121.ra_in1k"])
def test_create_model_refuses_a_refused_class_before_it_builds_a_model(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timm, "create_model", lambda *args, **kwargs: pytest.fail("built a model"))
    with pytest.raises(TypeError, match=rf"{name}: DenseNet has no split: .*\(timm/models/densenet\.py:\d+\)"):
        generated.create_model(name, pretrained=True)


def test_create_model_refuses_features_only_before_it_builds_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm, "create_model", lambda *args, **kwargs: pytest.fail("built a model"))
    with pytest.raises(TypeError, match=r"features_only=True .* forward_intermediates\(\)"):
        generated.create_model("vit_tiny_patch16_224", pretrained=True, features_only=True)


def test_create_model_leaves_unknown_names_to_timm() -> None:
    with pytest.raises(RuntimeError, match="Unknown model"):
        generated.create_model("no_such_model")


# list_models


def test_list_models_is_timms_list_without_the_refused() -> None:
    names = generated.list_models()
    missing = set(timm.list_models()) - set(names)
    assert names == [name for name in timm.list_models() if name not in missing]
    assert "eva02_base_patch14_224" in names
    assert "densenet121" in missing
    assert not any(name.startswith("vit_") for name in missing)


def test_list_models_passes_its_filters_on() -> None:
    assert generated.list_models("*", module="eva") == timm.list_models("*", module="eva")
    assert generated.list_models("densenet*") == []
    assert generated.list_models("eva02*", exclude_filters=["*448*"]) == timm.list_models(
        "eva02*", exclude_filters=["*448*"]
    )


def test_list_models_knows_names_with_tags() -> None:
    names = generated.list_models("vit_base_patch16_224*", pretrained=True)
    assert "vit_base_patch16_224.augreg_in21k" in names
    assert names == timm.list_models("vit_base_patch16_224*", pretrained=True)
    assert generated.list_models("densenet*", pretrained=True) == []


# split


@pytest.mark.parametrize(
    ("cls", "split_class"),
    [
        (VisionTransformer, VisionTransformerSplit),
        (VisionTransformerDistilled, VisionTransformerDistilledSplit),
        (Eva, EvaSplit),
    ],
)
def test_split_changes_the_class_and_nothing_else(cls: type[nn.Module], split_class: type[nn.Module]) -> None:
    model = vit(cls)
    expected, state, parameters = model.forward_features(IMAGES), dict(vars(model)), list(model.parameters())
    split = generated.split(model)
    assert split is model
    assert type(split) is split_class
    assert vars(split) == state
    assert all(ours is theirs for ours, theirs in zip(split.parameters(), parameters, strict=True))
    assert torch.equal(split.forward_features(IMAGES), expected)
    assert torch.equal(split.forward_stages(split.embed(IMAGES)), expected)


def test_split_model_is_returned_as_it_is() -> None:
    for model in (VisionTransformerSplit(**SMALL), generated.split(vit()), generated.split(vit(Doubled))):
        cls = type(model)
        assert generated.split(model) is model
        assert type(model) is cls


def test_own_subclass_of_a_split_class_is_split_already() -> None:
    class Masked(VisionTransformerSplit):
        def forward_features(self, x: torch.Tensor, **kwargs: Any) -> torch.Tensor:
            return self.forward_stages(0 * self.embed(x), **kwargs)

    model = generated.split(vit(Masked))
    assert type(model) is Masked


def test_split_keeps_a_model_that_was_compiled_in_place() -> None:
    model = vit()
    model.compile(backend="eager")
    expected = model(IMAGES)
    generated.split(model)
    assert torch.equal(model(IMAGES), expected)
    torch.compiler.reset()


def test_tokens_can_be_masked_and_repeated_between_the_two_halves() -> None:
    model = generated.split(vit(Eva, use_rot_pos_emb=True))
    embedding = model.embed(IMAGES)
    masked = embedding.x.masked_fill(torch.arange(17)[:, None] % 4 == 1, 0.0)
    once = model.forward_stages(embedding._replace(x=masked))
    twice = model.forward_stages(embedding._replace(x=torch.cat((embedding.x, masked))))
    assert not torch.equal(once, model.forward_features(IMAGES))
    torch.testing.assert_close(twice, torch.cat((model.forward_features(IMAGES), once)))


# split: your own classes


def test_own_subclass_that_inherits_forward_features_is_split() -> None:
    model = vit(Doubled)
    expected = model.forward_features(IMAGES)
    generated.split(model)
    assert isinstance(model, Doubled)
    assert isinstance(model, VisionTransformerSplit)
    assert type(model).__name__ == "DoubledSplit"
    assert type(model).__module__ == Doubled.__module__
    assert torch.equal(model.forward_stages(model.embed(IMAGES)), expected)
    assert torch.equal(model.forward_features(IMAGES), expected)


def test_models_of_one_class_share_one_split_class() -> None:
    assert type(generated.split(vit(Doubled))) is type(generated.split(vit(Doubled)))


def test_own_subclass_of_an_inheriting_class_keeps_both_bases() -> None:
    model = generated.split(vit(Distilled))
    assert isinstance(model, VisionTransformerDistilledSplit)
    assert isinstance(model, Distilled)
    assert model.embed(IMAGES).shape == (2, 18, 32)


def test_mixin_is_part_of_the_own_subclass() -> None:
    class Scaled:
        def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
            return 3 * super().forward_head(x, pre_logits)

    class Mixed(Scaled, VisionTransformer):
        pass

    model = vit(Mixed)
    expected = model(IMAGES)
    assert torch.equal(generated.split(model)(IMAGES), expected)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("cls", [VisionTransformer, Doubled])
def test_split_model_pickles(cls: type[nn.Module], protocol: int) -> None:
    model = generated.split(vit(cls))
    twin = pickle.loads(pickle.dumps(model, protocol))
    assert type(twin) is type(model)
    assert torch.equal(twin(IMAGES), model(IMAGES))


def test_split_model_of_an_own_class_is_copied_and_saved() -> None:
    model = generated.split(vit(Doubled))
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for twin in (copy.deepcopy(model), copy.copy(model), torch.load(file, weights_only=False)):
        assert twin is not model
        assert type(twin) is type(model)
        assert torch.equal(twin(IMAGES), model(IMAGES))


def test_split_model_of_an_own_class_is_loaded_by_another_process(
    tmp_path: Path, import_from: Callable[[Path, str], ModuleType]
) -> None:
    source = """
        from timm.models.vision_transformer import VisionTransformer

        class Mine(VisionTransformer):
            pass
    """
    (tmp_path / "mine.py").write_text(textwrap.dedent(source))
    model = generated.split(vit(import_from(tmp_path, "mine").Mine))
    torch.save(model, tmp_path / "model.pt")
    printed = run(
        "import torch",
        f"model = torch.load({str(tmp_path / 'model.pt')!r}, weights_only=False)",
        "print([cls.__name__ for cls in type(model).__mro__][:4])",
        path=tmp_path,
    )
    assert printed.strip() == str(["MineSplit", "VisionTransformerSplit", "Mine", "VisionTransformer"])


def test_class_defined_in_a_function_is_copied_and_pickles_as_badly_as_ever() -> None:
    class Local(VisionTransformer):
        pass

    model = generated.split(vit(Local))
    assert type(copy.deepcopy(model)) is type(model)
    with pytest.raises((AttributeError, pickle.PicklingError), match="Local"):
        pickle.dumps(model)


# split: what it refuses


def with_attribute(name: str, value: object) -> nn.Module:
    model = vit()
    setattr(model, name, value)
    return model


def features_only(feature_cls: str) -> nn.Module:
    return timm.create_model("resnet18", pretrained=False, features_only=True, feature_cls=feature_cls)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: 3, "of type int"),
        (lambda: VisionTransformer, "of type type"),
        (lambda: nn.Linear(2, 2), "torch.nn.modules.linear.Linear. If it holds a timm model, split that one"),
        (lambda: nn.Sequential(vit()), "If it holds a timm model, split that one"),
        (lambda: vit(OwnFeatures), "OwnFeatures has its own forward_features .* --source FILE"),
        (lambda: vit(type("Below", (OwnFeatures,), {})), "Below has its own forward_features"),
        (lambda: with_attribute("forward_features", lambda x: x), "VisionTransformer has its own forward_features"),
        (lambda: vit(OwnEmbed), "OwnEmbed has its own embed"),
        (lambda: with_attribute("embed", nn.Identity()), "VisionTransformer has its own embed"),
        (lambda: with_attribute("forward_stages", None), "VisionTransformer has its own forward_stages"),
        (lambda: with_attribute("embed_patches", None), "VisionTransformer has its own embed_patches"),
        (lambda: with_attribute("embed_positions", None), "VisionTransformer has its own embed_positions"),
        (lambda: DenseNet(block_config=(1,)), r"DenseNet has no split: .*\(timm/models/densenet\.py:\d+\)"),
        (lambda: torch.compile(vit()), r"OptimizedModule. Split the model before torch.compile"),
        (lambda: torch.jit.script(vit()), "ScriptModule. Split the model before torch.jit.script"),
        (lambda: torch.jit.trace(vit(), IMAGES), "ScriptModule. Split the model before torch.jit.script"),
        (lambda: nn.DataParallel(vit()), r"DataParallel. Call split\(model.module\) before wrapping it"),
        (lambda: features_only("list"), "FeatureListNet. Create the model without features_only"),
        (lambda: features_only("dict"), "FeatureDictNet. Create the model without features_only"),
        (lambda: features_only("hook"), "FeatureHookNet. Create the model without features_only"),
        (lambda: features_only("fx"), "FeatureGraphNet. Create the model without features_only"),
        (lambda: features_only("getter"), "FeatureGetterNet. Create the model without features_only"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_split_refuses_what_is_not_a_timm_model_and_says_what_to_do(build: Callable[[], Any], message: str) -> None:
    model = build()
    cls = type(model)
    with pytest.raises(TypeError, match=message):
        generated.split(model)
    assert type(model) is cls


@pytest.fixture
def process_group() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("process_group")
@pytest.mark.filterwarnings("ignore")
def test_split_refuses_models_that_are_distributed_already() -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
    from torch.nn.parallel import DistributedDataParallel

    mesh = init_device_mesh("cpu", (1,))
    with pytest.raises(TypeError, match=r"DistributedDataParallel. Call split\(model.module\) before wrapping it"):
        generated.split(DistributedDataParallel(vit()))
    with pytest.raises(TypeError, match=r"FullyShardedDataParallel. Call split\(model.module\) before wrapping it"):
        generated.split(FullyShardedDataParallel(vit(), device_id=torch.device("cpu")))
    with pytest.raises(TypeError, match=r"FSDPModule. Split the model before fully_shard"):
        generated.split(fully_shard(vit(), mesh=mesh))
    sharded = fully_shard(generated.split(vit()), mesh=mesh)
    assert generated.split(sharded) is sharded


# split: models that delegate to an inner model


def classifier(encoder: nn.Module | None = None) -> nn.Module:
    model = vit(DeepseekVitClassifier)
    if encoder is not None:
        model.encoder = encoder
    return model


def encoder(cls: type[nn.Module] = DeepseekVitEncoder) -> nn.Module:
    return cls(**{name: value for name, value in SMALL.items() if name != "num_classes"}, global_pool="").eval()


@pytest.mark.parametrize("build", [classifier, lambda: vit(DeepseekVitClassifierSplit)])
def test_split_reaches_the_model_inside(build: Callable[[], nn.Module]) -> None:
    model = build()
    expected = model(IMAGES)
    generated.split(model)
    assert type(model) is DeepseekVitClassifierSplit
    assert type(model.encoder) is DeepseekVitEncoderSplit
    assert torch.equal(model(IMAGES), expected)
    assert torch.equal(model.embed(IMAGES).x, model.encoder.embed(IMAGES).x)
    assert generated.split(model) is model


def test_model_inside_may_be_of_an_own_class() -> None:
    model = classifier(encoder(OwnPosEmbedEncoder))
    expected = model.forward_features(IMAGES)
    generated.split(model)
    assert torch.equal(model.forward_stages(model.embed(IMAGES)), expected)


def test_what_wraps_the_model_inside_runs_where_timm_runs_it() -> None:
    model = generated.split(classifier())
    expected = model.forward_stages(model.embed(IMAGES))
    handle = model.encoder.register_forward_hook(lambda module, args, output: 2 * output)
    assert torch.equal(model.forward_features(IMAGES), 2 * expected)
    assert torch.equal(model.forward_stages(model.embed(IMAGES)), expected)
    handle.remove()
    passes = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        passes.append(graph)
        return graph.forward

    model.encoder = torch.compile(model.encoder, backend=backend)
    assert torch.equal(model.forward_features(IMAGES), expected)
    assert passes
    assert torch.equal(model.forward_stages(model.embed(IMAGES)), expected)


def test_a_model_inside_with_hooks_can_be_split() -> None:
    model = classifier()
    model.encoder.register_forward_hook(lambda module, args, output: 2 * output)
    expected = model.forward_features(IMAGES)
    assert torch.equal(generated.split(model).forward_features(IMAGES), expected)


def test_both_halves_are_the_same_where_the_constructor_has_built_the_model_inside() -> None:
    model = vit(DeepseekVitClassifierSplit)
    expected = model.forward_features(IMAGES)
    assert type(model.encoder) is DeepseekVitEncoder
    assert torch.equal(model.forward_stages(model.embed(IMAGES)), expected)
    assert torch.equal(model.forward_stages(model.embed_positions(model.embed_patches(IMAGES))), expected)


@pytest.mark.parametrize("projected", [False, True])
@pytest.mark.usefixtures("process_group")
@pytest.mark.filterwarnings("ignore")
def test_fsdp_gathers_the_parameters_of_the_model_inside(projected: bool) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh("cpu", (1,))
    projection = {"encoder_pool": "align", "out_features": 8} if projected else {}
    model = DeepseekVitClassifier(**SMALL, **projection).eval()
    expected = model.forward_features(IMAGES)
    generated.split(model)
    for part in (*([model.encoder.aligner] if projected else []), model.encoder, model):
        fully_shard(part, mesh=mesh)
    for module in model.modules():
        if isinstance(module, generated.SplitModel):
            for method in ("embed", "forward_stages", "embed_patches", "embed_positions"):
                register_fsdp_forward_method(module, method)
    embedding = model.embed(IMAGES)
    assert torch.equal(model.forward_stages(embedding), expected)
    assert torch.equal(model.embed_positions(model.embed_patches(IMAGES)).x, embedding.x)
    assert torch.equal(model.forward_features(IMAGES), expected)
    model.forward_stages(model.embed(IMAGES)).sum().backward()
    assert model.encoder.patch_embed.proj.weight.grad is not None


def test_model_inside_may_be_split_already() -> None:
    assert type(generated.split(classifier(generated.split(encoder())))) is DeepseekVitClassifierSplit


class OwnFeaturesEncoderSplit(DeepseekVitEncoderSplit):
    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward_features(x)


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        (lambda: encoder(Qwen3VitEncoder), "model.encoder is of type .*Qwen3VitEncoder, and .* was split for"),
        (lambda: encoder(OwnForwardEncoder), "model.encoder has its own forward"),
        (lambda: encoder(OwnFeaturesEncoderSplit), "model.encoder has its own forward_features"),
        (nn.Identity, "model.encoder is of type .*Identity"),
        (lambda: torch.compile(encoder()), "model.encoder is of type OptimizedModule"),
    ],
)
def test_split_refuses_another_model_inside_and_changes_neither(inner: Callable[[], nn.Module], message: str) -> None:
    model = classifier(inner())
    cls = type(model.encoder)
    with pytest.raises(TypeError, match=message):
        generated.split(model)
    assert type(model) is DeepseekVitClassifier
    assert type(model.encoder) is cls
