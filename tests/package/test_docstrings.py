"""The docstrings of generated methods: the author's text where it belongs, and what is said beside it."""

import ast
import inspect
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sources import outcomes_of

from codegen.package.docstrings import literal
from codegen.package.render import render

POSITIONED = """
        x = self.patch_embed(x, scale)
        x = x + self.pos_embed
        return self.blocks(x, mask)
"""
STEM = """
        x = self.stem(x)
        return self.stages(x)
"""
INIT = """
        self.patch_embed = PatchEmbed()
        self.pos_embed = nn.Parameter(torch.zeros(1, 4, 8))
        self.stem = nn.Conv2d(3, 8, 4)
        self.blocks = nn.Sequential(*blocks)
        self.stages = nn.Sequential(*stages)
"""


def docstrings(
    docstring: str = "", *, body: str = POSITIONED, parameters: str = "x, scale=1, mask=None", init: str = INIT
) -> dict[str, str]:
    """What the docstring of each method and class is, of a model with this one."""
    source = f"""
import torch
from torch import nn
from timm.layers import PatchEmbed


class Tiny(nn.Module):
    def __init__(self):
{init}
    def forward_features(self, {parameters}):
        {docstring}
{body}
"""
    tree = ast.parse(render("1.2.3", list(outcomes_of(source).values()))["tiny.py"])
    documented = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    return {node.name: ast.get_docstring(node) or "" for node in documented}


# The author's docstring


def test_what_is_said_of_a_parameter_goes_to_the_methods_that_take_it():
    docstring = '''"""Forward pass.

        Args:
            x: Input tensor.
            scale: Of the patches.
            mask: 1 is *keep*,
                0 is *remove*.

        Returns:
            Feature tensor.
        """'''
    found = docstrings(docstring)
    assert found["embed_patches"] == found["embed"].replace(
        "the tokens that enter the stages", "patch embeddings without positions"
    )
    assert found["embed"] == inspect.cleandoc("""
        Turn images (B, C, H, W) into the tokens that enter the stages.

        Args:
            x: Input tensor.
            scale: Of the patches.
        """)
    assert found["embed_positions"] == "Give patch embeddings their positions, and prefix tokens if there are any."
    assert found["forward_stages"] == inspect.cleandoc("""
        Run the stages on the tokens that embed() returns.

        Args:
            x: The tokens that embed() returns.
            mask: 1 is *keep*,
                0 is *remove*.

        Returns:
            Feature tensor.
        """)
    assert found["forward_features"] == inspect.cleandoc(ast.literal_eval(docstring))


def test_what_is_said_of_a_parameter_of_both_halves_goes_to_both():
    found = docstrings('"""mask should be boolean: 1 is *keep*."""', body=POSITIONED.replace(", scale", " * mask"))
    for name in ("embed_patches", "embed", "forward_stages"):
        assert found[name].endswith(".\n\nmask should be boolean: 1 is *keep*.")
    assert found["forward_features"] == "mask should be boolean: 1 is *keep*."


def test_a_docstring_of_one_line_stays_with_forward_features():
    found = docstrings('"""Normalized patches."""')
    assert found["forward_features"] == "Normalized patches."
    assert found["embed"] == "Turn images (B, C, H, W) into the tokens that enter the stages."
    assert found["forward_stages"] == "Run the stages on the tokens that embed() returns."


@pytest.mark.parametrize("docstring", ["", '""""""', '"""\n        """'])
def test_a_class_without_a_docstring_gets_one(docstring):
    assert docstrings(docstring)["forward_features"] == "Turn images (B, C, H, W) into features, as Tiny does."


def test_no_docstring_names_a_line_of_the_source():
    assert not [text for text in docstrings().values() if "line " in text or ".py:" in text]


