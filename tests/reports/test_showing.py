"""``timm-split show``: the source with the boundary in it, and the reasons below."""

import json

import pytest
from click.testing import CliRunner
from sources import release_of, timm_release, write_timm

from codegen.cli import main
from codegen.errors import UsageError
from codegen.generate import analyse
from codegen.reports.showing import Excerpt, Showing, show_class

MODULES = """
class Tiny:
    def __init__(self):
        self.patch_embed = PatchEmbed()
        self.pos_embed = nn.Parameter(zeros)
        self.blocks = Sequential(*blocks)
"""
STRAIGHT = (
    MODULES
    + '''
    def forward_features(self, x, attn_mask=None):
        """Say something."""
        # patches
        B = x.shape[0]
        depth = self.depth
        x, rope = self.patch_embed(x)

        # position
        x = x + self.pos_embed
        # stages
        intermediates = []
        x = self.blocks(
            x, rope, attn_mask, B, depth
        )
        return x, intermediates
'''
)
LOOP = """
class Tiny:
    def __init__(self):
        self.embeds = nn.ModuleList([PatchEmbed() for _ in range(2)])
        self.blocks = nn.ModuleList([Block() for _ in range(2)])

    def group_matcher(self, coarse=False):
        return dict(stem=r'^embeds\\.0', blocks=[(r'^(?:embeds|blocks)\\.(\\d+)', None)])

    def forward_features(self, x):
        for embed, block in zip(self.embeds, self.blocks):
            x = embed(x)
            x = block(x)
        return x
"""
ARMS = """
class Tiny:
    def __init__(self):
        self.stem = Stem()
        self.blocks = Sequential(*blocks)
        self.msfa = None

    def forward_features(self, x):
        if self.msfa is not None:
            # several
            found = []
            x = self.stem(x)
            found.append(x)
            x = self.blocks(x)
        else:
            x = self.stem(x)
            x = self.blocks(x)
        return x
"""
WHOLE = """
class Tiny:
    def __init__(self):
        self.blocks = Sequential(*blocks)

    def forward_features(self, x):
        return self.blocks(x)
"""


def showing(source: str, name: str = "Tiny", files: dict[str, str] | None = None) -> Showing:
    release = release_of(source, files or {})
    return show_class(release, analyse(release), name)


def timm_showing(name: str) -> Showing:
    return show_class(timm_release(), OUTCOMES, name)


OUTCOMES = analyse(timm_release())


def cut_of(shown: Showing) -> Excerpt:
    """The method that is split, where it is."""
    return next((excerpt for excerpt in shown.excerpts if excerpt.embed_ends), shown.excerpts[-1])


def parts(shown: Showing) -> list[tuple[str, str]]:
    """The part and the text of each line that has one."""
    return [(line.part, line.text.strip()) for line in cut_of(shown).lines if line.part]


def ends(shown: Showing) -> list[str]:
    excerpt = cut_of(shown)
    return [line.text.strip() for line in excerpt.lines if line.number in excerpt.embed_ends]


