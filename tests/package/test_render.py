"""Rendering: names, imports, signatures and inheritance of generated modules."""

import ast
import json
import sys
import types

import pytest
from sources import NONE, Files, outcomes_of, release_of

from codegen.generate import generate
from codegen.package.naming import module_name
from codegen.package.render import render

BODY = """
        x = self.patch_embed(x)
        x = self.blocks(x)
        return x
"""


def model(body: str = BODY, header: str = "", parameters: str = "x", returns: str = "", name: str = "Tiny") -> str:
    """A model class with this body, and what its module starts with."""
    return f"""{header}
class {name}:
    def __init__(self):
        self.patch_embed = PatchEmbed()
        self.blocks = Sequential(*blocks)

    def forward_features(self, {parameters}){returns}:
{body}
"""


def page(source: str, name: str = "tiny.py", files: Files = NONE) -> str:
    return render("1.2.3", list(outcomes_of(source, files).values()))[name]


EVERYWHERE = "from typing import TYPE_CHECKING"  # in each module, before the `__getattr__` that type checkers ignore


def imports(text: str) -> list[str]:
    """The imports of a module, but for the one that every module has."""
    lines = [ast.unparse(node) for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)]
    lines = [line.replace(f"{EVERYWHERE}, ", "from typing import ") for line in lines]
    return [line for line in lines if line != EVERYWHERE]


def signatures(text: str) -> list[str]:
    return [
        f"{node.name}({ast.unparse(node.args)})" + (f" -> {ast.unparse(node.returns)}" if node.returns else "")
        for cls in ast.parse(text).body
        if isinstance(cls, ast.ClassDef)
        for node in cls.body
        if isinstance(node, ast.FunctionDef)
    ]


def call(text: str) -> str:
    """What the generated ``forward_features`` returns."""
    methods = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef) and n.name == "forward_features"]
    return ast.unparse(methods[0].body[-1])


def run(text: str, source: str, *arguments: object, **keywords: object) -> tuple[object, object]:
    """What ``forward_features`` gives, before and after the split, of a module that imports nothing."""
    package, original = types.ModuleType("timm.models"), types.ModuleType("timm.models.tiny")
    exec(source, original.__dict__)
    tensors = types.ModuleType("torch")
    tensors.Tensor = object
    base = types.ModuleType("splits._split")
    base.SplitModel = type("SplitModel", (), {})
    modules = {"timm": types.ModuleType("timm"), "timm.models": package, "timm.models.tiny": original, "torch": tensors}
    modules |= {"splits": types.ModuleType("splits"), "splits._split": base}
    with pytest.MonkeyPatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        split: dict = {"__package__": "splits"}
        exec(text, split)
    return (
        original.Tiny().forward_features(*arguments, **keywords),
        split["TinySplit"]().forward_features(*arguments, **keywords),
    )


# Names


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("timm.models.eva", "eva"),
        ("timm.models.vision_transformer", "vit"),
        ("timm.models.vision_transformer_sam", "vit_sam"),
        ("timm.models.swin_transformer_v2_cr", "swin_transformer_v2_cr"),
        ("timm.models.sub.module", "sub_module"),
        ("mine", "mine"),
    ],
)
def test_a_generated_module_is_named_as_timms_but_for_vision_transformer(module, name):
    assert module_name(module) == name


def test_the_files_of_a_package_are_listed_in_its_manifest():
    package = generate(release_of(model()))
    assert list(package.files) == sorted(package.files)
    runtime = {
        "_as_found.py",
        "_blocks.py",
        "_check.py",
        "_drop.py",
        "_factory.py",
        "_features.py",
        "_final_norm.py",
        "_given.py",
        "_hide.py",
        "_intermediates.py",
        "_layout.py",
        "_leaves.py",
        "_locate.py",
        "_manifest.py",
        "_masks.py",
        "_names.py",
        "_observe.py",
        "_sees.py",
        "_sparse.py",
        "_split.py",
        "_tokens.py",
        "_training.py",
    }
    assert set(package.files) == {"__init__.py", "manifest.json", "py.typed", "tiny.py", "masking.py", *runtime}
    assert f'"files": {list(package.files)!r}'.replace("'", '"').replace(" ", "") in package.files[
        "manifest.json"
    ].replace(" ", "").replace("\n", "")


