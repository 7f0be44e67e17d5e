"""Statistics that several metrics share."""

import math


def standard_error(values: list[float]) -> float | None:
    """Return the standard error of a mean, or None for a single value."""
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))
