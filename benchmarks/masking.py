"""What an encoder step of MAE costs, against the same model on all tokens, and against lightly's.

    pip install lightly
    python benchmarks/masking.py [--model vit_base_patch16_224] [--batch 8] [--rounds 9] [--ratio 0.75]

A step is the drawing of a mask, the forward pass and the backward pass of the encoder. They take turns on the same
model and images, each of them as often at each place of the turn; lightly's twice, which shows the noise. Printed are
medians, and medians of the ratios within a round. That ours and lightly's compute the same numbers from the same mask
is checked first.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from lightly.models.modules import MaskedVisionTransformerTIMM
from lightly.models.utils import random_token_mask
from torch import nn

import generated
from generated.masking import MaskedImageModel, drop, random_mask


def seconds(model: nn.Module, forward: Callable[[], torch.Tensor]) -> float:
    """How long a forward and a backward pass take."""
    model.zero_grad(set_to_none=True)
    start = time.perf_counter()
    forward().square().mean().backward()
    return time.perf_counter() - start


def difference(ours: MaskedImageModel, theirs: MaskedVisionTransformerTIMM, images: torch.Tensor) -> float:
    """The greatest difference between the features of the two, for one mask."""
    mask = random_mask(len(images), ours.grid(images.shape[2:]), ours.mask_ratio)
    with torch.no_grad():
        visible = drop(ours.layout, ours.backbone.embed(images), mask).visible
        prefix = torch.arange(ours.layout.streams[0].prefix).expand(len(images), -1)
        keep = torch.cat([prefix, visible + prefix.shape[1]], dim=1)
        return float((ours(images, mask).features - theirs.encode(images, idx_keep=keep)).abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_base_patch16_224")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--ratio", type=float, default=0.75)
    arguments = parser.parse_args()

    torch.manual_seed(0)
    backbone = generated.create_model(arguments.model)
    ours = MaskedImageModel(backbone, mask_ratio=arguments.ratio, strategy="drop")
    theirs = MaskedVisionTransformerTIMM(backbone, weight_initialization="skip", pos_embed_initialization="skip")
    images = torch.randn(arguments.batch, 3, *ours.layout.streams[0].image_size)

    def lightly() -> torch.Tensor:
        keep, _ = random_token_mask((arguments.batch, theirs.sequence_length), mask_ratio=arguments.ratio)
        return theirs.encode(images, idx_keep=keep)

    steps = {
        "all tokens": (backbone, lambda: backbone.forward_features(images)),
        "masked, ours": (ours, lambda: ours(images).features),
        "masked, lightly's": (theirs, lightly),
        "lightly's again": (theirs, lightly),
    }
    print(f"{arguments.model}, batch {arguments.batch}, mask ratio {arguments.ratio}, torch {torch.__version__}")
    print(f"greatest difference to lightly's features: {difference(ours, theirs, images):.1e}")
    for step in steps.values():
        seconds(*step)
    rounds = []
    for number in range(arguments.rounds):  # each of them comes first, second and last as often
        names = sorted(steps, key=lambda name: (list(steps).index(name) + number) % len(steps))
        rounds.append({name: seconds(*steps[name]) for name in names})
    for name in steps:
        print(f"{name:18} {statistics.median(r[name] for r in rounds):.3f} s")
    for other, target in (("all tokens", 0.4), ("masked, lightly's", 1.0)):
        ratio = statistics.median(r["masked, ours"] / r[other] for r in rounds)
        print(f"ours / {other:18} {ratio:.2f}  (at most {target})")
    noise = sorted(r["lightly's again"] / r["masked, lightly's"] for r in rounds)
    print(f"noise, lightly's again / lightly's: {statistics.median(noise):.2f}, from {noise[0]:.2f} to {noise[-1]:.2f}")


if __name__ == "__main__":
    main()
