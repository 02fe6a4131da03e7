"""From a class to its split or its refusal: what the parts add up to, and how they are recorded."""

import textwrap

import pytest
from sources import TINY, index_of, outcomes_of, refusal_of, result_in_users_file, split_of

from codegen.split.files import split_release
from codegen.types import Imported, Inherited, Refusal, Split

MODEL = """
import torch
from torch.nn import Conv2d, Sequential
from .layers import checkpoint

class Tiny:
    def __init__(self):
        self.patch_embed = Conv2d(3, 8, 2, 2)
        self.blocks = Sequential(*blocks)

    def forward_features(self, x, mask=None):
        x = self.patch_embed(x)
        x = checkpoint(self.blocks, x, mask)
        return x
"""


def test_a_split_holds_both_halves_and_what_they_need():
    split = split_of(MODEL)
    assert split.embed.body == ("x = self.patch_embed(x)",)
    assert split.forward_stages.body == ("x = checkpoint(self.blocks, x, mask)", "return x")
    assert [p.declaration for p in split.forward_features] == ["x", "mask=None"]
    assert [p.name for p in split.forward_stages.parameters] == ["mask"]
    assert split.imports == (Imported("checkpoint", "timm.models.layers", "checkpoint"),)
    assert (split.tokens, split.embedding) == ("x", "")


def test_an_outcome_has_the_line_of_the_method_and_the_registered_names():
    registering = """
        from ._builder import build_model_with_cfg
        from ._registry import register_model

        @register_model
        def tiny_b(**kwargs): return build_model_with_cfg(Tiny, "tiny_b")

        @register_model
        def other(**kwargs): return build(**kwargs)
    """
    elsewhere = f"from .tiny import Tiny\n{textwrap.dedent(registering).replace('tiny_b', 'tiny_a')}"
    helpers = {"_builder": "def build_model_with_cfg(cls, name): ...", "_registry": "def register_model(function): ..."}
    files = {f"timm/models/{name}.py": text for name, text in {**helpers, "more": elsewhere}.items()}
    (outcome,) = split_release(index_of(MODEL + textwrap.dedent(registering), files))
    assert str(outcome.place) == f"{TINY}:11"
    assert outcome.path == "timm.models.tiny.Tiny"
    assert outcome.models == ("tiny_a", "tiny_b")


def test_the_digest_changes_with_the_method_and_with_nothing_else():
    def digest(source: str) -> str:
        return outcomes_of(source)["Tiny"].digest

    assert digest(MODEL) == digest(f"# a comment\n{MODEL}\nclass Other: pass\n")
    assert digest(MODEL) != digest(MODEL.replace("        return x\n", "        return x  # features\n"))
    assert len(digest(MODEL)) == 64


def test_a_child_inherits_the_split_and_its_digest():
    outcomes = outcomes_of(f"{MODEL}\nclass Child(Tiny):\n    def forward(self, x): return x\n")
    assert outcomes["Child"].result == Inherited("timm.models.tiny.Tiny")
    assert outcomes["Child"].digest == outcomes["Tiny"].digest


def test_a_child_that_comes_before_its_parent_inherits_all_the_same():
    child = {"timm/models/a.py": "from .tiny import Tiny\nclass Child(Tiny): pass\n"}
    assert outcomes_of(MODEL, child)["Child"].result == Inherited("timm.models.tiny.Tiny")


def test_one_class_that_cannot_be_split_does_not_stop_the_others():
    bad = MODEL.replace("class Tiny", "class Bad").replace("x = self.patch_embed(x)", "pass")
    outcomes = outcomes_of(bad + MODEL)
    assert isinstance(outcomes["Bad"].result, Refusal)
    assert isinstance(outcomes["Tiny"].result, Split)


# Refusals that concern the class as a whole


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (MODEL + MODEL, "defined more than once, or under a condition"),
        ("if FAST:\n" + MODEL.replace("\n", "\n    ") + "\n", "defined more than once, or under a condition"),
        (MODEL + "    def embed(self, x): pass\n", "has a `embed` of its own"),
        (MODEL + "    forward_stages = None\n", "has a `forward_stages` of its own"),
        (MODEL.replace("2, 2)", "2, 2)\n        self.embed = 1"), "has a `embed` of its own"),
        (MODEL.replace("self, x, mask=None", "self"), "takes no images"),
        (MODEL.replace("self, x, mask=None", "self, *x, mask=None"), "its first parameter is not the images"),
        (MODEL.replace("self, x, mask=None", "self, *, x, mask=None"), "its first parameter is not the images"),
        (MODEL.replace("    def forward_f", "    @torch.jit.ignore\n    def forward_f"), "decorated with `@torch.jit"),
        (MODEL.replace("    def forward_f", "    async def forward_f"), "not a plain method"),
        (MODEL.replace("checkpoint(", "unheard_of("), "`unheard_of` is not defined at the top level of its module"),
        (MODEL + "\ndef f():\n    global checkpoint\n    checkpoint = None\n", "`checkpoint` is a global"),
    ],
)
def test_what_is_refused_whatever_the_statements_are(source, reason):
    assert reason in refusal_of(source).reason


