"""A masked model in a trainer: DDP, weight decay, layer decay, EMA, checkpointing, ratios that change."""

import io
from dataclasses import dataclass

import pytest
import timm
import torch
import torch.distributed as dist
from names import NAMES
from timm.models._manipulate import group_parameters
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import generated
from generated._training import inside
from generated.masking import MaskedImageModel, random_mask

VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def vit(name: str = "vit_tiny_patch16_224", **options: object) -> generated.SplitModel:
    torch.manual_seed(0)
    return generated.create_model(name, **{**VIT, **options})


# Every parameter has a gradient


@pytest.fixture
def one_process(tmp_path):
    dist.init_process_group("gloo", store=dist.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("strategy", ["drop", "replace"])
def test_the_documented_constructor_trains_under_ddp(one_process, strategy):
    parallel = DistributedDataParallel(MaskedImageModel("test_vit", mask_ratio=0.75, strategy=strategy))
    images = torch.rand(2, 3, 160, 160)
    for _ in range(3):  # DDP notices at the next step what was not reduced in this one
        parallel(images).features.sum().backward()
    assert all(p.grad is not None for p in parallel.parameters())


@pytest.mark.parametrize(
    ("name", "options", "unused"),
    [
        ("vit_tiny_patch16_224", VIT, {"head.weight", "head.bias"}),
        ("beit_base_patch16_224", VIT, {"head.weight", "head.bias"}),
        ("test_convnext", {}, {"head.fc.weight", "head.fc.bias"}),
        ("vit_tiny_patch16_224", {**VIT, "num_classes": 0}, set()),
        ("deit_tiny_distilled_patch16_224", VIT, {"head.weight", "head.bias", "head_dist.weight", "head_dist.bias"}),
    ],
)
def test_what_the_features_do_not_use_needs_no_gradient_until_fine_tuning(name, options, unused):
    masked = MaskedImageModel(generated.create_model(name, **options))
    assert {n.removeprefix("backbone.") for n in masked.unused} == unused
    masked(torch.rand(2, 3, *masked.layout.streams[0].image_size)).features.sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in masked.parameters())
    backbone = masked.release()
    assert backbone is masked.backbone
    assert all(p.requires_grad for p in backbone.parameters())
    assert masked.unused == ()


@dataclass(frozen=True)
class Output:
    """As models return several things at once."""

    pooled: torch.Tensor
    hidden: torch.Tensor


@pytest.mark.parametrize("strategy", ["drop", "replace"])
def test_features_in_a_dataclass_depend_on_the_backbone_as_well(strategy):
    class InDataclass(type(vit())):  # type: ignore[misc]
        def forward_stages(self, embedding):
            x = super().forward_stages(embedding)
            return Output(x.mean(1), x)

        def forward(self, images):
            return self.head(self.forward_features(images).pooled)

    model = vit(num_classes=5)
    model.__class__ = InDataclass
    masked = MaskedImageModel(model, strategy=strategy)
    assert masked.unused == ("backbone.head.weight", "backbone.head.bias")
    masked(IMAGES).features.hidden.sum().backward()
    assert model.patch_embed.proj.weight.grad is not None


def test_attention_pooling_is_part_of_the_head():
    masked = MaskedImageModel(vit("vit_base_patch16_siglip_224"))
    assert all(name.startswith("backbone.attn_pool.") for name in masked.unused)
    assert masked.unused


def test_what_was_frozen_before_stays_frozen():
    model = vit()
    model.patch_embed.requires_grad_(False)
    model.head.bias.requires_grad_(False)
    masked = MaskedImageModel(model)
    assert masked.unused == ("backbone.head.weight",)
    masked.release()
    assert not model.patch_embed.proj.weight.requires_grad
    assert not model.head.bias.requires_grad


def test_checkpointing_hides_no_parameter():
    model = vit()
    model.set_grad_checkpointing()
    masked = MaskedImageModel(model)
    assert masked.unused == ("backbone.head.weight", "backbone.head.bias")
    assert model.grad_checkpointing


def test_a_name_has_no_classifier_and_loads_into_timm_strictly():
    masked = MaskedImageModel("test_vit")
    assert masked.unused == ()
    theirs = timm.create_model("test_vit", num_classes=0)
    theirs.load_state_dict(masked.backbone.state_dict(), strict=True)


# Groups of parameters


