"""A plan in words."""

from collections import Counter
from collections.abc import Iterator, Sequence

from hsivi.planning import plan
from hsivi.planning.downloads import Needed
from hsivi.planning.plan import Accuracy, Line, Plan


def lines(made: Plan, cores: int) -> list[str]:
    """Return a plan as lines.

    Arguments:
        made: the plan.
        cores: how many the wall time is for.
    """
    first = made.experiments[0]
    names = ", ".join(one.name for one in made.experiments)
    text = [f"plan: scale {first.scale}, scope {first.scope}: {names}", *_table(made.lines), ""]
    text += [*_totals(made, cores), *_files(plan.files(made.experiments)), *_accuracy(made.accuracy)]
    return text


def duration(seconds: float) -> str:
    """Return a duration in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def size(count: float) -> str:
    """Return a number of bytes in the unit that suits it."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"


def _table(rows: Sequence[Line]) -> Iterator[str]:
    yield f"{'experiment':22s} {'stage':10s} {'done':>5s} {'to do':>5s} {'takes':>14s}  rests on"
    for row in rows:
        takes = f"{duration(row.seconds)}{' of a GPU' if row.gpu else ''}" if row.left else "-"
        yield f"{row.experiment:22s} {row.stage:10s} {row.done:5d} {row.left:5d} {takes:>14s}  {_bases(row.bases)}"


def _bases(bases: Counter[str]) -> str:
    if len(bases) < 2:
        return "".join(bases) or "-"
    return "; ".join(f"{basis} ({count})" for basis, count in bases.most_common())


def _totals(made: Plan, cores: int) -> Iterator[str]:
    done = sum(line.done for line in made.lines)
    yield f"jobs: {done} done, {made.left} to do, and the reports"
    yield f"cores: {made.core_seconds / 3600:,.1f} core-hours, of which {plan.START * made.left / 3600:.1f} start jobs"
    if reasons := plan.gpu_reasons(made.experiments):
        yield f"GPU: {made.gpu_seconds / 3600:,.1f} GPU-hours"
        yield from (f"  {reason}" for reason in reasons)
    else:
        yield "GPU: none needed"
    yield (
        f"time: about {duration(made.wall_seconds(cores))} on {cores} core{'s' if cores > 1 else ''}, at least "
        f"{duration(made.chain)} on any number: jobs wait for one another"
    )
    guessed = sum(line.bases[basis] for line in made.lines for basis in line.bases if basis.startswith("guess"))
    if guessed:
        yield f"  of {guessed} jobs nothing like them was ever run: their durations are guesses, and may be far off"
    yield f"disk: about {size(made.bytes)} more, the largest checkpoint included"


def _files(files: Sequence[Needed]) -> Iterator[str]:
    wanted = [file for file in files if file.state == "download"]
    if wanted:
        yield f"downloads: {size(sum(file.bytes for file in wanted))}: {', '.join(file.name for file in wanted)}"
    else:
        yield "downloads: none"
    for file in files:
        if file.state in ("by hand", "other length"):
            length = f" ({size(file.bytes)})" if file.bytes else ""
            yield f"  put there by hand: {file.name}{length}, from {file.origin}, as {file.place}"


def _accuracy(found: Sequence[Accuracy]) -> Iterator[str]:
    if not found:
        yield "estimates: none to compare with, since no job of this scale is finished"
        return
    yield "estimates of the jobs that are done, and what these took:"
    for one in found:
        others = "" if one.others is None else f"; each from the others: off by a factor of {one.others:.1f}"
        yield (
            f"  {one.experiment:20s} {one.stage:10s} took {duration(one.took)}; before the run "
            f"{duration(one.before)}{_ratio(one.took, one.before)} ({one.basis}){others}"
        )


def _ratio(took: float, estimated: float) -> str:
    return f", took {took / estimated:.2f} of it" if estimated > 0 else ""
