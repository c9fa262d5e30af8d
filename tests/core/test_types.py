"""The values of a round: samples as the model sees them, rows as views, what a round knows."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from phalanx.core import rng
from phalanx.core.errors import PreconditionError
from phalanx.core.params import Layout
from phalanx.core.types import AttackView, Cohort, Root, RoundContext, Rows, Samples


def images(dtype=torch.uint8):
    stored = torch.arange(4 * 3 * 2 * 2).reshape(4, 3, 2, 2)
    return stored.to(dtype) if dtype == torch.uint8 else stored.to(dtype) / 255


def test_uint8_pixels_become_fractions_and_floats_stay():
    index = torch.tensor([2, 0, 2])
    labels = torch.tensor([5, 6, 7, 8])
    bytes_, chosen = Samples(images(), labels, 10).pixels(index)
    floats, _ = Samples(images(torch.float32), labels, 10).pixels(index)
    assert chosen.tolist() == [7, 5, 7]
    assert bytes_.dtype == floats.dtype == torch.float32
    torch.testing.assert_close(bytes_, floats)
    assert bytes_[1, 0, 0, 1] == 1 / 255


def test_the_extremes_are_the_samples_of_the_smallest_and_the_largest_value():
    for stored in (images(), images(torch.float32)):
        assert Samples(stored[[2, 3, 0, 1]], torch.arange(4), 4).extremes().tolist() == [2, 1]


def test_pixels_are_a_copy():
    samples = Samples(images(torch.float32), torch.arange(4), 4)
    samples.pixels(torch.arange(4))[0].fill_(9)
    assert samples.images.max() < 1


def test_no_index_gives_no_pixels():
    pixels, labels = Samples(images(), torch.arange(4), 4).pixels(torch.tensor([], dtype=torch.int64))
    assert (pixels.shape, labels.shape) == ((0, 3, 2, 2), (0,))


def test_normalize_standardises_by_channel_and_leaves_its_input():
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor([1.0, 2.0, 4.0]).view(3, 1, 1)
    samples = Samples(images(torch.float32), torch.arange(4), 4, mean, std)
    batch, _ = samples.pixels(torch.arange(4))
    before = batch.clone()
    torch.testing.assert_close(samples.normalize(batch) * std + mean, before)
    assert torch.equal(batch, before)


def test_normalize_without_statistics_is_the_identity():
    batch = torch.rand(2, 3, 2, 2)
    assert torch.equal(Samples(images(), torch.arange(4), 4).normalize(batch), batch)


def test_samples_move_with_their_statistics():
    samples = Samples(images(), torch.arange(4), 4, torch.zeros(3, 1, 1), torch.ones(3, 1, 1)).to("meta")
    assert {tensor.device.type for tensor in (samples.images, samples.labels, samples.mean, samples.std)} == {"meta"}
    assert len(samples) == 4


def test_the_first_rows_are_views():
    layout = Layout.of(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)))
    rows = Rows.empty(5, layout)
    first = rows.first(2)
    for name in ("matrix", "buffers", "loss", "steps", "status"):
        part = getattr(first, name)
        assert len(part) == 2
        part.fill_(1)
        assert getattr(rows, name).sum() == part.numel()
    assert rows.matrix.shape == (5, layout.d)
    assert rows.buffers.shape == (5, layout.b)


@given(st.integers(0, 100), st.integers(0, 100), st.integers(-1, 100))
def test_a_context_draws_from_its_own_round_and_seed(seed, round, client):
    context = RoundContext(round, seed, Layout.flat(1), torch.zeros(1), torch.zeros(0))
    drawn = torch.rand(3, generator=context.generator("noise", client))
    assert torch.equal(drawn, torch.rand(3, generator=rng.generator(seed, "noise", round, client)))


def test_a_context_for_a_matrix_keeps_dtype_and_width():
    context = RoundContext.for_matrix(torch.ones(3, 5, dtype=torch.float64), seed=4)
    assert context.global_params.tolist() == [0] * 5
    assert context.global_params.dtype == torch.float64
    assert (context.layout.d, context.seed, context.model, context.root) == (5, 4, None, None)


def test_attackers_refer_to_the_honest_rows_only_if_they_may_see_them():
    own, clean, honest = torch.zeros(2, 3), torch.ones(2, 3), torch.full((4, 3), 2.0)
    assert torch.equal(AttackView(own, lambda: clean, num_updates=6).reference(), clean)
    assert torch.equal(AttackView(own, lambda: clean, num_updates=6, honest=honest).reference(), honest)
    assert AttackView(own, lambda: clean, num_updates=6).num_byzantine == 2


def test_clean_rows_are_trained_only_on_demand():
    def never():
        raise AssertionError("trained without need")

    assert AttackView(torch.zeros(1, 2), never, num_updates=3, honest=torch.ones(2, 2)).reference().shape == (2, 2)


def test_a_cohort_is_as_long_as_its_clients():
    samples = Samples(images(), torch.arange(4), 4)
    assert len(Cohort((3, 5), (0, 1), samples, (torch.tensor([0]), torch.tensor([1, 2])))) == 2


def test_the_servers_own_update_is_finite_or_an_error_that_names_the_rule():
    samples = Samples(images(), torch.arange(4), 4)
    assert Root(samples, lambda: torch.ones(3)).finite_update("Rule").tolist() == [1, 1, 1]
    with pytest.raises(PreconditionError, match=r"^Rule needs a finite root update; .* Lower its learning rate\.$"):
        Root(samples, lambda: torch.tensor([1.0, torch.nan])).finite_update("Rule")
