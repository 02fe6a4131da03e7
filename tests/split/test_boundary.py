"""Where the embedding ends: one tiny model for each rule, then timm's hard cases by name.

In the tiny models the comment ``# boundary`` stands where the body has to be cut.
"""

import re
import textwrap

import pytest
from sources import (
    outcomes_of,
    recorded,
    refusal_of,
    release_of,
    result_in_users_file,
    split_of,
    timm_package,
    timm_release,
)

from codegen.generate import generate
from codegen.types import Absence, Refusal, Split

VIT = {
    "patch_embed": "PatchEmbed()",
    "cls_token": "nn.Parameter(torch.zeros(1, 1, 8))",
    "pos_embed": "nn.Parameter(torch.zeros(1, 5, 8))",
    "pos_drop": "nn.Dropout(0.1)",
    "patch_drop": "PatchDropout(0.1)",
    "norm_pre": "nn.LayerNorm(8)",
    "blocks": "nn.Sequential(*[Block() for _ in range(2)])",
    "norm": "nn.LayerNorm(8)",
}
VIT_MATCHER = "return dict(stem=r'^cls_token|pos_embed|patch_embed|norm_pre', blocks=[(r'^blocks\\.(\\d+)', None)])"
CNN = {
    "conv_stem": "nn.Conv2d(3, 8, 3)",
    "bn1": "nn.BatchNorm2d(8)",
    "act1": "nn.ReLU()",
    "blocks": "nn.Sequential(*[Block() for _ in range(2)])",
}
CNN_MATCHER = "return dict(stem=r'^conv_stem|bn1', blocks=r'^blocks\\.(\\d+)')"
PARTS = {f"{part}{number}": f"nn.{part.title()}()" for part in ("embed", "stage") for number in (1, 2)}


def source(body: str, modules: dict[str, str], matcher: str = "", methods: str = "", parameters: str = "x") -> str:
    """A model class with these modules and this body of ``forward_features``."""

    def method(signature: str, text: str) -> str:
        return f"    def {signature}:\n" + textwrap.indent(textwrap.dedent(text).strip("\n"), " " * 8) + "\n\n"

    made = "\n".join(f"self.{name} = {value}" for name, value in modules.items())
    return (
        "import torch\nfrom einops import rearrange\nfrom torch import nn\nfrom timm.layers import PatchDropout\n\n"
        "def add_pos_embed(x): return x\n\n"
        "class Block(nn.Module):\n    def forward(self, x): return x\n\n"
        "class PatchEmbed(Block): pass\n\n"
        "class Stem(Block): pass\n\n"
        "class Tiny(nn.Module):\n"
        + method("__init__(self)", made)
        + (method("group_matcher(self, coarse=False)", matcher) if matcher else "")
        + textwrap.indent(textwrap.dedent(methods), "    ")
        + method(f"forward_features(self, {parameters})", body)
    )


def check(body: str, modules: dict[str, str] = VIT, matcher: str = VIT_MATCHER, methods: str = "") -> Split:
    """Cut a body, and compare with the ``# boundary`` in it."""
    before, after = textwrap.dedent(body).strip("\n").split("# boundary\n")
    split = split_of(source(before + after, modules, matcher, methods))
    assert "\n".join(split.embed.body) == before.strip("\n")
    assert "\n".join(split.forward_stages.body) == after.strip("\n")
    return split


def check_users(body: str, modules: dict[str, str]) -> None:
    """Cut a body in a file that is not timm's, and compare with the ``# boundary`` in it."""
    before, after = textwrap.dedent(body).strip("\n").split("# boundary\n")
    split = result_in_users_file(source(before + after, modules), "Tiny")
    assert isinstance(split, Split), split.reason
    assert "\n".join(split.embed.body) == before.strip("\n")


def said(split: Split) -> list[str]:
    """The reasons of a boundary without their line numbers."""
    return [re.sub(r"line \d+", "it", reason).removeprefix("it ") for reason in split.boundary.reasons]


def refuse(body: str, modules: dict[str, str] = VIT, matcher: str = VIT_MATCHER, methods: str = "") -> Refusal:
    return refusal_of(source(body, modules, matcher, methods))


# Where the positional encoding is, the embedding ends


def test_the_embedding_ends_after_the_positional_encoding_and_the_dropout_on_it():
    check("""
        x = self.patch_embed(x)
        x = x + self.pos_embed
        x = self.pos_drop(x)
        # boundary
        x = self.blocks(x)
        return self.norm(x)
    """)


def test_dropout_in_the_same_statement_is_part_of_it():
    check("""
        x = self.patch_embed(x)
        x = self.pos_drop(x + self.pos_embed)
        # boundary
        return self.blocks(x)
    """)


def test_patch_dropout_and_pre_norm_stay_in_the_stages_though_the_matcher_calls_norm_pre_stem():
    split = check(
        """
        x = self.patch_embed(x)
        x = self._pos_embed(x)
        # boundary
        x = self.patch_drop(x)
        x = self.norm_pre(x)
        x = self.blocks(x)
        return self.norm(x)
        """,
        methods="""
        def _pos_embed(self, x):
            return self.pos_drop(torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1) + self.pos_embed)

        """,
    )
    assert said(split)[1] == "gives the tokens their position"


@pytest.mark.parametrize("name", ["norm_pre", "pre_norm", "ln_pre", "pre_layrnorm"])
def test_a_pre_norm_stays_in_the_stages_without_any_positional_encoding_too(name):
    check(
        f"""
        x = self.patch_embed(x)
        # boundary
        x = self.{name}(x)
        return self.blocks(x)
        """,
        {"patch_embed": "PatchEmbed()", name: "nn.LayerNorm(8)", "blocks": "nn.Sequential(*blocks)"},
    )


def test_a_class_token_before_the_position_is_part_of_the_embedding():
    check("""
        x = self.patch_embed(x)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1)
        x = x + self.pos_embed
        # boundary
        return self.blocks(x)
    """)


def test_a_class_token_after_the_position_is_made_by_the_stages():
    check("""
        x = self.patch_embed(x)
        x = x + self.pos_embed
        # boundary
        cls_tokens = self.cls_token.expand(x.shape[0], -1, -1)
        x = torch.cat((cls_tokens, x), dim=1)
        return self.blocks(x)
    """)


def test_a_class_token_between_the_position_and_the_dropout_on_it_is_part_of_the_embedding():
    check("""
        x = self.patch_embed(x)
        x = x + self.pos_embed
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1)
        x = self.pos_drop(x)
        # boundary
        return self.blocks(x)
    """)


def test_a_position_under_a_condition_counts():
    check("""
        x = self.patch_embed(x)
        if self.pos_embed is not None:
            x = x + self.pos_embed
        # boundary
        return self.blocks(x)
    """)


def test_a_position_that_is_a_function_of_the_module_counts():
    check("""
        x = self.patch_embed(x)
        x = add_pos_embed(x)
        # boundary
        return self.blocks(x)
    """)


def test_a_position_that_is_made_from_the_tokens_counts_where_it_joins_them():
    check("""
        x = self.patch_embed(x)
        pos_embed = add_pos_embed(x)
        pos_embed = pos_embed.to(x.dtype)
        x = x + pos_embed
        # boundary
        x = self.blocks(x)
        return x
    """)


