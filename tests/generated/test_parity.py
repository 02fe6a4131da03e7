"""Whatever works on a timm class works on its split class, and gives the same bits.

Each mode runs on timm's own model and on a split one with the same weights. Where timm's class fails in a mode,
``TIMM_FAILS`` says with what, and the split has to fail alike.
"""

import copy
import inspect
import io
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from timm.models import create_feature_extractor, get_graph_node_names
from timm.models.crossvit import CrossVit
from timm.models.deepseek_vit import DeepseekVitClassifier
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva
from timm.models.gemma4_vit import Gemma4VitClassifier
from timm.models.hiera import Hiera
from timm.models.mvitv2 import MultiScaleVit, MultiScaleVitCfg
from timm.models.naflexvit import NaFlexVit
from timm.models.qwen3_vit import Qwen3VitClassifier
from timm.models.swin_transformer import SwinTransformer
from timm.models.tnt import TNT
from timm.models.twins import Twins
from timm.models.vision_transformer import VisionTransformer
from timm.models.xcit import Xcit
from torch import nn
from torch.utils import _pytree as pytree

import generated
from generated import _manifest

# torch.jit is deprecated, and complains of much in timm's code that is traced or scripted
pytestmark = pytest.mark.filterwarnings("ignore")

SIZE = 32
PATCH = 8
CLASSES = 5
SQUARE = {"img_size": (SIZE, SIZE)}  # for classes that take no int

Arguments = dict[str, Any]
Build = Callable[..., nn.Module]


@dataclass(frozen=True)
class Case:
    """A small model of a class.

    Attributes:
        model_class: timm's class.
        options: What to construct it with.
        calls: Arguments for ``forward_features``, which between them give every parameter that it has.
    """

    model_class: type[nn.Module]
    options: Arguments
    calls: tuple[Callable[[], Arguments], ...] = ()

    def build(self, **options: Any) -> nn.Module:
        """Timm's model, the same weights each time."""
        torch.manual_seed(0)
        model = self.model_class(**self.options, **options).eval()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.1)  # timm starts tokens, positions and heads at zero, which hides mistakes
        return model

    def build_split(self, **options: Any) -> nn.Module:
        """The same, split."""
        return generated.split(self.build(**options))


def images(height: int = SIZE, width: int = SIZE) -> torch.Tensor:
    """Two images, (2, 3, height, width)."""
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


def patches() -> Arguments:
    """Two images that were cut to 4 by 3 patches beforehand; the last three patches of the second are padding."""
    valid = torch.ones(2, 12, dtype=torch.bool)
    valid[1, -3:] = False
    return {
        "patches": torch.randn(2, 12, 3 * PATCH * PATCH, generator=torch.Generator().manual_seed(1)),
        "patch_coord": torch.cartesian_prod(torch.arange(4), torch.arange(3)).expand(2, -1, -1),
        "patch_valid": valid,
    }


def images_with_mask(tokens: int) -> Arguments:
    """Images, and an attention mask to be added: no token sees those after it."""
    return {"x": images(), "attn_mask": torch.full((tokens, tokens), -torch.inf).triu(1)}


def causal_images() -> Arguments:
    return {"x": images(), "is_causal": True}


def masked_units() -> Arguments:
    """Images, and which of their 2 by 2 mask units to keep: as many of each image."""
    return {"x": images(), "mask": torch.tensor([[1, 0, 1, 1], [1, 1, 1, 0]], dtype=torch.bool)}


def image_size(**options: Any) -> Arguments:
    return {"img_size": SIZE, "num_classes": CLASSES, "drop_path_rate": 0.2, **options}


def vit(**options: Any) -> Arguments:
    return image_size(patch_size=PATCH, embed_dim=32, depth=2, num_heads=2, **options)


def hiera(**options: Any) -> Arguments:
    small = image_size(embed_dim=16, stages=(1, 1), q_pool=1, mask_unit_size=(4, 4), mask_unit_attn=(True, False))
    return small | SQUARE | options


