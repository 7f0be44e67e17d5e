"""Command line: every rule of the workflow is one such line, and any of them runs without Snakemake.

Exit status: 0 done, 1 a run failed (for example for want of memory), 2 the input cannot be used.  With
HSIVI_TRACEBACK=1 in the environment a failed run shows where.
"""

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hsivi import inspecting, new_baseline, overall, process, remedies, run_lock
from hsivi.config import ROOT, SCALES, SCOPES, ConfigError, check_choice, load_experiment
from hsivi.methods import Cell, check_budget, method_files, rows
from hsivi.upkeep import commands as upkeep

DATASET_STAGES = {
    "data": "prepare one data set",
    "pretrain": "train the score model of one data set",
    "reference": "prepare what the metrics know about one target",
}
CELL_STAGES = {
    "fit": "train a method that needs it, all seeds together",
    "sample": "draw the samples of one cell for every seed",
    "measure": "turn the samples of one cell into its record",
    "time": "measure how long one cell takes to draw a batch",
}


NETWORK_METRICS = ("digits", "images")
"""Kinds of data whose metrics are taken on the features of a network."""
EXPECTED = (ValueError, RuntimeError, OSError, MemoryError)
"""What may go wrong without a mistake of ours, such as a full disk; it is said in one line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; see the module docstring for the exit status."""
    options = _parser().parse_args(arguments)
    process.keep_freed_memory()
    try:
        process.limit_threads(_threads(options))
        options.arguments = list(sys.argv[1:] if arguments is None else arguments)
        with process.joined():
            status: int | None = options.run(options)
    except ConfigError as error:
        print(f"hsivi {options.command}: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "hsivi", "baselines", "reports"):
            raise
        trains = options.command in {**DATASET_STAGES, **CELL_STAGES, "check": ""}
        print(f"hsivi {options.command}: {remedies.missing_package(package, trains)}", file=sys.stderr)
        return 2
    except Exception as error:
        # By name, since the library is not loaded here.
        expected = isinstance(error, EXPECTED) or type(error).__name__ == "SafetensorError"
        if os.environ.get("HSIVI_TRACEBACK") or not expected:
            raise
        print(f"hsivi {options.command}: {remedies.words(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"hsivi {options.command}: stopped; the same command goes on where it was", file=sys.stderr)
        return 130
    if os.environ.get("RANK", "0") != "0":
        return 0
    with contextlib.suppress(ConfigError, OSError):  # the job is done, whatever becomes of the line about the run
        _say_how_far_the_run_is(options)
    return status or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hsivi", description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, run: object) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    add("list", "print experiments, data sets, methods, metrics and scales", _list)
    for name, text in DATASET_STAGES.items():
        _add_place(add(name, text, _reference if name == "reference" else _dataset_stage))
    for name, text in CELL_STAGES.items():
        command = add(name, text, _cell_stage)
        _add_place(command)
        command.add_argument("--method", required=True, help="row of the comparison; see 'hsivi list'")
        command.add_argument("--nfe", required=True, help="function evaluations a sample")
    collect = add("collect", "gather all records of a scale in one tidy table", _collect)
    new = add("new-baseline", "write a working baseline file to start from", _new_baseline)
    new.add_argument("name", help="name of the file and of the row, for example my_sampler")
    new.add_argument("--task", default="diffusion", help="kind of experiments: diffusion (default) or inference")
    check = add("check", "check one file in baselines/ against the contract, in seconds", _check)
    check.add_argument("name", help="name of the file, for example ddim")
    report = add("report", "render one table, figure or page", _report)
    report.add_argument("name", help="name of a script in reports/, for example table1")
    inspecting.add_commands(add)
    upkeep.add_commands(add)
    keep = add("publish", "copy what is small of a finished run to results/reference", _publish)
    either = keep.add_mutually_exclusive_group()
    either.add_argument("--again", action="store_true", help="only what is published, after a change to reports/")
    either.add_argument("--add", action="store_true", help="finished cells that are not published, to those that are")
    draw = add("figures", "render tables, figures and page from published results, without training", _figures)
    draw.add_argument("--from", dest="results", help="folder of published results (default results/reference)")
    draw.add_argument("--to", dest="reports", default="reports/reference", help="where they go (default %(default)s)")
    for command in (collect, report, keep, draw):
        all_named = command in (collect, report)
        command.add_argument("--scale", required=True, help=", ".join(SCALES))
        command.add_argument("--scope", default="core", help=", ".join(SCOPES))
        command.add_argument("--experiments", required=all_named, nargs="+", default=[], help="names of experiments")
    return parser


def _say_how_far_the_run_is(options: argparse.Namespace) -> None:
    """Print progress of the whole run, where the Snakefile has said which run this is."""
    run = overall.announced()
    if options.command in {**DATASET_STAGES, **CELL_STAGES} and run is not None:
        names, scope, cores = run
        print(overall.line([load_experiment(name, options.scale, scope) for name in names], cores), file=sys.stderr)


def _threads(options: argparse.Namespace) -> int:
    threads: str = getattr(options, "threads", "1")
    if not threads.isdecimal() or not 1 <= int(threads[:9]) < 10**8:
        raise ConfigError(f"--threads: got {threads!r}, expected a whole number of at least 1; correct it")
    return int(threads)


def _add_place(command: argparse.ArgumentParser) -> None:
    command.add_argument("--threads", default="1", help="threads of this process (default 1)")
    command.add_argument("--scale", required=True, help=", ".join(SCALES))
    command.add_argument("--experiment", required=True, help="name of a file in workflows/experiments")
    command.add_argument("--dataset", required=True, help="data set of the experiment")


def _dataset_stage(options: argparse.Namespace) -> None:
    experiment = load_experiment(options.experiment, options.scale)
    check_choice("data set", options.dataset, experiment.data.datasets)
    recipe = experiment.score_model.pretrain if experiment.score_model else None
    if options.command == "pretrain":
        if recipe is not None:
            process.start_processes(options.arguments, recipe.microbatches)
        process.compute_alike()
    with run_lock.working(options.scale):
        importlib.import_module(f"hsivi.stages.{options.command}").run(experiment, options.dataset)


def _reference(options: argparse.Namespace) -> None:
    # Here threads are workers with blocks of their own, and numerical libraries keep to one: the result is the same.
    workers = _threads(options)
    process.limit_threads(1)
    from hsivi.stages.reference import run

    experiment = load_experiment(options.experiment, options.scale)
    check_choice("data set", options.dataset, experiment.data.datasets)
    if experiment.data.kind in NETWORK_METRICS:
        process.compute_alike()
    with run_lock.working(options.scale):
        run(experiment, options.dataset, workers)


def _cell_stage(options: argparse.Namespace) -> None:
    experiment = load_experiment(options.experiment, options.scale)
    check_choice("data set", options.dataset, experiment.data.datasets)
    check_choice("method", options.method, rows(experiment))
    if not options.nfe.isdecimal() or len(options.nfe) > 9:
        raise ConfigError(f"--nfe: got {options.nfe!r}, expected a whole number of at least 0; correct it")
    check_budget(experiment, options.method, int(options.nfe))
    cell = Cell(options.scale, options.experiment, options.dataset, options.method, int(options.nfe))
    if options.command == "fit":
        values = experiment.recipe_values(cell.label, cell.dataset, cell.nfe)
        process.start_processes(options.arguments, int(values.get("microbatches", 1)))
    elif options.command == "sample" and experiment.data.kind == "images":
        process.start_processes(options.arguments, None)
    # Metrics of points need no torch, which takes seconds to load; and what is timed is what a user gets.
    measures_images = options.command == "measure" and experiment.data.kind in NETWORK_METRICS
    if options.command in ("fit", "sample") or measures_images:
        process.compute_alike()
    with run_lock.working(options.scale):
        if options.command in ("fit", "sample"):
            importlib.import_module("hsivi.failure").run(options.command, experiment, cell)
        else:
            importlib.import_module(f"hsivi.stages.{options.command}").run(experiment, cell)


def _list(_: argparse.Namespace) -> None:
    from hsivi.listing import lines

    print("\n".join(lines()))


def _new_baseline(options: argparse.Namespace) -> None:
    path = new_baseline.write(options.name, options.task)
    print(f"wrote baselines/{path.name}: it runs as it is, and its comments say what to change; then")
    print(f"  hsivi check {options.name:20s} # does it keep the contract? seconds")
    print("  make reproduce                   # its rows in tables and on the page; what is finished stays")


def _check(options: argparse.Namespace) -> None:
    files = method_files()
    check_choice("baseline", options.name, files)
    from hsivi.contract.checks import examine

    results = []
    for result in examine(files[options.name]):
        print(result, flush=True)
        results.append(result.status)
    if unmet := results.count("failed"):
        raise ConfigError(
            f"baselines/{options.name}.py: got {unmet} of {len(results)} requirements not kept, expected none; correct "
            f"what is marked FAILED and run the same command again"
        )
    print(f"baselines/{options.name}.py keeps the contract; 'make reproduce' adds its rows")


def _collect(options: argparse.Namespace) -> None:
    from hsivi.stages.collect import run

    experiments = [load_experiment(name, options.scale, options.scope) for name in options.experiments]
    with run_lock.working(options.scale, by_hand=False):
        run(experiments)


def _publish(options: argparse.Namespace) -> None:
    from hsivi.publishing.adding import publish_more
    from hsivi.publishing.again import publish_again
    from hsivi.publishing.publish import REFERENCE, publish

    if options.again:
        for line in publish_again(options.scale, REFERENCE):
            print(line, flush=True)
        return
    if not options.experiments:
        raise ConfigError("--experiments: got none, expected names of finished experiments; name them")
    experiments = [load_experiment(name, options.scale, options.scope) for name in options.experiments]
    lines = publish_more(experiments) if options.add else (f"wrote {path}" for path in publish(experiments))
    for line in lines:
        print(line, flush=True)


def _figures(options: argparse.Namespace) -> None:
    from hsivi.publishing.figures import draw_published

    results = Path(options.results) if options.results else ROOT / "results" / "reference"
    if results.is_absolute() and results.is_relative_to(Path.cwd()):
        results = results.relative_to(Path.cwd())  # the page names files of results
    for line in draw_published(options.scale, options.scope, options.experiments, results, Path(options.reports)):
        print(line, flush=True)


def _report(options: argparse.Namespace) -> None:
    from hsivi.rendering import render

    experiments = [load_experiment(name, options.scale, options.scope) for name in options.experiments]
    with run_lock.working(options.scale, by_hand=False):
        render(options.name, options.scale, experiments)


if __name__ == "__main__":
    sys.exit(main())
