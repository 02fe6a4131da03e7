"""The boundary check, on timm's models with splits that are right and splits that are wrong."""

import pytest
import timm
import torch
from torch import nn

from codegen.proof.models import input_size
from codegen.proof.placement import Parts, Unjudged, judge, until_entry, window
from codegen.proof.trace import Event, record


def passes(model, features, embed, stages, image):
    """Traces of timm's pass and of the split one, and the kinds of the model's parts."""
    parts = Parts(model, lambda: record(model, lambda recorder: features(image)).events)

    def split(recorder):
        embedding = embed(image)
        recorder.cut()
        return stages(embedding)

    return record(model, lambda recorder: features(image), look=until_entry(parts)), record(model, split), parts


def judgement(name, embed, stages, **options):
    """What is wrong with a split: ``embed`` and ``stages`` are functions of the model and their argument."""
    with torch.device("meta"):
        model = timm.create_model(name, **options).eval()
        image = torch.zeros(2, *input_size(model))
        timm_pass, split_pass, parts = passes(
            model, model.forward_features, lambda x: embed(model, x), lambda x: stages(model, x), image
        )
    assert not timm_pass.difference(split_pass)  # a wrong boundary is wrong although all ops are right
    return judge(timm_pass, split_pass, parts)


def vit_tail(model, x):
    return model.norm(model.blocks(x))


def test_a_vision_transformer_is_cut_after_its_position():
    assert not judgement(
        "test_vit",
        lambda m, x: m._pos_embed(m.patch_embed(x)),
        lambda m, x: vit_tail(m, m.norm_pre(m.patch_drop(x))),
    )


@pytest.mark.parametrize(
    ("embed", "stages", "what"),
    [
        pytest.param(
            lambda m, x: m.patch_embed(x),
            lambda m, x: vit_tail(m, m.norm_pre(m.patch_drop(m._pos_embed(x)))),
            "forward_stages runs cls_token, which belongs to the embedding",
            id="position in the stages",
        ),
        pytest.param(
            lambda m, x: x,
            lambda m, x: vit_tail(m, m.norm_pre(m.patch_drop(m._pos_embed(m.patch_embed(x))))),
            "forward_stages runs patch_embed, which belongs to the embedding",
            id="everything in the stages",
        ),
        pytest.param(
            lambda m, x: m.patch_drop(m._pos_embed(m.patch_embed(x))),
            lambda m, x: vit_tail(m, m.norm_pre(x)),
            "embed runs patch_drop, which belongs to the stages",
            id="patch dropout in embed",
        ),
        pytest.param(
            lambda m, x: m.norm_pre(m.patch_drop(m._pos_embed(m.patch_embed(x)))),
            vit_tail,
            "embed runs patch_drop, which belongs to the stages",
            id="pre-norm in embed",
        ),
        pytest.param(
            lambda m, x: vit_tail(m, m.norm_pre(m.patch_drop(m._pos_embed(m.patch_embed(x))))),
            lambda m, x: x,
            "embed runs patch_drop, which belongs to the stages",
            id="everything in embed",
        ),
    ],
)
def test_a_vision_transformer_that_is_cut_elsewhere_is_found_out(embed, stages, what):
    assert judgement("test_vit", embed, stages) == what


def test_dropout_on_the_position_belongs_to_the_embedding():
    assert "pos_embed, which belongs to the embedding" in judgement(
        "cait_xxs24_224", lambda m, x: m.patch_embed(x), lambda m, x: cait_tail(m, m.pos_drop(x + m.pos_embed))
    )
    assert "pos_drop, which belongs to the embedding" in judgement(
        "cait_xxs24_224", lambda m, x: m.patch_embed(x) + m.pos_embed, lambda m, x: cait_tail(m, m.pos_drop(x))
    )
    assert not judgement(
        "cait_xxs24_224", lambda m, x: m.pos_drop(m.patch_embed(x) + m.pos_embed), lambda m, x: cait_tail(m, x)
    )


