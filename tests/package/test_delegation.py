"""Where the methods of a split inner model are called, and where its statements alone are right."""

import ast

import pytest
from differential import tiny
from sources import outcomes_of

from codegen.package.render import render

ENCODER = """
class Encoder(nn.Module):
    def build(self):
        self.patch_embed = nn.Conv2d()
        self.pos_embed = nn.Parameter()
        self.blocks = nn.ModuleList([nn.Block()])
        self.norm = nn.Norm()

    def forward_features(self, x):
        x = self.patch_embed(x)
        x = x + self.pos_embed
        x = self.blocks[0](x)
        return self.norm(x)

    def forward(self, x):
        x = self.forward_features(x)
        return x * 2
"""
ASKS = "not torch.jit.is_scripting() and isinstance(self.encoder, EncoderSplit)"


def methods(encoder=ENCODER, body="return self.encoder(x)", **more):
    """The methods of a class that delegates to an encoder, as they are generated."""
    source = tiny(body, "x", header=encoder, encoder="Encoder()", **more)
    text = "\n".join(
        text for name, text in render("1.0.31", [*outcomes_of(source).values()]).items() if name.endswith(".py")
    )
    cls = next(n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ClassDef) and n.name == "TinySplit")
    return {n.name: "\n".join(map(ast.unparse, n.body[1:])) for n in cls.body if isinstance(n, ast.FunctionDef)}


def test_the_methods_of_a_split_inner_model_are_called():
    made = methods()
    assert made["embed"].startswith(f"if {ASKS}:\n    return self.encoder.embed(x)\n")
    assert made["embed_patches"].startswith(f"if {ASKS}:\n    return self.encoder.embed_patches(x)\n")
    assert made["embed_positions"].startswith(f"if {ASKS}:\n    return self.encoder.embed_positions(x)\n")
    assert made["forward_stages"] == (
        f"if {ASKS}:\n    x = self.encoder.forward_stages(x)\n"
        "else:\n    x = self.encoder.blocks[0](x)\n    x = self.encoder.norm(x)\nreturn x * 2"
    )
    assert "forward_features" not in made, "it is the model's own, which calls the inner model"


def test_stages_that_are_the_inner_models_alone_are_a_single_call():
    made = methods(body="return self.encoder.forward_features(x)")
    assert made["forward_stages"].startswith(f"if {ASKS}:\n    return self.encoder.forward_stages(x)\n")


FORWARD = "        x = self.forward_features(x)\n        return x * 2"


@pytest.mark.parametrize(
    "forward",
    [
        # other statements before the boundary, and after it
        "x = self.patch_embed(x)\nx = x + self.pos_embed * 2\nx = self.blocks[0](x)\nx = self.norm(x)\nreturn x * 2",
        "x = self.patch_embed(x)\nx = x + self.pos_embed\nx = self.blocks[0](x + 1)\nx = self.norm(x)\nreturn x * 2",
        # what follows reads what the method of the inner model keeps to itself
        "x = self.patch_embed(x)\nx = x + self.pos_embed\nx = self.blocks[0](x)\ny = self.norm(x)\nreturn x * y",
    ],
)
def test_where_the_inner_model_does_something_else_its_statements_are_run(forward):
    body = "\n".join(f"        {line}" for line in forward.splitlines())
    made = methods(ENCODER.replace(FORWARD, body))
    assert ASKS not in made["forward_stages"]
    assert ASKS not in made["embed"]
