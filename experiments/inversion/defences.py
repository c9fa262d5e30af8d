"""Which defences stand against an attacker who knows them: every defence attacked naively and adaptively, in one table.

    PHALANX_DATA_DIR=DIR python experiments/inversion/defences.py [--images 4]

Single images of Fashion-MNIST behind the untrained `sigmoid_cnn`, on which nothing is safe undefended; labels are known, and
each client's row comes from its trainer. A number is the mean PSNR against the images that clients hold, by the best of three
attacks (DLG, InvertingGradients with little smoothness or much), with the standard deviation over images. The noise is in
per cent of the root mean square of a gradient's coordinates, 0.19; `local_dp` clips at the rows' norm. About ten minutes of
a core.
"""

import argparse
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from rich.console import Console
from torch import Tensor, nn

from phalanx.core.families import InversionAttack, Trainer
from phalanx.core.params import Layout, flatten
from phalanx.core.types import Cohort, RoundContext, Rows, Samples
from phalanx.data import ATS, FashionMNIST
from phalanx.inversion import (
    DLG,
    InvertingGradients,
    Leak,
    LocalSteps,
    MaskAware,
    PolicyAware,
    TransformAware,
    averaged_leak,
    group_leak,
)
from phalanx.metrics import psnr, recovery
from phalanx.models import SigmoidCNN
from phalanx.privacy import LocalDP
from phalanx.training import DPSGD, SGD, FlatClipping, NoisyUpdate, PrunedUpdate, QuantizedUpdate

LR, ROUNDS = 0.002, 16
RMS = 0.19  # of the coordinates of these images' gradients
NORM = 0.05  # of the rows, about: a clip norm far above would make noise that needs no defence to hide them
ATTACKS = (DLG(steps=200, restarts=4), *(InvertingGradients(tv, steps=300, restarts=2) for tv in (1e-2, 1e-1)))
PLAIN = SGD(LR, epochs=1)
PRIVATE = DPSGD(LR, steps=1, sample_rate=1.0, clipping=FlatClipping(1.0), noise_multiplier=1.0)
Wrap = Callable[[InversionAttack], InversionAttack]


@dataclass(frozen=True)
class Defence:
    """What clients do, and what an attacker makes of it who knows: another attack, more rounds, or the steps that were made."""

    name: str
    trainer: Trainer
    knowledge: str = ""
    """Empty: there is nothing to know."""
    wrap: Wrap | None = None
    epochs: int = 1
    rounds: int = 1
    group: int = 1
    """So many clients with an image each are seen as one sum."""


def ats(*policy: int) -> SGD:
    """Training on transformed images."""
    return SGD(LR, epochs=1, augment=(ATS((policy,)),))


def knows(*policy: int) -> Wrap:
    """The attacker who undoes it."""
    return lambda attack: PolicyAware(attack, (policy,))


DEFENCES = (
    Defence("none", PLAIN),
    Defence("pruned to 10 %", PrunedUpdate(PLAIN, 0.1), "which coordinates were sent (`mask_aware`)", MaskAware),
    Defence("pruned to 1 %", PrunedUpdate(PLAIN, 0.01), "the same", MaskAware),
    Defence("4 bits", QuantizedUpdate(PLAIN, 4), f"{ROUNDS} rounds of the same batch (`averaged_leak`)", rounds=ROUNDS),
    Defence("2 bits", QuantizedUpdate(PLAIN, 2), "the same", rounds=ROUNDS),
    Defence("noise, 5 % of a coordinate", NoisyUpdate(PLAIN, 0.05 * RMS * LR), "the same", rounds=ROUNDS),
    Defence("noise, 50 % of a coordinate", NoisyUpdate(PLAIN, 0.5 * RMS * LR), "the same", rounds=ROUNDS),
    Defence("`local_dp`, z = 0.01", LocalDP(PLAIN, clip_norm=NORM, noise_multiplier=0.01), "the same", rounds=ROUNDS),
    Defence("`local_dp`, z = 0.1", LocalDP(PLAIN, clip_norm=NORM, noise_multiplier=0.1), "the same", rounds=ROUNDS),
    Defence("`local_dp`, z = 1", LocalDP(PLAIN, clip_norm=NORM, noise_multiplier=1.0), "the same", rounds=ROUNDS),
    Defence("`dpsgd`, clip 1, z = 1", PRIVATE, "the same", rounds=ROUNDS),
    Defence("ATS 19-15-45", ats(19, 15, 45), "the policy (`policy_aware`)", knows(19, 15, 45)),
    Defence("ATS 14-48-48", ats(14, 48, 48), "the policy", knows(14, 48, 48)),
    Defence("ATS 3-1-7", ats(3, 1, 7), "the policy", knows(3, 1, 7)),
    Defence("ATS 3-1-7", ats(3, 1, 7), "that images are moved (`transform_aware`)", TransformAware),
    Defence("5 local steps", SGD(LR, epochs=5), "the steps (`LocalSteps`)", epochs=5),
    Defence("a sum of 4 clients, or a batch of 4", PLAIN, group=4),
    Defence("a sum of 16 clients, or a batch of 16", PLAIN, group=16),
)


