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
from typing import TypedDict, Unpack

from phalanx.core.errors import ConfigError
from phalanx.core.privacy import Neighbours, Sampling, Spending
from phalanx.privacy.accountants import LARGEST, AccountantName, Part, delta_of, epsilon_of


class Counting(TypedDict, total=False):
    """What all functions take by name: "poisson" and "pld" if left out; `neighbours` then follows from `sampling`."""

    sampling: Sampling
    accountant: AccountantName
    neighbours: Neighbours | None


def epsilon(noise_multiplier: float, sample_rate: float, steps: int, delta: float, **counting: Unpack[Counting]) -> float:
    """ε of `steps` noised sums at δ = `delta`: 0 for no steps, infinite without noise.

    Raises: ConfigError for a value out of range, sampling that the accountant cannot count, or without dp-accounting.
    """
    return composed_epsilon([Spending(noise_multiplier, sample_rate, steps)], delta, **counting)


def composed_epsilon(spendings: Iterable[Spending], delta: float, **counting: Unpack[Counting]) -> float:
    """ε of several mechanisms on the same units, one after the other, at δ = `delta`. Raises: as `epsilon`."""
    _in_range("delta", delta, 0, 1)
    sampling, accountant, neighbours = settled(**counting)
    return epsilon_of(_parts(spendings, sampling, neighbours), delta, sampling, accountant)


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
    return delta_of(parts, epsilon, sampling, accountant)


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


def _parts(spendings: Iterable[Spending], sampling: Sampling, neighbours: Neighbours) -> tuple[Part, ...]:
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
