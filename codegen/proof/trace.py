"""What a forward pass does: every ATen op with its arguments, and every module that is entered.

A tensor is written as its identity in the dataflow, never as its values: what the model holds by its qualified name,
an input by its place, every other tensor by the order of its first appearance. Two passes are the same computation
exactly when their traces are equal, so this works on the ``meta`` device, where there are no values.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

Look = Callable[[str, bool], bool]
"""Whether the stack is wanted at an event, asked with its name and whether it is a module."""

# Frames of torch's and of ours say nothing about a model
_MACHINERY = (str(Path(torch.__file__).parent), str(Path(__file__).parent))


@dataclass(frozen=True)
class Line:
    """A line of a function that was being executed."""

    code: CodeType
    line: int


@dataclass(frozen=True)
class Event:
    """Something that a pass did with a named part of the model.

    Attributes:
        name: Qualified name of the module that was entered, or of the parameter or buffer that an op read.
        module: Whether it is a module.
        stack: Where that happened, outermost frame first, from ``forward_features`` inwards and without torch's
            own frames. Empty where the stack was not wanted.
    """

    name: str
    module: bool
    stack: tuple[Line, ...] = ()


@dataclass(frozen=True)
class Trace:
    """A recorded pass.

    Attributes:
        ops: Each ATen op as text, ``aten.mm.default(%1 (2, 8) (8, 1) torch.float32, head.weight ...) -> %2 ...``.
        events: Modules entered, and parameters and buffers read, in order.
        output: The structure of what the pass returned, with the tensors in it.
        cuts: Number of events at each call of :meth:`Recorder.cut`.
    """

    ops: tuple[str, ...]
    events: tuple[Event, ...]
    output: str
    cuts: tuple[int, ...] = ()

    def difference(self, other: Trace) -> str:
        """Say where ``other`` first departs from this trace: empty if it does not."""
        for i, (mine, its) in enumerate(zip(self.ops, other.ops)):  # noqa: B905 - the lengths are compared below
            if mine != its:
                return f"op {i} is {its}; timm's is {mine}"
        if len(self.ops) != len(other.ops):
            return f"{len(other.ops)} ops; timm's has {len(self.ops)}"
        if self.output != other.output:
            return f"returns {other.output}; timm's returns {self.output}"
        return ""


def nowhere(name: str, module: bool) -> bool:
    """Whether the stack is wanted at an event: it never is."""
    return False


class Recorder(TorchDispatchMode):
    """Records the pass that runs under it. Use :func:`record`.

    Args:
        model: Whose parameters, buffers and modules have names.
        inputs: What the pass is given.
        look: Whether the stack is wanted at an event, asked with its name and whether it is a module.
    """

    def __init__(self, model: nn.Module, inputs: Sequence[torch.Tensor], look: Look) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ops: list[str] = []
        self.events: list[Event] = []
        self.cuts: list[int] = []
        self._look = look
        self._modules = {id(module): name for name, module in model.named_modules() if name}
        self._labels: dict[int, str] = {}
        # A number that belongs to a tensor must not be given to another while the pass lasts, so all are kept alive.
        self._alive: list[torch.Tensor] = []
        for name, tensor in (*model.named_parameters(), *model.named_buffers(), *_attributes(model)):
            self._label(tensor, name)
        self._parts = set(self._labels)
        for number, tensor in enumerate(inputs):
            self._label(tensor, f"input {number}")

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        before = f"{func}({self.show(args, event=True)}, {self.show(kwargs, event=True)})"
        out = func(*args, **kwargs)
        self.ops.append(f"{before} -> {self.show(out)}")
        return out

    def cut(self) -> None:
        """Mark this point of the pass, as between ``embed`` and ``forward_stages``."""
        self.cuts.append(len(self.events))

    def enter(self, module: nn.Module, args: Any) -> None:
        """Take note of a module that is entered; a forward pre-hook."""
        name = self._modules.get(id(module))
        if name is not None:
            self._note(name, True)

    def show(self, value: Any, event: bool = False) -> str:
        """Write an argument or a result, numbering the tensors that were not seen before."""
        if isinstance(value, torch.Tensor):
            label = self._labels.get(id(value)) or self._label(value, f"%{len(self._labels)}")
            if event and id(value) in self._parts:
                self._note(label, False)
            return f"{label} {tuple(value.shape)} {value.stride()} {value.dtype}"
        if isinstance(value, (list, tuple)):
            kind = "" if type(value) in (list, tuple) else type(value).__qualname__
            left, right = "[]" if isinstance(value, list) else "()"
            return f"{kind}{left}{', '.join([self.show(item, event) for item in value])}{right}"
        if isinstance(value, dict):
            return f"{{{', '.join([f'{key}: {self.show(item, event)}' for key, item in value.items()])}}}"
        if isinstance(value, torch.Generator):
            return "Generator"  # its repr is an address
        return repr(value)

    def _label(self, tensor: torch.Tensor, label: str) -> str:
        self._alive.append(tensor)
        return self._labels.setdefault(id(tensor), label)

    def _note(self, name: str, module: bool) -> None:
        stack = tuple(reversed(list(_lines(sys._getframe(2))))) if self._look(name, module) else ()
        self.events.append(Event(name, module, stack))


def _lines(frame: FrameType | None) -> Iterator[Line]:
    """Lines from ``frame`` outwards, up to the function that :func:`record` was given."""
    while frame is not None and frame.f_code is not record.__code__:
        if not frame.f_code.co_filename.startswith(_MACHINERY):
            yield Line(frame.f_code, frame.f_lineno)
        frame = frame.f_back


def _attributes(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors that a module holds without having registered them."""
    for name, module in model.named_modules():
        for attribute, value in vars(module).items():
            if isinstance(value, torch.Tensor):
                yield f"{name}.{attribute}".lstrip("."), value


def record(
    model: nn.Module,
    run: Callable[[Recorder], Any],
    inputs: Sequence[torch.Tensor] = (),
    look: Look = nowhere,
) -> Trace:
    """Record what ``run`` does.

    Args:
        model: Whose parameters, buffers and modules have names.
        run: The pass. Gets the recorder, so that it can mark a point with :meth:`Recorder.cut`.
        inputs: Tensors that the pass is given. They are distinguished by their order here.
        look: Whether the stack is wanted at an event, asked with its name and whether it is a module.

    Returns:
        The trace.

    Raises:
        Exception: Whatever ``run`` raises.
    """
    recorder = Recorder(model, inputs, look)
    with torch.no_grad(), _hook(recorder), recorder:
        output = run(recorder)
    return Trace(tuple(recorder.ops), tuple(recorder.events), recorder.show(output), tuple(recorder.cuts))


@contextmanager
def _hook(recorder: Recorder) -> Iterator[None]:
    # One hook on all modules: containers and modules that several names share are seen too.
    handle = register_module_forward_pre_hook(recorder.enter)
    try:
        yield
    finally:
        handle.remove()
