"""Forked processes: which cores there are, one for each process, no process that outlives its parent, and how one ended."""

import ctypes
import os
import signal
import sys
from multiprocessing.process import BaseProcess

SECONDS = 5.0  # what a process that has closed its pipe may take to end


def cores() -> list[int]:
    """The cores that this process may use; empty where the operating system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def own_core(place: int, count: int) -> int | None:
    """The core of the process `place` of `count`, to be pinned to; None, if they do not fill the machine: those of another run
    would get the very same first cores, and the rest would idle.
    """
    available = cores()
    return available[place % len(available)] if available and count >= len(available) else None


def pin(core: int | None) -> None:
    """Keep this process on one core; None leaves it free."""
    if core is not None:
        os.sched_setaffinity(0, {core})


def die_with_parent() -> None:
    """Ask Linux to kill this process with its parent, so that it does not work on for nobody."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def cause_of_death(process: BaseProcess) -> str:
    """How a process ended: `signal SIGKILL`, `exit code 1`. One that says no more but lives is killed: nobody else knows it."""
    process.join(timeout=SECONDS)
    if (code := process.exitcode) is None:
        process.kill()
        process.join()
        return "no answer"
    names = {int(number): number.name for number in signal.Signals}  # not all have one
    return f"signal {names.get(-code, -code)}" if code < 0 else f"exit code {code}"