def test_a_position_that_joins_the_tokens_after_a_block_belongs_to_the_stages():
    check("""
        x = self.patch_embed(x)
        # boundary
        pos_embed = add_pos_embed(x)
        x = self.blocks(x)
        x = x + pos_embed
        return x
    """)


def test_what_follows_such_a_position_belongs_to_the_stages():
    check("""
        x = self.patch_embed(x)
        tokens = add_pos_embed(x)
        # boundary
        tokens = self.norm(tokens)
        tokens = self.blocks(tokens)
        return tokens
    """)


def test_a_relative_position_bias_is_computed_in_the_stages():
    check(
        """
        x = self.patch_embed(x)
        x = self.pos_drop(x + self.pos_embed)
        # boundary
        rel_pos_bias = self.rel_pos_bias() if self.rel_pos_bias is not None else None
        for blk in self.blocks:
            x = blk(x, shared_rel_pos_bias=rel_pos_bias)
        return x
        """,
        VIT | {"rel_pos_bias": "RelPosBias()"},
    )


def test_positions_after_the_first_block_belong_to_the_stages():
    check(
        """
        x = self.embed1(x)
        x = x + self.pos_embed1
        # boundary
        x = self.stage1(x)
        x = self.embed2(x)
        x = x + self.pos_embed2
        x = self.stage2(x)
        return x
        """,
        PARTS | {"pos_embed1": "nn.Parameter(torch.zeros(1))", "pos_embed2": "nn.Parameter(torch.zeros(1))"},
        matcher="",
    )


# Without a positional encoding it ends after the stem


def test_without_a_position_the_embedding_ends_after_the_patch_embedding():
    check("""
        x = self.patch_embed(x)
        # boundary
        x = self.blocks(x)
        x = self.norm(x)
        return x
    """)


def test_without_a_position_prefix_tokens_still_belong_to_the_embedding():
    split = check("""
        x = self.patch_embed(x)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1)
        # boundary
        x = self.blocks(x)
        return x
    """)
    assert "adds the prefix tokens" in said(split)


def test_an_activation_completes_the_stem_of_a_cnn():
    split = check(
        """
        x = self.conv_stem(x)
        x = self.bn1(x)
        x = self.act1(x)
        # boundary
        x = self.blocks(x)
        return x
        """,
        CNN,
        CNN_MATCHER,
    )
    assert split.boundary.stem == ("conv_stem", "bn1")
    assert split.boundary.blocks == ("blocks",)


def test_a_stem_and_its_activation_may_stand_in_one_statement():
    check(
        """
        x = self.relu(self.bn1(self.conv1(x)))
        # boundary
        x = self.layer1(x)
        return x
        """,
        {"conv1": "nn.Conv2d(3, 8, 3)", "bn1": "nn.BatchNorm2d(8)", "relu": "nn.ReLU()", "layer1": "nn.Sequential()"},
        "",
    )


def test_a_stem_may_be_a_function_that_is_made_here():
    modules = {"conv1": "nn.Conv2d(3, 8, 3)", "relu": "nn.ReLU()", "layer1": "nn.Sequential()"}
    body = """
        def stem(x):
            return self.relu(self.conv1(x)){more}

        x = stem(x)
        # boundary
        x = self.layer1(x)
        return x{last}
    """
    check(body.format(more="", last=""), modules, "")
    changing = "\n" + body.replace("# boundary", "").format(more=" + y", last="").replace(
        "def", "y = 1\n        def", 1
    )
    assert "may see names that change" in refuse(changing, modules, "").reason
    assert "may see names that change" in refuse(body.format(more="", last=" + stem(x)"), modules, "").reason


def test_the_names_of_modules_may_be_variables():
    check("""
        stem = self.patch_embed
        x = stem(x)
        x = add_pos_embed(x)
        # boundary
        blocks = self.blocks
        for block in blocks:
            x = block(x)
        return x
    """)


NO_MATCHER = {**VIT, "projs": "nn.ModuleList([nn.Linear(8, 8)])", "stem_layers": "nn.ModuleList([nn.Linear(8, 8)])"}
MISUNDERSTOOD = {
    "after a container that is taken for the first blocks": "x = self.projs[0](x)\nx = x + self.pos_embed",
    "after a loop over such a container": "for l in self.stem_layers:\n    x = l(x)\nx = x + self.pos_embed",
    "added in place by a method": "x.add_(self.pos_embed)",
    "put into a list": "parts = []\nparts.append(x + self.pos_embed)\nx = torch.cat(parts, 1)",
    "in a try": "try:\n    x = x + self.pos_embed\nexcept RuntimeError:\n    pass",
    "after a question that may return": "if only_embed:\n    return x\nx = x + self.pos_embed",
    "changed first": "pos = self.pos_embed.data\npos += 1\nx.add_(pos)",
}


@pytest.mark.parametrize("case", MISUNDERSTOOD)
def test_a_position_that_is_given_in_a_way_that_is_not_understood_is_refused(case):
    body = f"x = self.patch_embed(x)\n{MISUNDERSTOOD[case]}\nfor block in self.blocks:\n    x = block(x)\nreturn x"
    modules = {**NO_MATCHER, "blocks": "nn.ModuleList([nn.Linear(8, 8)])"}
    text = source(body, modules, parameters="x, only_embed=False")
    assert "may give the tokens their position, and is not understood" in refusal_of(text).reason


def test_layers_of_a_users_stem_come_before_the_position():
    body = "x = self.patch_embed(x)\nfor l in self.stem_layers:\n    x = l(x)\nx = x + self.pos_embed\n"
    check_users(f"{body}# boundary\nx = self.blocks(x)\nreturn x", NO_MATCHER)


@pytest.mark.parametrize("like", ["to(x)", "type_as(x)", "to(x.dtype)", "expand_as(x)"])
def test_a_table_that_is_made_in_place_is_a_position(like):
    made = f"n, d = x.shape[1:]\nt = torch.arange(n * d).view(n, d)\nx = x + torch.cat([t.sin()], 1).{like}\n"
    check(f"x = self.patch_embed(x)\n{made}# boundary\nx = self.blocks(x)\nreturn x", NO_MATCHER, "")


@pytest.mark.parametrize(
    "listed",
    [
        "feats = [e(x) for e in (self.patch_embed, self.patch_embed2)]\n",
        "feats = []\nfor e in (self.patch_embed, self.patch_embed2):\n    feats.append(e(x))\n",
    ],
)
def test_streams_of_a_list_are_joined_in_the_embedding(listed):
    made = {"patch_embed": "PatchEmbed()", "patch_embed2": "PatchEmbed()", "blocks": VIT["blocks"]}
    check(f"{listed}x = torch.cat(feats, 1)\n# boundary\nx = self.blocks(x)\nreturn x", made, "")


DROPPING = """\
if self.training:
    keep = torch.rand(x.shape[0], x.shape[1]).argsort(1)[:, :3]
    x = torch.gather(x, 1, keep.unsqueeze(-1).expand(-1, -1, 8))
"""


@pytest.mark.parametrize("dropping", [DROPPING, "x = self.masked(x)\n"])
def test_prefix_tokens_that_come_after_a_random_choice_of_patches_belong_to_the_stages(dropping):
    before = "x = self.patch_embed(x)\nx = x + self.pos_embed[:, 1:]\n"
    after = "cls = self.cls_token + self.pos_embed[:, :1]\nx = torch.cat((cls, x), 1)\nx = self.blocks(x)\nreturn x"
    masked = f"def masked(self, x):\n{textwrap.indent(DROPPING, '    ')}    return x\n\n"
    check(f"{before}# boundary\n{dropping}{after}", {**VIT}, "", masked)