def main(images: int) -> None:
    """Print the table, a row as soon as it is measured."""
    torch.set_num_threads(1)
    split = FashionMNIST().load()
    model = SigmoidCNN().build((1, 28, 28), 10, torch.Generator().manual_seed(0))
    mean_image = split.train.images.mean(0, dtype=torch.float32) / 255

    def score(leaks: Sequence[Leak], attack: InversionAttack, truth: Tensor) -> Tensor:
        found = attack.reconstruct_all(leaks, model, torch.Generator().manual_seed(1))
        parts = zip(found, torch.split(truth, leaks[0].shape[0]))
        return torch.cat([recovery(one.images, part, mean_image=mean_image).psnr for one, part in parts]).clamp(max=100)

    def best(defence: Defence, *, is_known: bool) -> str:
        clients = torch.arange(max(images, defence.group))
        held = replace(split.test, images=split.test.images[clients], labels=split.test.labels[clients])
        leaks = leaks_of(defence, model, held, is_known=is_known)
        attacks = [defence.wrap(attack) if is_known and defence.wrap else attack for attack in ATTACKS]
        scores = max((score(leaks, attack, held.images / 255) for attack in attacks), key=lambda psnr: float(psnr.mean()))
        return f"{scores.mean():.1f} ± {scores.std():.1f}"

    show = Console(soft_wrap=True).print
    show("| defence | naive | adaptive | what the adaptive attacker knows |\n|---|---:|---:|---|")
    for defence in DEFENCES:
        naive = best(defence, is_known=False)
        adaptive = best(defence, is_known=True) if defence.knowledge else naive
        show(f"| {defence.name} | {naive} | {adaptive} | {defence.knowledge or '–'} |", markup=False)
    baseline = psnr(mean_image.expand(images, -1, -1, -1), split.test.images[:images] / 255)
    show(f"| nothing seen: the mean image | {baseline.mean():.1f} ± {baseline.std():.1f} | | |")


def leaks_of(defence: Defence, model: nn.Module, held: Samples, *, is_known: bool) -> list[Leak]:
    """What a server has of clients with one image each, as the attacker takes it who knows of the defence, or does not."""
    rows = [sent(defence.trainer, model, held, round) for round in range(defence.rounds if is_known else 1)]
    # Who knows of one step only takes the sum of several for one.
    local = LocalSteps(LR, epochs=defence.epochs) if is_known else LocalSteps(LR * defence.epochs)

    def seen(row: Tensor, label: Tensor) -> Leak:
        return Leak.of_update(row, (1, 1, 28, 28), label[None], local=local, mean=held.mean, std=held.std)

    clients = [averaged_leak([seen(row, label) for row in of_client]) for *of_client, label in zip(*rows, held.labels)]
    if defence.group == 1:
        return clients
    return [group_leak(clients[start : start + defence.group]) for start in range(0, len(clients), defence.group)]


def sent(trainer: Trainer, model: nn.Module, held: Samples, round: int) -> Tensor:
    """The rows `[k, d]` of clients with one image each, who are all sent the same model in every round."""
    layout, places = Layout.of(model), tuple(range(len(held)))
    rows, context = Rows.empty(len(held), layout), RoundContext(round, 0, layout, *flatten(model), model=deepcopy(model))
    trainer.train(Cohort(places, places, held, tuple(torch.arange(len(held))[:, None])), {}, context, rows)
    return rows.matrix


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--images", type=int, default=4)
    main(arguments.parse_args().images)
