"""LocalDP: clients who trust nobody clip and noise what they send."""

from dataclasses import KW_ONLY, replace

import torch
from torch import Tensor, nn

from phalanx.core import linalg
from phalanx.core.errors import ConfigError
from phalanx.core.families import Trainer
from phalanx.core.noise import Noise, SystemNoise
from phalanx.core.numbers import NonNegativeFloat32, PositiveFloat32
from phalanx.core.privacy import Mechanism, Spending, added, refuse_float_buffers
from phalanx.core.types import Cohort, RoundContext, Rows, Samples, State, Status


class LocalDP(Trainer):
    """The client's own row, clipped to C, with noise N(0, (z C)²): x min(1, C / |x|) + N(0, (z C)² I), whatever `trainer` made.

    Hides all of a client's data from everyone, the server included, and so any rule may follow, Krum too. The price is the
    highest of all: the noise is as large as CentralDP's whole sum needs, at *every* client, and no amplification by sampling or
    by the sum is claimed. ε is that of the client who took part most often. For an ε that means something take very many
    clients and few parameters; where the server can be trusted take CentralDP. Who takes part, and in how many steps, is not
    hidden; the training loss would tell, and is not sent (NaN). Attackers who replace their rows add no noise.

    Reference: Duchi, Jordan and Wainwright, Local Privacy and Statistical Minimax Rates, FOCS 2013 (arXiv 1302.3203).
    Differs from the paper: the Gaussian mechanism; neighbours are replaced, a row moves by 2 C, the noise counts as z / 2.
    """

    trainer: Trainer
    _: KW_ONLY
    clip_norm: PositiveFloat32
    noise_multiplier: NonNegativeFloat32
    secure_rng: bool = False
    """Noise from the operating system: nobody can draw it again, and so nobody can repeat the run."""

    def __post_init__(self) -> None:
        if self.trainer.mechanism(1) is not None:
            raise ConfigError(f"LocalDP around {self.trainer.kind} would be two privacy claims in one; choose one of them.")

    def check(self, model: nn.Module, samples: Samples) -> None:
        refuse_float_buffers(model, "LocalDP")
        self.trainer.check(model, samples)

    def mechanism(self, num_samples: int) -> Mechanism | None:
        if self.noise_multiplier == 0:
            return None
        spending = Spending(self.noise_multiplier, 1.0, 1)
        return Mechanism("client", "replace-one", "none", spending, None, is_reproducible=not self.secure_rng)

    def in_steps(self, steps: int) -> "LocalDP":
        return replace(self, trainer=self.trainer.in_steps(steps))

    def train(self, cohort: Cohort, state: State, context: RoundContext, out: Rows) -> State:
        new = dict(self.trainer.train(cohort, state, context, out))
        for client, place in zip(cohort.ids, cohort.places):
            if out.status[place] != Status.SENT:
                continue
            noise = SystemNoise() if self.secure_rng else context.noise("local dp", client)
            release(out.matrix[place], noise, clip_norm=self.clip_norm, noise_multiplier=self.noise_multiplier)
            out.loss[place] = torch.nan
            if self.noise_multiplier:
                new[f"{client}.spent"] = added(state.get(f"{client}.spent"), Spending(self.noise_multiplier, 1.0, 1))
        return new


def release(row: Tensor, noise: Noise, *, clip_norm: float, noise_multiplier: float) -> None:
    """Clip a row `[d]` to C and add N(0, (z C)²) to it, in place."""
    norm = linalg.norms(row[None])
    if norm.isfinite():
        row.copy_(linalg.scale_rows(row[None], linalg.clip_factors(norm, clip_norm))[0])
    else:
        row.zero_()  # that training diverged would tell something: such a client sends noise alone
    row += noise.gaussian(row, noise_multiplier * clip_norm)
