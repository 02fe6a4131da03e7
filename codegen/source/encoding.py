"""The bytes of a source file -> its text, as Python reads it."""

from __future__ import annotations

import io
import tokenize

from codegen.errors import TimmSplitError


def decode(data: bytes, place: str) -> str:
    r"""Decode a file by its encoding cookie, with any line end as ``\n``.

    Args:
        data: The file.
        place: What to call it in a message.

    Raises:
        TimmSplitError: If Python could not read it.
    """
    if b"\0" in data:
        raise TimmSplitError(f"{place} is not text that python reads (it has null bytes): name other source")
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
    except (SyntaxError, UnicodeError, LookupError) as error:
        raise TimmSplitError(f"{place} is not text that python reads ({error}): name other source") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")
