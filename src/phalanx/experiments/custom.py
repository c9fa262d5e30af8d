"""A user's own module or data: the config records `custom` and a digest, and a resumed run asks for the same again."""

import hashlib

import torch
from torch import Tensor, nn

from phalanx.core.errors import ConfigError
from phalanx.core.families import Architecture, Dataset
from phalanx.core.types import DataSplit


class CustomModel(Architecture, kind="custom"):
    """A module given in Python: `phalanx.run(experiment, model=module)`."""

    digest: str

    def build(self, input_shape: tuple[int, ...], num_classes: int, generator: torch.Generator) -> nn.Module:
        raise ConfigError("This experiment's model was given in Python; give it again: phalanx.run(experiment, model=…).")


class CustomData(Dataset, kind="custom"):
    """Samples given in Python: `phalanx.run(experiment, data=split)`."""

    digest: str

    def load(self) -> DataSplit:
        raise ConfigError("This experiment's data was given in Python; give it again: phalanx.run(experiment, data=…).")


def model_digest(module: nn.Module) -> str:
    """Names, shapes and values of everything in the module's state."""
    return _digest(module.state_dict())


def data_digest(data: DataSplit) -> str:
    """Everything that decides what clients see."""
    tensors = {"groups": data.groups}
    for name, samples in (("train", data.train), ("test", data.test)):
        fields = {field: getattr(samples, field) for field in ("images", "labels", "mean", "std")}
        tensors |= {f"{name} {field}": tensor for field, tensor in fields.items()}
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    return _digest({**given, "classes": torch.tensor([data.train.num_classes, data.test.num_classes])})


def _digest(tensors: dict[str, Tensor]) -> str:
    sha = hashlib.sha256()
    for name, tensor in tensors.items():
        sha.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        sha.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return sha.hexdigest()[:16]
