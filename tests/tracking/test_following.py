"""Trackers that fail: before round 0 an error, later one sentence and no more."""

from contextlib import contextmanager

import pytest

from phalanx.core.errors import ConfigError
from phalanx.core.events import Event, RunFacts
from phalanx.core.families import Tracker
from phalanx.tracking import MLflow, TensorBoard, follow

RUN = RunFacts("name", None, {}, {})


class _Failing(Tracker):
    """Fails in the round that it is told; closing fails always."""

    round: int

    @contextmanager
    def open(self, run):
        if self.round < 0:
            raise OSError("no route to host")
        self.told.clear()
        try:
            yield self
        finally:
            self.told.append("closed")
            raise RuntimeError("cannot close")

    told = []  # noqa: RUF012 - no field

    def emit(self, event):
        if event.round == self.round:
            raise OSError("the disk\nis full")
        self.told.append(event.round)


def rounds(sink, count=4):
    for round in range(count):
        sink.emit(Event("round", round, {}))


def test_a_tracker_that_fails_is_said_once_and_switched_off(caplog):
    with follow([_Failing(2)], RUN) as (sink,):
        rounds(sink)
        assert _Failing.told == [0, 1, "closed"]
    assert [record.getMessage() for record in caplog.records] == [
        "Tracking by _failing failed in round 2 and is off from here on; the run goes on: OSError: the disk is full"
    ]


def test_a_tracker_that_cannot_be_closed_is_said(caplog):
    with follow([_Failing(9)], RUN) as (sink,):
        rounds(sink)
    assert [record.getMessage() for record in caplog.records] == [
        "Tracking by _failing could not be closed: RuntimeError: cannot close"
    ]


def test_a_tracker_that_cannot_start_is_an_error_and_the_others_are_closed():
    refused = pytest.raises(ConfigError, match=r"^tracking by _failing cannot start: OSError: no route to host$")
    with refused, follow([_Failing(9), _Failing(-1)], RUN):
        pytest.fail("it started")
    assert _Failing.told == ["closed"]


def test_the_error_of_the_run_itself_is_not_swallowed():
    with pytest.raises(KeyboardInterrupt), follow([_Failing(9)], RUN):
        raise KeyboardInterrupt


def test_a_full_disk_switches_tensorboard_off_and_the_run_goes_on(tmp_path, monkeypatch, caplog):
    from tensorboard.summary.writer.record_writer import RecordWriter

    real, written = RecordWriter.write, []

    def write(self, data):
        written.append(data)
        if len(written) > 5:
            raise OSError(28, "No space left on device")
        real(self, data)

    monkeypatch.setattr(RecordWriter, "write", write)
    with follow([TensorBoard(str(tmp_path))], RUN) as (sink,):
        rounds(sink, 10)
    assert len(written) == 6
    assert "Tracking by tensorboard failed in round 2" in caplog.text
    assert "No space left on device" in caplog.text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_server_that_goes_away_switches_mlflow_off_and_the_run_goes_on(tmp_path, monkeypatch, caplog):
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    def away(*arguments, **options):
        raise MlflowException("API request failed: connection refused")

    with follow([MLflow(f"sqlite:///{tmp_path / 'm.db'}")], RUN) as (sink,):
        rounds(sink, 2)
        monkeypatch.setattr(MlflowClient, "log_batch", away)
        monkeypatch.setattr(MlflowClient, "set_terminated", away)
        rounds(sink, 5)
    (said,) = (record.getMessage() for record in caplog.records if record.name == "phalanx")
    assert said.endswith("the run goes on: MlflowException: API request failed: connection refused")
