"""What a model takes, and where a text on it is found."""

import ast

import pytest
from sources import facts_of

from codegen.model.inputs import described, is_image_batch
from codegen.types import Parameter


@pytest.mark.parametrize(
    ("module", "name", "annotation", "known"),
    [
        ("timm.models.eva", "x", "", True),
        ("timm.models.eva", "x", "torch.Tensor", True),
        ("timm.models.coat", "x0", "", True),
        ("timm.models.naflexvit", "patches", "torch.Tensor", False),
        ("timm.models.gemma4_vit", "x", "Union[torch.Tensor, Dict[str, torch.Tensor]]", False),
        ("mine", "x", "torch.Tensor", False),
    ],
)
def test_an_image_batch_is_what_timm_calls_x(module, name, annotation, known):
    assert is_image_batch(module, name, ast.parse(annotation, mode="eval").body if annotation else None) is known


SOURCE = '''
class Embed:
    def forward(self, x, coord=None):
        """Embed patches.

        Args:
            x: Patches (B, N, P*P*C).
            coord: Where they are.
        """


class Tiny:
    def __init__(self):
        self.embeds = {made}

    def helper(self, x, coord):
        {first}
        return self.embeds(x, coord=coord)

    def forward_features(self, patches, coord=None):
        {before}
        return self.helper(patches, coord)
'''


def texts(name, *, made="Embed()", first="pass", before="pass", given=()):
    source = SOURCE.format(made=made, first=first, before=before)
    facts = facts_of(source)
    statements = facts.method("forward_features")[1].body
    return described(facts, statements, Parameter(name, name, texts=given)).texts


def test_a_text_is_that_of_the_module_to_which_a_parameter_is_handed():
    assert texts("patches") == ("patches: Patches (B, N, P*P*C).",)
    assert texts("coord") == ("coord: Where they are.",)


def test_a_text_of_its_own_comes_first():
    assert texts("coord", given=("coord: Its own.",)) == ("coord: Its own.",)


@pytest.mark.parametrize(
    "changed",
    [
        {"before": "patches = self.scale(patches)"},
        {"first": "x = x.flatten(2)"},
        {"made": "Embed() if small else Tiny()"},
        {"made": "unknown()"},
    ],
)
def test_what_is_changed_before_or_handed_to_something_unknown_has_no_text(changed):
    assert texts("patches", **changed) == ()
