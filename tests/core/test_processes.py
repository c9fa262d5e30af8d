import multiprocessing
import os
import signal
import sys

import pytest

from phalanx.core.processes import cause_of_death, cores, die_with_parent, own_core, pin

fork = multiprocessing.get_context("fork")


def ended(action) -> str:
    process = fork.Process(target=action)
    process.start()
    return cause_of_death(process)


def test_a_process_s_end_is_told_in_words():
    assert ended(lambda: os._exit(3)) == "exit code 3"
    assert ended(lambda: os.kill(os.getpid(), signal.SIGKILL)) == "signal SIGKILL"


@pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="the system has no real-time signals")
def test_a_signal_without_a_name_is_told_by_its_number():
    number = int(signal.SIGRTMIN) + 1
    assert ended(lambda: os.kill(os.getpid(), number)) == f"signal {number}"


def test_a_process_that_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr("phalanx.core.processes.SECONDS", 0.0)
    process = fork.Process(target=signal.pause)
    process.start()
    assert cause_of_death(process) == "no answer"
    assert not process.is_alive()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system does not tell cores")
def test_pin_keeps_a_process_on_one_core_and_none_leaves_it_free():
    assert cores() == sorted(os.sched_getaffinity(0))

    def check() -> None:
        pin(None)
        assert cores() == before
        pin(before[-1])
        os._exit(0 if cores() == before[-1:] else 1)

    before = cores()
    assert ended(check) == "exit code 0"


def test_processes_that_fill_the_machine_have_a_core_each_and_fewer_are_left_to_the_system(monkeypatch):
    monkeypatch.setattr("phalanx.core.processes.cores", lambda: [2, 5, 7])
    assert [own_core(place, 4) for place in range(4)] == [2, 5, 7, 2]
    assert [own_core(place, 2) for place in range(2)] == [None, None]
    monkeypatch.setattr("phalanx.core.processes.cores", list)
    assert own_core(0, 4) is None


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
def test_a_process_dies_with_its_parent():
    ours, theirs = fork.Pipe()

    def child() -> None:
        die_with_parent()
        theirs.send(None)
        signal.pause()

    def parent() -> None:
        process = fork.Process(target=child)
        process.start()
        ours.recv()
        os.kill(os.getpid(), signal.SIGKILL)

    process = fork.Process(target=parent)
    process.start()
    process.join()
    theirs.close()
    with pytest.raises(EOFError):  # the pipe ends when the last process that could write to it is gone
        ours.recv()
