"""EdgeCase: what is rare by hand and against scikit-learn, what is relabelled and counted, and that it works."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

import phalanx
from phalanx.aggregators import Mean, TrimmedMean
from phalanx.attacks import Adversary, EdgeCase, FirstClients, ModelReplacement, Never
from phalanx.attacks.data.rarity import Density
from phalanx.attacks.schedules import Always
from phalanx.config import RunSettings
from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.core.families import Aggregator, DataAttack, Schedule
from phalanx.core.types import Draw, Samples
from phalanx.data import IID, Digits
from phalanx.models import CNN, MLP, LogisticRegression
from phalanx.training import SGD


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def two_classes() -> Samples:
    """Class 0 lies around (0, 0, 0, 0), but for its last four samples; class 1 lies elsewhere."""
    images = 0.1 * torch.randn(60, 4, generator=generator())
    images[36:40] += 3 * torch.eye(4)
    images[40:] += 9
    return Samples(images, torch.arange(60) // 40, 2)


def fitted(share: float = 0.1, **fields: object) -> DataAttack:
    return EdgeCase(0, target=1, share=share, num_components=1, **fields).fitted(two_classes(), generator())


def test_the_samples_far_from_their_class_are_rare_and_no_others() -> None:
    samples = two_classes()
    chosen = fitted().choose(samples, torch.arange(60), generator())
    assert chosen.nonzero().flatten().tolist() == [36, 37, 38, 39]
    assert fitted().choose(samples, torch.tensor([50, 39, 3, 36]), generator()).tolist() == [False, True, False, True]


def test_clients_and_evaluation_judge_alike() -> None:
    samples, attack = two_classes(), fitted()
    everybody = torch.arange(60)
    assert torch.equal(attack.eligible(*samples.pixels(everybody)), attack.choose(samples, everybody, generator()))
    assert attack.success_class == 1
    images, _ = samples.pixels(everybody)
    assert attack.stamp(images) is images


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 1.0])
def test_the_share_is_that_of_the_class_rounded_and_never_nobody(share: float) -> None:
    chosen = fitted(share).choose(two_classes(), torch.arange(60), generator())
    assert int(chosen.sum()) == max(1, round(40 * share))
    assert not chosen[40:].any()


def test_images_as_rare_as_the_rarest_are_rare_with_it() -> None:
    images = two_classes().images[:40]
    is_rare = Density.fit(torch.cat([images, images]), 0.001, 4, 1, seed=0).is_rare(images)
    assert int(is_rare.sum()) == 1, "the rarest, and its equal with it"
    assert is_rare[36:].any()


def test_the_likelihood_is_scikit_learns() -> None:
    images = torch.randn(200, 1, 3, 4, generator=generator(1), dtype=torch.float64) * torch.linspace(0.5, 3, 4)
    density = Density.fit(images, 0.1, 5, 3, seed=7)
    mean, projection = density.mean.tensor().numpy(), density.projection.tensor().numpy()
    features = (images.flatten(1).numpy() - mean) @ projection.T
    np.testing.assert_allclose(features.std(axis=0, ddof=1), 1, rtol=1e-6)
    mixture = GaussianMixture(3)
    mixture.weights_, mixture.means_ = np.exp(density.log_weights.tensor().numpy()), density.centres.tensor().numpy()
    mixture.precisions_cholesky_ = density.factors.tensor().numpy()
    np.testing.assert_allclose(density.log_likelihood(images).numpy(), mixture.score_samples(features), rtol=1e-9)
    assert int(density.is_rare(images).sum()) == 20


def test_the_fit_is_a_function_of_its_seed_and_travels_to_workers() -> None:
    first, again, other = (EdgeCase(3, target=8).fitted(Digits().load().train, generator(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    sent = pickle.dumps(first)
    assert pickle.loads(sent) == first
    assert len(sent) < 8 * (16 + 1) * 64 + 8 * 3 * (16 + 1) * 16 + 2000, "8 bytes a number, and little else"


def test_pixels_that_never_vary_and_more_features_than_there_are_do_no_harm() -> None:
    samples = two_classes()
    padded = Samples(torch.cat([samples.images, torch.ones(60, 3)], dim=1), samples.labels, 2)
    attack = EdgeCase(0, target=1, num_components=1, num_features=100).fitted(padded, generator())
    assert attack.choose(padded, torch.arange(60), generator()).nonzero().flatten().tolist() == [36, 37, 38, 39]


def test_chosen_samples_are_relabelled_and_the_mix_is_drawn_from_the_attackers_own() -> None:
    samples = two_classes()
    images, labels = samples.pixels(torch.tensor([0, 39, 50, 1]))
    chosen = torch.tensor([False, True, False, False])
    alone = fitted(mix=0.0).poison(images, labels, Draw(2, generator(), chosen, 0, samples, torch.tensor([39])))
    assert torch.equal(alone[0], images)
    assert alone[1].tolist() == [0, 1, 1, 0]
    mixed = fitted(mix=0.5).poison(images, labels, Draw(2, generator(), chosen, 0, samples, torch.tensor([39])))
    assert torch.equal(mixed[0], samples.images[[39, 39, 50, 1]])
    assert mixed[1].tolist() == [1, 1, 1, 0]
    assert labels.tolist() == [0, 0, 1, 0]


def test_an_attacker_without_rare_samples_trains_honestly() -> None:
    samples = two_classes()
    images, labels = samples.pixels(torch.tensor([0, 1]))
    nothing = Draw(2, generator(), torch.tensor([False, False]), 0, samples, torch.arange(0))
    poisoned = fitted().poison(images, labels, nothing)
    assert torch.equal(poisoned[0], images)
    assert torch.equal(poisoned[1], labels)


def test_what_makes_no_sense_is_refused() -> None:
    samples = two_classes()
    with pytest.raises(ConfigError, match="two classes"):
        EdgeCase(1, target=1)
    with pytest.raises(ConfigError, match=r"EdgeCase\.target must be one of the classes 0\.\.1; got 5"):
        EdgeCase(0, target=5).fitted(samples, generator())
    with pytest.raises(ConfigError, match="needs 30 or more different training samples of class 1; got 20"):
        EdgeCase(1, target=0, num_components=30).fitted(samples, generator())
    with pytest.raises(ConfigError, match="different training samples of class 0; got 3"):
        EdgeCase(0, target=1).fitted(Samples(torch.ones(3, 4), torch.zeros(3, dtype=torch.int64), 2), generator())
    with pytest.raises(PreconditionError, match="before it is fitted"):
        EdgeCase(0, target=1).choose(samples, torch.arange(60), generator())
    with pytest.raises(PreconditionError, match="EdgeCase needs `chosen`"):
        EdgeCase(0, target=1).poison(*samples.pixels(torch.tensor([0])), Draw(2, generator()))


def last(rule: Aggregator, when: Schedule, out: Path | None = None, **fields: object) -> dict[str, float]:
    attack = EdgeCase(3, target=8, share=0.3)
    settings = {
        "run": RunSettings(rounds=12),
        "partition": IID(num_clients=12),
        "model": MLP(hidden=(32,)),
        "training": SGD(lr=0.1, epochs=2, batch_size=16),
        "adversary": Adversary(who=FirstClients(count=3), when=when, data=attack, update=ModelReplacement()),
    }
    return phalanx.run(phalanx.Experiment(aggregator=rule, **(settings | fields)), out=out).metrics[-1]


def test_boosted_it_fools_the_mean_on_rare_samples_and_a_trimmed_mean_stops_it() -> None:
    attacked, honest, defended = last(Mean(), Always()), last(Mean(), Never()), last(TrimmedMean(3), Always())
    assert attacked["attack_success"] > 0.3 > 0.1 > honest["attack_success"]
    assert defended["attack_success"] < 0.1
    assert attacked["accuracy"] > 0.9


def test_a_run_folder_holds_the_attack_as_it_was_given(tmp_path: Path) -> None:
    last(Mean(), Always(), out=tmp_path / "run", run=RunSettings(rounds=1))
    assert "density" not in (tmp_path / "run" / "config.toml").read_text()


@pytest.mark.parametrize("model", [LogisticRegression(), CNN()], ids=lambda model: model.kind)
def test_workers_make_the_same_rows(model: object) -> None:
    short = {"model": model, "training": SGD(lr=0.1, epochs=1)}
    alone, together = (last(Mean(), Always(), run=RunSettings(rounds=2, workers=workers), **short) for workers in (1, 2))
    assert alone == together
