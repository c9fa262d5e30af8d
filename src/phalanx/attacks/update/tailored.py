"""Attacks that know the rule and search for what hurts it most."""

from dataclasses import KW_ONLY
from typing import Annotated, ClassVar, get_args

import torch
from pydantic import Field
from torch import nn

from phalanx.attacks.update.colluding import Colluding
from phalanx.attacks.update.damage import COARSE, Damage, Objective, search
from phalanx.attacks.update.deviations import Deviation
from phalanx.attacks.update.line import Line
from phalanx.core.families import Aggregator
from phalanx.core.types import AttackView, Crafted, RoundContext, State

Evaluations = Annotated[int, Field(ge=COARSE, le=1000)]


class AGRTailored(Colluding, kind="agr_tailored"):
    """All attackers send `mean + γ p`, with the γ that moves this very rule's result farthest from the honest mean.

    The rule is the server's own, or the one that the attackers take it to be (`aggregator`). γ is searched over `evaluations`
    calls of it: powers of two first, then around the best one. Works against every rule, pipelines and your own too; where
    one needs the server's data (FLTrust, SkyMask), the attackers' own samples and clean updates stand for them. Of a rule's
    memory it knows what follows from published updates (CenteredClipping's centre), no more. Metrics: `gamma` and how far the
    result was moved (`deviation`), as multiples of the honest spread. Costs `evaluations` times the rule, less the distances of
    honest rows, and ends early where the rule refuses a try.

    Reference: Shejwalkar and Houmansadr, Manipulating the Byzantine: Optimizing Model Poisoning Attacks and Defenses for
    Federated Learning, NDSS 2021, Section IV. Differs from the paper: one search for every rule, where it has a formula for
    each.

    >>> from phalanx.aggregators import Median
    >>> AGRTailored(aggregator=Median())(torch.tensor([[1.0], [2.0], [3.0]]), num_byzantine=1).item() < 1
    True
    """

    deviation: Deviation = "std"
    _: KW_ONLY
    aggregator: Aggregator | None = None
    """The rule that they expect; None: they know the server's."""
    evaluations: Evaluations = 32

    knows_aggregator: ClassVar[bool] = True

    def check(self, model: nn.Module) -> None:
        """The rule that they expect must be able to look at the model."""
        if self.aggregator is not None:
            self.aggregator.check(model)

    def craft(self, view: AttackView, state: State, context: RoundContext) -> tuple[Crafted, State]:
        """One row for all attackers; metrics `gamma` and `deviation`."""
        damage = Damage(self.aggregator or view.aggregator, view, context, "distance")
        line = Line.away_from(damage.rows, self.deviation)
        gamma, reached = search(damage, line, self.evaluations)
        return Crafted(line.at(gamma).expand(view.num_byzantine, -1), damage.metrics(gamma, reached)), state


class Adaptive(Colluding):
    """The worst of the simple directions at its worst length, against whatever rule: how to judge a defence honestly.

    Tries the deviations "unit", "sign" and "std", forwards and backwards, each with a search over γ as in AGRTailored, and
    sends `mean + γ p` of the best. `objective` is what harm means: "distance" from the honest mean, or how far the step is
    turned "against" it. A defence that holds against this may still fall to an attack made for it. Metrics: `gamma`,
    `direction` (which of the six, from 0) and `deviation`. Costs 6 · `evaluations` times the rule.

    Reference: none of its own; Tramèr et al., On Adaptive Attacks to Adversarial Example Defenses, NeurIPS 2020 (arXiv
    2002.08347) for the principle.

    >>> from phalanx.aggregators import Median
    >>> Adaptive(aggregator=Median())(torch.tensor([[1.0], [2.0], [4.0]]), num_byzantine=1).item() < 1
    True
    """

    _: KW_ONLY
    objective: Objective = "distance"
    aggregator: Aggregator | None = None
    """The rule that they expect; None: they know the server's."""
    evaluations: Evaluations = 24

    knows_aggregator: ClassVar[bool] = True

    def check(self, model: nn.Module) -> None:
        """The rule that they expect must be able to look at the model."""
        if self.aggregator is not None:
            self.aggregator.check(model)

    def craft(self, view: AttackView, state: State, context: RoundContext) -> tuple[Crafted, State]:
        """One row for all attackers."""
        damage = Damage(self.aggregator or view.aggregator, view, context, self.objective)
        ahead = [Line.away_from(damage.rows, deviation) for deviation in get_args(Deviation)]
        best, gamma, direction, row = -torch.inf, 0.0, 0, damage.rows[0]
        for place, line in enumerate(line for one in ahead for line in (one, one.backwards())):
            length, reached = search(damage, line, self.evaluations)
            if reached > best + 1e-6 * abs(reached):  # of as good ones the first, whatever their last digits
                best, gamma, direction, row = reached, length, place, line.at(length)
        metrics = {**damage.metrics(gamma, best), "direction": float(direction)}
        return Crafted(row.expand(view.num_byzantine, -1), metrics), state
