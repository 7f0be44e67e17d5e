"""The list of checks, and how it is gone through."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hsivi.config import ConfigError
from hsivi.contract import file, samples
from hsivi.contract.case import Broken
from hsivi.contract.inference import lower_bound
from hsivi.contract.samples import of_each
from hsivi.contract.subject import DoesNotApply, Subject


@dataclass(frozen=True)
class Check:
    """One requirement.

    Attributes:
        name: one word.
        requirement: what a file does that keeps it.
        find: returns what is wrong, or None; may raise `Broken`, `ConfigError` and `DoesNotApply`.
        after: checks without which it makes no sense.
        task: the kind of experiments it is about, or None.
    """

    name: str
    requirement: str
    find: Callable[[Subject], str | None]
    after: tuple[str, ...] = ()
    task: str | None = None


@dataclass(frozen=True)
class Result:
    """What became of one check.

    Attributes:
        check: the check.
        status: ``ok``, ``failed``, or ``-`` where it asks for nothing or waits for others.
        message: what is wrong, or why nothing was asked.
    """

    check: Check
    status: str
    message: str = ""

    def __str__(self) -> str:
        """Return one line."""
        status = "FAILED" if self.status == "failed" else self.status
        return f"{status:7s} {self.check.requirement}" + (f": {self.message}" if self.message else "")


_SOUND = ("budget", "path", "shape", "dtype", "finite")
CHECKS = (
    Check("name", "has a lower-case name", file.name),
    Check("python", "is Python", file.python),
    Check("declarations", "declares what every baseline does", file.declarations, ("python",)),
    Check("citation", "cites an entry of references.bib", file.citation, ("declarations",)),
    Check("imports", "imports nothing that knows baselines", file.imports, ("python",)),
    Check("loading", "can be imported", file.loading, ("declarations", "imports")),
    Check("settings", "has settings that its Config accepts", file.settings, ("loading",)),
    Check("rows", "can serve its rows in all experiments", file.rows, ("name", "settings")),
    Check("offers", "declines some problems at most", file.offers, ("settings",)),
    Check("fit", "fit returns a state of tensors for each seed", file.fit, ("offers",)),
    Check("fit_of_one_seed", "fit treats seeds apart", of_each(samples.fit_of_one_seed), ("fit",)),
    Check("running", "sample yields tensors", of_each(samples.running), ("fit",)),
    Check("budget", "uses exactly its budget of function evaluations", of_each(samples.budget), ("running",)),
    Check("path", "yields the whole path", of_each(samples.path), ("budget",)),
    Check("shape", "keeps the shape of samples", of_each(samples.shape), ("running",)),
    Check("dtype", "keeps the type of samples", of_each(samples.dtype), ("running",)),
    Check("finite", "yields finite numbers", of_each(samples.finite), ("running",)),
    Check("global_randomness", "uses no global randomness", of_each(samples.global_randomness), _SOUND),
    Check("repeating", "gives the same bits again", of_each(samples.repeating), ("global_randomness",)),
    Check("seeds", "gives other samples for another seed", of_each(samples.seeds), ("repeating",)),
    Check("batches", "gives the same samples in batches of any size", of_each(samples.batches), ("repeating",)),
    Check("start", "starts from noise.prior()", of_each(samples.start), ("seeds",)),
    Check("figures", "illustrates with tensors", of_each(samples.figures), _SOUND),
    Check("images", "does all that with images too", samples.images, ("batches", "start"), "diffusion"),
    Check("limit", "has the data's moments at many evaluations", samples.limit, ("batches",), "diffusion"),
    Check("lower_bound", "elbo is a lower bound at its own samples", of_each(lower_bound), ("batches",), "inference"),
)


def examine(path: Path) -> Iterator[Result]:
    """Check a baseline file and yield one result after the other."""
    subject, unmet = Subject(path), set[str]()
    for check in CHECKS:
        if check.task is not None and "declarations" not in unmet and check.task not in subject.info.tasks:
            continue
        if unmet & set(check.after):
            unmet.add(check.name)
            yield Result(check, "-", "not checked, it needs what failed above")
            continue
        try:
            wrong = check.find(subject)
        except DoesNotApply as reason:
            yield Result(check, "-", str(reason))
            continue
        except (Broken, ConfigError) as error:
            wrong = str(error).removeprefix(f"baselines/{path.name}: ")
        if wrong is not None:
            unmet.add(check.name)
        yield Result(check, "ok" if wrong is None else "failed", wrong or "")
