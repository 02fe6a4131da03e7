"""A context around the whole body is entered by both halves, where two entries do what one does."""

import textwrap

import pytest
import torch
from differential import reason, tiny
from sources import split_of

from codegen.generate import generate
from codegen.package.writer import write_package
from codegen.source.release import find_release

BODY = "x = self.patch_embed(x)\nx = x + self.pos_embed\nfor block in self.blocks:\n    x = block(x)\n"


def inside(context, body=f"{BODY}return x", after=""):
    return f"with {context}:\n{textwrap.indent(body, '    ')}\n{after}"


@pytest.mark.parametrize(
    ("context", "header"),
    [
        ("torch.no_grad()", ""),
        ("torch.enable_grad()", ""),
        ("torch.set_grad_enabled(False)", ""),
        ("torch.autograd.set_grad_enabled(True)", ""),
        ("no_grad()", "from torch import no_grad"),
        ("torch.no_grad(), torch.enable_grad()", ""),
    ],
)
def test_what_keeps_nothing_is_entered_twice(context, header):
    split = split_of(tiny(inside(context), header=header))
    assert split.context == context
    assert split.embed.body == ("x = self.patch_embed(x)", "x = x + self.pos_embed")


def test_the_value_may_be_returned_after_it():
    assert split_of(tiny(inside("torch.no_grad()", BODY, "return x"))).context == "torch.no_grad()"


@pytest.mark.parametrize(
    ("context", "why"),
    [
        (
            "torch.autocast('cuda')",
            "`with torch.autocast` spans the whole method, and keeps the weights that it has cast",
        ),
        ("torch.cuda.amp.autocast()", "keeps the weights"),
        ("torch.inference_mode()", "makes tensors that cannot be changed outside"),
        ("torch.set_grad_enabled(self.training)", "may do something else"),
        ("torch.set_grad_enabled(mode=False)", "may do something else"),
        ("torch.no_grad() as mode", "may do something else"),
        ("self.timer", "`with self.timer` spans the whole method, and may do something else"),
        ("self.timer()", "may do something else"),
        ("torch.profiler.record_function('x')", "may do something else"),
        ("open('x')", "may do something else"),
        ("torch.no_grad(), torch.autocast('cuda')", "keeps the weights"),
    ],
)
def test_what_may_differ_when_it_is_entered_twice_is_refused(context, why):
    assert why in reason(tiny(inside(context)))


@pytest.mark.parametrize("header", ["def no_grad(): return open('x')", "from elsewhere import no_grad"])
def test_another_thing_of_that_name_is_refused(header):
    assert "`with no_grad` spans" in reason(tiny(inside("no_grad()"), header=header))


def test_what_follows_the_context_is_not_moved_into_it():
    assert reason(tiny(inside("torch.no_grad()", BODY, "return self.norm(x)")))


def decorated(decorator, header="", body=f"{BODY}return x"):
    text = tiny(body, header=header)
    line = next(line for line in text.splitlines() if "def forward_features" in line)
    return text.replace(line, line.replace("def ", f"@{decorator}\n{line[: len(line) - len(line.lstrip())]}def "))


@pytest.mark.parametrize(
    ("decorator", "context", "header"),
    [
        ("torch.no_grad()", "torch.no_grad()", ""),
        ("torch.no_grad", "torch.no_grad()", ""),
        ("torch.enable_grad()", "torch.enable_grad()", ""),
        ("no_grad()", "no_grad()", "from torch import no_grad"),
        ("torch.autograd.no_grad()", "torch.autograd.no_grad()", ""),
    ],
)
def test_a_decorator_that_enters_one_is_one(decorator, context, header):
    assert split_of(decorated(decorator, header)).context == context


def test_it_is_entered_before_one_inside():
    assert split_of(decorated("torch.no_grad()", body=inside("torch.enable_grad()"))).context == (
        "torch.no_grad(), torch.enable_grad()"
    )


@pytest.mark.parametrize(
    ("decorator", "header"),
    [
        ("torch.inference_mode()", ""),
        ("torch.no_grad(True)", ""),
        ("torch.autocast('cuda')", ""),
        ("no_grad()", "from elsewhere import no_grad"),
        ("torch.compile", ""),
    ],
)
def test_any_other_decorator_is_refused(decorator, header):
    assert "it is decorated with" in reason(decorated(decorator, header))


def test_what_is_answered_before_the_rest_is_answered_in_it():
    guard = "if isinstance(x, list):\n    return [self.forward_features(each) for each in x]\n"
    assert "around both" in reason(decorated("torch.no_grad()", body=f"{guard}{BODY}return x"))


def test_a_mode_that_is_set_inside_is_refused():
    body = f"torch.set_grad_enabled(True)\n{BODY}return x"
    assert "may change such modes" in reason(decorated("torch.no_grad()", body=body))


MODEL = """
    import torch
    from torch import nn


    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch_embed = nn.Conv2d(3, 4, 4, 4)
            self.scale = nn.Parameter(torch.ones(4, 1, 1))
            self.pos_embed = nn.Parameter(torch.randn(4, 2, 2))
            self.blocks = nn.ModuleList([nn.Conv2d(4, 4, 1)])

        def forward_features(self, x):
            # frozen for good
            with torch.no_grad():
                scale = self.scale * 2
                x = self.patch_embed(x)
                x = x + self.pos_embed
                for block in self.blocks:
                    x = block(x) * scale
                return x
"""


def test_both_halves_run_in_it(tmp_path, monkeypatch):
    (tmp_path / "frozen_model.py").write_text(textwrap.dedent(MODEL))
    package = generate(find_release(None, tmp_path / "frozen_model.py"))
    write_package(tmp_path / "frozen_splits", package.files)
    monkeypatch.syspath_prepend(tmp_path)
    import frozen_model
    import frozen_splits

    model = frozen_splits.split(frozen_model.Frozen())
    images = torch.randn(2, 3, 8, 8, requires_grad=True)
    frozen_splits.check(model, images)
    embedding = model.embed(images)
    assert not embedding.x.requires_grad
    masked = embedding._replace(x=embedding.x.clone().requires_grad_())
    assert not model.forward_stages(masked).requires_grad
