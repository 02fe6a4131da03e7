"""The ``timm-split`` command: arguments in, text and exit codes out. The work is done elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from codegen.errors import TimmSplitError
from codegen.types import Outcome, Refusal


class _Group(click.Group):
    """Ends with one line and an exit code where something went wrong that the user can do something about."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TimmSplitError as error:
            click.echo(f"{click.style('error:', fg='red', bold=True)} {error}", err=True)
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(130)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="timm-split")
def main() -> None:
    """Give every timm backbone an explicit embed() and forward_stages().

    \b
    timm-split generate --timm-version 1.0.31   write the package generated/ for a timm release
    timm-split verify                           prove it, op for op, on every model that timm registers

    Exit codes: 0 all is well, 1 something failed or does not hold, 2 the arguments ask for what cannot be done.
    """


@main.command()
@click.option(
    "--timm-version",
    metavar="VERSION",
    help="The release: 1.0.31; 1.0.x, 1.0.* or latest for the newest that matches. Default: what --source holds, "
    "else the installed timm.",
)
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Read timm from here: a directory, a checkout, a wheel or an sdist. Default: the installed timm if it is that "
    "version, else a wheel that pip downloads once into a cache.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    default=Path("generated"),
    show_default=True,
    help="The package directory to write, whole or not at all.",
)
@click.option("--force", is_flag=True, help="Replace DIR even if it holds files that timm-split did not write.")
def generate(timm_version: str | None, source: Path | None, output: Path, force: bool) -> None:
    """Write the package of split classes for a timm release.

    The release is read, never imported. Each class whose forward_features can be cut where its embedding ends gets a
    subclass; each other class is reported with the line that stands in the way, and recorded in manifest.json.
    """
    # imported here so that --help answers at once
    from codegen.generate import generate as generate_package
    from codegen.release import find_release
    from codegen.writer import write_package

    release = find_release(timm_version, source, announce=lambda message: click.echo(message, err=True))
    package = generate_package(release)
    write_package(output, package.files, force=force)
    click.echo(f"timm {release.version} from {release.origin} -> {output}/")
    _report(package.outcomes)
    click.echo(f"Prove it: timm-split verify{'' if output == Path('generated') else f' --package {output}'}")


def _report(outcomes: Sequence[Outcome]) -> None:
    """Print what was split, what was refused, and why."""
    refused = [outcome for outcome in outcomes if isinstance(outcome.result, Refusal)]
    split = [outcome for outcome in outcomes if outcome not in refused]
    for what, color, some in (("split", "green", split), ("refused", "yellow", refused)):
        models = sum(len(outcome.models) for outcome in some)
        click.echo(f"{click.style(f'{what:>8}', fg=color)}  {len(some)} classes, {models} models")
    for outcome in refused:
        assert isinstance(outcome.result, Refusal)
        click.echo(f"          {outcome.name} ({len(outcome.models)} models)  {outcome.result.place}")
        click.echo(f"            {outcome.result.reason}")


@main.command()
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), metavar="N", help="Worker processes. Default: one for each processor."
)
@click.option(
    "--numeric", is_flag=True, help="Compare outputs and gradients too, bit for bit, for the smallest model of a class."
)
@click.option(
    "--package",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The package to prove. Default: generated here, else wherever Python finds it.",
)
@click.option("--json", type=click.Path(path_type=Path), metavar="FILE", help="Write the results to FILE as well.")
def verify(patterns: tuple[str, ...], jobs: int | None, numeric: bool, package: Path | None, json: Path | None) -> None:
    """Prove that split models compute what timm's do, op for op.

    For each name that timm registers and a PATTERN matches ("vit_*"), or for all of them, timm's forward_features and
    forward_stages(embed(x)) must run the same ATen ops on the same tensors, and be cut between stem and blocks.

    Exits with 1 if anything does not hold or could not be run, and with 2 if there is nothing to prove.
    """
    from codegen.proof.command import verify as verify_package  # imports torch and timm

    sys.exit(0 if verify_package(patterns, jobs, numeric, package, json) else 1)
