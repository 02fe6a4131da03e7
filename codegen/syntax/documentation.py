"""What a docstring says of each parameter, and of what is returned.

Read are Google's sections, and paragraphs that begin with the name of a parameter. Nothing else is assigned to a
parameter: it stays in the docstring as a whole.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence

_ARGUMENTS = re.compile(r"(?:(?:keyword |other )?(?:args|arguments|parameters|params)):\s*$", re.IGNORECASE)
_RETURNS = re.compile(r"returns?:\s*", re.IGNORECASE)
_NAMES = r"[*`]*(\w+(?:\s*,\s*[*`]*\w+)*)`*"
_ENTRY = re.compile(_NAMES + r"\s*(?:\(.*?\))?\s*:(?!:)")
_PARAGRAPH = re.compile(r"`*(\w+)`*\s+[A-Za-z(]")


def parameter_texts(docstring: str, names: Collection[str]) -> Mapping[str, tuple[str, ...]]:
    """The pieces of a docstring that describe each parameter, as they are written but for their indentation.

    Args:
        docstring: Without its indentation, as :func:`inspect.cleandoc` gives it.
        names: The parameters.

    Returns:
        For each parameter that is described, its entries (``x: Input tensor.``) and paragraphs in order.
    """
    found: dict[str, list[str]] = {}
    for heading, lines in _sections(docstring):
        if _ARGUMENTS.match(heading):
            pieces = _entries(lines)
        elif not heading:
            pieces = _paragraphs(lines)
        else:
            continue
        for mentioned, text in pieces:
            for name in mentioned:
                if name in names:
                    found.setdefault(name, []).append(text)
    return {name: tuple(texts) for name, texts in found.items()}


def returns_text(docstring: str) -> str:
    """What a docstring says of what is returned, empty if it has no such section."""
    texts = []
    for heading, lines in _sections(docstring):
        if match := _RETURNS.match(heading):
            texts.append("\n".join([heading[match.end() :], *_dedented(lines)]).strip("\n"))
    return "\n".join(texts)


def is_entry(text: str) -> bool:
    """Whether a piece of :func:`parameter_texts` may stand under ``Args:``, rather than as a paragraph."""
    return _ENTRY.match(text) is not None


def _sections(docstring: str) -> Iterator[tuple[str, list[str]]]:
    """Headings of the sections that are read, each with its lines; text under no such heading has an empty one."""
    heading, lines, flat = "", list[str](), False
    for line in docstring.split("\n"):
        starts = line[:1].strip() and (_ARGUMENTS.match(line) or _RETURNS.match(line))
        if starts:
            yield heading, lines
            heading, lines, flat = line, [], False
            continue
        if heading and not lines and line[:1].strip() and _ENTRY.match(line):
            flat = True  # a section whose lines are not indented: it ends where a blank line does
        ends = not line.strip() if flat else bool(line[:1].strip())
        if heading and ends:
            yield heading, lines
            heading, lines, flat = "", [], False
        lines.append(line)
    yield heading, lines


def _entries(lines: Sequence[str]) -> Iterator[tuple[list[str], str]]:
    """The entries of a section of parameters: the names that each begins with, and its text."""
    names: list[str] = []
    entry: list[str] = []
    for line in _dedented(lines):
        if match := _ENTRY.match(line):
            yield names, "\n".join(entry).rstrip()
            names, entry = re.findall(r"\w+", match[1]), []
        entry.append(line)
    yield names, "\n".join(entry).rstrip()


def _paragraphs(lines: Sequence[str]) -> Iterator[tuple[list[str], str]]:
    """The paragraphs that begin with a name, or hold entries; those that are indented, such as examples, do not."""
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
        if is_entry(paragraph):
            yield from _entries(paragraph.split("\n"))
        elif match := _PARAGRAPH.match(paragraph):
            yield [match[1]], paragraph.rstrip()


def _dedented(lines: Sequence[str]) -> list[str]:
    return textwrap.dedent("\n".join(lines)).strip("\n").split("\n")