def test_a_class_body_that_makes_forward_features_otherwise_is_refused():
    source = MODEL.replace("def forward_features", "def features") + "    forward_features = features\n"
    assert "not a plain method" in refusal_of(source).reason


def test_a_name_for_type_checkers_alone_cannot_be_imported_at_run_time():
    header = (
        "from __future__ import annotations\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a import A\n"
    )
    refusal = refusal_of(header + MODEL.replace("mask=None", "mask: A = None"))
    assert "`A` under a condition" in refusal.reason


@pytest.mark.parametrize(
    "binding",
    [
        "from collections import namedtuple as NamedTuple",
        "import jax as torch",
    ],
)
def test_a_name_that_the_generated_module_gives_to_something_of_its_own_is_refused(binding):
    name = binding.removesuffix(": pass").split()[-1]
    source = MODEL.replace("import torch\n", "") + binding + "\n"
    assert isinstance(split_of(source), Split)
    refusal = refusal_of(source.replace("x, mask)", f"x, {name}(mask))"))
    assert refusal.reason == f"`{name}` is another thing in its module than in the generated one"


@pytest.mark.parametrize("name", ["TinyEmbedding", "TinyPatches", "TinySplit"])
def test_what_the_module_names_so_keeps_its_name_and_the_generated_thing_gets_another(name):
    source = MODEL.replace("x, mask)", f"x, {name}(mask))") + f"class {name}: pass\n"
    outcome = outcomes_of(source)["Tiny"]
    assert isinstance(outcome.result, Split)
    assert name in {imported.name for imported in outcome.result.imports}
    assert name not in {outcome.split_name, outcome.result.embedding, getattr(outcome.result.patches, "record", "")}


# Models that delegate


DELEGATING = """
from .inner import Inner
from .layers import checkpoint

class Tiny:
    def __init__(self):
        self.encoder = Inner()

    def forward_features(self, x):
        return self.encoder(x)
"""
INNER = """
from .layers import checkpoint

class Inner:
    def __init__(self):
        self.patch_embed = PatchEmbed()
        self.blocks = Sequential(*blocks)

    def forward_features(self, x):
        x, size = self.patch_embed(x)
        x = checkpoint(self.blocks, x, size)
        return x

    def forward(self, x):
        x = self.forward_features(x)
        return x
"""


def test_a_class_that_delegates_has_the_inner_statements_imports_and_embedding():
    outcomes = outcomes_of(DELEGATING, {"timm/models/inner.py": INNER})
    split, inner = outcomes["Tiny"].result, outcomes["Inner"].result
    assert isinstance(split, Split)
    assert split.embed.body == ("x, size = self.encoder.patch_embed(x)",)
    assert split.forward_stages.body == (
        "x = checkpoint(self.encoder.blocks, x, size)",
        "return x",
    )
    assert split.delegate is not None
    assert (split.delegate.attribute, split.delegate.path) == ("encoder", "timm.models.inner.Inner")
    assert split.embedding == inner.embedding == "InnerEmbedding"
    assert split.imports == (Imported("checkpoint", "timm.models.layers", "checkpoint"),)


def test_a_name_that_is_another_thing_in_the_module_of_the_inner_model_is_refused():
    """Two classes that share a generated module share its names."""
    outer = DELEGATING.replace("from .layers import checkpoint", "from .others import checkpoint")
    refusal = refusal_of(outer, files={"timm/models/inner.py": INNER})
    assert refusal.reason == "a name means one thing in its module and another in that of the inner model"


ABSTRACT = """
import abc

import torch
from torch import nn


class Base(nn.Module, abc.ABC):
    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))
        self.blocks = nn.Sequential(nn.Linear(8, 8))

    @abc.abstractmethod
    def add_position(self, x): ...

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).mT
        x = self.add_position(x)
        return self.blocks(x)


class M(Base):
    def add_position(self, x):
        return x + self.pos_embed


class Other(Base):
    add_position = make()
"""


def test_a_child_is_split_that_defines_what_its_parent_leaves_open():
    assert isinstance(result_in_users_file(ABSTRACT, "Base"), Refusal)
    found = result_in_users_file(ABSTRACT, "M")
    assert isinstance(found, Split)
    assert found.boundary.statement == "x = self.add_position(x)"
    assert isinstance(result_in_users_file(ABSTRACT, "Other"), Refusal)
