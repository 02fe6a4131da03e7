"""Features that ``forward_intermediates`` takes inside the stem are refused; all others are had from an embedding."""

import pytest
import torch
from tapped import HEAD, REST, found_in, inside_stem, refused, source_of
from torch import nn

TWO = "self.conv1 = nn.Conv2d(3, 3, 1)\nself.conv2 = nn.Conv2d(3, 3, 1)"
STEM = "self.stem = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1))"
CONVS = "x = self.conv1(x)\nx = self.conv2(x)\n"
WHOLE = "x = self.stem(x)\n"
TAP = "if 0 in take:\n    intermediates.append(x)\n"
COUNTED = "for i, module in enumerate(self.stem):\n    x = module(x)\n"


def between(tap, head=HEAD):
    return f"{head}x = self.conv1(x)\n{tap}x = self.conv2(x)\n{REST}"


def looped(rest, before="", head=HEAD):
    inner = "".join(f"    {line}\n" for line in rest.splitlines())
    return f"{head}{before}{COUNTED}{inner}{REST}"


# Between two statements of the stem


def test_a_feature_between_two_statements_of_the_stem_is_an_error():
    source = source_of(TWO, CONVS, between(TAP))
    assert inside_stem(source) == [0]
    assert found_in(source).inside_stem == (source.split("if 0 in take")[0].count("\n") + 1,)


@pytest.mark.parametrize(
    "tap",
    [
        "if norm and 0 in take:\n    intermediates.append(self.norm(x))\n",
        "if 0 in take:\n    if norm:\n        intermediates.append(x * 2)\n    intermediates.append(x)\n",
        "if 0 in take:\n    y = self.norm(x) if norm else x\n    intermediates.append(y)\n",
    ],
)
def test_a_feature_in_another_form(tap):
    assert "raise ValueError" in "\n".join(found_in(source_of(TWO, CONVS, between(tap))).stages.body)


def test_the_error_names_the_feature_by_its_counter():
    source = source_of(TWO, CONVS, between("feat_idx = 0\n" + TAP.replace("0", "feat_idx")))
    assert inside_stem(source) == [0]
    assert 'f"feature {feat_idx} is made inside the stem' in "\n".join(found_in(source).stages.body)


def test_indices_that_count_something_else_are_no_names_of_features():
    head = HEAD + "take = [self.ends[i] for i in take]\n"
    source = source_of(f"{TWO}\nself.ends = [0, 1, 2, 3]", CONVS, between(TAP, head))
    assert inside_stem(source) == [0]
    assert '"a feature that is asked for is made inside the stem' in "\n".join(found_in(source).stages.body)


def test_a_feature_that_is_the_embedding_is_given():
    assert inside_stem(source_of(TWO, CONVS, HEAD + CONVS + TAP + REST)) == []


def test_what_returns_inside_the_stem_is_an_error():
    early = "if last == 0 and stop_early:\n    return x, intermediates\n"
    assert inside_stem(source_of(TWO, CONVS, between(TAP + early))) == [0]


def test_a_model_that_ends_in_its_stem_has_no_stages():
    features = "x = self.conv1(x)\nif self.conv2 is None:\n    return x\nx = self.conv2(x)\n"
    body = "\n".join(found_in(source_of(TWO, features, between(TAP))).prologue)
    assert body.startswith("if self.conv2 is None:\n    raise ValueError(")
    assert inside_stem(source_of(TWO, features, between(TAP))) == [0]


@pytest.mark.parametrize(
    "tap",
    [
        "if 0 in take:\n    intermediates.append(x)\n    x = x * 2\n",
        "if 0 in take:\n    intermediates.append(x.mul_(2))\n",
        "if 0 in take:\n    intermediates.append(x)\nelse:\n    x = x * 2\n",
        "if 0 in take:\n    intermediates.append(x)\nelse:\n    intermediates.append(x * 0)\n",
        "if 0 in take and x.sum() > 0:\n    intermediates.append(x)\n",
        "if self.count() in take:\n    intermediates.append(x)\n",
        "if 0 in take:\n    self.seen = x\n",
        "if norm:\n    intermediates.append(x)\n",
        "if 0 not in take:\n    intermediates.append(x)\n",
        "intermediates.append(x)\n",
        "while 0 in take:\n    intermediates.append(x)\n",
        "if 0 in take:\n    intermediates.append(self.blocks[0](x))\n    raise RuntimeError\n",
    ],
)
def test_what_only_looks_as_if_it_collected(tap):
    assert refused(TWO, CONVS, between(tap), more="def count(self):\n    self.n = 1\n    return 0\n")