def test_nothing_but_the_version_of_timm_differs_in_the_api():
    one, other = (render(version, []) for version in ("1.2.3", "4.5.6"))
    assert [name for name in one if one[name] != other[name]] == ["__init__.py", "manifest.json"]


# Imports


@pytest.mark.parametrize(
    ("header", "used", "line"),
    [
        ("from timm.layers import trunc_normal_", "trunc_normal_", "from timm.layers import trunc_normal_"),
        ("from timm.layers import pad as pad_same", "pad_same", "from timm.layers import pad as pad_same"),
        ("from ._manipulate import checkpoint", "checkpoint", "from timm.models._manipulate import checkpoint"),
        ("from ..layers import pad", "pad", "from timm.layers import pad"),
        ("from . import vit as v", "v.pad", "from timm.models import vit as v"),
        ("import torch.nn.functional as F", "F.pad", "import torch.nn.functional as F"),
        ("import math", "math.sqrt", "import math"),
        ("import os.path", "os.path.join", "import os"),
        ("def helper(x): return x", "helper", "from timm.models.tiny import Tiny, helper"),
        ("LIMIT = int", "LIMIT", "from timm.models.tiny import LIMIT, Tiny"),
    ],
)
def test_a_name_is_imported_from_where_timms_module_has_it(header, used, line):
    text = page(model(BODY.replace("self.blocks(x)", f"self.blocks({used}(x))"), header))
    assert line in imports(text)


@pytest.mark.parametrize(
    "header",
    [
        "try:\n    from fast import pad\nexcept ImportError:\n    from slow import pad",
        "import sys\nif sys.version_info > (3, 11):\n    from fast import pad\nelse:\n    from slow import pad",
        "from fast import pad\npad = wrap(pad)",
    ],
    ids=["try", "if", "rebound"],
)
def test_a_name_that_is_bound_in_more_than_one_way_is_taken_from_timms_module_as_it_is_there(header):
    text = page(model(BODY.replace("self.blocks(x)", "self.blocks(pad(x))"), header))
    assert "from timm.models.tiny import Tiny, pad" in imports(text)


def test_submodules_that_are_imported_beside_their_package_leave_one_import():
    header = "import torch\nimport torch.nn.functional\nimport torch.utils.checkpoint"
    text = page(model(BODY.replace("self.blocks(x)", "self.blocks(torch.relu(x))"), header))
    assert imports(text) == ["import torch", "from timm.models.tiny import Tiny", "from ._split import SplitModel"]


def test_imports_that_no_statement_uses_are_not_made():
    text = page(model(header="import math\nfrom timm.layers import pad\nfrom typing import Optional"))
    assert imports(text) == ["from timm.models.tiny import Tiny", "from ._split import SplitModel"]


def test_names_in_defaults_and_annotations_are_imported_too():
    header = "from typing import Optional\nfrom timm.layers import Format\nimport torch"
    text = page(model(header=header, parameters="x: torch.Tensor, fmt: Optional[Format] = Format.NHWC"))
    assert "from timm.layers import Format" in imports(text)
    assert "from typing import Optional" in imports(text)


# Signatures


@pytest.mark.parametrize(
    ("parameters", "read", "stages", "returned"),
    [
        ("x", "", "self, x", "self.embed(x)"),
        ("x, mask=None", "mask", "self, x, mask=None", "self.embed(x), mask=mask"),
        ("x, *, mask=None", "mask", "self, x, *, mask=None", "self.embed(x), mask=mask"),
        ("x, /, mask", "mask", "self, x, mask", "self.embed(x), mask=mask"),
        ("x, mask, /", "mask", "self, x, mask, /", "self.embed(x), mask"),
        ("x, *masks", "*masks", "self, x, *masks", "self.embed(x), *masks"),
        ("x, **options", "**options", "self, x, **options", "self.embed(x), **options"),
        ("x, a, *b, **c", "a, *b, **c", "self, x, a, *b, **c", "self.embed(x), a, *b, **c"),
        ("x, unused=None", "", "self, x", "self.embed(x)"),
    ],
)  # fmt: skip
def test_a_parameter_that_the_stages_read_goes_to_forward_stages(parameters, read, stages, returned):
    text = page(model(BODY.replace("self.blocks(x)", f"self.blocks(x, {read})"), parameters=parameters))
    embed, forward_stages, forward_features = signatures(text)
    assert embed == f"embed(self, x{', /' if parameters.startswith('x, /') or parameters.endswith('/') else ''})"
    assert forward_stages == f"forward_stages({stages})"
    assert (
        forward_features
        == f"forward_features(self, {ast.unparse(ast.parse(f'def f({parameters}): ...').body[0].args)})"
    )
    assert call(text) == f"return self.forward_stages({returned})"