def decayed(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, tuple[float, float]]:
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        names[id(p)]: (group["weight_decay"], group.get("lr_scale", 1.0))
        for group in optimizer.param_groups
        for p in group["params"]
    }


@pytest.mark.parametrize("layer_decay", [None, 0.75])
@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "beit_base_patch16_224", "eva02_tiny_patch14_224", "swin_tiny_patch4_window7_224"]
)
def test_timms_optimizers_treat_it_as_its_backbone(name, layer_decay):
    small = {"img_size": 32, "embed_dim": 32}
    options = {**small, "depths": (1, 1), "num_heads": (1, 1), "window_size": 4} if "swin" in name else VIT
    masked = MaskedImageModel(generated.create_model(name, num_classes=0, **options))
    options = {"opt": "adamw", "lr": 1e-3, "weight_decay": 0.05, "layer_decay": layer_decay}
    of_backbone = decayed(create_optimizer_v2(masked.backbone, **options), masked.backbone)
    of_masked = decayed(create_optimizer_v2(masked, **options), masked)
    token = of_masked.pop("mask_token")
    assert of_masked == {f"backbone.{name}": group for name, group in of_backbone.items()}
    first = of_backbone.get("patch_embed.proj.bias")
    assert token == (0.0, first[1])


FEW = ["test_vit", "coat_mini", "cait_xxs24_224", "swin_tiny_patch4_window7_224"]


@pytest.mark.parametrize(
    "name", [*FEW, *(pytest.param(name, marks=pytest.mark.exhaustive) for name in NAMES if name not in FEW)]
)
def test_layers_are_those_of_the_backbone(name):
    with torch.device("meta"):
        model = timm.create_model(name)
    holder = nn.Module()
    holder.backbone = model
    holder.mask_token = nn.Parameter(torch.zeros(1, device="meta"))
    if not hasattr(model, "group_matcher"):
        pytest.skip("timm has no groups for it")
    matcher = model.group_matcher(coarse=False)
    alone = group_parameters(model, matcher, reverse=True)
    held = group_parameters(holder, inside(matcher, "backbone", "mask_token"), reverse=True)
    assert held.pop("mask_token") == 0
    assert held == {f"backbone.{name}": layer for name, layer in alone.items()}


def test_a_backbone_without_groups_has_none_here():
    masked = MaskedImageModel(generated.create_model("pit_s_224", img_size=64), position="after")
    assert not hasattr(masked.backbone, "group_matcher")
    assert not hasattr(masked, "group_matcher")


def test_a_matcher_may_be_a_function():
    matcher = inside(lambda name: 0 if name.startswith("stem") else 1, "backbone", "mask_token")
    assert [matcher(name) for name in ("backbone.stem.weight", "backbone.blocks.0", "mask_token")] == [0, 1, 0]


def test_checkpointing_is_that_of_the_backbone():
    masked = MaskedImageModel(vit(num_classes=0), mask_ratio=0.5)
    mask = random_mask(2, (4, 4), 0.5)
    expected = masked(IMAGES, mask).features
    expected.sum().backward()
    gradients = {name: p.grad.clone() for name, p in masked.named_parameters()}
    masked.zero_grad()
    masked.set_grad_checkpointing()
    assert masked.backbone.grad_checkpointing
    masked(IMAGES, mask).features.sum().backward()
    for name, p in masked.named_parameters():
        torch.testing.assert_close(p.grad, gradients[name])
    masked.set_grad_checkpointing(False)
    assert not masked.backbone.grad_checkpointing


@pytest.mark.parametrize("strategy", ["drop", "replace"])
def test_an_average_of_its_weights_is_kept(strategy):
    masked = MaskedImageModel(vit(), strategy=strategy)
    average = ModelEmaV3(masked, decay=0.5)
    before = average.module.backbone.patch_embed.proj.weight.clone()
    with torch.no_grad():
        masked.backbone.patch_embed.proj.weight += 1
    average.update(masked)
    torch.testing.assert_close(average.module.backbone.patch_embed.proj.weight, before + 0.5)
    mask = random_mask(2, (4, 4), 0.5)
    assert average.module(IMAGES, mask).features.shape == masked(IMAGES, mask).features.shape


