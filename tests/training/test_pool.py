"""Workers: the same bytes for any number of them, and a clear end whatever happens to one."""

import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace

import pytest
import torch
from torch import nn

from phalanx.core.errors import ConfigError, WorkerError
from phalanx.core.families import DataAttack, StepHook, Trainer
from phalanx.core.params import Layout
from phalanx.core.types import Status
from phalanx.training import SGD, InProcess, WorkerPool

TRAINER = SGD(0.1, epochs=2, batch_size=4, momentum=0.9)
SIZES = (9, 4, 0, 17, 8, 1, 6)


class _Flip(DataAttack):
    """Calls everything class 0, with some noise."""

    def poison(self, images, labels, draw):
        return images + (draw.attacker + 1) * torch.rand(images.shape, generator=draw.generator), torch.zeros_like(labels)


class _Drag(StepHook):
    """Pulls along the previous update."""

    def after_step(self, params, context):
        params += 0.1 * context.previous_update


class _Counting(Trainer):
    """Counts a client's rounds in its state and sends the count."""

    def train(self, cohort, state, context, out):
        counts = {client: state.get(f"{client}.count", torch.zeros(())) + 1 for client in cohort.ids}
        assert all(int(name.partition(".")[0]) in cohort.ids for name in state)
        for client, place in zip(cohort.ids, cohort.places):
            out.matrix[place] = counts[client]
        return {f"{client}.count": count for client, count in counts.items()}


class _Killed(Trainer):
    """Its process is killed when client 3 is trained."""

    def train(self, cohort, state, context, out):
        if 3 in cohort.ids:
            os.kill(os.getpid(), signal.SIGKILL)
        return {}


class _Failing(Trainer):
    """Raises when client 3 is trained."""

    def train(self, cohort, state, context, out):
        if 3 in cohort.ids:
            raise ConfigError("The trigger does not fit.") if context.round else RuntimeError("out of cheese")
        return {}


class _Environment(Trainer):
    """Sends what a worker lives with: its threads and its cores."""

    def train(self, cohort, state, context, out):
        out.matrix[list(cohort.places), 0] = torch.get_num_threads()
        out.matrix[list(cohort.places), 1] = len(os.sched_getaffinity(0))
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        return {}


CPU, STAGED = torch.device("cpu"), torch.device("cpu", 0)
"""Where the rows are, and the same processor under another name: a worker there takes model and samples to its device, trains
into rows of its own and copies them, as one with a GPU does."""


def pool(here, workers, scratch=0, devices=(CPU,)):
    capacity = len(here.cohort)
    return WorkerPool(workers, here.model, here.samples, here.index, here.layout, capacity, scratch, devices=devices)


def copy(rows):
    return {name: tensor.clone() for name, tensor in vars(rows).items()}


@pytest.fixture(autouse=True)
def _no_process_is_left():
    yield
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("net", ["linear_model", "mlp", "batchnorm_net", "dropout_net"])
def test_rows_are_the_same_bytes_for_any_number_of_workers(world, nets, net):
    here = world(nets[net], SIZES)
    context = replace(here.context, previous_update=torch.ones(here.layout.d))
    cohort = replace(here.cohort, poison=_Flip(), attackers=tuple(range(7)), hooks=(_Drag(),))
    results = []
    for make in (lambda: InProcess(here.model, here.layout, 7), *(lambda n=n: pool(here, n) for n in (1, 2, 3))):
        with make() as executor:
            for each in (here.cohort, cohort):
                executor.train(TRAINER, each, {}, context, executor.rows)
                results.append(copy(executor.rows))
    for honest, attacked in zip(results[2::2], results[3::2]):
        assert all(torch.equal(honest[name], results[0][name]) for name in honest)
        assert all(torch.equal(attacked[name], results[1][name]) for name in attacked)
    assert not torch.equal(results[0]["matrix"], results[1]["matrix"])
    assert results[0]["status"].tolist().count(Status.NO_SAMPLES) >= 1


