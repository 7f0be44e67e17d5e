"""Stage ``collect``: gather all records of a scale in one tidy table."""

import io

from hsivi import layout, methods
from hsivi.experiment import Experiment
from hsivi.record import read_record
from hsivi.tidy import tidy
from hsivi.writing import write_text


def run(experiments: list[Experiment]) -> None:
    """Write ``results/<scale>/metrics.csv``."""
    cells = [cell for experiment in experiments for cell in methods.cells(experiment)]
    table = tidy([read_record(layout.CellFiles(cell).record) for cell in cells])
    text = io.StringIO()
    table.to_csv(text, index=False)
    write_text(layout.metrics_table(experiments[0].scale), text.getvalue())