@pytest.mark.parametrize(
    "rope", ["rope = self.rope(x)", "rope = None\nif self.rope is not None:\n    rope = self.rope(x)"]
)
def test_a_position_that_goes_to_the_blocks_beside_the_tokens_is_not_the_tokens(rope):
    body = f"x = self.patch_embed(x)\n{rope}\nfor b in self.blocks:\n    x = b(x, rope)\nreturn x"
    made = {"patch_embed": "PatchEmbed()", "rope": "nn.Linear(8, 8)", "blocks": "nn.ModuleList([Block()])"}
    assert split_of(source(body, made)).fields[0].name == "x"


def test_a_block_before_the_position_is_no_part_of_an_embedding():
    body = (
        "x = self.patch_embed(x)\nx = self.first(x)\nx = x + self.pos_embed\nfor b in self.blocks: x = b(x)\nreturn x"
    )
    blocks = {"pos_embed": VIT["pos_embed"], "blocks": "nn.ModuleList([Block() for _ in range(2)])"}
    made = {"patch_embed": "PatchEmbed()", "first": "Block()", **blocks}
    assert "`self.first` is a block as those that follow" in refuse(body, made, "").reason
    before, after = body.split("for b")
    check(f"{before}# boundary\nfor b{after}", {**made, "first": "nn.Linear(8, 8)"}, "")


@pytest.mark.parametrize(
    "both", ["self.proj(x).flatten(2).transpose(1, 2) + self.pos_embed", "self.pos_embed + self.proj(x).flatten(2).mT"]
)
def test_a_stem_that_no_name_tells_may_get_its_position_in_the_same_statement(both):
    made = {"proj": "nn.Conv2d(3, 8, 4, 4)", "pos_embed": VIT["pos_embed"], "blocks": "nn.ModuleList([Block()])"}
    check_users(f"x = {both}\n# boundary\nfor b in self.blocks:\n    x = b(x)\nreturn x", made)


BY_A_VARIABLE = {
    "next": "it = iter(self.blocks)\nx = next(it)(x + self.pos_embed)\nfor b in it:\n    x = b(x)\nreturn x",
    "names": "one, two = self.blocks\nreturn two(one(x + self.pos_embed))",
    "the first and the rest": "first, *rest = self.blocks\nx = first(x + self.pos_embed)\n"
    "for b in rest:\n    x = b(x)\nreturn x",
    "parts": "head, tail = self.blocks[:1], self.blocks[1:]\nfor b in head:\n    x = b(x + self.pos_embed)\n"
    "for b in tail:\n    x = b(x)\nreturn x",
    "a method": "return self.run(x, self.pos_embed)",
}


@pytest.mark.parametrize("case", BY_A_VARIABLE)
def test_a_position_that_what_a_variable_holds_is_given_is_refused(case):
    made = {**NO_MATCHER, "blocks": "nn.ModuleList([nn.Linear(8, 8) for _ in range(2)])"}
    run = "def run(self, x, pos):\n    x = x + pos\n    for b in self.blocks:\n        x = b(x)\n    return x\n\n"
    text = source(f"x = self.patch_embed(x)\n{BY_A_VARIABLE[case]}", made, "", run)
    assert "may give the tokens their position" in refusal_of(text).reason


def test_a_position_in_the_call_of_the_blocks_is_refused():
    refusal = refuse("x = self.patch_embed(x)\nx = self.blocks(x + self.pos_embed)\nreturn x", NO_MATCHER, "")
    assert "may give the tokens their position" in refusal.reason


def test_tokens_and_position_in_a_list_are_joined_before_the_boundary():
    check("""
        x = self.patch_embed(x)
        terms = [x, self.pos_embed.expand_as(x)]
        x = torch.stack(terms).sum(0)
        # boundary
        x = self.blocks(x)
        return x
    """)


@pytest.mark.parametrize(
    "added",
    [
        "self.table",
        "self.where.weight",
        "torch.outer(torch.arange(x.shape[1]), torch.arange(8)).to(x.dtype)",
        "torch.arange(8)",
    ],
)
def test_what_is_added_to_the_tokens_and_not_made_of_them_is_their_position(added):
    modules = {**VIT, "table": "self.pos_embed", "where": "nn.Embedding(16, 8)"}
    check(f"x = self.patch_embed(x)\nx = x + {added}\n# boundary\nx = self.blocks(x)\nreturn x", modules, "")
    check(f"x = self.patch_embed(x)\nx += {added}\n# boundary\nx = self.blocks(x)\nreturn x", modules, "")


@pytest.mark.parametrize("added", ["1e-6", "self.mix(x)", "x", "x.mean(1, keepdim=True)"])
def test_what_is_made_of_the_tokens_is_no_position(added):
    check(
        f"x = self.patch_embed(x)\n# boundary\nx = x + {added}\nx = self.blocks(x)\nreturn x", {**VIT, "mix": "Mix()"}
    )


@pytest.mark.parametrize("given", ["x + self.pos_embed", "x + self.bias", "x + self.prompt"])
def test_what_is_added_to_the_images_is_no_position_of_tokens(given):
    modules = {
        **VIT,
        "bias": "nn.Parameter(torch.zeros(1, 3, 1, 1))",
        "prompt": "nn.Parameter(torch.zeros(1, 3, 8, 8))",
    }
    check(f"x = {given}\nx = self.patch_embed(x)\n# boundary\nx = self.blocks(x)\nreturn x", modules)


@pytest.mark.parametrize(
    "paired",
    [
        "x, pos = x, self.pos_embed\nx = x + pos",
        "terms = (x, self.pos_embed)\nx = torch.add(*terms)",
        "terms = [x, self.pos_embed]\nx = torch.add(*terms)",
        "terms = dict(a=x, b=self.pos_embed)\nx = terms['a'] + terms['b']",
        "terms = {'a': x, 'b': self.pos_embed}\nx = terms['a'] + terms['b']",
    ],
)
def test_a_position_beside_the_tokens_is_refused(paired):
    refusal = refuse(f"x = self.patch_embed(x)\n{paired}\nx = self.blocks(x)\nreturn x", VIT)
    assert "puts the position beside the tokens" in refusal.reason


@pytest.mark.parametrize("view", ["transpose(1, 2)", "flatten(1)", "view(2, 4, 4, 8)", "contiguous()"])
def test_a_look_at_the_tokens_from_aside_is_not_what_goes_to_the_blocks(view):
    split = check(f"""
        x = self.patch_embed(x)
        x = x + self.pos_embed
        # boundary
        skip = x.{view}
        x = self.blocks(x)
        return x + skip
    """)
    assert split.tokens == "x"


def test_reshapes_after_the_boundary_belong_to_the_embedding_even_under_a_condition():
    check(
        """
        x = self.stem(x)
        if not self.use_conv:
            x = x.flatten(2).transpose(1, 2)
        # boundary
        x = self.stages(x)
        return x
        """,
        {"stem": "Stem()", "stages": "nn.Sequential(*stages)", "use_conv": "False"},
        "return dict(stem=r'^stem', blocks=r'^stages\\.(\\d+)')",
    )


