"""A loop whose first rounds make the embedding, or the end of it, in ``forward_intermediates``."""

import pytest
from tapped import inside_stem, refused, source_of

SCALES = "self.embeds = nn.ModuleList([nn.Conv2d(3, 3, 1) for _ in range(4)])\nself.more = nn.ModuleList(self.embeds)"
FIRST = "x = self.embeds[0](x)\n"
STAGES = """
for i, block in enumerate(self.blocks):
    if i > 0:
        x = self.embeds[i](x)
    x = block(x)
return self.norm(x)
"""
CHOSEN = """
take, last = feature_take_indices(3, indices)
intermediates = []
if not stop_early:
    embeds = self.embeds
    blocks = self.blocks
else:
    embeds = self.embeds[:last + 1]
    blocks = self.blocks[:last + 1]
"""
LOOP = """
for i, (embed, block) in enumerate(zip(embeds, blocks)):
    x = embed(x)
    x = block(x)
    if i in take:
        intermediates.append(x)
if only:
    return intermediates
return self.norm(x), intermediates
"""


def agree(*args, **given):
    assert inside_stem(source_of(*args, **given)) == []


def test_containers_of_which_a_part_is_chosen():
    agree(SCALES, FIRST, CHOSEN + LOOP, stages=STAGES)


def test_containers_themselves():
    loop = LOOP.replace("zip(embeds, blocks)", "zip(self.embeds, self.blocks)")
    agree(SCALES, FIRST, "take, last = feature_take_indices(3, indices)\nintermediates = []\n" + loop, stages=STAGES)


PAIRS = (
    "self.embed1 = nn.Conv2d(3, 3, 1)\nself.embed2 = None\nself.block1 = nn.Conv2d(3, 3, 1)\nself.block2 = nn.ReLU()"
)
OF_PAIRS = """
take, last = feature_take_indices(2, indices)
intermediates = []
stages = [(self.embed1, self.block1), (self.embed2, self.block2)]
if stop_early:
    stages = stages[:last + 1]
for i, (embed, block) in enumerate(stages):
    if embed is not None:
        x = embed(x)
    x = block(x)
    if i in take:
        intermediates.append(x)
return (intermediates if only else (x, intermediates)) if len(stages) else None
"""
BY_NAME = """
x = self.block1(x)
if self.embed2 is not None:
    x = self.embed2(x)
x = self.block2(x)
return x
"""
BLOCKS = "def group_matcher(self):\n    return dict(stem='^embed1', blocks='^block(\\\\d+)')\n"


def test_a_list_of_what_each_stage_has():
    agree(PAIRS, "x = self.embed1(x)\n", OF_PAIRS, stages=BY_NAME, more=BLOCKS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self.embeds[:last + 1]", "self.embeds[1:last + 1]"),
        ("self.embeds[:last + 1]", "self.embeds[:last]"),
        ("self.embeds[:last + 1]", "self.more[:last + 1]"),
        ("take, last = feature_take_indices(3, indices)", "take, last = [0], -1"),
        ("intermediates = []\n", "intermediates = []\nembeds = None\n"),
        ("intermediates = []\n", "intermediates = []\nlast = -1\n"),
    ],
)
def test_a_part_whose_first_element_is_not_known(old, new):
    assert old in CHOSEN
    assert refused(SCALES, FIRST, CHOSEN.replace(old, new) + LOOP, stages=STAGES)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("for i,", "embeds = embeds[::-1]\nfor i,"),
        ("for i,", "embeds.append(self.norm)\nfor i,"),
        ("for i,", "self.choose(embeds)\nfor i,"),
        ("enumerate(zip(embeds, blocks))", "enumerate(zip(blocks, embeds))"),
        ("enumerate(zip(embeds, blocks))", "enumerate(zip(embeds, blocks), 1)"),
        ("x = embed(x)", "x = embed(x) * 2"),
        ("x = embed(x)", "if i in take:\n        x = embed(x)"),
        ("x = embed(x)", "if x.sum() > 0:\n        break\n    x = embed(x)"),
        ("x = embed(x)", "x = self.norm(x)\n    x = embed(x)"),
        ("x = block(x)", "embed = block\n    x = block(x)"),
        ("for i,", "x = x * 2\nfor i,"),
    ],
)
def test_a_first_round_that_does_something_else(old, new):
    assert old in LOOP
    more = "def choose(self, embeds):\n    embeds.insert(0, self.norm)\n"
    assert refused(SCALES, FIRST, CHOSEN + LOOP.replace(old, new, 1), stages=STAGES, more=more)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("stages = [(self.embed1, self.block1), (", "stages = [(self.embed2, self.block1), ("),
        ("if stop_early:", "stages.reverse()\nif stop_early:"),
        ("if embed is not None:", "if embed is not None and norm:"),
        ("if embed is not None:", "if block is not None:"),
    ],
)
def test_a_list_with_another_first_stage(old, new):
    assert refused(PAIRS, "x = self.embed1(x)\n", OF_PAIRS.replace(old, new), stages=BY_NAME, more=BLOCKS)


