"""What the page is made of besides results: templates, styles, scripts and libraries, and what a browser may run."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

import yaml
from markupsafe import Markup

from hsivi.config import ROOT

FOLDER = ROOT / "reports" / "page"
SCRIPTS = (
    *("data", "address", "filters", "theme", "download", "sorting", "tables", "claims", "explorer"),
    *("number", "axes", "plots", "start"),
)
"""The page's own scripts in the order in which they run; each defines one constant of its name."""


@dataclass(frozen=True)
class Code:
    """Code of the page, each as one script element.

    Attributes:
        own: the page's own scripts.
        tables: the library of tables.
        plots: the library of plots, which the page starts only when a plot is looked at.
        style: the style sheet.
    """

    own: Markup
    tables: Markup
    plots: Markup
    style: Markup

    @property
    def policy(self) -> str:
        """Content security policy: nothing is loaded, no script runs but these three.

        Styles are allowed wherever they stand, since both libraries set some.
        """
        hashes = " ".join(f"'sha256-{_hash(script)}'" for script in (self.own, self.tables, self.plots))
        return (
            f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
            f"base-uri 'none'; form-action 'none'"
        )


def code(folder: Path = FOLDER) -> Code:
    """Read all code."""
    own = "\n".join((folder / f"{name}.js").read_text() for name in SCRIPTS)
    return Code(
        own=_script(f'"use strict";\n{own}'),
        tables=_script((folder / "vendor" / "dataTables.min.js").read_text()),
        plots=_script((folder / "vendor" / "plotly-basic.min.js").read_text()),
        style=Markup((folder / "page.css").read_text()),
    )


def _script(text: str) -> Markup:
    """Return the text of a script element.

    Raises:
        ValueError: it contains what ends such an element.
    """
    if "</script" in text.lower() or "<!--" in text:
        raise ValueError("a script of the page: got the end of a script element inside, expected none; write it apart")
    return Markup(text)


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def libraries(folder: Path = FOLDER) -> list[dict[str, str]]:
    """Return the libraries that the page carries: name, version, licence, home page, file and its SHA-256."""
    found: list[dict[str, str]] = yaml.safe_load((folder / "vendor" / "vendor.yaml").read_text())
    return found