CASES = {
    # the embedding is a tensor
    "VisionTransformer": Case(
        VisionTransformer,
        vit(pre_norm=True, reg_tokens=1, pos_drop_rate=0.1),
        (lambda: images_with_mask(18), causal_images),
    ),
    "VisionTransformer, patch dropout": Case(
        VisionTransformer, vit(patch_drop_rate=0.25), (lambda: images_with_mask(17), causal_images)
    ),
    "VisionTransformerDistilled": Case(
        VisionTransformerDistilled, vit(), (lambda: images_with_mask(18), causal_images)
    ),
    "SwinTransformer": Case(
        SwinTransformer, image_size(patch_size=4, window_size=4, embed_dim=16, depths=(2, 1), num_heads=(1, 2))
    ),
    # a NamedTuple
    "Eva": Case(Eva, vit(use_rot_pos_emb=True, pos_drop_rate=0.1), (lambda: images_with_mask(17), causal_images)),
    "Eva, mixed rope": Case(
        Eva,
        vit(use_rot_pos_emb=True, rope_type="mixed", attn_type="rope", patch_drop_rate=0.25),
        (lambda: images_with_mask(17), causal_images),
    ),
    "Xcit": Case(Xcit, vit(cls_attn_layers=1, pos_drop_rate=0.1)),
    "MultiScaleVit": Case(
        MultiScaleVit,
        image_size(cfg=MultiScaleVitCfg(depths=(1, 1), embed_dim=16, stride_q=((1, 1), (2, 2)), use_cls_token=True))
        | SQUARE,
    ),
    "Hiera": Case(Hiera, hiera(), (masked_units, lambda: {"x": images(), "return_intermediates": True})),
    "Hiera, patch dropout": Case(
        Hiera, hiera(patch_drop_rate=0.25), (masked_units, lambda: {"x": images(), "return_intermediates": True})
    ),
    "TNT": Case(
        TNT,
        image_size(patch_size=PATCH, embed_dim=32, inner_dim=8, depth=2, num_heads_inner=2, num_heads_outer=2)
        | {"pos_drop_rate": 0.1},
    ),
    "Twins": Case(
        Twins,
        image_size(embed_dims=(16, 32), num_heads=(1, 2), mlp_ratios=(2, 2), depths=(2, 1), sr_ratios=(2, 1))
        | {"pos_drop_rate": 0.1},
    ),
    # a list of tensors
    "CrossVit": Case(
        CrossVit,
        image_size(patch_size=(8, 16), embed_dim=(16, 32), depth=((1, 1, 0),), num_heads=(2, 2), pos_drop_rate=0.1),
    ),
    # the embedding of the model inside
    "DeepseekVitClassifier": Case(DeepseekVitClassifier, vit()),
    "Qwen3VitClassifier": Case(Qwen3VitClassifier, vit()),
    "Gemma4VitClassifier": Case(
        Gemma4VitClassifier,
        vit(head_dim=16, intermediate_size=48, position_embedding_size=16),
        (lambda: {"x": patches()}, lambda: {("x" if k == "patches" else k): v for k, v in patches().items()}),
    ),
    # what a helper returned in a dict
    "NaFlexVit": Case(
        NaFlexVit,
        vit(class_token=True, pos_drop_rate=0.1),
        (patches, lambda: {"patches": images(), "attn_mask": torch.zeros(2, 1, 17, 17)}),
    ),
    "NaFlexVit, mixed rope": Case(
        NaFlexVit,
        vit(rope_type="mixed", patch_drop_rate=0.25),
        (patches, lambda: {"patches": images(), "attn_mask": torch.zeros(2, 1, 16, 16)}),
    ),
}

ANY_SIZE = {
    "VisionTransformer",
    "VisionTransformer, patch dropout",
    "VisionTransformerDistilled",
    "SwinTransformer",
    "Eva",
    "Eva, mixed rope",
}

TIMM_FAILS: dict[tuple[str, str], type[Exception]] = {
    **{(name, "set_input_size"): AttributeError for name in CASES.keys() - ANY_SIZE},
    **{(name, "dynamic_img_size"): TypeError for name in CASES.keys() - ANY_SIZE},
    ("VisionTransformer, patch dropout", "feature_extraction"): TypeError,
    ("Eva, mixed rope", "feature_extraction"): TypeError,
    ("Hiera", "script"): RuntimeError,
    ("Hiera", "feature_extraction"): AttributeError,
    ("Hiera, patch dropout", "script"): RuntimeError,
    ("Hiera, patch dropout", "compilation"): torch._dynamo.exc.UserError,
    ("Hiera, patch dropout", "feature_extraction"): AssertionError,
    ("Twins", "checkpointing"): AssertionError,
    ("CrossVit", "checkpointing"): AssertionError,
    ("Gemma4VitClassifier", "script"): RuntimeError,
    ("Gemma4VitClassifier", "feature_extraction"): torch.fx.proxy.TraceError,
    ("NaFlexVit", "script"): torch.jit.frontend.NotSupportedError,
    ("NaFlexVit, mixed rope", "script"): torch.jit.frontend.NotSupportedError,
    ("NaFlexVit, mixed rope", "feature_extraction"): torch.fx.proxy.TraceError,
}

