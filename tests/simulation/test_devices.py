"""Which devices a run trains on, and that it is the same run on several."""

import subprocess
import sys

import pytest
import torch

from phalanx.config import RunSettings
from phalanx.core.errors import ConfigError
from phalanx.simulation import choose_devices

CPU, FIRST, SECOND = torch.device("cpu"), torch.device("cuda", 0), torch.device("cuda", 1)


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.mark.parametrize(
    "devices, workers, chosen",
    [
        (("auto",), 1, (FIRST,)),
        (("auto",), 2, (CPU,)),
        (("cpu",), 1, (CPU,)),
        (("cuda",), 3, (FIRST,)),
        (("cuda:1", "cuda:0"), 1, (SECOND, FIRST)),
    ],
)
def test_devices_are_those_that_were_named_and_auto_is_the_first_gpu_for_one_worker(two_gpus, devices, workers, chosen):
    assert choose_devices(RunSettings(devices=devices, workers=workers)) == chosen


def test_a_device_that_is_not_there_is_one_sentence_that_names_what_is(two_gpus, monkeypatch):
    with pytest.raises(ConfigError, match=r"^run\.devices names cuda:2, cuda:7, but torch finds cuda:0, cuda:1 here\."):
        choose_devices(RunSettings(devices=("cuda:2", "cuda:0", "cuda:7")))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match="names cuda:0, but torch finds no GPU here"):
        choose_devices(RunSettings(devices=("cuda",)))


def test_named_gpus_are_counted_without_using_cuda(two_gpus, monkeypatch):
    def touched():
        pytest.fail("CUDA was initialised before the fork")

    monkeypatch.setattr(torch.cuda, "is_available", touched)
    monkeypatch.setattr(torch.cuda, "init", touched)
    assert choose_devices(RunSettings(devices=("cuda:0", "cuda:1"))) == (FIRST, SECOND)
    assert choose_devices(RunSettings(workers=4)) == (CPU,)


SEVERAL = """
import sys, torch
from dataclasses import replace
from phalanx.attacks import Adversary, Backdoor, FirstClients, Patch
from phalanx.config import Experiment, RunSettings
from phalanx.core.params import flatten
from phalanx.data import Digits
from phalanx.experiments import run
from phalanx.models import CNN
poison = Backdoor(Patch(2), target=0, share=0.5)
experiment = Experiment(data=Digits(), model=CNN(), adversary=Adversary(who=FirstClients(count=1), data=poison))
ends = []
for settings in (RunSettings(3, devices=("cpu",)), RunSettings(3, devices=tuple(sys.argv[2:]), workers=int(sys.argv[1]))):
    result = run(replace(experiment, run=settings))
    ends.append((torch.cat(flatten(result.model)).cpu(), result.metrics[-1]["accuracy"]))
torch.testing.assert_close(ends[0][0], ends[1][0], atol=1e-4, rtol=1e-3)
assert abs(ends[0][1] - ends[1][1]) < 0.02, ends
"""


@pytest.mark.parametrize("workers, devices", [(2, ("cuda:0",)), (1, ("cuda:0", "cuda:1"))])
def test_workers_on_gpus_agree_with_the_cpu(workers, devices):
    # In a process of its own: other tests have used CUDA in this one, and then no worker can.
    if torch.cuda.device_count() < len(devices):
        pytest.skip(f"needs {len(devices)} CUDA devices; torch finds {torch.cuda.device_count()}")
    command = [sys.executable, "-c", SEVERAL, str(workers), *devices]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
