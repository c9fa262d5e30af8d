"""`Robust`: a rule of Phalanx in front of one of Flower's own strategies, whose server step still runs."""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedProx, FedYogi
from torch import nn

from phalanx.core.errors import ConfigError
from phalanx.core.events import Sink
from phalanx.core.families import Aggregator, Trainer
from phalanx.core.types import RoundContext, Samples
from phalanx.flower.attendance import Attendance
from phalanx.flower.defence import Defence, Verdict
from phalanx.flower.guarded import ARRAYS, CONFIG, Step
from phalanx.flower.inner_memory import give_back, taken
from phalanx.flower.resumable import Resumable
from phalanx.flower.wire import Wire
from phalanx.server import AllClients, Screening
from phalanx.server.aggregation import valid_buffers
from phalanx.server.state import FederationState

ONE_STEP = (FedAvg, FedAvgM, FedProx, FedAdagrad, FedAdam, FedYogi)
"""What of Flower's works with one answer in the place of all; the others need each answer, or its loss."""


class Robust(Resumable):
    """`Robust(FedAdam(), aggregator=Flame())`: all accepted answers become one, and that one is what FedAdam sees.

    The inner strategy prepares the messages and makes the server's step over the parameters; one that is not finite is taken
    back, and keeps the model. Buffers (BatchNorm's statistics, with `model`) are what the rule made of them. Who takes part is
    drawn here, from its `fraction_train`, `min_train_nodes` and `min_available_nodes`, with a seed of its own and without
    waiting for ever. In a `folder` its settings and moments are kept, too, all attributes that are no functions.

    Args: as `RobustStrategy` has them; `inner` is one of ONE_STEP or yours on top of one, and is not changed.

    Raises: CheckpointError for a folder that cannot be used; ConfigError or CapabilityError for a combination that cannot work,
        such as a folder and an inner strategy that keeps what no checkpoint can hold.
    """

    def __init__(
        self,
        inner: FedAvg,
        *,
        aggregator: Aggregator,
        screening: Screening | None = None,
        seed: int = 0,
        model: nn.Module | None = None,
        root: Samples | None = None,
        root_trainer: Trainer | None = None,
        wait_seconds: float = 300.0,
        quorum: int = 1,
        sinks: Sequence[Sink] = (),
        folder: str | Path | None = None,
    ) -> None:
        base = next((kind for kind in type(inner).__mro__ if kind.__module__.startswith("flwr.")), object)
        if base not in ONE_STEP:
            raise ConfigError(
                f"Robust wraps {', '.join(kind.__name__ for kind in ONE_STEP)}, which make a step of one average; got "
                f"{type(inner).__name__}. Use RobustStrategy with a rule instead."
            )
        min_nodes = max(inner.min_available_nodes, inner.min_train_nodes, 1)
        attendance = Attendance(min_nodes=min_nodes, quorum=quorum, wait_seconds=wait_seconds)
        if aggregator.mechanism(AllClients(), min_nodes) is not None:
            raise ConfigError(f"The promise of {aggregator.kind} holds for sampling that can be counted; use RobustStrategy.")
        defence = Defence(
            aggregator=aggregator,
            screening=screening or Screening(),
            seed=seed,
            quorum=quorum,
            model=model,
            root=root,
            root_trainer=root_trainer,
        )
        super().__init__(defence, attendance, sinks=sinks, folder=folder)
        self.fraction, self.least = inner.fraction_train, inner.min_train_nodes
        attendance.refuse_quorum_above(self._size(min_nodes))
        aggregator.require(self._size(min_nodes))
        self._fresh = copy(inner)
        self._fresh.fraction_train, self._fresh.min_train_nodes, self._fresh.min_available_nodes = 1.0, 0, 0
        self.inner = deepcopy(self._fresh)
        if folder is not None:
            taken(self._fresh)

    def summary(self) -> None:
        """Who defends, and what the inner strategy says of itself."""
        super().summary()
        self.inner.summary()

    def _settings(self) -> list[Any]:
        told, tensors = taken(self._fresh)
        arrays = {name: tensor.tolist() for name, tensor in tensors.items()}
        return [type(self.inner).__qualname__, self.fraction, self.least, told, arrays]

    def _saved(self, state: FederationState) -> tuple[FederationState, dict[str, Any]]:
        told, tensors = taken(self.inner)
        return replace(state, server=tensors), told

    def _gone_on(self, state: FederationState, told: Mapping[str, Any]) -> FederationState:
        self.inner = deepcopy(self._fresh)
        give_back(self.inner, told, state.server)
        return replace(state, server={})

    def _size(self, clients: int) -> int:
        return min(clients, max(int(clients * self.fraction), self.least))

    def _initial_state(self, wire: Wire, arrays: ArrayRecord) -> FederationState:
        self.inner = deepcopy(self._fresh)
        return FederationState(0, *wire.flat(arrays), rule=self.defence.aggregator.init(wire.layout))

    def _sample(self, clients: Sequence[int], state: FederationState) -> list[int]:
        assert self._wire is not None
        context = RoundContext(state.round, self.defence.seed, self._wire.layout, state.params, state.buffers)
        drawn = torch.randperm(len(clients), generator=context.generator("participation"))[: self._size(len(clients))]
        return torch.tensor(clients)[drawn.sort().values].tolist()

    def _messages(self, record: RecordDict, nodes: Sequence[int], server_round: int) -> Iterable[Message]:
        arrays, config = record.array_records[ARRAYS], record.config_records[CONFIG]
        return self.inner.configure_train(server_round, arrays, config, cast(Grid, _Sampled(nodes)))

    def _apply(self, verdict: Verdict, wire: Wire, state: FederationState) -> Step:
        following = replace(state, round=state.round + 1, rule=verdict.memory)
        update = verdict.result.update
        if update is None:
            return Step(following)
        buffers = valid_buffers(verdict.buffers, wire.layout)
        one = wire.arrays(state.params + update, buffers)
        content = RecordDict({ARRAYS: one, "metrics": MetricRecord({self.inner.weighted_by_key: 1})})
        reply = Message(content, reply_to=next(iter(self._asked.messages.values())))
        before = deepcopy(self.inner)
        stepped, _ = self.inner.aggregate_train(following.round, [reply])
        # An inner strategy makes floats of integers, averages what is to stay, and would let Adam step a running variance below
        # zero: only the parameters are its own.
        trained = [slot.name for slot in wire.layout.parameters]
        if stepped is None or not all(np.isfinite(stepped[name].numpy()).all() for name in trained):
            self.inner = before
            return Step(following, values={"kept_model": "The inner strategy's step is not finite."})
        own = {name: Array(stepped[name].numpy().astype(wire.forms[name].dtype)) for name in trained}
        params, _ = wire.flat(ArrayRecord({**one, **own}))
        following = replace(following, params=params, buffers=buffers, previous_update=update)
        return Step(following, wire.arrays(params, buffers))


@dataclass(frozen=True)
class _Sampled:
    """As much of a grid as an inner strategy asks: the nodes that were drawn already."""

    nodes: Sequence[int]

    def get_node_ids(self) -> Sequence[int]:
        return self.nodes
