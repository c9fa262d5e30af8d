"""FromFile: a partition that somebody else made."""

import json
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from phalanx.core.errors import DataError
from phalanx.core.explain import explain
from phalanx.core.families import Partitioner

_POSITIONS = TypeAdapter(list[list[int]])


class FromFile(Partitioner):
    """The positions in a JSON file: a list with, for each client, the list of its samples' positions in the training set.

    Samples that the file leaves out are dealt to nobody. It cannot be joined with a root set, whose samples it does not know.
    """

    path: str

    def split(self, labels: Tensor, groups: Tensor | None, generator: torch.Generator) -> list[Tensor]:
        try:
            positions = _POSITIONS.validate_python(json.loads(Path(self.path).read_text(encoding="utf-8")), strict=True)
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror}.") from error
        except (ValueError, RecursionError) as error:  # also pydantic's, whose own text has many lines
            why = explain(error).partition("\n")[0].rstrip(".") if isinstance(error, ValidationError) else error
            raise DataError(f"{self.path} must be a JSON list of lists of positions, one list a client ({why}).") from error
        dealt = [position for client in positions for position in client]
        if not positions or len(set(dealt)) != len(dealt):
            raise DataError(f"{self.path} must name a client or more, and no position twice.")
        if dealt and not 0 <= min(dealt) <= max(dealt) < len(labels):
            raise DataError(
                f"{self.path} must name positions in [0, {len(labels)}), the training set; got {min(dealt)} to {max(dealt)}."
            )
        return [torch.tensor(client, dtype=torch.int64) for client in positions]
