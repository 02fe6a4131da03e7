"""What must not be cut is refused, with the line and the reason; what may be cut behaves as it did."""

import pytest
from differential import Value, reason, same, tiny
from sources import refusal_of, split_of

STEM = "x = self.patch_embed(x)\n"
STAGES = "x = self.blocks[0](x)\nreturn x"
BODY = STEM + STAGES


@pytest.mark.parametrize("header", ["", "found = 3"])
def test_a_local_that_is_bound_under_a_condition_and_read_in_the_stages_stays_a_local(header):
    stages = "for i in range(2):\n    x = self.blocks[0](x)\n    if i:\n        found = i\nreturn x, found"
    same(tiny(STEM + stages, header=header))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("y = yield x", "suspends"),
        ("global y", "declares y global, which two methods cannot share: keep it on the model"),
        ("y = locals()", "`locals` sees the frame"),
        ("y = eval('self.norm')", "write `getattr(self, name)` for an attribute"),
        ("y = super().forward(x)", "`super()` sees the class that it stands in"),
        ("y = __name__", "`__name__` is another one"),
        ("y = self.__class__", "class of self"),
        ("y = type(self)", "class of self"),
        ("y = self.__secret", "private name `__secret`"),
        ("y = shift(x, __secret=1)", "private name `__secret`"),
        ("self = x", "`self` is rebound"),
        ("y = [self for self in x]", "`self` is rebound"),
        ("y = lambda self: self", "`self` is rebound"),
        ("import math as self", "`self` is rebound"),
        ("y = (z := x)", "`:=`"),
        ("zip = x", "`zip` is not the builtin"),
        ("y = unheard", "`unheard` is not defined"),
    ],
)
def test_what_means_something_else_in_two_methods_is_refused(line, why):
    found = refusal_of(tiny(f"{line}\n{BODY}", header="def shift(x, **more): return x"))
    assert why in found.reason
    assert found.place.line > 1


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("f = lambda: x", "a function made before the boundary"),
        ("f = (x for i in x)", "a function made before the boundary"),
        ("def f():\n    return x", "a function made before the boundary"),
        ("y = 1\ndel y", "`del` before the boundary"),
        ("y = z = 1\ndel (y, z)", "`del` before the boundary"),
        ("if self.flag:\n    return x", "may return before any patch embedding"),
    ],
)
def test_what_the_embedding_may_not_hold_is_refused(line, why):
    assert why in reason(tiny(f"{line}\n{BODY}"))


@pytest.mark.parametrize(
    "stages",
    [
        "f = lambda: x\nx = f()",
        "del x\nx = 1",
        "if self.flag:\n    return x",
        "y = [x for x in (x, x)]\nx = y",
        "x = x or sum(i for i in (1, 2))",
    ],
)
def test_the_stages_may_do_what_they_like(stages):
    same(tiny(f"{STEM}x = self.blocks[0](x)\n{stages}\nreturn x"))


@pytest.mark.parametrize("other", ["this, x", "x"])
def test_a_receiver_of_another_name_is_refused(other):
    source = tiny(BODY).replace("forward_features(self, x)", f"forward_features({other})")
    assert "first parameter is not `self`" in reason(source)


def test_a_default_value_is_imported_from_its_module():
    same(tiny(BODY.replace("return x", "return x, size"), "x, size=SIZE", header="SIZE = 5"))


@pytest.mark.parametrize(
    ("default", "below"),
    [("SIZE", "SIZE = 7"), ("SIZE", "SIZE += 1"), ("SIZE", "for SIZE in range(3): pass"), ("CFG.size", "CFG.size = 7")],
)
def test_a_default_value_that_is_assigned_to_below_the_class_is_refused(default, below):
    header = "class CFG: size = 5\nSIZE = 5"
    source = tiny(BODY.replace("return x", "return x, size"), f"x, size={default}", header=header) + f"\n\n{below}\n"
    assert reason(source) == f"a default value is `{default}`, which is assigned to again"


def test_a_default_value_from_the_body_of_the_class_is_refused():
    source = tiny(BODY, "x, size=SIZE", header="SIZE = 5", methods="SIZE = 6\n")
    assert reason(source) == "its signature takes `SIZE` from the body of the class"


