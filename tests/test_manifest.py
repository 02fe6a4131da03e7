"""The format of the manifest and of what the commands print as JSON: schema, documents and dataclasses agree."""

import ast
import json
import re
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path

import jsonschema
import pytest
from sources import CHECKOUT, GENERATED, committed_manifest, timm_release, write_timm

from codegen import manifest, types
from codegen.errors import UsageError
from codegen.generate import analyse, generate
from codegen.manifest import FORMAT, GENERATOR, MANIFEST, read_header, read_manifest, to_json
from codegen.reports import comparison, listing, showing
from codegen.source.release import find_release

SCHEMA = json.loads((CHECKOUT / "docs" / "manifest.schema.json").read_text(encoding="utf-8"))
TINY = """
class Tiny:
    def __init__(self):
        self.patch_embed = PatchEmbed()
        self.blocks = Sequential(*blocks)

    def forward_features(self, x):
        x = self.patch_embed(x)
        return self.blocks(x)
"""


def validate(content, definition: str) -> None:
    schema = {**SCHEMA, "anyOf": [{"$ref": f"#/$defs/{definition}"}]}
    jsonschema.validate(content, schema, jsonschema.Draft202012Validator)


@pytest.fixture(scope="module")
def timm():
    release = timm_release()
    return release, analyse(release)


@pytest.fixture(scope="module")
def user_models():
    return find_release(None, CHECKOUT / "tests" / "user_models")


# The schema


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_manifest_of_timm_is_as_the_schema_says():
    validate(committed_manifest(), "Manifest")


def test_the_manifest_of_user_models_is_as_the_schema_says(user_models):
    validate(json.loads(generate(user_models).files[MANIFEST]), "Manifest")


def test_a_manifest_without_a_timm_version_is_as_the_schema_says(tmp_path):
    (tmp_path / "mine.py").write_text(TINY)
    content = json.loads(generate(find_release(None, tmp_path / "mine.py")).files[MANIFEST])
    assert content["timm_version"] is None
    validate(content, "Manifest")


def test_a_list_is_as_the_schema_says_and_has_the_entries_of_the_manifest(timm):
    content = json.loads(listing.to_json(listing.list_classes(*timm)))
    validate(content, "ListDocument")
    assert content["classes"] == committed_manifest()["classes"]


def test_a_list_of_user_models_is_as_the_schema_says(user_models):
    content = json.loads(listing.to_json(listing.list_classes(user_models, analyse(user_models))))
    validate(content, "ListDocument")


@pytest.mark.parametrize("name", ["Eva", "Hiera", "VisionTransformerDistilled", "DeepseekVitClassifier", "DenseNet"])
def test_what_is_shown_is_as_the_schema_says_and_has_the_entry_of_the_manifest(timm, name):
    content = json.loads(showing.to_json(showing.show_class(*timm, name)))
    validate(content, "ShowDocument")
    ((path, entry),) = content["classes"].items()
    assert entry == committed_manifest()["classes"][path]


def test_a_comparison_is_as_the_schema_says(tmp_path):
    new = TINY.replace("x = self.patch_embed(x)", "x = self.norm(self.patch_embed(x))") + "\nclass Heir(Tiny): ...\n"
    old, new = (find_release(None, write_timm(tmp_path / text[:1], text)) for text in (TINY, f"#{new}"))
    content = json.loads(comparison.to_json(comparison.compare(old, analyse(old), new, analyse(new))))
    validate(content, "DiffDocument")
    assert {change["kind"] for change in content["changes"]} >= {"added", "boundary"}


@pytest.mark.parametrize("definition", SCHEMA["$defs"])
def test_the_schema_and_the_dataclass_have_the_same_keys(definition):
    modules = (manifest, types, listing, showing, comparison)
    found = next(getattr(module, definition) for module in modules if hasattr(module, definition))
    keys = {field.name.removesuffix("_"): field.default is MISSING for field in fields(found)}
    schema = SCHEMA["$defs"][definition]
    assert list(schema["properties"]) == list(keys)
    assert schema["required"] == [key for key, required in keys.items() if required]
    assert schema["additionalProperties"] is False


