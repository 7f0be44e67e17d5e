"""The reference results in the checkout: complete, of this schema, and saying what is said of them."""

import numpy as np
import pytest

from hsivi import layout, methods
from hsivi.__main__ import main
from hsivi.config import ROOT, ConfigError, load_experiment
from hsivi.metrics.protocol import split
from hsivi.publishing.publish import REFERENCE, publish, published
from hsivi.record import Record, read_json, read_record
from reports._verify import verify


def mnist() -> dict[tuple[str, int], Record]:
    found = [read_record(path) for path in published() if "mnist" in path.parts]
    return {(record.label, record.nfe): record for record in found}


def distances(record: Record) -> np.ndarray:
    return np.array([m.value for m in record.measurements if split(m.metric)[0] == "fd_mnist_classifier"])


def test_every_published_record_can_be_read_and_made_again() -> None:
    paths = published()
    assert paths
    for path in paths:
        record = read_record(path)
        scale, experiment, dataset, label, budget = path.relative_to(REFERENCE).parts[:5]
        assert (record.scale, record.experiment, record.dataset, record.label) == (scale, experiment, dataset, label)
        assert budget == f"nfe{record.nfe}"
        assert not record.commit.endswith("+changes")
        assert f"--experiment {experiment} " in record.command and f"--method {label} " in record.command


@pytest.mark.parametrize("scale", sorted(path.name for path in REFERENCE.glob("*/")))
def test_every_published_table_follows_from_the_records(scale: str, tmp_path) -> None:
    """After a change to a table, ``hsivi publish --again`` draws it again."""
    with layout.folders(REFERENCE, tmp_path):
        done = verify(scale)
    assert [finding for finding in done.findings if finding.fails] == []
    assert set(done.tables) == {path.stem for path in REFERENCE.glob(f"{scale}/*/tables/*.csv")}


def test_mnist_has_every_cell_of_scope_core() -> None:
    experiment = load_experiment("mnist", "quick", "core")
    assert set(mnist()) == {(cell.label, cell.nfe) for cell in methods.cells(experiment)}
    assert len({m.metric for r in mnist().values() for m in r.measurements if "fd_" in m.metric}) == 1, "one protocol"


@pytest.mark.parametrize("rival", ["ddim", "ddim-hsivi_grid", "ddpm"])
def test_hsivi_is_ahead_on_mnist_at_5_evaluations(rival: str) -> None:
    """By more than two standard errors over three seeds of sampling."""
    ours, theirs = (distances(mnist()[label, 5]) for label in ("hsivi_sm", rival))
    assert len(ours) == len(theirs) == 3
    error = np.sqrt(ours.var(ddof=1) / 3 + theirs.var(ddof=1) / 3)
    assert theirs.mean() - ours.mean() > 2 * error


def test_the_classifier_of_mnist_knows_digits() -> None:
    note = read_json(REFERENCE / "quick" / "mnist" / "mnist" / "reference.json")
    assert note["metadata"]["facts"]["held_out_accuracy"] >= 0.99


def test_figures_and_tables_are_there() -> None:
    folder = ROOT / "results" / "reference" / "quick" / "mnist"
    for file in ("figures/figure5.png", "figures/figure11.png", "figures/figure6_mnist.png"):
        assert (folder / file).stat().st_size > 10_000
    table = (folder / "tables" / "table_samplers_mnist.md").read_text()
    for label, nfe in (("hsivi_sm", 5), ("hsivi_sm", 10), ("ddim", 5)):
        assert f"{distances(mnist()[label, nfe]).mean():.4f}" in table


def test_an_unfinished_run_is_not_published(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="expected a finished run"):
        publish([load_experiment("mnist", "smoke", "core")], tmp_path / "reference")
    assert main(["publish", "--scale", "smoke", "--experiments", "mnist"]) == 2
    assert "got no such file" in capsys.readouterr().err
    assert not (tmp_path / "reference").exists()


def test_what_is_not_published_is_not_drawn_again(capsys) -> None:
    assert main(["publish", "--scale", "smoke", "--again"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "got 'smoke', expected one of quick, paper" in line
