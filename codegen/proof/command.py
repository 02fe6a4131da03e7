"""What ``timm-split verify`` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from codegen.errors import TimmSplitError, UsageError
from codegen.proof import generated_package as packages
from codegen.proof import report as reports


def verify(
    patterns: Sequence[str],
    jobs: int | None,
    numeric: bool,
    package: Path | None,
    json: Path | None,
    *,
    each_class: bool = False,
) -> bool:
    """Prove a package for the names that match, and print what holds.

    Args:
        patterns: Names, or patterns as of a shell; none for all that timm registers.
        jobs: Worker processes; None for one for each processor.
        numeric: Whether to compare numbers too.
        package: Directory of the package; None for ``generated``.
        json: File to write the results to as JSON.
        each_class: Whether one name of each class is enough, of those that match.

    Returns:
        Whether everything was run and holds.

    Raises:
        UsageError: The package, a name, or the place for the file is not there.
        TimmSplitError: The package cannot be imported, or the file not be written.
        KeyboardInterrupt: Ctrl-C; the worker processes have ended by then.
    """
    found = packages.find(package)
    if json is not None and not json.absolute().parent.is_dir():
        raise UsageError(f"{json} cannot be written: {json.absolute().parent} is not a directory")
    from codegen.proof import runner  # imports torch and timm, for which none of the above had to wait

    names = runner.select(patterns)
    if each_class:
        names = packages.one_of_each(found, names)
    with reports.progress() as progress:
        report = runner.verify(found, names, jobs or runner.cores(), numeric, progress)
    reports.show(report, reports.console())
    if json is not None:
        try:
            reports.write(report, json)
        except OSError as error:
            raise TimmSplitError(f"{json} cannot be written: {error.strerror}") from error
    return report.holds
