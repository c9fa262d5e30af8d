"""`Simulation`: one machine's engine. A round is a step from one `FederationState` to the next, and the event it makes."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn

from phalanx.accounts import Accounts
from phalanx.accounts.books import RuleBooks
from phalanx.config import Experiment
from phalanx.core import params as flat
from phalanx.core.events import Event
from phalanx.core.leak import Watch
from phalanx.core.params import Layout
from phalanx.core.types import Root, RoundContext, Rows, State, Status
from phalanx.core.workers import workers
from phalanx.data import Federation
from phalanx.metrics import evaluate
from phalanx.server.aggregation import aggregate, combined_buffers, owned, root, valid_buffers
from phalanx.server.events import Stopwatch
from phalanx.server.state import FederationState
from phalanx.simulation.attack import attack
from phalanx.simulation.clients import Clients
from phalanx.simulation.devices import CPU, choose_devices
from phalanx.simulation.inversion import Inversion, Pictures
from phalanx.simulation.preflight import check
from phalanx.simulation.record import evaluation_event, round_event
from phalanx.simulation.undefended import undefended_model


class Simulation:
    """Everything that stays the same between rounds. Use it as a context manager: it may hold worker processes.

    Raises: ConfigError, CapabilityError or PreconditionError for a combination that cannot work, before any round.
    """

    def __init__(self, experiment: Experiment, federation: Federation, model: nn.Module) -> None:
        self.experiment = experiment
        adversary = experiment.adversary.fitted(federation.train, experiment.run.seed)
        fitted = replace(experiment, adversary=adversary)  # what trains and tests; what is written down stays as it was given
        self._poison = adversary.data
        self.devices = choose_devices(experiment.run)
        is_pooled = len(self.devices) * experiment.run.workers > 1
        # With a pool, everything but training and testing is done on the CPU, where the workers' rows are.
        self.device = CPU if is_pooled else self.devices[0]
        self.federation = federation.to(self.device)
        self.model = model.to(self.device)
        self.layout = Layout.of(model)
        self.initial_params, self.initial_buffers = flat.flatten(self.model)
        self.sample_counts = torch.tensor([len(index) for index in federation.clients])
        # Buffers that do not travel (counters, caches) as they were: they must not tell how often a model was tested.
        self._resting = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        self.accounts = Accounts.of(experiment, self.sample_counts)
        self._digest = experiment.digest()
        self._screening = experiment.screening
        self._announced: int | None = None
        if self.accounts and isinstance(self.accounts.books, RuleBooks):
            self._screening = experiment.screening.each_alone(experiment.aggregator.kind)
            # Nor do attackers learn how many came: what they make of it would tell of one client more.
            self._announced = max(1, round(experiment.participation.expected(len(federation.clients))))
        check(fitted, self.federation, self.model, self._context(self.initial_state()))
        settings = experiment.evaluation.inversion
        self._inversion = None if settings is None else Inversion(fitted, self.federation, self.model, settings)
        if self._inversion:
            self._inversion.check(self._context(self.initial_state()))
        self._rest(self.model)
        self.clients = Clients(fitted, self.federation, self.model, self.layout, self.devices)
        self._tested, self._test = self.model, self.federation.test
        self._undefended = undefended_model(experiment.evaluation.undefended, self.model, self._poison)

    def __enter__(self) -> Self:
        self.clients.__enter__()
        if self.device != (first := self.devices[0]):
            # Only now: workers cannot use CUDA if this process did before they were forked.
            self._tested, self._test = deepcopy(self.model).to(first), self.federation.test.to(first)
            self._undefended = None if self._undefended is None else self._undefended.to(first)
        # Torch's own threads were up to 100 times slower than one on small models, and reorder sums; workers replace them.
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.clients.__exit__(kind, error, trace)
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
        """One round: sample, train, attack, screen, aggregate, step. `state` is not changed.

        Raises: PrivacyBudgetExhausted, before anyone trains, if the round would cost more than the run may spend.
        """
        experiment, watch, context = self.experiment, Stopwatch(), self._context(state)
        with watch.phase("train"):
            sampled = experiment.participation.sample(self.federation.num_clients, context)
            attackers = experiment.adversary.active(sampled, self.federation.num_clients, context)
            ids = tuple(sampled.tolist())
            if self.accounts:
                self.accounts.afford(state, [client for place, client in enumerate(ids) if place not in attackers])
            rows, clients = self.clients.train(ids, attackers, state.clients, context)
        loss = honest_loss(rows, attackers)
        trained = [ids[place] for place in (rows.status == Status.SENT).nonzero().flatten().tolist() if place not in attackers]
        with watch.phase("attack"):
            reached, adversary = attack(
                experiment.adversary,
                experiment.aggregator,
                rows,
                ids,
                sorted(attackers),
                state.adversary,
                context,
                lambda places: self.clients.train_honestly([ids[place] for place in places], state.clients, context),
                lambda places: self.clients.samples([ids[place] for place in places]),
                announced=self._announced,
            )
        # Training is over for this round: its workers' cores are free.
        with watch.phase("screen"), workers(experiment.run.workers):
            counts = {status.name.lower(): int((rows.status == status).sum()) for status in Status if status != Status.SENT}
            updates, rejected = self._screening.screen(rows, ids, self.sample_counts[sampled])
        with watch.phase("aggregate"), workers(experiment.run.workers):
            accepted = torch.isin(sampled, updates.ids.cpu())
            rooted = replace(context, root=self._root(context, rows.steps[accepted]))
            result, rule, reason = aggregate(experiment.aggregator, updates, state.rule, rooted)
        with watch.phase("server"):
            params, server = state.params, state.server
            if result.update is not None:
                params, server = experiment.server.step(params, result.update, server)
            buffers = experiment.server.step_buffers(state.buffers, combined_buffers(result, updates, context))
        following = FederationState(
            round=state.round + 1,
            params=params,
            buffers=valid_buffers(buffers, context.layout),
            previous_update=state.previous_update if result.update is None else result.update,
            clients=clients,
            adversary=self._owned(adversary),
            rule=self._owned(rule),
            server=server,
        )
        event = round_event(
            state.round,
            sampled=len(ids),
            absent=counts,
            updates=updates,
            aggregate=result,
            rejected=rejected,
            malicious={ids[place] for place in attackers if rows.status[place] == Status.SENT},
            loss=loss,
            kept_model=reason,
            attack=reached,
            training=experiment.training.tells(clients, trained, context),
            seconds=watch.seconds,
        )
        if self.accounts:
            event = replace(event, values={**event.values, **self.accounts.values(state, following)})
        return following, event

    def evaluate(self, state: FederationState) -> Event:
        """Test the model of `state`: accuracy, and attack success if the adversary has a target."""
        watch = Stopwatch()
        with watch.phase("evaluate"):
            self._rest(self._tested)
            flat.load(self._tested, state.params, state.buffers)
            settings = self.experiment.evaluation
            found = evaluate(
                self._tested,
                self._test,
                poison=self._poison,
                batch_size=settings.batch_size,
                tau=settings.tau,
                undefended=self._undefended,
            )
            self._rest(self._tested)
        return evaluation_event(state.round - 1, found, watch.seconds)

    def invert(self, state: FederationState, *, watch: Watch | None = None) -> tuple[Event, Pictures | None] | None:
        """Attack a client's update of the round that begins with `state` for its images, if that was asked for.

        A search tells `watch` of its steps.
        """
        settings = self.experiment.evaluation.inversion
        if self._inversion is None or settings is None or state.round not in settings.rounds:
            return None
        found = self._inversion.run(state.clients, self._context(state), watch)
        self._rest(self.model)
        return found

    def load(self, state: FederationState) -> nn.Module:
        """The module with the parameters and buffers of `state` in it, and nothing of what it was used for."""
        self._rest(self.model)
        flat.load(self.model, state.params, state.buffers)
        return self.model

    def _rest(self, model: nn.Module) -> None:
        for name, buffer in model.named_buffers():
            buffer.copy_(self._resting[name])

    def _owned(self, memory: State) -> State:
        return owned(memory, self.clients.rows, self.clients.scratch)

    def _context(self, state: FederationState) -> RoundContext:
        """What trainers and attackers may know; the rule gets the root data, too."""
        return RoundContext(
            round=state.round,
            seed=self.experiment.run.seed,
            layout=self.layout,
            global_params=state.params,
            global_buffers=state.buffers,
            previous_update=state.previous_update,
            model=self.model,
            input_shape=self.federation.input_shape,
            run=self._digest,
        )

    def _root(self, context: RoundContext, made: Tensor) -> Root | None:
        """The server as one more client, in as many steps as the round's clients made: an epoch of its few samples is no match.

        The median of what the accepted rows `made` `[n]`, because attackers decide how many steps they make; at least one: a
        trainer may write none.
        """
        samples = self.federation.root
        if samples is None:
            return None
        steps = max(1, int(made.median())) if len(made) else 1
        return root(samples, self.experiment.training.in_steps(steps), context)


def honest_loss(rows: Rows, attackers: Mapping[int, int]) -> float | None:
    """The mean training loss of the honest clients that sent an update."""
    places = enumerate(zip(rows.loss.tolist(), rows.status.tolist()))
    losses = [loss for place, (loss, status) in places if status == Status.SENT and place not in attackers]
    return sum(losses) / len(losses) if losses else None
