"""timm's real methods, mutated: each mutant is split into what does the same in the same order, or refused."""

import ast
import functools
import re
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import pytest
from differential import halves
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from mutation import mutate
from sources import committed_manifest, timm_release
from symbols import Program, Run, Symbol, World, frozen, load_generated, observe

from codegen.package.render import render
from codegen.source.index import Class, Index
from codegen.split.files import split_release
from codegen.types import METHOD, Outcome, Refusal, Release, Split

PATHS = [
    path
    for path, entry in committed_manifest()["classes"].items()
    if "split" in entry and not entry["split"]["inherits"]
]
QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}


@dataclass(frozen=True)
class Original:
    """A model class of timm.

    Attributes:
        index: A release with the file of the class in it, less what only registers models.
        cls: The class.
    """

    index: Index
    cls: Class

    @functools.cached_property
    def method(self) -> ast.FunctionDef:
        method = self.cls.members[METHOD]
        assert isinstance(method, ast.FunctionDef)
        return method

    def with_method(self, method: ast.FunctionDef) -> "Original":
        """The same class with another method, in a release that is otherwise the same."""
        file = self.cls.module.path
        lines = self.cls.module.text.splitlines()
        text = "".join(f"    {line}\n" for line in ast.unparse(method).splitlines()).splitlines()
        lines[self.method.lineno - 1 : self.method.end_lineno] = text
        release = replace(self.index.release, files={**self.index.release.files, file: "\n".join(lines) + "\n"})
        parsed = {path: module for path, module in self.index._parsed.items() if path != file}
        index = Index(release, parsed)
        return Original(index, index.classes(index.parse(file))[self.cls.name])


@functools.cache
def parsed() -> Index:
    """timm, parsed as far as anything asked for it."""
    return Index(timm_release())


@functools.cache
def original(path: str) -> Original:
    module, _, name = path.rpartition(".")
    found = parsed().module(module)
    assert found is not None
    file = found.path
    text = "\n".join(ast.unparse(node) for node in found.tree.body if not registers(node)) + "\n"
    release = timm_release()
    index = Index(Release(release.version, release.origin, {**release.files, file: text}, user_files=(file,)), {})
    index._parsed.update({path: module for path, module in parsed()._parsed.items() if path != file})
    return Original(index, index.classes(index.parse(file))[name])


def registers(node: ast.stmt) -> bool:
    """Whether a statement of a model file has to do with names and weights alone."""
    if isinstance(node, ast.FunctionDef):
        return any("register_model" in ast.unparse(decorator) for decorator in node.decorator_list)
    return isinstance(node, ast.Assign | ast.Expr) and any(
        isinstance(call, ast.Call) and "generate_default_cfgs" in ast.unparse(call.func) for call in ast.walk(node)
    )


def split(program: Original) -> tuple[Outcome, str]:
    """What becomes of a class, and the text that is generated for its file, as rendered."""
    outcomes = list(split_release(program.index))
    (outcome,) = (o for o in outcomes if o.path == program.cls.path)
    if isinstance(outcome.result, Refusal):
        return outcome, ""
    with (
        patch("codegen.package.render.format_files", dict),
        patch("codegen.package.render.manifest_text", lambda *_: ""),
    ):
        files = render("1.2.3", outcomes)
    return outcome, next(text for name, text in files.items() if f"class {outcome.name}Split(" in text)


def runs(program: Original, outcome: Outcome, text: str, seed: int, given: frozenset[str]) -> tuple[Run, Run]:
    """The class as it is and as it is split, on symbols.

    Args:
        program: The class.
        outcome: Its split.
        text: The generated file.
        seed: Decides which way conditions go.
        given: Parameters beside the images that are passed.
    """
    made = []
    for is_split in (False, True):
        world = World(seed)
        classes = {cls.name: Program(program.index, cls).load(world) for cls in based_on(program, outcome)}
        cls = classes[outcome.name]
        if is_split:
            cls = load_generated(text, f"{outcome.name}Split", classes, world)
        model: Any = cls(world)
        assert isinstance(outcome.result, Split)
        delegate = outcome.result.delegate
        if delegate is not None:
            if is_split:  # it keeps its own forward_features: run the halves in its place
                cls.forward_features = halves(outcome.result)
            inner = classes[delegate.path.rpartition(".")[2]]
            vars(model)[delegate.attribute] = inner(world, f"self.{delegate.attribute}")
        images, *others = [arg.arg for arg in all_arguments(program.method)][1:]
        arguments = {name: Symbol(world, name) for name in (images, *(name for name in others if name in given))}
        made.append(observe(model, world, arguments))
    return made[0], made[1]


