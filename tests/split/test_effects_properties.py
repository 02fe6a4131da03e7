"""Random models that leave traces on the way in and read some after the blocks, run by torch: right, or refused."""

import builtins
import copy
import textwrap
import types
from unittest.mock import patch

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codegen.generate import generate
from codegen.types import Refusal, Release

SOURCE = """
import functools

import torch
from torch import nn

COUNT = [1.0]
TABLE = {{}}
SCALE = 2.0


def remember(x, seen=[1.0]):
    seen.append(float(x.mean()))
    return seen[-1]


def recall(seen=[1.0]):
    return seen[-1]


def set_scale(x):
    global SCALE
    SCALE = float(x.mean())


def leave(part, x):
    part.extra = x.mean()


def mode_of(part):
    return 2.0 if part.training else 3.0


class Stem(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Conv2d(3, 4, 2, 2)
        self.register_buffer("mean", torch.ones(()))
        self.extra = torch.ones(())
        self.notes = [1.0]

    def forward(self, x):
        x = self.proj(x)
        {stem}
        return x.flatten(2).transpose(1, 2)

    def note(self, x):
        self.notes.append(float(x.mean()))

    @property
    def last(self):
        return self.notes[-1]


class Block(nn.Module):
    def __init__(self, link=None):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.link = [link]
        self.scale = 1.0

    def forward(self, x):
        {block}
        return x + self.fc(x) * self.scale


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = Stem()
        self.pos_embed = nn.Parameter(torch.randn(1, 4, 4))
        self.pos_drop = nn.Dropout(0.5)
        self.blocks = nn.ModuleList([Block({link}) for _ in range(2)])
        self.norm0 = nn.LayerNorm(4)
        self.norm1 = nn.LayerNorm(4)
        self.register_buffer("table", torch.ones(4))
        self.seen = torch.ones(())
        self.box = [1.0]
        self.alias = {alias}
        self.parts = {{"stem": self.patch_embed}}
        {made}

    def put(self, x):
        self.seen = x.mean()
        return x

    def get(self, x):
        return x * self.seen

    def forward_features(self, x):
{body}
"""
LEAVES = (
    "self.seen = x.mean()",
    "setattr(self, 'seen', x.mean())",
    "self.__dict__['seen'] = x.mean()",
    "x = self.put(x)",
    "self.table.copy_(x.mean() * torch.ones(4))",
    "self.table += x.mean()",
    "self.table = self.table + x.mean()",
    "self.box.append(float(x.mean()))",
    "self.box[0] = float(x.mean())",
    "COUNT[0] = float(x.mean())",
    "COUNT.append(float(x.mean()))",
    "TABLE['k'] = float(x.mean())",
    "TABLE.update(k=float(x.mean()))",
    "set_scale(x)",
    "remember(x)",
    "leave(self.patch_embed, x)",
    "leave(self, x)",
    "self.eval()",
    "self.train()",
    "self.train(not self.training)",
    "self.blocks.eval()",
    "self.patch_embed.eval()",
    "self.apply(lambda m: setattr(m, 'extra', x.mean()))",
    "self.patch_embed.extra = x.mean()",
    "self.patch_embed.note(x)",
    "self.patch_embed.mean.fill_(float(x.mean()))",
    "self.alias.extra = x.mean()",
    "self.parts['stem'].extra = x.mean()",
    "self.blocks[0].scale = float(x.mean())",
    "self.norm1.extra = x.mean()",
    "getattr(self, f'norm{1}').eps = float(x.mean().abs())",
    "stem = self.patch_embed\n        stem.extra = x.mean()",
    "self.alias = self.norm1",
    "box = self.box\n        box.append(float(x.mean()))",
    "late = functools.partial(self.put, x)\n        late()",
    "[m.note(x) for m in self.modules() if hasattr(m, 'note')]",
)
HARMLESS = (
    "B = x.shape[0]",
    "n = len(self.box)",
    "y = x.mean()",
    "x = x * 1.5",
    "flag = self.training",
    "scale = SCALE",
    "last = self.patch_embed.last",
    "stem = self.patch_embed",
    "norm = self.norm0",
    "table = self.table",
    "table = self.table.clone()",
    "seen = self.seen",
)
READS = (
    "x = x * self.seen",
    "x = self.get(x)",
    "x = x * getattr(self, 'seen')",
    "x = x * vars(self)['seen']",
    "x = x * self.table",
    "x = x * len(self.box)",
    "x = x * self.box[-1]",
    "x = x * COUNT[-1]",
    "x = x * TABLE.get('k', 1.0)",
    "x = x * SCALE",
    "x = x * recall()",
    "x = x * remember.__defaults__[0][-1]",
    "x = x * (2.0 if self.training else 3.0)",
    "x = x * mode_of(self.patch_embed)",
    "x = x * self.patch_embed.extra",
    "x = x * getattr(self, 'extra', 1.0)",
    "x = x * self.patch_embed.last",
    "x = x * self.patch_embed.mean",
    "x = x * self.alias.extra",
    "x = x * self.parts['stem'].extra",
    "x = self.norm0(x)",
    "x = self.norm1(x)",
    "x = getattr(self, f'norm{0}')(x)",
    "x = self.pos_drop(x)",
    "x = x * sum(float(b.mean()) for b in self.buffers())",
    "x = x * getattr(self.norm1, 'extra', 1.0)",
    "pass",
)
STEMS = (
    "pass",
    "self.extra = x.mean()",
    "self.note(x)",
    "self.mean.fill_(float(x.mean()))",
    "COUNT.append(float(x.mean()))",
    "x = x * self.extra",
    "self.eval()",
    "remember(x)",
)
BLOCKS = (
    "pass",
    "x = x * COUNT[-1]",
    "x = x * (2.0 if self.training else 3.0)",
    "x = x * recall()",
    "x = x * getattr(self.link[0], 'extra', 1.0)",
    "x = x * getattr(self, 'extra', 1.0)",
    "x = x * SCALE",
    "self.scale = float(x.mean())",
)
LINKS = ("", "self.patch_embed", "self.patch_embed.proj", "link=None")
ALIASES = ("self.patch_embed", "Stem()", "nn.Identity()", "self.blocks[0]")
MADE = (
    "pass",
    "self.patch_embed.owner = [self]",
    "self.norm1.register_forward_hook(lambda m, i, o: o * 2)",
    "self.patch_embed.register_forward_hook(lambda m, i, o: COUNT.append(2.0))",
)


