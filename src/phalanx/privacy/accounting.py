"""What noised sums cost: ε from z, q, T and δ, each of them from the others, and several mechanisms together.

Pure functions over dp-accounting (extra `privacy`), which is imported when first used. A mechanism is `steps` (T) sums of
vectors clipped to C, each with noise N(0, (z C)²): z, the `noise_multiplier`, is always relative to the clip norm C.

How the units of a step are chosen, and what neighbouring data sets are:

- "poisson": each unit with probability `sample_rate` (q), by a coin of its own; neighbours add/remove.
- "fixed_size": the share q of all units, without replacement; neighbours replace-one. The sum then moves by up to 2 C, so the
  noise counts as z / 2 (dp-accounting takes it as relative to that distance). RDP only.
- "none": all of them, or a choice that an accountant cannot use: q does not matter. Neighbours add/remove, or replace-one
  (z / 2) if asked for.

What comes back is an upper bound: PLD's cells are rounded pessimistically, and RDP is a bound by its nature.
"""

import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any, Literal, TypedDict, Unpack

from phalanx.core.errors import ConfigError
from phalanx.core.privacy import Neighbours, Sampling, Spending
from phalanx.privacy.library import dp_accounting

AccountantName = Literal["pld", "rdp"]
"""PLD composes the distribution of the privacy loss: tight to a tenth of a percent. RDP bounds its moments: a tenth more."""

LARGEST = 1e4
"""An ε beyond this promises nothing and is reported as infinite."""

_Part = tuple[float, float, int]
"""Noise relative to the distance of neighbours, sample rate, steps."""
_FEW_ORDERS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128, 256)


class Counting(TypedDict, total=False):
    """What all functions take by name: "poisson" and "pld" if left out; `neighbours` then follows from `sampling`."""

    sampling: Sampling
    accountant: AccountantName
    neighbours: Neighbours


def epsilon(noise_multiplier: float, sample_rate: float, steps: int, delta: float, **counting: Unpack[Counting]) -> float:
    """ε of `steps` noised sums at δ = `delta`: 0 for no steps, infinite without noise.

    Raises: ConfigError for a value out of range, sampling that the accountant cannot count, or without dp-accounting.
    """
    return composed_epsilon([Spending(noise_multiplier, sample_rate, steps)], delta, **counting)


def composed_epsilon(spendings: Iterable[Spending], delta: float, **counting: Unpack[Counting]) -> float:
    """ε of several mechanisms on the same units, one after the other, at δ = `delta`. Raises: as `epsilon`."""
    _in_range("delta", delta, 0, 1)
    sampling, accountant, neighbours = settled(**counting)
    return _epsilon(_parts(spendings, sampling, neighbours), delta, sampling, accountant)


def largest_epsilon(histories: Iterable[tuple[Spending, ...]], delta: float, **counting: Unpack[Counting]) -> float:
    """The largest ε of several units, each with what it was used for; 0 without any. Raises: as `epsilon`.

    RDP of everyone, and PLD only of those whom RDP does not rule out: thousands of clients take a few distributions.
    """
    sampling, accountant, neighbours = settled(**counting)
    by_moments: Counting = {"sampling": sampling, "neighbours": neighbours, "accountant": "rdp"}
    bounds = {history: composed_epsilon(history, delta, **by_moments) for history in set(histories)}
    if accountant == "rdp":
        return max(bounds.values(), default=0.0)
    largest = 0.0
    for history in sorted(bounds, key=lambda history: -bounds[history]):
        if bounds[history] <= largest:
            break
        largest = max(largest, composed_epsilon(history, delta, **counting))
    return largest


