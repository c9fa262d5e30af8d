"""What one long row does to SkyMask: an attacker gives himself up, so that the others are not seen.

    python experiments/skymask/one_long_row.py [--seeds 1 2 3] [--rounds 10]

A fifth of the clients send Min-Max, but one of them minus the honest mean, so many times over. Printed are the shares of the
other attackers and of the honest clients that were rejected, in percent, over all rounds and seeds, by the rule or before it.
Three minutes of a core.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from rich.console import Console
from rich.table import Table

from phalanx import Experiment
from phalanx.aggregators import ClipToMedianNorm, OfficialSkyMask, Pipeline, SkyMask
from phalanx.attacks import Adversary, FirstClients
from phalanx.attacks.update import MinMax
from phalanx.attacks.update.colluding import Colluding
from phalanx.config import RunSettings
from phalanx.core import rng
from phalanx.core.families import UpdateAttack
from phalanx.core.types import AttackView, Crafted, RoundContext, State
from phalanx.data import ByGroup, Digits, Federation, HARPerSubject, LabelBias, RootSet
from phalanx.models import MLP, LogisticRegression
from phalanx.server import Screening
from phalanx.simulation import Simulation
from phalanx.training import SGD, ClampGradient

SETTINGS = {
    "digits, biased, MLP, 16 clients": Experiment(
        data=Digits(),
        root=RootSet(80),
        partition=LabelBias(16, bias=0.5),
        model=MLP(),
        training=SGD(lr=0.1, batch_size=32, steps=5),
    ),
    "HAR by person, logistic regression, 30 clients": Experiment(
        data=HARPerSubject(),
        root=RootSet(group_share=0.03),
        partition=ByGroup(),
        model=LogisticRegression(),
        training=SGD(lr=0.6, batch_size=32, epochs=1, hooks=(ClampGradient(0.01),)),
    ),
}
DEFENCES = {
    "SkyMask": {"aggregator": SkyMask()},
    "official": {"aggregator": OfficialSkyMask()},
    "clip_to_median_norm in front": {"aggregator": Pipeline((ClipToMedianNorm(), SkyMask()))},
    "screening.norm_cap = 3": {"aggregator": SkyMask(), "screening": Screening(norm_cap=3.0)},
}


class Decoy(Colluding):
    """Min-Max, but the first attacker sends minus the honest mean, `length` times over."""

    length: float

    def craft(self, view: AttackView, state: State, context: RoundContext) -> tuple[Crafted, State]:
        crafted, state = MinMax().craft(view, state, context)
        rows = crafted.rows.clone()
        rows[0] = -self.length * view.reference().mean(dim=0)
        return Crafted(rows), state


ATTACKS: dict[str, UpdateAttack | None] = {
    "nobody attacks": None,
    "none": MinMax(),
    "10 times the mean": Decoy(10.0),
    "100 times the mean": Decoy(100.0),
}


def main(seeds: Sequence[int], rounds: int) -> None:
    """Play the settings, and print a table for each."""
    for name, experiment in SETTINGS.items():
        table = Table("the long row", *DEFENCES, title=f"{name}: other attackers / honest clients rejected")
        split = experiment.data.load()
        federations = {seed: Federation.build(split, experiment.partition, experiment.root, seed) for seed in seeds}
        for told, attack in ATTACKS.items():
            found = (_rejected(replace(experiment, **fields), attack, federations, rounds) for fields in DEFENCES.values())
            table.add_row(told, *found)
        Console(width=128).print(table)


def _rejected(experiment: Experiment, attack: UpdateAttack | None, federations: Mapping[int, Federation], rounds: int) -> str:
    others, honest = list[bool](), list[bool]()
    for seed, federation in federations.items():
        n = federation.num_clients
        f = n // 5 if attack else 0
        adversary = Adversary(who=FirstClients(count=f), update=attack) if attack else Adversary()
        played = replace(experiment, run=RunSettings(rounds=rounds, seed=seed), adversary=adversary)
        model = played.model.build(federation.input_shape, federation.num_classes, rng.generator(seed, "model"))
        with Simulation(played, federation, model) as simulation:
            state = simulation.initial_state()
            for _ in range(rounds):
                state, event = simulation.step(state)
                weight = dict(zip(event.values["clients"], event.values["influence"], strict=True))
                others += [not weight.get(client) for client in range(1, f)]
                honest += [not weight.get(client) for client in range(f, n)]
    told = f"{100 * fmean(honest):.1f}"
    return f"{100 * fmean(others):.0f} / {told}" if others else told


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    arguments.add_argument("--rounds", type=int, default=10)
    given = arguments.parse_args()
    main(given.seeds, given.rounds)
