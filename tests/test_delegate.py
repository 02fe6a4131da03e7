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
    assert split.forward_stages.body == ("x = self.encoder.blocks[0](x, LENGTH)", "x = x", "return x")
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
    refused = refusal_of(delegating(made=made, encoder=ENCODER + "\nMAKE = Encoder\n"))
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


def test_an_encoder_that_is_called_in_two_ways_is_named_as_what_can_be_split_instead():
    body = """
        if self.flag:
            return self.encoder(x)
        return self.encoder.forward_features(x)
    """
    refused = refusal_of(delegating(body))
    assert refused.reason.endswith("; it is a model of its own, Encoder: split model.encoder instead")
