"""Statistics that several metrics share."""

import math
from collections.abc import Mapping, Sequence

from hsivi.record import Measurement

Floors = Mapping[str, tuple[float, float]]
"""Mean and standard deviation of each metric on samples of the target itself."""


def standard_error(values: list[float]) -> float | None:
    """Return the standard error of a mean, or None for a single value."""
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))


def floors(values: Sequence[Mapping[str, float]]) -> Floors:
    """Return the floors of metrics from their values on several samples of the target; those that have two or more."""
    columns = _columns(values)
    return {
        name: (_mean(v), math.sqrt(len(v)) * (standard_error(v) or 0.0)) for name, v in columns.items() if len(v) > 1
    }


def averages(values: Sequence[Mapping[str, float]], seed: int, num_samples: int, floor: Floors) -> list[Measurement]:
    """Return the measurements of one run from the metrics' values on its sample sets.

    A metric that some sets have no value of is averaged over the others, and left out where none has.
    """
    return [
        Measurement(
            seed=seed,
            metric=name,
            value=_mean(v),
            standard_error=standard_error(v),
            num_samples=num_samples,
            floor=floor[name][0] if name in floor else None,
            floor_std=floor[name][1] if name in floor else None,
        )
        for name, v in _columns(values).items()
    ]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _columns(rows: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Return the values of every metric that at least one row has."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row[name] for row in rows if name in row] for name in names}
