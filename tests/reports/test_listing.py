"""``timm-split list``: each class of a release with its boundary, or the reason why it has none."""

import json

import pytest
from click.testing import CliRunner
from sources import release_of, write_timm

from codegen.cli import main
from codegen.errors import UsageError
from codegen.generate import analyse
from codegen.reports.listing import Listing, list_classes, to_json
from codegen.split.patches import NO_NEED

MODELS = """
from ._builder import build_model_with_cfg
from ._registry import register_model

class Tiny:
    def __init__(self):
        self.patch_embed = PatchEmbed()
        self.blocks = Sequential(*blocks)

    def forward_features(self, x):
        x = self.patch_embed(x)
        return self.blocks(x)


class Roped(Tiny):
    def forward_features(self, x):
        x, rope = self.patch_embed(x)
        return self.blocks(x, rope)


class Heir(Roped):
    pass


class Whole:
    def __init__(self):
        self.blocks = Sequential(*blocks)

    def forward_features(self, x):
        return self.blocks(x)


@register_model
def tiny_small(pretrained=False, **kwargs):
    return build_model_with_cfg(Tiny, 'tiny_small', pretrained, **kwargs)
"""


@pytest.fixture(scope="module")
def timm(tmp_path_factory):
    return write_timm(tmp_path_factory.mktemp("timm"), MODELS)


def listing(*patterns: str) -> Listing:
    release = release_of(MODELS)
    return list_classes(release, analyse(release), patterns)


def names(*patterns: str) -> list[str]:
    return [row.outcome.name for row in listing(*patterns).rows]


def run(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["list", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


def test_json_has_the_patches_or_why_there_are_none():
    positioned = MODELS.replace("return self.blocks(x)", "x = x + self.pos_embed\n        return self.blocks(x)", 1)
    release = release_of(positioned)
    classes = json.loads(to_json(list_classes(release, analyse(release))))["classes"]
    roped, tiny = (classes[f"timm.models.tiny.{name}"]["split"] for name in ("Roped", "Tiny"))
    assert (tiny["position"], tiny["patches"]["boundary"]["statement"]) == (True, "x = self.patch_embed(x)")
    assert (roped["position"], list(roped["patches"])) == (False, ["absent"])


def test_every_class_is_listed_in_order_of_module_and_name():
    assert names() == ["Heir", "Roped", "Tiny", "Whole"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("Tiny", ["Tiny"]),
        ("tiny_s*", ["Tiny"]),
        ("[HR]*", ["Heir", "Roped"]),
        ("tiny", ["Heir", "Roped", "Tiny", "Whole"]),
        ("timm.models.tiny.Whole", ["Whole"]),
    ],
)
def test_a_pattern_matches_a_class_a_module_or_a_registered_name(pattern, found):
    assert names(pattern) == found


def test_several_patterns_add_up():
    assert names("Heir", "Whole", "H*") == ["Heir", "Whole"]


def test_a_pattern_that_matches_nothing_is_the_callers_mistake():
    with pytest.raises(UsageError, match=r"no class or model that matches 'iny': try '\*iny\*'"):
        names("Tiny", "iny")


def test_plain_columns_line_up_under_their_header(timm):
    assert run("--source", timm).splitlines() == [
        "module  class  models  boundary                embed returns",
        "tiny    Heir        0  timm/models/tiny.py:17  RopedEmbedding(x, rope)  (of Roped)",
        "tiny    Roped       0  timm/models/tiny.py:17  RopedEmbedding(x, rope)",
        "tiny    Tiny        1  timm/models/tiny.py:11  Any",
        "tiny    Whole       0  timm/models/tiny.py:30  "
        "refused: the blocks run before any patch embedding or stem has run: name the stem in a group_matcher",
    ]


def test_a_terminal_gets_a_table_and_the_counts(timm, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    out = run("--source", timm)
    assert "\x1b[" in out
    assert "timm 1.2.3: 4 classes, 3 split, 1 refused" in out


def test_json_says_all_of_a_class_that_is_split(timm):
    content = json.loads(run("Heir", "--source", timm, "--json"))
    digest = content["classes"]["timm.models.tiny.Heir"].pop("digest")
    assert len(digest) == 64
    assert content == {
        "format": 4,
        "timm_version": "1.2.3",
        "origin": str(timm),
        "classes": {
            "timm.models.tiny.Heir": {
                "module": "timm.models.tiny",
                "class": "Heir",
                "file": "timm/models/tiny.py",
                "line": 21,
                "models": [],
                "split": {
                    "module": "tiny",
                    "class": "HeirSplit",
                    "boundary": {
                        "file": "timm/models/tiny.py",
                        "line": 17,
                        "statement": "x, rope = self.patch_embed(x)",
                        "reasons": [
                            "line 17 runs the stem, `patch_embed`",
                            "no positional encoding comes before the blocks",
                            "line 18 runs the first blocks, `blocks`",
                        ],
                        "stem": ["patch_embed"],
                        "blocks": ["blocks"],
                    },
                    "embedding": {
                        "class": "RopedEmbedding",
                        "tokens": "x",
                        "layout": None,
                        "fields": [
                            {"name": "x", "annotation": "Any"},
                            {"name": "rope", "annotation": "Any"},
                        ],
                        "recomputed": [],
                    },
                    "position": False,
                    "patches": {"absent": NO_NEED},
                    "masking": {"unit_mask": None, "attention_masks": [], "features": None},
                    "inherits": "timm.models.tiny.Roped",
                    "delegate": None,
                },
            }
        },
    }


def test_json_says_why_a_class_is_refused(timm):
    whole = json.loads(run("Whole", "--source", timm, "--json"))["classes"]["timm.models.tiny.Whole"]
    assert "split" not in whole
    assert whole["refused"]["line"] == 30
    assert "before any patch embedding" in whole["refused"]["reason"]


def test_a_pattern_without_a_match_exits_with_two(timm):
    assert run("nothing", "--source", timm, code=2).count("\n") == 1


def test_models_of_ones_own_are_listed_without_a_version(tmp_path):
    source = tmp_path / "mine.py"
    source.write_text(
        "class Mine:\n    def __init__(self):\n        self.stem = Stem()\n"
        "        self.blocks = Sequential(*blocks)\n\n"
        "    def forward_features(self, x):\n        x = self.stem(x)\n        return self.blocks(x)\n"
    )
    content = json.loads(run("--source", source, "--json"))
    assert content["timm_version"] is None
    split = content["classes"]["mine.Mine"]["split"]
    assert (split["module"], split["class"]) == ("mine", "MineSplit")
