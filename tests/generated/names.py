"""One registered name of every split class of the package in this checkout, and what the classes can do."""

import json
from pathlib import Path

import pytest

import generated
from codegen.proof import generated_package as package

PACKAGE = package.find(Path(generated.__file__).parent)
NAMES = package.one_of_each(PACKAGE, [name for name, path in PACKAGE.classes.items() if path not in PACKAGE.refused])
# The smallest of their classes, and yet so large that each takes a tenth of a minute and more
LARGE = {
    *("deepseek_vit_412m", "deepseek_vit_412m_enc", "gemma4_vit_167m", "gemma4_vit_167m_enc", "legacy_senet154"),
    *("levit_512_s8", "mobilenetv5_300m", "mobilenetv5_300m_enc", "nasnetalarge", "pnasnet5large", "sequencer2d_s"),
    *("swin_s3_base_224",),
}
# All of them, the large ones for the exhaustive run alone
QUICK_NAMES = [pytest.param(name, marks=pytest.mark.exhaustive) if name in LARGE else name for name in NAMES]
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
