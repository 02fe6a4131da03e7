"""Drops masked patches, as MAE does, and their part of the other fields."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn

from ._tokens import TokenLayout, change_tensors, fields_of


class Dropped(NamedTuple):
    """An embedding without its masked patches.

    Attributes:
        embedding: For ``forward_stages``: of the patches the visible ones alone, in row-major order.
        visible: (B, n), int64, the patches that are visible.
        restore: (B, N), int64. What is in the order of visible patches, then masked ones, is put in the order of the
            grid by ``x.gather(1, restore.unsqueeze(-1).expand_as(x))``.
    """

    embedding: Any
    visible: torch.Tensor
    restore: torch.Tensor


def visible_first(mask: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The ``count`` visible patches of each row of a mask, (B, count), and the way back, (B, N)."""
    places = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    order = (mask * mask.shape[1] + places).argsort(dim=1)  # all different: ONNX has no stable sort
    return order[:, :count], torch.empty_like(order).scatter(1, order, places)


def keep(layout: TokenLayout, embedding: Any, visible: torch.Tensor) -> Any:
    """An embedding with the patches ``visible``, (B, n), alone."""
    (stream,), (tokens,) = layout.streams, layout.tokens(embedding)
    batch, count = tokens.shape[0], stream.count(tokens)
    rows = visible + stream.prefix
    if stream.prefix:
        prefix = torch.arange(stream.prefix, device=rows.device).expand(batch, -1)
        rows = torch.cat([prefix, rows], dim=1)
    kept = layout.with_tokens(embedding, [tokens.gather(1, rows.unsqueeze(-1).expand(-1, -1, tokens.shape[2]))])
    index = {count: visible, count + stream.prefix: rows}

    def select(name: str, field: torch.Tensor) -> torch.Tensor:
        if name in layout.content:
            return _content(field, visible, count)
        is_mask = name in layout.attention_masks
        return _select(field, index, batch, layout.is_batched(name, field), is_mask=is_mask)

    fields = {name: change_tensors(name, field, select) for name, field in fields_of(embedding).items()}
    return kept._replace(**fields) if fields else kept


def _content(field: torch.Tensor, visible: torch.Tensor, count: int) -> torch.Tensor:
    """The rows of the visible patches in (B * N, ...)."""
    start = torch.arange(len(visible), device=visible.device).unsqueeze(1) * count
    return field[(start + visible).flatten()]


def _select(
    field: torch.Tensor, index: dict[int, torch.Tensor], batch: int, batched: bool | None, *, is_mask: bool
) -> torch.Tensor:
    """The part of another field that belongs to the tokens that remain.

    Args:
        field: Its next to last dimension may count patches, or tokens.
        index: By the number of patches or tokens which of them remain, (B, n).
        batch: B.
        batched: Whether the first dimension of the tensor is the batch; ``None`` if that shows in its size.
        is_mask: Whether it is a mask of attention, whose last dimension counts keys; that of others counts channels.
    """
    if field.ndim < 2:
        return field
    if batched is None:
        batched = field.shape[0] == batch
    if field.ndim == 2 and batched:  # (B, N)
        rows = index.get(field.shape[1])
        return field if rows is None else field.gather(1, rows)
    rows = index.get(field.shape[-2])
    if rows is not None:
        if not batched:  # (..., heads, N, D), and (N, D) for all heads, becomes (..., B, heads, n, D)
            field = field.unsqueeze(0) if field.ndim == 2 else field
            field = field.unsqueeze(-4).expand(*field.shape[:-3], batch, *field.shape[-3:])
            at = rows.view(batch, 1, -1, 1)
        else:
            at = rows.view(batch, *[1] * (field.ndim - 3), -1, 1)
        field = field.gather(-2, at.expand(*field.shape[:-2], rows.shape[1], field.shape[-1]))
        batched = batched or field.ndim == 4
    columns = index.get(field.shape[-1])
    if columns is not None and is_mask:  # (B, heads, queries, keys)
        at = columns.view(batch, *[1] * (field.ndim - 2), -1)
        field = field.gather(-1, at.expand(*field.shape[:-1], columns.shape[1]))
    return field


def check_drops_none(model: nn.Module) -> None:
    """Refuse a model in training that drops patches at random itself (``patch_drop_rate``, as FLIP, arXiv 2212.00794).

    It would drop and reorder them once more, and a mask would be of other patches than those that are there.

    Raises:
        ValueError: It does so, and how to stop it.
    """
    for name, module in model.named_modules():
        dropout = any(cls.__name__.startswith("PatchDropout") for cls in type(module).__mro__)
        rate = getattr(module, "prob", 0.0) if dropout else getattr(module, "patch_drop_rate", 0.0)
        if module.training and isinstance(rate, (int, float)) and rate > 0:
            where = ".".join(part for part in ("backbone", name, "prob" if dropout else "patch_drop_rate") if part)
            raise ValueError(
                f"{type(model).__name__} drops patches itself in training, so that a mask would no longer be of the "
                f"patches that are there: make it with patch_drop_rate=0, or set model.{where} = 0.0"
            )