def test_splitting_a_model_in_training_keeps_its_optimizer_average_and_hooks():
    model = timm.create_model("vit_tiny_patch16_224", **VIT).train()
    optimizer, average = torch.optim.SGD(model.parameters(), lr=0.1), ModelEmaV3(model, decay=0.5)
    seen = []
    model.blocks[0].register_forward_hook(lambda *_: seen.append(1))
    split = generated.split(model)
    assert split is model
    assert split.training
    before = model.blocks[0].mlp.fc1.weight.clone()
    split.forward_stages(split.embed(IMAGES)).sum().backward()
    optimizer.step()
    assert seen == [1]
    assert not torch.equal(model.blocks[0].mlp.fc1.weight, before)
    average.update(split)
    assert not torch.equal(average.module.blocks[0].mlp.fc1.weight, before)


# What images there are


@pytest.mark.parametrize("strategy", ["drop", "replace"])
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "eva02_tiny_patch14_224"])
def test_a_first_convolution_may_have_been_replaced(name, strategy):
    model = vit(name)
    model.patch_embed.proj = nn.Conv2d(8, 32, 8, 8)  # the model still says that it takes 3 channels
    masked = MaskedImageModel(model, strategy=strategy)
    assert masked(torch.rand(2, 8, 32, 32)).features.shape[0] == 2


def test_an_error_inside_the_model_is_shown_as_it_is():
    model = vit()
    model.patch_embed.proj = nn.Conv2d(3, 16, 8, 8)  # of the wrong width
    with pytest.raises(ValueError, match=r"fails on images of shape \(2, 3, 32, 32\): Sizes of tensors must match"):
        MaskedImageModel(model)


@pytest.mark.parametrize("strategy", ["drop", "replace"])
def test_images_may_change_in_size_shape_and_number(strategy):
    model = vit(dynamic_img_size=True)
    masked = MaskedImageModel(model, mask_ratio=0.5, strategy=strategy)
    for batch, height, width in [(1, 32, 32), (3, 64, 32), (2, 32, 48), (1, 16, 16)]:
        features, mask, _ = masked(torch.rand(batch, 3, height, width))
        count = height // 8 * (width // 8)
        assert mask.shape == (batch, count)
        assert features.shape == (batch, 1 + (count // 2 if strategy == "drop" else count), 32)


# Ratios that change


@pytest.mark.parametrize("sampler", ["random", "block"])
@pytest.mark.parametrize("strategy", ["drop", "replace"])
def test_a_schedule_of_ratios_compiles_but_a_few_times(strategy, sampler):
    torch.compiler.reset()
    masked = MaskedImageModel(vit(img_size=64, num_classes=0), strategy=strategy, sampler=sampler)
    graphs = []

    def count(graph, example_inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(masked, fullgraph=True, backend=count)
    images = torch.rand(2, 3, 64, 64)
    for step in range(12):
        ratio = 0.3 + 0.05 * step
        assert int(compiled(images, ratio=ratio).mask.sum()) == 2 * round(64 * ratio)
    assert len(graphs) <= 4


def test_a_ratio_may_be_that_of_each_image():
    masked = MaskedImageModel(vit(), mask_ratio=0.5)
    assert masked(IMAGES, ratio=torch.tensor([0.0, 0.25])).mask.sum(dim=1).tolist() == [0, 4]
    with pytest.raises(ValueError, match="rows mask from 0 to 4"):
        MaskedImageModel(vit(), strategy="drop")(IMAGES, ratio=torch.tensor([0.0, 0.25]))


def test_a_range_of_ratios_leaves_some_images_as_they_are():
    masked = MaskedImageModel(vit(), mask_ratio=(0.1, 0.5), masked_images=0.5, sampler="block")
    mask = masked(torch.rand(8, 3, 32, 32)).mask
    assert int(mask.any(dim=1).sum()) == 4
    with pytest.raises(ValueError, match="every image must have as many"):
        MaskedImageModel(vit(), mask_ratio=(0.1, 0.5), strategy="drop")
    with pytest.raises(ValueError, match="masked_images"):
        MaskedImageModel(vit(), mask_ratio=0.5, masked_images=0.5)


# Arguments that are wrong


@pytest.mark.parametrize("unit", [0, -1])
def test_a_unit_that_is_none_is_refused(unit):
    with pytest.raises(ValueError, match=f"unit is {unit}"):
        MaskedImageModel(vit(), unit=unit)


@pytest.mark.parametrize("count", [0, 7, 9, 16])
def test_a_count_that_is_not_that_of_the_mask_is_refused(count):
    masked = MaskedImageModel(vit(), strategy="drop")
    mask = random_mask(2, (4, 4), 0.5)
    with pytest.raises(ValueError, match=f"count is {count}, and the mask does not"):
        masked(IMAGES, mask, count=count)
    assert masked(IMAGES, mask, count=8).features.shape[1] == 1 + 8


@pytest.mark.parametrize("strategy", ["drop", "replace"])
@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"count": 8}, ValueError, "count is 8, of a mask that is not given"),
        ({"mask": torch.arange(16).ge(8).expand(2, -1), "ratio": 0.25}, ValueError, "a mask is given, and a ratio"),
        ({"ratio": torch.tensor(0.5)}, ValueError, r"of shape \(2,\), not \(\): ratio.item\(\) is one for all"),
        ({"intermediates": []}, ValueError, r"intermediates is \[\]: it is a list of indices"),
        ({"intermediates": [5]}, ValueError, r"intermediates is \[5\]: .*out of range"),
        ({"intermediates": 0}, ValueError, "intermediates is 0: .* 1 at least"),
        ({"intermediates": "x"}, TypeError, "intermediates is 'x'"),
        ({"intermediates": [0.5]}, TypeError, r"intermediates is \[0\.5\]"),
        ({"ratio": [0.5, 0.5]}, TypeError, r"a tensor with one for each image, \(B,\), not a list"),
    ],
)
def test_what_would_be_passed_over_is_refused(strategy, given, error, message):
    with pytest.raises(error, match=message):
        MaskedImageModel(vit(), strategy=strategy)(IMAGES, **given)


