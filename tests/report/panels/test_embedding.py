"""The picture of the rule's plane: who is where, in which colour and shape."""

from dataclasses import replace

import pytest

from phalanx.aggregators import SkyMask
from phalanx.data import RootSet
from phalanx.report.panel import Text
from phalanx.report.panels import Embedding
from phalanx.report.panels.embedding import MEANING, ORIGIN, planes
from phalanx.report.style import ATTACK, HONEST, INK

POINTS = [[3.0, 4.0], [0.0, 1.0], [1.0, 0.0]]  # of the clients 0 (attacks, rejected), 2 and 3 (honest, kept)


def marks(axes):
    """What is drawn: colour, marker, and the points."""
    drawn = [(line.get_color(), line.get_marker(), line.get_xydata().tolist()) for line in axes.lines]
    return {(colour, marker): points for colour, marker, points in drawn if points}


def test_colour_is_the_truth_and_shape_the_verdict(build):
    plot, text = Embedding().show(build.one(build.usual_events(embedding=POINTS, influence=[0.0, 0.0, 1.0])))
    assert marks(plot.figure.axes[0]) == {(ATTACK, "x"): [[3, 4]], (HONEST, "x"): [[0, 1]], (HONEST, "o"): [[1, 0]]}
    assert plot.alt.startswith("Clients in the rule's plane. Round 1: 0 of 1 attackers and 1 of 2 honest clients kept; round 2")
    assert text.text == MEANING


def test_a_rule_with_root_data_has_the_server_at_the_origin(build):
    experiment = replace(build.attacked, aggregator=SkyMask(), root=RootSet(5))
    plot, text = Embedding().show(build.one(build.usual_events(embedding=POINTS), experiment=experiment))
    assert marks(plot.figure.axes[0])[INK, "*"] == [[0, 0]]
    assert text.text == f"{MEANING} {ORIGIN}"


def test_points_that_lie_on_one_another_are_counted(build):
    events = build.usual_events(embedding=[[1.0, 1.0]] * 3, malicious=[])
    axes = Embedding().show(build.one(events))[0].figure.axes[0]
    assert marks(axes) == {(HONEST, "x"): [[1, 1]], (HONEST, "o"): [[1, 1]]}
    assert [(text.get_text(), text.xy) for text in axes.texts] == [("2", (1, 1))]


def test_four_rounds_are_shown_the_first_and_the_last_among_them(build):
    events = [build.round_event(number, embedding=POINTS if number else None) for number in range(12)]
    subject = build.one([*events, build.evaluation_event(11, 0.5)])
    assert [plane.round for plane in planes(subject.groups[0])] == [2, 5, 9, 12]
    plot = Embedding().show(subject)[0]
    assert [axes.get_title() for axes in plot.figure.axes] == ["round 2", "round 5", "round 9", "round 12"]
    assert plot.wide


@pytest.mark.parametrize("changed", [{"influence": None}, {"embedding": [[None, None], [0.0, 1.0], [1.0, 0.0]]}])
def test_a_missing_verdict_and_a_missing_place_do_no_harm(build, changed):
    events = build.usual_events(**({"embedding": POINTS} | changed))
    assert Embedding().show(build.one(events)) is not None


def test_a_rule_without_a_plane_has_no_section(build):
    assert Embedding().show(build.one()) is None


def test_of_many_experiments_the_first_six_are_drawn(build):
    folders = [
        build.run(
            f"r{place}",
            replace(build.attacked, run=replace(build.attacked.run, rounds=3 + place)),
            build.usual_events(3, embedding=POINTS),
        )
        for place in range(8)
    ]
    pieces = Embedding().show(build.subject(*folders))
    assert [piece.name for piece in pieces[:6]] == [f"embedding-{place}" for place in range(1, 7)]
    assert isinstance(pieces[6], Text)
    assert "2 more pictures are left out" in pieces[7].text