def test_another_counter_than_that_of_the_question():
    tap = "if feat_idx in take:\n    intermediates.append(x)\n"
    assert "may do more" in refused(
        TWO, CONVS, between("feat_idx = self.count()\n" + tap), more="def count(self): ...\n"
    )


# A stem whose parts are run one by one


def test_a_loop_over_the_parts_of_a_stem():
    assert inside_stem(source_of(STEM, WHOLE, f"{HEAD}for part in self.stem:\n    x = part(x)\n{REST}")) == []


@pytest.mark.parametrize(("where", "absent"), [(0, [0]), (1, [0]), (2, [])])
def test_the_last_part_of_a_stem_makes_the_embedding(where, absent):
    tap = f"if i == {where} and 0 in take:\n    intermediates.append(x)"
    assert inside_stem(source_of(STEM, WHOLE, looped(tap))) == absent


def test_what_is_counted_on_the_way_is_counted():
    tap = "if i in self.ends:\n    if feat in take:\n        intermediates.append(x)\n    feat += 1"
    rest = REST.replace("start=1", "start=feat")
    head = HEAD + "feat = 0\n"
    body = (
        looped(tap, head=head)
        .replace(REST, rest)
        .replace("enumerate(self.blocks[:last]", "enumerate(self.blocks[:last]")
    )
    assert inside_stem(source_of(f"{STEM}\nself.ends = [0]", WHOLE, body)) == [0]


def test_a_copy_that_is_collected_later():
    tap = "if i == 0:\n    down = x"
    after = "if 0 in take:\n    intermediates.append(down)\n"
    body = looped(tap, "down = x\n").replace(REST, after + REST)
    assert inside_stem(source_of(STEM, WHOLE, body)) == [0]


def test_a_stem_from_a_function():
    head = "def make(n):\n    layers = nn.Sequential(*[nn.Conv2d(3, 3, 1) for _ in range(n)])\n    return layers, n\n"
    source = source_of("self.stem, self.n = make(3)", WHOLE, looped(TAP.replace("0 in", "i == 0 and 0 in")), head=head)
    assert inside_stem(source) == [0]


def test_slices_of_a_stem():
    body = f"{HEAD}x = self.stem[:-1](x)\n{TAP}x = self.stem[-1](x)\n{REST}"
    assert inside_stem(source_of(STEM, WHOLE, body)) == [0]
    body = body.replace("[:-1]", "[:1]").replace("[-1]", "[1:]")
    assert inside_stem(source_of(STEM, WHOLE, body)) == [0]


@pytest.mark.parametrize(("first", "second"), [("[:1]", "[2:]"), ("[:-2]", "[-1]"), ("[:2]", "[1:]"), ("[1:]", "[-1]")])
def test_slices_that_are_no_whole(first, second):
    assert refused(STEM, WHOLE, f"{HEAD}x = self.stem{first}(x)\n{TAP}x = self.stem{second}(x)\n{REST}")


@pytest.mark.parametrize(
    "stem",
    [
        "self.stem = stem",
        "self.stem = Stem(nn.Conv2d(3, 3, 1), nn.ReLU())",
        f"{STEM}\nself.stem = Stem(self.stem)",
        f"{STEM}\nsetattr(self, 'stem', stem)",
        f"{STEM}\nfor self.stem in [stem]: pass",
        "make = nn.Sequential if stem is None else stem\nself.stem = make(nn.Conv2d(3, 3, 1))",
    ],
)
def test_a_stem_that_may_do_more_than_its_parts(stem):
    head = "class Stem(nn.Sequential):\n    def forward(self, x):\n        return super().forward(x) * 2\n"
    assert refused(stem, WHOLE, looped("pass"), head=head)


