"""Processes that start with the libraries loaded are otherwise like any that a shell starts."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.warm import Warm

TELL = """
import os, sys
print(os.getcwd(), sys.argv[1:], os.environ["TOLD"], sys.stdin.read(), "torch" in sys.modules)
print("aside", file=sys.stderr)
sys.exit(3)
"""


def run(warm: Warm, folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program as if it were the project's command, in a folder of its own."""
    (folder / "hsivi").mkdir(exist_ok=True)
    (folder / "hsivi" / "__main__.py").write_text(program)
    environment = {**os.environ, "TOLD": "so", "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(warm.folder / "python"), "-m", "hsivi", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, input="given", capture_output=True, text=True, check=False
    )


def test_it_has_the_callers_folder_arguments_environment_and_streams(warm: Warm, tmp_path: Path) -> None:
    done = run(warm, tmp_path, TELL, "fit", "a b")
    assert (done.returncode, done.stderr) == (3, "aside\n")
    assert done.stdout == f"{tmp_path} ['fit', 'a b'] so given True\n"


def test_more_threads_than_one_need_a_process_of_its_own(warm: Warm, tmp_path: Path) -> None:
    done = run(warm, tmp_path, TELL, "--threads", "2")
    assert (done.returncode, done.stdout) == (3, f"{tmp_path} ['--threads', '2'] so given False\n")


@pytest.mark.parametrize(
    ("program", "status", "said"),
    [
        ("", 0, ""),
        ("raise SystemExit", 0, ""),
        ("raise ValueError('so')", 1, "ValueError: so"),
        ("import os; os.kill(os.getpid(), 9)", 1, ""),
    ],
)
def test_its_end_is_told_and_what_is_run_is_read_anew(
    program: str, status: int, said: str, warm: Warm, tmp_path: Path
) -> None:
    assert run(warm, tmp_path, TELL).returncode == 3
    done = run(warm, tmp_path, program)
    assert done.returncode == status
    assert said in done.stderr
