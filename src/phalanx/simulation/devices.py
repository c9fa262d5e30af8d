"""Where clients are trained: the devices that `[run]` names, if they are there.

One device and one worker: all of a run is done there, in this process. Otherwise workers train, on the CPU or each on its GPU;
the attack and the rule stay on the CPU, beside the rows, and the model is tested on the first device. What several GPUs gain
has not been measured: the way there and back is tested with the CPU in their place.
"""

import torch

from phalanx.config import RunSettings
from phalanx.core.errors import ConfigError

CPU = torch.device("cpu")


def may_use_gpus(run: RunSettings) -> bool:
    """Whether GPUs are named, or "auto" would take one that is there; told without asking CUDA."""
    return run.devices != ("cpu",) and (run.devices != ("auto",) or run.workers == 1)


def choose_devices(run: RunSettings) -> tuple[torch.device, ...]:
    """The devices to train on. "auto" is the first GPU if there is one, unless several workers are asked for: they are cores.

    Named GPUs are counted without using CUDA: a process that has used it can fork no workers for it.

    Raises: ConfigError naming what is there, if a device is not.
    """
    if run.devices == ("auto",):
        return (torch.device("cuda", 0),) if may_use_gpus(run) and torch.cuda.is_available() else (CPU,)
    if run.devices == ("cpu",):
        return (CPU,)
    count = torch.cuda.device_count()
    devices = tuple(torch.device("cuda", torch.device(name).index or 0) for name in run.devices)
    missing = [str(device) for device in devices if device.index >= count]
    if missing:
        there = ", ".join(f"cuda:{number}" for number in range(count))
        raise ConfigError(
            f"run.devices names {', '.join(missing)}, but torch finds {there or 'no GPU'} here. "
            'Name one that is there, or "cpu"; "auto" takes what there is.'
        )
    return devices
