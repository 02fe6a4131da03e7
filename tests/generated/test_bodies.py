"""What stands in ``generated/``: timm's statements, in timm's order, and nothing else; what the manifest says is so."""

import ast
import functools
import importlib
import inspect
from collections.abc import Iterator

import pytest
import timm
import torch
from sources import GENERATED, committed_manifest, timm_release
from torch import nn

import generated

SPLIT = {path: entry for path, entry in committed_manifest()["classes"].items() if "split" in entry}
DEFINING = {path: entry for path, entry in SPLIT.items() if not entry["split"]["inherits"]}
SPLIT_BY_NAME = {entry["class"]: entry for entry in SPLIT.values()}
DELEGATING = [path for path, entry in DEFINING.items() if entry["split"]["delegate"]]
INHERITING = [path for path in SPLIT if path not in DEFINING]
TWINS, MOBILENET_V5 = "timm.models.twins.Twins", "timm.models.mobilenetv5.MobileNetV5"
HALVED = [path for path, entry in DEFINING.items() if "absent" not in entry["split"]["patches"]]
PLAIN = [path for path in DEFINING if path not in {*DELEGATING, TWINS, MOBILENET_V5}]


# The statements


parse = functools.cache(ast.parse)


def normal(text: str) -> str:
    """Statements as this Python writes them: 3.10 puts the targets of an assignment in parentheses."""
    return ast.unparse(ast.parse(text))


def method(text: str, class_name: str, name: str) -> list[str]:
    """The statements of a method, one by one, without its docstring, in normal form."""
    cls = next(n for n in parse(text).body if isinstance(n, ast.ClassDef) and n.name == class_name)
    function = next(n for n in cls.body if isinstance(n, ast.FunctionDef) and n.name == name)
    return [ast.unparse(node) for node in function.body[ast.get_docstring(function) is not None :]]


def of_timm(path: str, name: str = "forward_features") -> list[str]:
    entry = SPLIT[path]
    return method(timm_release().files[entry["file"]], entry["class"], name)


def of_split(path: str) -> tuple[list[str], list[str]]:
    """The statements of both halves, less the lines that pass the embedding from the one to the other."""
    entry = SPLIT[path]["split"]
    text = (GENERATED / f"{entry['module']}.py").read_text(encoding="utf-8")
    embed, stages = (without_calls(method(text, entry["class"], name)) for name in ("embed", "forward_stages"))
    stages = [statement for statement in stages if not gives_back(statement)]
    if path in HALVED:
        assert len(embed) == 1
        assert embed[0].startswith("return self.embed_positions(self.embed_patches(")
        halves = ("embed_patches", "embed_positions")
        patches, positions = (without_calls(method(text, entry["class"], name)) for name in halves)
        embed = joined(patches, positions, entry["patches"], "patches")
    return embed, joined(embed, stages, entry["embedding"], "embedding", keep=False)


def joined(first: list[str], second: list[str], crossing: dict, whole: str, *, keep: bool = True) -> list[str]:
    """The second of two methods, after the first if that is kept, less the lines that pass what crosses."""
    names = ", ".join(field["name"] for field in crossing["fields"])
    assert first.pop() == (f"return {crossing['class']}({names})" if crossing["class"] else f"return {names}")
    if crossing["class"]:
        assert second.pop(0) == normal(f"{names} = {whole}")
    again = [normal(line) for line in crossing["recomputed"]]
    assert second[: len(again)] == again
    return [*(first if keep else []), *second[len(again) :]]


def positions(part: list[str], whole: list[str]) -> list[int]:
    """Where each statement of a part stands in the whole; fails if the part is out of order."""
    found, start = [], 0
    for statement in part:
        assert statement in whole[start:], statement
        start = whole.index(statement, start) + 1
        found.append(start - 1)
    return found


def check_halves(path: str, original: list[str], embed: list[str], stages: list[str]) -> None:
    before, after = positions(embed, original), positions(stages, original)
    assert not set(before) & set(after)
    left_out = [original[n] for n in range(len(original)) if n not in {*before, *after}]
    crossings = [SPLIT[path]["split"][crossing] for crossing in ("embedding", "patches")]
    made_again = {name for crossing in crossings for line in crossing.get("recomputed", []) for name in stored(line)}
    assert all(set(stored(statement)) <= made_again for statement in left_out)
    moved = [original[n] for n in after if n < before[-1]]
    assert all(is_constant(statement) for statement in moved)


def stored(text: str) -> Iterator[str]:
    return (n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))


