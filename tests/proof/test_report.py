import io
import json

from rich.console import Console

from codegen.proof.report import progress, show, summary, write
from codegen.proof.results import Check, NameResult, RefusedName, Report

VIT, SWIN, NET = "timm.models.vit.Vit", "timm.models.swin.Swin", "timm.models.net.Net"


def result(name, path, *verdicts, detail=""):
    return NameResult(name, path, tuple(Check(f"check{n}", verdict, detail) for n, verdict in enumerate(verdicts)), 10)


def printed(report):
    out = io.StringIO()
    show(report, Console(file=out, width=120))
    return out.getvalue()


def test_a_name_holds_only_if_all_that_was_asked_was_run_and_holds():
    assert result("a", VIT, "holds", "holds").verdict == "holds"
    assert result("a", VIT, "holds", "not offered").verdict == "holds"
    assert result("a", VIT, "holds", "fails", "not run").verdict == "fails"
    assert result("a", VIT, "holds", "not run").verdict == "not run"
    assert result("a", VIT, "not offered").verdict == "not run"
    assert result("a", VIT).verdict == "not run"


def test_a_report_holds_if_every_name_does():
    good, skipped, bad = (result("a", VIT, verdict) for verdict in ("holds", "not run", "fails"))
    assert Report("1", (good,)).holds
    assert Report("1", (), (RefusedName("a", NET, "why"),)).holds
    assert not Report("1", (good, skipped)).holds
    assert not Report("1", (good, bad)).holds
    assert not Report("1", (good,), numbers=(bad,)).holds


def test_the_summary_counts_names_and_classes():
    report = Report(
        "1",
        (result("a", VIT, "holds"), result("b", VIT, "fails"), result("c", SWIN, "not run")),
        (RefusedName("d", NET, "why"), RefusedName("e", NET, "why")),
        (result("a", VIT, "holds"),),
    )
    assert summary(report) == ("1 of 3 names hold; 1 not run; 1 of 1 classes are equal in numbers; 2 refused: Net (2)")


def test_what_timm_cannot_build_itself_is_no_failure_and_is_named():
    report = Report("1.0.20", (result("a", VIT, "holds"),), unbuilt=(RefusedName("b", VIT, "TypeError: no such"),))
    assert report.holds
    assert "timm cannot build  b: TypeError: no such" in printed(report)
    assert summary(report) == "1 of 1 names hold; 1 that timm 1.0.20 cannot build itself"


def test_the_table_has_a_row_for_each_class_with_the_worst_verdict():
    report = Report("1", (result("a", VIT, "holds"), result("b", VIT, "fails"), result("c", SWIN, "holds")))
    rows = {line.split()[0]: line.split()[1:] for line in printed(report).splitlines() if line}
    assert rows["Vit"] == ["2", "1", "fails"]
    assert rows["Swin"] == ["1", "1", "holds"]


def test_what_does_not_hold_is_explained_by_name():
    text = printed(Report("1", (result("a", VIT, "holds"), result("b", VIT, "fails", detail="op 3 is [x] " * 100))))
    line = next(line for line in text.splitlines() if line.startswith("fails"))
    assert line.startswith("fails  b  check0: op 3 is [x] op 3")
    assert line.endswith("...")
    assert len(line) < 500


def test_json_has_everything(tmp_path):
    report = Report("1", (result("a", VIT, "fails", detail="why"),), (RefusedName("d", NET, "none"),))
    write(report, tmp_path / "report.json")
    value = json.loads((tmp_path / "report.json").read_text())
    assert value["holds"] is False
    assert value["names"][0]["verdict"] == "fails"
    assert value["names"][0]["checks"] == [{"name": "check0", "verdict": "fails", "detail": "why"}]
    assert value["refused"] == [{"name": "d", "model_class": NET, "reason": "none"}]


def test_progress_is_a_line_for_each_tenth_where_there_is_no_terminal(capsys):
    with progress() as listener:
        for done in range(1, 101):
            listener("ops", done, 100)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"ops: {done} of 100" for done in (1, *range(10, 101, 10))]
