"""The documentation; `docs/_hooks` makes parts of it from the code."""
