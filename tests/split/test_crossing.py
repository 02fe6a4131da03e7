"""What crosses the boundary, and what the stages make again for themselves; behaviour compared where it runs."""

import pytest
from differential import Value, reason, same, tiny
from sources import outcomes_of, split_of

from codegen.types import Refusal

STAGES = "x = self.blocks[0](x)\n"


def fields_of(split):
    return tuple(field.name for field in split.fields)


def fields(source):
    return fields_of(split_of(source))


def test_a_constant_that_only_the_stages_read_moves_to_them():
    source = tiny(f"found = []\nx = self.patch_embed(x)\n{STAGES}found.append(x)\nreturn x, found")
    split = split_of(source)
    assert split.embed.body == ("x = self.patch_embed(x)",)
    assert split.forward_stages.body[0] == "found = []"
    same(source)


def with_masks(prepare):
    header = "x = self.patch_embed(x)\nx = x + self.pos_embed\n"
    return tiny(
        f"{prepare}\n{header}if masks is not None:\n    x = x * masks[0]\n{STAGES}return x",
        parameters="x, masks=None",
    )


WRAPPED = [
    "if not isinstance(masks, list):\n    masks = [masks]",
    "if masks is not None:\n    if not isinstance(masks, (list)):\n        masks = [masks]",
    "if masks is None:\n    masks = []",
    "masks = (masks,)",
]


@pytest.mark.parametrize("prepare", WRAPPED)
def test_an_argument_that_only_the_stages_read_is_made_a_list_there(prepare):
    """As the masks of I-JEPA."""
    split = split_of(with_masks(prepare))
    assert [field.name for field in split.fields] == ["x"]
    assert split.forward_stages.body[0] == prepare
    assert [parameter.name for parameter in split.forward_stages.parameters] == ["masks"]


@pytest.mark.parametrize(
    "prepare",
    [
        "if not isinstance(masks, list):\n    masks = [masks, x]",
        "if not isinstance(masks, list):\n    masks = [masks.to(x.dtype)]",
        "if x.shape[0] > 1:\n    masks = [masks]",
        "if self.training:\n    masks = [masks]",
        "if not isinstance(masks, list):\n    masks = [masks]\nelse:\n    masks = masks[:1]",
    ],
)
def test_an_argument_that_is_made_of_more_crosses_or_is_refused(prepare):
    result = outcomes_of(with_masks(prepare))["Tiny"].result
    assert "`masks` crosses" in result.reason if isinstance(result, Refusal) else "masks" in fields_of(result)


def test_a_constant_that_something_else_binds_too_stays():
    source = tiny(f"a = []\nimport math as a\nx = self.patch_embed(x)\n{STAGES}return x, a")
    assert fields(source) == ("x", "a")
    same(source)


def test_a_container_that_the_embedding_fills_crosses():
    source = tiny(
        f"found = []\nx = self.patch_embed(x)\nfound.append(x)\nx = x + self.pos_embed\n{STAGES}return x, found"
    )
    assert fields(source) == ("x", "found")
    same(source)


def test_what_looks_at_self_alone_is_made_again():
    source = tiny(
        f"x = self.patch_embed(x)\nh, w = self.patch_embed.grid_size\nx = x + self.pos_embed\n{STAGES}return x, h"
    )
    split = split_of(source)
    assert split.recomputed == ("h, w = self.patch_embed.grid_size",)
    assert fields(source) == ("x",)
    same(source)


@pytest.mark.parametrize(
    ("definition", "change"),
    [
        ("n = self.depth", "self.depth = 5"),
        ("n = self.depth", "self.depth += 1"),
        ("n = len(self.items)", "self.items.append(1)"),
        ("n = len(self.items)", "self.grow()"),
        ("n = getattr(self, 'depth')", "self.depth = 5"),
        ("n = len(getattr(self, 'items'))", "self.items.append(1)"),
    ],
)
def test_what_may_change_before_the_boundary_is_not_looked_up_after_it(definition, change):
    source = tiny(
        f"x = self.patch_embed(x)\n{definition}\n{change}\nx = x + self.pos_embed\n{STAGES}return x, n",
        methods="def grow(self):\n    self.items.append(1)\n",
    )
    assert fields(source) == ("x", "n")
    same(source)


def test_what_another_name_changes_is_not_looked_up_after_the_boundary():
    source = tiny(
        "s = self.items\nx = self.patch_embed(x)\nn = len(self.items)\ns.append(x)\nx = x + self.pos_embed\n"
        f"{STAGES}return x, n"
    )
    assert "n" in fields(source)
    same(source)


def test_a_property_is_asked_once():
    source = tiny(
        f"x = self.patch_embed(x)\nn = self.count\nx = x + n\nx = x + self.pos_embed\n{STAGES}return x, n",
        methods="@property\ndef count(self):\n    self.depth += 1\n    return self.depth\n",
    )
    assert fields(source) == ("x", "n")
    same(source)


def test_the_rest_of_an_unpacking_is_a_list_of_its_own():
    source = tiny(
        f"x = self.patch_embed(x)\na, *b = self.items\nb.append(x)\nx = x + self.pos_embed\n{STAGES}return x, b"
    )
    assert fields(source) == ("x", "b")
    same(source)


