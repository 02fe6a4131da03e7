"""Weights for a proof: random, and none of them hidden by what a constructor sets to zero."""

from __future__ import annotations

import torch
from torch import nn


def disturb(model: nn.Module) -> None:
    """Move all parameters a little: those that are zero at first, such as positions, hide what is done with them."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.add_(torch.randn_like(parameter), alpha=0.02)
