"""Which functions of libraries change what they are given."""

import ast

import pytest
import torch
from torch.nn import functional as F

from codegen.model import purity
from codegen.model.purity import changed_arguments

IMAGES = torch.ones(1, 2, 4, 4)
CALLS = {
    "affine_grid": (torch.zeros(1, 2, 3), (1, 2, 4, 4)),
    "conv1d": (IMAGES[0], torch.ones(2, 4, 1)),
    "conv2d": (IMAGES, torch.ones(2, 2, 1, 1)),
    "conv3d": (IMAGES[:, None], torch.ones(2, 1, 1, 1, 1)),
    "fold": (torch.ones(1, 8, 4), (4, 4), 2, 1, 0, 2),
    "grid_sample": (IMAGES, torch.zeros(1, 4, 4, 2)),
    "group_norm": (IMAGES, 2),
    "interpolate": (IMAGES, 8),
    "layer_norm": (IMAGES, (4,)),
    "one_hot": (torch.tensor([1]),),
    "pad": (IMAGES, (1, 1)),
    "scaled_dot_product_attention": (IMAGES, IMAGES, IMAGES),
    "softmax": (IMAGES, 1),
    "unfold": (IMAGES, 2),
}


def changed(path, arguments):
    return changed_arguments(path, ast.parse(f"f({arguments})", mode="eval").body)


@pytest.mark.filterwarnings("ignore:Default grid_sample")
@pytest.mark.parametrize("path", sorted(purity._NEVER_IN_PLACE))
def test_what_never_works_in_place_takes_no_tensor_to_write_to(path):
    function, arguments = getattr(F, path.rpartition(".")[2]), CALLS[path.rpartition(".")[2]]
    function(*arguments)
    for name, value in {"out": torch.empty(0), "inplace": True, "max_norm": 1.0}.items():
        with pytest.raises(TypeError, match=f"'{name}'|invalid combination of arguments"):
            function(*arguments, **{name: value})


@pytest.mark.parametrize("name", ["linear", "gelu", "relu", "normalize", "dropout", "embedding"])
def test_options_that_are_not_in_sight_may_name_a_tensor_to_write_to(name):
    assert changed(f"torch.nn.functional.{name}", "x, **options")


def test_options_of_what_never_works_in_place_may_not():
    assert not changed("torch.nn.functional.interpolate", "x, **options")
