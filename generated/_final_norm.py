"""The norm that a model's head applies to its features, where ``forward_features`` leaves it to the head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ._leaves import leaves_of, with_leaves
from ._tokens import contiguous_gradient

Features = Any
"""What ``forward_stages`` gives: a tensor, (B, N, C), (B, H, W, C) or (B, C, H, W), or a dict or list of some."""


@dataclass(frozen=True)
class FinalNorm:
    """A norm of the head, which is to be applied to every token instead of the pooled ones.

    Attributes:
        name: Of the module, in the model: ``fc_norm``, ``head.norm``.
        leaf: Which tensor of the features it is for, counted through what holds them.
        channels_first: Whether that is (B, C, H, W).
        as_map: Whether the norm takes (B, C, 1, 1), else (B, C).
        ndim: Dimensions of such a map; 5 of a video's.
    """

    name: str
    leaf: int
    channels_first: bool
    as_map: bool
    ndim: int = 4

    def __call__(self, model: nn.Module, features: Features) -> Features:
        """Features of the same form, with each token normalised by itself."""
        leaves = leaves_of(features)
        x = contiguous_gradient(leaves[self.leaf]).movedim(1, -1) if self.channels_first else leaves[self.leaf]
        tokens = x.reshape(-1, x.shape[-1])
        norm = model.get_submodule(self.name)
        normed = norm(_mapped(tokens, self.ndim)).flatten(1) if self.as_map else norm(tokens)
        normed = normed.view(x.shape)
        leaves[self.leaf] = normed.movedim(-1, 1) if self.channels_first else normed
        return with_leaves(features, leaves)


def find_final_norm(model: nn.Module, features: Features, images: torch.Tensor) -> FinalNorm | None:
    """Find the norm that the head of a split model applies to pooled features.

    It is found by trying: the model is run on features that are alike at every place, so that pooling, of whatever
    kind, gives just one of them. The norm that is given it is the final norm. One that comes behind a projection or
    attention pooling is given something else, and belongs to the head. So does a batch norm, whose statistics are of
    pooled features.

    Args:
        model: The model, in eval mode.
        features: What its stages gave for ``images``.
        images: (B, C, H, W).

    Returns:
        The norm; ``None`` if the head has none.

    Raises:
        ValueError: The model fails on such features, so that the norm cannot be found.
    """
    if type(model).forward is nn.Module.forward:  # it has none, and so no head
        return None
    leaves = leaves_of(features)
    failures: list[Exception] = []
    worked = False
    for leaf, tokens in enumerate(leaves):
        if (
            not isinstance(tokens, torch.Tensor)
            or tokens.ndim not in (3, images.ndim)
            or not tokens.is_floating_point()
        ):
            continue
        for channels_first in (False, True) if tokens.ndim > 3 else (False,):
            channels, generator = tokens.shape[1 if channels_first else -1], torch.Generator().manual_seed(0)
            token = torch.randn(channels, generator=generator, device="cpu")
            if len(token) < 2:  # one channel is like every other
                continue
            token = token.to(tokens.device, tokens.dtype)
            alike = (_mapped(token[None], tokens.ndim)[0] if channels_first else token).expand_as(tokens)
            tried = with_leaves(features, [*leaves[:leaf], alike, *leaves[leaf + 1 :]])
            try:
                given = _given_to_norms(model, tried, images)
            except Exception as error:  # whatever the head's own code raises, for one where channels are not there
                failures.append(error)
                continue
            worked = True
            for name, x in given:
                if _is_all(x, token):
                    return FinalNorm(name, leaf, channels_first, as_map=False)
                if x.ndim == images.ndim and _is_all(x.movedim(1, -1), token):
                    return FinalNorm(name, leaf, channels_first, as_map=True, ndim=x.ndim)
    if failures and not worked:
        raise ValueError(
            f"the final norm of {type(model).__name__} is found by running its head, which fails "
            f"({type(failures[0]).__name__}: {failures[0]}): apply it yourself, with final_norm=False"
        ) from failures[0]
    return None


def _given_to_norms(model: nn.Module, features: Features, images: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
    """What a model gives its norms after ``forward_features``, if that returns these features."""
    given: list[tuple[str, torch.Tensor]] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, args, name=name: given.append((name, args[0])))
        for name, module in model.named_modules()
        if _is_norm(module)
    ]
    own = vars(model).get("forward_features")
    vars(model)["forward_features"] = lambda *args, **kwargs: features
    try:
        model(images)
    finally:
        del vars(model)["forward_features"]
        if own is not None:
            vars(model)["forward_features"] = own
        for hook in hooks:
            hook.remove()
    return given


def _mapped(tokens: torch.Tensor, ndim: int) -> torch.Tensor:
    """Tokens, (B, C), as maps of one place, (B, C, 1, 1)."""
    return tokens.view(*tokens.shape, *[1] * (ndim - 2))


def _is_norm(module: nn.Module) -> bool:
    """Whether a module normalises each token by itself. timm has norms of its own, and names them so."""
    named = "norm" in type(module).__name__.lower() and not any(True for _ in module.children())
    return named and not isinstance(module, nn.modules.batchnorm._BatchNorm)


def _is_all(x: torch.Tensor, token: torch.Tensor) -> bool:
    """Whether a tensor is one token at every place, (..., C), as far as pooling rounds."""
    if x.shape[-1] != len(token):
        return False
    if x.device.type == "meta":  # has no values: then it is what has these channels
        return True
    return torch.allclose(x.float(), token.float(), rtol=1e-2, atol=1e-2)
