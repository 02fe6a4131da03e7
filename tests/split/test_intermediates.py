"""``forward_intermediates`` from the embedding on: what becomes of it, compared where it runs, and what is refused."""

import textwrap
import types
import typing

import pytest
from differential import MODULE, Value, execute, observe, package_of, tiny
from sources import outcomes_of, with_statements_alone

from codegen.types import Intermediates, Refusal, Split

FEATURES = """
    x = self.patch_embed(x)
    x = x + self.pos_embed
    x = self.pos_drop(x)
    for block in self.blocks:
        x = block(x)
    return self.norm(x)
"""
EMBEDDING = """
x = self.patch_embed(x)
x = x + self.pos_embed
x = self.pos_drop(x)
"""
REST = """
for i, block in enumerate(self.blocks):
    x = block(x)
    if i in take:
        intermediates.append(self.norm(x) if norm else x)
if only:
    return intermediates
return self.norm(x), intermediates
"""
PARAMETERS = "x, take=(0, 2), norm=False, only=False"
LIST = "intermediates = []\n"


def source_of(body, parameters=PARAMETERS, features=FEATURES, methods="", header="", given="x", **modules):
    """A model with this body of ``forward_intermediates``, and with these parameters of ``forward_features``."""
    method = f"def forward_intermediates(self, {parameters}):\n" + textwrap.indent(
        textwrap.dedent(body).strip("\n"), "    "
    )
    return tiny(features, given, methods=f"{textwrap.dedent(methods)}\n{method}", header=header, **modules)


def intermediates_of(source, name="Tiny"):
    result = outcomes_of(source)[name].result
    assert isinstance(result, Split), result
    return result.intermediates


def agree(source, *choices):
    """The intermediates of a model whose split does what it does, for some keyword arguments."""
    found = intermediates_of(source)
    assert isinstance(found, Intermediates), found
    package = package_of(source)
    original = execute(source, {})
    text = with_statements_alone(package.files["tiny.py"])
    generated = execute(text, {MODULE: types.SimpleNamespace(**original), "typing": typing})

    def whole(model, images, **keywords):
        return model.forward_intermediates(images, **keywords)

    def from_embedding(model, images, **keywords):
        size = (images.shape[-2:],) if found.image_size else ()
        return model.forward_stages_intermediates(model.embed(images), *size, **keywords)

    for keywords in choices or ({}, {"norm": True}, {"only": True}):
        runs = []
        for cls, run in ((original["Tiny"], whole), (generated["TinySplit"], from_embedding)):
            cls.forward_features = run  # what is observed
            runs.append(observe(cls, (Value("images"),), keywords))
        assert runs[0] == runs[1]
        assert runs[0].journal
    return found


STEP = "def step(self, x):\n    return self.pos_drop(self.patch_embed(x))"


def refused(body, parameters=PARAMETERS, **given):
    found = intermediates_of(source_of(body, parameters, **given))
    assert isinstance(found, Refusal), found
    return found.reason


# What is split


def test_the_rest_takes_the_tokens_and_the_keyword_arguments():
    found = agree(source_of(LIST + EMBEDDING + REST))
    assert found.stages.body[0] == "intermediates = []"
    assert [parameter.name for parameter in found.stages.parameters] == ["take", "norm", "only"]
    assert (found.taken, found.image_size, found.prologue) == ((("x", "x"),), False, ())
    assert found.statement == "x = self.pos_drop(x)"


def test_a_class_without_the_method_has_none():
    assert intermediates_of(tiny(FEATURES)) is None


def test_variables_may_have_other_names():
    embedding = "y = self.patch_embed(images)\ny = y + self.pos_embed\ny = self.pos_drop(y)\n"
    rest = LIST + REST.replace("x", "y").replace("ny", "nx")
    found = agree(source_of(embedding + rest, PARAMETERS.replace("x,", "images,")))
    assert found.taken == (("x", "y"),)


def test_what_calculates_with_arguments_may_stand_between_the_statements_of_the_embedding():
    body = EMBEDDING.replace("x = x +", "assert take, 'nothing'\nlast = max(take) if stop else 99\nx = x +")
    rest = REST.replace("    x = block(x)", "    if i > last: break\n    x = block(x)", 1)
    agree(source_of(LIST + body + rest, PARAMETERS + ", stop=False"), {}, {"stop": True}, {"take": (1,), "stop": True})