def test_arguments_of_every_kind_arrive_as_they_do_in_timm():
    source = """
from torch import nn

class Patches(nn.Module):
    def forward(self, x, *rest):
        return [x, *rest]

class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = Patches()
        self.blocks = lambda x, *rest, **named: [x, rest, named]

    def forward_features(self, x, a, b=2, *rest, c, **named):
        x = self.patch_embed(x, a, c)
        return self.blocks(x, a, b, *rest, **named)
"""
    before, after = run(page(source), source, 1, 2, 3, 4, 5, c=6, d=7)
    assert before == after == [[1, 2, 6], (2, 3, 4, 5), {"d": 7}]


def test_a_parameter_that_both_halves_read_goes_to_both():
    body = "        x = self.patch_embed(x, scale)\n        return self.blocks(x, scale)\n"
    embed, stages, _ = signatures(text := page(model(body, parameters="x, scale: float = 1.0")))
    assert embed == "embed(self, x, scale: float=1.0)"
    assert stages == "forward_stages(self, x, scale: float=1.0)"
    assert call(text) == "return self.forward_stages(self.embed(x, scale=scale), scale=scale)"


def test_the_return_annotation_is_that_of_timm():
    text = page(model(header="import torch", parameters="x: torch.Tensor", returns=" -> torch.Tensor"))
    assert all(signature.endswith(" -> torch.Tensor") for signature in signatures(text))


# The embedding


def test_what_crosses_beside_the_tokens_makes_a_named_tuple():
    text = page(model("        x, size = self.patch_embed(x)\n        return self.blocks(x, size)\n"))
    assert "class TinyEmbedding(NamedTuple):" in text
    assert "return TinyEmbedding(x, size)" in text
    assert "        x, size = embedding\n        return self.blocks(x, size)\n" in text


def test_a_variable_of_the_body_that_is_called_embedding_is_left_alone():
    text = page(model("        embedding, size = self.patch_embed(x)\n        return self.blocks(embedding, size)\n"))
    assert "def forward_stages(self, embedding_: TinyEmbedding):" in text
    assert "        embedding, size = embedding_\n" in text