def delta(epsilon: float, noise_multiplier: float, sample_rate: float, steps: int, **counting: Unpack[Counting]) -> float:
    """δ at which `steps` noised sums cost `epsilon`. Raises: as `epsilon`."""
    _in_range("epsilon", epsilon, 0, LARGEST)
    sampling, accountant, neighbours = settled(**counting)
    parts = _parts([Spending(noise_multiplier, sample_rate, steps)], sampling, neighbours)
    if not parts or not parts[0][0]:
        return 1.0 if parts else 0.0
    if accountant == "rdp":
        return float(_rdp(parts, sampling).get_delta(epsilon))
    return float(_pld(parts, max(epsilon, _rough(parts, 1e-6) / 100)).get_delta(epsilon))


def noise_multiplier(epsilon: float, sample_rate: float, steps: int, delta: float, **counting: Unpack[Counting]) -> float:
    """The least noise z with which `steps` noised sums cost at most `epsilon`, rounded up by less than 1e-4 of it.

    Raises: as `epsilon`, and if no z up to 1e6 is enough.
    """
    _in_range("epsilon", epsilon, 0, LARGEST)
    _in_range("steps", steps, 0, math.inf)

    def excess(log_z: float) -> float:
        cost = composed_epsilon([Spending(math.exp(log_z), sample_rate, steps)], delta, **counting)
        return math.log(min(max(cost, 1e-12), 2 * LARGEST) / epsilon)

    factor = math.log(4)
    high = 0.0
    while excess(high) > 0:
        high += factor
        if high > math.log(1e6):
            raise ConfigError(f"No noise multiplier up to 1e6 brings epsilon down to {epsilon:g}; take fewer steps.")
    low = high - factor
    while excess(low) <= 0:
        low -= factor
        if low < math.log(1e-3):
            raise ConfigError(f"No noise at all is needed for epsilon = {epsilon:g}.")
    return math.exp(_root(excess, low, high))


def steps(epsilon: float, noise_multiplier: float, sample_rate: float, delta: float, **counting: Unpack[Counting]) -> int:
    """The most noised sums that cost at most `epsilon`; 0 if a single one costs more.

    Raises: as `epsilon`, and if a million do not reach it.
    """
    _in_range("epsilon", epsilon, 0, LARGEST)

    def fits(count: int) -> bool:
        return composed_epsilon([Spending(noise_multiplier, sample_rate, count)], delta, **counting) <= epsilon

    most = 1
    while fits(most):
        most *= 2
        if most > 1 << 20:
            raise ConfigError(f"A million steps cost less than epsilon = {epsilon:g}; lower the noise.")
    fitting, most = most // 2, most
    while most - fitting > 1:
        middle = (fitting + most) // 2
        fitting, most = (middle, most) if fits(middle) else (fitting, middle)
    return fitting


def settled(
    sampling: Sampling = "poisson", accountant: AccountantName = "pld", neighbours: Neighbours | None = None
) -> tuple[Sampling, AccountantName, Neighbours]:
    """What is counted, with the neighbours that follow from the sampling.

    Raises: ConfigError in one sentence if the accountant cannot count that.
    """
    if sampling == "fixed_size" and accountant == "pld":
        raise ConfigError(
            'The PLD accountant cannot count fixed-size sampling; set accountant = "rdp", or sample by Poisson: it costs less.'
        )
    follows: Neighbours = "replace-one" if sampling == "fixed_size" else "add/remove"
    if sampling != "none" and neighbours not in (None, follows):
        raise ConfigError(f'Sampling "{sampling}" is counted for neighbours {follows}; got {neighbours}.')
    return sampling, accountant, neighbours or follows


def _parts(spendings: Iterable[Spending], sampling: Sampling, neighbours: Neighbours) -> tuple[_Part, ...]:
    """Equal mechanisms together, in an order of their own, as the accountants take them."""
    counts: dict[tuple[float, float], int] = {}
    for one in spendings:
        if not (math.isfinite(one.noise_multiplier) and one.noise_multiplier >= 0):
            raise ConfigError(f"noise_multiplier must be a number >= 0; got {one.noise_multiplier}.")
        if not 0 < one.sample_rate <= 1:
            raise ConfigError(f"sample_rate must lie in (0, 1]; got {one.sample_rate}.")
        if one.steps < 0:
            raise ConfigError(f"steps must be >= 0; got {one.steps}.")
        relative = one.noise_multiplier / (2 if neighbours == "replace-one" else 1)
        key = (relative, 1.0 if sampling == "none" else one.sample_rate)
        counts[key] = counts.get(key, 0) + one.steps
    return tuple(sorted((*key, count) for key, count in counts.items() if count))


