"""Pretrained: a model that begins where a finished run has ended; and how such a run's model is read and verified."""

import hashlib
from dataclasses import KW_ONLY
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load as parse
from torch import nn

from phalanx.core.errors import ConfigError
from phalanx.core.families import Architecture
from phalanx.core.json_files import parse_json
from phalanx.core.params import flatten

_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Pretrained(Architecture):
    """The `architecture` with the weights of a finished run's folder: an attack or a defence is then tried on a trained model.

    The weights must have the digest that the folder's result.json says and, where one is given, `sha256`: the config then names
    the content and not only the place. Without it two runs of one digest may have begun with different weights.
    """

    architecture: Architecture
    run: Annotated[str, Field(min_length=1)]
    """The run's folder; a relative one is looked for where the command is started."""
    _: KW_ONLY
    sha256: _Digest | None = None
    """What result.json calls model_sha256."""

    def build(self, input_shape: tuple[int, ...], num_classes: int, generator: torch.Generator) -> nn.Module:
        """Raises: ConfigError if there is no finished run, or its model is damaged, another's or another one."""
        model = self.architecture.build(input_shape, num_classes, generator)
        load_run(model, Path(self.run), self.sha256)
        return model


def load_run(model: nn.Module, folder: Path, sha256: str | None = None) -> None:
    """Read the final model of a run into `model`, verified. Raises: ConfigError."""
    try:
        told = str(parse_json((folder / "result.json").read_bytes())["model_sha256"])
        weights = parse((folder / "model.safetensors").read_bytes())
    except FileNotFoundError:
        raise ConfigError(
            f"There is no finished run in {folder}. Run its experiment first: phalanx run FILE --out {folder}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        raise ConfigError(f"The run in {folder} cannot be read: result.json or model.safetensors is damaged.") from None
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(f"The model in {folder} is of another architecture: {str(error).splitlines()[-1].strip()}") from None
    found = model_sha256(model)
    if found != told:
        raise ConfigError(f"The model in {folder} is not the one of its result.json (sha256 {found[:10]}…, not {told[:10]}…).")
    if sha256 not in (None, found):
        raise ConfigError(f"The model in {folder} has sha256 {found}, and the config asks for {sha256}.")


def model_sha256(module: nn.Module) -> str:
    """The digest of a model's trainable parameters and float buffers."""
    return hashlib.sha256(torch.cat(flatten(module)).cpu().numpy().tobytes()).hexdigest()
