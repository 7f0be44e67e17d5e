"""Commands that look after a checkout: ``plan``, ``doctor`` and ``clean``.  None needs torch, but doctor tries it."""

import argparse
import os

from hsivi.config import SCALES, SCOPES, ConfigError, default_experiments, load_experiment
from hsivi.experiment import Experiment
from hsivi.inspecting import Add


def add_commands(add: Add) -> None:
    """Declare the commands; see `hsivi.inspecting.add_commands`."""
    plan = add("plan", "say what a run will take: jobs, hours, disk and downloads", _plan)
    plan.add_argument("--scale", required=True, help=", ".join(SCALES))
    plan.add_argument("--scope", default="core", help=", ".join(SCOPES) + " (default core)")
    plan.add_argument("--cores", default=str(os.cpu_count() or 1), help="cores of the run (default all)")
    _add_experiments(plan)


def _add_experiments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--experiments", nargs="+", help="names of experiments (default: those that run by default)")


def _experiments(options: argparse.Namespace, scope: str) -> list[Experiment]:
    names = options.experiments or default_experiments(options.scale)
    return [load_experiment(name, options.scale, scope) for name in dict.fromkeys(names)]


def _plan(options: argparse.Namespace) -> None:
    from hsivi import plan, plan_text

    if not options.cores.isdecimal() or int(options.cores) < 1:
        raise ConfigError(f"--cores: got {options.cores!r}, expected a whole number of at least 1; correct it")
    made = plan.make(_experiments(options, options.scope))
    print("\n".join(plan_text.lines(made, int(options.cores))))