@lru_cache(maxsize=4096)
def _epsilon(parts: tuple[_Part, ...], delta: float, sampling: Sampling, accountant: AccountantName) -> float:
    if not parts:
        return 0.0
    if any(z == 0 for z, _, _ in parts):
        return math.inf
    if accountant == "rdp":
        moments = sum(count * _moments(z, q, sampling) for z, q, count in parts)
        return _bounded(dp_accounting().rdp.compute_epsilon(_orders(), moments, delta)[0])
    rough = _rough(parts, delta)
    if rough == 0 or rough > 4 * LARGEST:
        return _bounded(rough)
    return _bounded(_pld(parts, rough).get_epsilon(delta))


def _bounded(value: float) -> float:
    return float(value) if value <= LARGEST else math.inf


def _rough(parts: tuple[_Part, ...], delta: float) -> float:
    """An upper bound on ε in a millisecond, within a factor of about two."""
    return float(_rdp(parts, "poisson", _FEW_ORDERS).get_epsilon(delta))


def _pld(parts: tuple[_Part, ...], scale: float) -> Any:
    """The PLD accountant after all parts. Its cells are as wide as a relative error of about 1e-3 allows at ε near `scale`.

    The error of the cells grows with T · width² (measured: 0.1 to 3 times that). dp-accounting's own width of 1e-4 takes 35 s
    and gigabytes where ε is 350.
    """
    width = min(1e-3 * scale, math.sqrt(2e-4 * scale / sum(count for _, _, count in parts)))
    accountant = dp_accounting().pld.PLDAccountant(value_discretization_interval=width)
    for z, q, count in parts:
        accountant.compose(_event(z, q, "poisson"), count)
    return accountant


def _rdp(parts: tuple[_Part, ...], sampling: Sampling, orders: tuple[int, ...] | None = None) -> Any:
    library = dp_accounting()
    relation = library.NeighboringRelation
    kind = relation.REPLACE_ONE if sampling == "fixed_size" else relation.ADD_OR_REMOVE_ONE
    accountant = library.rdp.RdpAccountant(orders, kind)
    for z, q, count in parts:
        accountant.compose(_event(z, q, sampling), count)
    return accountant


@lru_cache(maxsize=1024)
def _moments(z: float, q: float, sampling: Sampling) -> Any:
    """RDP of one step at all orders: what takes the time, and only adds up over the steps."""
    return _rdp(((z, q, 1),), sampling).rdp


@cache
def _orders() -> Any:
    return dp_accounting().rdp.RdpAccountant().orders


def _event(z: float, q: float, sampling: Sampling) -> Any:
    library = dp_accounting()
    gaussian = library.GaussianDpEvent(z)
    if q == 1:
        return gaussian
    if sampling == "fixed_size":
        share = Fraction(q).limit_denominator(10**9)
        return library.SampledWithoutReplacementDpEvent(share.denominator, share.numerator, gaussian)
    return library.PoissonSampledDpEvent(q, gaussian)


def _root(excess: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses zero between `low` and `high`, on the side where it is not positive."""
    from scipy.optimize import brentq

    root: float = brentq(excess, low, high, xtol=1e-5)
    while excess(root) > 0:
        root += 2e-5
    return root


def _in_range(name: str, value: float, above: float, below: float) -> None:
    if not above < value < below:
        raise ConfigError(f"{name} must lie between {above:g} and {below:g}; got {value}.")
