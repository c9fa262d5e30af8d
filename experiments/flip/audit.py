"""What a search for triggers says of the last models of FLIP's runs: how easily does the target stand out?

    python experiments/flip/audit.py runs/flip/mnist_presets/cells/*continuous*

Universal triggers to all classes are inverted from 60 clean test images, as in planted_trigger.py; an anomaly index above 2
suspects the target. `in place` is the share of its mask on the true trigger's pixels; attack success is over all test images,
in percent. Half a minute of a core for a model.
"""

import argparse
from pathlib import Path

import torch
from rich.console import Console

from phalanx.attacks import Backdoor
from phalanx.experiments import RunRecord
from phalanx.metrics import anomaly_index
from phalanx.models import Pretrained
from phalanx.training import TriggerInversion

SEARCH = TriggerInversion(250, lr=0.2, cost=1e-2)
HEAD = ["run", "attack success", "mask to the target, pixels", "median of the others", "anomaly index", "in place"]


def row(run: RunRecord) -> list[str]:
    """What the search says of a finished run's model."""
    experiment = run.experiment
    attack, architecture = experiment.adversary.data, experiment.model
    assert isinstance(attack, Backdoor)
    assert isinstance(architecture, Pretrained)
    test = experiment.data.load().test
    images, labels = test.pixels(torch.arange(60))
    recipe = Pretrained(architecture.architecture, run=str(run.folder))
    model = recipe.build(tuple(images.shape[1:]), test.num_classes, torch.Generator())
    found = SEARCH.invert_all(model, images, labels, [(None, target) for target in range(test.num_classes)])
    others = found.sizes[torch.arange(test.num_classes) != attack.target].nanquantile(0.5)
    size, index = found.sizes[attack.target], anomaly_index(found.sizes)[attack.target]
    mask = found.masks[attack.target]
    stamped = attack.stamp(torch.zeros_like(images[:1])).amax(dim=1).gt(0)
    numbers = (100 * run.final["attack_success"], size, others, index)
    return [run.folder.name, *(f"{float(number):.1f}" for number in numbers), f"{float(mask[stamped].sum() / mask.sum()):.2f}"]


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folders", type=Path, nargs="+", help="folders of finished runs")
    lines = [HEAD, ["---", *["---:"] * (len(HEAD) - 1)]]
    lines += [row(RunRecord.read(folder)) for folder in arguments.parse_args().folders]
    Console(soft_wrap=True).print("\n".join(f"| {' | '.join(line)} |" for line in lines), markup=False, highlight=False)
