"""CleanHardening: the control that every table with FLIP needs."""

from phalanx.core.types import State
from phalanx.training.hardening import Batches, Hardening


class CleanHardening(Hardening):
    """FLIP's optimiser and steps on clean batches: no trigger is looked for, none is stamped.

    Adam with a large learning rate forgets a backdoor by itself: on MNIST (`experiments/flip/mnist_presets.toml`) a single
    shot's success was 3 % with this control seven rounds after the last attack, 58 % with plain SGD and 1 % with FLIP. What
    FLIP's triggers add is the difference to this. A baseline, no defence: a continuous attack still had 98 % after 20 rounds.

    Reference: the optimiser of Zhang et al., FLIP, ICLR 2023 (arXiv 2210.12873), without its method.

    >>> CleanHardening().most_steps
    110
    """

    def harden(self, batches: Batches, memory: State) -> State:
        """A step on each batch as it is."""
        for images, labels in batches:
            batches.step(images, labels)
        return {}
