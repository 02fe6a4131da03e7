"""Names under which libraries hand on classes of torch."""

from __future__ import annotations

_BASES = ("mmcv.runner", "mmcv.runner.base_module", "mmengine.model", "mmengine.model.base_module")
_WRAPPERS = ("mmcv.cnn", "mmcv.cnn.bricks", "mmcv.cnn.bricks.wrappers")

TORCHS_BY_OTHER_NAMES = {
    # with weights that are initialised when they are asked to be
    **{f"{base}.{name}": f"torch.nn.{name}" for base in _BASES for name in ("Sequential", "ModuleList", "ModuleDict")},
    # which take empty batches
    **{
        f"{wrapper}.{name}": f"torch.nn.{name}"
        for wrapper in _WRAPPERS
        for name in ("Linear", "Conv2d", "Conv3d", "ConvTranspose2d", "ConvTranspose3d", "MaxPool2d", "MaxPool3d")
    },
}
