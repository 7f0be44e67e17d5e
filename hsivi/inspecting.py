"""Commands about finished results: look at them (``verify``, ``explain``, ``diff``), bring them together (``merge``).

``retry`` forgets those that failed.  None needs torch.
"""

import argparse
import contextlib
import importlib
from collections.abc import Callable
from pathlib import Path

from hsivi import layout, run_lock
from hsivi.config import SCALES, SCOPES, experiment_files, load_experiment

Add = Callable[[str, str, object], argparse.ArgumentParser]


def add_commands(add: Add) -> None:
    """Declare the commands.

    Arguments:
        add: declares one of a name, a text and what runs it, and returns its parser.
    """
    verify = add("verify", "compute every cell of every table again from the records, and check their digests", _verify)
    verify.add_argument("--scale", required=True, help=", ".join(SCALES))
    verify.add_argument("--scope", help=", ".join(SCOPES) + " (default: that of the results)")
    verify.add_argument("--experiments", nargs="+", help="names of experiments (default: all with results)")
    verify.add_argument("--quick", action="store_true", help="do not hash inputs above 64 MiB")
    verify.add_argument("--json", action="store_true", help="print everything as JSON")
    explain = add("explain", "say where a number comes from", _explain)
    explain.add_argument("cell", help="experiment/dataset/method/nfe/metric, or table/ROW/COLUMN by number or name")
    explain.add_argument("--scale", default="quick", help=", ".join(SCALES) + " (default quick)")
    explain.add_argument("--json", action="store_true", help="print everything as JSON")
    diff = add("diff", "compare two result sets number by number, with significance", _diff)
    diff.add_argument("a", type=Path, help="folder of records such as results/quick, or a metrics.csv")
    diff.add_argument("b", type=Path, help="the other")
    diff.add_argument("--csv", type=Path, help="write every comparison to this file")
    diff.add_argument("--fail", action="store_true", help="exit with status 1 if anything differs")
    again = add("retry", "forget cells that failed, so that the next run makes them again", _retry)
    again.add_argument("--scale", required=True, help=", ".join(SCALES))
    again.add_argument("--experiments", nargs="+", default=[], help="names of experiments (default: all)")
    merge = add("merge", "take over finished results of other machines, and overwrite nothing", _merge)
    merge.add_argument("sources", metavar="FROM", nargs="+", type=Path, help="their folders such as results/quick")
    merge.add_argument("--into", type=Path, help="folder that they go to (default: results/ and the scale's name)")
    merge.add_argument("--dry-run", action="store_true", help="only say what would be done")


def _nobody_at_work(scale: str) -> contextlib.AbstractContextManager[None]:
    """Keep runs away from results that are there, or say that one is at work."""
    there = layout.run_lock(scale).parent.is_dir()
    return run_lock.held(scale) if there else contextlib.nullcontext()


def _retry(options: argparse.Namespace) -> None:
    from hsivi import failure

    named = [load_experiment(name, options.scale, "full") for name in options.experiments or experiment_files()]
    cells = list(failure.failed(named))
    with _nobody_at_work(options.scale):
        for cell in cells:
            removed = failure.forget(cell)
            print(f"{cell.experiment} {cell.dataset} {cell.label} nfe={cell.nfe}: forgot {len(removed)} files")
    names = " ".join(dict.fromkeys(cell.experiment for cell in cells))
    again = f"make reproduce SCALE={options.scale} EXPERIMENTS={names!r} runs them again"
    print(again if cells else f"no cell of scale {options.scale} has failed")


def _verify(options: argparse.Namespace) -> int:
    # Reports import the package, not the other way round.
    script = importlib.import_module("reports._verify")
    done = script.verify(options.scale, options.scope, options.experiments, options.quick)
    print(done.json if options.json else "\n".join(script.lines(done)))
    return 0 if done.holds else 1


def _explain(options: argparse.Namespace) -> int:
    script = importlib.import_module("reports._explain")
    explanation = script.explain(options.cell, options.scale)
    print(explanation.json if options.json else "\n".join(script.lines(explanation)))
    return 0


def _diff(options: argparse.Namespace) -> int:
    from hsivi import diff

    table = diff.compare(diff.read(options.a), diff.read(options.b))
    if options.csv:
        diff.write(table, options.csv)
    print("\n".join(diff.lines(table)))
    return int(options.fail and diff.differs(table))


def _merge(options: argparse.Namespace) -> int:
    from hsivi.merging import taking_over
    from hsivi.merging.plan import lines, plan

    merge = plan(options.sources, options.into or layout.results_folder() / options.sources[0].resolve().name)
    if not options.dry_run:
        with _nobody_at_work(merge.into.name):
            taking_over.take_over(merge)
    print("\n".join(lines(merge, options.dry_run)))
    return int(bool(merge.conflicts or merge.refused))