@pytest.mark.parametrize("net", ["linear_model", "cnn", "batchnorm_net", "dropout_net"])
def test_rows_trained_elsewhere_and_copied_are_the_same_bytes_for_any_number_of_devices(world, nets, net):
    here = world(nets[net], SIZES)
    context = replace(here.context, previous_update=torch.ones(here.layout.d))
    cohort = replace(here.cohort, poison=_Flip(), attackers=tuple(range(7)), hooks=(_Drag(),))
    results = []
    for workers, devices in ((1, [CPU]), (1, [STAGED, STAGED]), (2, [STAGED])):
        with pool(here, workers, scratch=7, devices=devices) as executor:
            assert len(multiprocessing.active_children()) == workers * len(devices)
            executor.train(TRAINER, here.cohort, {}, context, executor.scratch)
            executor.train(TRAINER, cohort, {}, context, executor.rows)
            results.append((copy(executor.scratch), copy(executor.rows)))
    for ours in results[1:]:
        for kind, rows in zip(results[0], ours):
            assert all(torch.equal(kind[name], rows[name]) for name in kind)
    assert Status.NO_SAMPLES in results[1][1]["status"].tolist()
    assert not torch.equal(results[1][0]["matrix"], results[1][1]["matrix"])


def test_states_travel_to_a_device_and_back(world, nets):
    here = world(nets["mlp"], SIZES)
    with pool(here, 1, devices=[STAGED, STAGED]) as workers:
        state = workers.train(_Counting(), here.cohort, {"4.count": torch.tensor(5.0)}, here.context, workers.rows)
        assert workers.rows.matrix[:, 0].tolist() == [1, 1, 1, 1, 6, 1, 1]
    assert int(state["4.count"]) == 6


def test_a_device_that_fails_in_a_worker_is_one_sentence(world, nets):
    here = world(nets["mlp"], SIZES)
    failure = pytest.raises(WorkerError, match=r"^Training failed in a worker: \w+: .*CUDA")
    with pool(here, 1, devices=[torch.device("cuda", 99)] * 2) as workers, failure:
        workers.train(TRAINER, here.cohort, {}, here.context, workers.rows)


def test_workers_for_gpus_are_refused_where_cuda_has_been_used_before_the_fork(world, nets, monkeypatch):
    here = world(nets["mlp"], SIZES)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(ConfigError, match="CUDA allows only before its first use; this process has used it"):
        pool(here, 1, devices=[torch.device("cuda", 0), torch.device("cuda", 1)])
    pool(here, 2)


def test_some_of_the_clients_are_trained_into_their_places_or_into_scratch(world, nets):
    here = world(nets["mlp"], SIZES)
    everyone = here.train(TRAINER)
    with pool(here, 2, scratch=3) as workers:
        cohort = replace(here.cohort, ids=(3, 0), places=(1, 0), index=(here.index[3], here.index[0]))
        workers.train(TRAINER, cohort, {}, here.context, workers.scratch.first(2))
        assert torch.equal(workers.scratch.matrix[:2], everyone.matrix[[0, 3]])
        assert workers.rows.matrix.count_nonzero() == 0
        workers.train(TRAINER, cohort, {}, here.context, workers.rows.first(2))
        assert torch.equal(workers.rows.matrix[:2], everyone.matrix[[0, 3]])


def test_each_worker_gets_its_clients_states_and_they_come_back_merged(world, nets):
    here = world(nets["mlp"], SIZES)
    state = {"4.count": torch.tensor(5.0), "40.count": torch.tensor(7.0)}
    with pool(here, 3) as workers:
        for _ in range(2):
            state = {**state, **workers.train(_Counting(), here.cohort, state, here.context, workers.rows)}
        assert workers.rows.matrix[:, 0].tolist() == [2, 2, 2, 2, 7, 2, 2]
    assert {name: int(count) for name, count in state.items()} == {
        "4.count": 7,
        "40.count": 7,
        **{f"{client}.count": 2 for client in (0, 1, 2, 3, 5, 6)},
    }


def test_a_worker_has_one_thread_one_core_and_ignores_polite_signals(world, nets, monkeypatch):
    first = sorted(os.sched_getaffinity(0))[:2]
    monkeypatch.setattr("phalanx.core.processes.cores", lambda: first)  # the two of them fill this machine
    here = world(nets["mlp"], SIZES)
    with pool(here, 2) as workers:
        workers.train(_Environment(), here.cohort, {}, here.context, workers.rows)
        assert (workers.rows.matrix[:, :2] == 1).all()


