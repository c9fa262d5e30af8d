"""The sections of a config that belong to no method: how long, how seeded, on what machine, how often evaluated."""

from dataclasses import KW_ONLY
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from phalanx.core.component import Component


class RunSettings(Component):
    """`[run]`: rounds and seed decide the result; the rest decides how fast it comes and what survives a crash.

    On the CPU, `workers` training processes with one thread each give the same bytes for any number. At most
    `checkpoint_seconds` of work are lost when the machine dies.
    """

    deciding: ClassVar[frozenset[str]] = frozenset({"rounds", "seed"})

    rounds: PositiveInt = 30
    seed: NonNegativeInt = 0
    _: KW_ONLY
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: PositiveInt = 1
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 20.0


class EvaluationSettings(Component):
    """`[evaluation]`: test after every `every` rounds and after the last one; `every = 0` only after the last.

    Batches of 200 stay in a core's cache: a CNN is tested twice as fast as with 1,000. A GPU takes larger ones gladly.
    """

    every: NonNegativeInt = 1
    batch_size: PositiveInt = 200
