"""The docstrings in ``generated/``: nothing that timm says of ``forward_features`` is lost, no line is named."""

import ast
import functools
import re

import pytest
from sources import GENERATED, committed_manifest, timm_release

from codegen.syntax.documentation import parameter_texts

DEFINING = {
    path: entry
    for path, entry in committed_manifest()["classes"].items()
    if "split" in entry and not entry["split"]["inherits"]
}


@functools.cache
def methods(text: str, name: str) -> dict[str, ast.FunctionDef]:
    cls = next(node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef) and node.name == name)
    return {node.name: node for node in cls.body if isinstance(node, ast.FunctionDef)}


def of_timm(path: str) -> ast.FunctionDef:
    entry = DEFINING[path]
    return methods(timm_release().files[entry["file"]], entry["class"])["forward_features"]


def of_split(path: str) -> dict[str, ast.FunctionDef]:
    split = DEFINING[path]["split"]
    return methods((GENERATED / f"{split['module']}.py").read_text(encoding="utf-8"), split["class"])


DOCUMENTED = [path for path in DEFINING if (ast.get_docstring(of_timm(path)) or "").strip()]


# a class that delegates to an inner model keeps timm's own forward_features
@pytest.mark.parametrize("path", [path for path in DOCUMENTED if not DEFINING[path]["split"]["delegate"]])
def test_forward_features_has_the_docstring_of_timm(path: str) -> None:
    assert ast.get_docstring(of_split(path)["forward_features"]) == ast.get_docstring(of_timm(path))


@pytest.mark.parametrize("path", DOCUMENTED)
def test_what_timm_says_of_a_parameter_is_in_each_method_that_takes_it(path: str) -> None:
    texts = parameter_texts(ast.get_docstring(of_timm(path)) or "", {a.arg for a in of_timm(path).args.args[1:]})
    images = of_timm(path).args.args[1].arg
    for name, pieces in texts.items():
        taking = [
            method
            for method in of_split(path).values()
            if method.name != "forward_stages_intermediates"  # which has the docstring of another method of timm's
            and name in {a.arg for a in (*method.args.args, *method.args.kwonlyargs)}
            and not (name == images and method.name in ("embed_positions", "forward_stages"))  # these take the tokens
        ]
        assert {"forward_features"} < {method.name for method in taking}
        for method in taking:
            flat = re.sub(r"\s+", " ", ast.get_docstring(method) or "")
            assert all(re.sub(r"\s+", " ", piece) in flat for piece in pieces)


def test_hieras_mask_says_what_1_means_where_it_is_taken() -> None:
    taking = of_split("timm.models.hiera.Hiera")
    for name in ("embed_patches", "embed", "forward_features"):
        assert "1 in mask is *keep*" in (ast.get_docstring(taking[name]) or "")


def test_naflexvits_patches_are_no_image_batch() -> None:
    text = ast.get_docstring(of_split("timm.models.naflexvit.NaFlexVit")["embed"]) or ""
    assert text.startswith("Turn `patches` into the tokens")
    assert "[B, N, P*P*C] for pre-patchified" in text


@pytest.mark.parametrize("file", sorted(GENERATED.glob("*.py")), ids=lambda file: file.stem)
def test_no_docstring_names_a_line_or_a_release(file) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    documented = (n for n in ast.walk(tree) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef))
    texts = [ast.get_docstring(node) or "" for node in documented]
    version = committed_manifest()["timm_version"]
    if file.name != "__init__.py":  # which is made for one release, and says so
        assert not [text for text in texts if re.search(rf"\bline \d|\.py:\d|{re.escape(version)}", text)]
