"""Memory that a process shares with its forks."""

import mmap

import torch
from torch import Tensor

from phalanx.core.params import Layout
from phalanx.core.types import Rows


def shared_rows(k: int, layout: Layout) -> Rows:
    """Room for `k` clients."""
    return Rows(
        matrix=shared_tensor(k, layout.d),
        buffers=shared_tensor(k, layout.b),
        loss=shared_tensor(k),
        steps=shared_tensor(k, dtype=torch.int64),
        status=shared_tensor(k, dtype=torch.int64),
    )


def shared_tensor(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Zeros that forked processes share: anonymous memory, taken page by page as it is written, never from /dev/shm."""
    size = torch.Size(shape).numel()
    if size == 0:
        return torch.zeros(shape, dtype=dtype)
    return torch.frombuffer(mmap.mmap(-1, size * dtype.itemsize), dtype=dtype).view(shape)
