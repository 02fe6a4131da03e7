"""Checkpoints that are written whole or not at all, and from which a run goes on as if it had never stopped."""

from __future__ import annotations

import os
import random
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
import torch.distributed as dist
from data import InputError
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to write, which takes the place of ``path`` only once all of it is on the disk.

    Raises:
        InputError: It cannot be written, for want of space or of permission; what was there before is whole.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__  # torch.save reports it as another error
        if not isinstance(cause, OSError):
            raise
        reason = cause.strerror or cause
        raise InputError(f"{path} cannot be written ({reason}). What was there before is whole.") from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what ``replacing`` had not finished when its process was killed."""
    for path in folder.iterdir():
        if re.fullmatch(r"\..+\.(pt|safetensors|png|txt|json)\.\d+", path.name) and path.is_file():
            path.unlink()


def save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, **state: Any) -> dict[str, Any]:
    """Write a checkpoint. Each process has to call it; the first one writes.

    The state is complete and named by the bare model, so DDP, FSDP2 and a single process read each other's.

    Returns:
        The state that was written, complete in the first process only.
    """
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state["model"], state["optimizer"] = get_state_dict(model, optimizer, options=options)
    state["random"] = [None] * dist.get_world_size()
    dist.all_gather_object(state["random"], _random_state())
    if dist.get_rank() == 0:
        with replacing(path) as file:
            torch.save(state, file)
    dist.barrier()  # nobody runs ahead, or exits, while the first process writes
    return state


def weights_of(model: nn.Module) -> dict[str, Any]:
    """All weights by their names in the bare model, on the CPU; in the first process only. Each has to call it."""
    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint, onto the CPU.

    Raises:
        InputError: It is not one, or not all of it is as it was written: torch compares no checksums when it reads.
    """
    try:
        with zipfile.ZipFile(path) as parts:
            damaged = parts.testzip()
        if damaged is not None:
            raise ValueError(f"its part {damaged} is damaged")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        missing = {"model", "optimizer", "random"} - set(state)
    except Exception as error:  # a damaged file fails anywhere in the zip or pickle reader
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path} cannot be read as a checkpoint ({reason}). Resume from another, or start anew."
        ) from error
    if missing:
        raise InputError(f"{path} is no checkpoint of this script: it lacks {', '.join(sorted(missing))}.")
    return state


def restore(state: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put weights, optimizer and random numbers back to where ``save`` found them."""
    options = StateDictOptions(full_state_dict=True)
    set_state_dict(
        model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"], options=options
    )
    if dist.get_rank() < len(state["random"]):
        _set_random_state(state["random"][dist.get_rank()])


def _random_state() -> dict[str, Any]:
    """The states of all random number generators, as tensors and plain values."""
    numpy = np.random.get_state()
    assert isinstance(numpy, tuple)  # a dict is what legacy=False gives
    name, key, *rest = numpy
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(key.astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def _set_random_state(state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    name, key, *rest = state["numpy"]
    np.random.set_state((name, key.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
