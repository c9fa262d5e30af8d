import pytest

from phalanx.core.errors import CheckpointError
from phalanx.core.events import Event
from phalanx.server.event_file import EventFile, read_events


def test_events_are_lines_and_what_is_behind_a_checkpoint_is_forgotten(tmp_path):
    file = EventFile(tmp_path / "events.jsonl")
    file.emit(Event("round", 0, {"sampled": 3}))
    position = file.position()
    file.emit(Event("round", 1, {}))
    file.sync()
    file.close()
    file = EventFile(tmp_path / "events.jsonl")
    file.cut(position)
    file.emit(Event("round", 1, {"sampled": 4}))
    file.close()
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert lines == ['{"event": "round", "round": 0, "sampled": 3}', '{"event": "round", "round": 1, "sampled": 4}']


def test_a_file_is_never_cut_to_more_than_it_holds(tmp_path):
    (tmp_path / "events.jsonl").write_bytes(b"{}\n")
    with pytest.raises(CheckpointError, match=r"shorter than its checkpoint says; delete .* to start again\.$"):
        EventFile(tmp_path / "events.jsonl").cut(4)
    assert (tmp_path / "events.jsonl").read_bytes() == b"{}\n"


@pytest.mark.parametrize(
    "line", ["[" * 100_000, "[1]", '{"event": "round"}', '{"event": 1, "round": 1}', '{"event": "round", "round": 1e999}']
)
def test_a_line_that_is_no_event_is_one_sentence(tmp_path, line):
    (tmp_path / "events.jsonl").write_text(f'{{"event": "round", "round": 0}}\n{line}\n')
    with pytest.raises(CheckpointError, match=r"events\.jsonl is damaged; delete .* to start again\.$"):
        read_events(tmp_path / "events.jsonl")