# Names of all layers

LAYERS = """
self.conv1 = nn.Conv2d(3, 3, 1)
self.conv2 = nn.Conv2d(3, 3, 1)
self.block1 = nn.Conv2d(3, 3, 1)
self.block2 = nn.Conv2d(3, 3, 1)
self.names = ['conv1', 'conv2', 'block1', 'block2']
self.ends = [0, 1, 2, 3]
"""
CONVS = "x = self.conv1(x)\nx = self.conv2(x)\n"
NAMED_STAGES = "x = self.block1(x)\nx = self.block2(x)\nreturn x\n"
NAMED = """
take, last = feature_take_indices(len(self.ends), indices)
ends = [self.ends[i] for i in take]
intermediates = []
names = self.names
if stop_early:
    names = names[:self.ends[last] + 1]
for i, n in enumerate(names):
    x = getattr(self, n)(x)
    if i in ends:
        intermediates.append(x)
return intermediates if only else (x, intermediates)
"""
NAMED_BLOCKS = "def group_matcher(self):\n    return dict(stem='^conv', blocks='^block(\\\\d+)')\n"


def test_names_of_all_layers():
    source = source_of(LAYERS, CONVS, NAMED, stages=NAMED_STAGES, more=NAMED_BLOCKS)
    assert inside_stem(source) == [0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self.names = ['conv1', 'conv2',", "self.names = ['conv2', 'conv1',"),
        ("self.names = ['conv1', 'conv2', 'block1', 'block2']", "self.names = ['conv1']"),
        ("self.names = ['conv1',", "self.names = [*given, 'conv1',"),
        ("self.ends =", "self.names.insert(0, 'conv2')\nself.ends ="),
        ("self.ends =", "self.names[0] = 'conv2'\nself.ends ="),
        ("self.ends =", "self.names = stem\nself.ends ="),
    ],
)
def test_a_list_of_other_names(old, new):
    assert old in LAYERS
    assert refused(LAYERS.replace(old, new), CONVS, NAMED, stages=NAMED_STAGES, more=NAMED_BLOCKS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("names[:self.ends[last] + 1]", "names[1:]"),
        ("for i, n", "names.reverse()\nfor i, n"),
        ("for i, n", "names += ['conv1']\nfor i, n"),
        ("x = getattr(self, n)(x)", "x = getattr(self, n)(x) * 2"),
        ("x = getattr(self, n)(x)", "x = getattr(self.blocks, n)(x)"),
        ("x = getattr(self, n)(x)", "y = getattr(self, n)(x)"),
        ("if i in ends:", "x = x * 2\n    if i in ends:"),
        ("if i in ends:", "self.count()\n    if i in ends:"),
        ("if i in ends:", "if x.sum() > 0:\n        break\n    if i in ends:"),
        ("intermediates.append(x)", "intermediates.append(x)\n        i = 0"),
        ("enumerate(names)", "enumerate(names, 1)"),
    ],
)
def test_a_loop_over_names_that_does_something_else(old, new):
    assert old in NAMED
    more = NAMED_BLOCKS + "def count(self):\n    self.n = 1\n"
    assert refused(LAYERS, CONVS, NAMED.replace(old, new, 1), stages=NAMED_STAGES, more=more)
