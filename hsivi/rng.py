"""Random generators that belong to a key, counter-based (Philox; Salmon et al., 2011).  No torch here."""

import hashlib

import numpy as np


def generator(*key: int | str) -> np.random.Generator:
    """Return the random generator that belongs to ``key``."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