@pytest.mark.parametrize("options", [{"image_size": 32}, {"image_size": (32,)}, {"unit": 2.0}])
def test_a_size_and_a_unit_that_are_none_are_named(options):
    with pytest.raises(ValueError, match=r"(image_size|unit) is .*: "):
        MaskedImageModel(vit(), **options)


def test_patches_of_no_image_are_dropped():
    """With views of sizes that are known, timm's code takes no images as well."""
    masked, mask = MaskedImageModel(vit(), strategy="drop").eval(), torch.zeros(0, 16, dtype=torch.bool)
    with torch.no_grad():
        assert masked(IMAGES[:0]).restore.shape == masked(IMAGES[:0], mask).restore.shape == (0, 16)
        assert masked(IMAGES[:0], mask, count=12).features.shape == (0, 5, 32)


def test_a_compiled_model_finds_a_wrong_count_too():
    torch.compiler.reset()
    masked = MaskedImageModel(vit(), strategy="drop")
    compiled = torch.compile(masked, fullgraph=True, backend="eager")
    mask = random_mask(2, (4, 4), 0.5)
    compiled(IMAGES, mask, count=8)
    with pytest.raises(RuntimeError, match="the mask does not mask as many patches"):
        compiled(IMAGES, mask, count=9)


# Leaving Python


def test_the_dropping_encoder_is_exported():
    masked = MaskedImageModel(vit(num_classes=0), strategy="drop").eval()
    mask = random_mask(2, (4, 4), 0.75)
    program = torch.export.export(masked, (IMAGES, mask), {"count": 12})
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    other = random_mask(2, (4, 4), 0.75)
    actual = torch.export.load(file).module()(IMAGES, other, count=12)
    torch.testing.assert_close(actual[0], masked(IMAGES, other).features)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "eva02_tiny_patch14_224"])
def test_the_dropping_encoder_is_written_as_onnx(name):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from onnx.reference import ReferenceEvaluator

    masked = MaskedImageModel(vit(name, num_classes=0), strategy="drop").eval()
    mask = random_mask(2, (4, 4), 0.75, generator=torch.Generator().manual_seed(0))
    program = torch.onnx.export(masked, (IMAGES, mask), kwargs={"count": 12}, dynamo=True, verbose=False)
    file = io.BytesIO()
    onnx.save(program.model_proto, file)
    session = ReferenceEvaluator(file.getvalue())
    other = random_mask(2, (4, 4), 0.75, generator=torch.Generator().manual_seed(1))
    given = dict(zip(session.input_names, (IMAGES.numpy(), other.numpy()), strict=False))  # by position
    actual = session.run(None, given)
    torch.testing.assert_close(torch.from_numpy(actual[0]), masked(IMAGES, other).features, atol=1e-5, rtol=1e-4)