def is_constant(text: str) -> bool:
    node = ast.parse(text).body[0]
    return isinstance(node, ast.Assign) and (
        isinstance(node.value, ast.Constant) or ast.unparse(node.value) in ("[]", "{}")
    )


@pytest.mark.parametrize("path", PLAIN)
def test_both_halves_together_are_timms_statements_in_timms_order(path):
    check_halves(path, of_timm(path), *of_split(path))


def gives_back(statement: str) -> bool:
    """Whether the stages return what ``embed`` returned early, by the question that it asks."""
    node = ast.parse(statement).body[0]
    body = node.body if isinstance(node, ast.If) else []
    return bool(body) and ast.unparse(body[0]) in ("return embedding", "return x") and "x = " not in statement


def without_calls(stages: list[str]) -> list[str]:
    """The statements of a delegating class for an inner model that is not split."""
    plain = []
    for statement in stages:
        node = ast.parse(statement).body[0]
        asks = isinstance(node, ast.If) and "isinstance(self.encoder, " in ast.unparse(node.test)
        plain += map(ast.unparse, node.orelse) if asks else [statement]
    return plain


def test_a_delegating_class_has_the_statements_of_its_inner_model():
    assert len(DELEGATING) == 3
    for path in DELEGATING:
        inner = SPLIT[path]["split"]["delegate"]["path"]
        assert of_timm(path)[0].startswith("return self.encoder(")
        original = []
        for statement in of_timm(inner, "forward"):
            if statement.startswith("x = self.forward_features("):
                *body, last = of_timm(inner)
                original += [*body, last.replace("return ", "x = ", 1)]
            else:
                original.append(statement)
        check_halves(path, [text.replace("self.", "self.encoder.") for text in original], *of_split(path))


def test_twins_has_the_head_of_its_first_round_in_embed_and_of_the_others_in_the_stages():
    embed, (loop, *stages) = of_split(TWINS)
    assert embed == [normal("x, size = self.patch_embeds[0](x)"), "x = self.pos_drops[0](x)"]
    first = normal("x, size = embed(x)")
    original = loop.replace(f"    if i > 0:\n        {first}\n        x = drop(x)\n", f"    {first}\n    x = drop(x)\n")
    assert ["B = x.shape[0]", original, *stages] == of_timm(TWINS)


def test_mobilenet_v5_has_its_stem_out_of_both_arms():
    embed, (arms, *rest) = of_split(MOBILENET_V5)
    (original, *after) = of_timm(MOBILENET_V5)
    assert embed == ["x = self.conv_stem(x)"]
    assert original.count("    x = self.conv_stem(x)\n") == 2
    without_stem = normal(original.replace("    x = self.conv_stem(x)\n", ""))
    assert [arms, *rest] == [without_stem, *after]


def test_comments_and_quotes_are_timms():
    text = (GENERATED / "eva.py").read_text(encoding="utf-8")
    assert "# Handle depth-dependent embeddings for mixed mode\n" in text
    assert "getattr(self, 'rope_mixed', False)" in text


# The classes


def load(path: str) -> tuple[type[nn.Module], type[nn.Module]]:
    """timm's class, and the split one."""
    entry = SPLIT[path]
    split = importlib.import_module(f"generated.{entry['split']['module']}")
    return getattr(importlib.import_module(entry["module"]), entry["class"]), getattr(split, entry["split"]["class"])


@pytest.mark.parametrize("path", SPLIT)
def test_a_split_class_adds_its_methods_and_nothing_else(path):
    timm_class, split_class = load(path)
    own = {name for name in vars(split_class) if not (name.startswith("__") and name.endswith("__"))}
    added = {"embed", "forward_stages"} | (set() if path in DELEGATING else {"forward_features"})
    if path in HALVED:
        added |= {"embed_patches", "embed_positions"}
    if "statement" in SPLIT[path]["split"].get("intermediates", {}):
        added |= {"forward_stages_intermediates"}
    assert own == (set() if path in INHERITING else added)
    assert issubclass(split_class, timm_class)
    assert split_class.__init__ is timm_class.__init__
    assert split_class.forward is timm_class.forward


@pytest.mark.parametrize("path", SPLIT)
def test_forward_features_takes_what_timms_takes(path):
    timm_class, split_class = load(path)
    assert inspect.signature(split_class.forward_features) == inspect.signature(timm_class.forward_features)