def test_every_key_is_documented():
    document = (CHECKOUT / "docs" / "manifest.md").read_text(encoding="utf-8")
    quoted = set(re.findall(r"`(\w+)`", document))
    assert {key for schema in SCHEMA["$defs"].values() for key in schema["properties"]} <= quoted


# Reading


def test_what_is_read_is_what_was_written():
    text = (GENERATED / MANIFEST).read_text(encoding="utf-8")
    assert to_json(read_manifest(GENERATED)) + "\n" == text


def with_manifest(directory: Path, **changes: object) -> Path:
    (directory / MANIFEST).write_text(json.dumps({**committed_manifest(), **changes}))
    return directory


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        (("files",), 3, "it.files is int and not list"),
        (("files",), [{}], "it.files[] is dict and not str"),
        (("classes",), [], "it.classes is list and not dict"),
        (("classes", "line"), "3", "it.classes.timm.models.eva.Eva.line is str and not int"),
        (("classes", "split", "position"), 1, "Eva.split.position is int and not bool"),
        (
            ("classes", "split", "embedding", "fields"),
            [{"name": "x"}],
            "Eva.split.embedding.fields[] has no 'annotation'",
        ),
        (("classes", "split", "patches"), {}, "Eva.split.patches has no 'class'"),
        (("classes", "split", "boundary"), None, "Eva.split.boundary is NoneType and not dict"),
    ],
)
def test_a_damaged_manifest_is_reported_with_the_place(tmp_path, path, value, what):
    content = json.loads((GENERATED / MANIFEST).read_bytes())
    parent = content if len(path) == 1 else content["classes"]["timm.models.eva.Eva"]
    for key in path[1:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    (tmp_path / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(UsageError, match=rf"{MANIFEST} is damaged \(.*{re.escape(what)}\): generate the package again"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", "[" * 100_000, "\udcff"])
def test_text_that_is_no_manifest_is_reported(tmp_path, text):
    (tmp_path / MANIFEST).write_bytes(text.encode(errors="surrogateescape"))
    for read in (read_header, read_manifest):
        with pytest.raises(UsageError, match=rf"{MANIFEST} is damaged"):
            read(tmp_path)


@pytest.mark.parametrize("number", [FORMAT - 1, FORMAT + 1])
def test_a_manifest_of_another_format_is_reported_and_its_header_read_all_the_same(tmp_path, number):
    with_manifest(tmp_path, format=number, classes="as it was, or will be")
    with pytest.raises(UsageError, match=rf"has format {number} and this timm-split reads format {FORMAT}: generate"):
        read_manifest(tmp_path)
    assert read_header(tmp_path).files == tuple(committed_manifest()["files"])


def test_a_manifest_of_another_generator_is_none(tmp_path):
    with_manifest(tmp_path, generator="other")
    with pytest.raises(UsageError, match=rf"{MANIFEST} was not written by timm-split"):
        read_header(tmp_path)


def test_a_directory_without_a_manifest_is_reported(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(UsageError, match="is not a package that timm-split generated"):
            read_header(path)


def test_the_build_reads_the_version_without_the_dependencies():
    code = "from codegen.version import distribution_version; print(distribution_version())"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{committed_manifest()['timm_version']}.post")


@pytest.mark.parametrize("word", [GENERATOR, MANIFEST])
def test_the_words_that_make_a_package_known_are_spelled_once(word):
    trees = {path: ast.parse(path.read_bytes()) for path in (CHECKOUT / "codegen").rglob("*.py")}
    constants = [
        (path, node) for path, tree in trees.items() for node in ast.walk(tree) if isinstance(node, ast.Constant)
    ]
    assert [path.name for path, node in constants if node.value == word] == ["manifest.py"]
