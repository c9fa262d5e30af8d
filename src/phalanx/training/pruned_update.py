"""PrunedUpdate: clients send only the largest part of their update."""

import torch
from torch import Tensor

from phalanx.core.numbers import Share
from phalanx.training.changed_update import ChangedUpdate


class PrunedUpdate(ChangedUpdate):
    """What `trainer` makes of a client's data, with only the `share` of coordinates that are largest in absolute value.

    ```
    x_j <- x_j if |x_j| is among the max(1, round(share · d)) largest, else 0
    ```
    Proposed against gradient inversion, it stops only attackers who do not look: zeros say where they are, and `mask_aware`
    leaves them out (tests/inversion: one image of 12 x 12 behind `sigmoid_cnn`, share 0.1: DLG alone below 10 dB, within
    `mask_aware` above 25). It promises nothing; for a guarantee take `dpsgd`. What is left out is lost, not sent later, so
    small shares train slowly; rules that compare coordinates (medians, trimmed means) see mostly zeros. O(d) a client.

    Reference: Zhu, Liu and Han, Deep Leakage from Gradients, NeurIPS 2019 (arXiv 1906.08935), section 5 (gradient compression).
    Differs from the paper: no residual is kept, and the share is one of the whole update, not of every layer.
    """

    share: Share = 0.1

    def change(self, row: Tensor, generator: torch.Generator) -> None:
        largest = row.abs().topk(max(1, round(self.share * len(row))), sorted=False).indices
        values = row[largest]
        row.zero_()[largest] = values
