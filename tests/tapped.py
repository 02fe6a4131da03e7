"""Small models whose ``forward_intermediates`` takes features inside the stem, run by torch beside their splits."""

import builtins
import textwrap
import types

import torch
from sources import outcomes_of, release_of

from codegen.generate import generate
from codegen.types import Intermediates, Refusal, Split

MODULE = "timm.models.tiny"
FEATURES = "timm/models/_features.py"
TAKE_INDICES = '''
def feature_take_indices(num_features, indices=None):
    if indices is None:
        indices = num_features
    if isinstance(indices, int):
        assert 0 < indices <= num_features, "out of range"
        take_indices = [num_features - indices + i for i in range(indices)]
    else:
        take_indices = []
        for i in indices:
            idx = num_features + i if i < 0 else i
            assert 0 <= idx < num_features, "out of range"
            take_indices.append(idx)
    return take_indices, max(take_indices)
'''
HEAD = "take, last = feature_take_indices(4, indices)\nintermediates = []\n"
REST = """
for feat_idx, block in enumerate(self.blocks[:last] if stop_early else self.blocks, start=1):
    x = block(x)
    if feat_idx in take:
        intermediates.append(self.norm(x) if norm else x)
if only:
    return intermediates
return self.norm(x), intermediates
"""
STAGES = "for block in self.blocks:\n    x = block(x)\nreturn self.norm(x)\n"
REFUSED = "before the embedding is complete"


def source_of(stem, features, body, *, head="", more="", stages=STAGES):
    """A model with these modules as a stem, and with these statements before its blocks."""

    def block(text):
        return textwrap.indent(textwrap.dedent(text).strip("\n"), " " * 8)

    parameters = "x, indices=None, norm=False, stop_early=False, only=False"
    return (
        "import torch\nfrom torch import nn\nfrom timm.models._features import feature_take_indices\n"
        f"{textwrap.dedent(head)}\n"
        f"class Tiny(nn.Module):\n    def __init__(self, stem=None):\n        super().__init__()\n{block(stem)}\n"
        "        self.blocks = nn.ModuleList([nn.Conv2d(3, 3, 1) for _ in range(3)])\n"
        f"        self.norm = nn.BatchNorm2d(3)\n{textwrap.indent(textwrap.dedent(more), '    ')}\n"
        f"    def forward_features(self, x):\n{block(features + stages)}\n"
        f"    def forward_intermediates(self, {parameters}):\n{block(body)}\n"
    )


def found_in(source):
    """What becomes of the intermediate features of a model."""
    result = outcomes_of(source, {FEATURES: TAKE_INDICES})["Tiny"].result
    assert isinstance(result, Split), result
    return result.intermediates


def refused(*args, **given):
    """Why a model has no intermediate features from its embedding."""
    found = found_in(source_of(*args, **given))
    assert isinstance(found, Refusal), found
    return found.reason


def classes_of(source):
    """The class of a model, the package's module for it, and what became of its intermediate features."""
    package = generate(release_of(source, {FEATURES: TAKE_INDICES}))
    (outcome,) = (o for o in package.outcomes if o.name == "Tiny")
    assert isinstance(outcome.result, Split), outcome.result
    assert isinstance(outcome.result.intermediates, Intermediates), outcome.result.intermediates
    original: dict[str, object] = {"__name__": MODULE}
    exec(compile(source, "<model>", "exec"), original)
    split_model = types.SimpleNamespace(SplitModel=type("SplitModel", (), {}))

    def find(name, globals=None, locals=None, fromlist=(), level=0):
        if name == MODULE:
            return types.SimpleNamespace(**original)
        return split_model if level else builtins.__import__(name, globals, locals, fromlist, level)

    generated = {"__builtins__": {**vars(builtins), "__import__": find}, "__name__": "generated.tiny"}
    exec(compile(package.files["tiny.py"], "<split>", "exec"), generated)
    return original["Tiny"], generated, outcome.result.intermediates


def attempt(run):
    try:
        with torch.no_grad():
            return run()
    except (AssertionError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def alike(one, other):
    ours, theirs = torch.utils._pytree.tree_leaves(one), torch.utils._pytree.tree_leaves(other)
    return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))


def inside_stem(source, prepare=lambda model: None):
    """The features that a split refuses; it gives all others as the method does, with whatever keyword arguments.

    Args:
        source: Of a model.
        prepare: Changes a model before it runs.
    """
    tiny, generated, found = classes_of(source)
    torch.manual_seed(0)
    model, split = tiny().eval(), generated["TinySplit"]().eval()
    split.load_state_dict(model.state_dict())
    prepare(model)
    prepare(split)
    images = torch.randn(2, 3, 8, 8)
    absent = [k for k in range(4) if str(attempt(lambda k=k: taps(split, images, indices=[k]))).count(REFUSED)]
    ran = 0
    for indices in (None, 1, 2, [1, -1], [2], *([k] for k in range(4)), [7]):
        for flags in ({}, {"norm": True}, {"stop_early": True}, {"only": True}):
            keywords = {"indices": indices, **flags}
            expected = attempt(lambda keywords=keywords: model.forward_intermediates(images, **keywords))
            actual = attempt(lambda keywords=keywords: taps(split, images, **keywords))
            asked = range(4) if indices is None else range(4 - indices, 4) if isinstance(indices, int) else indices
            if {index % 4 for index in asked} & {*absent} and not isinstance(expected, str):
                assert actual.startswith("ValueError: ")
                assert REFUSED in actual
            elif isinstance(expected, str):
                assert actual == expected
            else:
                ran += 1
                assert alike(actual, expected), keywords
    assert ran
    assert bool(found.inside_stem) >= bool(absent)
    return absent


def taps(split, images, **keywords):
    return split.forward_stages_intermediates(split.embed(images), **keywords)