def test_the_image_size_is_passed_where_it_is_read():
    body = "B, _, height, width = x.shape\n" + EMBEDDING
    rest = REST.replace("return self.norm(x), intermediates", "return self.norm(x), intermediates, (height, width)")
    found = agree(source_of(LIST + body + rest), {})
    assert found.image_size
    assert found.prologue == ("height, width = image_size",)


@pytest.mark.parametrize(
    ("statement", "used", "prologue"),
    [
        ("h, w = x.shape[-2:]", "h, w", "h, w = image_size"),
        ("size = x.shape[-2:]", "size", "size = image_size"),
        ("w = x.shape[-1]", "w", "w = image_size[-1]"),
        ("_, _, h, _ = x.shape", "h", "h = image_size[-2]"),
        ("image_size = x.shape[-2:]", "image_size", None),
    ],
)
def test_ways_to_read_the_image_size(statement, used, prologue):
    rest = REST.replace("return self.norm(x), intermediates", f"return self.norm(x), intermediates, ({used})")
    found = agree(source_of(f"{LIST}{statement}\n{EMBEDDING}{rest}"), {})
    assert found.image_size
    assert found.prologue == (() if prologue is None else (prologue,))


def test_what_else_the_embedding_holds_is_taken_from_it():
    features = "x, rope = self.pair(x)\nfor block in self.blocks:\n    x = block(x, rope)\nreturn x"
    body = f"{LIST}y, r = self.pair(x)\n" + REST.replace("x", "y").replace("block(y)", "block(y, r)")
    found = agree(source_of(body, features=features, pair="nn.Conv2d()"), {})
    assert found.taken == (("x", "y"), ("rope", "r"))


def test_a_helper_method_that_both_call():
    rest = "for block in self.blocks:\n    x = block(x)\nreturn x"
    agree(source_of(f"{LIST}x = self.step(x)\n{REST}", features=f"x = self.step(x)\n{rest}", methods=STEP))


def test_a_condition_in_the_embedding():
    features = FEATURES.replace("x = x + self.pos_embed", "if self.flag:\n        x = x + self.pos_embed")
    assert isinstance(intermediates_of(source_of(LIST + EMBEDDING + REST, features=features)), Refusal)
    body = EMBEDDING.replace("x = x + self.pos_embed", "if self.flag:\n    x = x + self.pos_embed")
    agree(source_of(LIST + body + REST, features=features))
    other = body.replace("    x = x +", "    y = x +")
    assert isinstance(intermediates_of(source_of(LIST + other + REST, features=features)), Refusal)


def test_values_are_followed_and_not_names():
    body = "y = self.patch_embed(x)\nz = y + self.pos_embed\nx = self.pos_drop(z)\n"
    agree(source_of(LIST + body + REST))
    assert isinstance(intermediates_of(source_of(LIST + body.replace("(z)", "(y)") + REST)), Refusal)


def test_a_comprehension_in_the_embedding():
    features = "x = self.patch_embed([y for y in (x, 1)])\nfor block in self.blocks:\n    x = block(x)\nreturn x"
    rest = "for block in self.blocks:\n    x = block(x)\nreturn x, norm"
    agree(source_of(f"x = self.patch_embed([z for z in (x, 1)])\n{rest}", features=features), {})
    other = f"x = self.patch_embed([x for z in (x, 1)])\n{rest}"
    assert isinstance(intermediates_of(source_of(other, features=features)), Refusal)


def test_one_that_inherits_it_inherits_its_split():
    source = source_of(LIST + EMBEDDING + REST) + "\nclass Child(Tiny):\n    pass\n"
    assert outcomes_of(source)["Child"].result.parent == f"{MODULE}.Tiny"


def test_one_that_has_another_is_split_by_itself():
    child = "\nclass Child(Tiny):\n    def forward_intermediates(self, x):\n        return self.norm(x)\n"
    source = source_of(LIST + EMBEDDING + REST) + child
    assert isinstance(intermediates_of(source, "Child"), Refusal)
    assert isinstance(intermediates_of(source), Intermediates)


DICTIONARY = """
if isinstance(x, dict):
    y = x['images']
else:
    y = x
    height, width = x.shape[-2:]
"""
SIZED = REST.replace("return self.norm(x), intermediates", "return self.norm(x), intermediates, height")
FROM_Y = EMBEDDING.replace("(x)", "(y)", 1)


