"""Training a cohort in this process: the default, and the only way on a GPU."""

from dataclasses import replace
from types import TracebackType
from typing import Self

from torch import nn

from phalanx.core.families import Trainer
from phalanx.core.params import Layout
from phalanx.core.types import Cohort, RoundContext, Rows, State
from phalanx.training.engines.loop import use_channels_last
from phalanx.training.shared import shared_rows


class InProcess:
    """Training in this process, on the model's device. It leaves the number of threads alone."""

    def __init__(self, model: nn.Module, layout: Layout, capacity: int, scratch: int = 0) -> None:
        device = next(model.parameters()).device
        use_channels_last(model)
        self._model = model
        self.rows = Rows.empty(capacity, layout, device=device)
        # Seldom all used: on the CPU its memory is taken page by page.
        self.scratch = shared_rows(scratch, layout) if device.type == "cpu" else Rows.empty(scratch, layout, device=device)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing to give back."""

    def train(self, trainer: Trainer, cohort: Cohort, state: State, context: RoundContext, out: Rows) -> State:
        """Train the cohort into `out`; the new state of its clients."""
        return trainer.train(cohort, state, replace(context, model=self._model), out)
