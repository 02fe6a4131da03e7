"""The ``timm-split`` command: arguments in, text and exit codes out. The work is done elsewhere."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from codegen.errors import TimmSplitError, UsageError
from codegen.manifest import GENERATOR
from codegen.types import METHOD, Inherited, Outcome, Refusal, Release


class _Group(click.Group):
    """Reports errors that a user can correct in one line, with their exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TimmSplitError as error:
            click.echo(f"{click.style('error:', fg='red', bold=True)} {error}", err=True)
            sys.exit(error.exit_code)
        except (RecursionError, MemoryError) as error:
            what = "nested too deeply" if isinstance(error, RecursionError) else "too large for this machine"
            click.echo(f"{click.style('error:', fg='red', bold=True)} the source is {what} to be read", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(130)


def _once(ctx: click.Context, option: click.Parameter, values: tuple[Path, ...]) -> Path | None:
    """The value of an option that would otherwise drop all but its last."""
    if len(values) > 1:
        raise UsageError("--source is given more than once: name one directory that holds all of them")
    return values[0] if values else None


_trusting = click.option(
    "--trust-decorator",
    "trusted",
    multiple=True,
    metavar="NAME",
    help="Take this decorator of classes, which cannot be read, for one that returns the class as it is: "
    "MODELS.register_module, as it is written. Can be given several times.",
)


def _named(ctx: click.Context, option: click.Parameter, method: str) -> str:
    """A name that a method may have which is split."""
    if not method.isidentifier() or method.startswith("__") or method in _GENERATED:
        raise UsageError(f"--method {method}: name a method of your models, such as forward or encode")
    return method


_GENERATED = ("embed", "forward_stages", "embed_patches", "embed_positions")
_method = click.option(
    "--method",
    default=METHOD,
    show_default=True,
    callback=_named,
    metavar="NAME",
    help="Split this method of your own models instead, such as forward or encode.",
)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name=GENERATOR)
def main() -> None:
    """Give every timm backbone an explicit embed() and forward_stages().

    \b
    timm-split generate --timm-version 1.0.31   write the package generated/ for a timm release
    timm-split verify                           prove it, op for op, on every model that timm registers
    timm-split list                             the classes of a release, and where each is split
    timm-split show Eva                         timm's source with the boundary in it, and why it is there
    timm-split diff 1.0.30 1.0.31               what an upgrade changes

    Exit codes: 0 success, 1 something failed or does not hold, 2 the arguments are wrong.
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
    multiple=True,
    callback=_once,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Read timm from here: a directory, a checkout, a wheel or an sdist. Default: the installed timm if it is that "
    "version, else a wheel that pip downloads once into a cache. Or a file or directory of your own models.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    show_default="generated",
    help="The package directory to write, whole or not at all. Required for your own models.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Replace DIR even if it holds files that timm-split did not write, or that were edited since.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing; exit with 1 and a short diff if DIR is not what would be generated now.",
)
@_trusting
@_method
def generate(
    timm_version: str | None,
    source: Path | None,
    output: Path | None,
    force: bool,
    check: bool,
    trusted: tuple[str, ...],
    method: str,
) -> None:
    """Write the package of split classes for a timm release, or for your own models.

    The source is read, never imported. Each class whose forward_features can be cut where its embedding ends gets a
    subclass; each other class is reported with the line that stands in the way, and recorded in the manifest.

    \b
    Your own models: timm-split generate --source my_model.py --output my_splits

    This splits each class in that file or directory that has a forward_features, whether or not it derives from one of
    timm's. Module names count from the first parent directory that is not a package: my_model, or my_models.vit. What
    the files import of timm is read from --timm-version, else from the installed timm, and the package can be imported
    under that version only. If they do not import timm, the package does not need it.
    """
    # imported here so that --help answers at once
    from codegen.generate import generate as generate_package
    from codegen.package.naming import check_package_name
    from codegen.package.writer import write_package

    release = _found(timm_version, source, trusted, method)
    if release.user_files and output is None:
        raise UsageError("user models need a package of their own: name its directory with --output")
    output = output or Path("generated")
    check_package_name(output, release)
    package = generate_package(release, keep_trees=True)
    if check:
        _check(output, package.files, release.version)
        return
    write_package(output, package.files, force=force)
    if release.user_files:
        click.echo(f"{release.origin}{f', on timm {release.version}' if release.version else ''} -> {output}/")
        _report_user_models(package.outcomes)
        return
    click.echo(f"timm {release.version} from {release.origin} -> {output}/")
    _report(package.outcomes)
    click.echo(f"Prove it: timm-split verify{'' if output == Path('generated') else f' --package {output}'}")


_DIFF_LINES = 60


def _check(output: Path, files: Mapping[str, str], version: str) -> None:
    """Compare a directory with what would be written there: print a line if they agree, else a diff and fail."""
    from codegen.package.writer import differences, edited, listed

    lines = differences(output, files)
    if not lines:
        click.echo(f"{output}/ is what is generated from {f'timm {version}' if version else 'these models'}")
        return
    colors = {"+": "green", "-": "red", "@": "cyan"}
    for line in lines[:_DIFF_LINES]:
        click.secho(line, fg=colors.get(line[:1]), bold=line.startswith(("--- ", "+++ ")))
    if len(lines) > _DIFF_LINES:
        click.echo(f"... and {len(lines) - _DIFF_LINES} more lines")
    if by_hand := edited(output):
        raise TimmSplitError(
            f"{output} is not what would be generated now, for {listed(by_hand)} was edited by hand: "
            "move the changes to a file of your own, and write it again with --force"
        )
    raise TimmSplitError(f"{output} is not what would be generated now: write it again without --check")


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


def _report_user_models(outcomes: Sequence[Outcome]) -> None:
    """Print what became of each user model, and of the timm classes that they inherit from."""
    for outcome in outcomes:
        result = outcome.result
        if isinstance(result, Refusal):
            click.echo(f"{click.style(' refused', fg='yellow')}  {outcome.name}  {result.place}  {result.reason}")
        elif isinstance(result, Inherited):
            click.echo(f"{click.style('   split', fg='green')}  {outcome.name}  inherits from {result.parent}")
        else:
            after = f"after {result.boundary.place}  {result.boundary.statement}"
            click.echo(f"{click.style('   split', fg='green')}  {outcome.name}  {after}")


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
@click.option("--each-class", is_flag=True, help="Prove one name of each class only, preferably a small model.")
@click.option("--json", type=click.Path(path_type=Path), metavar="FILE", help="Write the results to FILE as well.")
@click.option(
    "--timm-version",
    metavar="VERSION",
    help="Prove this release instead, side by side with the installed one: its package is generated into a temporary "
    "directory, and the release itself imported from its wheel.",
)
@click.option(
    "--source",
    multiple=True,
    callback=_once,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Where to read the release to prove, as for generate; or your own models: those that can be built without "
    "arguments are built, split and checked.",
)
@_trusting
@_method
def verify(
    patterns: tuple[str, ...],
    jobs: int | None,
    numeric: bool,
    package: Path | None,
    each_class: bool,
    json: Path | None,
    timm_version: str | None,
    source: Path | None,
    trusted: tuple[str, ...],
    method: str,
) -> None:
    """Prove that split models compute what timm's do, op for op.

    For each name that timm registers and a PATTERN matches ("vit_*"), or for all of them, timm's forward_features and
    forward_stages(embed(x)) must run the same ATen ops on the same tensors, and be cut between stem and blocks.

    Exits with 1 if anything does not hold or could not be run, and with 2 if there is nothing to prove.
    """
    gc.enable()  # models come and go
    if timm_version is not None or source is not None:
        if package is not None:
            raise UsageError("--package is a package for the installed timm: give it, or --timm-version, not both")
        from codegen.proof.other_release import verify_release
        from codegen.proof.user_models import verify_user_models

        release = _found(timm_version, source, trusted, method)
        if release.user_files:
            sys.exit(verify_user_models(release, patterns, json))
        options = [*(["--numeric"] if numeric else []), *(["--each-class"] if each_class else [])]
        options += [*(["--jobs", str(jobs)] if jobs else []), *(["--json", str(json)] if json else [])]
        sys.exit(verify_release(release, [*options, *patterns]))

    from codegen.proof.command import verify as verify_package  # imports torch and timm

    sys.exit(0 if verify_package(patterns, jobs, numeric, package, json, each_class=each_class) else 1)


def _release_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options that say which source to read, for the commands that write nothing."""
    source = click.option(
        "--source",
        multiple=True,
        callback=_once,
        type=click.Path(path_type=Path),
        metavar="PATH",
        help="Read timm from here: a directory, a checkout, a wheel or an sdist. Or your own models.",
    )
    version = click.option(
        "--timm-version",
        metavar="VERSION",
        help="The release, as for generate. Default: what --source holds, else the installed timm.",
    )
    return version(source(_trusting(_method(command))))


