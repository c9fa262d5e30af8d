"""What the abstract bases promise for every rule and attack, shown with the smallest ones."""

from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from phalanx.aggregators import Krum
from phalanx.attacks import ALittleIsEnough
from phalanx.core.capabilities import Capability
from phalanx.core.errors import CapabilityError, PreconditionError
from phalanx.core.families import Aggregator, DataAttack, StepHook, UpdateAttack, finite_rows
from phalanx.core.types import Aggregate, Crafted, Root, RoundContext, Samples

NAN, INF = float("nan"), float("inf")


class _Sum(Aggregator):
    """The plain sum; names with an underscore stay out of the catalogue."""

    def combine(self, updates, state, context):
        assert updates.matrix.isfinite().all()
        return Aggregate(updates.matrix.sum(0)), state


class _Keep(Aggregator):
    """A rule that always decides to keep the model."""

    def combine(self, updates, state, context):
        return Aggregate(None), state


class _AtLeastThree(_Sum):
    """A rule with a condition."""

    def require(self, n):
        if n < 3:
            raise PreconditionError(f"AtLeastThree needs n >= 3 updates; got n={n}.")


class _Needy(_Sum):
    """A rule that looks at trusted data and at the model."""

    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.ROOT_DATA, Capability.MODEL})


class _Opposite(UpdateAttack):
    """Minus the mean of what the attackers refer to."""

    def craft(self, view, state, context):
        return Crafted(-view.reference().mean(0).expand(view.num_byzantine, -1)), state


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_row_with_one_bad_entry_is_dropped_and_the_others_count(bad):
    good = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    rows = torch.cat([good[:1], torch.tensor([[5.0, bad]]), good[1:]])
    assert torch.equal(_Sum()(rows), _Sum()(good))


def test_rows_of_huge_but_finite_numbers_are_no_reason_to_drop_them():
    rows = torch.tensor([[3e38, 3e38], [-3e38, 1.0]])
    assert torch.equal(finite_rows(rows, "Sum").matrix, rows)


@given(st.lists(st.lists(st.sampled_from([0.0, -1.0, 3e38, NAN, INF, -INF]), min_size=2, max_size=2), min_size=1, max_size=6))
def test_finite_rows_are_those_that_isfinite_keeps(entries):
    rows = torch.tensor(entries)
    expected = rows[rows.isfinite().all(1)]
    if len(expected):
        assert torch.equal(finite_rows(rows, "Sum").matrix, expected)
    else:
        with pytest.raises(PreconditionError, match=rf"Sum needs a finite update; got n={len(rows)}, of which 0 are finite\."):
            finite_rows(rows, "Sum")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_rule_answers_in_the_dtype_it_was_asked_in(dtype):
    rows = torch.tensor([[1.0, 2.0], [3.0, NAN], [0.5, 0.25]], dtype=dtype)
    before = rows.clone()
    result = _Sum()(rows)
    assert result.dtype == dtype
    assert result.tolist() == [1.5, 2.25]
    assert torch.equal(rows.nan_to_num(), before.nan_to_num())


def test_half_precision_is_summed_in_single():
    assert finite_rows(torch.ones(2, 2, dtype=torch.float16), "Sum").matrix.dtype == torch.float32
    assert _Sum()(torch.tensor([[40000.0], [40000.0], [-40000.0]], dtype=torch.float16)).item() == 40000


@pytest.mark.parametrize(
    "matrix",
    [torch.zeros(3), torch.zeros(2, 3, 4), torch.zeros(()), torch.zeros(3, 0), torch.zeros(2, 2, dtype=torch.int64)],
)
def test_what_is_no_matrix_of_floats_is_refused(matrix):
    with pytest.raises(PreconditionError, match=r"_Sum needs a floating-point matrix \[n, d\] with d >= 1; got torch\."):
        _Sum()(matrix)


def test_no_rows_at_all_are_refused():
    with pytest.raises(PreconditionError, match="got n=0, of which 0 are finite"):
        _Sum()(torch.zeros(0, 3))


def test_the_condition_of_a_rule_is_checked_on_what_is_left():
    rows = torch.ones(3, 2)
    assert _AtLeastThree()(rows).tolist() == [3, 3]
    rows[1, 0] = NAN
    with pytest.raises(PreconditionError, match=r"needs n >= 3 updates; got n=2\."):
        _AtLeastThree()(rows)


def test_a_rule_that_keeps_the_model_returns_zeros():
    assert _Keep()(torch.ones(2, 3, dtype=torch.float64)).tolist() == [0, 0, 0]


def test_the_result_carries_no_graph():
    assert not _Sum()(torch.ones(2, 3, requires_grad=True)).requires_grad


def test_an_unmet_need_is_an_error_and_a_met_one_passes():
    rows = torch.ones(2, 3)
    with pytest.raises(CapabilityError, match=r"^_Needy needs the model itself"):
        _Needy()(rows)
    bare = RoundContext.for_matrix(rows)
    empty_model = nn.Sequential()  # falsy, and a model all the same
    with pytest.raises(CapabilityError, match=r"^_Needy needs a trusted root data set"):
        _Needy()(rows, context=_with(bare, model=empty_model))
    root = Root(Samples(torch.zeros(1, 3), torch.zeros(1, dtype=torch.int64), 2), update=lambda: torch.zeros(3))
    assert _Needy()(rows, context=_with(bare, model=empty_model, root=root)).tolist() == [2, 2, 2]


def _with(context, **changes):
    return RoundContext(**(vars(context) | changes))


def test_an_attack_answers_outside_of_any_federation():
    honest = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert _Opposite()(honest, num_byzantine=3).tolist() == [[-2, -3]] * 3


@pytest.mark.parametrize(
    ("honest", "num_byzantine"),
    [
        (torch.zeros(3), 1),
        (torch.zeros(0, 3), 1),
        (torch.zeros(3, 0), 1),
        (torch.zeros(2, 3), 0),
        (torch.zeros(2, 3), -1),
        (torch.zeros(2, 3, dtype=torch.int64), 1),
    ],
)
def test_an_attack_on_nothing_is_refused_with_the_numbers(honest, num_byzantine):
    with pytest.raises(PreconditionError, match=r"_Opposite needs .* got torch\..* of shape \[.*num_byzantine="):
        _Opposite()(honest, num_byzantine=num_byzantine)


def test_a_step_hook_that_says_nothing_does_nothing():
    class _Idle(StepHook):
        """Changes nothing."""

    params, context = torch.ones(2, 3), RoundContext.for_matrix(torch.ones(2, 3))
    _Idle().gradient(params, params, context)
    _Idle().after_step(params, context)
    assert torch.equal(params, torch.ones(2, 3))


def test_success_is_counted_on_images_whose_class_is_not_the_target():
    class _Target(DataAttack):
        """Everything becomes class 1."""

        success_class = 1

        def poison(self, images, labels, draw):
            return images, torch.ones_like(labels)

    class _Untargeted(_Target):
        """No class to reach."""

        success_class = None

    labels = torch.tensor([0, 1, 2, 1])
    images = torch.zeros(4, 1)
    assert _Target().eligible(images, labels).tolist() == [True, False, True, False]
    assert _Untargeted().eligible(images, labels).all()


def test_a_list_is_refused_with_what_it_should_be():
    with pytest.raises(PreconditionError, match=r"Krum needs a torch tensor \[n, d\]; got a list\. Wrap it in torch\.tensor\."):
        Krum(1)([[1.0]])
    with pytest.raises(PreconditionError, match=r"ALittleIsEnough needs a torch tensor \[h, d\]; got a list"):
        ALittleIsEnough()([[1.0]], num_byzantine=1)
