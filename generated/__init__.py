"""timm 1.0.31 with an explicit boundary between embedding and stages.

Every model class ``C`` that could be split has a subclass ``CSplit`` in the module here that is named as timm's
(``vision_transformer`` is shortened to ``vit``). It adds methods and nothing else::

    embedding = model.embed(images)
    features = model.forward_stages(embedding)  # what model.forward_features(images) gives, op for op

    patches = model.embed_patches(images)  # where position or prefix tokens follow in a statement of their own
    embedding = model.embed_positions(patches)  # what model.embed(images) gives, op for op

``manifest.json`` records where each class was cut, or why it was not.
"""

import timm

from . import _manifest
from ._check import CheckError, check
from ._factory import create_model, list_models
from ._split import SplitModel, split

__all__ = ["__timm_version__", "CheckError", "SplitModel", "check", "create_model", "list_models", "split"]

__timm_version__ = "1.0.31"

if timm.__version__ != __timm_version__:
    raise ImportError(_manifest.version_mismatch(__timm_version__, timm.__version__))


def __dir__() -> list[str]:
    return sorted(__all__)
