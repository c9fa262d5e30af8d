"""`audit`: a private experiment played with canaries, and what its outcome says about the ε that it claims."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from phalanx.accounts.accounts import Accounts, no_proof
from phalanx.aggregators import Mean
from phalanx.attacks import Adversary
from phalanx.config import EvaluationSettings, Experiment
from phalanx.core.errors import ConfigError
from phalanx.core.types import DataSplit
from phalanx.data import Federation
from phalanx.experiments.auditing.canary_clients import clients_of
from phalanx.experiments.auditing.canary_examples import examples_of
from phalanx.experiments.auditing.game import Game
from phalanx.experiments.auditing.membership import Membership, infer_membership
from phalanx.experiments.auditing.reconstruction import Reconstruction, reconstruct
from phalanx.experiments.run import prepare
from phalanx.privacy import LocalDP, OneRunAudit, PrivacyStatement
from phalanx.privacy.statement import shown
from phalanx.server import AllClients, Screening

_ENOUGH = 500
"""Samples of a client with as many canaries as an audit has at most."""


@dataclass(frozen=True)
class AuditReport:
    """What a run claims of itself, and what an audit of it shows, after `rounds` rounds.

    Beside it how members are told, and which images `[evaluation.inversion]` finds.
    """

    claim: PrivacyStatement
    shown: OneRunAudit
    rounds: int
    membership: Membership | None = None
    reconstruction: Reconstruction | None = None

    @property
    def is_contradicted(self) -> bool:
        """Whether the bound from below is above the claim."""
        return self.shown.lower_bound > self.claim.epsilon

    @property
    def verdict(self) -> str:
        """What follows, in a sentence."""
        bound, claim, most = (f"{self.shown.lower_bound:.2f}", shown(self.claim.epsilon), f"{self.shown.most:.2f}")
        sure = f"{100 * self.shown.confidence:g} %"
        if self.is_contradicted:
            return f"The claim is false: with confidence {sure}, ε is at least {bound}, and {claim} is claimed."
        if self.claim.epsilon >= self.shown.most:
            return (
                f"No verdict: with {self.shown.canaries} canaries no audit shows more than ε = {most}, and {claim} is claimed. "
                "Audit the same with more noise or fewer rounds."
            )
        return f"Nothing speaks against the claim: ε is at least {bound}, and {claim} is claimed; {most} could have been seen."


def audit(
    experiment: Experiment,
    *,
    confidence: float = 0.99,
    shadow_models: int = 0,
    model: nn.Module | None = None,
    data: DataSplit | None = None,
) -> AuditReport:
    """Audit the privacy that an experiment claims, in one run of it without attackers, and without anyone's samples.

    A claim that holds is called false in 1 of 100 audits at most; one that is false may well pass, for no canary finds every
    fault.

    Args:
        experiment: what claims to be private.
        confidence: how sure the bound is.
        shadow_models: how often to train it, too, on a half of its samples each, to see whether members are told from others.
        model: your own, instead of the experiment's.
        data: your own, instead of the experiment's.

    Raises: ConfigError, DataError as a run of it; ConfigError if it claims nothing, or its kind of claim cannot be audited.
    """
    split = experiment.data.load() if data is None else data
    federation, module = prepare(experiment, model, split)
    game = _game(_alone(experiment), federation, module)
    reconstruction = reconstruct(experiment, model=model, data=split)  # first: it refuses what it cannot attack
    claim, audited, rounds = game.play(confidence)
    membership = infer_membership(experiment, shadow_models, model=model, data=split) if shadow_models else None
    return AuditReport(claim, audited, rounds, membership, reconstruction)


def _alone(experiment: Experiment) -> Experiment:
    """The experiment without attackers, tests, trackers and workers."""
    return replace(
        experiment,
        run=replace(experiment.run, workers=1),
        adversary=Adversary(),
        evaluation=EvaluationSettings(every=0),
        tracking=(),
    )


def _game(experiment: Experiment, federation: Federation, model: nn.Module) -> Game:
    """Raises: ConfigError, as a run does for claims that have no proof."""
    training, sizes = experiment.training, sorted(len(index) for index in federation.clients)
    accounts = Accounts.of(experiment, torch.tensor(sizes))
    if accounts is None:
        raise ConfigError(no_proof(experiment))
    if experiment.aggregator.mechanism(experiment.participation, len(sizes)) is not None:
        return clients_of(experiment, federation, model)
    single = replace(experiment, participation=AllClients(), aggregator=Mean(), screening=Screening())
    if accounts.mechanism.unit == "example":
        # The smallest client that has enough samples for all canaries: its batches are the largest part of what it has.
        size = next((size for size in sizes if size >= _ENOUGH), sizes[-1])
        return examples_of(single, federation, model, accounts.mechanism.neighbours, size)
    if isinstance(training, LocalDP):
        return clients_of(single, federation, model)
    raise ConfigError(
        f"An audit knows no canary for {training.kind}, a trainer that hides whole clients. It knows some for local_dp, for "
        "rules that hide clients, and for trainers that hide examples."
    )