def test_a_rearrangement_by_einops_is_a_reshape():
    check("""
        B = x.shape[0]
        x = self.patch_embed(x)
        x = add_pos_embed(x)
        x = rearrange(x, '(b t) n m -> (b n) t m', b=B)
        # boundary
        x = self.blocks(x)
        return x
    """)


def test_tokens_are_unpacked_from_the_dict_of_a_helper_before_the_boundary():
    split = check(
        """
        embeds = self._embeds(x)
        x = embeds['patches']
        rope = embeds.get('rope', None)
        # boundary
        for blk in self.blocks:
            x = blk(x, rope)
        return x
        """,
        {"embeds": "Embeds()", "blocks": "nn.ModuleList([Block()])"},
        "return dict(stem=r'^embeds', blocks=r'^blocks\\.(\\d+)')",
        methods="""
        def _embeds(self, x):
            return self.embeds(x)

        """,
    )
    assert split.tokens == "x"
    assert [field.name for field in split.fields] == ["x", "rope"]


def test_a_stem_in_a_condition_counts():
    check(
        """
        if self.stem is not None:
            x = self.stem(x)
        x = self.embed1(x)
        # boundary
        x = self.stage1(x)
        return x
        """,
        PARTS | {"stem": "Stem()"},
        "return dict(stem=r'^stem|^embed1', blocks=[(r'^stage(\\d+)', None)])",
    )


# What the matcher cannot say, names and __init__ do


def test_without_a_matcher_containers_are_blocks_and_what_meets_the_images_first_is_the_stem():
    split = check(
        """
        x = self.tokenizer(x)
        # boundary
        for blk in self.groups:
            x = blk(x)
        return x
        """,
        {"tokenizer": "Tokenizer()", "groups": "nn.ModuleList([Block() for _ in range(2)])"},
        matcher="",
    )
    assert split.boundary.stem == ("tokenizer",)
    assert split.boundary.blocks == ("groups",)


@pytest.mark.parametrize("name", ["blocks", "layers", "stage1", "levels", "transformer", "res_layer2", "trunk"])
def test_without_a_matcher_names_of_the_field_tell_blocks(name):
    check(
        f"""
        x = self.conv(x)
        # boundary
        x = self.{name}(x)
        return x
        """,
        {"conv": "nn.Conv2d(3, 8, 3)", name: "make()"},
        matcher="",
    )


def test_a_matcher_that_is_a_function_declares_its_first_group_to_be_the_stem():
    check(
        """
        x = self.conv1(x)
        x = self.conv2(x)
        # boundary
        x = self.mixed(x)
        return x
        """,
        {"conv1": "Conv()", "conv2": "Conv()", "mixed": "Mixed()"},
        """
        def matcher(name):
            if name.startswith('conv'):
                return 0
            return 1
        return matcher
        """,
    )


def test_an_early_return_before_the_blocks_ends_the_embedding():
    split = check("""
        x = self.patch_embed(x)
        # boundary
        if self.blocks is None:
            return x
        x = self.blocks(x)
        return x
    """)
    assert said(split)[-1] == "runs the first blocks, `blocks`"


PRUNED = {"conv1": "nn.Conv2d(3, 8, 3)", "conv2": "nn.Conv2d(8, 8, 3)", "blocks": "nn.Sequential(Block(), Block())"}
PRUNED_MATCHER = "return dict(stem=r'^conv[12]', blocks=r'^blocks\\.(\\d+)')"


def test_what_returns_from_the_middle_of_a_stem_is_asked_in_both_methods():
    split = split_of(
        source(
            """
            x = self.conv1(x)
            if isinstance(self.blocks, nn.Identity):
                return x
            x = self.conv2(x)
            return self.blocks(x)
            """,
            PRUNED,
            PRUNED_MATCHER,
        )
    )
    assert split.embed.body[-1] == "x = self.conv2(x)"
    assert split.forward_stages.body == ("return self.blocks(x)",)
    assert split.early == ("isinstance(self.blocks, nn.Identity)",)
    assert said(split)[2] == "may return; what it asks about the model, both methods ask"


@pytest.mark.parametrize(
    "guard",
    [
        "if x.shape[0] > 1:\n    return x",  # of the images
        "if self.training and x.sum() > 0:\n    return x",
        "if self.limit:\n    x = x + 1\n    return x",  # does more than return
        "if self.limit:\n    return x\nelse:\n    x = x + 1",
        "if self.limit:\n    return [y for y in x]",
        "if self.ask():\n    return x",
        "self.limit = False\nif self.limit:\n    return x",
        "self.conv1.limit = 1\nif self.conv1.limit:\n    return x",
        "while self.limit:\n    return x",
        "for _ in range(3):\n    if self.limit:\n        return x",
        "try:\n    return self.limit(x)\nexcept TypeError:\n    pass",
    ],
)
def test_what_else_may_return_ends_the_embedding(guard):
    modules = {**PRUNED, "limit": "None"}
    body = f"x = self.conv1(x)\n{guard}\nx = self.conv2(x)\nreturn self.blocks(x)"
    methods = "def ask(self):\n    self.limit = not self.limit\n    return self.limit\n\n"
    outcome = outcomes_of(source(body, modules, PRUNED_MATCHER, methods))["Tiny"].result
    assert isinstance(outcome, Refusal) or "x = self.conv2(x)" not in outcome.embed.body


def test_a_pruned_stem_of_several_tensors_is_returned_as_it_is():
    page = rendered(
        """
        a = self.conv1(x)
        if self.blocks is None:
            return a
        b = self.conv2(a)
        return self.blocks(a + b)
        """
    )
    assert "if self.blocks is None:\n            return embedding\n        b, a = embedding\n" in page


def test_an_embedding_that_may_return_early_is_in_one_piece():
    body = """
        x = self.patch_embed(x)
        if self.norm_pre is None:
            return x
        x = x + self.pos_embed
        return self.blocks(x)
        """
    split = split_of(source(body, VIT, VIT_MATCHER))
    assert split.early == ("self.norm_pre is None",)
    line = next(n for n, text in enumerate(source(body, VIT, VIT_MATCHER).split("\n"), 1) if "is None" in text)
    assert split.patches == Absence(f"the method may return before the embedding is complete (line {line})")


def rendered(body: str) -> str:
    release = release_of(source(body, PRUNED, PRUNED_MATCHER))
    return generate(release).files["tiny.py"]


def test_blocks_behind_a_helper_method_are_found():
    split = check(
        """
        x = self.patch_embed(x)
        # boundary
        return self._encode(x)
        """,
        methods="""
        def _encode(self, x):
            return self._blocks(x)

        def _blocks(self, x):
            return self.blocks(x)

        """,
    )
    assert split.boundary.blocks == ("blocks",)


# More than one tensor


def test_two_streams_of_tokens_cross_and_the_one_that_gets_the_position_is_masked():
    split = check(
        """
        pixel_embed = self.pixel_embed(x)
        patch_embed = self.proj(pixel_embed)
        patch_embed = patch_embed + self.patch_pos
        patch_embed = self.pos_drop(patch_embed)
        # boundary
        for blk in self.blocks:
            pixel_embed, patch_embed = blk(pixel_embed, patch_embed)
        return patch_embed
        """,
        {
            "pixel_embed": "PixelEmbed()",
            "proj": "nn.Linear(8, 8)",
            "patch_pos": "nn.Parameter(torch.zeros(1, 4, 8))",
            "pos_drop": "nn.Dropout()",
            "blocks": "nn.ModuleList([Block()])",
        },
        "return dict(stem=r'^patch_pos|pixel_embed|proj', blocks=[(r'^blocks\\.(\\d+)', None)])",
    )
    assert [field.name for field in split.fields] == ["patch_embed", "pixel_embed"]