Mode = Callable[[Case, Build], Any]
MODES: dict[str, Mode] = {}


def mode(run: Mode) -> Mode:
    """Register something that users do with a model: it gets what builds the model, and returns all that came out."""
    MODES[run.__name__] = run
    return run


@mode
def evaluation(case: Case, build: Build) -> Any:
    model = build()
    return model(images()), model.forward_features(images())


@mode
def keywords(case: Case, build: Build) -> Any:
    model = build()
    return [model.forward_features(images()), *(model.forward_features(**call()) for call in case.calls)]


@mode
def training(case: Case, build: Build) -> Any:
    return train(build())


@mode
def checkpointing(case: Case, build: Build) -> Any:
    model = build()
    model.set_grad_checkpointing(True)
    return train(model)


def train(model: nn.Module) -> Any:
    """The output in training mode, with its dropout, and every gradient."""
    model.train()
    torch.manual_seed(2)
    output = model(images())
    sum(leaf.square().mean() for leaf in pytree.tree_leaves(output)).backward()
    return output, {name: parameter.grad for name, parameter in model.named_parameters()}


@mode
def autocast(case: Case, build: Build) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        return build()(images())


@mode
def script(case: Case, build: Build) -> Any:
    return torch.jit.script(build())(images())


@mode
def compilation(case: Case, build: Build) -> Any:
    torch.compiler.reset()
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        graphs.append(operations(graph.graph))
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)

    # timm's own Hiera selects tokens by a mask, whose number torch 2.9 has in a graph only if it is asked to
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        return train(torch.compile(build(), fullgraph=True, backend=backend)), graphs


@mode
def export(case: Case, build: Build) -> Any:
    program = torch.export.export(build(), (images(),))
    return program.module()(images()), operations(program.graph)


def operations(graph: torch.fx.Graph) -> list[tuple[str, str]]:
    """Nodes in order, but for the inputs: they come in the order of first use, and a look at the batch size is one."""
    nodes = [(node.op, str(node.target)) for node in graph.nodes]
    return [*sorted(node for node in nodes if node[0] == "placeholder"), *(n for n in nodes if n[0] != "placeholder")]


