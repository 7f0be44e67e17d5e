"""Snakemake's own lint, which exits with 1 whenever it has anything to say; prints it and passes the status on."""

import subprocess
import sys


def main() -> int:
    """Lint every scale."""
    for scale in ("smoke", "quick", "paper"):
        command = ["snakemake", "--lint", "--config", f"scale={scale}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.stderr.write(done.stdout + done.stderr)
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