def test_a_list_of_tokens_crosses_as_the_list_that_it_is():
    split = check(
        """
        xs = []
        for i, embed in enumerate(self.patch_embeds):
            x_ = embed(x) + self.pos_embed
            xs.append(self.pos_drop(x_))
        # boundary
        for blk in self.blocks:
            xs = blk(xs)
        return xs
        """,
        VIT | {"patch_embeds": "nn.ModuleList([PatchEmbed(), PatchEmbed()])"},
    )
    assert [field.name for field in split.fields] == ["xs"]


STREAMS = VIT | {
    "patch_embed": "nn.ModuleList([PatchEmbed() for _ in range(2)])",
    "pos_embed": "nn.ParameterList([nn.Parameter(torch.zeros(1, 5, 8)) for _ in range(2)])",
    "blocks": "nn.ModuleList([Block() for _ in range(2)])",
}


def test_a_container_of_stems_that_no_block_runs_between_is_one_stem():
    """As CrossViT has it, which has no group_matcher outside timm, and SatMAE."""
    check_users(
        """
        xs = []
        for i in range(2):
            x_ = self.patch_embed[i](x) + self.pos_embed[i]
            xs.append(x_)
        # boundary
        for blk in self.blocks:
            xs = blk(xs)
        return xs
        """,
        STREAMS,
    )
    check_users(
        """
        xs = [self.patch_embed[i](x) for i in range(2)]
        x = torch.stack(xs, 1)
        x = x + self.pos_drop(self.pos_embed[0])
        # boundary
        for blk in self.blocks:
            x = blk(x)
        return x
        """,
        STREAMS,
    )


@pytest.mark.parametrize(
    ("body", "modules"),
    [
        ("for i in range(2):\n    x = self.patch_embed[i](x)\n    x = self.blocks[i](x)\nreturn x", {}),
        (
            "x = self.first(x)\nfor i in range(2):\n    x = self.patch_embed[i](x)\nx = self.blocks(x)\n"
            "return x + self.patch_embed[0](x)",
            {"first": "nn.ModuleList([Block()])"},
        ),
        (
            "for i in range(2):\n    x = self.patch_embed[i](x)\nx = self.blocks(x)\nreturn x",
            {"patch_embed": "nn.ModuleList([Block(), Block()])"},
        ),
        (
            "for block in self.first:\n    x = block(x)\nfor i in range(2):\n    x = self.patch_embed[i](x)\n"
            "x = self.blocks(x)\nreturn x",
            {"first": "nn.ModuleList([Block()])"},
        ),
    ],
)
def test_a_container_of_stems_with_blocks_in_between_is_none(body, modules):
    result = result_in_users_file(source(body, STREAMS | modules), "Tiny")
    assert isinstance(result, Refusal) or "for " not in "".join(result.embed.body)


# The stem inside a statement with the blocks: arms and loops


ARMS = """
    scale = 0
    if self.deep:
        scale = 1
        x = self.conv_stem(x)
        x = self.bn1(x)
        for blk in self.blocks:
            scale += 1
            x = blk(x)
    else:
        x = self.conv_stem(x)
        x = self.bn1(x)
        x = self.blocks(x)
    return x
"""


def test_a_stem_in_both_arms_is_run_once_and_the_question_is_asked_again_in_the_stages():
    split = split_of(source(ARMS.replace("    scale = 0\n", ""), CNN | {"deep": "True"}, CNN_MATCHER))
    assert split.embed.body == ("x = self.conv_stem(x)", "x = self.bn1(x)")
    assert "\n".join(split.forward_stages.body) == textwrap.dedent("""\
        if self.deep:
            scale = 1
            for blk in self.blocks:
                scale += 1
                x = blk(x)
        else:
            x = self.blocks(x)
        return x""")
    assert said(split)[:2] == ["both arms of it begin with the stem", "runs the stem, `conv_stem`"]


def test_arms_with_different_stems_keep_their_condition_in_the_embedding():
    body = """
        if self.deep:
            x = self.conv_stem(x)
            x = self.bn1(x)
            x = self.blocks(x)
        else:
            x = self.conv_stem(x)
            x = self.blocks(x)
        return x
    """
    split = split_of(source(body, CNN | {"deep": "True"}, CNN_MATCHER))
    assert split.embed.body == (
        "if self.deep:\n    x = self.conv_stem(x)\n    x = self.bn1(x)\nelse:\n    x = self.conv_stem(x)",
    )


@pytest.mark.parametrize("test", ["x.mean() > 0", "x.shape[0] > 1", "self.decide()", "torch.rand(1) > 0"])
def test_arms_under_a_condition_that_may_change_in_between_are_refused(test):
    body = f"""
        if {test}:
            x = self.blocks(self.conv_stem(x))
        else:
            x = self.conv_stem(x)
            x = self.blocks(x)
        return x
    """
    refusal = refuse(body, CNN, CNN_MATCHER, methods="def decide(self):\n    return True\n\n")
    assert refusal.reason == "the stem runs with the blocks under a condition that may change in between"


STAGES = {
    "embeds": "nn.ModuleList([PatchEmbed() for _ in range(2)])",
    "drops": "nn.ModuleList([nn.Dropout() for _ in range(2)])",
    "stages": "nn.ModuleList([Block() for _ in range(2)])",
}
STAGES_MATCHER = "return dict(stem=r'^embeds\\.0', blocks=[(r'^(?:embeds|stages)\\.(\\d+)', None)])"


def peel(body: str) -> tuple[str, str]:
    split = split_of(source(body, STAGES, STAGES_MATCHER))
    return "\n".join(split.embed.body), "\n".join(split.forward_stages.body)


def test_the_head_of_the_first_round_is_peeled_off_a_loop_that_counts():
    embed, stages = peel("""
        for i, (embed, drop, stage) in enumerate(zip(self.embeds, self.drops, self.stages)):
            x = embed(x)  # tokens
            x = drop(x)
            x = stage(x)
        return x
    """)
    assert embed == "x = self.embeds[0](x)  # tokens\nx = self.drops[0](x)"
    assert stages == textwrap.dedent("""\
        for i, (embed, drop, stage) in enumerate(zip(self.embeds, self.drops, self.stages)):
            if i > 0:
                x = embed(x)  # tokens
                x = drop(x)
            x = stage(x)
        return x""")


def test_a_loop_that_does_not_count_learns_to_under_a_name_of_its_own():
    embed, stages = peel("""
        i = 3
        for embed, stage in zip(self.embeds, self.stages):
            x = embed(x)
            x = stage(x)
        return x, i
    """)
    assert embed == "x = self.embeds[0](x)"
    assert stages == textwrap.dedent("""\
        i = 3
        for idx, (embed, stage) in enumerate(zip(self.embeds, self.stages)):
            if idx > 0:
                x = embed(x)
            x = stage(x)
        return x, i""")