def test_a_default_value_that_is_calculated_is_refused():
    assert "result of a call" in reason(tiny(BODY, "x, size=make()", header="def make(): return 1"))


def test_a_default_function_has_parameters_of_its_own():
    same(tiny(BODY.replace("return x", "return x, f(1)"), "x, f=lambda y: y + SIZE", header="SIZE = 5"))


def test_a_default_list_is_one_list_for_all_calls():
    refusal = refusal_of(tiny(f"seen.append(1)\n{BODY}, seen", "x, seen=[]"))
    assert "each of the two methods would have a list of its own" in refusal.reason


@pytest.mark.parametrize(
    "header",
    [
        "if True:\n    def shift(x): return x",
        "try:\n    shift = abs\nexcept NameError:\n    pass",
        "shift = abs\ndel shift",
        "for shift in []: pass",
    ],
)
def test_a_global_that_may_not_exist_is_refused(header):
    assert "`shift`" in reason(tiny("x = self.patch_embed(x)\nx = self.blocks[0](shift(x))\nreturn x", header=header))


@pytest.mark.parametrize(
    "header",
    [
        "try:\n    shift = undefined\nexcept NameError:\n    shift = repr",
        "if 1:\n    shift = repr\nelse:\n    shift = str",
    ],
)
def test_a_global_that_exists_either_way_is_imported(header):
    same(tiny("x = self.patch_embed(x)\nx = self.blocks[0](shift(x))\nreturn x", header=header))


def test_a_global_that_its_home_rebinds_is_refused():
    source = tiny(f"{STEM}x = self.blocks[0](x, FLAG)\nreturn x", header="from .config import FLAG")
    config = "FLAG = 1\n\ndef turn():\n    global FLAG\n    FLAG = 2\n"
    assert "rebinds while it runs" in refusal_of(source, files={"timm/models/config.py": config}).reason


def test_a_class_under_a_decorator_that_may_change_it_is_refused_with_its_name_and_line():
    source = tiny(BODY).replace("class Tiny", "@repr\nclass Tiny")
    found = refusal_of(source)
    assert found.reason.startswith("the decorator `@repr` of Tiny may change what the class is: it returns something")
    assert source.splitlines()[found.place.line - 1].strip() == "@repr"


def test_a_decorator_that_cannot_be_read_is_refused_with_the_option_that_trusts_it():
    source = tiny(BODY, header="from mmengine import MODELS").replace(
        "class Tiny", "@MODELS.register_module()\nclass Tiny"
    )
    assert refusal_of(source).reason.endswith(
        "cannot be read; if it returns the class as it is, say so with --trust-decorator MODELS.register_module"
    )


def test_a_decorator_of_a_parent_counts():
    source = tiny(BODY, header="@repr\nclass Base(nn.Module): pass").replace(
        "class Tiny(nn.Module)", "class Tiny(Base)"
    )
    assert "`@repr` of Base" in refusal_of(source).reason


def test_a_class_that_is_registered_is_split():
    registry = "ALL = {}\ndef register(cls):\n    ALL[cls.__name__] = cls\n    return cls"
    split_of(tiny(BODY, header=registry).replace("class Tiny", "@register\nclass Tiny"))


def test_a_method_that_is_replaced_from_outside_is_refused():
    assert (
        "assigns to `forward_features`" in refusal_of(tiny(BODY) + "\nsetattr(Tiny, 'forward_features', repr)\n").reason
    )


def test_a_method_that_a_subclass_defines_under_a_condition_is_not_overlooked():
    source = tiny(BODY) + "\nclass Other(Tiny):\n    if True:\n        def forward_features(self, x): return x\n"
    assert "under a condition" in refusal_of(source, "Other").reason


def test_a_subclass_with_an_unknown_base_before_the_known_one_is_refused():
    source = tiny(BODY, header="from elsewhere import Mixin") + "\nclass Other(Mixin, Tiny): pass\n"
    assert "`Mixin` is unknown" in refusal_of(source, "Other").reason