def test_a_tensor_is_no_dictionary():
    found = agree(source_of(LIST + DICTIONARY + FROM_Y + SIZED, given="x: torch.Tensor"), {})
    assert found.prologue == ("height = image_size[-2]",)
    assert not any("isinstance" in statement for statement in found.stages.body)
    older = DICTIONARY.replace("dict)", "Dict)")
    assert isinstance(intermediates_of(source_of(LIST + older + FROM_Y + SIZED, given="x: torch.Tensor")), Refusal)
    source = source_of(LIST + older + FROM_Y + SIZED, given="x: torch.Tensor", header="from typing import Dict")
    assert isinstance(intermediates_of(source), Intermediates)
    without = "if isinstance(x, dict):\n    x = x['images']\n"
    agree(source_of(LIST + without + EMBEDDING + REST, given="x: torch.Tensor"))


@pytest.mark.parametrize(
    ("given", "header", "body"),
    [
        ("x", "", DICTIONARY),
        ("x: torch.Tensor | dict", "", DICTIONARY),
        ("x: Tensor", "from elsewhere import Tensor", DICTIONARY),
        ("x: torch.Tensor", "", "isinstance = max\n" + DICTIONARY),
        ("x: torch.Tensor", "", DICTIONARY.replace("(x, dict)", "(x, torch.Tensor)")),
        ("x: torch.Tensor", "", DICTIONARY.replace("(x, dict)", "(take, dict)")),
        ("x: torch.Tensor", "", "x = {'images': x}\n" + DICTIONARY),
    ],
)
def test_what_may_be_a_dictionary(given, header, body):
    source = source_of(LIST + body + FROM_Y + SIZED, given=given, header=header)
    assert isinstance(intermediates_of(source), Refusal)


def test_a_comparison_that_the_stages_alone_read_need_not_be_there():
    features = "flat = coord is not None\n" + textwrap.dedent(FEATURES).strip("\n").replace("self.norm(x)", "(x, flat)")
    agree(source_of(LIST + EMBEDDING + REST, features=features, given="x, coord=None"))
    rest = REST.replace("return self.norm(x), intermediates", "return self.norm(x), intermediates, flat")
    found = agree(
        source_of(
            LIST + "flat = coord is not None\n" + EMBEDDING + rest,
            PARAMETERS + ", coord=None",
            features=features,
            given="x, coord=None",
        )
    )
    assert found.taken == (("x", "x"), ("flat", "flat"))
    read = features.replace("self.pos_drop(x)", "self.pos_drop(x, flat)")
    assert isinstance(
        intermediates_of(source_of(LIST + EMBEDDING + REST, features=read, given="x, coord=None")), Refusal
    )


STEM = """
class Stem(nn.Module):
    def __init__(self):
        super().__init__()
        self.size = (4, 4)
        self.proj = nn.Conv2d(3, 8, 4)

    def grid(self, size):
        return size[0] // self.size[0], size[1] // self.size[1]

    def forward(self, x):
        return self.proj(x)
"""
ASKING = "height, width = x.shape[-2:]\nH, W = self.patch_embed.grid((height, width))\n"
GRID = REST.replace("return self.norm(x), intermediates", "return self.norm(x), intermediates, H")


def test_what_the_stem_is_asked_before_it_runs_may_be_asked_after_it():
    found = intermediates_of(source_of(LIST + ASKING + EMBEDDING + GRID, header=STEM, patch_embed="Stem()"))
    assert isinstance(found, Intermediates), found
    assert "H, W = self.patch_embed.grid((height, width))" in found.stages.body


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (
            "return self.proj(x)",
            "self.size = x.shape[-2:]\n        return self.proj(x)",
            "it reads `self.patch_embed.size`",
        ),
        ("return size[0] //", "self.asked = 1\n        return size[0] //", "may do more than calculate"),
        ("return size[0] //", "print(size)\n        return size[0] //", "may do more than calculate"),
        ("return size[0] //", "return self.proj(size)[0] //", "may do more than calculate"),
        ("def grid", "@remember\n    def grid", "may do more than calculate"),
    ],
)
def test_what_may_answer_otherwise_after_it_ran(old, new, why):
    header = STEM.replace(old, new, 1)
    assert why in refused(LIST + ASKING + EMBEDDING + GRID, header=header, patch_embed="Stem()")


