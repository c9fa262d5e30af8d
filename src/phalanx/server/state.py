"""`FederationState`: all that a federation is between two rounds. The rest is a function of it, the config and the round."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Self

import torch
from torch import Tensor

from phalanx.core.types import State


@dataclass(frozen=True)
class FederationState:
    """The model and every memory after `round` rounds. A round makes a new one and never changes an old one."""

    round: int
    params: Tensor
    buffers: Tensor
    previous_update: Tensor | None = None
    clients: State = field(default_factory=dict)
    adversary: State = field(default_factory=dict)
    rule: State = field(default_factory=dict)
    server: State = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """Everything as one flat dictionary, for a checkpoint."""
        return dict(self._named())

    def _named(self) -> Iterator[tuple[str, Tensor]]:
        for slot in fields(self):
            value = getattr(self, slot.name)
            if isinstance(value, Tensor):
                yield slot.name, value
            elif isinstance(value, Mapping):
                yield from ((f"{slot.name}/{key}", tensor) for key, tensor in value.items())

    def to(self, device: torch.device) -> Self:
        """The same state with every tensor on `device`."""
        return self.from_tensors(self.round, {name: tensor.to(device) for name, tensor in self.tensors().items()})

    @classmethod
    def from_tensors(cls, round: int, tensors: Mapping[str, Tensor]) -> Self:
        """The inverse of `tensors`."""
        memories: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            section, slash, key = name.partition("/")
            if slash:
                memories.setdefault(section, {})[key] = tensor
        return cls(
            round=round,
            params=tensors["params"],
            buffers=tensors["buffers"],
            previous_update=tensors.get("previous_update"),
            **memories,
        )
