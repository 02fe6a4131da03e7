# fmt: off
# ruff: noqa
"""Layout that a formatter would mend."""
from __future__ import annotations

import torch; from torch import nn


class Parts(nn.Module):
	def __init__(self):
		super().__init__()
		self.patch_embed = nn.Conv2d(3, 8, 4, 4); self.pos_embed = nn.Parameter(torch.randn(1, 4, 8))
		self.blocks = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])


class Tabs(Parts):
	"""Indented by tabs."""

	def forward_features(self, x: torch.Tensor):
		x = self.patch_embed(x).flatten(2).transpose(1, 2)
		mean = x.mean((1, 2), keepdim=True)
		x = x + self.pos_embed
		for block in self.blocks: x = block(x)
		x = x * mean
		return x


class TabsState(Parts):
	"""Indented by tabs, and an attribute carries a value."""

	def forward_features(self, x):
		x = self.patch_embed(x).flatten(2).transpose(1, 2); self.scale = float(x.mean())
		x = x + self.pos_embed
		for block in self.blocks:
			x = block(x)
		return x * self.scale


class Semicolons(Parts):
    """Two statements on a line, the boundary between them."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2); x = x + self.pos_embed; mean = x.mean((1, 2), keepdim=True)
        for block in self.blocks: x = block(x); x = x * mean
        return x;


class SemicolonBoundary(Parts):
    """The boundary and the first block share a line."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2); x = x + self.pos_embed; x = self.blocks[0](x)
        x = self.blocks[1](x); return x


class Continued(Parts):
    """Lines that go on."""

    def forward_features(self, x): # a comment
        # another
        """Not quite a docstring."""
        x = self.patch_embed(x) \
            .flatten(2) \
            .transpose(1, 2)
        x = x + \
            self.pos_embed
        # between the halves
        """A string between the halves."""
        for block \
                in self.blocks:
            # in the loop
            x = (
                block(x)  # in the call
            )
        # at the end
        return x
        # after the end


class OneLine(Parts):
    """The whole method is on one line."""

    def forward_features(self, x): x = self.patch_embed(x).flatten(2).transpose(1, 2); x = x + self.pos_embed; x = self.blocks[1](self.blocks[0](x)); return x


class Texts(Parts):
    """Texts of several lines keep their content."""

    def forward_features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        text = """a
  b
        c"""
        x = x * len(text)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x / len("""a
    b
            c""") * len(text)
        return x


class Hints(Parts):
    """Annotations name what is nowhere."""

    def forward_features(self, x: "Tensor", mask: Maybe[Tensor] = None) -> Nowhere:
        x: Tensor = self.patch_embed(x).flatten(2).transpose(1, 2)
        mean: Nowhere = x.mean((1, 2), keepdim=True)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = x * mean
        return x
