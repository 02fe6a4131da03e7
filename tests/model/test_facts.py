"""What a class says about itself: names, ``group_matcher``, ``__init__``, and which attributes code runs."""

import ast

import pytest
from sources import facts_of

from codegen.model.facts import UNKNOWN, Facts, Matcher, Role, names_position


def attributes(init: str = "", matcher: str = "", methods: str = "", header: str = "") -> Facts:
    def block(signature: str, body: str) -> str:
        lines = "".join(f"        {line}\n" for line in (body or "pass").strip().splitlines())
        return f"    def {signature}:\n{lines}"

    return facts_of(
        f"{header}\nclass Tiny:\n{block('__init__(self, x=None)', init)}{methods}"
        + (block("group_matcher(self)", matcher) if matcher else "")
    )


# Names


@pytest.mark.parametrize(
    "name",
    ["pos_embed", "_pos_embed", "absolute_pos_embed", "pos_embed1", "patch_pos", "rope", "rotary_emb", "get_pos_enc"],
)
def test_names_that_speak_of_position(name):
    assert names_position(name)


@pytest.mark.parametrize(
    "name",
    ["rel_pos_bias", "shared_rel_pos", "pos_block", "pos_conv", "relative_position", "purpose", "compose", "decompose"],
)
def test_names_that_speak_of_relative_position_or_of_none(name):
    assert not names_position(name)


# The matcher


@pytest.mark.parametrize(
    ("stem", "blocks", "attribute", "role"),
    [
        (r"^cls_token|pos_embed|patch_embed", r"^blocks\.(\d+)", "patch_embed", Role.STEM),
        (r"^cls_token|pos_embed|patch_embed", r"^blocks\.(\d+)", "cls_token", Role.STEM),
        (r"^cls_token|pos_embed|patch_embed", r"^blocks\.(\d+)", "blocks", Role.BLOCK),
        (r"^cls_token|pos_embed|patch_embed", r"^blocks\.(\d+)", "norm", None),
        (r"^features\.conv0", r"^features\.denseblock(\d+)", "features", Role.BOTH),
        (r"^features\.conv0", r"^layers", "features", Role.STEM),
        (r"^stem", r"^stages\.(\d+)", "stem", Role.STEM),
        (r"^conv1", r"^conv(\d+)", "conv1", Role.STEM),
    ],
)
def test_the_matcher_gives_an_attribute_its_role(stem, blocks, attribute, role):
    assert Matcher((stem,), (blocks,)).role(attribute) is role


@pytest.mark.parametrize(
    "text",
    [
        "return dict(stem=r'^stem', blocks=r'^blocks')",
        "return dict(stem=r'^stem', blocks=[(r'^blocks', None), (r'^norm', (99999,))])",
        "return {'stem': r'^stem', 'blocks': r'^blocks'}",
        "matcher = dict(stem=r'^stem', blocks=[r'^blocks' if coarse else r'^blocks.0'])\nreturn matcher",
    ],
)
def test_every_way_to_write_a_matcher_is_read(text):
    facts = attributes(matcher=text)
    assert facts.matcher.role("stem") is Role.STEM
    assert facts.matcher.role("blocks") is Role.BLOCK


def test_a_matcher_that_is_a_function_gives_prefixes():
    facts = attributes(
        matcher="""
def _matcher(name):
    if any(name.startswith(n) for n in ('conv1', 'patch')):
        return 0
    return 1
return _matcher
"""
    )
    assert facts.matcher.prefixes == ("conv1", "patch")
    assert facts.matcher.role("patch_embed") is Role.STEM
    assert facts.matcher.role("layer1") is None


def test_a_matcher_that_cannot_be_read_declares_nothing():
    assert not attributes(matcher="return build_matcher(self)").matcher
    assert not attributes().matcher


# __init__


@pytest.mark.parametrize(
    ("value", "role"),
    [
        ("nn.Parameter(torch.zeros(1))", Role.PARAMETER),
        ("nn.Parameter(torch.zeros(1)) if x else None", Role.PARAMETER),
        ("nn.Dropout(0.1)", Role.DROPOUT),
        ("nn.Dropout(p=x)", Role.DROPOUT),
        ("PatchDropout(x) if x > 0 else nn.Identity()", Role.PATCH_DROP),
        ("nn.ModuleList([Block()])", Role.BLOCK),
        ("nn.Sequential(*stages)", Role.BLOCK),
        ("nn.Sequential(Conv(), Norm())", Role.OTHER),
        ("act_layer(inplace=True)", Role.ACTIVATION),
        ("Thing()", Role.OTHER),
    ],
)
def test_what_an_attribute_is_made_of_gives_it_its_role(value, role):
    assert attributes(f"self.thing = {value}").role("thing") is role


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("pos_embed", Role.POSITION),
        ("norm_pre", Role.PRE_NORM),
        ("patch_drop", Role.PATCH_DROP),
        ("act1", Role.ACTIVATION),
        ("blocks", Role.BLOCK),
        ("rel_pos_bias", Role.OTHER),
        (UNKNOWN, Role.BLOCK),
    ],
)
def test_what_an_attribute_is_called_gives_it_its_role(name, role):
    assert attributes(f"self.{name} = make()" if name != UNKNOWN else "").role(name) is role


def test_parameters_that_are_registered_or_set_to_a_local_are_seen():
    facts = attributes("self.register_parameter('a', None)\nb = nn.Parameter(x)\nself.b = b\nself.c = 3")
    assert [facts.is_parameter(name) for name in "abc"] == [True, True, False]


