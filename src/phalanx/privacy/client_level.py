"""What the private rules at the server share: rows clipped one by one, a sum, noise, and a denominator that nobody decides."""

from abc import ABC
from dataclasses import KW_ONLY
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from phalanx.core.errors import ConfigError
from phalanx.core.families import Aggregator, Participation
from phalanx.core.noise import SystemNoise
from phalanx.core.numbers import NonNegativeFloat32
from phalanx.core.params import Layout
from phalanx.core.privacy import Mechanism, Spending, refuse_float_buffers
from phalanx.core.types import RoundContext, State


class ClientLevel(Aggregator, ABC):
    """A rule that hides each client with all its samples: no inner rule, no weights, no choice among the rows.

    The un-noised sum moves by at most C when a client comes or goes, by 2 C when one takes another's place, whatever the others
    send. So the result is divided by what is *expected*, also in a round without anyone, and rows that screening drops or that
    never come change no denominator.
    """

    _: KW_ONLY
    noise_multiplier: NonNegativeFloat32
    """z: the noise's standard deviation, relative to the clip norm. With 0 nothing is private."""
    expected_clients: Annotated[float, Field(gt=0, le=1e9)]
    """What the sum is divided by: how many clients a round has on average."""
    secure_rng: bool = False
    """Noise from the operating system: nobody can draw it again, and so nobody can repeat the run."""

    def require(self, n: int) -> None:
        """Nothing: a round without clients is noise like any other, or everyone would know that nobody was there."""

    def check(self, model: nn.Module) -> None:
        refuse_float_buffers(model, type(self).__name__)

    def mechanism(self, participation: Participation, num_clients: int) -> Mechanism | None:
        name, expected = type(self).__name__, participation.expected(num_clients)
        answering = expected * (1 - participation.dropout)
        if not answering - 0.5 <= self.expected_clients <= expected + 0.5:
            raise ConfigError(
                f"{name} divides by expected_clients = {self.expected_clients:g}, but a round samples {expected:g} of the "
                f"{num_clients} clients: its steps would be {expected / self.expected_clients:.3g} times as long. "
                f"Set expected_clients = {expected:g}."
            )
        if self.noise_multiplier == 0:
            return None
        sampling = participation.counted_as
        if sampling is None:
            raise ConfigError(
                f"{name} cannot count how {participation.kind} chooses clients; set participation.kind to poisson, fixed_size "
                "or all."
            )
        is_fixed = sampling == "fixed_size"
        # The round's clients are drawn from the seed, whatever the noise is: who knows it knows who took part.
        is_drawn = sampling != "none" and self.secure_rng
        return Mechanism(
            unit="client",
            neighbours="replace-one" if is_fixed else "add/remove",
            sampling=sampling,
            spending=Spending(self.noise_multiplier, expected / num_clients, 1),
            trusted="the server, whoever knows run.seed" if is_drawn else "the server",
            is_reproducible=not self.secure_rng,
        )

    def init(self, layout: Layout) -> State:
        return {"noised": torch.zeros((), dtype=torch.int64)}

    def noise(self, like: Tensor, std: float, purpose: str, context: RoundContext) -> Tensor:
        """N(0, `std`²) like `like`, from the round's noise of this purpose or the operating system."""
        return (SystemNoise() if self.secure_rng else context.noise(purpose)).gaussian(like, std)
