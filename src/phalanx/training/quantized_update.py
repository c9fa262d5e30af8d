"""QuantizedUpdate: clients send their update in a few bits a coordinate."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from phalanx.training.changed_update import ChangedUpdate


class QuantizedUpdate(ChangedUpdate):
    """What `trainer` makes of a client's data, each coordinate rounded at random to one of 2^bits − 1 levels, without bias.

    ```
    step = max |x| / (2^(bits − 1) − 1);   x_j <- step · floor(x_j / step + u),  u uniform in [0, 1)
    ```
    Meant to save bandwidth, it is at best noise against gradient inversion: the error of a coordinate is below one step and
    0 on average, so what a few bits hide in one round is averaged out over several (`averaged_leak`). It promises nothing; for
    a guarantee take `dpsgd`. With 2 bits (−, 0, +) training is noisier than with a much smaller batch. Rows stay float32, as
    nothing is packed here. O(d) a client.

    Reference: Alistarh et al., QSGD: Communication-Efficient SGD via Gradient Quantization and Encoding, NeurIPS 2017
    (arXiv 1610.02132), section 3.1. Differs from the paper: the largest coordinate is the scale, not the norm, as in section 4.
    """

    bits: Annotated[int, Field(ge=2, le=16)] = 4

    def change(self, row: Tensor, generator: torch.Generator) -> None:
        step = row.abs().max() / (2 ** (self.bits - 1) - 1)
        if step > 0:
            row.div_(step).add_(torch.rand(len(row), generator=generator).to(row)).floor_().mul_(step)