def cait_tail(m, x):
    return m.norm(m.forward_cls(m.blocks(x)))


def test_a_class_without_a_group_matcher_is_judged_by_its_structure():
    def tail(m, x):
        return m.norm(m.transformers((x, m.cls_token.expand(x.shape[0], -1, -1)))[1])

    assert not hasattr(timm.models.pit.PoolingVisionTransformer, "group_matcher")
    assert not judgement("pit_ti_224", lambda m, x: m.pos_drop(m.patch_embed(x) + m.pos_embed), tail)
    assert "pos_embed" in judgement(
        "pit_ti_224", lambda m, x: m.patch_embed(x), lambda m, x: tail(m, m.pos_drop(x + m.pos_embed))
    )
    assert "embed runs transformers" in judgement(
        "pit_ti_224",
        lambda m, x: m.transformers(
            (m.pos_drop(m.patch_embed(x) + m.pos_embed), m.cls_token.expand(x.shape[0], -1, -1))
        ),
        lambda m, x: m.norm(x[1]),
    )


def test_stages_of_a_hierarchy_run_no_first_patch_embedding_and_embed_no_stage():
    name = "swin_tiny_patch4_window7_224"
    assert not judgement(name, lambda m, x: m.patch_embed(x), lambda m, x: m.norm(m.layers(x)))
    assert "runs patch_embed," in judgement(name, lambda m, x: x, lambda m, x: m.norm(m.layers(m.patch_embed(x))))
    assert "runs layers," in judgement(name, lambda m, x: m.layers(m.patch_embed(x)), lambda m, x: m.norm(x))


def twins(model, x, size, rounds, head):
    """timm's loop from a round on, of whose head, the patch embedding and the dropout, the first is given."""
    for i in rounds:
        if i != rounds[0] or head:
            x, size = model.patch_embeds[i](x)
            x = model.pos_drops[i](x)
        for j, block in enumerate(model.blocks[i]):
            x = block(x, size)
            if j == 0:
                x = model.pos_block[i](x, size)
        if i < len(model.blocks) - 1:
            x = x.reshape(x.shape[0], *size, -1).permute(0, 3, 1, 2).contiguous()
    return x


def test_a_loop_is_cut_after_the_head_of_its_first_round():
    def embed(m, x):
        x, size = m.patch_embeds[0](x)
        return m.pos_drops[0](x), size

    def without_dropout(m, x):
        return m.patch_embeds[0](x)

    name = "twins_svt_small"
    assert not judgement(name, embed, lambda m, x: m.norm(twins(m, *x, range(4), head=False)))
    assert "pos_drops.0, which belongs to the embedding" in judgement(
        name, without_dropout, lambda m, x: m.norm(twins(m, m.pos_drops[0](x[0]), x[1], range(4), head=False))
    )
    assert "embed runs blocks.0.0, which" in judgement(
        name,
        lambda m, x: twins(m, x, None, range(1), head=True),
        lambda m, x: m.norm(twins(m, x, None, range(1, 4), head=True)),
    )


def test_later_patch_embeddings_and_positions_are_part_of_the_stages():
    def stages(m, x):
        x = m.stage1(x)
        x = m.stage2(m.pos_drop(m.patch_embed2(x) + m.pos_embed2))
        return m.norm(m.stage3(m.pos_drop(m.patch_embed3(x) + m.pos_embed3)))

    def embed(m, x):
        return m.pos_drop(m.patch_embed1(m.stem(x)) + m.pos_embed1)

    assert not judgement("visformer_tiny", embed, stages)
    assert not judgement(
        "volo_d1_224",
        lambda m, x: m.patch_embed(x).permute(0, 2, 3, 1),
        lambda m, x: m.norm(m.forward_cls(m.forward_tokens(x))),
    )