def test_a_function_that_returns_a_parameter_makes_one():
    header = (
        "def tokens(n):\n    return nn.Parameter(torch.zeros(1, n, 4))\n\ndef layer(n):\n    return nn.Linear(n, n)\n"
    )
    facts = attributes("self.a = tokens(1)\nself.b = layer(1)\nself.c = unknown(1)", header=header)
    assert [facts.is_parameter(name) for name in "abc"] == [True, False, False]


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("return self.proj(x) + self.pos_embed", True),
        ("return self._add_position(self.proj(x))", True),
        ("return self.rope(self.proj(x))", True),
        ("return self.pos_drop(self.proj(x))", False),
        ("return self.proj(x) + self._rel_pos_bias()", False),
        ("return self.proj(x)", False),
    ],
)
def test_a_module_may_hold_the_position_of_what_it_makes(body, holds):
    header = (
        "class Embed(nn.Module):\n    def __init__(self):\n        self.pos_drop = nn.Dropout()\n"
        "    def _add_position(self, x): return x\n    def _rel_pos_bias(self): return 0\n"
        f"    def forward(self, x):\n        {body}\n"
    )
    assert attributes("self.embed = Embed()", header=header).holds_position("embed") == holds


def test_elements_of_a_container_are_seen_in_comprehensions_lists_and_appends():
    header = "class A: pass\nclass B: pass\nclass C: pass\n"
    facts = attributes(
        "self.a = nn.ModuleList([A(i) for i in range(2)])\nself.b = nn.Sequential([B(), B()])\n"
        "self.c = nn.ModuleList()\nself.c.append(C())",
        header=header,
    )
    assert {name: {cls.name for cls in facts.classes(f"{name}.0")} for name in "abc"} == {
        "a": {"A"},
        "b": {"B"},
        "c": {"C"},
    }


def test_both_arms_of_a_condition_make_an_attribute():
    facts = attributes("self.stem = A() if x else B()", header="class A: pass\nclass B: pass\n")
    assert {cls.name for cls in facts.classes("stem")} == {"A", "B"}


@pytest.mark.parametrize(
    ("lines", "classes"),
    [
        ("if x: made = A()\nelse: made = B()", "AB"),
        ("made = A()\nif x: made = B()", "AB"),
        ("made = None\nif x: made = B()", "B"),
        ("for made in x: pass\nmade = A()", "A"),
        ("made = B()\nmade = A()", "A"),
        ("made: object = A()", "A"),
    ],
)
def test_all_that_a_variable_may_hold_makes_an_attribute(lines, classes):
    for store in ("self.stem = made", "setattr(self, 'stem', made)", "self.add_module('stem', made)"):
        facts = attributes(f"{lines}\n{store}\nmade = C()", header="class A: pass\nclass B: pass\nclass C: pass\n")
        assert {cls.name for cls in facts.classes("stem")} == set(classes)


def test_attributes_that_a_base_class_makes_are_known():
    facts = facts_of(
        "from .base import Base\nclass Tiny(Base):\n    def __init__(self):\n        super().__init__()\n",
        files={"timm/models/base.py": "class Base:\n    def __init__(self):\n        self.pos_drop = nn.Dropout()\n"},
    )
    assert facts.role("pos_drop") is Role.DROPOUT


# What runs


METHODS = """
    def helper(self, x):
        return self.second(self.norm(x))

    def second(self, x):
        return self.helper(x) if x is None else self.blocks(x)
"""


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("x = self.stem(x)", {"stem"}),
        ("for blk in self.blocks: x = blk(x)", {"blocks"}),
        ("x = self.blocks[0](x)", {"blocks.0"}),
        ("x = self.blocks[i](x)", {"blocks"}),
        ("x = self.blocks[:2](x)", {"blocks"}),
        ("x = checkpoint_seq(self.blocks, x)", {"blocks"}),
        ("x = self.stem.forward(x)", {"stem"}),
        ("bias = self.rel_pos.get_bias()", {"rel_pos"}),
        ("x = self.helper(x)", {"norm", "blocks"}),
        ("if self.stem is not None: x = self.norm(x)", {"norm"}),
        ("if self.training and self.rate > 0: pass", set()),
        ("if self.check(x): pass", {"check"}),
        ("n = len(self.blocks)", set()),
        ("H, W = self.patch_embed.grid_size", set()),
        ("assert isinstance(self.stem, nn.Module)", set()),
        ("x = getattr(self, 'stem')(x)", {"stem"}),
        ("x = getattr(self, name)(x)", {UNKNOWN}),
        ("x = run(self, x)", {UNKNOWN}),
        ("self.cache = x", set()),
    ],
)
def test_which_attributes_a_statement_runs(statement, expected):
    assert attributes(methods=METHODS).runs(ast.parse(statement)) == expected


def test_a_number_or_a_flag_is_no_module():
    facts = attributes("self.depth = 3\nself.stem = Stem()")
    read = ast.parse("y = f(x, self.depth, self.stem)")
    assert not facts.is_module("depth", read)
    assert facts.is_module("stem", read)
    assert facts.is_module("depth", ast.parse("x = self.depth(x)"))


def test_facts_of_an_inner_model_are_read_through_the_attribute_that_holds_it():
    outer = attributes(methods=METHODS)
    inner = Facts(outer.index, outer.cls, "self.encoder")
    assert inner.runs(ast.parse("x = self.encoder.stem(x)")) == {"stem"}
    assert inner.runs(ast.parse("x = self.encoder.helper(x)")) == {"norm", "blocks"}
    assert inner.runs(ast.parse("x = self.stem(x)")) == frozenset()


def test_a_string_in_a_matcher_that_is_no_pattern_says_nothing():
    matcher = Matcher(stem=("^patch_embed", "(unclosed"), blocks=("*",))
    assert matcher.role("patch_embed") is Role.STEM
    assert matcher.role("blocks") is None