@pytest.mark.parametrize(
    "docstring",
    [
        r'''r"""Raw \alpha."""''',
        r'''r"""Raw, and it ends in a \quote\""""''',
        r'''"""A backslash \\ and a newline \\n."""''',
        r'''"It ends in a \"quote\""''',
        r"""'''Three \"\"\" of the others.'''""",
        r'"A tab\tand \x00, \x85 and \u2028."',
        '"""Schräg: √D."""',
        '"joined " "of two"',
        f'"""{"long " * 30}"""',
        '"""\n        On the second line.\n\n            Deeper.\n        """',
    ],
)
def test_a_docstring_keeps_its_value(docstring):
    assert docstrings(docstring)["forward_features"] == inspect.cleandoc(ast.literal_eval(docstring)).rstrip()


@given(st.text(st.characters() | st.sampled_from('"\\\n '), max_size=40))
def test_every_text_has_a_literal(text):
    text = inspect.cleandoc("\n".join(line.rstrip() for line in text.split("\n"))).strip()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method = f"def f():\n        {literal(text)}\n"
        (function,) = ast.parse(method).body
    assert inspect.cleandoc(function.body[0].value.value) == text


# What is said beside it


@pytest.mark.parametrize(
    ("stem", "init", "said"),
    [
        ("stem", "nn.Conv2d(3, 8, 4)", "the stem features (B, C', H', W')"),
        ("stem", "nn.Unknown()", "the stem features"),
        ("patch_embed", "nn.Conv2d(3, 8, 4)", "the patch embeddings (B, C', H', W')"),
    ],
)
def test_a_stem_without_position_and_prefix_tokens_gives_no_tokens(stem, init, said):
    body = f"        x = self.{stem}(x)\n        return self.stages(x)\n"
    found = docstrings(body=body, init=f"        self.{stem} = {init}\n        self.stages = nn.Sequential(*stages)\n")
    assert found["embed"] == f"Turn images (B, C, H, W) into {said} that enter the stages."
    assert found["forward_stages"] == f"Run the stages on {said} that embed() returns."


def test_a_stem_that_gives_a_sequence_gives_tokens():
    found = docstrings(body=STEM.replace("self.stem(x)", "self.stem(x).flatten(2).transpose(1, 2)"))
    assert found["embed"] == "Turn images (B, C, H, W) into the tokens (B, N, C') that enter the stages."


def test_the_prefix_tokens_alone_are_no_positions():
    found = docstrings(
        body="""
        x = self.stem(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token, x], dim=1)
        return self.blocks(x)
""",
        init=INIT + "        self.cls_token = nn.Parameter(torch.zeros(1, 1, 8))\n",
    )
    assert found["embed_patches"] == "Turn images (B, C, H, W) into patch embeddings (B, N, C') without prefix tokens."
    assert found["embed_positions"] == "Give patch embeddings (B, N, C') the prefix tokens."


def test_the_other_fields_are_mentioned():
    found = docstrings(body=POSITIONED.replace("x = self.p", "x, size = self.p").replace("mask)", "mask, size)"))
    assert found["TinyPatches"] == (
        "What embed_patches() returns. Replace patch embeddings with `patches._replace(x=replaced)`."
    )
    assert found["TinyEmbedding"] == "What embed() returns. Mask the tokens with `embedding._replace(x=masked)`."
    assert found["embed_patches"].endswith("into patch embeddings without positions, and the other fields.")
    assert found["embed"].endswith("into the tokens that enter the stages, and the other fields.")
    assert found["forward_stages"] == "Run the stages on what embed() returns."


@pytest.mark.parametrize("parameters", ["patches, scale=1, mask=None", "x: dict, scale=1, mask=None"])
def test_what_may_be_no_image_batch_is_not_called_one(parameters):
    name = parameters.split(",")[0].split(":")[0]
    found = docstrings(body=POSITIONED.replace("embed(x", f"embed({name}"), parameters=parameters)
    assert found["embed"] == f"Turn `{name}` into the tokens that enter the stages."
    assert found["forward_features"] == f"Turn `{name}` into features, as Tiny does."
