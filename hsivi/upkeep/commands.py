"""Commands that look after a checkout: ``plan``, ``doctor`` and ``clean``.  None needs torch, but doctor tries it."""

import argparse
import os

from hsivi.config import SCALES, SCOPES, ConfigError, default_experiments, load_experiment
from hsivi.experiment import Experiment
from hsivi.inspecting import Add

GIVEN_THREADS = os.environ.get("OMP_NUM_THREADS")
"""As the user has set it; every command of ours sets it anew."""


def add_commands(add: Add) -> None:
    """Declare the commands; see `hsivi.inspecting.add_commands`."""
    doctor = add("doctor", "check packages, machine, disk, folders and files before a run, with remedies", _doctor)
    doctor.add_argument("--scale", default="quick", help=", ".join(SCALES) + " (default quick)")
    plan = add("plan", "say what a run will take: jobs, hours, disk and downloads", _plan)
    plan.add_argument("--scale", required=True, help=", ".join(SCALES))
    plan.add_argument("--scope", default="core", help=", ".join(SCOPES) + " (default core)")
    plan.add_argument("--cores", help="cores of the run (default: all that this process may use)")
    clean = add("clean", "remove what no result needs: checkpoints, logs, what no experiment names", _clean)
    clean.add_argument("--scale", help=", ".join(SCALES) + " (default: all)")
    clean.add_argument("--dry-run", action="store_true", help="only list what would go")
    clean.add_argument("--all", action="store_true", help="whole scales, or whole experiments, results included")
    for command in (doctor, plan, clean):
        names = "those with results" if command is clean else "those that run by default"
        command.add_argument("--experiments", nargs="+", help=f"names of experiments (default: {names})")


def _experiments(options: argparse.Namespace, scope: str) -> list[Experiment]:
    names = options.experiments or default_experiments(options.scale)
    return [load_experiment(name, options.scale, scope) for name in dict.fromkeys(names)]


def _doctor(options: argparse.Namespace) -> int:
    from hsivi.upkeep import doctor

    checks = []
    for check in doctor.examine(_experiments(options, "core"), GIVEN_THREADS):
        print(check, flush=True)
        checks.append(check)
    return doctor.exit_status(checks)


def _plan(options: argparse.Namespace) -> None:
    from hsivi.planning import plan, plan_text
    from hsivi.upkeep import machine

    cores = options.cores or str(max(int(machine.usable_cores() or 1), 1))
    if not cores.isdecimal() or int(cores) < 1:
        raise ConfigError(f"--cores: got {cores!r}, expected a whole number of at least 1; correct it")
    made = plan.make(_experiments(options, options.scope))
    print("\n".join(plan_text.lines(made, int(cores))))


def _clean(options: argparse.Namespace) -> None:
    from hsivi.upkeep import cleaning

    for line in cleaning.clean(options.scale, options.experiments, options.all, options.dry_run):
        print(line, flush=True)