def test_a_loop_over_a_range_is_indexed_with_zero_in_its_first_round():
    embed, stages = peel("""
        for n in range(len(self.stages)):
            x = self.embeds[n](x)
            x = self.stages[n](x)
        return x
    """)
    assert embed == "x = self.embeds[0](x)"
    assert stages == textwrap.dedent("""\
        for n in range(len(self.stages)):
            if n > 0:
                x = self.embeds[n](x)
            x = self.stages[n](x)
        return x""")


def test_a_loop_over_a_range_that_does_not_start_at_zero_is_not_taken_for_one_that_does():
    body = """
        for n in range(1, 2):
            x = self.embeds[n](x)
            x = self.stages[n](x)
        return x
    """
    assert refuse(body, STAGES, STAGES_MATCHER).reason.startswith("the stem runs with the blocks in a loop")


def test_a_loop_over_something_unknown_is_refused():
    body = """
        for embed, stage in pairs(self.embeds, self.stages):
            x = embed(x)
            x = stage(x)
        return x
    """
    assert refuse(body, STAGES, STAGES_MATCHER)


def test_a_head_that_may_leave_the_loop_is_refused():
    body = """
        for embed, stage in zip(self.embeds, self.stages):
            x = embed(x)
            if x is None:
                break
            x = x + self.pos_embed
            x = stage(x)
        return x
    """
    refusal = refuse(body, STAGES | {"pos_embed": "nn.Parameter(torch.zeros(1))"}, STAGES_MATCHER)
    assert refusal.reason == "the head of the loop may leave it"


# What has no boundary is refused, with the line


def test_a_stem_inside_one_call_with_the_blocks_is_refused():
    refusal = refuse(
        "return self.features(x)",
        {"features": "nn.Sequential(*layers)"},
        "return dict(stem=r'^features\\.conv0', blocks=r'^features\\.(\\d+)')",
    )
    assert refusal.reason == "the stem is not a statement of its own: it runs inside `features` with the blocks"
    assert refusal.place.file == "timm/models/tiny.py"


def test_a_helper_method_that_runs_everything_is_refused():
    refusal = refuse(
        """
        x = self._forward(x)
        return self.norm(x)
        """,
        methods="""
        def _forward(self, x):
            x = self.patch_embed(x)
            return self.blocks(x)

        """,
    )
    assert "it runs inside `_forward` with the blocks" in refusal.reason


@pytest.mark.parametrize("stem", ["getattr(self, f'{self.kind}_embed')(x)", "add_pos_embed(self, x)"])
def test_a_stem_by_a_computed_name_or_by_code_that_takes_self_whole_is_refused(stem):
    refusal = refuse(f"""
        x = {stem}
        x = x + self.pos_embed
        x = self.blocks(x)
        return x
    """)
    assert refusal.reason.startswith(f"`{stem.removesuffix('(x)')}` computes") or "takes self whole" in refusal.reason


@pytest.mark.parametrize("part", ["getattr(self, f'{self.kind}_embed')", "add_pos_embed(self, x)"])
def test_what_may_run_anything_is_refused_inside_the_statement_of_the_stem(part):
    refusal = refuse(f"""
        x = self.patch_embed(x, {part})
        x = self.blocks(x)
        return x
    """)
    assert re.search("computes the name of what runs here|takes self whole, and may run any module", refusal.reason)


@pytest.mark.parametrize(
    ("body", "line", "why"),
    [
        (
            "x = getattr(self, f'stem{self.n}')(x)\nreturn self.blocks(x)",
            1,
            "`getattr(self, f'stem{self.n}')` computes",
        ),
        (
            "for i in range(4):\n    x = x + 1\n    x = getattr(self, f'stem{i}')(x)\n    x = self.blocks(x)\nreturn x",
            3,
            "computes the name of what runs here: use an nn.ModuleList",
        ),
        ("x = run_stem(self, x)\nreturn self.blocks(x)", 1, "`run_stem` takes self whole, and may run any module"),
        ("x = x + 1\nreturn self.norm(x)", 2, "the one call `self.norm(x)` runs the whole model"),
        ("if x is None:\n    return x\nreturn self.blocks(self.patch_embed(x))", 1, "the method may return before any"),
        (
            "with torch.no_grad():\n    x = self.patch_embed(x)\n    x = self.blocks(x)\nreturn self.norm(x)",
            1,
            "`with torch.no_grad()` spans both the stem and the blocks",
        ),
    ],
)
def test_a_refusal_names_the_construct_and_its_line(body, line, why):
    refusal = refuse(body)
    lines = source(body, VIT, VIT_MATCHER, "").splitlines()
    assert why in refusal.reason
    assert lines[refusal.place.line - 1].strip() == body.splitlines()[line - 1].strip()


@pytest.mark.parametrize("helper", ["getattr(self, f'{self.kind}_embed')(x)", "add_pos_embed(self, x)"])
def test_what_may_run_anything_before_the_position_is_refused(helper):
    refuse(f"""
        x = self.patch_embed(x)
        x = {helper}
        x = x + self.pos_embed
        x = self.blocks(x)
        return x
    """)


def test_a_computed_name_in_the_stages_is_nobodys_concern():
    check(
        """
        x = self.stem(x)
        # boundary
        for i in range(4):
            x = getattr(self, f'layer{i}')(x)
        return x
        """,
        {"stem": "Stem()"},
        "return dict(stem=r'^stem', blocks=r'^layer(\\d+)')",
    )


def test_a_body_that_runs_no_blocks_is_refused():
    assert refuse("raise NotImplementedError").reason == "no statement runs the blocks of the model"


@pytest.mark.parametrize("before", ["", "y = x + self.pos_embed\n"], ids=["nothing", "a position of what is not used"])
def test_blocks_before_any_stem_are_refused(before):
    assert (
        refuse(f"{before}x = self.blocks(x)\nreturn x").reason
        == "the blocks run before any patch embedding or stem has run: name the stem in a group_matcher"
    )


TWO = {**VIT, "patch_embed2": "PatchEmbed()", "local": "Block()", "pos_embed2": "nn.Parameter(torch.zeros(1, 4, 8))"}


def test_the_embedding_ends_where_two_streams_of_tokens_are_joined():
    split = check(
        """
        a = self.patch_embed(x)
        b = self.patch_embed2(x)
        a = a + self.pos_embed
        b = b + self.pos_embed2
        x = torch.cat([a, b], dim=1)
        # boundary
        x = self.blocks(x)
        return x
        """,
        TWO,
        "",
    )
    assert isinstance(split.patches, Absence)
    assert (
        re.sub(r"\d+", "n", split.patches.reason) == "streams of patches get their positions before line n joins them"
    )
    assert "joins the streams of tokens" in said(split)


@pytest.mark.parametrize(
    "drops",
    ["x = x[keep]", "x = torch.gather(x, 1, keep)", "x = x * keep", "x = x[:, keep]"],
)
def test_patches_that_are_chosen_by_what_the_tokens_are_are_dropped_in_the_stages(drops):
    body = f"x = self.patch_embed(x)\nx = x + self.pos_embed\n# boundary\nkeep = torch.rand_like(x) > 0.5\n{drops}\n"
    check(body + "x = self.blocks(x)\nreturn x\n")


