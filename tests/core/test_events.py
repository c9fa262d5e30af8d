"""Events are plain values that any sink can take."""

import json

from phalanx.core.events import Event, Sink


def test_an_event_is_one_flat_json_object():
    event = Event("round", 3, {"accuracy": 0.5, "rejected": {"nan": 1}, "seconds": {"train": 0.1}})
    assert json.loads(json.dumps(event.as_dict())) == {
        "event": "round",
        "round": 3,
        "accuracy": 0.5,
        "rejected": {"nan": 1},
        "seconds": {"train": 0.1},
    }


def test_anything_with_emit_is_a_sink():
    class Memory:
        def __init__(self):
            self.events = []

        def emit(self, event):
            self.events.append(event)

    assert isinstance(Memory(), Sink)
    assert not isinstance(object(), Sink)


def test_an_event_comes_back_from_its_json_object():
    event = Event("round", 3, {"loss": 0.5, "rejected": {"not finite": [1]}})
    assert Event.from_dict(event.as_dict()) == event
