import multiprocessing
import os

import pytest
import torch

from phalanx.config import Experiment, RunSettings
from phalanx.core.errors import ConfigError, DataError
from phalanx.data import Synthetic
from phalanx.experiments.forecheck import check_machine


@pytest.fixture
def log(tmp_path, monkeypatch):
    """What was loaded, and by which process."""
    path = tmp_path / "log"
    path.touch()

    def load(self):
        with path.open("a") as file:
            print(self.num_samples, os.getpid(), file=file)
        if self.num_samples == 13:
            raise DataError("There are no such samples.")
        if self.num_samples == 17:
            raise ZeroDivisionError("by a third party")
        if self.num_samples == 19:
            os._exit(1)

    monkeypatch.setattr(Synthetic, "load", load)
    return path


def of(*sizes: int, **settings) -> list[Experiment]:
    return [
        Experiment(data=Synthetic(num_samples=size), run=RunSettings(seed=seed, **settings)) for seed, size in enumerate(sizes)
    ]


def test_every_data_set_is_loaded_once_and_by_another_process(log):
    check_machine(of(10, 20, 10, 20, 30))
    loaded = [line.split() for line in log.read_text().splitlines()]
    assert [size for size, _ in loaded] == ["10", "20", "30"]
    assert str(os.getpid()) not in {pid for _, pid in loaded}
    assert not multiprocessing.active_children()


def test_a_missing_data_set_is_its_own_sentence(log):
    with pytest.raises(DataError, match=r"^There are no such samples\.$"):
        check_machine(of(10, 13))
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("size", [17, 19])
def test_what_a_third_party_s_data_set_does_costs_its_cells_only(log, size):
    check_machine(of(size))
    assert log.read_text().startswith(f"{size} ")


def test_a_device_that_is_not_there_is_one_sentence(log, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match=r"^run\.devices names cuda:3, but torch finds cuda:0 here\."):
        check_machine(of(10, devices=("cuda:3",)))


@pytest.mark.parametrize("settings", [{}, {"devices": ("cuda",), "workers": 4}])
def test_gpus_are_refused_after_this_process_has_used_one(log, monkeypatch, settings):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(ConfigError, match=r"CUDA allows only before its first use; this process has used it\."):
        check_machine(of(10, **settings))
    check_machine(of(10, devices=("cpu",)))
    check_machine(of(10, workers=4))


def test_without_fork_the_way_out_is_said(monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    with pytest.raises(ConfigError, match=r"needs an operating system with fork; run its cells one by one with: phalanx run\."):
        check_machine(of(10))
