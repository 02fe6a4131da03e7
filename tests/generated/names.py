"""One registered name of every split class of the package in this checkout, and what the classes can do."""

import json
from pathlib import Path

import generated
from codegen.proof import generated_package as package

PACKAGE = package.find(Path(generated.__file__).parent)
NAMES = package.one_of_each(PACKAGE, [name for name, path in PACKAGE.classes.items() if path not in PACKAGE.refused])
CLASSES = json.loads((PACKAGE.directory / "manifest.json").read_text(encoding="utf-8"))["classes"]
# Full names of the classes that have embed_patches and embed_positions
PAIRED = {path for path, entry in CLASSES.items() if "split" in entry and "absent" not in entry["split"]["patches"]}
# Full names of the classes that have forward_stages_intermediates, of their own or from the split that they inherit
TAPPED = {
    path
    for path, entry in CLASSES.items()
    if "split" in entry and "statement" in CLASSES[entry["split"]["inherits"] or path]["split"].get("intermediates", {})
}

# Classes whose stages do not mind which patches there are, or drop units of them by themselves
DROPPING = {
    "Cait",
    "Eva",
    "Gemma4VitClassifier",
    "Gemma4VitEncoder",
    "Hiera",
    "NaFlexVit",
    "TNT",
    "VisionTransformer",
    "VisionTransformerDistilled",
}


def class_of(name: str) -> str:
    """The class that timm builds under a name."""
    return PACKAGE.classes[name].rpartition(".")[2]
