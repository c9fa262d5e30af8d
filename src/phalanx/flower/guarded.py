"""`Guarded`: the rounds of a federation whose nodes come, go, and lie. What the two strategies share."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import cast

from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy

from phalanx.core.errors import ConfigError
from phalanx.core.events import Event, Sink, Value
from phalanx.core.types import Rows
from phalanx.flower.answers import Asked, receive
from phalanx.flower.attendance import Attendance
from phalanx.flower.defence import Defence, Verdict
from phalanx.flower.exchange import exchange
from phalanx.flower.telling import LOG, counted, log_round
from phalanx.flower.wire import Wire
from phalanx.server.state import FederationState

ARRAYS, CONFIG, ROUND = "arrays", "config", "server-round"


@dataclass(frozen=True)
class Step:
    """The state after a round and the new model, without one the old one is kept; `values` are told with the round's event."""

    state: FederationState
    arrays: ArrayRecord | None = None
    values: Mapping[str, Value] = field(default_factory=dict)


class Guarded(Strategy, ABC):
    """A Flower strategy that survives its clients. Rounds count from 1 here, as Flower has it, and from 0 in events."""

    def __init__(self, defence: Defence, attendance: Attendance, *, sinks: Sequence[Sink]) -> None:
        self.defence, self.attendance, self.sinks = defence, attendance, tuple(sinks)
        self.offences: dict[str, Counter[str]] = {}
        """How often each node's answer was dropped, by durable id and reason; "no answer" counts, too."""
        self.stopped: str | None = None
        """Why the last `start` made fewer rounds than it was asked for, if it did."""
        self._wire: Wire | None = None
        self._rows: Rows | None = None
        self._state: FederationState | None = None
        self._asked = Asked({})
        self._timeout: float | None = None

    @abstractmethod
    def _initial_state(self, wire: Wire, arrays: ArrayRecord) -> FederationState:
        """The federation before round 0. Raises: a PhalanxError for a combination that cannot work."""

    @abstractmethod
    def _sample(self, clients: Sequence[int], state: FederationState) -> list[int]:
        """Which of the clients that are there take part in this round, in ascending order."""

    @abstractmethod
    def _apply(self, verdict: Verdict, wire: Wire, state: FederationState) -> Step:
        """What the rule's result makes of the federation."""

    def _messages(self, record: RecordDict, nodes: Sequence[int], server_round: int) -> Iterable[Message]:
        return [Message(record, node, MessageType.TRAIN, ttl=self._timeout) for node in nodes]

    def _begun(self, arrays: ArrayRecord, num_rounds: int) -> tuple[ArrayRecord, int]:
        """The model to begin with, and how many rounds it has behind it."""
        return arrays, 0

    def _ended(self) -> str | None:
        """Why no other round may follow; None if one may."""
        return None

    def _kept(self) -> None:
        """Called after every round."""

    def _closed(self) -> None:
        """Called at the end, however it comes."""

    def configure_train(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Iterable[Message]:
        """The messages of a round, one for each sampled client.

        Raises: FederationError if too few nodes are there.
        """
        state = self._opened(server_round, arrays)
        online = self.attendance.online(grid)
        chosen = self._sample(list(online), state)
        record = RecordDict({ARRAYS: arrays, CONFIG: ConfigRecord({**config, ROUND: server_round})})
        messages = list(self._messages(record, [online[client] for client in chosen], server_round)) if chosen else []
        clients = {online[client]: client for client in chosen}
        self._asked = Asked({clients[message.metadata.dst_node_id]: message for message in messages})
        return messages

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """What the round's answers make of the model, and what the server itself counted. Nothing that clients send raises."""
        assert self._wire is not None  # configure_train came first
        assert self._state is not None
        received = receive(replies, self._asked, self._wire, self._state.params, self.defence.cap, self._room)
        verdict = self.defence.judge(received, self._wire, self._state)
        for client in received.silent:
            self._offend(client, "no answer")
        for rejection in verdict.rejected:
            self._offend(rejection.client, rejection.reason)
        step = self._apply(verdict, self._wire, self._state)
        self._state = step.state
        event = replace(verdict.event, values={**verdict.event.values, **step.values})
        self.tell(event)
        log_round(event)
        return step.arrays, counted(event, rejected=len(verdict.rejected), is_kept=step.arrays is None)

    def configure_evaluate(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Iterable[Message]:
        """Nobody: what clients say of a model is a claim. Test it on the server, with `evaluate_fn`."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Nothing; see `configure_evaluate`."""
        return None

    def summary(self) -> None:
        """One line on what defends this federation."""
        LOG.info("\tPhalanx: %r after %r", self.defence.aggregator, self.defence.screening)

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """All rounds, or as many as `stopped` allows. One waits for at most `timeout` seconds, and ends when all have answered.

        Raises: ConfigError for a time that does not end; FederationError if too few nodes are there.
        """
        if not (isinstance(timeout, int | float) and 0 < timeout < inf):
            raise ConfigError(f"A round needs a time to end: a finite number of seconds above 0; got {timeout!r}.")
        self.summary()
        self._timeout = timeout
        self._wire = self._rows = self._state = None  # an earlier run's momentum and memory are its own
        try:
            arrays, done = self._begun(initial_arrays, num_rounds)
            self.stopped = self._ended() if done < num_rounds else None
            self.attendance.has_begun = done > 0  # a resumed federation goes on with whoever is there, as after any other round
            result = Result(arrays=arrays)
            if not done:
                self._evaluate(evaluate_fn, 0, arrays, result)
            while done < num_rounds and self.stopped is None:
                server_round = done + 1
                messages = list(self.configure_train(server_round, arrays, train_config or ConfigRecord(), grid))
                answers = exchange(grid, messages, timeout, cast(Wire, self._wire).most_bytes)
                new, numbers = self.aggregate_train(server_round, answers)
                result.arrays = arrays = arrays if new is None else new
                if numbers is not None:
                    result.train_metrics_clientapp[server_round] = numbers
                done = server_round
                self.stopped = self._ended() if done < num_rounds else None
                self._evaluate(evaluate_fn, done, arrays, result)
                self._kept()
            if self.stopped is not None:
                LOG.info("\t%s", self.stopped)
            return result
        finally:
            self._closed()

    def _evaluate(
        self,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None,
        server_round: int,
        arrays: ArrayRecord,
        result: Result,
    ) -> None:
        found = evaluate_fn(server_round, arrays) if evaluate_fn else None
        if found is not None:
            result.evaluate_metrics_serverapp[server_round] = found
            LOG.info("\tround %d: %s", server_round, found)

    def _opened(self, server_round: int, arrays: ArrayRecord) -> FederationState:
        """The state of this round, whose model Flower hands us anew each time."""
        if self._wire is None:
            self._wire = Wire.of(arrays, self.defence.model)
        if self._state is None:
            self._state = self._initial_state(self._wire, arrays)
        params, buffers = self._wire.flat(arrays)
        self._state = replace(self._state, round=server_round - 1, params=params, buffers=buffers)
        return self._state

    def _room(self, k: int) -> Rows:
        """Rows for `k` clients. One matrix serves all rounds: to take it anew would cost as much as to fill it."""
        assert self._wire is not None
        if self._rows is None or len(self._rows.matrix) < k:
            self._rows = Rows.empty(k, self._wire.layout)
        return self._rows.first(k)

    def _offend(self, client: int, reason: str) -> None:
        self.offences.setdefault(self.attendance.roster.ids[client], Counter())[reason] += 1

    def tell(self, event: Event, sinks: Sequence[Sink] | None = None) -> None:
        """Hand an event to everyone who listens, or to these."""
        for sink in self.sinks if sinks is None else sinks:
            sink.emit(event)
