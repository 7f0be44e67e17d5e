"""Reading claims/claims.csv: every line is checked before any of it is used."""

import csv
import io
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from pydantic import Field

from hsivi.config import ROOT, ConfigError, validate_config
from hsivi.recipe import Frozen
from reports._margin import Text

FILE = ROOT / "claims" / "claims.csv"
Number = Annotated[float, Field(allow_inf_nan=False)]


class Line(Frozen):
    """A number that a paper prints, as `reports._published.Published` describes it.

    Attributes:
        note: what else the paper says of it.
    """

    source: Text
    table: Text
    dataset: Text
    method: Text
    nfe: Annotated[int, Field(ge=0)] | None
    metric: Text
    value: Number
    sd: Annotated[Number, Field(ge=0)] | None
    better: Literal["lower", "higher", "equal"]
    note: str | None


def read(path: Path = FILE) -> pd.DataFrame:
    """Return the numbers the papers print, one a row.

    Raises:
        ConfigError: the file cannot be read, or a line of it cannot be used.
    """
    return _read(path, path.stat().st_mtime_ns if path.is_file() else 0).copy()


@cache
def _read(path: Path, _: int) -> pd.DataFrame:
    try:
        text = path.read_text(encoding="utf-8")
        rows = list(csv.reader(io.StringIO(text), strict=True))
    except OSError as error:
        raise ConfigError(f"{path}: got {error.strerror}, expected the published numbers; restore the file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: got text that is not CSV ({error}), expected CSV in UTF-8; correct it") from error
    names = list(Line.model_fields)
    if not rows or rows[0] != names:
        raise ConfigError(f"{path.name}: got columns {rows[:1]}, expected {', '.join(names)}; restore the first line")
    for number, row in enumerate(rows[1:], 2):
        where = f"{path.name}: row {number}"
        if len(row) != len(names):
            raise ConfigError(f"{where}: got {len(row)} fields, expected {len(names)}; correct its commas and quotes")
        validate_config(Line, {name: cell or None for name, cell in zip(names, row, strict=True)}, where)
    return pd.read_csv(io.StringIO(text))
