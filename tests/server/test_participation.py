import pytest
import torch

from phalanx.core.errors import ConfigError
from phalanx.core.params import Layout
from phalanx.core.types import RoundContext
from phalanx.server import AllClients, FixedSize, Poisson, Regulars


def context(round: int = 0, seed: int = 0) -> RoundContext:
    return RoundContext(round, seed, Layout.flat(1), torch.zeros(1), torch.zeros(0))


def test_all_clients_take_part_in_order():
    assert AllClients().sample(4, context()).tolist() == [0, 1, 2, 3]


def test_a_fixed_size_draws_distinct_clients_and_another_set_each_round():
    draws = [FixedSize(5).sample(20, context(round)).tolist() for round in range(20)]
    assert all(len(set(draw)) == 5 and draw == sorted(draw) for draw in draws)
    assert len({tuple(draw) for draw in draws}) > 10
    assert draws[3] == FixedSize(5).sample(20, context(3)).tolist()


def test_a_fixed_size_treats_all_clients_alike():
    counts = torch.zeros(20)
    for round in range(2000):
        counts[FixedSize(5).sample(20, context(round))] += 1
    # 2000 draws at 1/4: mean 500, standard deviation 19.4
    assert (counts - 500).abs().max() < 5 * 19.4


def test_more_clients_than_there_are_is_an_error_with_the_numbers():
    with pytest.raises(ConfigError, match="got size=5, 4 clients"):
        FixedSize(5).largest(4)


def test_poisson_sampling_has_the_mean_and_the_variance_of_independent_coins():
    sizes = torch.tensor([len(Poisson(0.1).sample(100, context(round))) for round in range(2000)], dtype=torch.float64)
    assert abs(sizes.mean() - 10) < 5 * 3 / 2000**0.5
    assert 7.5 < sizes.var() < 10.6
    assert Poisson(0.1).largest(100) == 100


def test_poisson_sampling_may_find_nobody():
    assert any(len(Poisson(0.01).sample(3, context(round))) == 0 for round in range(10))


def test_dropouts_strike_the_same_clients_whoever_else_is_sampled():
    everyone = AllClients(dropout=0.5).drops(torch.arange(50), 50, context(3))
    some = AllClients(dropout=0.5).drops(torch.arange(10, 20), 50, context(3))
    assert torch.equal(everyone[10:20], some)
    assert 10 < int(everyone.sum()) < 40


def test_without_dropout_nobody_drops():
    assert not AllClients().drops(torch.arange(50), 50, context()).any()


def test_poisson_coins_have_the_bits_of_the_rate_that_is_counted():
    """Of the 24 bits of a float32, a rate of 1e-6 is off by up to 6 %."""
    context = RoundContext.for_matrix(torch.zeros(1, 1), seed=3)
    coins = torch.rand(100_000, generator=context.generator("participation"), dtype=torch.float64)
    rate = float(coins.sort().values[50])
    assert Poisson(rate=rate).sample(100_000, context).tolist() == (coins < rate).nonzero().flatten().tolist()
    assert len(Poisson(rate=rate).sample(100_000, context)) == 50


def test_regulars_are_in_every_round_and_the_others_are_drawn_alike():
    regulars, counts = Regulars((7, 2), size=5), torch.zeros(12)
    for round in range(2000):
        drawn = regulars.sample(12, context(round))
        assert drawn.tolist() == sorted(set(drawn.tolist()))
        assert len(drawn) == regulars.largest(12) == 5
        counts[drawn] += 1
    others = torch.tensor([client for client in range(12) if client not in (2, 7)])
    assert counts[[2, 7]].tolist() == [2000, 2000]
    # 2000 draws of 3 in 10: mean 600, standard deviation 20.5
    assert (counts[others] - 600).abs().max() < 5 * 20.5
    assert regulars.sampling is None
    assert Regulars((1,), size=1).sample(3, context()).tolist() == [1]


@pytest.mark.parametrize(("ids", "size"), [((1, 1), 3), ((1, 2), 1)])
def test_regulars_are_distinct_and_fit_in(ids, size):
    with pytest.raises(ConfigError, match="at most size distinct ids"):
        Regulars(ids, size=size)


@pytest.mark.parametrize(("ids", "size"), [((4,), 2), ((0,), 5)])
def test_regulars_who_do_not_exist_are_an_error_with_the_numbers(ids, size):
    with pytest.raises(ConfigError, match=f"got ids up to {ids[0]}, size={size}, 4 clients"):
        Regulars(ids, size=size).largest(4)
