import numpy as np
import pytest

from phalanx.report.panels.influence import FAINTEST, NO_INFLUENCE, Influence, influences, pixels
from phalanx.report.style import ATTACK_RGB, HONEST_RGB

# Rows: the attackers 0 and 1, then the honest 2, 3 and 4. Client 0 has no weight, 1 is screened out, 4 is never there.


def test_influence_is_counted_in_equal_shares_attackers_first(build):
    found = influences(build.one().groups[0])
    assert (found.attacker_rows, found.num_attackers, found.num_clients) == (2, 2, 5)
    assert found.share.shape == (5, 3)
    np.testing.assert_allclose(found.share[:, 0], [0, np.nan, 3 * 0.75, 3 * 0.25, np.nan])
    np.testing.assert_array_equal(found.arrived[:, 0], [1, 0, 1, 1, 0])
    np.testing.assert_array_equal(found.screened[:, 0], [0, 1, 0, 0, 0])


def test_weight_no_weight_screened_out_and_absent_look_different(build):
    picture = pixels(influences(build.one().groups[0]))
    cells = picture.reshape(5, 3, 3, 3, 4).swapaxes(1, 2)[:, 0]  # the first round's, [client, 3, 3, rgba]
    opaque = cells[..., 3] > 0
    assert opaque[0].tolist() == [[False] * 3, [True] * 3, [False] * 3]
    assert opaque[1].tolist() == [[True, False, True], [False, True, False], [True, False, True]]
    assert opaque[2].all()
    assert opaque[3].all()
    assert not opaque[4].any()
    assert cells[2, 0, 0, 3] == 255  # more than twice an equal share
    assert cells[3, 0, 0, 3] == round((FAINTEST + (1 - FAINTEST) * 0.375) * 255)
    assert tuple(cells[0, 1, 1, :3]) == ATTACK_RGB
    assert tuple(cells[2, 0, 0, :3]) == HONEST_RGB


def test_attackers_are_first_whatever_their_numbers(build):
    events = [build.round_event(0, malicious=[3]), build.evaluation_event(0, 0.5)]
    found = influences(build.one(events).groups[0])
    assert found.attacker_rows == 1
    np.testing.assert_allclose(found.share[:, 0], [0.75, 0, np.nan, 2.25, np.nan])  # 3, then 0, 1, 2, 4


def test_a_round_that_kept_the_model_gave_nobody_any_weight(build):
    events = [build.round_event(0), build.round_event(1, influence=None, kept_model="too few"), build.evaluation_event(1, 0.5)]
    found = influences(build.one(events).groups[0])
    np.testing.assert_allclose(found.share[:, 1], [0, np.nan, 0, 0, np.nan])


def test_a_rule_that_does_not_attribute_shows_who_took_part_and_says_so(build):
    subject = build.one(build.usual_events(influence=None))
    assert np.isnan(influences(subject.groups[0]).share).all()
    plot, text = Influence().show(subject)
    assert text.text == NO_INFLUENCE
    assert "attributes no influence" in plot.alt


def test_many_clients_and_rounds_are_binned_and_the_caption_says_so(build):
    manifest = build.manifest | {"client_samples": [1] * 400}
    events = [build.round_event(number) for number in range(500)]
    subject = build.one([*events, build.evaluation_event(499, 0.5)], manifest=manifest)
    found = influences(subject.groups[0])
    assert (found.clients_per_row, found.rounds_per_column) == (3, 3)
    assert found.share.shape == (1 + 133, 167)  # two attackers in a row of their own, 398 honest in 133
    np.testing.assert_array_equal(found.arrived[:2, 0], [3, 6])
    np.testing.assert_allclose(found.share[1, 0], (2.25 + 0.75) / 2)
    assert Influence().show(subject)[0].caption == "A row is 3 clients and a column is 3 rounds: shown is their mean."


def test_the_description_counts_the_attackers_updates_without_weight(build):
    plot = Influence().show(build.one())[0]
    assert plot.alt.endswith("The rule gave no weight to 3 of the attackers' 3 updates.")


@pytest.mark.parametrize("runs, kind", [(6, "Plot"), (7, "Text")])
def test_more_than_six_experiments_get_a_sentence_instead(build, runs, kind):
    from dataclasses import replace

    folders = [
        build.run(
            f"r{place}", replace(build.attacked, run=replace(build.attacked.run, rounds=3 + place)), build.usual_events(3)
        )
        for place in range(runs)
    ]
    assert type(Influence().show(build.subject(*folders))[0]).__name__ == kind


def test_a_run_without_rounds_has_no_picture(build):
    assert Influence().show(build.one([], finished=False)) is None
