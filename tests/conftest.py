"""What every test lives under: one thread, the same examples each time, no network, and real data only where it is offered."""

import ipaddress
import json
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest
import tomli_w
import torch

from phalanx.experiments import Sweep, SweepRecord

torch.set_num_threads(1)
hypothesis.settings.register_profile("phalanx", derandomize=True, deadline=None, max_examples=30, database=None)
hypothesis.settings.load_profile("phalanx")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with real data sets; without `PHALANX_DATA_DIR` the test is skipped and says why."""
    folder = os.environ.get("PHALANX_DATA_DIR")
    if not folder:
        pytest.skip("real data: set PHALANX_DATA_DIR to the folder that holds it")
    return Path(folder)


@pytest.fixture
def untouched_rng() -> Iterator[None]:
    """Fail the test if it moved a global random stream (Python's, NumPy's or torch's)."""
    before = _global_streams()
    yield
    moved = [name for name, state in _global_streams().items() if state != before[name]]
    assert not moved, f"the global random stream of {moved} was used"


def _global_streams() -> dict[str, object]:
    _, words, position, *_ = np.random.get_state()  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": (words.tobytes(), position),
        "torch": torch.get_rng_state().numpy().tobytes(),
    }


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """A test that leaves this machine fails, even where the code under test swallows errors (child processes are not held)."""

    def guarded(original):
        def call(self, address, *rest):
            if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address[0]):
                pytest.fail(f"a test tried to reach {address}")
            return original(self, address, *rest)

        return call

    def resolve(host, *rest, **options):
        if not _is_local(host):
            pytest.fail(f"a test tried to resolve {host}")
        return resolve_locally(host, *rest, **options)

    resolve_locally = socket.getaddrinfo
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", resolve)
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, guarded(getattr(socket.socket, name)))
        yield


def _is_local(host: str | bytes | None) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    try:
        return name in (None, "", "localhost") or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


@pytest.fixture
def written(tmp_path):
    """A sweep's folder in which the cells with a score are finished: `written(axes, {names of the place: final row})`."""

    def write(axes, scores):
        base = {"data": {"kind": "synthetic"}, "adversary": {"who": {"kind": "first_clients", "count": 2}}}
        sweep = Sweep.from_tables(base, axes)
        for cell in sweep.cells:
            if (final := scores.get(tuple(cell.place.values()))) is not None:
                folder = tmp_path / "cells" / cell.folder_name
                folder.mkdir(parents=True)
                (folder / "config.toml").write_text(cell.experiment.to_toml())
                (folder / "result.json").write_text(
                    json.dumps({"experiment": cell.experiment.digest(), "final": {"round": 0} | final})
                )
        (tmp_path / "sweep.toml").write_text(tomli_w.dumps(sweep.to_tables()))
        return SweepRecord.read(tmp_path)

    return write