def test_patch_dropout_and_norm_that_share_a_statement_with_the_stem_are_embedding():
    def stages(m, embeds):
        x = embeds["patches"]
        for block in m.blocks:
            x = block(x, attn_mask=embeds["attn_mask"])
        return m.norm(x)

    assert not judgement("naflexvit_base_patch16_gap", lambda m, x: m._forward_embeds(x, None, None, None), stages)

    def eva_stages(m, embedding):
        x, rope = embedding
        x = m.norm_pre(x)
        for block in m.blocks:
            x = block(x, rope=rope)
        return m.norm(x)

    name = "eva02_tiny_patch14_224"
    assert not judgement(name, lambda m, x: m._pos_embed(m.patch_embed(x)), eva_stages, patch_drop_rate=0.5)


def test_a_shared_relative_position_bias_is_computed_in_the_stages():
    def embed(m, x):
        x = m.patch_embed(x)
        return m.pos_drop(torch.cat((m.cls_token.expand(x.shape[0], -1, -1), x), dim=1))

    def stages(m, x, bias):
        for block in m.blocks:
            x = block(x, shared_rel_pos_bias=bias)
        return m.norm(x)

    options = {"use_shared_rel_pos_bias": True, "use_rel_pos_bias": False, "depth": 1}
    name = "beit_base_patch16_224"
    assert not judgement(name, embed, lambda m, x: stages(m, x, m.rel_pos_bias()), **options)
    assert "rel_pos_bias" in judgement(
        name, lambda m, x: (embed(m, x), m.rel_pos_bias()), lambda m, x: stages(m, *x), **options
    )


def test_a_class_that_delegates_is_cut_inside_its_encoder():
    def stages(m, embedding):
        x, rope, height, width = embedding
        for block in m.encoder.blocks:
            x = block(x, rope=rope)
        return m.encoder.norm(x).reshape(x.shape[0], height, width, -1)

    def embed(m, x):
        x = m.encoder.patch_embed(x)
        _, height, width, _ = x.shape
        return *m.encoder._pos_embed(x), height, width

    def early(m, x):
        return m.encoder.patch_embed(x)

    def late_stages(m, x):
        return stages(m, (*m.encoder._pos_embed(x), *x.shape[1:3]))

    name = "deepseek_vit_412m"
    assert not judgement(name, embed, stages, depth=1)
    assert "rope" in judgement(name, early, late_stages, depth=1)


def test_rotary_tables_that_the_entry_makes_are_part_of_the_stages():
    def embed(m, x):
        return m.encoder.patch_embed(x, None, None)

    assert not judgement("gemma4_vit_167m", embed, lambda m, x: m.encoder._encode(*x), depth=1, encoder_pool="")


def test_a_module_that_holds_stem_and_blocks_cannot_be_judged():
    with pytest.raises(Unjudged, match="a single statement runs the stem and the blocks"):
        judgement("vgg11", lambda m, x: x, lambda m, x: m.features(x))


class Tiny(nn.Module):
    """A model whose stem has two statements."""

    def __init__(self):
        super().__init__()
        self.stem1, self.stem2, self.act, self.block1 = nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)

    def group_matcher(self, coarse=False):
        return {"stem": r"^stem", "blocks": [(r"^block(\d+)", None)]}

    def forward_features(self, x):
        x = self.stem1(x)
        x = self.stem2(x)
        x = self.act(x)
        return self.block1(x)


class Returning(Tiny):
    def forward_features(self, x):
        x = self.stem1(x)
        if x is None:
            return x
        x = self.stem2(x)
        x = self.act(x)
        return self.block1(x)


def cut_after(model, count):
    """What is wrong with a cut after so many of the layers."""
    layers = [model.stem1, model.stem2, model.act, model.block1]

    def run(layers):
        return lambda x: nn.Sequential(*layers)(x)

    image = torch.zeros(1, 2)
    timm_pass, split_pass, parts = passes(
        model, model.forward_features, run(layers[:count]), run(layers[count:]), image
    )
    return judge(timm_pass, split_pass, parts)


