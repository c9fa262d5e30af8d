"""UniversalFlip: FLIP without its pairs of classes, the cheaper half."""

from phalanx.core.types import State
from phalanx.training.hardening import Batches
from phalanx.training.trigger_hardening import TriggerHardening, counted
from phalanx.training.trigger_inversion import Triggers


class UniversalFlip(TriggerHardening):
    """Each batch is stamped with the universal trigger to the next class, labels kept: the model unlearns that a mark decides.

    ```
    triggers to all classes, inverted in the round's model, from where the client's last ones were
    batch i: portion of the images of classes other than c = i mod K get the trigger to c; a step with their true labels
    ```
    FLIP's warm-up, in every round. In a prototype on MNIST that was most of what FLIP's triggers do, at less than half of its
    price; a control that says what the search for pairs is worth. A batch without eligible images, or whose trigger was not
    found, is clean. Memory: K (C + 1) H W numbers a client.

    Reference: Zhang et al., FLIP: A Provable Defense Framework for Backdoor Mitigation in Federated Learning, ICLR 2023
    (arXiv 2210.12873), section 3, without class pairs.

    >>> UniversalFlip().universal.steps
    400
    """

    def harden(self, batches: Batches, memory: State) -> State:
        """Invert once, then stamp batch by batch."""
        targets, generator = range(batches.num_classes), batches.generator("stamp")
        start = None
        if "found" in memory:  # a client that attacked with another trainer may remember other things
            start = Triggers((), memory["masks"], memory["patterns"], memory["found"], memory["found"])
        triggers = self.invert_universal(batches, targets, start)
        done = list[bool]()
        for place, (images, labels) in enumerate(batches):
            changed = self.with_universal(images, labels, triggers, place % len(targets), generator)
            batches.step(images if changed is None else changed, labels)
            done.append(changed is not None)
        return {"masks": triggers.masks, "patterns": triggers.patterns, "found": triggers.found, **counted(done)}