def _found(timm_version: str | None, source: Path | None, trusted: Sequence[str] = (), method: str = METHOD) -> Release:
    """The source that the options name, with what the user says of it.

    Raises:
        UsageError: It is no source of user models, and another method is to be split.
    """
    from codegen.source.release import find_release

    release = find_release(timm_version, source, announce=lambda message: click.echo(message, err=True))
    if method != METHOD and not release.user_files:
        raise UsageError("--method is for your own models: name them with --source")
    return replace(release, trusted=frozenset(trusted), method=method)


def _analysed(
    timm_version: str | None,
    source: Path | None,
    trusted: Sequence[str] = (),
    method: str = METHOD,
    *,
    keep_trees: bool = True,
) -> tuple[Release, Sequence[Outcome]]:
    from codegen.generate import analyse

    release = _found(timm_version, source, trusted, method)
    return release, analyse(release, keep_trees=keep_trees)


@main.command("list")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@_release_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON: docs/manifest.md says what is in it.")
def list_(
    patterns: tuple[str, ...],
    timm_version: str | None,
    source: Path | None,
    trusted: tuple[str, ...],
    method: str,
    as_json: bool,
) -> None:
    """List the model classes of a release.

    For each: its module, its name, under how many names timm registers it, file and line after which the embedding is
    complete, and what embed returns; or the line that stands in the way of a split, and why.

    A PATTERN ("*vit*") matches a class, its module, or a name that timm registers.
    """
    from codegen.reports.listing import list_classes, print_listing, to_json

    listing = list_classes(*_analysed(timm_version, source, trusted, method), patterns)
    if as_json:
        click.echo(to_json(listing))
    else:
        from codegen.reports.terminal import console

        print_listing(listing, console())