def test_a_subclass_whose_helper_folds_the_batch_is_split_by_itself():
    body = "B = x.shape[0]\nx = self.patch(x)\nx = self.patch_embed(x)\nx = self.blocks[0](x, B)\nreturn x"
    helper = "def patch(self, x):\n    return {}\n"
    source = tiny(body, methods=helper.format("x.flatten(2)")).replace("nn.Conv2d()", "nn.Identity()")
    source += "\nclass Other(Tiny):\n    def patch(self, x):\n        return x.flatten(0, 1)\n"
    assert split_of(source).recomputed == ("B = x.shape[0]",)
    assert [field.name for field in split_of(source, "Other").fields] == ["x", "B"]


@pytest.mark.parametrize(
    "head",
    [
        "for i in range(3):\n    x = self.patch_embeds[i](x); x = self.norm(x)\n    x = self.blocks[i](x)",
        "for i in range(3): x = self.patch_embeds[i](x); x = self.blocks[i](x)",
        "for p, b in zip(self.patch_embeds, self.blocks):\n    x = p(x)\n    x = b(x)",
        "for i, (p, b) in enumerate(zip(self.patch_embeds, self.blocks)):\n    x = p(x, i)\n    x = b(x)",
    ],
)
def test_a_loop_over_stages_gives_its_first_head_to_the_embedding(head):
    source = tiny(f"i = 7\n{head}\nreturn x, i")
    assert "self.patch_embeds[0](x" in "\n".join(split_of(source).embed.body)
    same(source)


STEM_I, BLOCK_I, POSITION = "    x = self.patch_embeds[i](x)", "    x = self.blocks[i](x)", "    x = x + self.pos_embed"


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["for i in range(n):", STEM_I, "    n = 1", POSITION, BLOCK_I], "what the loop is over"),
        (["for i in range(self.depth):", STEM_I, "    self.depth = 1", POSITION, BLOCK_I], "what the loop is over"),
        (["for i in range(x.shape[1]):", STEM_I, BLOCK_I], "not over containers"),
        (["for i in range(1, 3):", STEM_I, BLOCK_I], "not over containers"),
        (["for i, p in enumerate(self.patch_embeds, 1):", "    x = p(x)", BLOCK_I], "not over containers"),
        (["for p in reversed(self.patch_embeds):", "    x = p(x)", "    x = self.blocks[0](x)"], "not over containers"),
        (
            ["for p in self.named:", "    x = self.patch_embeds[0](x, p)", "    x = self.blocks[0](x)"],
            "not over containers",
        ),
        (["for i in range(3):", "    i = 1", STEM_I, BLOCK_I], "binds its own variable `i`"),
        (["for i in range(3):", STEM_I, BLOCK_I, "    i += 1"], "binds its own variable `i`"),
        (["for i in range(3):", STEM_I, "    x = [i for i in (x,)]", BLOCK_I], "binds its own variable `i`"),
        (["for i in range(3):", "    if self.flag: break", STEM_I, BLOCK_I], "may leave it"),
    ],
)
def test_a_loop_whose_first_round_may_be_another_is_refused(lines, why):
    source = tiny("\n".join(["n = 3", *lines, "return x"]), named="nn.ModuleDict({'a': nn.Conv2d()})")
    assert why in reason(source)


ARMS = """
if self.flag:
    x = self.patch_embed(x)
    x = self.blocks[0](x)
else:
    x = self.patch_embeds[0](x)
    x = self.blocks[1](x)
return x
"""


@pytest.mark.parametrize("change", ["self.flag = False", "self.turn()"])
def test_a_question_whose_answer_changes_in_between_is_not_asked_twice(change):
    body = ARMS.replace("if self.flag:\n", f"if self.flag:\n    {change}\n")
    assert "may change in between" in reason(tiny(body, methods="def turn(self):\n    self.flag = False\n"))


@pytest.mark.parametrize("flag", ["True", "False"])
def test_two_arms_with_a_stem_each_are_cut_both(flag):
    same(tiny(ARMS, flag=flag))


def test_an_import_of_unknown_names_is_refused():
    found = refusal_of(tiny(BODY, header="from elsewhere import *"))
    assert "`from elsewhere import *` may bind any name of its module" in found.reason


def test_a_positional_encoding_before_the_stem_does_not_end_the_embedding():
    source = tiny(f"pos = self.pos_embed\n{STEM}x = self.blocks[0](x, pos)\nreturn x")
    assert split_of(source).embed.body[-1] == STEM.strip()
    same(source, Value("images"))