def test_what_is_made_of_the_tokens_and_joins_them_is_of_the_embedding():
    split = check(
        """
        x = self.patch_embed(x)
        local = self.local(x)
        x = x.flatten(2)
        local = local.flatten(2)
        x = x + local
        # boundary
        x = self.blocks(x)
        return x
        """,
        TWO,
        "",
    )
    assert [field.name for field in split.fields] == ["x"]


IN_THE_LOOP = """
x = self.patch_embed(x)
for i, block in enumerate(self.blocks):
    {before}
    x = block(x)
    {after}
return x
"""


def test_a_computed_name_that_may_be_of_a_method_which_gives_the_position_is_refused():
    body = "x = self.patch_embed(x)\nfor i in range(2):\n    x = getattr(self, f'step{i}')(x)\nreturn x"
    first, second = "def step0(self, x): return x + self.pos_embed\n", "def step1(self, x): return self.blocks(x)\n"
    reason = "`getattr(self, f'step{i}')` computes the name of what runs here: use an nn.ModuleList"
    assert refuse(body, methods=first + second).reason == reason
    assert split_of(source(body, VIT, VIT_MATCHER, first + second).replace("pos_embed", "bias"))


@pytest.mark.parametrize("name", ["'pos_' + 'embed'", "f'{kind}_embed'", "name", "'%s_embed' % 'pos'"])
def test_a_computed_name_that_may_be_of_the_position_is_refused(name):
    body = f"x = self.patch_embed(x)\nx = x + getattr(self, {name})\nx = self.blocks(x)\nreturn x"
    reason = f"`getattr(self, {name})` computes the name of what runs here: use an nn.ModuleList"
    assert refuse(body).reason == reason


@pytest.mark.parametrize(
    "named",
    [
        "x = x.to(self.blocks[0].weight.dtype)",
        "dtype = self.blocks[0].weight.dtype",
        "keep = [torch.rand(()) for _ in self.blocks]",
        "layers = list(self.blocks)",
        "layers = self.blocks[:2]",
        "layers = [*self.blocks]",
        "layers = self.blocks",
        "layers = getattr(self, 'blocks')",
    ],
)
def test_blocks_that_are_only_named_do_not_run(named):
    body = f"x = self.patch_embed(x)\n{named}\nx = x + self.pos_embed\nfor b in {{}}:\n    x = b(x)\nreturn x"
    for over in ("layers", "self.blocks") if "layers" in named else ("self.blocks",):
        split = split_of(source(body.format(over), VIT, VIT_MATCHER))
        assert "x = x + self.pos_embed" in split.embed.body


@pytest.mark.parametrize("name", ["norm_stem", "stem_norm", "embed_norm", "norm_embed", "norm_pre", "downsample_norm"])
def test_a_norm_after_the_position_is_none_of_the_stem_whatever_its_name_is(name):
    modules = {**VIT, name: "nn.BatchNorm1d(8)"}
    for ask in ("", f"if self.{name}:\n    "):
        body = f"x = self.patch_embed(x)\nx = x + self.pos_embed\n{ask}x = self.{name}(x)\nx = self.blocks(x)\nreturn x"
        assert split_of(source(body, modules)).embed.body[-1] == "x = x + self.pos_embed"


def test_a_norm_of_the_stem_before_the_position_is_in_the_embedding():
    body = "x = self.stem(x)\nx = self.stem_norm(x)\nx = x + self.pos_embed\nx = self.blocks(x)\nreturn x"
    split = split_of(source(body, {**VIT, "stem": "Stem()", "stem_norm": "nn.LayerNorm(8)"}))
    assert split.embed.body[-1] == "x = x + self.pos_embed"


@pytest.mark.parametrize(
    ("named", "run"),
    [
        ("plan = [(b, s) for b, s in zip(self.blocks, (1.0, 2.0))]", "for b, s in plan:\n    x = b(x) * s"),
        ("plan = {i: b for i, b in enumerate(self.blocks)}", "for i in plan:\n    x = plan[i](x)"),
        ("plan = dict(zip(range(2), self.blocks))", "for i in plan:\n    x = plan[i](x)"),
        ("plan = tuple(zip(self.blocks, (x.mean(), x.amax())))", "for b, s in plan:\n    x = b(x) * s"),
        ("plan = nn.Sequential(*self.blocks)", "x = plan(x)"),
        ("plan = nn.ModuleList(self.blocks[:2])", "for b in plan:\n    x = b(x)"),
        ("plan = [*reversed(self.blocks)]", "for b in plan:\n    x = b(x)"),
        ("first, *rest = self.blocks", "x = first(x)\nfor b in rest:\n    x = b(x)"),
        ("plan: list = list(self.blocks)", "for b in plan:\n    x = b(x)"),
        ("run = lambda t: self.blocks(t)", "x = run(x)"),
        ("def run(t):\n    for b in self.blocks:\n        t = b(t)\n    return t", "x = run(x)"),
        ("run = partial(self.blocks.forward)", "x = run(x)"),
        ("plan = [b.forward for b in self.blocks]", "for run in plan:\n    x = run(x)"),
    ],
)
def test_blocks_that_are_put_into_a_plan_run_where_it_is_carried_out(named, run):
    body = f"x = self.patch_embed(x)\n{named}\nx = x + self.pos_embed\n{run}\nreturn x"
    (outcome,) = outcomes_of(source(body, VIT, VIT_MATCHER)).values()
    found = outcome.result
    assert isinstance(found, Refusal) or "x = x + self.pos_embed" in found.embed.body


@pytest.mark.parametrize(
    "statement", ["setattr(self, f's{x.ndim}', 1)", "delattr(self, name)", "object.__setattr__(self, name, 1)"]
)
def test_a_computed_name_of_an_attribute_says_so(statement):
    reason = f"`{statement}` computes the name of an attribute, which may be any: write `self.name` out"
    assert refuse(f"name = 'a'\n{statement}\nx = self.patch_embed(x)\nx = self.blocks(x)\nreturn x").reason == reason


@pytest.mark.parametrize("first", ["i == 0", "not i", "i < 1", "block is self.blocks[0]", "i in (0, 2)", "x.is_new"])
def test_a_loop_over_blocks_that_gives_a_position_before_its_first_block_is_refused(first):
    reason = "the loop over blocks may give the tokens their position in its first round: do that before it"
    position = f"if {first}: x = x + self.pos_embed"
    assert refuse(IN_THE_LOOP.format(before=position, after="pass")).reason == reason


@pytest.mark.parametrize(
    "parts",
    [
        {"before": "pass", "after": "if i == 0: x = x + self.pos_embed"},
        {"before": "if i == 1: x = x + self.pos_embed", "after": "pass"},
        {"before": "if i > 0: x = x + self.pos_embed", "after": "pass"},
        {"before": "if i: x = x + self.pos_embed", "after": "pass"},
    ],
    ids=["after the block", "in a later round", "in all later rounds", "in all but the first"],
)
def test_a_position_further_inside_is_of_the_stages(parts):
    split = split_of(source(IN_THE_LOOP.format(**parts), VIT, VIT_MATCHER))
    assert split.boundary.statement == "x = self.patch_embed(x)"


# timm's own hard cases, as the design lists them

