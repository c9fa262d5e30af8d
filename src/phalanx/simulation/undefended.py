"""The model of a run without the defence, which a defended run is tested beside."""

from copy import deepcopy
from pathlib import Path

from torch import nn

from phalanx.core.errors import ConfigError
from phalanx.core.families import DataAttack
from phalanx.models import load_run


def undefended_model(folder: str | None, model: nn.Module, poison: DataAttack | None) -> nn.Module | None:
    """A copy of `model` with the final weights of the run in `folder`, in eval mode; None without a folder.

    Raises: ConfigError if there is no such run, or no attack with a target to compare.
    """
    if folder is None:
        return None
    if poison is None or poison.success_class is None:
        raise ConfigError("evaluation.undefended compares an attack's success; set adversary.data to one with a target.")
    other = deepcopy(model)
    load_run(other, Path(folder))
    return other.eval()
