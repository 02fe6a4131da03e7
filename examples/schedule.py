"""Schedules over a run, as functions of how much of it is done: nothing to store, and nothing to resume."""

from __future__ import annotations

import math


def cosine(done: float, start: float, end: float) -> float:
    """Half a cosine from ``start`` to ``end``, for ``done`` between 0 and 1."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def linear(done: float, start: float, end: float) -> float:
    """A line from ``start`` to ``end``, which stays there when ``done`` is over 1."""
    return start + (end - start) * min(done, 1.0)


def warmup_cosine(done: float, peak: float, end: float, warmup: float) -> float:
    """From 0 to ``peak`` in the part ``warmup`` of a run, and on to ``end`` in half a cosine."""
    return linear(done / warmup, 0.0, peak) if done < warmup else cosine((done - warmup) / (1 - warmup), peak, end)
