"""`search_policies`: score the policies that are not scored yet, several at a time, and rank them."""

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import torch

from phalanx.config import Experiment
from phalanx.core.errors import ConfigError, Stopped, WorkerError
from phalanx.core.events import Sink
from phalanx.core.processes import cores, die_with_parent
from phalanx.experiments.policy_search.record import PolicyRecord, ScoredPolicy
from phalanx.experiments.policy_search.scorer import ROWS, PolicyScorer
from phalanx.experiments.signals import STOPPING, StopRequest, noted_signals

SECONDS = 0.25  # how long a stop request waits, at most, beside the policies that are being scored
_scorer: PolicyScorer  # of a worker process


@dataclass(frozen=True)
class Found:
    """All policies that were scored, by number; `none` is what they are compared with.

    `threshold`: below this S_acc a policy is dropped; given for batches of 63 images, and scaled to the size that they had.
    """

    none: ScoredPolicy
    scored: tuple[ScoredPolicy, ...]
    threshold: float

    @property
    def kept(self) -> tuple[ScoredPolicy, ...]:
        """Those above the threshold, the lowest S_pri first."""
        return tuple(sorted((one for one in self.scored if one.accuracy >= self.threshold), key=lambda one: one.privacy))


def search_policies(
    experiment: Experiment,
    *,
    out: str | Path,
    policies: int = 1600,
    images: int = 20,
    threshold: float = -85.0,
    jobs: int | None = None,
    sinks: Sequence[Sink] = (),
    told: Callable[[int], None] = lambda count: None,
) -> Found:
    """Score random triples of transformations on the experiment's data and model.

    Args:
        experiment: `data`, `model`, `training` and `run` count; the model is trained centrally on a tenth of the samples.
        out: the folder. A search that was killed in it goes on, and one that is finished takes no time.
        policies: how many triples; the first ones are the same for any number.
        images: how many images S_pri is a mean over.
        threshold: the smallest S_acc to keep.
        jobs: processes of one core each; None: all cores. On a GPU one.
        sinks: who takes the events of the training.
        told: called with the number of policies that are scored, as it grows.

    Raises: ConfigError, DataError before any work; CheckpointError if the folder cannot be used; WorkerError if a process died;
        Stopped after Ctrl-C or SIGTERM.
    """
    if policies < 1 or images < 1 or (jobs is not None and jobs < 1):
        raise ConfigError(f"A search needs policies, images, jobs >= 1; got {policies}, {images}, {jobs}.")
    folder = Path(out)
    facts = {"experiment": experiment.digest(), "images": images}
    with PolicyRecord(folder, facts) as record:
        scorer = PolicyScorer.of(experiment, folder, images, sinks)
        numbers = range(policies + 1)
        missing = [number for number in numbers if number not in record.scored]
        told(policies + 1 - len(missing))
        with noted_signals() as request, _one_thread():
            for scored in _scored(scorer, missing, jobs or len(cores()) or 1, request):
                record.append(scored)
                told(sum(number in record.scored for number in numbers))
        none, *others = (record.scored[number] for number in numbers)
    return Found(none, tuple(others), threshold * scorer.batches.shape[1] / ROWS)


def _scored(scorer: PolicyScorer, numbers: Sequence[int], jobs: int, request: StopRequest) -> Iterator[ScoredPolicy]:
    """The policies as they are done; no more are begun after a stop request. Raises: Stopped, WorkerError."""
    if jobs == 1 or scorer.device.type != "cpu":
        for number in numbers:
            _stop_if_asked(request)
            yield scorer.score(number)
        return
    fork = get_context("fork")  # the models and images are there already
    with ProcessPoolExecutor(min(jobs, len(numbers) or 1), fork, _begin, (scorer,)) as pool:
        waiting = iter(numbers)
        try:
            running = {pool.submit(_score, number) for number in islice(waiting, jobs)}
            while running:
                done, running = wait(running, SECONDS, FIRST_COMPLETED)
                if not request.number:
                    running |= {pool.submit(_score, number) for number in islice(waiting, len(done))}
                yield from (future.result() for future in done)
        except BrokenProcessPool:
            raise WorkerError(
                "A process of the search died; was it killed, or the machine out of memory? The same command goes on; "
                "lower --jobs."
            ) from None
    _stop_if_asked(request)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch's own threads would reorder sums: the scores are the same bytes for any number of jobs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _stop_if_asked(request: StopRequest) -> None:
    if request.number:
        raise Stopped("Stopped; nothing is lost. The same command goes on.", exit_code=128 + request.number)


def _begin(scorer: PolicyScorer) -> None:
    """A process' beginning: only its parent decides when to stop."""
    global _scorer
    for name in STOPPING:
        signal.signal(name, signal.SIG_IGN)
    die_with_parent()
    _scorer = scorer


def _score(number: int) -> ScoredPolicy:
    return _scorer.score(number)
