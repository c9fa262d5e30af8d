"""What noised sums cost: the specification's table, closed forms, a slow integral, and other libraries."""

import math
import warnings

import numpy as np
import pytest
from scipy.stats import norm

from phalanx.core.errors import ConfigError
from phalanx.core.privacy import Spending
from phalanx.privacy import accounting

MNIST = (1.1, 256 / 60_000, math.ceil(15 * 60_000 / 256))
"""z, q, T of 15 epochs in batches of 256 of 60,000."""
SETTINGS = [
    (z, q, steps)
    for z in (0.7, 1.1, 2.0, 4.0, 8.0)
    for q, steps in ((0.002, 1000), (0.01, 400), (0.05, 100), (0.2, 50), (1.0, 3))
]
SETTINGS += [MNIST, (1.0, 0.1, 500), (0.5, 0.02, 100), (20.0, 0.5, 100), (10.0, 1.0, 100)]


def exact_delta(epsilon: float, mu: float) -> float:
    """δ(ε) of the Gaussian mechanism with noise 1 / mu of the distance: Balle and Wang 2018, Theorem 8."""
    return float(norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu))


def slow_delta(epsilon: float, z: float, q: float) -> float:
    """δ(ε) of one Poisson-sampled sum, the larger of both directions, as a plain integral."""
    x = np.linspace(-40 * z, 40 * z + 1, 2_000_001)
    without = norm.pdf(x, 0, z)
    with_unit = (1 - q) * without + q * norm.pdf(x, 1, z)
    pairs = ((with_unit, without), (without, with_unit))
    return max(float(np.trapezoid(np.maximum(p - math.exp(epsilon) * r, 0), x)) for p, r in pairs)


@pytest.mark.parametrize(
    "accountant, expected",
    [("pld", 1.134), ("rdp", 1.280)],
)
def test_fifteen_epochs_of_mnist_cost_what_the_specification_says(accountant, expected):
    assert accounting.epsilon(*MNIST, 1e-5, accountant=accountant) == pytest.approx(expected, abs=2e-3)


def test_q_one_tenth_over_500_steps_costs_what_the_specification_says():
    cost = (1.0, 0.1, 500, 1e-5)
    assert accounting.epsilon(*cost) == pytest.approx(16.56, abs=5e-3)
    assert accounting.epsilon(*cost, accountant="rdp") == pytest.approx(18.16, abs=5e-3)
    assert accounting.epsilon(*cost, accountant="rdp", sampling="none") == pytest.approx(354.9, abs=0.05)


def test_fixed_size_sampling_counts_noise_beside_the_two_c_that_a_replacement_moves():
    """The specification's 36.6 is for noise as large as the distance of neighbours, 2 C: z = 2."""
    counted = {"accountant": "rdp", "sampling": "fixed_size"}
    assert accounting.epsilon(2.0, 0.1, 500, 1e-5, **counted) == pytest.approx(36.6, abs=0.05)
    assert accounting.epsilon(1.0, 0.1, 500, 1e-5, **counted) > 300
    # With q = 1 there is no sampling: what is left is the Gaussian mechanism at distance 2 C.
    epsilon = accounting.epsilon(4.0, 1.0, 1, 1e-5, **counted)
    assert exact_delta(epsilon, 2 / 4.0) <= 1e-5
    assert exact_delta(epsilon, 1 / 4.0) < 1e-12


@pytest.mark.parametrize("z, q, steps", SETTINGS)
def test_thirty_settings_agree_with_the_librarys_own_pld_within_a_percent(z, q, steps):
    import dp_accounting

    cost = accounting.epsilon(z, q, steps, 1e-5)
    gaussian = dp_accounting.GaussianDpEvent(z)
    event = gaussian if q == 1 else dp_accounting.PoissonSampledDpEvent(q, gaussian)
    # Cells a ten-thousandth of ε wide: its default of 1e-4 is a percent too much at ε = 0.03, and takes seconds at ε = 10.
    theirs = dp_accounting.pld.PLDAccountant(value_discretization_interval=min(1e-4 * cost, 5e-4)).compose(event, steps)
    assert cost == pytest.approx(theirs.get_epsilon(1e-5), rel=1e-2)


@pytest.mark.parametrize("z, steps", [(1.0, 1), (4.0, 10), (0.5, 1), (10.0, 300)])
def test_without_sampling_epsilon_is_the_closed_form(z, steps):
    epsilon = accounting.epsilon(z, 1.0, steps, 1e-5)
    mu = math.sqrt(steps) / z
    assert exact_delta(epsilon, mu) <= 1e-5 <= exact_delta(epsilon * 0.998, mu)
    assert accounting.epsilon(z, 0.1, steps, 1e-5, sampling="none") == epsilon


@pytest.mark.parametrize("z, q", [(1.0, 0.1), (0.6, 0.02), (2.0, 0.5)])
def test_one_sampled_sum_is_the_integral_of_its_privacy_loss(z, q):
    epsilon = accounting.epsilon(z, q, 1, 1e-5)
    assert slow_delta(epsilon, z, q) <= 1e-5 * 1.001
    assert slow_delta(epsilon * 0.995, z, q) > 1e-5


@pytest.mark.parametrize("z, q, steps", [MNIST, (0.7, 0.01, 400), (2.0, 0.05, 200)])
def test_opacus_counts_the_same(z, q, steps):
    from opacus.accountants.analysis import rdp
    from opacus.accountants.prv import PRVAccountant

    prv = PRVAccountant()  # a numerical accountant of other authors than PLD's
    prv.history = [(z, q, steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert accounting.epsilon(z, q, steps, 1e-5) == pytest.approx(prv.get_epsilon(1e-5), rel=0.01, abs=0.01)
        orders = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64)) + [128, 256]
        moments = rdp.compute_rdp(q=q, noise_multiplier=z, steps=steps, orders=orders)
        theirs, _ = rdp.get_privacy_spent(orders=orders, rdp=moments, delta=1e-5)
    assert accounting.epsilon(z, q, steps, 1e-5, accountant="rdp") == pytest.approx(theirs, rel=0.01)


