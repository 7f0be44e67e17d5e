"""Stage ``fit``: train a method that needs it, all seeds together."""

import torch

from hsivi import layout, methods, parallel
from hsivi.arrays import save_arrays
from hsivi.checkpoint import Session
from hsivi.config import ConfigError
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.problem import device_name
from hsivi.sampler import fit, skip_reason
from hsivi.stages.cell import identity, open_cell
from hsivi.stages.common import Stopwatch


def run(experiment: Experiment, cell: Cell) -> None:
    """Write what the method learned, a part a seed, and its note; nothing where it declines the problem.

    Raises:
        ConfigError: the method needs no training.
    """
    watch = Stopwatch()
    if not methods.info(experiment, cell.label).needs_fit:
        raise ConfigError(
            f"fit: got method {cell.label!r}, expected one with a function fit; run 'hsivi sample' instead"
        )
    opened = open_cell(experiment, cell)
    output = opened.files.fit
    session = Session(f"fit {opened.title}", layout.scratch(output), identity(experiment, cell))
    declined = skip_reason(opened.baseline, opened.problem, opened.config)
    seeds = experiment.training_seeds
    states = [] if declined else fit(opened.baseline, opened.problem, opened.config, seeds, session)
    if not parallel.is_first():
        return
    arrays = {
        f"{seed}/{name}": value.detach().cpu().numpy()
        for seed, state in zip(seeds, states, strict=declined is None)
        for name, value in state.items()
    }
    save_arrays(output, arrays)
    watch.note(
        output,
        cell.command("fit"),
        seeds=list(seeds),
        threads=torch.get_num_threads(),
        device=device_name(),
        processes=parallel.processes(),
        training_seconds=round(session.seconds, 3),
    )
    session.close()
