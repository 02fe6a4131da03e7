"""Random programs: what is split behaves as it did, result for result and effect for effect."""

import textwrap

import pytest
from differential import both, package_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codegen.types import Refusal, Split

HEADER = """
import torch
from torch import nn

FACTOR = 3


def shift(x, by=1):
    return x + by


class Tiny(nn.Module):
    def build(self):
        self.patch_embed = nn.Conv2d()
        self.pos_embed = nn.Parameter()
        self.pos_drop = nn.Dropout()
        self.norm_pre = nn.LayerNorm()
        self.pair_embed = nn.Pair()
        self.blocks = nn.ModuleList([nn.Block() for _ in range(3)])
        self.patch_embeds = nn.ModuleList([nn.Conv2d() for _ in range(3)])
        self.norm = nn.LayerNorm()
        self.flag = True
        self.other = False
        self.depth = 3
        self.items = [1, 2]

    def helper(self, x, y=0):
        self.journal.append("helper")
        return self.norm(x) + y

    def changes(self, x):
        self.depth += 1
        self.items.append(self.depth)
        return x

    def forward_features(self, x, mask=None, *, scale=2):
"""
VARIABLES = ("x", "a", "b", "c", "mask")
NUMBERS = ("0", "1", "scale", "FACTOR", "self.depth", "len(self.items)", "x.shape[0]", "len(self.blocks)")


def indented(lines):
    return ["    " + line for line in lines]


@st.composite
def expressions(draw, names):
    name = draw(st.sampled_from(names))
    return draw(
        st.sampled_from(
            [
                name,
                f"{name} + {draw(st.sampled_from(NUMBERS))}",
                f"self.norm({name})",
                f"shift({name})",
                f"({name}, {draw(st.sampled_from(names))})",
                draw(st.sampled_from(NUMBERS)),
                "[]",
                "None",
                "self.depth",
                "self.flag",
                "self.items",
                "self.patch_embed.grid_size",
                f"x if self.flag else {name}",
            ]
        )
    )


@st.composite
def wild_expressions(draw, names):
    name = draw(st.sampled_from(names))
    return draw(
        st.sampled_from(
            [
                f"[shift({name}) for _ in range(2)]",
                f"[{name} for {name} in self.items]",
                f"sum(i for i in [{name}, {name}])",
                f"(lambda: {name})",
                f"self.helper({name})",
                f"self.changes({name})",
                f"(i for i in ({name},))",
                "len(self.items)",
                f"self.items.append({name})",
                "getattr(self, 'depth')",
                "self.depth + 1",
                f"({name} := 3)",
            ]
        )
    )


@st.composite
def simple_statements(draw, names, wild):
    target = draw(st.sampled_from(VARIABLES[1:]))
    if wild and draw(st.integers(0, 2)) == 0:
        return draw(
            st.sampled_from(
                [
                    f"{target} = {draw(wild_expressions(names))}",
                    f"x = {draw(wild_expressions(names))}",
                    f"del {target}",
                    f"{target}.append(x)",
                    "self.flag = not self.flag",
                    "self.depth += 1",
                    "self.items[0] = 5",
                    f"{target}, self.other = 1, 2",
                    f"import math as {target}",
                    f"{target}: int = 4",
                    f"{target}: int",
                    f"{target} = {draw(st.sampled_from(VARIABLES))} = []",
                    f"assert {target} is not None, 'none'",
                    f"{target}, *_rest = self.items",
                    f"_h, {target} = self.patch_embed.grid_size",
                ]
            )
        )
    return draw(
        st.sampled_from(
            [
                f"{target} = {draw(expressions(names))}",
                f"{target} = {draw(expressions(names))}",
                f"{target}, {draw(st.sampled_from(VARIABLES[1:]))} = ({draw(expressions(names))}, 7)",
                f"{target} += 1",
                f"B, {target} = x.shape[:2]",
                f"h, {target} = self.patch_embed.grid_size",
            ]
        )
    )


@st.composite
def statements(draw, names, wild, depth=1, inside=False):
    kind = draw(st.integers(0, 9))
    if depth == 0 or kind < 6:
        return [draw(simple_statements(names, wild))]

    def block(size=2):
        lines = []
        for _ in range(draw(st.integers(1, size))):
            lines += draw(statements(names, wild, depth - 1, inside))
        return indented(lines)

    condition = draw(st.sampled_from(["self.flag", "mask is None", "self.other", "scale > 1", "self.depth > 3"]))
    if kind < 8:
        lines = [f"if {condition}:", *block()]
        return [*lines, "else:", *block()] if draw(st.booleans()) else lines
    if wild and kind == 8:
        return draw(
            st.sampled_from(
                [
                    ["try:", *block(1), "except (TypeError, AttributeError):", *block(1)],
                    ["try:", *block(1), "finally:", *block(1)],
                    ["with torch.no_grad():", *block(1)],
                    ["while self.other:", *block(1), "    break"],
                    ["def inner(y):", "    return x", f"{draw(st.sampled_from(VARIABLES[1:]))} = inner"],
                ]
            )
        )
    return [f"for i in range({draw(st.sampled_from(['0', '2', 'scale']))}):", *block()]


