"""``timm-split diff``: what an upgrade changes, and nothing else."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner
from sources import release_of, timm_release, write_timm

from codegen.cli import main
from codegen.generate import analyse
from codegen.reports.comparison import TITLES, Comparison, compare, source_of, to_markdown

MODEL = """
class Tiny:
    def __init__(self):
        self.patch_embed = PatchEmbed()
        self.pos_embed = nn.Parameter(zeros)
        self.pos_drop = nn.Dropout(0.1)
        self.blocks = Sequential(*blocks)

    def forward_features(self, x, mask=None):
        x = self.patch_embed(x)
        x = x + self.pos_embed
        x = self.blocks(x, mask)
        return x
"""
HEIR = "\n\nclass Heir(Tiny):\n    pass\n"
OTHER = (
    "\n\nclass Other(Tiny):\n    def forward_features(self, x):\n        return self.blocks(self.patch_embed(x) + 1)\n"
)
WHOLE = MODEL.replace("        x = self.patch_embed(x)\n        x = x + self.pos_embed\n", "")


def compared(old: str, new: str) -> Comparison:
    before, after = release_of(old), replace(release_of(new), version="1.2.4")
    return compare(before, analyse(before), after, analyse(after))


def changed(old: str, new: str) -> list[tuple[str, str]]:
    return [(change.kind, change.name) for change in compared(old, new).changes]


def only(old: str, new: str):
    (change,) = compared(old, new).changes
    return change


def run(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["diff", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.stdout


def test_a_release_does_not_differ_from_itself():
    assert changed(MODEL + HEIR, MODEL + HEIR) == []


def test_comments_layout_and_other_lines_do_not_count():
    laid_out = "import math\n\n" + MODEL.replace("x + self.pos_embed", "(x +\n            self.pos_embed)  # position")
    assert changed(MODEL, laid_out.replace("return x", "# done\n        return x")) == []


def test_a_class_that_came_has_its_boundary_and_one_that_went_as_well():
    change = only(MODEL, MODEL + HEIR)
    assert (change.kind, change.old) == ("added", None)
    assert change.new.lines == {11: "x = x + self.pos_embed"}
    assert change.new.what.startswith("embed returns Any")
    change = only(MODEL + HEIR, MODEL)
    assert (change.kind, change.name, change.new) == ("removed", "Heir", None)


def test_a_class_that_is_refused_now_has_the_line_and_the_reason():
    change = only(MODEL, WHOLE)
    assert change.kind == "refused"
    assert change.old.lines == {11: "x = x + self.pos_embed"}
    assert change.new.lines == {10: "x = self.blocks(x, mask)"}
    assert change.new.what.startswith("refused: ")


def test_a_class_that_is_split_now_says_so():
    assert changed(WHOLE, MODEL) == [("split", "Tiny")]


def test_a_refusal_for_another_reason_is_reported():
    decorated = WHOLE.replace("    def forward_features", "    @cached\n    def forward_features")
    assert changed(WHOLE, decorated) == [("reason", "Tiny")]


def test_a_boundary_that_moved_is_reported_with_both_statements():
    change = only(MODEL, MODEL.replace("+ self.pos_embed\n", "+ self.pos_embed\n        x = self.pos_drop(x)\n"))
    assert change.kind == "boundary"
    assert change.old.lines == {11: "x = x + self.pos_embed"}
    assert change.new.lines == {12: "x = self.pos_drop(x)"}


def test_what_embed_returns_is_reported_with_its_fields():
    new = MODEL.replace("x = self.patch", "x, rope = self.patch").replace("blocks(x, mask)", "blocks(x, rope, mask)")
    found = {change.kind: change for change in compared(MODEL, new).changes}
    assert set(found) == {"returns", "embedding"}
    assert found["returns"].old.what == "Any"
    assert found["returns"].new.what == "TinyEmbedding(x: Any, rope: Any)"
    assert found["embedding"].old.lines == {10: "x = self.patch_embed(x)"}
    assert found["embedding"].new.lines == {10: "x, rope = self.patch_embed(x)"}


def test_parameters_are_reported_with_the_method_that_takes_them():
    change = next(c for c in compared(MODEL, MODEL.replace("mask", "attn_mask")).changes if c.kind == "parameters")
    assert change.old.what == "embed(x), forward_stages(embedding, mask=None)"
    assert change.new.what == "embed(x), forward_stages(embedding, attn_mask=None)"
    assert change.old.lines == {9: "def forward_features(self, x, mask=None):"}


def test_keyword_parameters_keep_their_defaults():
    old = MODEL.replace("x, mask=None)", "x, *, mask=None)")
    change = next(c for c in compared(old, old.replace("mask=None", "mask=1")).changes if c.kind == "parameters")
    assert change.new.what == "embed(x), forward_stages(embedding, *, mask=1)"


def test_a_body_that_changed_after_the_boundary_alone_is_named():
    assert changed(MODEL, MODEL.replace("return x", "return x * 2")) == [("body", "Tiny")]


def test_what_heirs_inherit_is_reported_once():
    change = only(MODEL + HEIR, (MODEL + HEIR).replace("return x", "return x * 2"))
    assert (change.name, change.heirs) == ("Tiny", ("timm.models.tiny.Heir",))


def test_a_class_that_stops_inheriting_is_reported_only_if_its_split_changes():
    body = MODEL[MODEL.index("    def forward_features") :]
    assert changed(MODEL + HEIR, MODEL + "\n\nclass Heir(Tiny):\n" + body) == []


def test_changes_come_in_the_order_of_the_kinds_and_of_the_names():
    kinds = [change.kind for change in compared(MODEL + HEIR, WHOLE + OTHER).changes]
    assert kinds == sorted(kinds, key=list(TITLES).index)
    assert len(kinds) == 3


def test_markdown_shows_both_sources_as_a_diff_and_names_the_rest():
    text = to_markdown(compared(MODEL + HEIR, WHOLE + HEIR))
    assert text.startswith("### timm 1.2.3 → timm 1.2.4\n")
    lines = text.splitlines()
    start = lines.index("- `Tiny`, timm.models.tiny, 0 models")
    assert lines[start + 1 : start + 3] == ["  ```diff", "  - timm/models/tiny.py:11  x = x + self.pos_embed"]
    assert text.count("```diff") == 2  # the heir is refused for the reason of its parent
    body = to_markdown(compared(MODEL + HEIR, (MODEL + HEIR).replace("return x", "return x * 2")))
    assert body.endswith("#### Only what follows the boundary changed (1)\n\n`Tiny (and Heir)`\n")


def test_a_long_statement_is_shown_by_its_ends():
    lines = "".join(f"            y{number} = {number}\n" for number in range(20))
    new = MODEL.replace(
        "        x = x + self.pos_embed\n", f"        if self.absolute:\n{lines}            x = x + self.pos_embed\n"
    )
    text = to_markdown(compared(MODEL, new))
    assert "+   ... 16 lines ...\n" in text
    assert "y19" in text
    assert "y10" not in text


# The command


@pytest.fixture
def releases(tmp_path):
    return (
        write_timm(tmp_path / "old", MODEL),
        write_timm(tmp_path / "new", WHOLE + OTHER, "1.2.4"),
    )


def test_the_command_prints_plain_lines_and_exits_with_zero(releases):
    out = run(*releases)
    assert out.startswith("timm 1.2.3 -> timm 1.2.4\n")
    assert "    - timm/models/tiny.py:11  x = x + self.pos_embed\n" in out
    assert "    +   refused: " in out
    assert "\x1b" not in out


def test_a_terminal_gets_colours(releases, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    out = run(*releases)
    assert "\x1b[31m" in out
    assert "\x1b[32m" in out


def test_exit_code_tells_whether_there_are_differences(releases):
    old, new = releases
    run(old, new, "--exit-code", code=1)
    assert "Every class is split as before" in run(old, old, "--exit-code")


def test_json_has_both_sides(releases):
    content = json.loads(run(*releases, "--json"))
    assert (content["old"], content["new"]) == ("timm 1.2.3", "timm 1.2.4")
    (refused,) = [change for change in content["changes"] if change["kind"] == "refused"]
    assert refused["path"] == "timm.models.tiny.Tiny"
    assert refused["old"]["lines"] == [{"number": 11, "text": "x = x + self.pos_embed"}]
    assert refused["new"]["what"].startswith("refused: ")


def test_markdown_and_json_exclude_each_other(releases):
    run(*releases, "--json", "--markdown", code=2)


def test_a_version_is_a_version_even_where_a_file_has_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "1.0.31").mkdir()
    (tmp_path / "mine.py").touch()
    assert [source_of(text)[1] is None for text in ("1.0.31", "1.0.x", "latest", "./1.0.31", "mine.py")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_the_installed_timm_does_not_differ_from_itself():
    release = timm_release()
    outcomes = analyse(release)
    assert compare(release, outcomes, release, outcomes).changes == ()


TAPPED = (
    MODEL
    + """
    def forward_intermediates(self, x, indices=None):
        x = self.patch_embed(x)
        x = x + self.pos_embed
        return self.blocks(x, indices)
"""
)


def test_other_intermediate_features_are_a_change():
    come = only(MODEL, TAPPED)
    assert come.kind == "intermediates"
    assert come.old.what == "no forward_intermediates"
    assert come.new.what == "forward_stages_intermediates(embedding, indices=None)"
    assert come.new.lines == {17: "x = x + self.pos_embed"}
    gone = only(TAPPED, TAPPED.replace("x + self.pos_embed\n        return", "x\n        return"))
    assert "which forward_features embeds" in gone.new.what or "stands where" in gone.new.what
    assert (
        changed(TAPPED, TAPPED.replace("        return self.blocks(x, indices)", "        return self.blocks(x)")) == []
    )