def test_rdp_is_never_below_pld():
    for z, q, steps in SETTINGS[::4]:
        assert accounting.epsilon(z, q, steps, 1e-5) <= accounting.epsilon(z, q, steps, 1e-5, accountant="rdp")


@pytest.mark.parametrize("z, q, steps", [(0.8, 0.01, 100), (3.0, 0.3, 7), (6.0, 1.0, 30)])
def test_more_steps_more_sampling_less_noise_and_less_delta_cost_more(z, q, steps):
    cost = accounting.epsilon(z, q, steps, 1e-5)
    slack = 1.002 * cost + 1e-9
    assert cost <= accounting.epsilon(z, q, 2 * steps, 1e-5) * 1.002
    assert accounting.epsilon(z * 1.2, q, steps, 1e-5) <= slack
    assert accounting.epsilon(z, q / 2, steps, 1e-5) <= slack
    assert accounting.epsilon(z, q, steps, 1e-4) <= slack


@pytest.mark.parametrize("accountant", ["pld", "rdp"])
def test_the_four_quantities_are_each_others_inverses(accountant):
    q, steps, delta, target = 0.05, 300, 1e-5, 2.0
    z = accounting.noise_multiplier(target, q, steps, delta, accountant=accountant)
    cost = accounting.epsilon(z, q, steps, delta, accountant=accountant)
    assert target * 0.999 < cost <= target
    assert accounting.epsilon(z * 0.999, q, steps, delta, accountant=accountant) > target
    assert accounting.steps(target, z, q, delta, accountant=accountant) in (steps, steps + 1)
    assert accounting.delta(target, z, q, steps, accountant=accountant) == pytest.approx(delta, rel=0.02)


@pytest.mark.parametrize("accountant", ["pld", "rdp"])
def test_parts_compose_to_the_whole_and_in_any_order(accountant):
    one, other = Spending(1.5, 0.05, 30), Spending(3.0, 0.2, 10)
    whole = accounting.epsilon(1.5, 0.05, 90, 1e-5, accountant=accountant)
    assert accounting.composed_epsilon([one] * 3, 1e-5, accountant=accountant) == whole
    mixed = accounting.composed_epsilon([one, other], 1e-5, accountant=accountant)
    assert mixed == accounting.composed_epsilon([other, one], 1e-5, accountant=accountant)
    apart = [accounting.composed_epsilon([part], 1e-5, accountant=accountant) for part in (one, other)]
    assert max(apart) < mixed


def test_nothing_costs_nothing_and_no_noise_everything():
    assert accounting.epsilon(1.0, 0.1, 0, 1e-5) == 0
    assert accounting.composed_epsilon([], 1e-5) == 0
    assert accounting.epsilon(0.0, 0.1, 1, 1e-5) == math.inf
    assert accounting.delta(1.0, 0.0, 0.1, 1) == 1
    assert accounting.delta(1.0, 1.0, 0.1, 0) == 0
    assert accounting.epsilon(0.01, 1.0, 1000, 1e-5) == math.inf  # beyond LARGEST


def test_replace_one_without_sampling_is_half_the_noise():
    half = accounting.epsilon(1.0, 1.0, 3, 1e-5)
    assert accounting.epsilon(2.0, 1.0, 3, 1e-5, sampling="none", neighbours="replace-one") == half


@pytest.mark.parametrize(
    "arguments, counting, message",
    [
        ((1.0, 0.1, 1, 0.0), {}, "delta must lie between 0 and 1"),
        ((-1.0, 0.1, 1, 1e-5), {}, "noise_multiplier must be a number >= 0"),
        ((1.0, 0.0, 1, 1e-5), {}, "sample_rate must lie in"),
        ((1.0, 1.5, 1, 1e-5), {}, "sample_rate must lie in"),
        ((1.0, 0.1, -1, 1e-5), {}, "steps must be >= 0"),
        (
            (1.0, 0.1, 1, 1e-5),
            {"sampling": "fixed_size"},
            'PLD accountant cannot count fixed-size sampling; set accountant = "rdp"',
        ),
        ((1.0, 0.1, 1, 1e-5), {"neighbours": "replace-one"}, 'Sampling "poisson" is counted for neighbours add/remove'),
    ],
)
def test_what_cannot_be_counted_is_refused_in_a_sentence(arguments, counting, message):
    with pytest.raises(ConfigError, match=message):
        accounting.epsilon(*arguments, **counting)


def test_targets_out_of_reach_are_refused_in_a_sentence():
    with pytest.raises(ConfigError, match="No noise multiplier up to 1e6"):
        accounting.noise_multiplier(1e-9, 1.0, 1000, 1e-5)
    with pytest.raises(ConfigError, match="epsilon must lie between"):
        accounting.noise_multiplier(0.0, 1.0, 1000, 1e-5)
    assert accounting.steps(0.01, 1.0, 0.5, 1e-5) == 0


def test_without_the_library_the_error_names_the_extra(monkeypatch):
    from phalanx.privacy import library

    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(library, "import_module", missing)
    library.dp_accounting.cache_clear()
    try:
        with pytest.raises(ConfigError, match=r"pip install 'phalanx\[privacy\]'"):
            accounting.epsilon(1.0, 0.11, 1, 1e-5)
    finally:
        library.dp_accounting.cache_clear()
