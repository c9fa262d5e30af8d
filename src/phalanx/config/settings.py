"""The sections of a config that belong to no method: how long, how seeded, on what machine, how often evaluated."""

import re
from dataclasses import KW_ONLY
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt

from phalanx.core.component import Component
from phalanx.core.errors import ConfigError
from phalanx.core.families import InversionAttack
from phalanx.core.numbers import Probability
from phalanx.privacy.accountants import LARGEST, AccountantName

DEVICE = r"^(auto|cpu|cuda(:([0-9]|[1-9][0-9]|1[01][0-9]|12[0-7]))?)$"  # torch counts beyond 127 from the start again


def _device(name: str) -> str:
    if not re.fullmatch(DEVICE, name):
        raise ValueError(f"a device is auto, cpu, cuda or cuda:N, N at most 127; got {name!r}.")
    return name


Device = Annotated[str, AfterValidator(_device), Field(json_schema_extra={"pattern": DEVICE})]


class RunSettings(Component):
    """`[run]`: rounds and seed decide the result; the rest decides how fast it comes and what survives a crash.

    `workers` training processes for each of the `devices`: on the CPU they have one thread each and give the same bytes for
    any number; several GPUs share a round's clients. As many threads share large aggregations between two trainings. At most
    `checkpoint_seconds` of work are lost when the machine dies.
    """

    deciding: ClassVar[frozenset[str]] = frozenset({"rounds", "seed"})

    rounds: PositiveInt = 30
    seed: NonNegativeInt = 0
    _: KW_ONLY
    devices: tuple[Device, ...] = ("auto",)
    """Where clients are trained: "cpu", or one or several of "cuda:0", "cuda:1" …; "auto": the first GPU if there is one and
    workers = 1, else the CPU."""
    workers: PositiveInt = 1
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 20.0

    def __post_init__(self) -> None:
        named = ["cuda:0" if name == "cuda" else name for name in self.devices]
        if not named:
            raise ConfigError('devices must name at least one; "auto" takes what is there.')
        if len(set(named)) < len(named):
            raise ConfigError(f"devices names one twice: {', '.join(self.devices)}. Several processes on one are workers = N.")
        if len(named) > 1 and not all(name.startswith("cuda") for name in named):
            raise ConfigError(
                f"devices must be GPUs only where they are several, so that no row depends on who trained it; "
                f"got {', '.join(self.devices)}."
            )


class InversionSettings(Component):
    """`[evaluation.inversion]`: in some `rounds` (counted from 0) `attack` the update of one `client` for its images.

    Its scores are events, the pictures files in the run folder. The attacker gets what the server gets: the row that the client
    sent, the model before the round, how many images there were and how the client trained. What the client did to its images
    and its row before they left is the trainer's; an attack that reckons with that is another `attack`.
    """

    attack: InversionAttack
    client: NonNegativeInt = 0
    rounds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] = (0,)
    _: KW_ONLY
    knows_labels: bool = True
    """Whether the attacker is told the labels, batch by batch; otherwise it has to find them."""


class EvaluationSettings(Component):
    """`[evaluation]`: test after every `every` rounds and after the last one; `every = 0` only after the last.

    Batches of 200 stay in a core's cache: a CNN is tested twice as fast as with 1,000. A GPU takes larger ones gladly.
    """

    every: NonNegativeInt = 1
    batch_size: PositiveInt = 200
    _: KW_ONLY
    tau: Probability | None = None
    """Test also with answers refused whose softmax is below tau (FLIP's second half), and over thresholds from 0 to 1."""
    undefended: Annotated[str, Field(min_length=1)] | None = None
    """The folder of a finished run without the defence: attack success is then told beside the bound between the two models."""
    inversion: InversionSettings | None = None
    """Attack a client's update for its images."""


class PrivacySettings(Component):
    """`[privacy]`: how the spending of a private rule or trainer is counted, and where it ends.

    What is private is no setting of this section: `central_dp` and `adaptive_central_dp` are rules, `dpsgd` and `local_dp`
    trainers. In a run without one of them other values than these are refused.
    """

    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    """The chance that the promise of ε does not hold: below 1 / (number of those who are hidden)."""
    accountant: AccountantName = "pld"
    """pld is tight; rdp costs about a tenth more, and is the one for participation of fixed size."""
    _: KW_ONLY
    max_epsilon: Annotated[float, Field(gt=0, le=LARGEST)] | None = None
    """The budget: the run ends with the last model that it pays for."""