@mode
def feature_extraction(case: Case, build: Build) -> Any:
    model = build()
    modules = dict(model.named_modules())
    _, names = get_graph_node_names(model)
    # An operator that a forward_features runs itself may have another number: the split reads the batch size again.
    nodes = [name for name in names if name in modules or name.rpartition(".")[0] not in ("", "encoder")]
    return nodes, create_feature_extractor(model, [nodes[len(nodes) // 2], nodes[-1]])(images())


@mode
def deepcopy(case: Case, build: Build) -> Any:
    return of_same_class(build(), copy.deepcopy)(images())


@mode
def pickling(case: Case, build: Build) -> Any:
    return of_same_class(build(), lambda model: pickle.loads(pickle.dumps(model)))(images())


@mode
def saving(case: Case, build: Build) -> Any:
    def save_and_load(model: nn.Module) -> nn.Module:
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        return torch.load(file, weights_only=False)

    return of_same_class(build(), save_and_load)(images())


def of_same_class(model: nn.Module, duplicate: Callable[[nn.Module], nn.Module]) -> nn.Module:
    twin = duplicate(model)
    assert twin is not model
    assert type(twin) is type(model)
    return twin


@mode
def state_dict_to_timm(case: Case, build: Build) -> Any:
    return load(case.build(), build())


@mode
def state_dict_from_timm(case: Case, build: Build) -> Any:
    return load(build(), case.build())


def load(target: nn.Module, source: nn.Module) -> Any:
    for parameter in target.parameters():
        nn.init.zeros_(parameter)
    target.load_state_dict(source.state_dict(), strict=True)
    return target(images()), list(source.state_dict())


@mode
def reset_classifier(case: Case, build: Build) -> Any:
    model = build()
    model.reset_classifier(CLASSES + 1)
    return model(images())


@mode
def forward_intermediates(case: Case, build: Build) -> Any:
    model = build()
    return model.forward_intermediates(images()), model.forward_intermediates(
        images(), indices=1, intermediates_only=True
    )


@mode
def prune_intermediate_layers(case: Case, build: Build) -> Any:
    model = build()
    return model.prune_intermediate_layers(1), model.forward_features(images())


@mode
def set_input_size(case: Case, build: Build) -> Any:
    model = build()
    model.set_input_size(img_size=(2 * SIZE, SIZE))
    return model(images(2 * SIZE, SIZE))


@mode
def dynamic_img_size(case: Case, build: Build) -> Any:
    model = build(dynamic_img_size=True)
    return model(images()), model(images(2 * SIZE, SIZE))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads cost more than they give on models this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.compiler.reset()


def assert_same(actual: Any, expected: Any) -> None:
    """Assert that two results have the same structure, and the same bits."""
    actual_leaves, actual_structure = pytree.tree_flatten(actual)
    expected_leaves, expected_structure = pytree.tree_flatten(expected)
    assert actual_structure == expected_structure
    for actual_leaf, expected_leaf in zip(actual_leaves, expected_leaves, strict=True):
        if isinstance(expected_leaf, torch.Tensor):
            assert actual_leaf.dtype == expected_leaf.dtype
            assert torch.equal(actual_leaf, expected_leaf)
        else:
            assert actual_leaf == expected_leaf


@pytest.mark.parametrize("run", MODES.values(), ids=MODES)
@pytest.mark.parametrize("name", CASES)
def test_split_gives_what_timm_gives(name: str, run: Mode) -> None:
    case = CASES[name]
    failure = TIMM_FAILS.get((name, run.__name__))
    if failure is None:
        assert_same(run(case, case.build_split), run(case, case.build))
        return
    with pytest.raises(failure) as of_timm:
        run(case, case.build)
    with pytest.raises(failure) as of_split:
        run(case, case.build_split)
    assert of_split.type is of_timm.type


@pytest.mark.parametrize("name", CASES)
def test_every_keyword_of_forward_features_is_tried(name: str) -> None:
    case = CASES[name]
    _self, _images, *keywords = inspect.signature(case.model_class.forward_features).parameters
    assert {keyword for call in case.calls for keyword in call()} >= set(keywords)


@pytest.mark.parametrize("name", CASES)
def test_signature_of_forward_features_is_that_of_timm(name: str) -> None:
    case = CASES[name]
    split_class = type(case.build_split())
    assert inspect.signature(split_class.forward_features) == inspect.signature(case.model_class.forward_features)


@pytest.mark.parametrize("name", CASES)
def test_embedding_crosses_from_one_compiled_graph_to_another(name: str) -> None:
    model = CASES[name].build_split()
    embed = torch.compile(model.embed, fullgraph=True, backend="eager")
    forward_stages = torch.compile(model.forward_stages, fullgraph=True, backend="eager")
    assert_same(forward_stages(embed(images())), model.forward_features(images()))


@pytest.mark.parametrize("name", [name for name in CASES if (name, "script") not in TIMM_FAILS])
def test_embedding_crosses_from_one_scripted_method_to_another(name: str) -> None:
    model = CASES[name].build_split()
    scripted = torch.jit.script(model)
    assert_same(scripted.forward_stages(scripted.embed(images())), model.forward_features(images()))


def is_halved(case: Case) -> bool:
    entry = _manifest.by_class()[f"{case.model_class.__module__}.{case.model_class.__name__}"]
    return "absent" not in entry["split"]["patches"]


HALVED = [name for name, case in CASES.items() if is_halved(case)]


@pytest.mark.parametrize("name", HALVED)
def test_embed_is_positions_after_patches(name: str) -> None:
    model = CASES[name].build_split()
    expected = model.embed(images())
    patches = model.embed_patches(images())
    assert_same(model.embed_positions(patches), expected)
    compiled = torch.compile(model.embed_patches, fullgraph=True, backend="eager")(images())
    assert_same(torch.compile(model.embed_positions, fullgraph=True, backend="eager")(compiled), expected)
    if (name, "script") not in TIMM_FAILS:
        scripted = torch.jit.script(model)
        embedding = scripted.embed_positions(scripted.embed_patches(images()))
        # TorchScript may fuse operations, and then rounds otherwise
        torch.testing.assert_close(scripted.forward_stages(embedding), model.forward_features(images()))
