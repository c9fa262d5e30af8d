import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from phalanx.core.params import Layout
from phalanx.core.types import Rows, Status
from phalanx.server import Rejection, Reply, Screening, malformation, receive

LAYOUT = Layout.of(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)))


def rows_of(matrix: torch.Tensor) -> Rows:
    rows = Rows.empty(len(matrix), Layout.flat(matrix.shape[1]))
    rows.matrix.copy_(matrix)
    return rows


def reply(client: int = 0, value: float = 1.0) -> Reply:
    parameters = {slot.name: torch.full(slot.shape, value) for slot in LAYOUT.parameters}
    buffers = {slot.name: torch.full(slot.shape, value) for slot in LAYOUT.buffers}
    return Reply(client, parameters, buffers, claims={})


def test_good_rows_pass_untouched():
    matrix = torch.randn(5, 4)
    updates, rejected = Screening().screen(rows_of(matrix), (7, 8, 9, 10, 11), torch.full((5,), 10))
    assert torch.equal(updates.matrix, matrix)
    assert updates.ids.tolist() == [7, 8, 9, 10, 11]
    assert updates.weights.tolist() == [1.0] * 5
    assert rejected == []


def test_the_rule_gets_the_norms_that_screening_has_measured_of_the_rows_that_are_left():
    matrix = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    matrix[1] = float("nan")
    updates, _ = Screening().screen(rows_of(matrix), (7, 8, 9, 10, 11), torch.full((5,), 10))
    assert "norms" in vars(updates.rows), "they would be measured again"
    torch.testing.assert_close(updates.norms, updates.matrix.double().norm(dim=1))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [0, 2, 4])
def test_one_bad_entry_costs_its_client_the_round_and_nobody_else(bad, place):
    matrix = torch.randn(5, 4)
    clean = torch.cat([matrix[:place], matrix[place + 1 :]])
    matrix[place, 3] = bad
    updates, rejected = Screening().screen(rows_of(matrix), (0, 1, 2, 3, 4), torch.full((5,), 10))
    assert torch.equal(updates.matrix, clean)
    assert rejected == [Rejection(place, "not finite")]
    assert updates.ids.tolist() == [client for client in range(5) if client != place]


def test_a_huge_row_is_over_the_cap_even_where_its_square_overflows():
    matrix = torch.ones(5, 4)
    matrix[1] = 3e38
    matrix[3] = 2e6
    updates, rejected = Screening().screen(rows_of(matrix), (0, 1, 2, 3, 4), torch.ones(5))
    assert rejected == [Rejection(1, "norm over the cap"), Rejection(3, "norm over the cap")]
    assert len(updates) == 3


def test_the_cap_is_relative_to_the_median_of_the_rows_that_are_not_zero():
    matrix = torch.zeros(5, 4)
    matrix[0] = 1e-12
    updates, rejected = Screening(norm_cap=2.0).screen(rows_of(matrix), (0, 1, 2, 3, 4), torch.ones(5))
    assert len(updates) == 5
    assert rejected == []


def test_rows_at_the_edge_of_float32_are_kept_when_all_are_alike():
    updates, _ = Screening().screen(rows_of(torch.full((5, 4), 1e30)), (0, 1, 2, 3, 4), torch.ones(5))
    assert len(updates) == 5


def test_a_buffer_that_is_not_finite_costs_the_round():
    rows = Rows.empty(2, LAYOUT)
    rows.buffers[1, 0] = float("nan")
    updates, rejected = Screening().screen(rows, (0, 1), torch.ones(2))
    assert rejected == [Rejection(1, "not finite")]
    assert updates.ids.tolist() == [0]


def test_a_huge_buffer_costs_the_round():
    rows = Rows.empty(5, LAYOUT)
    rows.buffers.fill_(1.0)
    rows.buffers[3, 2] = 3e38
    updates, rejected = Screening().screen(rows, (0, 1, 2, 3, 4), torch.ones(5))
    assert rejected == [Rejection(3, "norm over the cap")]
    assert bool((updates.buffers == 1).all())


def test_clients_that_never_sent_are_no_rejections():
    rows = rows_of(torch.randn(4, 3))
    rows.matrix[2] = float("nan")
    rows.status[1], rows.status[2] = Status.NO_SAMPLES, Status.DROPPED_OUT
    updates, rejected = Screening().screen(rows, (0, 1, 2, 3), torch.ones(4))
    assert updates.ids.tolist() == [0, 3]
    assert rejected == []


