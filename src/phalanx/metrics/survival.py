"""How long a backdoor lives on after its attackers fall silent."""

from collections.abc import Mapping


def survival(success: Mapping[int, float], *, last_attack: int, threshold: float = 0.5) -> int:
    """Rounds after `last_attack` until attack success was last seen at or above `threshold` without a break.

    `success` holds the attack success by evaluated round. A backdoor still alive at the end counts up to the last
    evaluation: then the result is a lower bound. 0: it was gone at the first evaluation after the attack.

    >>> survival({4: 1.0, 6: 0.9, 8: 0.6, 10: 0.2, 12: 0.7}, last_attack=4)
    4
    """
    alive = 0
    for round in sorted(round for round in success if round > last_attack):
        if success[round] < threshold:
            break
        alive = round - last_attack
    return alive