def all_arguments(method: ast.FunctionDef) -> list[ast.arg]:
    return [*method.args.posonlyargs, *method.args.args, *method.args.kwonlyargs]


def based_on(program: Original, outcome: Outcome) -> list[Class]:
    assert isinstance(outcome.result, Split)
    file = program.index.classes(program.cls.module).values()
    return [cls for cls in file if program.index.owner(cls) is not None]


@pytest.mark.parametrize("path", PATHS)
def test_what_timm_has_runs_on_symbols_through_stem_and_blocks(path):
    program = original(path)
    outcome, text = split(program)
    assert not isinstance(outcome.result, Refusal)
    lengths = []
    for seed in range(8):
        before, after = runs(program, outcome, text, seed, frozenset())
        assert after == before
        lengths.append(len(before.journal) if before.result[0][-5:] != "Error" else 0)
    assert max(lengths) > 1


@st.composite
def mutants(draw: Any) -> tuple[str, ast.FunctionDef, int, frozenset[str]]:
    """A class, a mutant of its method, and how to run it."""
    path = draw(st.sampled_from(PATHS))
    method = original(path).method
    others = [arg.arg for arg in all_arguments(method)][2:]
    passed = draw(st.frozensets(st.sampled_from(others))) if others else frozenset()
    return path, mutate(draw, method), draw(st.integers(0, 99)), passed


def check(path: str, method: ast.FunctionDef, seed: int, passed: frozenset[str]) -> Outcome:
    program = original(path).with_method(method)
    note(ast.unparse(method))
    outcome, text = split(program)
    if isinstance(outcome.result, Refusal):
        assert outcome.result.reason
        assert outcome.result.place.line >= 1
        return outcome
    note(text)
    for further in range(3):
        before, after = runs(program, outcome, text, seed + further, passed)
        assert after == before
    return outcome


def test_a_mutant_behaves_as_before_or_is_refused_and_most_are_split():
    results = []

    @given(mutants())
    @settings(max_examples=300, derandomize=True, database=None, **QUIET)
    def collect(mutant):
        results.append(isinstance(check(*mutant).result, Split))

    collect()
    assert sum(results) >= 0.6 * len(results)


@pytest.mark.exhaustive
@given(mutants())
@settings(max_examples=10_000, **QUIET)
def test_ten_thousand_mutants_behave_as_before_or_are_refused(mutant):
    check(*mutant)


VIT = "timm.models.vision_transformer.VisionTransformer"
HIERA = "timm.models.hiera.Hiera"


@pytest.mark.parametrize(
    ("path", "right", "wrong"),
    [
        (VIT, "        x = self.norm(x)\n", ""),
        (
            VIT,
            "x = self.patch_drop(x)\n        x = self.norm_pre(x)",
            "x = self.norm_pre(x)\n        x = self.patch_drop(x)",
        ),
        (VIT, "x = self.norm(x)", "x = self.norm(self.norm(x))"),
        (VIT, "x = self._pos_embed(x)", "x = self._pos_embed(x)\n        self.flag = True"),
        (HIERA, "HieraEmbedding(x, mask)", "HieraEmbedding(x, None)"),
    ],
)
def test_a_wrong_split_is_found_out(path, right, wrong):
    program = original(path)
    outcome, text = split(program)
    text = re.sub(r"(?ms)^    def forward_stages_intermediates.*?(?=^    def |^class |\Z)", "", text)
    assert text.count(right) == 1
    found = [runs(program, outcome, text.replace(right, wrong), seed, frozenset({"mask"})) for seed in range(8)]
    assert any(before != after for before, after in found)


def test_looks_leave_no_trace_and_calls_and_changes_do():
    world = World(0)
    x = Symbol(world, "x")
    a, (b, c) = x.shape[0], x.pair
    assert (frozen(a), frozen(b + c)) == ("batch", "(x.pair[0] add x.pair[1])")
    assert world.journal == []
    other = x
    x += 1
    assert world.journal == [("iadd", "x", 1)]
    assert frozen(other) == frozen(x) == "%1"
    x.flatten(2)
    assert world.journal[1] == ("call", "%1.flatten", ("tuple", 2), ("dict",))
