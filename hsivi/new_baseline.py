"""Writing a new baseline: a working template with a comment wherever it will differ.  No torch here."""

import keyword
import re
from pathlib import Path

from hsivi.config import ROOT, ConfigError, check_choice

TEMPLATES = {"diffusion": "baseline.py.txt", "inference": "baseline_inference.py.txt"}
NAME = re.compile(r"(?=.{1,60}\Z)[a-z][a-z0-9]*(_[a-z0-9]+)*")
"""What a row, a file and a Python module can be called."""


def write(name: str, task: str) -> Path:
    """Write baselines/<name>.py for a kind of experiment and return its path.

    Raises:
        ConfigError: the name cannot be used, the file exists, or there is no such kind.
    """
    check_choice("--task", task, TEMPLATES)
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ConfigError(
            f"name: got {name!r}, expected up to 60 lower-case letters, digits and single underscores, a letter first, "
            f"such as 'my_sampler'; choose such a name"
        )
    path = ROOT / "baselines" / f"{name}.py"
    if path.exists():
        raise ConfigError(f"name: got {name!r}, expected a new one: baselines/{name}.py exists; choose another name")
    path.write_text(render(name, task))
    return path


def render(name: str, task: str = "diffusion") -> str:
    """Return the text of a new baseline."""
    template = (Path(__file__).parent / "templates" / TEMPLATES[task]).read_text()
    title = name.replace("_", " ").capitalize()
    return template.replace("{{TITLE}}", title).replace("{{NAME}}", name)
