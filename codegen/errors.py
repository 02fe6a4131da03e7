"""What can go wrong, and the exit code that scripts see for it."""

from __future__ import annotations


class TimmSplitError(Exception):
    """A failure with one clear message: what happened, then what to do next."""

    exit_code = 1


class UsageError(TimmSplitError):
    """The arguments ask for something that cannot be done."""

    exit_code = 2