# What is refused: the embedding is another


def test_a_missing_dropout():
    reason = refused(LIST + EMBEDDING.replace("x = self.pos_drop(x)", "") + REST)
    assert reason == "it leaves out `x = self.pos_drop(x)` (line 35), by which forward_features embeds"


def test_a_question_that_another_method_asks_before():
    drop = "if self.training:\n        x = x * 2\n    "
    reason = refused(
        LIST + EMBEDDING + REST, features=FEATURES.replace("x = self.patch_embed", f"{drop}x = self.patch_embed")
    )
    assert reason.startswith("it leaves out `if self.training:` (line ")


CHOOSING = """
def check(self, x):
    assert x.ndim
"""


def test_what_is_given_another_name_is_not_what_is_in_the_way():
    chosen = "x if not isinstance(x, dict) else x['images']"
    features = f"self.check({chosen})\n" + FEATURES.strip("\n").replace("    x = self.patch", "x = self.patch", 1)
    features = "\n".join(line.removeprefix("    ") for line in features.splitlines())
    body = f"{LIST}raw = {chosen}\nndim = raw.ndim\nself.check(raw)\n{EMBEDDING}"
    rest = REST.replace("return self.norm(x), intermediates", "return self.norm(x), intermediates, ndim")
    source = source_of(body + rest, features=features, methods=CHOOSING)
    found = intermediates_of(source)
    assert found.reason == "`ndim = raw.ndim` looks at the images, which an embedding does not hold"
    assert source.splitlines()[found.place.line - 1].strip() == "ndim = raw.ndim"


def test_what_decides_by_the_images_what_is_embedded():
    choice = "if isinstance(x, dict):\n    y = x['images']\nelse:\n    y = x\n"
    reason = refused(LIST + choice + EMBEDDING.replace("(x)", "(y)", 1) + REST)
    assert reason.startswith("`if isinstance(x, dict):` stands where forward_features embeds by ")
    assert reason.endswith(", and asks what the images are: an embedding does not tell")


@pytest.mark.parametrize(
    ("inner", "why"),
    [
        (
            "if i < 1:\n        x = block(x)\n    else:\n        x = block(x, i)",
            "`if i < 1:` (line 20) asks which one it is",
        ),
        ("if block is None:\n        break\n    x = block(x)", "`if block is None:` (line 20) may end it"),
    ],
)
def test_a_loop_whose_first_round_is_not_taken_out(inner, why):
    body = f"for i, block in enumerate(self.blocks):\n    {inner}\nreturn x"
    reason = refused(body, "x")
    assert reason.startswith("`for i, block in enumerate(self.blocks):` stands where forward_features embeds by ")
    assert reason.endswith(f", and its first round is not taken out: {why}")


def test_another_order():
    other = "x = self.patch_embed(x)\nx = self.pos_drop(x)\nx = x + self.pos_embed\n"
    assert "`x = self.pos_drop(x)` stands where" in refused(LIST + other + REST)


def test_another_module():
    assert "embeds by `x = self.patch_embed(x)`" in refused(LIST + EMBEDDING.replace("patch_embed", "norm") + REST)


def test_another_argument():
    features = FEATURES.replace("self.patch_embed(x)", "self.patch_embed(x, 1)")
    assert "self.patch_embed(x, 1)" in refused(LIST + EMBEDDING + REST, features=features)


def test_a_keyword_argument_that_changes_the_embedding():
    body = EMBEDDING.replace("x = x + self.pos_embed", "if norm:\n    x = x + self.pos_embed")
    assert "`if norm:` stands where forward_features embeds by `x = x + self.pos_embed`" in refused(LIST + body + REST)


def test_one_step_more():
    body = EMBEDDING.replace("x = x +", "x = self.norm(x)\nx = x +")
    assert "`x = self.norm(x)` stands where" in refused(LIST + body + REST)


def test_other_images():
    assert "`x = x * 2` stands where" in refused(LIST + "x = x * 2\n" + EMBEDDING + REST)
    assert "`y = x * 2` looks at" in refused(LIST + "y = x * 2\n" + EMBEDDING + REST)


def test_tokens_that_another_statement_has_changed():
    body = "y = self.patch_embed(x)\ny = self.norm(y)\nz = y + self.pos_embed\nx = self.pos_drop(z)\n"
    assert refused(LIST + body + REST)


# What is refused: more than the embedding holds


