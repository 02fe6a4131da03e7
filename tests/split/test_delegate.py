"""Models that hand everything to another model."""

import pytest
from differential import reason, same, tiny
from sources import refusal_of, split_of

ENCODER = """
LENGTH = 4


class Encoder(nn.Module):
    def build(self):
        self.patch_embed = nn.Conv2d()
        self.blocks = nn.ModuleList([nn.Block()])

    def forward_features(self, x):
        x = self.patch_embed(x)
        x = self.blocks[0](x, LENGTH)
        return x

    def forward(self, x):
        x = self.forward_features(x)
        return x

    def __call__(self, x):
        return self.forward(x)
"""


def delegating(body="return self.encoder(x)", parameters="x", encoder=ENCODER, made="Encoder()", **more):
    return tiny(body, parameters, header=encoder, encoder=made, **more)


def test_the_inner_models_statements_stand_in_for_the_call():
    split = split_of(delegating())
    assert split.embed.body == ("x = self.encoder.patch_embed(x)",)
    assert split.forward_stages.body == ("x = self.encoder.blocks[0](x, LENGTH)", "return x")
    assert split.delegate.attribute == "encoder"
    same(delegating())


@pytest.mark.parametrize(
    ("call", "forward"),
    [
        ("return self.encoder(x, **more)", "(self, x)"),
        ("return self.encoder(*x)", "(self, x)"),
        ("return self.encoder(x + 1)", "(self, x)"),
        ("return self.encoder(x, args)", "(self, x, *args)"),
        ("return self.encoder(x)", "(self, x, mask=None)"),
        ("return self.encoder(x, x)", "(self, x)"),
    ],
)
def test_a_call_that_does_not_pass_each_parameter_under_its_own_name_is_refused(call, forward):
    source = delegating(
        call, "x, more=None, args=None", ENCODER.replace("def forward(self, x)", f"def forward{forward}")
    )
    assert "under its own name" in refusal_of(source).reason


def test_a_parameter_that_is_a_global_to_the_inner_model_is_refused():
    assert "`LENGTH` is a parameter here and a global" in reason(delegating(parameters="x, LENGTH=1"))


def test_names_that_the_two_inner_methods_share_are_refused():
    encoder = ENCODER.replace(
        "        x = self.forward_features(x)", "        LENGTH = 5\n        x = self.forward_features(x)"
    )
    assert "`LENGTH` means one thing" in reason(delegating(encoder=encoder))


@pytest.mark.parametrize(
    "made", ["Encoder() if self.flag else None", "Encoder() if self.flag else nn.Linear()", "MAKE()"]
)
def test_an_encoder_that_may_be_another_is_not_written_out_as_this_one(made):
    refused = refusal_of(delegating(made=made, encoder=ENCODER + "\nMAKE = choose(Encoder)\n"))
    assert refused.place.line > 1


def test_a_method_from_another_module_is_refused():
    base = ENCODER.replace("class Encoder", "class Base").replace(
        "LENGTH = 4", "import torch\nfrom torch import nn\nLENGTH = 5"
    )
    source = delegating(encoder="from .base import Base\n\nclass Encoder(Base):\n    pass\n")
    files = {"timm/models/base.py": base}
    assert "stands in another module" in refusal_of(source, files=files).reason


def test_an_inner_method_that_returns_in_the_middle_is_refused():
    encoder = ENCODER.replace(
        "        x = self.patch_embed(x)\n",
        "        if x is None:\n            return x\n        x = self.patch_embed(x)\n",
    )
    assert "must return once" in reason(delegating(encoder=encoder))


def test_the_inner_forward_features_may_be_called_itself():
    source = delegating("return self.encoder.forward_features(x)")
    split = split_of(source)
    assert split.embed.body == ("x = self.encoder.patch_embed(x)",)
    assert split.forward_stages.body == ("x = self.encoder.blocks[0](x, LENGTH)", "return x")
    same(source)


POOLING = ENCODER.replace("        return x\n\n    def __call__", "        return x + 1\n\n    def __call__")
TWO_WAYS = """
    if self.pool == 'soft':
        return self.encoder(x)
    return self.encoder.forward_features(x)
"""
OR_ELSE = """
    # either
    if not self.pool in ('', 'none') and self.pool != 'avg':
        return self.encoder(x)
    else:
        return self.encoder.forward_features(x)
"""


@pytest.mark.parametrize("body", [TWO_WAYS, OR_ELSE])
@pytest.mark.parametrize("pool", ["'soft'", "'avg'", "''"])
def test_two_ways_to_call_it_that_begin_alike_share_their_embedding(body, pool):
    source = delegating(body, encoder=POOLING, pool=pool)
    split = split_of(source)
    assert split.embed.body == ("x = self.encoder.patch_embed(x)",)
    assert split.forward_stages.body[0].startswith("if ")
    assert "one of two calls of `encoder`, which begin alike" in split.boundary.reasons[0]
    run = same(source)
    assert (run.result.how == "+") == (pool == "'soft'")


def test_two_ways_to_call_it_that_begin_differently_are_refused():
    encoder = POOLING.replace(
        "        x = self.forward_features(x)", "        x = self.patch_embed(x + 1)\n        x = self.blocks[0](x)"
    )
    assert "`encoder` is called in two ways that begin differently" in reason(
        delegating(TWO_WAYS, encoder=encoder, pool="'soft'")
    )


@pytest.mark.parametrize(
    "question",
    [
        "self.encoder.pool == 'soft'",  # which running the encoder may change
        "self.items",  # which it may share with the encoder
        "len(self.items) == 2",
        "self.items == self.depth",
        "self.asks == 'soft'",
        "self.asks() == 'soft'",
        "x.pool == 'soft'",
        "more is None",
        "self.norm == 1",
        "(self.pool == 'soft') == x",
    ],
)
def test_a_question_whose_answer_may_change_in_between_is_refused_and_the_encoder_is_named(question):
    body = TWO_WAYS.replace("self.pool == 'soft'", question)
    asks = "@property\ndef asks(self):\n    return self.encoder.pool\n"
    refused = refusal_of(delegating(body, "x, more=None", encoder=POOLING, pool="'soft'", methods=asks))
    assert refused.reason.endswith("; it is a model of its own, Encoder: split model.encoder instead")
