"""The file that is checked, and the cases in which the contract tries it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from hsivi.baseline_file import MethodInfo, describe
from hsivi.contract import problem
from hsivi.contract.case import Broken, Case, load
from hsivi.problem import Budget
from hsivi.sampler import Baseline

FEW = {"diffusion": (6,), "inference": (1, 3)}
MANY = 200
"""Evaluations at which a sampler's bias is of order one per cent."""


class DoesNotApply(Exception):
    """A check asks for nothing here; the message says why."""


@dataclass(frozen=True)
class Subject:
    """A baseline file; attributes raise `Broken` or `ConfigError` where it makes a mistake.

    Attributes:
        path: the file.
    """

    path: Path

    @property
    def info(self) -> MethodInfo:
        """What it declares."""
        return describe(self.path)

    @cached_property
    def baseline(self) -> Baseline:
        """Its module."""
        return load(self.path)

    @cached_property
    def settings(self) -> dict[str, dict[str, Any]]:
        """The settings that the contract runs it with, by label: ``CONTRACT`` of the file, or its defaults."""
        declared: Any = getattr(self.baseline, "CONTRACT", {"": {}})
        if not isinstance(declared, dict) or not declared or not all(isinstance(v, dict) for v in declared.values()):
            raise Broken(
                f"CONTRACT: got {declared!r}, expected settings by label such as {{'short': {{'iterations': 3}}}}; "
                f"give each set of settings a label"
            )
        return declared

    @cached_property
    def offered(self) -> list[Case]:
        """All cases but those of images and of many evaluations."""
        fixed = self.info.nfe
        vectors = self._cases("diffusion", (min(fixed),) if fixed else FEW["diffusion"], problem.vectors, "vectors")
        return vectors + self._cases("inference", fixed or FEW["inference"], problem.posterior, "a posterior")

    @cached_property
    def images(self) -> list[Case]:
        """The cases of images."""
        fixed = self.info.nfe
        return self._cases("diffusion", (min(fixed),) if fixed else FEW["diffusion"], problem.images, "images")

    @cached_property
    def main(self) -> list[Case]:
        """The cases that most checks look at: those that are not declined, of images if there are no others."""
        return accepted(self.offered) or accepted(self.images)

    @cached_property
    def many(self) -> list[Case]:
        """The cases of vectors at many evaluations.

        Raises:
            DoesNotApply: the file has no limit to check.
        """
        if not self.info.limit:
            raise DoesNotApply("not checked, it declares LIMIT = False")
        budget = max(self.info.nfe or (MANY,))
        if 0 < budget < MANY:
            raise DoesNotApply(f"not checked, its largest budget is {budget}")
        cases = self._cases("diffusion", (budget,), problem.many_steps, "vectors")
        if not accepted(cases):
            raise DoesNotApply(f"not checked, it declines {budget} evaluations: {cases[-1].offer[1]}")
        return accepted(cases)

    def _cases(
        self, task: str, budgets: tuple[int, ...], problems: Callable[[int], Iterator[Budget]], what: str
    ) -> list[Case]:
        """Return a case for each budget and each of the settings, if the file takes part in the task."""
        return [
            Case(
                self.path,
                self.baseline,
                " ".join(filter(None, (label, f"on {what} at {nfe} evaluations"))),
                values,
                f"CONTRACT[{label!r}]" if label else "Config",
                partial(problems, nfe),
            )
            for nfe in budgets
            for label, values in self.settings.items()
            if task in self.info.tasks
        ]


def accepted(cases: list[Case]) -> list[Case]:
    """Return the cases that are not declined."""
    return [case for case in cases if case.offer[0] is not None]
