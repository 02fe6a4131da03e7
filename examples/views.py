"""Random views of an image: crops that a method is given, as normalised tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms import v2

Size = tuple[int, int]


class OneView:
    """A random crop, mirrored half of the time: (C, H, W), normalised.

    Args:
        size: Height and width.
        mean: Of each channel.
        std: Of each channel.
        scale: Least and greatest part of the area.
        flip: Whether to mirror.
    """

    def __init__(
        self, size: Size, mean: Sequence[float], std: Sequence[float], *, scale: tuple[float, float], flip: bool
    ) -> None:
        crop = v2.RandomResizedCrop(size, scale=scale, interpolation=v2.InterpolationMode.BICUBIC, antialias=True)
        mirror = [v2.RandomHorizontalFlip()] if flip else []
        self.crop = v2.Compose([crop, *mirror, v2.ToDtype(torch.float32, scale=True)])
        self.normalise = v2.Normalize(list(mean), list(std))

    def __call__(self, image: Tensor) -> tuple[Tensor, ...]:
        """An image, (C, h, w), to its views."""
        return (self.normalise(self.crop(image)),)


class Crops:
    """DINO's crops, https://arxiv.org/abs/2104.14294: two of most of an image, and some small ones of a small part.

    Colours are changed where there are three channels; the first global crop is blurred, the
    second sometimes blurred or solarised, the local ones half of the time blurred.

    Args:
        size: Of the global crops.
        local_size: Of the others.
        number: Of local crops.
        scales: Of the area of global and of local crops.
        flip: Whether to mirror.
        distort: Whether to change colours, blur and solarise, which leaves little of pictures of a few pixels.
    """

    def __init__(
        self,
        size: Size,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        local_size: Size,
        number: int,
        scales: tuple[tuple[float, float], tuple[float, float]],
        flip: bool,
        distort: bool = True,
    ) -> None:
        colour = [
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
            v2.RandomGrayscale(p=0.2),
        ]
        blur = v2.GaussianBlur(kernel_size=max(3, size[0] // 20 * 2 + 1), sigma=(0.1, 2.0))
        solarise = v2.RandomSolarize(threshold=0.5, p=0.2)
        after = [[blur], [v2.RandomApply([blur], p=0.1), solarise], *[[v2.RandomApply([blur], p=0.5)]] * number]
        shapes = [(size, scales[0])] * 2 + [(local_size, scales[1])] * number
        colours = colour if len(mean) == 3 else []
        self.crops = []
        for (shape, scale), last in zip(shapes, after, strict=True):
            crop = OneView(shape, mean, std, scale=scale, flip=flip).crop
            distortions = [*colours, *last] if distort else []
            self.crops.append(v2.Compose([crop, *distortions, v2.Normalize(list(mean), std)]))

    def __call__(self, image: Tensor) -> tuple[Tensor, ...]:
        """An image, (C, h, w), to its views, the global ones first."""
        return tuple(crop(image) for crop in self.crops)