def test_what_looks_at_the_tokens_on_their_way():
    body = EMBEDDING.replace("x = x +", "if norm:\n    intermediates.append(x)\nx = x +")
    assert refused(LIST + body + REST) == (
        "`if norm:` looks at what the embedding makes on its way, which an embedding does not hold"
    )


def test_the_images_after_the_embedding():
    body = "y = self.patch_embed(x)\ny = y + self.pos_embed\ny = self.pos_drop(y)\nreturn self.blocks[0](y), x"
    assert refused(body, "x") == "it reads the images after the embedding, which does not hold it"


def test_a_size_of_what_the_embedding_makes_on_its_way():
    body = EMBEDDING.replace("x = x +", "_, _, H, W = x.shape\nx = x +") + "return self.blocks[0](x), H, W"
    assert refused(body, "x") == (
        "it reads `H`, a size of what the embedding makes on its way, which the embedding does not hold"
    )


def test_the_line_is_that_which_reads_it():
    body = EMBEDDING.replace("x = x +", "_, _, H, W = x.shape\nx = x +") + "x = self.blocks[0](x)\nreturn x, H, W"
    source = source_of(body, "x")
    assert source.splitlines()[intermediates_of(source).place.line - 1].strip() == "return x, H, W"


def test_the_channels_of_the_images():
    body = "_, C, H, W = x.shape\n" + EMBEDDING + "return self.blocks[0](x), C"
    assert "`C`, a size of the images" in refused(body, "x")


# What is refused: the order of effects


@pytest.mark.parametrize(
    "statement",
    [
        "self.count = 1",
        "self.blocks[0](take)",
        "noise = torch.rand(1)",
        "print(take)",
        "take = self.choose(take)",
        "take.sort()",
        "norm = [n for n in map(self.norm, take)]",
        "size = self.size",
    ],
)
def test_what_does_more_than_calculate_may_not_be_moved(statement):
    methods = "def choose(self, take):\n    return take\n@property\ndef size(self):\n    return 1\n"
    body = LIST + EMBEDDING.replace("x = x +", f"{statement}\nx = x +")
    assert "may do more than calculate" in refused(body + REST, methods=methods)


def test_an_early_return():
    body = LIST + EMBEDDING.replace("x = x +", "if only:\n    return intermediates\nx = x +") + REST
    assert refused(body) == "`if only:` may return before the embedding is complete"


def test_state_that_the_embedding_leaves_for_the_rest():
    class_ = """
    class Stem(nn.Module):
        def forward(self, x):
            self.size = 1
            return x
    """
    features = "x = self.stem(x)\nfor block in self.blocks:\n    x = block(x)\nreturn x"
    body = LIST + "x = self.stem(x)\n" + REST.replace("return self.norm(x), ", "return self.stem.size, ")
    reason = refused(body, features=features, header=class_, stem="Stem()")
    assert reason == "it reads `self.stem.size`, which the embedding leaves on the model"


# What is refused: methods that mean something else elsewhere


def test_the_parents_method():
    call = "return super().forward_intermediates(x)"
    child = f"\nclass Child(Tiny):\n    def forward_intermediates(self, x):\n        {call}\n"
    found = intermediates_of(source_of(LIST + EMBEDDING + REST) + child, "Child")
    assert found.reason.startswith("`super")


def test_a_decorator():
    source = source_of(LIST + EMBEDDING + REST).replace(
        "    def forward_intermediates", "    @torch.no_grad()\n    def forward_intermediates"
    )
    assert "decorated" in intermediates_of(source).reason


def test_a_context_that_the_other_method_does_not_enter():
    body = "with torch.no_grad():\n" + textwrap.indent(EMBEDDING + "return self.blocks[0](x)", "    ")
    assert refused(body, "x") == "it enters `torch.no_grad()`, and forward_features nothing"


def test_any_number_of_arguments():
    assert refused(LIST + EMBEDDING + REST, PARAMETERS + ", **options") == "it takes `**options`"


def test_a_method_of_that_name():
    methods = "def forward_stages_intermediates(self): ..."
    assert "of its own" in refused(LIST + EMBEDDING + REST, methods=methods)


def test_an_inner_model_that_has_the_method():
    reason = refused("return self.patch_embed.forward_intermediates(x)", "x")
    assert reason.startswith("it calls forward_intermediates of `self.patch_embed`")