# the class and its embedding, and below it the last line of the embedding
HARD_CASES = """
vision_transformer.VisionTransformer: x
    x = self._pos_embed(x)
beit.Beit: x
    x = self.pos_drop(x)
vision_transformer_relpos.VisionTransformerRelPos: x
    x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1)
eva.Eva: x, rot_pos_embed
    x, rot_pos_embed = self._pos_embed(x)
pit.PoolingVisionTransformer: x
    x = self.pos_drop(x + self.pos_embed)
deepseek_vit.DeepseekVitEncoder: x, H, W, rope
    x, rope = self._pos_embed(x)
deepseek_vit.DeepseekVitClassifier: x, H, W, rope
    x, rope = self._pos_embed(x)
qwen3_vit.Qwen3VitEncoder: x, H, W, rope
    x, rope = self._pos_embed(x)
qwen3_vit.Qwen3VitClassifier: x, H, W, rope
    x, rope = self._pos_embed(x)
gemma4_vit.Gemma4VitEncoder: x, position_ids, padding_positions
    x, position_ids, padding_positions = self.patch_embed(x, patch_coord, patch_valid)
gemma4_vit.Gemma4VitClassifier: x, position_ids, padding_positions
    x, position_ids, padding_positions = self.patch_embed(x, patch_coord, patch_valid)
hiera.Hiera: x, mask
    x = self._pos_embed(x)
mvitv2.MultiScaleVit: x, feat_size
    x = x + self.pos_embed
xcit.Xcit: x, Hp, Wp
    x = self.pos_drop(x)
tnt.TNT: patch_embed, pixel_embed
    patch_embed = self.pos_drop(patch_embed)
crossvit.CrossVit: xs
    xs = self._embed(x)
coat.CoaT: x1
    x1 = insert_cls(x1, self.cls_token1)
visformer.Visformer: x
    x = self.pos_drop(x + self.pos_embed1)
nest.Nest: x
    x = self.patch_embed(x)
volo.VOLO: x
    x = self.patch_embed(x).permute(0, 2, 3, 1)  # B,C,H,W-> B,H,W,C
naflexvit.NaFlexVit: x, naflex_mode, embeds, rope_embeds, keep_indices, attn_mask
    attn_mask = embeds.get('attn_mask', None)
twins.Twins: x, size
    x = drop(x)
mobilenetv5.MobileNetV5: x
    x = self.conv_stem(x)
mobilenetv5.MobileNetV5Encoder: x
    x = self.conv_stem(x)
levit.Levit: x
    x = x.flatten(2).transpose(1, 2)
swin_transformer.SwinTransformer: x
    x = self.patch_embed(x)
swin_transformer_v2.SwinTransformerV2: x
    x = self.patch_embed(x)
swin_transformer_v2_cr.SwinTransformerV2Cr: x
    x = self.patch_embed(x)
davit.DaVit: x
    x = self.stem(x)
maxxvit.MaxxVit: x
    x = self.stem(x)
metaformer.MetaFormer: x
    x = self.stem(x)
fastvit.FastVit: x
    x = self.stem(x)
resnet.ResNet: x
    x = self.maxpool(x)
"""
ROWS = re.findall(r"^(\S+): (.+)\n    (.+)$", HARD_CASES, re.MULTILINE)


@recorded
@pytest.mark.parametrize(("name", "fields", "last_line"), ROWS, ids=[row[0] for row in ROWS])
def test_hard_case_of_timm(name, fields, last_line):
    split = timm_split(name)
    place = split.boundary.place
    assert timm_release().files[place.file].splitlines()[place.line - 1].strip() == last_line
    assert ", ".join(field.name for field in split.fields) == fields


def timm_split(name: str) -> Split:
    result = next(o.result for o in timm_package().outcomes if o.path == f"timm.models.{name}")
    assert isinstance(result, Split), result
    return result


def stages_of(name: str) -> str:
    return "\n".join(timm_split(name).forward_stages.body)


def test_patch_drop_and_norm_pre_of_timms_vit_are_stages():
    assert timm_split("vision_transformer.VisionTransformer").forward_stages.body[:2] == (
        "x = self.patch_drop(x)",
        "x = self.norm_pre(x)",
    )


def test_unrolling_and_the_dropping_of_masked_tokens_are_stages_of_hiera():
    body = stages_of("hiera.Hiera")
    assert body.startswith("x = self.unroll(x)")
    assert "x = x[mask[..., None]" in body


def test_shared_relative_position_biases_of_timm_are_stages():
    assert stages_of("beit.Beit").lstrip().startswith("rel_pos_bias = self.rel_pos_bias()")
    assert "self.shared_rel_pos.get_bias()" in stages_of("vision_transformer_relpos.VisionTransformerRelPos")


def test_later_embeddings_of_pyramids_stay_in_the_stages():
    assert "x = self.patch_embed2(x)" in stages_of("visformer.Visformer")
    assert "self.pos_drop(x + self.pos_embed3)" in stages_of("visformer.Visformer")
    assert stages_of("nest.Nest").startswith("x = self.levels(x)")
    assert "self.forward_tokens(x)" in stages_of("volo.VOLO")
    assert all(f"self.patch_embed{n}(" in stages_of("coat.CoaT") for n in (2, 3, 4))


def test_class_tokens_of_pit_are_made_by_the_stages():
    assert "cls_tokens = self.cls_token.expand(x.shape[0], -1, -1)" in stages_of("pit.PoolingVisionTransformer")


def test_what_the_stages_can_see_for_themselves_does_not_cross():
    recomputed = {
        name: timm_split(name).recomputed for name in ("coat.CoaT", "twins.Twins", "qwen3_vit.Qwen3VitEncoder")
    }
    assert recomputed == {
        "coat.CoaT": ("B = x1.shape[0]", "H1, W1 = self.patch_embed1.grid_size"),
        "twins.Twins": ("B = x.shape[0]",),
        "qwen3_vit.Qwen3VitEncoder": ("B = x.shape[0]",),
    }
    assert timm_split("deepseek_vit.DeepseekVitEncoder").recomputed == ("B = x.shape[0]",)


def test_constants_of_mobilenet_v5_move_down_to_the_stages():
    assert timm_split("mobilenetv5.MobileNetV5").embed.body == ("x = self.conv_stem(x)",)
    assert "feat_idx = 0" in stages_of("mobilenetv5.MobileNetV5")


def test_classifiers_have_the_statements_of_the_encoder_that_they_delegate_to():
    for name in ("deepseek_vit.DeepseekVit", "qwen3_vit.Qwen3Vit", "gemma4_vit.Gemma4Vit"):
        outer, inner = timm_split(f"{name}Classifier"), timm_split(f"{name}Encoder")
        assert outer.delegate is not None
        assert (outer.delegate.attribute, outer.delegate.path) == ("encoder", f"timm.models.{name}Encoder")
        assert outer.embedding == inner.embedding
        assert outer.fields == inner.fields
        assert [line.replace("self.encoder.", "self.") for line in outer.embed.body] == list(inner.embed.body)


def test_parameters_go_to_the_method_that_reads_them():
    def parameters(name: str) -> tuple[list[str], list[str]]:
        split = timm_split(name)
        return [p.name for p in split.embed.parameters], [p.name for p in split.forward_stages.parameters]

    assert parameters("vision_transformer.VisionTransformer") == (["x"], ["attn_mask", "is_causal"])
    assert parameters("hiera.Hiera") == (["x", "mask"], ["return_intermediates"])
    assert parameters("naflexvit.NaFlexVit") == (["patches", "patch_coord", "patch_valid", "attn_mask"], [])
