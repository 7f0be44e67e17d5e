"""How an image metric was computed, and the fingerprint of it that the metric's name carries.  No torch here.

A Frechet distance moves by more than methods differ when the network, the real images, the number of samples or the
rounding change.  So ``fid_inception@1a2b3c4d`` ends in a digest of all of these, and tables refuse to mix two.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from hsivi import provenance
from hsivi.config import ConfigError

LENGTH = 8
"""Hexadecimal digits of a fingerprint."""


@dataclass(frozen=True)
class Protocol:
    """Everything that changes an image metric apart from the samples themselves.

    Attributes:
        extractor: name of the network whose features are compared.
        weights: digest of its weights.
        statistics: digest of what the real mean and covariance come from: the file's arrays, or all training images.
        statistics_origin: where they come from, in words.
        real_images: number of images behind them; None where a file does not say.
        compared: digest of the real images that KID, precision and recall compare with.
        rows: number of these, and the most samples that are compared with them.
        samples: samples in a set.
        quantise: how samples become whole numbers.
        size: height and width of an image.
        crop: which part of a photograph was used.
    """

    extractor: str
    weights: str
    statistics: str
    statistics_origin: str
    real_images: int | None
    compared: str
    rows: int
    samples: int
    quantise: str
    size: int
    crop: str

    @property
    def fingerprint(self) -> str:
        """`LENGTH` hexadecimal digits that any change of any attribute changes."""
        return provenance.digest(asdict(self))[:LENGTH]

    def named(self, metric: str) -> str:
        """Return a metric's full name."""
        return f"{metric}@{self.fingerprint}"

    def of(self, samples: int) -> "Protocol":
        """Return the protocol for sets of another size."""
        return replace(self, samples=samples)

    def metadata(self) -> dict[str, Any]:
        """Return all attributes and the fingerprint, for people."""
        return {**asdict(self), "fingerprint": self.fingerprint}

    @classmethod
    def restore(cls, metadata: dict[str, Any]) -> "Protocol":
        """Open what `metadata` returned."""
        return cls(**{name: value for name, value in metadata.items() if name != "fingerprint"})


def split(name: str) -> tuple[str, str | None]:
    """Return a full name's metric, and its fingerprint if it has one."""
    metric, _, fingerprint = name.partition("@")
    return metric, fingerprint or None


def only(names: Iterable[str], metric: str) -> str | None:
    """Return the one full name among ``names`` that belongs to a bare ``metric``, or None where there is none.

    Raises:
        ConfigError: there are several, so their values must not stand in one table.
    """
    found = sorted({name for name in names if split(name)[0] == metric})
    if len(found) > 1:
        raise ConfigError(
            f"{metric}: got values of {len(found)} protocols ({', '.join(found)}), expected those of one; the notes "
            f"beside the references say how they differ; delete the records of all but one or measure them again"
        )
    return found[0] if found else None