@pytest.mark.parametrize("path", DEFINING)
def test_the_manifest_names_the_fields_of_the_embedding(path):
    _, split_class = load(path)
    entry = SPLIT[path]["split"]["embedding"]
    names = [field["name"] for field in entry["fields"]]
    returned = inspect.get_annotations(split_class.embed, eval_str=True).get("return")
    if entry["class"] is None:
        assert names == [entry["tokens"]]
        assert (returned is None) == (entry["fields"][0]["annotation"] == "Any")
        return
    assert returned.__name__ == entry["class"]
    assert list(returned._fields) == names
    assert names[0] == entry["tokens"]
    assert list(returned.__annotations__) == names


@pytest.mark.parametrize("path", HALVED)
def test_the_manifest_names_the_fields_of_the_patches(path):
    _, split_class = load(path)
    entry = SPLIT[path]["split"]["patches"]
    names = [field["name"] for field in entry["fields"]]
    returned = inspect.get_annotations(split_class.embed_patches, eval_str=True).get("return")
    assert names[0] == entry["tokens"]
    if entry["class"] is None:
        assert len(names) == 1
        assert (returned is None) == (entry["fields"][0]["annotation"] == "Any")
        return
    assert returned.__name__ == entry["class"]
    assert list(returned.__annotations__) == names


# found by reading timm, not by the generator
IN_ONE = {"CrossVit", "Gemma4VitClassifier", "Gemma4VitEncoder", "NaFlexVit", "TNT"}


def test_every_embedding_with_a_position_or_prefix_tokens_is_cut_but_where_one_call_makes_both():
    absent = {e["class"]: e["split"]["patches"]["absent"] for path, e in DEFINING.items() if path not in HALVED}
    assert {name for name, why in absent.items() if why.endswith("gives the patches and their position")} == IN_ONE
    others = {why for name, why in absent.items() if name not in IN_ONE}
    assert len(others) == 1
    assert others.pop().startswith("neither position nor prefix tokens follow the patch embedding")
    assert {name for name in absent if SPLIT_BY_NAME[name]["split"]["position"]} == IN_ONE


def test_a_class_that_inherits_its_split_looks_it_up_before_timms_own():
    for path in INHERITING:
        timm_class, split_class = load(path)
        parent = SPLIT[path]["split"]["inherits"]
        assert split_class.__bases__ == (load(parent)[1], timm_class)


# The models


def small(entry: dict) -> str:
    """A registered name of a class that is quick to build: the words of the field for small, then short names."""
    words = ("test", "atto", "femto", "pico", "nano", "zepto", "tiny", "xxs", "mini", "_s", "small")

    def size(name: str) -> tuple[int, int, str]:
        return next((n for n, word in enumerate(words) if word in name), len(words)), len(name), name

    return min(entry["models"], key=size)


def rank_and_form(tokens: torch.Tensor) -> str:
    """The layout that a shape shows, of square images."""
    if tokens.ndim == 3:
        return "NLC"
    _, one, two, three = tokens.shape
    return "NHWC" if one == two != three else "NCHW" if two == three != one else "any"


@pytest.mark.parametrize("path", [path for path, entry in SPLIT.items() if entry["models"]])
def test_the_halves_run_and_the_tokens_have_the_layout_that_the_manifest_claims(path):
    entry = SPLIT[path]
    with torch.device("meta"):
        model = timm.create_model(small(entry)).eval()
        images = torch.empty(2, *model.pretrained_cfg["input_size"])
    with torch.no_grad():
        try:
            expected = model.forward_features(images)
        except RuntimeError as error:
            pytest.skip(f"timm does not run on meta: {error}")
        model = generated.split(model)
        embedding = model.embed(images)
        features = model.forward_stages(embedding)
        cut = entry["split"]["patches"]
        if "absent" not in cut:
            patches = model.embed_patches(images)
            assert shapes(model.embed_positions(patches)) == shapes(embedding)
            tokens = getattr(patches, cut["tokens"]) if cut["class"] else patches
            assert cut["layout"] is None or rank_and_form(tokens) in (cut["layout"], "any")
    assert shapes(features) == shapes(expected)

    embedded = entry["split"]["embedding"]
    assert isinstance(embedding, tuple) == (embedded["class"] is not None)
    tokens = getattr(embedding, embedded["tokens"]) if embedded["class"] else embedding
    if embedded["layout"]:
        assert rank_and_form(tokens) in (embedded["layout"], "any")
        assert tokens.shape[0] == 2


def shapes(value: object) -> object:
    if isinstance(value, torch.Tensor):
        return tuple(value.shape)
    if isinstance(value, dict):
        return {key: shapes(inner) for key, inner in value.items()}
    return [shapes(inner) for inner in value] if isinstance(value, list | tuple) else value
