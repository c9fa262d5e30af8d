"""PrunedUpdate: clients send only the largest part of their update."""

from dataclasses import replace

from torch import nn

from phalanx.core.families import Trainer
from phalanx.core.numbers import Share
from phalanx.core.privacy import Mechanism
from phalanx.core.types import Cohort, RoundContext, Rows, Samples, State, Status


class PrunedUpdate(Trainer):
    """What `trainer` makes of a client's data, with only the `share` of coordinates that are largest in absolute value.

    ```
    x_j <- x_j if |x_j| is among the max(1, round(share · d)) largest, else 0
    ```
    Proposed against gradient inversion, it stops only attackers who do not look: zeros say where they are, and `mask_aware`
    leaves them out (tests/inversion: one image of 12 x 12 behind `sigmoid_cnn`, share 0.1: DLG alone below 10 dB, within
    `mask_aware` above 25). It promises nothing; for a guarantee take `dpsgd`. What is left out is lost, not sent later, so
    small shares train slowly; rules that compare coordinates (medians, trimmed means) see mostly zeros. O(d) a client. Float
    buffers stay as they are.

    Reference: Zhu, Liu and Han, Deep Leakage from Gradients, NeurIPS 2019 (arXiv 1906.08935), section 5 (gradient compression).
    Differs from the paper: no residual is kept, and the share is one of the whole update, not of every layer.
    """

    trainer: Trainer
    share: Share = 0.1

    def check(self, model: nn.Module, samples: Samples) -> None:
        self.trainer.check(model, samples)

    def mechanism(self, num_samples: int) -> Mechanism | None:
        """The trainer's: a part of what a client may send tells nothing more of it."""
        return self.trainer.mechanism(num_samples)

    def in_steps(self, steps: int) -> "PrunedUpdate":
        return replace(self, trainer=self.trainer.in_steps(steps))

    def train(self, cohort: Cohort, state: State, context: RoundContext, out: Rows) -> State:
        new = self.trainer.train(cohort, state, context, out)
        kept = max(1, round(self.share * out.matrix.shape[1]))
        for place in cohort.places:
            row = out.matrix[place]
            if out.status[place] != Status.SENT or not row.isfinite().all():  # the server judges what diverged
                continue
            largest = row.abs().topk(kept, sorted=False).indices
            values = row[largest]
            row.zero_()[largest] = values
        return new
