"""OptimizedBackdoor: the best patch of a linear model by hand, that it beats a white one, and what is refused."""

import pickle

import pytest
import torch
from torch import nn

import phalanx
from phalanx.attacks import Adversary, FirstClients, Never
from phalanx.attacks.data import Backdoor, OptimizedBackdoor, Patch, Picture
from phalanx.config import RunSettings
from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.core.families import Architecture
from phalanx.core.types import Draw, Samples
from phalanx.data import IID, Digits
from phalanx.models import MLP, Pretrained
from phalanx.training import SGD


class Corner(Architecture, kind="corner_of_test_optimized_backdoor"):
    """Two classes; for class 1 speak white at (0, 0) and (1, 1), and black at (0, 1) and (1, 0)."""

    def build(self, input_shape, num_classes, generator):
        model = nn.Sequential(nn.Flatten(), nn.Linear(9, 2, bias=False))
        with torch.no_grad():
            model[1].weight.zero_()
            model[1].weight[1, [0, 1, 3, 4]] = torch.tensor([2.0, -1.0, -3.0, 0.5])
        return model


def samples() -> Samples:
    return Samples(torch.rand(20, 1, 3, 3, generator=generator()), torch.arange(20) % 2, 2)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def attack(**fields) -> OptimizedBackdoor:
    return OptimizedBackdoor(Corner(), **({"target": 1, "per_batch": 3, "height": 2, "steps": 20} | fields))


def test_the_patch_of_a_linear_model_is_white_where_its_weight_is_positive():
    fitted = attack().fitted(samples(), generator())
    assert fitted == Backdoor(Picture((((1.0, 0.0), (0.0, 1.0)),)), target=1, per_batch=3)
    away = attack(target=0, share=0.5, per_batch=None).fitted(samples(), generator())
    assert away == Backdoor(Picture((((0.0, 1.0), (1.0, 0.0)),)), target=0, share=0.5)


def test_it_lies_where_it_is_told_to_and_travels_to_workers():
    fitted = attack(height=1, width=2, row=1, column=0).fitted(samples(), generator())
    assert fitted == Backdoor(Picture((((0.0, 1.0),),), row=1), target=1, per_batch=3)
    assert pickle.loads(pickle.dumps(fitted)) == fitted


def test_the_model_is_tried_on_what_it_sees_normalised():
    """Behind a normalisation by −1 the model sees the negative, so the patch is the negative, too."""
    inverted = Samples(samples().images, samples().labels, 2, mean=torch.tensor(0.0), std=torch.tensor(-1.0))
    assert attack().fitted(inverted, generator()).trigger == Picture((((0.0, 1.0), (1.0, 0.0)),))


def test_a_clean_model_obeys_it_more_than_a_white_patch_and_an_attacked_one_still_more(tmp_path):
    def experiment(rounds, model, adversary=None) -> phalanx.Experiment:
        return phalanx.Experiment(
            run=RunSettings(rounds=rounds, seed=1),
            data=Digits(normalize=False),
            partition=IID(num_clients=5),
            model=model,
            training=SGD(0.1, epochs=2, momentum=0.9),
            adversary=adversary or Adversary(),
        )

    def success(attack, **when) -> float:
        adversary = Adversary(who=FirstClients(count=1), data=attack, **when)
        return phalanx.run(experiment(2, clean, adversary)).metrics[-1]["attack_success"]

    phalanx.run(experiment(4, MLP(hidden=(32,))), out=tmp_path)
    clean = Pretrained(MLP(hidden=(32,)), str(tmp_path))
    optimized = OptimizedBackdoor(clean, target=3, per_batch=10, height=3, row=5, column=2, steps=60)
    white = Backdoor(Patch(3, row=5, column=2), target=3, per_batch=10)
    unpoisoned = success(optimized, when=Never())
    assert unpoisoned > success(white, when=Never()) + 0.1
    assert success(optimized) > unpoisoned + 0.05


def test_bad_input_is_named():
    with pytest.raises(ConfigError, match="exactly one of share and per_batch"):
        attack(share=0.5)
    with pytest.raises(ConfigError, match=r"target must be one of the classes 0\.\.1; got 5"):
        attack(target=5).fitted(samples(), generator())
    with pytest.raises(ConfigError, match="OptimizedBackdoor reaches row 3"):
        attack(height=4).fitted(samples(), generator())
    with pytest.raises(ConfigError, match="got none"):
        attack().fitted(Samples(torch.zeros(0, 1, 3, 3), torch.zeros(0, dtype=torch.int64), 2), generator())
    with pytest.raises(PreconditionError, match="before it is fitted"):
        attack().poison(torch.zeros(2, 1, 3, 3), torch.zeros(2, dtype=torch.int64), Draw(2, torch.Generator()))


def test_it_is_its_own_config():
    first = OptimizedBackdoor(Pretrained(MLP(), "runs/clean"), target=2, share=0.1)
    assert OptimizedBackdoor.from_table(first.to_table()) == first