@main.command()
@click.argument("name", metavar="CLASS")
@_release_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON: docs/manifest.md says what is in it.")
def show(
    name: str,
    timm_version: str | None,
    source: Path | None,
    trusted: tuple[str, ...],
    method: str,
    as_json: bool,
) -> None:
    """Show where a class is split, and why.

    Prints timm's source of forward_features with the boundary in it, the rules that put it there, and how each name
    gets from one side to the other. Where the method cannot be cut in a straight line (a loop over stages, an if with
    a stem in each arm, an inner model) the generated methods follow. Of a class that is refused, the line is marked.

    CLASS is a class (Eva, eva.Eva) or a model that timm registers.
    """
    from codegen.reports.showing import print_showing, show_class, to_json

    showing = show_class(*_analysed(timm_version, source, trusted, method), name)
    if as_json:
        click.echo(to_json(showing))
    else:
        from codegen.reports.terminal import console

        print_showing(showing, console())


@main.command()
@click.argument("old", metavar="V1")
@click.argument("new", metavar="V2")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: docs/manifest.md says what is in it.")
@click.option("--markdown", is_flag=True, help="Print Markdown, for the body of a pull request.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if there are differences.")
def diff(old: str, new: str, as_json: bool, markdown: bool, exit_code: bool) -> None:
    """Show what an upgrade from one timm to another changes.

    Classes that came and went, boundaries that moved, what embed returns, parameters, refusals that appeared or went:
    each with the lines of both sources. Bodies that changed after the boundary alone are named. Methods that
    forward_features calls are not compared, nor are comments.

    V1 and V2 are versions (1.0.30, 1.0.x, latest), or paths of sources as generate --source takes them.

    Exits with 0 whether there are differences or not, unless --exit-code asks for 1 where there are some.
    """
    from codegen.reports.comparison import compare, print_comparison, source_of, to_json, to_markdown

    if as_json and markdown:
        raise UsageError("--json and --markdown exclude each other: choose one")
    before, after = (_analysed(*source_of(which), keep_trees=False) for which in (old, new))
    comparison = compare(*before, *after)
    if as_json:
        click.echo(to_json(comparison))
    elif markdown:
        click.echo(to_markdown(comparison), nl=False)
    else:
        from codegen.reports.terminal import console

        print_comparison(comparison, console())
    if exit_code and comparison.changes:
        sys.exit(1)
