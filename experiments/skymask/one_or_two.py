"""Does SkyMask's choice between one cluster and two hold where it was not made? Honest clients rejected, attackers kept.

    python experiments/skymask/one_or_two.py [SETTING …] [--seeds 1 2 3] [--rounds 15] [--shares 0.2 0.5]

Every round's honest rows are trained once, and each attack replaces the first of them; the model follows the honest mean, so
that no verdict changes what comes after. Printed in percent, without and with the condition on the server's own cluster. Half
a minute to four minutes of a core for a setting and a seed.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from phalanx import Experiment
from phalanx.aggregators import SkyMask
from phalanx.attacks import Adversary, FirstClients, LabelFlipAll
from phalanx.attacks.update import ALittleIsEnough, FangTrim, MinMax, MinSum, SignFlip
from phalanx.config import RunSettings
from phalanx.core import rng
from phalanx.core.families import Aggregator, UpdateAttack
from phalanx.core.types import Aggregate, AttackView, RoundContext, State, Updates
from phalanx.data import MNIST, ByGroup, Digits, Dirichlet, FashionMNIST, Federation, HARPerSubject, LabelBias, RootSet
from phalanx.models import MLP, LogisticRegression, SkyMaskCNN
from phalanx.simulation import Simulation
from phalanx.training import SGD, ClampGradient

IMAGES = Experiment(root=RootSet(100), model=LogisticRegression(), training=SGD(lr=0.1, batch_size=32, steps=10))
HAR = Experiment(
    data=HARPerSubject(),
    root=RootSet(group_share=0.03),
    partition=ByGroup(),
    model=LogisticRegression(),
    training=SGD(lr=0.6, batch_size=32, epochs=1),
)
SETTINGS = {
    "mnist": replace(IMAGES, data=MNIST(), partition=LabelBias(30, bias=0.5)),
    "digits": replace(IMAGES, data=Digits(), partition=LabelBias(20, bias=0.5), model=MLP()),
    "fashion_mnist": replace(IMAGES, data=FashionMNIST(), partition=Dirichlet(30, alpha=0.5)),
    "cnn": replace(IMAGES, data=FashionMNIST(), partition=LabelBias(20, bias=0.5), model=SkyMaskCNN()),
    "har": HAR,
    "har_clamped": replace(HAR, training=SGD(lr=0.6, batch_size=32, epochs=1, hooks=(ClampGradient(0.01),))),
}
ATTACKS: dict[str, UpdateAttack] = {
    "Min-Max": MinMax(),
    "Min-Sum": MinSum(),
    "Fang-Trim": FangTrim(),
    "A Little Is Enough": ALittleIsEnough(1.5),
    "sign flip": SignFlip(),
}
Counts = dict[str, list[tuple[float, ...]]]
FOUND: Counts = defaultdict(list)
"""By attack and for each round: honest rejected and attackers kept, first without and then with the condition."""


class Watcher(Aggregator):
    """The mean of the honest rows; on the way, what SkyMask would have said of each attack."""

    shares: tuple[float, ...]
    flipped: int = 0
    """So many clients, the first, flip labels."""
    needs = SkyMask.needs

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        rows, n = updates.matrix, len(updates)
        if self.flipped:
            note("label flip 0.2", updates, self.flipped, context)
            return Aggregate(rows[self.flipped :].mean(dim=0)), state
        note("no attack", updates, 0, context)
        for f in (int(n * share) for share in self.shares):
            own, honest = rows[:f], rows[f:]
            view = AttackView(own=own, own_clean=own.clone, num_updates=n, honest=honest)
            for name, attack in ATTACKS.items():
                crafted, _ = attack.craft(view, attack.init(context.layout), context)
                note(f"{name} {f / n:.1f}", Updates.of(torch.cat([crafted.rows, honest])), f, context)
        return Aggregate(rows.mean(dim=0)), state


def note(attack: str, updates: Updates, f: int, context: RoundContext) -> None:
    """Judge the rows, of which the first f are malicious, with and without the condition on the server's cluster."""
    result, _ = SkyMask(min_server_silhouette=-1.0).aggregate(updates, {}, context)
    assert result.influence is not None
    without = result.influence == 0
    holds = result.metrics.get("server_silhouette", 1.0) > SkyMask().min_server_silhouette
    FOUND[attack].append((*_shares(without, f), *_shares(without & holds, f)))


def _shares(rejected: Tensor, f: int) -> tuple[float, float]:
    return float(rejected[f:].double().mean()), float(1 - rejected[:f].double().mean()) if f else 0.0


def main(settings: Sequence[str], seeds: Sequence[int], rounds: int, shares: tuple[float, ...]) -> None:
    """Play the settings, and print a table for each."""
    for name in settings:
        FOUND.clear()
        for seed in seeds:
            _play(replace(SETTINGS[name], run=RunSettings(rounds=rounds, seed=seed)), shares)
        table = Table("attack", "rounds", "honest rejected: without", "with", "attackers kept: without", "with", title=name)
        for attack, rows in FOUND.items():
            before, kept, after, kept_after = (f"{100 * sum(values) / len(rows):.1f}" for values in zip(*rows))
            table.add_row(attack, str(len(rows)), before, after, kept, kept_after)
        Console(width=130).print(table)


def _play(experiment: Experiment, shares: tuple[float, ...]) -> None:
    federation = Federation.build(experiment.data.load(), experiment.partition, experiment.root, experiment.run.seed)
    flipped = federation.num_clients // 5
    flips = Adversary(who=FirstClients(count=flipped), data=LabelFlipAll())
    for some in (
        replace(experiment, aggregator=Watcher(shares)),
        replace(experiment, aggregator=Watcher(shares, flipped), adversary=flips),
    ):
        generator = rng.generator(some.run.seed, "model")
        model = some.model.build(federation.input_shape, federation.num_classes, generator)
        with Simulation(some, federation, model) as simulation:
            state = simulation.initial_state()
            for _ in range(some.run.rounds):
                state, _ = simulation.step(state)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("settings", nargs="*", default=list(SETTINGS))
    arguments.add_argument("--seeds", nargs="+", type=int, default=[1])
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--shares", nargs="+", type=float, default=[0.2, 0.5])
    given = arguments.parse_args()
    main(given.settings, given.seeds, given.rounds, tuple(given.shares))
