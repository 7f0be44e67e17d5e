"""What a row costs: seconds of training, and seconds a sample, both measured; and when training pays off."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hsivi import methods
from hsivi.experiment import Experiment
from hsivi.record import Record
from reports._findings import HEADLINE
from reports._images import frechet, full_name, is_images


@dataclass(frozen=True)
class Cost:
    """Seconds that a row takes for one budget.

    Attributes:
        training: of one training for this budget, beyond the score model that all rows share; 0 if it
            learns nothing.
        sample: of drawing one sample.
    """

    training: float
    sample: float

    def total(self, samples: float) -> float:
        """Return the seconds of training and drawing a number of samples."""
        return self.training + samples * self.sample


def cost(experiment: Experiment, record: Record) -> Cost:
    """Return what a cell cost.  A record's seconds are sums over seeds; sampling took seeds x sets x samples draws."""
    seeds = len({m.seed for m in record.measurements}) or len(experiment.seeds)
    drawn = seeds * methods.sample_sets(experiment, record.label, record.nfe) * experiment.num_samples
    trainings = record.trainings or len(experiment.training_seeds)
    return Cost(record.seconds.get("fit", 0.0) / trainings, record.seconds.get("sample", 0.0) / drawn)


def break_even(ours: Cost, rival: Cost) -> float:
    """Return the number of samples from which on ours takes less time than the rival, training included.

    It solves ours.total(n) = rival.total(n).  The answer is 0 where ours is never slower, and infinite where a sample
    of the rival takes no longer, so that training never pays.
    """
    extra, saved = ours.training - rival.training, rival.sample - ours.sample
    if saved <= 0:
        return math.inf
    return max(0.0, extra / saved)


def headline(experiment: Experiment, made: Sequence[Record]) -> str | None:
    """Return the metric by which an experiment's samplers are compared, smaller being better; None without samplers."""
    if experiment.task != "diffusion":
        return None
    return full_name(made, frechet(experiment)) if is_images(experiment) else HEADLINE.get(experiment.data.kind)