def test_a_cut_is_right_from_the_end_of_the_stem_to_the_first_block():
    assert [bool(cut_after(Tiny(), count)) for count in range(5)] == [True, True, False, False, True]


def test_an_early_return_in_the_stem_is_no_reason_to_cut_there():
    assert [bool(cut_after(Returning(), count)) for count in range(5)] == [True, True, False, False, True]


def test_a_layer_that_both_parts_run_is_found_out():
    class Twice(Tiny):
        def forward_features(self, x):
            x = self.stem2(self.stem1(x))
            return self.stem1(self.block1(x))

    model = Twice()
    timm_pass, split_pass, parts = passes(
        model,
        model.forward_features,
        lambda x: model.stem2(model.stem1(x)),
        lambda x: model.stem1(model.block1(x)),
        torch.zeros(1, 2),
    )
    assert judge(timm_pass, split_pass, parts) == "embed and forward_stages both run stem1"


def test_modules_that_run_in_another_order_are_found_out():
    model = Tiny()
    timm_pass, split_pass, parts = passes(
        model,
        model.forward_features,
        lambda x: model.stem2(model.stem1(x)),
        lambda x: model.block1(torch.relu(x)),  # the op of self.act, without the module and its hooks
        torch.zeros(1, 2),
    )
    assert not timm_pass.difference(split_pass)
    assert "the modules that run" in judge(timm_pass, split_pass, parts)


@pytest.mark.parametrize("matcher", [{"stem": "^stem", "blocks": "^nothing"}, {"stem": "^nothing", "blocks": "^block"}])
def test_neither_matcher_nor_structure_gives_no_judgement(matcher):
    model = Tiny()  # its blocks are in no container
    model.group_matcher = lambda coarse=False: matcher
    parts = Parts(model, lambda: record(model, lambda recorder: model.forward_features(torch.zeros(1, 2))).events)
    timm_pass = record(model, lambda recorder: model.forward_features(torch.zeros(1, 2)), look=until_entry(parts))
    with pytest.raises(Unjudged, match="no module that timm counts as a block runs"):
        window(timm_pass, parts)


def test_a_matcher_left_behind_from_another_class_is_not_believed() -> None:
    model = timm.create_model("test_vit").eval()
    model.group_matcher = lambda coarse=False: {"stem": r"^stem", "blocks": r"^levels\.(\d+)"}
    events = [Event("patch_embed.proj", True), Event("blocks.0.attn.qkv", True)]
    parts = Parts(model, lambda: events)
    assert parts("patch_embed.proj.weight") == "stem"
    assert parts("blocks.0.norm1.weight") == "block"


class LateToken(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed, self.blocks = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2))
        self.pos_embed, self.cls_token = nn.Parameter(torch.zeros(1, 3, 2)), nn.Parameter(torch.zeros(1, 1, 2))

    def group_matcher(self, coarse=False):
        return {"stem": r"^cls_token|pos_embed|patch_embed", "blocks": r"^blocks\.(\d+)"}

    def forward_features(self, x):
        x = self.patch_embed(x)
        x = x + self.pos_embed
        cls_tokens = self.cls_token.expand(x.shape[0], -1, -1)
        return self.blocks(torch.cat((cls_tokens, x), dim=1))


def test_prefix_tokens_that_come_after_the_position_may_be_in_the_stages():
    model = LateToken()

    def stages(x):
        return model.blocks(torch.cat((model.cls_token.expand(x.shape[0], -1, -1), x), dim=1))

    def embed(x):
        return model.patch_embed(x) + model.pos_embed

    assert judge(*passes(model, model.forward_features, embed, stages, torch.zeros(1, 3, 2))) == ""
    too_early = passes(
        model, model.forward_features, model.patch_embed, lambda x: stages(x + model.pos_embed), torch.zeros(1, 3, 2)
    )
    assert judge(*too_early) == "forward_stages runs pos_embed, which belongs to the embedding"
