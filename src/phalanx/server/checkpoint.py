"""Checkpoints that are whole or not there: written beside, flushed, checksummed, renamed; two are kept.

A checkpoint is a safetensors file (tensors, and facts as its metadata) and a one-line JSON file with the digest of its bytes.
Nothing in them can run code, and nothing that fails the digest is ever loaded.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse
from safetensors.torch import save as serialise
from torch import Tensor

from phalanx.core.errors import CheckpointError
from phalanx.core.files import write_atomically
from phalanx.core.json_files import parse_json

KEPT = 2
NUMBER = "[0-9]" * 9
"""How a checkpoint's files are called; whatever else lies in the folder is left alone."""
Read = TypeVar("Read")


@dataclass(frozen=True)
class Checkpoint:
    """Tensors and facts as they stood after `round` rounds."""

    round: int
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, str]

    def position(self, name: str) -> int:
        """How long a file was then, in bytes. Raises: KeyError or ValueError if the facts do not say."""
        found = int(self.facts[name])
        if found < 0:
            raise ValueError(f"{name} is {found}")
        return found


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint and forget all but the newest two, and any from a future that a crash undid."""
    metadata = {**checkpoint.facts, "round": str(checkpoint.round)}
    data = serialised(checkpoint.tensors, metadata)
    path = folder / f"{checkpoint.round:09d}.safetensors"
    write_atomically(path, data)
    write_atomically(path.with_suffix(".json"), _seal(data))
    rounds = sorted(int(file.stem) for file in folder.glob(f"{NUMBER}.safetensors"))
    kept = [round for round in rounds if round <= checkpoint.round][-KEPT:]
    for draft in folder.glob(f".{NUMBER}.*.draft"):  # of a write that a kill cut off
        draft.unlink()
    for old in set(rounds) - set(kept):
        for suffix in (".json", ".safetensors"):
            (folder / f"{old:09d}{suffix}").unlink(missing_ok=True)


def serialised(tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """Any tensors as safetensors, which itself refuses those that share memory or are not contiguous: these are copies."""
    copies = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    return serialise(copies, metadata)


def _seal(data: bytes) -> bytes:
    return json.dumps({"sha256": hashlib.sha256(data).hexdigest()}).encode() + b"\n"


def newest(folder: Path, facts: Mapping[str, str], read: Callable[[Checkpoint], Read]) -> tuple[Read | None, list[str]]:
    """What `read` makes of the newest undamaged checkpoint that carries `facts`, and a sentence for each that was passed over.

    A seal can be made for anything: one that `read` finds something missing or wrong in (KeyError, TypeError, ValueError …) is
    damaged, too. None if there is no checkpoint at all.
    Raises: CheckpointError if there are some and all are damaged.
    """
    remarks: list[str] = []
    # Looked up by seal: a kill between the two writes leaves a file without one, which was never finished.
    paths = sorted((path.with_suffix(".safetensors") for path in folder.glob(f"{NUMBER}.json")), reverse=True)
    for path in paths:
        try:
            return _load(path, facts, read), remarks
        except CheckpointError as error:
            remarks.append(str(error))
    if paths:
        raise CheckpointError(" ".join(remarks) + " No other checkpoint is left; delete the run folder to start again.")
    return None, remarks


def _load(path: Path, facts: Mapping[str, str], read: Callable[[Checkpoint], Read]) -> Read:
    damaged = CheckpointError(f"The checkpoint {path.name} is damaged and was not loaded.")
    try:
        data = path.read_bytes()
        if path.with_suffix(".json").read_bytes() != _seal(data):
            raise damaged
        metadata = parse_json(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        found = Checkpoint(int(metadata.pop("round")), parse(data), metadata)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError):
        raise damaged from None
    if found.round != int(path.stem) or any(found.facts.get(name) != value for name, value in facts.items()):
        raise CheckpointError(f"The checkpoint {path.name} belongs to another run or round and was not loaded.")
    try:
        return read(found)
    except (KeyError, TypeError, ValueError, RecursionError):
        raise damaged from None
