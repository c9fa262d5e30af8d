"""`Simulation`: one machine's engine. A round is a step from one `FederationState` to the next, and the event it makes."""

from collections.abc import Mapping
from functools import cache
from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn

from phalanx.config import Experiment
from phalanx.core import params as flat
from phalanx.core.capabilities import Capability, require
from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.core.events import Event
from phalanx.core.families import Trainer
from phalanx.core.params import Layout
from phalanx.core.types import Aggregate, Cohort, Root, RoundContext, Rows, State, Status, Updates
from phalanx.data import Federation
from phalanx.metrics import evaluate
from phalanx.simulation import attack
from phalanx.simulation.record import Stopwatch, evaluation_event, round_event
from phalanx.simulation.state import FederationState
from phalanx.training import InProcess, WorkerPool


class Simulation:
    """Everything that stays the same between rounds. Use it as a context manager: it may hold worker processes.

    Raises: ConfigError, CapabilityError or PreconditionError for a combination that cannot work, before any round.
    """

    def __init__(self, experiment: Experiment, federation: Federation, model: nn.Module) -> None:
        self.experiment = experiment
        self.device = choose_device(experiment.run.device)
        self.federation = federation.to(self.device)
        self.model = model.to(self.device)
        self.layout = Layout.of(model)
        self.initial_params, self.initial_buffers = flat.flatten(self.model)
        self.sample_counts = torch.tensor([len(index) for index in federation.clients])
        self._check()
        self._executor = self._make_executor()

    def __enter__(self) -> Self:
        # Torch's own threads were up to 100 times slower than one on small models, and reorder sums; workers replace them.
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)
        self._executor.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._executor.__exit__(kind, error, trace)
        torch.set_num_threads(self._threads)

    def initial_state(self) -> FederationState:
        """The federation before round 0."""
        return FederationState(
            round=0,
            params=self.initial_params,
            buffers=self.initial_buffers,
            adversary=self.experiment.adversary.update.init(self.layout) if self.experiment.adversary.update else {},
            rule=self.experiment.aggregator.init(self.layout),
            server=self.experiment.server.init(self.layout),
        )

    def step(self, state: FederationState) -> tuple[FederationState, Event]:
        """One round: sample, train, attack, screen, aggregate, step. `state` is not changed."""
        experiment, watch, context = self.experiment, Stopwatch(), self._context(state)
        with watch.phase("train"):
            sampled = experiment.participation.sample(self.federation.num_clients, context)
            attackers = experiment.adversary.active(sampled, self.federation.num_clients, context)
            ids = tuple(sampled.tolist())
            rows = self._executor.rows.first(len(ids))
            clients = self._train(ids, attackers, rows, state.clients, context)
        loss = honest_loss(rows, attackers)
        with watch.phase("attack"):
            crafted, adversary = attack.craft(self, rows, ids, attackers, state, context)
        with watch.phase("screen"):
            updates, rejected = experiment.screening.screen(rows, ids, self.sample_counts[sampled])
        with watch.phase("aggregate"):
            aggregate, rule, reason = self._aggregate(updates, state, context)
        with watch.phase("server"):
            params, server = state.params, state.server
            if aggregate.update is not None:
                params, server = experiment.server.step(params, aggregate.update, server)
        following = FederationState(
            round=state.round + 1,
            params=params,
            buffers=self._buffers(aggregate, updates, state),
            previous_update=state.previous_update if aggregate.update is None else aggregate.update,
            clients=clients,
            adversary=adversary,
            rule=rule,
            server=server,
        )
        malicious = {ids[place] for place in attackers}
        event = round_event(
            state.round, len(ids), updates, aggregate, rejected, malicious, loss, reason, crafted.metrics, watch.seconds
        )
        return following, event

    def evaluate(self, state: FederationState) -> Event:
        """Test the model of `state`: accuracy, and attack success if the adversary has a target."""
        watch = Stopwatch()
        with watch.phase("evaluate"):
            self.load(state)
            poison = self.experiment.adversary.data
            batch_size = self.experiment.evaluation.batch_size
            found = evaluate(self.model, self.federation.test, poison=poison, batch_size=batch_size)
        return evaluation_event(state.round - 1, found, watch.seconds)

    def load(self, state: FederationState) -> nn.Module:
        """The module with the parameters and buffers of `state` in it."""
        flat.load(self.model, state.params, state.buffers)
        return self.model

    def train_group(
        self, trainer: Trainer, ids: tuple[int, ...], places: tuple[int, ...], state: State, context: RoundContext, out: Rows
    ) -> State:
        """Train clients honestly into `out`."""
        return self._executor.train(trainer, self._cohort(ids, places), state, context, out)

    @property
    def scratch(self) -> Rows:
        """Rows for training that nobody sends, such as what attackers would have sent if honest."""
        return self._executor.scratch

    def _train(
        self, ids: tuple[int, ...], attackers: Mapping[int, int], rows: Rows, state: State, context: RoundContext
    ) -> State:
        """Fill the rows: honest clients first, then the attackers with their data and client attack."""
        adversary, trainer = self.experiment.adversary, self.experiment.training
        drops = self.experiment.participation.drops(torch.tensor(ids, dtype=torch.int64), self.federation.num_clients, context)
        rows.status.fill_(Status.SENT)
        rows.status[drops] = Status.DROPPED_OUT
        present = [place for place, dropped in enumerate(drops.tolist()) if not dropped]
        honest = tuple(place for place in present if place not in attackers)
        if honest:
            new = self.train_group(trainer, tuple(ids[place] for place in honest), honest, state, context, rows)
            state = {**state, **new}
        bad = tuple(place for place in present if place in attackers)
        if bad:
            cohort = self._cohort(
                tuple(ids[place] for place in bad),
                bad,
                poison=adversary.data,
                attackers=tuple(attackers[place] for place in bad),
                hooks=adversary.client.hooks() if adversary.client else (),
            )
            malicious = adversary.client.training(trainer) if adversary.client else trainer
            state = {**state, **self._executor.train(malicious, cohort, state, context, rows)}
        return state

    def _cohort(self, ids: tuple[int, ...], places: tuple[int, ...], **attack: object) -> Cohort:
        index = tuple(self.federation.clients[client] for client in ids)
        return Cohort(ids, places, self.federation.train, index, **attack)  # type: ignore[arg-type]

    def _aggregate(
        self, updates: Updates, state: FederationState, context: RoundContext
    ) -> tuple[Aggregate, State, str | None]:
        """The rule's result; if too few rows are left for it, no update and the reason."""
        try:
            aggregate, rule = self.experiment.aggregator.aggregate(updates, state.rule, context)
        except PreconditionError as error:
            return Aggregate(None), state.rule, str(error)
        reason = None if aggregate.update is not None else "The rule accepted no update."
        if aggregate.update is not None and not aggregate.update.isfinite().all():
            return Aggregate(None), state.rule, "The rule's result was not finite."
        return aggregate, rule, reason

    def _buffers(self, aggregate: Aggregate, updates: Updates, state: FederationState) -> Tensor:
        """BatchNorm statistics and the like: averaged over the clients that had influence."""
        if aggregate.buffers is not None:
            return aggregate.buffers
        if aggregate.update is None or self.layout.b == 0:
            return state.buffers
        influence = aggregate.influence
        chosen = updates.buffers if influence is None else updates.buffers[influence.to(updates.buffers.device) > 0]
        return chosen.mean(dim=0) if len(chosen) else state.buffers

    def _context(self, state: FederationState) -> RoundContext:
        bare = RoundContext(
            round=state.round,
            seed=self.experiment.run.seed,
            layout=self.layout,
            global_params=state.params,
            global_buffers=state.buffers,
            previous_update=state.previous_update,
            model=self.model,
        )
        samples = self.federation.root
        if samples is None:
            return bare

        @cache
        def update() -> Tensor:
            rows, everything = Rows.empty(1, self.layout, device=self.device), torch.arange(len(samples), device=self.device)
            self.experiment.training.train(Cohort((-1,), (0,), samples, (everything,)), {}, bare, rows)
            return rows.matrix[0]

        return RoundContext(**{**vars(bare), "root": Root(samples, update)})

    def _make_executor(self) -> InProcess | WorkerPool:
        capacity = self.experiment.participation.largest(self.federation.num_clients)
        scratch = capacity if self.experiment.adversary.update else 0
        workers = self.experiment.run.workers
        if workers == 1:
            return InProcess(self.model, self.layout, capacity, scratch)
        train, clients = self.federation.train, self.federation.clients
        return WorkerPool(workers, self.model, train, clients, self.layout, capacity, scratch)

    def _check(self) -> None:
        """Refuse what cannot work, before any work."""
        experiment = self.experiment
        given = {Capability.INDIVIDUAL_UPDATES, Capability.STABLE_IDS, Capability.MODEL, Capability.COLLUSION}
        given |= {Capability.ROOT_DATA} if self.federation.root is not None else set()
        require(type(experiment.aggregator).__name__, experiment.aggregator.needs, given)
        if experiment.adversary.update:
            require(type(experiment.adversary.update).__name__, experiment.adversary.update.needs, given)
        experiment.aggregator.require(experiment.participation.largest(self.federation.num_clients))
        images, _ = self.federation.test.pixels(torch.zeros(2, dtype=torch.int64, device=self.device))
        self.model.eval()
        with torch.no_grad():
            logits = self.model(self.federation.test.normalize(images))
        expected = [2, self.federation.num_classes]
        if list(logits.shape) != expected:
            raise ConfigError(f"The model must give logits {expected} for two samples; got {list(logits.shape)}.")
        experiment.adversary.check(self.federation.test, self.federation.num_clients, self._context(self.initial_state()))


def choose_device(wanted: str) -> torch.device:
    """The device to run on; "auto" takes a GPU if there is one.

    Raises: ConfigError if CUDA is asked for and not there.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError('run.device = "cuda" needs a CUDA device and a torch built for it; neither "auto" nor "cpu" does.')
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)


def honest_loss(rows: Rows, attackers: Mapping[int, int]) -> float | None:
    """The mean training loss of the honest clients that sent an update."""
    sent = rows.status == Status.SENT
    sent[list(attackers)] = False
    return float(rows.loss.cpu()[sent].mean()) if sent.any() else None