@st.composite
def sources(draw):
    """A model with some traces before the boundary and some readers of traces after it."""

    def some(kinds, most):
        return [draw(st.sampled_from(kinds)) for _ in range(draw(st.integers(0, most)))]

    used = "x = x * (stem.extra if hasattr(stem, 'extra') else 1.0)"
    before = [*some(HARMLESS, 2), *some(LEAVES, 1)]
    middle = [*some(HARMLESS, 1), *some(LEAVES, 1)]
    bound = {line.partition(" =")[0] for line in (*before, *middle)}
    uses = {"n": "x = x * n", "flag": "x = x * (2.0 if flag else 3.0)", "scale": "x = x * scale", "stem": used}
    uses |= {"last": "x = x * last", "norm": "x = norm(x)", "table": "x = x * table", "seen": "x = x * seen"}
    after = some([*READS, *(use for name, use in uses.items() if name in bound)], 2)
    lines = [*before, "x = self.patch_embed(x)", *middle, "x = x + self.pos_embed"]
    lines += ["x = self.pos_drop(x)"] * draw(st.integers(0, 1))
    loop = ["for blk in self.blocks:", "    x = blk(x)"]
    return SOURCE.format(
        stem=draw(st.sampled_from(STEMS)),
        block=draw(st.sampled_from(BLOCKS)),
        link=draw(st.sampled_from(LINKS)),
        alias=draw(st.sampled_from(ALIASES)),
        made=draw(st.sampled_from(MADE)),
        body=textwrap.indent("\n".join([*lines, *loop, *after, "return x"]).replace("\n        ", "\n"), " " * 8),
    )


def load(source, generated):
    """The original class and its split, in a module of their own."""
    module = types.ModuleType("tiny")
    exec(compile(source, "tiny.py", "exec"), vars(module))
    base = types.SimpleNamespace(SplitModel=type("SplitModel", (), {}))

    def find(name, globals=None, locals=None, fromlist=(), level=0):
        if level:
            return base
        return module if name == "tiny" else builtins.__import__(name, globals, locals, fromlist, level)

    names = {"__builtins__": {**vars(builtins), "__import__": find}, "__name__": "generated.tiny"}
    exec(compile(generated, "generated.py", "exec"), names)
    return module.Tiny, names["TinySplit"]


def state_of(model):
    found = {name: value.detach().clone() for name, value in model.state_dict().items()}
    for name, part in model.named_modules():
        plain = {k: v for k, v in vars(part).items() if not k.startswith("_") and k not in ("link", "parts", "owner")}
        for key, value in plain.items():
            found[f"{name}.{key}"] = (
                type(value).__name__ if isinstance(value, torch.nn.Module) else copy.deepcopy(value)
            )
    return found


def observed(make, run, training):
    torch.manual_seed(0)
    model = make().train(training)
    torch.manual_seed(1)
    try:
        with torch.no_grad():
            result = run(model)
    except Exception as error:
        return type(error).__name__, None
    return result, state_of(model)


def alike(one, other):
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return type(one) is type(other) and one == other


def check(source):
    with patch("codegen.package.render.format_files", dict):
        package = generate(Release("", "memory", {"tiny.py": source}, ("tiny.py",)))
    (outcome,) = (o for o in package.outcomes if o.name == "Tiny")
    if isinstance(outcome.result, Refusal):
        return outcome
    images, others = torch.randn(2, 3, 4, 4), torch.randn(3, 3, 4, 4)

    def alone(model):
        return model.forward_stages(model.embed(images))

    def beside_another(model):
        embedding = model.embed(images)
        random = torch.get_rng_state()
        model.embed(others)
        torch.set_rng_state(random)
        return model.forward_stages(embedding)

    for training in (False, True):
        tiny, _ = load(source, package.files["tiny.py"])
        expected = observed(tiny, lambda model: model.forward_features(images), training)
        for run, whole in ((alone, True), (beside_another, False)):
            _, split = load(source, package.files["tiny.py"])
            found = observed(split, run, training)
            assert alike(found if whole else found[0], expected if whole else expected[0]), (run.__name__, source)
    return outcome


QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@given(sources())
@settings(max_examples=60, **QUIET)
def test_a_model_with_effects_is_right_or_refused(source):
    check(source)


@pytest.mark.exhaustive
@given(sources())
@settings(max_examples=10_000, **QUIET)
def test_ten_thousand_models_with_effects_are_right_or_refused(source):
    check(source)


def test_some_models_with_effects_are_split():
    outcomes = []

    @given(sources())
    @settings(max_examples=60, derandomize=True, database=None, **QUIET)
    def collect(source):
        outcomes.append(check(source))

    collect()
    assert sum(not isinstance(outcome.result, Refusal) for outcome in outcomes) > 10