def test_weights_are_the_servers_counts_with_a_cap():
    counts = torch.tensor([5, 50, 500])
    for screening, weights in [
        (Screening(), [1, 1, 1]),
        (Screening(weights="samples"), [5, 50, 500]),
        (Screening(weights="samples", max_samples=60), [5, 50, 60]),
    ]:
        updates, _ = screening.screen(rows_of(torch.ones(3, 2)), (0, 1, 2), counts)
        assert updates.weights.tolist() == weights


def test_replies_become_rows_by_name_whatever_their_order():
    sent = reply(client=3)
    shuffled = Reply(3, dict(reversed(sent.parameters.items())), sent.buffers, {})
    shuffled.parameters["0.bias"].fill_(5.0)
    rows, ids, rejected = receive([shuffled], LAYOUT)
    assert ids == (3,)
    assert rejected == []
    assert LAYOUT.views(rows.matrix[0])["0.bias"].tolist() == [5.0, 5.0]
    assert LAYOUT.views(rows.matrix[0])["0.weight"].tolist() == [[1.0] * 3] * 2


def broken(change: str) -> Reply:
    good = reply()
    parameters, buffers = dict(good.parameters), dict(good.buffers)
    match change:
        case "wrong size":
            parameters["0.weight"] = torch.ones(2, 4)
        case "missing or extra tensor":
            parameters["0.weights"] = parameters.pop("0.weight")
        case "wrong shape":
            parameters["0.weight"] = torch.ones(3, 2)
        case "wrong dtype":
            parameters["0.weight"] = torch.ones(2, 3, dtype=torch.float64)
        case "empty":
            parameters, buffers = {}, {}
        case "integers":
            parameters["0.weight"] = torch.full((2, 3), 2**62)
        case "missing buffer":
            buffers.popitem()
    return Reply(0, parameters, buffers, {})


@pytest.mark.parametrize(
    "change, reason",
    [
        ("wrong size", "wrong size"),
        ("empty", "wrong size"),
        ("missing buffer", "wrong size"),
        ("missing or extra tensor", "missing or extra tensor"),
        ("wrong shape", "wrong shape"),
        ("wrong dtype", "wrong dtype"),
        ("integers", "wrong dtype"),
    ],
)
def test_a_malformed_reply_is_dropped_with_its_reason(change, reason):
    assert malformation(broken(change), LAYOUT) == reason
    rows, ids, rejected = receive([reply(1), broken(change), reply(2)], LAYOUT)
    assert ids == (1, 2)
    assert len(rows.matrix) == 2
    assert rejected == [Rejection(0, reason)]


def test_a_second_reply_of_one_client_is_a_duplicate_unless_the_first_was_malformed():
    _, ids, rejected = receive([reply(1, 1.0), reply(1, 9.0), broken("empty"), reply(0)], LAYOUT)
    assert ids == (1, 0)
    assert rejected == [Rejection(1, "duplicate"), Rejection(0, "wrong size")]


@given(st.lists(st.sampled_from(["good", "nan", "huge", "dropped"]), min_size=1, max_size=12))
def test_what_passes_is_what_would_have_come_without_the_others(kinds):
    torch.manual_seed(len(kinds))
    matrix = torch.randn(len(kinds), 3)
    good = [place for place, kind in enumerate(kinds) if kind == "good"]
    expected = matrix[good]
    rows = rows_of(matrix)
    for place, kind in enumerate(kinds):
        if kind == "nan":
            rows.matrix[place, 0] = float("nan")
        if kind == "huge" and 2 * kinds.count("huge") < len(good):
            rows.matrix[place] *= 1e20
        if kind == "dropped":
            rows.status[place] = Status.DROPPED_OUT
    updates, rejected = Screening().screen(rows, tuple(range(len(kinds))), torch.ones(len(kinds)))
    if 2 * kinds.count("huge") < len(good):
        assert torch.equal(updates.matrix, expected)
        assert len(rejected) == kinds.count("nan") + kinds.count("huge")


def test_for_a_private_sum_no_row_decides_whether_another_counts():
    """Without the second client the median is tiny, and the first one's row is dropped: a sum would move by two rows."""

    def kept(screening: Screening, lengths: list[float]) -> list[int]:
        rows = Rows.empty(len(lengths), Layout.flat(1))
        rows.matrix[:, 0] = torch.tensor(lengths)
        return screening.screen(rows, range(len(lengths)), torch.ones(len(lengths)))[0].ids.tolist()

    assert kept(Screening(), [1.0, 1.0, 1e-9]) == [0, 1, 2]
    assert kept(Screening(), [1.0, 1e-9]) == [1]
    assert kept(Screening().each_alone("central_dp"), [1.0, 1e-9]) == [0, 1]
    assert kept(Screening().each_alone("central_dp"), [1e30, 1e-30, float("nan")]) == [0, 1]
