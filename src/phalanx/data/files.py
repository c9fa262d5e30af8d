"""Where the files of a data set are: in the folder of `PHALANX_DATA_DIR`, in the cache, or on the web (then fetched into the
cache, checked against their published checksums). Nothing here executes what it reads."""

import gzip
import hashlib
import os
import sys
import tarfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from phalanx.core.errors import DataError

VARIABLE = "PHALANX_DATA_DIR"


@dataclass(frozen=True)
class Download:
    """A file on the web: its checksum as `algorithm:hex`, the addresses that hold it (tried in turn) and, of an archive, the
    members to unpack. The last member is written last, so its presence says that all are there."""

    name: str
    checksum: str
    mirrors: tuple[str, ...]
    members: tuple[str, ...] = ()


@runtime_checkable
class OnDisk(Protocol):
    """A data set that lies in files of its own."""

    def place(self) -> Path | None:
        """The folder that holds all of them; None if there is none yet. Nothing is fetched."""


def located(folder: str, files: tuple[str, ...]) -> Path | None:
    """The directory called `folder` that holds all `files`, if there is one."""
    return next((place for place in _places(folder) if all((place / file).is_file() for file in files)), None)


def find(folder: str, files: tuple[str, ...], downloads: tuple[Download, ...]) -> Path:
    """The directory called `folder` that holds all `files`, after fetching `downloads` into the cache if there is none.

    Raises: DataError naming the files and where to put them.
    """
    if place := located(folder, files):
        return place
    places = _places(folder)
    cache = places[-1]
    try:
        for download in downloads:
            _fetch(download, cache)
    except (OSError, ValueError, KeyError, tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(f"{_missing(folder, files, places)} Fetching them failed: {error}") from error
    if not downloads:
        raise DataError(f"{_missing(folder, files, places)} They cannot be fetched automatically.")
    return cache


def read_gzip(path: Path) -> bytes:
    """What a gzip file holds.

    Raises: DataError if it is truncated or no gzip file.
    """
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}). Delete it and get it again.") from error


def checksums(paths: Iterable[Path]) -> dict[str, str]:
    """The sha256 of each file by its name: what the manifest of a run records."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _places(folder: str) -> list[Path]:
    import pooch

    chosen = os.environ.get(VARIABLE)
    roots = ([Path(chosen).expanduser()] if chosen else []) + [Path(pooch.os_cache("phalanx"))]
    return [root / folder for root in roots]


def _missing(folder: str, files: tuple[str, ...], places: list[Path]) -> str:
    return (
        f"The data set {folder} needs {', '.join(files)}. Put them in {' or '.join(map(str, places))}, "
        f"or set {VARIABLE} to a directory whose folder {folder} holds them."
    )


def _fetch(download: Download, cache: Path) -> None:
    import pooch

    pooch.get_logger().setLevel("WARNING")
    failures = []
    for mirror in download.mirrors:
        try:
            file = pooch.retrieve(
                mirror + download.name,
                known_hash=download.checksum,
                path=cache,
                fname=download.name,
                progressbar=sys.stderr.isatty(),
            )
        except ValueError:
            failures.append(f"{mirror} does not hold the published file")
            continue
        except OSError as error:
            failures.append(f"{mirror}: {error.strerror or 'no answer'}")
            continue
        _unpack(Path(file), download.members)
        return
    raise OSError("; ".join(failures))


def _unpack(archive: Path, members: tuple[str, ...]) -> None:
    """Write `members` beside the archive, each under its final name only once it is complete."""
    if not members:
        return
    with tarfile.open(archive) as tar:
        for member in members:
            content = tar.extractfile(member)
            if content is None:
                raise ValueError(f"{archive} has no file {member}")
            target = archive.parent / member
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
            partial.write_bytes(content.read())
            partial.replace(target)
