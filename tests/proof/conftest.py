"""A small generated package, written by hand, that is right about some names and wrong about others."""

import json
from pathlib import Path

import pytest
import timm

import generated
from codegen.manifest import FORMAT

INIT = '''
from timm.models.vision_transformer import VisionTransformer


class VisionTransformerSplit(VisionTransformer):
    def embed(self, x):
        return self._pos_embed(self.patch_embed(x))

    def forward_stages(self, x):
        return self.norm(self.blocks(self.norm_pre(self.patch_drop(x))))

    def forward_features(self, x):
        return self.forward_stages(self.embed(x))


class Early(VisionTransformerSplit):
    def embed(self, x):
        return self.patch_embed(x)

    def forward_stages(self, x):
        return super().forward_stages(self._pos_embed(x))


def split(model):
    model.__class__ = Early if len(model.blocks) > 6 and model.embed_dim == 64 else VisionTransformerSplit
    return model
'''

VIT = "timm.models.vision_transformer.VisionTransformer"
COMMITTED = json.loads((Path(generated.__file__).parent / "manifest.json").read_text(encoding="utf-8"))["classes"]


def manifest(**changes):
    """A manifest with the entry that the package here has for a class, and one with a refusal."""
    names = ["test_vit", "test_vit2", "test_vit4", "vit_tiny_patch16_224"]
    resnet = {key: value for key, value in COMMITTED["timm.models.resnet.ResNet"].items() if key != "split"}
    refused = {"file": resnet["file"], "line": resnet["line"], "reason": "it has no stem"}
    return {
        "generator": "timm-split",
        "format": FORMAT,
        "timm_version": timm.__version__,
        "files": [],
        "digests": {},
        "user_source": None,
        "classes": {
            VIT: {**COMMITTED[VIT], "models": names},
            "timm.models.resnet.ResNet": {**resnet, "models": ["test_resnet"], "refused": refused},
        },
        **changes,
    }


@pytest.fixture
def package(tmp_path) -> Path:
    directory = tmp_path / "handmade"
    directory.mkdir()
    (directory / "__init__.py").write_text(INIT)
    (directory / "manifest.json").write_text(json.dumps(manifest()))
    return directory