def test_a_killed_worker_is_one_sentence_and_the_end_of_the_pool(world, nets):
    here = world(nets["mlp"], SIZES)
    with pool(here, 2) as workers:
        with pytest.raises(WorkerError, match=r"A training worker died \(signal SIGKILL\)"):
            workers.train(_Killed(), here.cohort, {}, here.context, workers.rows)
        assert multiprocessing.active_children() == []
        with pytest.raises(WorkerError, match="closed"):
            workers.train(TRAINER, here.cohort, {}, here.context, workers.rows)


def test_a_worker_that_was_killed_between_rounds_is_noticed(world, nets):
    here = world(nets["mlp"], SIZES)
    with pool(here, 2) as workers:
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
        with pytest.raises(WorkerError, match="SIGKILL"):
            workers.train(TRAINER, here.cohort, {}, here.context, workers.rows)


@pytest.mark.parametrize(
    "round, message", [(1, r"^The trigger does not fit\.$"), (0, r"^Training failed in a worker: RuntimeError: out of cheese$")]
)
def test_an_exception_reaches_the_parent_in_its_own_words(world, nets, round, message):
    here = world(nets["mlp"], SIZES, round=round)
    with pool(here, 2) as workers, pytest.raises(WorkerError, match=message):
        workers.train(_Failing(), here.cohort, {}, here.context, workers.rows)


def test_what_cannot_be_sent_is_refused_with_the_way_out(world, nets):
    class _Local(StepHook):
        pass

    here = world(nets["mlp"], SIZES)
    with pool(here, 2) as workers, pytest.raises(ConfigError, match="set workers = 1"):
        workers.train(replace(TRAINER, hooks=(_Local(),)), here.cohort, {}, here.context, workers.rows)


def test_rows_and_samples_that_workers_cannot_see_are_refused(world, nets):
    here = world(nets["mlp"], SIZES)
    with pool(here, 1) as workers:
        with pytest.raises(WorkerError, match="neither"):
            workers.train(TRAINER, here.cohort, {}, here.context, here.rows())
        with pytest.raises(WorkerError, match="other samples"):
            workers.train(TRAINER, replace(here.cohort, samples=replace(here.samples)), {}, here.context, workers.rows)


def test_without_fork_or_off_the_cpu_there_is_no_pool(world, nets, monkeypatch):
    here = world(nets["mlp"], SIZES)
    elsewhere = nets["mlp"]().to("meta")
    with pytest.raises(ConfigError, match="needs the model on the CPU; it is on meta"):
        WorkerPool(2, elsewhere, here.samples, here.index, Layout.of(elsewhere), 7)
    monkeypatch.delattr(os, "fork")
    with pytest.raises(ConfigError, match="set workers = 1"):
        pool(here, 2)


def test_workers_end_with_a_parent_that_never_closed_them():
    script = """
import os, sys, torch
from torch import nn
from phalanx.core.params import Layout
from phalanx.core.types import Samples
from phalanx.training import WorkerPool
import multiprocessing
model = nn.Linear(2, 2)
samples = Samples(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), 2)
pool = WorkerPool(2, model, samples, (torch.arange(1),), Layout.of(model), 1).__enter__()
print(*(child.pid for child in multiprocessing.active_children()), flush=True)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), 9)
"""
    for end in ("finished", "killed"):
        # The workers inherit stdout: the pipe ends when the last of them does.
        done = subprocess.run([sys.executable, "-c", script, end], capture_output=True, text=True, timeout=60)
        assert done.returncode == {"finished": 0, "killed": -9}[end], done.stderr
        assert len(done.stdout.split()) == 2


def test_models_with_several_threads_before_the_fork_do_not_hang(world, nets):
    here = world(nets["cnn"], SIZES)
    expected = here.train(TRAINER)
    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(2)
        nn.functional.linear(torch.rand(600, 600), torch.rand(600, 600)).relu().sum()
        with pool(here, 2) as workers:
            workers.train(TRAINER, here.cohort, {}, here.context, workers.rows)
            assert torch.equal(workers.rows.matrix, expected.matrix)


def test_workers_that_the_system_cannot_start_are_one_sentence(world, nets, monkeypatch):
    here = world(nets["mlp"], (5, 6))

    def refuse(self):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(WorkerPool, "_fork", refuse)
    pool = WorkerPool(9, here.model, here.samples, here.index, here.layout, 2)
    with pytest.raises(WorkerError, match=r"^9 workers cannot be started: Too many open files\. Set fewer\.$"), pool:
        pass
