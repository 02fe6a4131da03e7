"""The backbone that a user names, and the images that it takes."""

from __future__ import annotations

import difflib
from typing import Any

import timm.data
from data import InputError
from views import Size

import generated

Kwargs = tuple[tuple[str, Any], ...]


def create_backbone(
    model: str, kwargs: Kwargs, image_size: Size | None, **wanted: Any
) -> tuple[generated.SplitModel, Size]:
    """A split model, and height and width of the images that it is for.

    Args:
        model: Its name.
        kwargs: What the user gives it.
        image_size: Height and width of the images, if they are not to be what the model is made for.
        wanted: What else would be good for it; it gets as much of that as it takes.

    Raises:
        InputError: It cannot be created so.
    """
    given = dict(kwargs)
    asked = given.get("img_size")
    if image_size and asked not in (None, image_size) and (asked, asked) != image_size:
        raise InputError(f"--image-size {'x'.join(map(str, image_size))} and img_size={asked} contradict each other.")
    if image_size:
        wanted["img_size"] = image_size
    try:
        backbone = _create(model, wanted, given)
    except Exception as error:  # an unknown name, one that cannot be split, or arguments that do not go together
        close = difflib.get_close_matches(model, generated.list_models())
        hint = f". Close names: {', '.join(close)}" if close and model not in close else ""
        raise InputError(f"{model} cannot be created: {first_line(error)}{hint}.") from error
    own = timm.data.resolve_model_data_config(backbone)["input_size"][-2:]
    size = image_size or asked or own
    return backbone, (size, size) if isinstance(size, int) else (size[0], size[1])


def _create(model: str, wanted: dict[str, Any], given: dict[str, Any]) -> generated.SplitModel:
    wanted = {name: value for name, value in wanted.items() if name not in given}
    while True:
        try:
            return generated.create_model(model, **wanted, **given)
        except TypeError as error:  # it takes images of any size; or it fails once more, for another reason
            refused = [name for name in wanted if name in str(error)] or list(wanted)
            if not refused:
                raise
            del wanted[refused[0]]


def statistics_of(backbone: generated.SplitModel, kwargs: Kwargs) -> tuple[int, list[float], list[float]]:
    """How many channels the images of a model have, and the mean and the standard deviation of each."""
    config = timm.data.resolve_model_data_config(backbone)
    channels = dict(kwargs).get("in_chans", config["input_size"][0])
    statistics = [list(config[name]) for name in ("mean", "std")]
    if len(statistics[0]) != channels:  # those of colours say nothing of other channels
        statistics = [[sum(numbers) / len(numbers)] * channels for numbers in statistics]
    return channels, statistics[0], statistics[1]


def loads_weights(kwargs: Kwargs) -> bool:
    """Whether a backbone begins with weights of another training."""
    return any(value for name, value in kwargs if name in ("pretrained", "checkpoint_path"))


def first_line(error: Exception) -> str:
    """What an error says first, without a full stop."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
