"""Files of published image sets: where they are looked for, how they are fetched, and what happens when they are wrong.

Mirrors are a server on this machine, npm and apt-get are scripts; nothing here uses the network.
"""

import functools
import gzip
import hashlib
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from hsivi import fetching, sources
from hsivi.config import ConfigError
from hsivi.sources import obtain, published_sets
from tests.mirror import Mirror, serving

CONTENT = bytes(range(256)) * 200
DIGEST = hashlib.sha256(CONTENT).hexdigest()
REAL_SETS = published_sets()


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with serving() as served:
        yield served


@dataclass
class Place:
    """A data set "photos" of one file "a.bin" and the folders around it."""

    root: Path
    monkeypatch: pytest.MonkeyPatch

    @property
    def cached(self) -> Path:
        return self.root / "cache" / "photos" / "a.bin"

    @property
    def partial(self) -> Path:
        return self.cached.with_name("a.bin.partial")

    @property
    def given(self) -> Path:
        return self.root / "data" / "photos" / "a.bin"

    def sources(self, *entries: dict, names: tuple[str, ...] = ("a.bin",), **wrong) -> None:
        file = {"bytes": len(CONTENT), "sha256": DIGEST, "sources": list(entries), **wrong}
        content = {"photos": {"page": "https://photos.example", "files": [{"name": name, **file} for name in names]}}
        (self.root / "sources.yaml").write_text(yaml.safe_dump(content))
        # The default argument is bound to the real file.
        self.monkeypatch.setattr(
            sources, "published_sets", functools.partial(published_sets, self.root / "sources.yaml")
        )

    def give(self, content: bytes) -> None:
        self.put(self.given, content)
        self.monkeypatch.setenv("HSIVI_DATA_DIR", str(self.root / "data"))

    @staticmethod
    def put(path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def left(self) -> set[str]:
        return {path.name for path in self.cached.parent.iterdir()} - {".lock"}

    def program(self, name: str, script: str) -> None:
        folder = self.root / "bin"
        self.put(folder / name, f'#!/bin/sh\necho "$@" >> {self.root}/{name}.log\n{script}\n'.encode())
        (folder / name).chmod(0o755)
        self.monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")

    def calls(self, name: str) -> list[str]:
        return (self.root / f"{name}.log").read_text().splitlines()


@pytest.fixture
def place(tmp_path, monkeypatch) -> Place:
    for name in ("HSIVI_DATA_DIR", "HSIVI_OFFLINE", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HSIVI_CACHE_DIR", str(tmp_path / "cache"))
    return Place(tmp_path, monkeypatch)


def failure() -> str:
    with pytest.raises(ConfigError) as error:
        obtain("photos")
    message = str(error.value)
    assert "\n" not in message
    assert "got " in message and ", expected" in message and "; " in message
    return message


# ---------------------------------------------------------------------------------------------------- the real list
def test_list_names_every_data_set_and_torchvision_agrees():
    from torchvision.datasets import CIFAR10, MNIST, CelebA, FashionMNIST

    from hsivi.data_config import KNOWN_DATASETS

    assert set(REAL_SETS) == set(KNOWN_DATASETS["images"])
    names = {dataset: {file.name for file in entry.files} for dataset, entry in REAL_SETS.items()}
    assert names["mnist"] == {name.removesuffix(".gz") for name, _ in MNIST.resources}
    assert names["fashion_mnist"] == {name for name, _ in FashionMNIST.resources}
    assert names["cifar10"] == {CIFAR10.filename}
    assert names["celeba"] <= {name for _, _, name in CelebA.file_list}
    for dataset, loader in (("mnist", MNIST), ("fashion_mnist", FashionMNIST)):
        for file in REAL_SETS[dataset].files:
            urls = {source.url for source in file.sources if isinstance(source, fetching.Url)}
            name = file.name.removesuffix(".gz") + ".gz"
            assert urls == {prefix + name for prefix in loader.mirrors}
            for source in file.sources:
                assert file.name in str(getattr(source, "member", getattr(source, "path", file.name)))


def test_unknown_data_set_and_a_wrong_list_are_one_line(place):
    with pytest.raises(ConfigError, match=r"^data set: got 'minst', expected .*did you mean 'mnist'"):
        obtain("minst")
    for wrong in ({"sha256": "abc"}, {"bytes": 0}, {"colour": "red"}):
        place.sources(**wrong)
        assert next(iter(wrong)) in failure()


# ---------------------------------------------------------------------------------------------------- where it looks
def test_folder_of_offline_files_comes_first_and_nothing_is_written(place, mirror):
    place.sources({"url": f"{mirror.url}/a.bin"})
    place.put(place.cached, CONTENT)
    place.give(CONTENT)
    assert obtain("photos") == {"a.bin": place.given}
    assert mirror.asked == []
    assert place.left() == {"a.bin"}


def test_cache_comes_before_sources_and_serves_what_the_folder_lacks(place, mirror):
    mirror.files["/a.bin"] = CONTENT
    place.sources({"url": f"{mirror.url}/a.bin"}, names=("a.bin", "b.bin"))
    place.give(CONTENT)
    place.put(place.cached.with_name("b.bin"), CONTENT)
    assert obtain("photos") == {"a.bin": place.given, "b.bin": place.cached.with_name("b.bin")}
    assert mirror.asked == []


def test_wrong_offline_file_is_an_error_and_stays(place, mirror):
    mirror.files["/a.bin"] = CONTENT
    place.sources({"url": f"{mirror.url}/a.bin"})
    wrong = b"x" + CONTENT[1:]
    place.give(wrong)
    message = failure()
    for word in (
        str(place.given),
        hashlib.sha256(wrong).hexdigest(),
        DIGEST,
        str(len(wrong)),
        "https://photos.example",
    ):
        assert word in message
    assert place.given.read_bytes() == wrong
    assert mirror.asked == []


def test_offline_folder_must_exist(place):
    place.sources()
    place.monkeypatch.setenv("HSIVI_DATA_DIR", str(place.root / "typo"))
    assert "HSIVI_DATA_DIR" in failure()


def test_wrong_cached_file_is_fetched_again(place, mirror):
    mirror.files["/a.bin"] = CONTENT
    place.sources({"url": f"{mirror.url}/a.bin"})
    place.put(place.cached, CONTENT[:-1])
    assert obtain("photos")["a.bin"].read_bytes() == CONTENT
    assert place.left() == {"a.bin"}


def test_default_cache_is_in_the_home_folder(place, mirror):
    mirror.files["/a.bin"] = CONTENT
    place.sources({"url": f"{mirror.url}/a.bin"})
    place.monkeypatch.delenv("HSIVI_CACHE_DIR")
    place.monkeypatch.setenv("HOME", str(place.root / "home"))
    assert obtain("photos") == {"a.bin": place.root / "home" / ".cache" / "hsivi-bench" / "photos" / "a.bin"}


def test_cache_that_cannot_be_made_is_one_line(place):
    place.sources()
    place.put(place.root / "cache", b"a file in the way")
    assert "HSIVI_CACHE_DIR" in failure()


# ---------------------------------------------------------------------------------------------------------- offline
def test_offline_downloads_nothing_and_says_what_to_put_where(place, mirror):
    mirror.files["/a.bin"] = CONTENT
    place.program("npm", "exit 1")
    place.sources({"url": f"{mirror.url}/a.bin"}, {"npm": "p@1", "member": "a"}, names=("a.bin", "b.bin"))
    place.monkeypatch.setenv("HSIVI_OFFLINE", "1")
    message = failure()
    for word in ("HSIVI_OFFLINE", "HSIVI_DATA_DIR/photos/a.bin", "likewise b.bin", "https://photos.example", DIGEST):
        assert word in message
    assert mirror.asked == []
    assert not (place.root / "npm.log").exists()
    place.monkeypatch.setenv("HSIVI_OFFLINE", "0")
    assert obtain("photos")["a.bin"] == place.cached


def test_offline_still_uses_the_cache_and_the_disk(place):
    place.put(place.root / "installed.bin", CONTENT)
    place.sources({"path": str(place.root / "installed.bin")})
    place.monkeypatch.setenv("HSIVI_OFFLINE", "1")
    assert obtain("photos") == {"a.bin": place.cached}
    (place.root / "installed.bin").unlink()
    assert obtain("photos")["a.bin"].read_bytes() == CONTENT


def test_set_without_sources_says_where_its_files_belong(place):
    place.sources()
    message = failure()
    assert "HSIVI_DATA_DIR/photos/a.bin" in message and "set in the environment" in message
    place.give(CONTENT)
    place.given.unlink()
    assert f"put it at {place.given}" in failure()


# -------------------------------------------------------------------------------------------------------- downloads
def test_download_is_verified_complete_and_reported(place, mirror, capfd):
    mirror.files["/a.bin"] = CONTENT
    place.sources({"url": f"{mirror.url}/a.bin"})
    assert obtain("photos") == {"a.bin": place.cached}
    assert place.cached.read_bytes() == CONTENT
    assert place.left() == {"a.bin"}
    assert f"photos/a.bin: bytes: {len(CONTENT)}/{len(CONTENT)}" in capfd.readouterr().err
    obtain("photos")
    assert mirror.asked == [("/a.bin", None)]


def test_next_mirror_serves_when_one_fails_and_all_reasons_are_said(place, mirror):
    mirror.files |= {"/good": CONTENT, "/wrong": CONTENT[:-1] + b"x"}
    bad = [{"url": f"{mirror.url}/missing"}, {"url": f"{mirror.url}/wrong"}, {"url": "http://127.0.0.1:1/closed"}]
    place.sources(*bad)
    message = failure()
    wrong = hashlib.sha256(mirror.files["/wrong"]).hexdigest()
    for word in ("missing: HTTP 404", f"wrong: got {len(CONTENT)} bytes with sha256 {wrong}", "Connection refused"):
        assert word in message
    assert place.left() == set()
    place.sources(*bad, {"url": f"{mirror.url}/good"})
    assert obtain("photos")["a.bin"].read_bytes() == CONTENT


def test_broken_download_is_continued_where_it_stopped(place, mirror):
    mirror.files["/a.bin"], mirror.cut = CONTENT, 1000
    place.sources({"url": f"{mirror.url}/a.bin"})
    assert f"connection closed after 1000 of {len(CONTENT)} bytes" in failure()
    assert place.partial.read_bytes() == CONTENT[:1000]
    mirror.cut = None
    assert obtain("photos")["a.bin"].read_bytes() == CONTENT
    assert mirror.asked[-1] == ("/a.bin", "bytes=1000-")
    assert place.left() == {"a.bin"}


def test_broken_download_is_continued_by_the_next_mirror(place, mirror):
    mirror.files["/b.bin"] = CONTENT
    place.put(place.partial, CONTENT[:1000])
    place.sources({"url": f"{mirror.url}/a.bin"}, {"url": f"{mirror.url}/b.bin"})
    assert obtain("photos")["a.bin"].read_bytes() == CONTENT
    assert mirror.asked[-1] == ("/b.bin", "bytes=1000-")


def test_server_that_does_not_say_the_length_is_checked_too(place, mirror):
    mirror.files["/a.bin"], mirror.length, mirror.cut = CONTENT, False, 500
    place.sources({"url": f"{mirror.url}/a.bin"})
    assert "after 500 of" in failure()
    mirror.cut = None
    assert obtain("photos")["a.bin"].read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("beginning", [b"y" * 1000, CONTENT + b"y", CONTENT])
def test_beginning_of_another_file_is_thrown_away(place, mirror, beginning, ranges):
    mirror.files["/a.bin"], mirror.ranges = CONTENT, ranges
    place.sources({"url": f"{mirror.url}/a.bin"})
    place.put(place.partial, beginning)
    assert obtain("photos")["a.bin"].read_bytes() == CONTENT
    assert place.left() == {"a.bin"}
    once = not ranges or beginning == CONTENT
    assert [wanted is None for _, wanted in mirror.asked] == ([False] if once else [False, True])


def test_compressed_mirror_is_unpacked_and_its_content_verified(place, mirror):
    mirror.files |= {"/a.gz": gzip.compress(CONTENT, 1), "/text": b"<html>", "/cut": gzip.compress(CONTENT)[:-20]}
    place.sources({"url": f"{mirror.url}/a.gz", "unpack": "gzip"})
    assert obtain("photos")["a.bin"].read_bytes() == CONTENT
    assert place.left() == {"a.bin"}
    place.cached.unlink()
    mirror.files["/other"] = gzip.compress(CONTENT[1:])
    place.sources(*({"url": f"{mirror.url}/{name}", "unpack": "gzip"} for name in ("text", "cut", "other")))
    message = failure()
    assert message.count("not a complete gzip file") == 2
    assert f"got {len(CONTENT) - 1} bytes" in message
    assert place.left() == set()


def test_interrupted_compressed_download_is_continued(place, mirror):
    packed = gzip.compress(CONTENT, 1)
    mirror.files["/a.gz"] = packed
    place.sources({"url": f"{mirror.url}/a.gz", "unpack": "gzip"})
    place.put(place.cached.with_name("a.bin.gz.partial"), packed[:100])
    assert obtain("photos")["a.bin"].read_bytes() == CONTENT
    assert mirror.asked == [("/a.gz", "bytes=100-")]


# --------------------------------------------------------------------------------------------------------- packages
def tgz(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def test_npm_package_is_downloaded_once_and_its_member_verified(place):
    tgz(place.root / "made.tgz", {"package/data/a": CONTENT})
    place.program("npm", f"cp {place.root}/made.tgz photos-1.tgz")
    place.sources({"npm": "photos@1", "member": "package/data/a"}, names=("a.bin", "b.bin"))
    assert {name: path.read_bytes() for name, path in obtain("photos").items()} == {"a.bin": CONTENT, "b.bin": CONTENT}
    assert place.calls("npm") == ["pack --ignore-scripts --silent photos@1"]
    assert place.left() == {"a.bin", "b.bin"}


@pytest.mark.parametrize(
    ("members", "script", "said"),
    [
        ({"package/b": CONTENT}, "cp {root}/made.tgz x.tgz", "has no package/a"),
        ({"package/a": CONTENT[:-1]}, "cp {root}/made.tgz x.tgz", f"got {len(CONTENT) - 1} bytes"),
        ({"../../a": CONTENT}, "cp {root}/made.tgz x.tgz", "outside"),
        ({}, "echo nonsense > x.tgz", "npm photos@1: "),
        ({}, "true", "left 0 files"),
        ({}, "echo '404 not found' >&2; exit 1", "npm pack failed: 404 not found"),
    ],
)
def test_npm_package_that_does_not_serve_is_passed_over(place, members, script, said):
    tgz(place.root / "made.tgz", members)
    place.program("npm", script.format(root=place.root))
    place.sources({"npm": "photos@1", "member": "package/a"})
    assert said in failure()
    assert place.left() == set()


def test_debian_package_is_unpacked_without_being_installed(place):
    place.put(place.root / "content", CONTENT)
    place.program("apt-get", "echo package > photos_1_all.deb")
    unpack = f'test -f "$2" && mkdir -p "$3/usr/share" && cp {place.root}/content "$3/usr/share/a"'
    place.program("dpkg-deb", unpack)
    place.sources({"debian": "photos", "member": "./usr/share/a"}, names=("a.bin", "b.bin"))
    assert obtain("photos")["a.bin"].read_bytes() == CONTENT
    assert place.calls("apt-get") == ["download photos"]
    assert place.calls("dpkg-deb")[0].startswith("-x ")


def test_programs_that_are_missing_or_too_slow_are_passed_over(place, monkeypatch):
    place.monkeypatch.setenv("PATH", str(place.root))
    place.sources({"npm": "photos@1", "member": "a"}, {"debian": "photos", "member": "a"})
    message = failure()
    assert "npm is not installed" in message and "apt-get is not installed" in message
    place.program("npm", "exec sleep 5")
    monkeypatch.setattr(fetching, "PACKAGE_TIMEOUT", 0.1)
    place.sources({"npm": "photos@1", "member": "a"})
    assert "took more than 0.1 s" in failure()


def test_jobs_side_by_side_download_once(place, mirror):
    mirror.files["/a.bin"] = CONTENT
    place.sources({"url": f"{mirror.url}/a.bin"})
    results: list[Path] = []
    threads = [threading.Thread(target=lambda: results.append(obtain("photos")["a.bin"])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [place.cached] * 4
    assert mirror.asked == [("/a.bin", None)]