def test_arithmetic_on_a_parameter_is_done_once():
    source = tiny(f"p = self.pos_embed + 1\nx = self.patch_embed(x)\nx = x + p\n{STAGES}return x, p")
    assert fields(source) == ("x", "p")
    same(source)


def test_a_parameter_that_is_rebound_under_a_condition_is_given_to_both():
    source = tiny(
        f"x = self.patch_embed(x)\nif x is None:\n    mask = 1\nx = x + self.pos_embed\n{STAGES}return x, mask",
        "x, mask=None",
    )
    assert [p.name for p in split_of(source).embed.parameters] == ["x", "mask"]
    same(source, Value("images"), mask=7)


def test_keyword_arguments_that_the_embedding_takes_from_cross():
    source = tiny(f"x = self.patch_embed(x, kwargs.pop('a', 1))\n{STAGES}return x, kwargs", "x, **kwargs")
    assert fields(source) == ("x", "kwargs")
    same(source, Value("images"), a=2, b=3)


def test_a_name_that_no_field_can_have_is_refused():
    assert "`_n`" in reason(tiny(f"x = self.patch_embed(x)\n_n = x + 1\nx = x + self.pos_embed\n{STAGES}return x, _n"))


def test_what_the_embedding_imports_both_halves_import():
    source = tiny(f"import math\nx = self.patch_embed(x)\n{STAGES}return x, math.pi")
    assert fields(source) == ("x",)
    assert split_of(source).recomputed == ("import math",)
    same(source)


def test_a_module_that_the_embedding_imports_under_a_condition_does_not_cross():
    assert "import" in reason(tiny(f"if True:\n    import math\nx = self.patch_embed(x)\n{STAGES}return x, math.pi"))


def test_a_name_that_may_be_unbound_at_the_boundary_is_refused():
    body = f"x = self.patch_embed(x)\nif x is None:\n    n = 1\nx = x + self.pos_embed\n{STAGES}return x, n"
    assert reason(tiny(body)) == "`n` may be unbound at the boundary"


def collecting(begin, early="pass", parameters="x, wanted=None", methods="", flag="True", use="self.flag"):
    body = f"{begin}\nx = self.patch_embed(x)\n{early}\nx = x + self.pos_embed\n{STAGES}"
    return tiny(
        f"{body}if {use}:\n    found.append(x)\n    x = (x, found)\nreturn x", parameters, methods=methods, flag=flag
    )


@pytest.mark.parametrize("flag", ["True", "False"])
@pytest.mark.parametrize(
    "begin",
    [
        "if self.flag:\n    found = []",
        "if self.flag:\n    found = []\nelse:\n    found = None",
        "found = None\nif self.flag:\n    found = []",
        "found = [] if self.flag else None",
        "if self.flag is True and not self.depth == 7:\n    found = ()\n    found = []",
        "if self.flag and len(self.items) < 9:\n    found = []",
        "if self.flag or wanted:\n    found = []",
        "if self.flag or wanted is None:\n    found = []",
    ],
)
def test_what_only_the_stages_collect_in_is_made_there_if_the_question_has_the_same_answer(begin, flag):
    source = collecting(begin, flag=flag)
    assert fields(source) == ("x",)
    same(source)


@pytest.mark.parametrize(
    "parts",
    [
        {"early": "self.flag = not self.flag"},
        {"early": "self.turn()", "methods": "def turn(self):\n    self.flag = not self.flag"},
        {"early": "if self.flag:\n    found.append(x)"},
        {"early": "wanted = 1", "begin": "if wanted is None:\n    found = []"},
        {"early": "wanted.append(1)", "begin": "if wanted:\n    found = []"},
        {"begin": "if x is not None:\n    found = []"},
        {"begin": "if self.turn():\n    found = []", "methods": "def turn(self):\n    self.depth += 1\n    return 1"},
        {"begin": "if self.turn:\n    found = []", "methods": "@property\ndef turn(self):\n    return self.depth"},
        {"begin": "if self.flag:\n    found = [x]"},
        {"begin": "if self.flag:\n    found = self.items"},
        {"begin": "if self.flag:\n    found = []\n    self.depth = 9"},
        {"begin": "while self.flag:\n    found = []\n    break"},
    ],
)
def test_a_question_that_may_have_another_answer_is_not_moved(parts):
    parts = {"begin": "if self.flag:\n    found = []", **parts}
    result = outcomes_of(collecting(**parts))["Tiny"].result
    assert isinstance(result, Refusal) or "found" in fields_of(result)


def test_images_that_the_stages_read_cross_as_they_are():
    source = tiny("y = self.patch_embed(x)\ny = self.blocks[0](y)\nreturn y, x")
    assert fields(source) == ("y", "x")
    same(source)


def test_an_unpacking_that_asserts_the_number_of_dimensions_stays():
    source = tiny(f"B, C, H, W = x.shape\nx = self.patch_embed(x)\n{STAGES}return x, B")
    assert split_of(source).embed.body[0] == "B, C, H, W = x.shape"
    same(source)