@pytest.mark.parametrize(
    "rest",
    [
        "if i == 1:\n    break",
        "x = x * 2",
        "if 0 in take:\n    x = x * 2",
        "intermediates.append(x)",
        "if module in take:\n    intermediates.append(x)",
        "self.seen = i",
        "module = self.norm",
        "i = 7",
        "print(i)",
    ],
)
def test_a_loop_that_does_more_than_to_run_the_parts(rest):
    assert refused(STEM, WHOLE, looped(rest))


@pytest.mark.parametrize("call", ["module(x) + 1", "module(x, 1)", "self.norm(module(x))", "i(x)"])
def test_a_loop_that_runs_them_in_another_way(call):
    assert refused(STEM, WHOLE, looped("pass").replace("module(x)", call))


def test_some_of_the_parts():
    assert refused(STEM, WHOLE, looped("pass").replace("enumerate(self.stem)", "enumerate(self.stem[1:])"))
    assert refused(STEM, WHOLE, looped("pass").replace("enumerate(self.stem)", "enumerate(self.blocks)"))


def test_what_was_made_on_the_way_is_not_there_later():
    body = looped("if i == 0:\n    down = x", "down = x\n").replace("return self.norm(x), ", "return down, ")
    assert refused(STEM, WHOLE, body) == "it reads `down`, which the stem makes on its way, after the embedding"


# A stem that gives what it makes on its way beside what it makes

TAPPED = """
class Stem(nn.Sequential):
    def forward_intermediates(self, x):
        y = None
        for i, module in enumerate(self):
            x = module(x)
            if i == 0:
                y = x
        return x, y


def make(deep):
    if deep:
        stem = Stem(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    else:
        stem = nn.Conv2d(3, 3, 1)
    return stem, deep
"""
EITHER = """
if hasattr(self.stem, 'forward_intermediates'):
    x, y = self.stem.forward_intermediates(x)
else:
    x, y = self.stem(x), None
if 0 in take:
    intermediates.append(x if y is None else y)
"""


@pytest.mark.parametrize("deep", [True, False])
def test_a_stem_that_may_have_a_method_for_its_features(deep):
    source = source_of(f"self.stem, self.deep = make({deep})", WHOLE, HEAD + EITHER + REST, head=TAPPED)
    assert inside_stem(source) == ([0] if deep else [])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x = module(x)", "x = module(x) * 2"),
        ("return x, y", "return y, x"),
        ("for i, module in enumerate(self)", "for i, module in enumerate(self[1:])"),
        ("class Stem(nn.Sequential):", "class Stem(nn.Sequential):\n    def forward(self, x):\n        return x\n"),
        (
            "class Stem(nn.Sequential):",
            "class Stem(nn.Sequential):\n    def __iter__(self):\n        return iter([])\n",
        ),
        ("y = None\n", "x = x * 2\n"),
        ("    def forward_inter", "    @torch.no_grad()\n    def forward_inter"),
        ("stem = nn.Conv2d(3, 3, 1)", "stem = other.Stem()"),
        ("class Stem(nn.Sequential):", "class Stem(Unknown):"),
    ],
)
def test_a_method_that_makes_another_embedding(old, new):
    assert old in TAPPED
    head = TAPPED.replace(old, new)
    assert refused("self.stem, self.deep = make(True)", WHOLE, HEAD + EITHER + REST, head=head)


def test_the_other_feature_is_not_there_later():
    body = HEAD + EITHER + REST.replace("return self.norm(x), ", "return y, ")
    reason = refused("self.stem, self.deep = make(True)", WHOLE, body, head=TAPPED)
    assert reason == "it reads `y`, which the stem makes on its way, after the embedding"


def test_a_pruned_stem_is_run_as_it_is():
    def prune(model):
        model.stem[2] = nn.Identity()
        torch.nn.init.ones_(model.stem[0].weight)

    assert inside_stem(source_of(STEM, WHOLE, looped(TAP.replace("0 in", "i == 0 and 0 in"))), prune) == [0]
