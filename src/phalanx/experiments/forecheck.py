"""What a sweep's cells need of this machine, looked at once before any is begun: their data sets, and their devices."""

import multiprocessing
import signal
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection

import torch

from phalanx.config import Experiment
from phalanx.core.errors import ConfigError, PhalanxError
from phalanx.core.processes import die_with_parent
from phalanx.simulation import choose_devices
from phalanx.simulation.devices import may_use_gpus


def check_machine(experiments: Sequence[Experiment]) -> None:
    """Load every data set and look for every device, in a process that ends then.

    This one must hold neither samples nor CUDA: its forks would inherit both.

    Raises: DataError for a data set that is missing or damaged; ConfigError for a device that is not there, without `fork`, or
        for GPUs after this process has used CUDA.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        raise ConfigError("A sweep needs an operating system with fork; run its cells one by one with: phalanx run.")
    if torch.cuda.is_initialized() and any(may_use_gpus(experiment.run) for experiment in experiments):  # type: ignore[no-untyped-call]
        raise ConfigError(
            "A sweep's processes are forked, which CUDA allows only before its first use; this process has used it. "
            'Start the sweep first, or set run.devices = ["cpu"].'
        )
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=_look, args=(theirs, experiments))
    process.start()
    theirs.close()
    try:
        with suppress(EOFError):  # it found nothing wrong, or a third party's data set killed it: the cells will tell
            raise ours.recv()
    finally:
        ours.close()
        process.kill()
        process.join()
        process.close()


def _look(connection: Connection, experiments: Sequence[Experiment]) -> None:
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who ends this process
    torch.set_num_threads(1)
    settings = {(experiment.run.devices, experiment.run.workers): experiment.run for experiment in experiments}
    datasets = {repr(experiment.data): experiment.data for experiment in experiments}
    try:
        for run in settings.values():
            choose_devices(run)
        for data in datasets.values():
            data.load()
    except PhalanxError as error:
        connection.send(error)
    except Exception:  # noqa: BLE001 - a third party's: it costs its cells only, and they tell it
        return
