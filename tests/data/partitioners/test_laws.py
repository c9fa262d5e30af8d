"""The laws of every partitioner: disjoint, complete, at least the minimum, deterministic, and bounded in its search."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.core.component import members
from phalanx.core.errors import DataError
from phalanx.core.families import Partitioner
from phalanx.data import IID, ByGroup, ClientDirichlet, Dirichlet, FromFile, LabelBias, Shards

MAKERS = {
    "iid": lambda n, alpha: IID(n),
    "dirichlet": lambda n, alpha: Dirichlet(n, alpha=alpha, min_samples=0),
    "balanced dirichlet": lambda n, alpha: Dirichlet(n, alpha=alpha, min_samples=0, balance=True),
    "client_dirichlet": lambda n, alpha: ClientDirichlet(n, alpha=alpha),
    "label_bias": lambda n, alpha: LabelBias(n, bias=min(alpha, 1.0), min_samples=0),
    "shards": lambda n, alpha: Shards(n, shards_per_client=2),
}
each_maker = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@st.composite
def problems(draw):
    count = draw(st.integers(24, 120))
    classes = draw(st.integers(2, 5))
    clients = draw(st.integers(classes, 12))
    alpha = draw(st.sampled_from([1e-6, 0.01, 0.3, 1.0, 100.0]))
    seed = draw(st.integers(0, 2**31))
    labels = torch.randint(classes, (count,), generator=seeded(seed))
    labels[:classes] = torch.arange(classes)
    return labels, clients, alpha, seed


@each_maker
@given(problems())
def test_every_sample_is_dealt_exactly_once_to_the_asked_number_of_clients(make, problem):
    labels, clients, alpha, seed = problem
    parts = make(clients, alpha).split(labels, None, seeded(seed))
    assert len(parts) == clients
    assert all(part.dtype == torch.int64 for part in parts)
    assert torch.cat(parts).sort().values.equal(torch.arange(len(labels)))


@each_maker
@given(problems())
def test_the_same_generator_deals_the_same_and_touches_nothing(make, problem):
    labels, clients, alpha, seed = problem
    before = labels.clone()
    first, again = (make(clients, alpha).split(labels, None, seeded(seed)) for _ in range(2))
    assert all(map(torch.equal, first, again))
    assert torch.equal(labels, before)


@each_maker
def test_another_seed_deals_otherwise(make):
    labels = torch.arange(100) % 4
    first, other = (make(5, 0.5).split(labels, None, seeded(seed)) for seed in (1, 2))
    assert not all(len(a) == len(b) and torch.equal(a, b) for a, b in zip(first, other, strict=True))


@each_maker
def test_no_global_stream_is_used(make, untouched_rng):
    make(5, 0.5).split(torch.arange(100) % 4, None, seeded(0))


@pytest.mark.parametrize("partitioner", [Dirichlet(6, alpha=0.3, min_samples=8), LabelBias(6, bias=0.5, min_samples=8)])
@pytest.mark.parametrize("seed", range(10))
def test_the_search_ends_with_the_minimum_for_every_client(partitioner, seed):
    parts = partitioner.split(torch.arange(300) % 3, None, seeded(seed))
    assert min(map(len, parts)) >= 8


@pytest.mark.parametrize(
    "partitioner, remedy",
    [
        (Dirichlet(10, alpha=0.001, min_samples=9), "Raise alpha, lower num_clients"),
        (LabelBias(10, bias=0.5, min_samples=10), "Lower bias, num_clients"),
    ],
)
def test_a_search_without_an_end_ends_with_what_to_change(partitioner, remedy):
    with pytest.raises(DataError, match=rf"100 tries with at least \d+ samples a client; the best had \d.*{remedy}"):
        partitioner.split(torch.arange(100) % 4, None, seeded(0))


@pytest.mark.parametrize(
    "partitioner",
    [IID(5), Dirichlet(5), ClientDirichlet(5), LabelBias(5), Shards(5, shards_per_client=1), IID(2, min_samples=3)],
)
def test_too_few_samples_are_refused_at_once(partitioner):
    with pytest.raises(DataError, match=r"needs at least \d x \d samples; got 4"):
        partitioner.split(torch.arange(4) % 2, None, seeded(0))


def test_every_partitioner_of_the_family_is_tested_here_or_by_itself():
    tested = {type(make(5, 0.5)) for make in MAKERS.values()} | {ByGroup, FromFile}
    assert tested == {member for member in members(Partitioner).values() if member.__module__.startswith("phalanx.data")}


@pytest.mark.parametrize("make", [IID, Dirichlet, ClientDirichlet, LabelBias])
def test_a_pool_that_the_root_set_emptied_is_refused(make):
    with pytest.raises(DataError, match=rf"{make.__name__} has no samples to deal: .* Lower root\.size"):
        make(3, min_samples=0).split(torch.zeros(0, dtype=torch.int64), None, seeded(0))


@pytest.mark.parametrize("make", [IID, Dirichlet, ClientDirichlet, LabelBias])
def test_more_clients_than_anyone_can_hold_are_refused(make):
    with pytest.raises(DataError, match=rf"{make.__name__} deals to at most 1,000,000 clients; got 1,000,000,000"):
        make(10**9, min_samples=0).split(torch.arange(10) % 2, None, seeded(0))