def test_two_classes_of_one_module_have_an_embedding_each():
    source = model("        x, size = self.patch_embed(x)\n        return self.blocks(x, size)\n")
    text = page(source + source.replace("Tiny", "Other"))
    classes = [node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    assert classes == ["TinyEmbedding", "TinySplit", "OtherEmbedding", "OtherSplit"]


def test_annotations_are_postponed_where_timms_module_postpones_them():
    text = page(model(header="from __future__ import annotations\nfrom types import Images", parameters="x: Images"))
    assert imports(text)[0] == "from __future__ import annotations"
    assert "__future__" not in page(model())


# The patches


POSITIONED = """
        x = self.patch_embed(x)
        x = x + self.pos_embed
        return self.blocks(x)
"""


def test_embed_is_one_half_after_the_other():
    text = page(model(POSITIONED))
    assert signatures(text)[:3] == [
        "embed_patches(self, x)",
        "embed_positions(self, x)",
        "embed(self, x)",
    ]
    assert "        return self.embed_positions(self.embed_patches(x))\n" in text
    assert text.count("x = self.patch_embed(x)") == text.count("x = x + self.pos_embed") == 1


def test_an_embedding_without_position_stays_in_one_piece():
    assert "embed_patches" not in page(model())


def test_what_crosses_beside_the_patches_makes_a_named_tuple():
    body = POSITIONED.replace("x = self.patch_embed(x)", "x, size = self.patch_embed(x)").replace(
        "_embed\n", "_embed * size\n"
    )
    text = page(model(body))
    assert "class TinyPatches(NamedTuple):" in text
    assert "TinyEmbedding" not in text
    assert "        x, size = patches\n        x = x + self.pos_embed * size\n        return x\n" in text
    renamed = page(model(body.replace("size", "patches")))
    assert "def embed_positions(self, patches_: TinyPatches)" in renamed


def test_parameters_of_embed_go_to_the_half_that_reads_them():
    body = POSITIONED.replace("embed(x)", "embed(x, a, b)").replace("_embed\n", "_embed * b * sum(c) * len(d)\n")
    text = page(model(body, parameters="x, /, a, b=2, *c, **d"))
    patches, positions, embed, *_ = signatures(text)
    assert patches == "embed_patches(self, x, /, a, b=2)"
    assert positions == "embed_positions(self, x, b=2, *c, **d)"
    assert embed == "embed(self, x, /, a, b=2, *c, **d)"
    assert "self.embed_positions(self.embed_patches(x, a=a, b=b), b, *c, **d)" in text


def test_the_manifest_says_what_the_patches_are_or_why_there_are_none():
    entries = json.loads(render("1.2.3", list(outcomes_of(model(POSITIONED)).values()))["manifest.json"])["classes"]
    split = entries["timm.models.tiny.Tiny"]["split"]
    assert split["position"] is True
    assert split["patches"] == {
        "class": None,
        "tokens": "x",
        "layout": None,
        "fields": [{"name": "x", "annotation": "Any"}],
        "recomputed": [],
        "boundary": {"file": "timm/models/tiny.py", "line": 9, "statement": "x = self.patch_embed(x)"},
        "reasons": ["line 9 completes the patches, `patch_embed`", "line 10 gives them their position"],
    }
    entries = json.loads(render("1.2.3", list(outcomes_of(model()).values()))["manifest.json"])["classes"]
    split = entries["timm.models.tiny.Tiny"]["split"]
    assert split["position"] is False
    assert list(split["patches"]) == ["absent"]


# Inheritance


CHILD = "from .tiny import Tiny\n\nclass Child(Tiny):\n    pass\n"


def test_a_class_that_inherits_across_modules_derives_from_the_split_of_its_parent():
    text = page(model(), "child.py", {"timm/models/child.py": CHILD})
    assert imports(text) == ["from timm.models.child import Child", "from .tiny import TinySplit"]
    assert "class ChildSplit(TinySplit, Child):" in text
    assert signatures(text) == []


def test_a_parent_stands_before_a_child_that_timm_writes_first():
    child = "class Child(Tiny):\n    pass\n"
    text = page(f"if True:\n    pass\n{model()}\n{child}")
    assert text.index("class TinySplit") < text.index("class ChildSplit(TinySplit, Child)")


def test_a_grandchild_derives_from_the_class_that_defines_the_method():
    text = page(f"{model()}\nclass Child(Tiny):\n    pass\n\nclass Grandchild(Child):\n    pass\n")
    assert "class GrandchildSplit(TinySplit, Grandchild):" in text


def test_a_child_of_a_refused_class_is_refused_for_its_parents_reason():
    source = model("        return self.blocks(x)\n") + "\nclass Child(Tiny):\n    pass\n"
    outcome = outcomes_of(source)["Child"]
    assert outcome.result.reason.startswith("it inherits from Tiny: the blocks run before any patch embedding")
    assert "tiny.py" not in render("1.2.3", [outcome])


# The text


def test_comments_and_blank_lines_between_statements_are_kept():
    body = """
        # patches
        x = self.patch_embed(x)  # B, N, C

        # transformer
        x = self.blocks(x)

        return x
"""
    text = page(model(body))
    assert "        # patches\n        x = self.patch_embed(x)  # B, N, C\n        return x\n" in text
    assert "        # transformer\n        x = self.blocks(x)\n\n        return x\n" in text


def test_rendering_twice_gives_the_same_text():
    outcomes = list(outcomes_of(model(header="from b import c\nfrom a import d")).values())
    assert render("1.2.3", outcomes) == render("1.2.3", outcomes)


def test_a_name_that_a_model_uses_otherwise_is_not_overwritten():
    text = page(
        model("\n        x = self.patch_embed(x)\n        return self.blocks(x) * TYPE_CHECKING", "TYPE_CHECKING = 1")
    )
    assert "from timm.models.tiny import TYPE_CHECKING, Tiny" in imports(text)
    assert "from typing import TYPE_CHECKING as TYPE_CHECKING_" in imports(text)
    assert "if not TYPE_CHECKING_:" in text
