"""The line that says how far a whole run is."""

from pathlib import Path

import pytest

from hsivi import layout, overall
from hsivi.config import load_experiment
from hsivi.planning.cost import Rates
from hsivi.record import write_json

EXPERIMENT = load_experiment("toy2d", "smoke")


def finish(job: overall.Job, seconds: float) -> None:
    if job.stage == "measure":
        write_json(job.output, {"seconds": {"measure": seconds}})
        return
    job.output.parent.mkdir(parents=True, exist_ok=True)
    job.output.touch()
    write_json(layout.note(job.output), {"seconds": seconds})


@pytest.fixture
def every(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[overall.Job]:
    monkeypatch.chdir(tmp_path)
    return overall.jobs([EXPERIMENT])


def test_before_anything_is_finished_the_guess_is_used(every: list[overall.Job]) -> None:
    finished, seconds = overall.remaining_seconds(every, cores=2)
    assert finished == 0
    assert seconds == pytest.approx(sum(overall.GUESS[job.stage] for job in every) / 2)


def test_published_results_are_better_than_the_guess(every: list[overall.Job]) -> None:
    finished, seconds = overall.remaining_seconds(
        every, 1, [lambda: Rates("published", [(job, job.size) for job in every])]
    )
    assert finished == 0
    assert seconds == pytest.approx(sum(job.size for job in every))


def test_what_is_left_takes_as_long_as_what_is_done(every: list[overall.Job]) -> None:
    fits = [job for job in every if job.stage == "fit"]
    others = [job for job in every if job.stage != "fit"]
    for job in [*others, *fits[:-1]]:
        finish(job, 10 * job.size)
    finished, seconds = overall.remaining_seconds(every, cores=1)
    assert finished == len(every) - 1
    assert seconds == pytest.approx(10 * fits[-1].size)
    expected = f"overall: {finished}/{len(every)} results there, about {seconds / 60:.1f} min left"
    assert overall.line([EXPERIMENT], 1) == expected


def test_an_output_whose_note_is_not_there_yet_is_not_finished(every: list[overall.Job]) -> None:
    """A job that reports while another is between its output and its note must not stumble over it."""
    for job in every:
        finish(job, 1.0)
    fit = next(job for job in every if job.stage == "fit")
    layout.note(fit.output).unlink()
    record = next(job for job in every if job.stage == "measure")
    write_json(record.output, {})
    finished, _ = overall.remaining_seconds(every, 1)
    assert finished == len(every) - 2


def test_at_the_end_reports_are_next(every: list[overall.Job]) -> None:
    for job in every:
        finish(job, 1.0)
    assert overall.line([EXPERIMENT], 2) == f"overall: {len(every)}/{len(every)} results there, reports are next"
