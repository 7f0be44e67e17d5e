"""The tidy table: one row a measurement.  No torch here."""

import pandas as pd

from hsivi.record import Measurement, Record


def tidy(records: list[Record]) -> pd.DataFrame:
    """Return one row a measurement, in the order of the records."""
    rows = [
        {
            "experiment": record.experiment,
            "dataset": record.dataset,
            "method": record.label,
            "nfe": record.nfe,
            **measurement.model_dump(),
            "scale": record.scale,
            "time_grid": record.time_grid,
            "protocol": record.protocol,
            "commit": record.commit,
        }
        for record in records
        for measurement in record.measurements
    ]
    facts = ["scale", "time_grid", "protocol", "commit"]
    columns = ["experiment", "dataset", "method", "nfe", *Measurement.model_fields, *facts]
    return pd.DataFrame(rows, columns=columns)