def run(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["show", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


def test_the_boundary_between_patches_and_position_is_drawn_too(tmp_path):
    text = run("Tiny", "--source", write_timm(tmp_path, STRAIGHT))
    above, below = text.split("embed_patches ends, embed_positions begins")
    assert above.splitlines()[-2].endswith("x, rope = self.patch_embed(x)")
    assert below.splitlines()[2].endswith("# position")
    assert "Why embed_patches ends there, which returns TinyPatches(x, B, rope)" in below
    assert "  line 16 gives them their position" in below


def test_where_there_is_no_such_boundary_the_reason_is_shown(tmp_path):
    text = run("Tiny", "--source", write_timm(tmp_path, LOOP))
    assert "No embed_patches\n  neither position nor prefix tokens follow the patch embedding" in text


def test_each_line_of_the_body_has_its_part_and_a_comment_that_of_the_statement_below_it():
    shown = showing(STRAIGHT)
    assert parts(shown) == [
        ("embed", "# patches"),
        ("embed", "B = x.shape[0]"),
        ("embed", "depth = self.depth"),
        ("embed", "x, rope = self.patch_embed(x)"),
        ("embed", ""),
        ("embed", "# position"),
        ("embed", "x = x + self.pos_embed"),
        ("stages", "# stages"),
        ("stages", "intermediates = []"),
        ("stages", "x = self.blocks("),
        ("stages", "x, rope, attn_mask, B, depth"),
        ("stages", ")"),
        ("stages", "return x, intermediates"),
    ]
    assert ends(shown) == ["x = x + self.pos_embed"]
    assert shown.straight
    assert shown.code == {}


def test_a_split_says_how_each_name_gets_to_the_stages_and_why():
    shown = showing(STRAIGHT)
    passages = {p.name: (p.way, p.reason) for p in shown.row.split.passages}
    assert passages == {
        "B": ("crosses", "a size of the images that the tokens may not have"),
        "depth": ("recomputed", "it looks at self alone"),
        "rope": ("crosses", "it is made of `x`"),
        "x": ("crosses", "the tokens, which one masks"),
    }
    numbers = {line.text.strip(): line.number for line in shown.excerpts[-1].lines}
    assert shown.reads["rope"] == numbers["x, rope, attn_mask, B, depth"]


def test_a_constant_that_only_the_stages_need_is_shown_as_theirs():
    shown = showing(ARMS.replace("if self.msfa is not None:", "found = []\n        if self.msfa is not None:"))
    moved = showing(
        STRAIGHT.replace("# patches", "intermediates = []").replace(
            "        intermediates = []\n        x", "        x"
        )
    )
    assert ("stages", "intermediates = []") in parts(moved)
    assert [p.way for p in moved.row.split.passages if p.name == "intermediates"] == ["moved"]
    assert ("stages", "found = []") in parts(shown)


def test_a_peeled_loop_is_needed_on_both_sides_and_the_generated_methods_follow():
    shown = showing(LOOP)
    assert parts(shown) == [
        ("both", "for embed, block in zip(self.embeds, self.blocks):"),
        ("embed", "x = embed(x)"),
        ("stages", "x = block(x)"),
        ("stages", "return x"),
    ]
    assert ends(shown) == ["x = embed(x)"]
    assert not shown.straight
    assert "x = self.embeds[0](x)" in shown.code["embed"]
    assert "if i > 0:" in shown.code["forward_stages"]
    assert shown.code["embed"].startswith("def embed(self, x)")


def test_an_if_with_a_stem_in_each_arm_is_ruled_twice():
    shown = showing(ARMS)
    assert ends(shown) == ["x = self.stem(x)", "x = self.stem(x)"]
    assert [text for part, text in parts(shown) if part == "both"] == ["if self.msfa is not None:", "else:"]
    assert list(shown.code) == ["embed", "forward_stages"]


def test_a_refused_class_has_the_line_marked_that_is_in_the_way():
    shown = showing(WHOLE)
    (excerpt,) = shown.excerpts
    (marked,) = [line.text.strip() for line in excerpt.lines if line.number == excerpt.refused]
    assert marked == "return self.blocks(x)"


def test_a_refusal_for_a_line_outside_of_the_method_shows_what_is_around_it():
    shown = showing(STRAIGHT.replace("class Tiny:", "@decorated\nclass Tiny:"))
    (excerpt,) = shown.excerpts
    assert "class Tiny:" in [line.text for line in excerpt.lines]
    assert excerpt.refused is not None


def test_a_class_that_inherits_shows_the_method_of_its_parent():
    shown = showing(STRAIGHT + "\n\nclass Heir(Tiny):\n    pass\n", "Heir")
    assert shown.shown.name == "Tiny"
    assert shown.row.generated == "generated.tiny.HeirSplit"
    assert ends(shown) == ["x = x + self.pos_embed"]


@pytest.mark.parametrize("name", ["Tiny", "tiny.Tiny", "models.tiny.Tiny", "timm.models.tiny.Tiny"])
def test_a_class_may_be_named_with_as_much_of_its_module_as_one_likes(name):
    assert showing(STRAIGHT, name).row.outcome.path == "timm.models.tiny.Tiny"


def test_a_registered_model_stands_for_its_class():
    assert timm_showing("eva02_base_patch14_224").row.outcome.name == "Eva"


def test_a_name_that_two_modules_have_asks_which():
    with pytest.raises(UsageError, match=r"2 classes Tiny: ask for other\.Tiny or tiny\.Tiny"):
        showing(STRAIGHT, files={"timm/models/other.py": STRAIGHT})
    assert showing(STRAIGHT, "other.Tiny", {"timm/models/other.py": STRAIGHT}).row.outcome.module.endswith(".other")


@pytest.mark.parametrize("name", ["tiny", "Tinny", "wrong.Tiny"])
def test_a_name_that_does_not_exist_gives_those_that_are_near(name):
    with pytest.raises(UsageError, match=rf"no class {name} .*: did you mean Tiny\?"):
        showing(STRAIGHT, name)


def test_a_name_that_is_near_to_nothing_says_where_to_look():
    with pytest.raises(UsageError, match="timm-split list has them all"):
        showing(STRAIGHT, "Zyxwv")


def test_the_command_prints_the_source_the_rule_and_the_reasons(tmp_path):
    out = run("Tiny", "--source", write_timm(tmp_path, STRAIGHT))
    assert "\x1b" not in out
    assert not any(line.endswith(" ") for line in out.splitlines())
    before, after = out.split("──── embed ends, stages begin ────")
    assert before.splitlines()[-2].endswith("x = x + self.pos_embed")
    assert after.splitlines()[1].endswith("# stages")
    assert "  line 13 runs the stem, `patch_embed`\n" in after
    assert "embed returns TinyEmbedding(x, B, rope)" in after
    assert (
        "depth  recomputed in forward_stages by `depth = self.depth`: it looks at self alone; bound on line 12" in after
    )
    assert "  to embed alone: x\n  to forward_stages alone: attn_mask\n" in after
    assert out.endswith("Generated as generated.tiny.TinySplit\n")


def test_the_command_marks_what_is_refused(tmp_path):
    out = run("Tiny", "--source", write_timm(tmp_path, WHOLE))
    assert "> │         return self.blocks(x)\n" in out
    assert (
        "──── refused: the blocks run before any patch embedding or stem has run: name the stem in a group_matcher\n"
        in out
    )
    assert "Generated as" not in out


def test_a_terminal_gets_colours(tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    out = run("Tiny", "--source", write_timm(tmp_path, STRAIGHT))
    assert "\x1b[32m" in out
    assert "\x1b[34m" in out


def test_a_narrow_locale_cannot_make_it_fail(tmp_path):
    source = write_timm(tmp_path, STRAIGHT.replace("# position", "# pösition"))
    done = CliRunner(charset="ascii").invoke(main, ["show", "Tiny", "--source", str(source)])
    assert done.exit_code == 0
    assert "---- embed ends, stages begin ----" in done.stdout
    done = CliRunner(charset="ascii").invoke(main, ["show", "Tiny", "--source", str(source), "--json"])
    assert "# pösition" in [line["text"].strip() for line in json.loads(done.stdout)["source"][0]["lines"]]


def test_json_has_the_parts_the_reasons_and_the_parameters(tmp_path):
    content = json.loads(run("Tiny", "--source", write_timm(tmp_path, STRAIGHT), "--json"))
    assert content["straight"] is True
    assert content["code"] == {}
    assert content["parameters"] == {"embed": ["x"], "forward_stages": ["attn_mask"]}
    (rope,) = [passage for passage in content["passages"] if passage["name"] == "rope"]
    assert rope == {"name": "rope", "way": "crosses", "lines": [13], "reason": "it is made of `x`", "read": 20}
    (excerpt,) = content["source"]
    split = content["classes"]["timm.models.tiny.Tiny"]["split"]
    assert excerpt["embed_ends"] == [split["boundary"]["line"]] == [16]
    assert {"number": 16, "text": "        x = x + self.pos_embed", "part": "embed"} in excerpt["lines"]


def test_json_of_a_refusal_has_the_line(tmp_path):
    content = json.loads(run("Tiny", "--source", write_timm(tmp_path, WHOLE), "--json"))
    refused = content["classes"]["timm.models.tiny.Tiny"]["refused"]
    assert content["source"][0]["refused"] == refused["line"] == 7
    assert (content["passages"], content["parameters"]) == ([], None)


def test_an_unknown_class_exits_with_two_and_one_line(tmp_path):
    assert run("Tinny", "--source", write_timm(tmp_path, STRAIGHT), code=2).count("\n") == 1


# timm


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: outcome.name)
def test_every_class_of_timm_can_be_shown(outcome):
    shown = timm_showing(outcome.path)
    split = shown.row.split
    if split is None:
        assert any(excerpt.refused for excerpt in shown.excerpts)
        return
    assert ends(shown)[0] in split.boundary.statement or split.boundary.place.line in cut_of(shown).embed_ends
    shown_parts = {part for part, _ in parts(shown)}
    assert {"embed", "stages"} <= shown_parts
    crossing = {passage.name for passage in split.passages if passage.way == "crosses"}
    assert crossing == {field.name for field in split.fields}
    assert crossing <= set(shown.reads)
    assert bool(shown.code) != shown.straight


def test_a_delegating_class_of_timm_shows_how_it_gets_to_the_inner_model():
    shown = timm_showing("DeepseekVitClassifier")
    assert len(shown.excerpts) == 4
    assert "self.encoder" in shown.excerpts[0].lines[-1].text
    (call,) = (line for line in shown.excerpts[3].lines if "self.encoder.forward_intermediates(" in line.text)
    assert call.part == "both"
    assert "self.encoder.patch_embed" in shown.code["embed_patches"]
    assert "self.encoder._pos_embed" in shown.code["embed_positions"]


TAPPED = (
    STRAIGHT
    + """
    def forward_intermediates(self, x, indices=None):
        take = set(indices)
        x, rope = self.patch_embed(x)
        x = x + self.pos_embed
        return self.blocks(x, take)
"""
)


def test_intermediate_features_are_drawn():
    excerpt = showing(TAPPED).excerpts[-1]
    assert excerpt.lines[0].text.strip().startswith("def forward_intermediates")
    assert [line.part for line in excerpt.lines[1:]] == ["stages", "embed", "embed", "stages"]
    assert excerpt.embed_ends == (excerpt.lines[3].number,)


def test_why_there_are_no_intermediate_features_is_said(tmp_path):
    text = TAPPED.replace("        x = x + self.pos_embed\n        return", "        return")
    out = run("Tiny", "--source", write_timm(tmp_path, text))
    assert "No forward_stages_intermediates" in out
    assert "it leaves out `x = x + self.pos_embed`" in out


def test_what_intermediate_features_take_is_said(tmp_path):
    out = run("Tiny", "--source", write_timm(tmp_path, TAPPED))
    assert "forward_stages_intermediates takes\n  of the embedding: x\n  and: indices\n" in out


def test_lines_that_take_features_inside_the_stem_are_said(tmp_path):
    taken = "        seen = []\n        if 0 in take:\n            seen.append(x)\n"
    text = TAPPED.replace(
        "        x = x + self.pos_embed\n        return", f"{taken}        x = x + self.pos_embed\n        return"
    )
    line = next(number for number, line in enumerate(text.splitlines(), 1) if "if 0 in take" in line)
    out = run("Tiny", "--source", write_timm(tmp_path, text))
    assert f"an error where line {line} would take what is made before the embedding is complete" in out