STEMS = ("x = self.patch_embed(x)", "y = self.patch_embed(x)", "x, a = self.pair_embed(x)", "x = self.patch_embed(x)")


@st.composite
def rows(draw, wild):
    """Statements in a row around a stem, a position and blocks."""
    lines = []

    def some(names, most):
        for _ in range(draw(st.integers(0, most))):
            lines.extend(draw(statements(names, wild)))

    bound = ["x", "mask", "scale"]
    free = list(VARIABLES) if draw(st.integers(0, 3)) == 0 else ["x", "mask"]
    if draw(st.booleans()):
        lines += ["a = 1", "b = []"]
        bound += ["a", "b"]
    names = list(dict.fromkeys(bound + free)) if wild else bound
    some(names, 2)
    stem = draw(st.sampled_from(STEMS))
    lines.append(stem)
    if stem.startswith("y"):
        lines.append("x = shift(y)")
    some(names, 1)
    if draw(st.booleans()):
        lines.append("x = x + self.pos_embed")
    if draw(st.booleans()):
        lines.append("x = self.pos_drop(x)")
    some(names, 2)
    if draw(st.booleans()):
        lines += ["for blk in self.blocks:", *indented(["x = blk(x)"])]
        lines += draw(st.sampled_from([[], ["if self.other:", "    return x"]]))
    else:
        lines += ["x = self.blocks[0](x)"]
    some(names, 2)
    results = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3))
    return [*lines, f"return x, {', '.join(results)}"]


@st.composite
def arms(draw, wild):
    """An ``if`` that runs stem and blocks in both its arms."""

    def arm():
        lines = []
        for _ in range(draw(st.integers(0, 1))):
            lines += draw(statements(["x", "a"], wild))
        lines.append("x = self.patch_embed(x)")
        for _ in range(draw(st.integers(0, 1))):
            lines += draw(statements(["x", "a"], wild))
        lines.append("x = self.blocks[1](x)")
        return indented(lines)

    condition = draw(st.sampled_from(["self.flag", "not self.other", "self.depth > 3", "len(self.items) > 2"]))
    before = ["a = []"] + (draw(statements(["x", "a"], wild)) if draw(st.booleans()) else [])
    return [*before, f"if {condition}:", *arm(), "else:", *arm(), "return x, a"]


LOOPS = (
    "for i in range(3):",
    "for i in range(scale):",
    "for i, stage in enumerate(self.blocks):",
    "for stem, stage in zip(self.patch_embeds, self.blocks):",
    "for i, (stem, stage) in enumerate(zip(self.patch_embeds, self.blocks)):",
)


@st.composite
def loops(draw, wild):
    """A loop over stages whose rounds begin with a stem."""
    header = draw(st.sampled_from(LOOPS))
    stem = "stem" if "stem" in header else "self.patch_embeds[i]"
    stage = "stage" if "stage" in header else "self.blocks[i]"
    lines = []
    for _ in range(draw(st.integers(0, 1))):
        lines += draw(statements(["x", "a"], wild))
    lines.append(f"x = {stem}(x)")
    for _ in range(draw(st.integers(0, 1))):
        lines += draw(statements(["x", "a"], wild))
    lines.append(f"x = {stage}(x)")
    for _ in range(draw(st.integers(0, 1))):
        lines += draw(statements(["x", "a"], wild))
    before = ["a = 0"] + (draw(statements(["x", "a"], wild)) if draw(st.booleans()) else [])
    last = ", i" if " i" in header and draw(st.booleans()) else ""
    return [*before, header, *indented(lines), f"return x, a{last}"]


def program(lines):
    return HEADER + textwrap.indent("\n".join(lines), " " * 8) + "\n"


def check(lines):
    source = program(lines)
    runs = both(source)
    if isinstance(runs, Refusal):
        assert runs.reason
        assert runs.place.line >= 1
        return
    original, split = runs
    assert split == original, source


def shapes(wild):
    return st.one_of(rows(wild), rows(wild), arms(wild), loops(wild))


QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@given(shapes(wild=False))
@settings(max_examples=150, **QUIET)
def test_a_plain_program_behaves_as_before_or_is_refused(lines):
    check(lines)


@given(shapes(wild=True))
@settings(max_examples=150, **QUIET)
def test_a_wild_program_behaves_as_before_or_is_refused(lines):
    check(lines)


@pytest.mark.exhaustive
@given(st.booleans().flatmap(lambda wild: shapes(wild)))
@settings(max_examples=10_000, **QUIET)
def test_ten_thousand_programs_behave_as_before_or_are_refused(lines):
    check(lines)


@pytest.mark.parametrize(("shape", "share"), [(rows, 0.6), (arms, 0.6), (loops, 0.4)])
def test_most_plain_programs_are_split(shape, share):
    results = []

    @given(shape(wild=False))
    @settings(max_examples=50, derandomize=True, database=None, **QUIET)
    def collect(lines):
        (outcome,) = package_of(program(lines)).outcomes
        results.append(isinstance(outcome.result, Split))

    collect()
    assert sum(results) >= share * len(results)
