"""What the docstrings of a generated class say. The text on parameters is that of the model's author.

They name no lines of the source, which change with every release: the manifest and ``show`` do.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Sequence

from codegen.split.patches import NO_NEED
from codegen.syntax.documentation import is_entry, returns_text
from codegen.types import Absence, Intermediates, Parameter, Patches, Split

_INDENTATION = " " * 8
_WIDTH = 120 - len(_INDENTATION) - len('""""""')
# of images (B, C, H, W)
_SHAPES = {"": "", "NLC": " (B, N, C')", "NHWC": " (B, H', W', C')", "NCHW": " (B, C', H', W')"}
_OTHERS = ", and the other fields"
_INSIDE_STEM = (
    "Features that are made inside the stem cannot be had from an embedding: where `indices` ask for one, as the "
    "default of all does, it raises a ValueError."
)
_IMAGE_SIZE = "image_size: Height and width of the images, `images.shape[-2:]`."


def of_embedding(split: Split) -> str:
    """The docstring of the ``NamedTuple`` that ``embed`` returns."""
    return f"What embed() returns. Mask the {_tokens(split)} with `embedding._replace({split.tokens}=masked)`."


def of_patches(patches: Patches) -> str:
    """The docstring of the ``NamedTuple`` that ``embed_patches`` returns."""
    replaced = f"`patches._replace({patches.tokens}=replaced)`"
    return f"What embed_patches() returns. Replace {_patches(patches)} with {replaced}."


def of_embed_patches(split: Split, patches: Patches) -> str:
    """The docstring of ``embed_patches``."""
    without = "positions" if split.position else "prefix tokens"
    summary = f"Turn {_images(split)} into {_patches(patches)} without {without}{_OTHERS if patches.record else ''}."
    return _composed(summary, _images(split), patches.embed_patches.parameters)


def of_embed_positions(split: Split, patches: Patches, entry: Parameter) -> str:
    """The docstring of ``embed_positions``, whose first parameter is ``entry``."""
    added = "their positions, and prefix tokens if there are any" if split.position else "the prefix tokens"
    summary = f"Give {_patches(patches)} {added}."
    return _composed(summary, "what embed_patches() returns", (entry, *patches.embed_positions.parameters))


def of_embed(split: Split) -> str:
    """The docstring of ``embed``."""
    others = _OTHERS if split.embedding else ""
    summary = f"Turn {_images(split)} into the {_tokens(split)} that enter the stages{others}."
    return _composed(summary, _images(split), split.embed.parameters)


def of_forward_stages(split: Split, entry: Parameter) -> str:
    """The docstring of ``forward_stages``, whose first parameter is ``entry``."""
    taken = "what embed() returns" if split.embedding else f"the {_tokens(split)} that embed() returns"
    parameters = (entry, *split.forward_stages.parameters)
    return _composed(f"Run the stages on {taken}.", taken, parameters, returns_text(split.docstring))


def of_intermediates(split: Split, intermediates: Intermediates, entry: Parameter) -> str:
    """The docstring of ``forward_stages_intermediates``, whose first parameter is ``entry``."""
    taken = "what embed() returns" if split.embedding else f"the {_tokens(split)} that embed() returns"
    size = (Parameter("", "", texts=(_IMAGE_SIZE,)),) if intermediates.image_size else ()
    summary = f"Run the stages on {taken}, and give their intermediate features."
    note = (Parameter("", "", texts=(textwrap.fill(_INSIDE_STEM, _WIDTH),)),) if intermediates.inside_stem else ()
    parameters = (entry, *note, *size, *intermediates.stages.parameters)
    return _composed(summary, taken, parameters, returns_text(intermediates.docstring))


def of_forward_features(split: Split, name: str) -> str:
    """The docstring of ``forward_features`` of a class: the author's, whole, if there is one."""
    summary = f"Turn {_images(split)} into features, as {name} does."
    return split.docstring or _composed(summary, _images(split), split.forward_features)


def literal(text: str) -> str:
    """A docstring as Python, to stand in a method.

    Returns:
        A literal whose first line is not indented; :func:`inspect.cleandoc` makes the text of its value.
    """
    first, *others = text.split("\n")
    deeper = bool(others) and all(line[:1] in ("", " ") for line in others)  # than the first, which would be lost
    if deeper or len(first) > _WIDTH:
        first, others = "", [first, *others]
    if others:
        text = "\n".join([first, *(f"{_INDENTATION}{line}".rstrip() for line in others), _INDENTATION])
    plain = f'r"""{text}"""' if "\\" in text else f'"""{text}"""'
    return plain if _means(plain, text) else f'"""{_escaped(text)}"""'


def _images(split: Split) -> str:
    return "images (B, C, H, W)" if split.image_batch else f"`{split.forward_features[0].name}`"


def _tokens(split: Split) -> str:
    """What ``embed`` returns: tokens, or the feature maps of a convolutional stem."""
    noun = "tokens"
    bare = isinstance(split.patches, Absence) and split.patches.reason == NO_NEED
    if bare and split.layout in ("", "NCHW"):
        is_patches = all("patch" in attribute for attribute in split.boundary.stem)
        noun = "patch embeddings" if is_patches else "stem features"
    return noun + _SHAPES[split.layout]


def _patches(patches: Patches) -> str:
    return f"patch embeddings{_SHAPES[patches.layout]}"


def _composed(summary: str, first: str, parameters: Sequence[Parameter], returns: str = "") -> str:
    """A docstring in Google's style.

    Args:
        summary: One sentence.
        first: What the first parameter is, in case its author does not say it.
        parameters: Of the method, with their texts.
        returns: What is returned, in the author's words.
    """
    texts = list(dict.fromkeys(text for parameter in parameters for text in parameter.texts))
    entries = [text for text in texts if is_entry(text)]
    if entries and not parameters[0].texts:
        entries.insert(0, f"{parameters[0].name}: {first[0].upper()}{first[1:]}.")
    parts = [textwrap.fill(summary, _WIDTH), *(text for text in texts if not is_entry(text))]
    for heading, lines in (("Args", entries), ("Returns", [returns] if returns else [])):
        if lines:
            parts.append(f"{heading}:\n" + textwrap.indent("\n".join(lines), "    "))
    return "\n\n".join(parts)


def _means(candidate: str, text: str) -> bool:
    """Whether a literal has a value, and shows each character of it."""
    if not all(character.isprintable() or character == "\n" for character in text):
        return False
    try:
        return bool(ast.literal_eval(candidate) == text)
    except SyntaxError:
        return False


def _escaped(text: str) -> str:
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
