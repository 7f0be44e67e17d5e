"""Errors in one line, with what to do about them.  No torch here."""


def missing_package(package: str, trains: bool) -> str:
    """Return in one line which extra of pyproject.toml a command needs.

    Arguments:
        package: the one that is missing.
        trains: whether the command trains, samples or measures.
    """
    extra = "run" if trains else "figures"
    return (
        f"packages: got no {package!r}, expected the extra {extra!r} of this project; run "
        f"pip install -c constraints.txt -e '.[{extra}]'" + (", or make environment" if trains else "")
    )


def words(error: Exception) -> str:
    """Return an error in one line, with a remedy where memory, room on the disk, access or a compiler is missing."""
    said = " ".join(str(error).split())
    if "Read-only file system" in said or "Permission denied" in said:
        return f"folder: got one that cannot be written to ({said[:160]}), expected one that can; correct that"
    # torch.save says that its file has another length than what it wrote
    if "No space left" in said or "inline_container" in said:
        return f"disk: got no room left ({said[:160]}), expected enough for this step; make room and run again"
    # By name, since torch is not loaded here; on a processor it is a plain RuntimeError.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "allocate memory" in said:
        return (
            f"memory: got too little ({said[:120] or 'none left'}), expected enough for this step; raise "
            f"microbatches or lower the batch in the recipe, or use a larger machine; what is finished stays"
        )
    if type(error).__name__ == "InductorError":
        return (
            f"compile: got true, and PyTorch could not compile ({said[:160]}), expected a C++ compiler and Python's "
            f"headers; install them, name the compiler in CXX, or take compile out of the recipe"
        )
    return said
