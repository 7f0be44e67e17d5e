"""The claims ledger: claims/ledger.yaml at one scale.

claims/claims.csv lists the published numbers.  The ledger says which cells of ours they are compared with, how far
apart two numbers may be and still count as equal, and which statements in words are tested how.  All of it is fixed
before a run.  A mapping with exactly the keys smoke, quick and paper differs between scales, as in experiments.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from hsivi.config import ROOT, SCALES, ConfigError, at_scale, check_choice, read_mapping, validate_config
from hsivi.recipe import Frozen
from reports._margin import Text
from reports._published import Numbers, Published
from reports._statements import Statement

FILE = ROOT / "claims" / "ledger.yaml"


class Change(Frozen):
    """What a version of the ledger changed."""

    version: Annotated[int, Field(ge=1)]
    words: Text


class Ledger(Frozen):
    """The ledger at one scale.

    Attributes:
        version: raised with every change of what a verdict depends on.
        changes: one line a version.
        titles: how data sets and methods of claims/claims.csv are called for people.
        numbers: blocks of published numbers.
        statements: statements in words.
    """

    version: Annotated[int, Field(ge=1)]
    changes: Annotated[tuple[Change, ...], Field(min_length=1)]
    titles: Mapping[str, str]
    numbers: tuple[Numbers, ...]
    statements: tuple[Statement, ...]

    @model_validator(mode="after")
    def _consistent(self) -> "Ledger":
        if [change.version for change in self.changes] != list(range(1, self.version + 1)):
            raise ValueError(f"changes: got other versions than 1 to {self.version}, expected one line each in order")
        names = [statement.id for statement in self.statements]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"statements: got the id {twice[0]!r} twice, expected it once")
        return self

    def block(self, line: Published) -> Numbers:
        """Return the one block that a line of claims/claims.csv belongs to.

        Raises:
            ConfigError: there is none, or there are several.
        """
        found = [block for block in self.numbers if block.where.meets(line)]
        if len(found) != 1:
            raise ConfigError(
                f"{FILE.name}: numbers: got {len(found)} blocks for {line.source}, {line.table}, {line.dataset}, "
                f"{line.method}, {line.metric}, NFE {line.nfe}, expected one; correct their 'where'"
            )
        return found[0]


def load_ledger(scale: str, path: Path = FILE) -> Ledger:
    """Read the ledger at a scale.

    Raises:
        ConfigError: there is no such scale or file, or the file cannot be used.
    """
    check_choice("scale", scale, SCALES)
    return _read(scale, path)


@cache
def _read(scale: str, path: Path) -> Ledger:
    content = read_mapping(path, "the claims ledger; restore it", "see claims/ledger.yaml")
    ledger: Ledger = validate_config(Ledger, at_scale(content, scale), f"{path.name} at scale {scale}")
    return ledger
