from phalanx.report.series import evaluations, over_rounds, thinned


def test_a_band_goes_from_the_lowest_to_the_highest_seed_around_the_mean(build):
    group = build.subject(*build.seeds(0.6, 0.9)).groups[0]
    band = evaluations(group, "accuracy")
    assert band.rounds == [1, 2, 3]
    assert [round(value, 3) for value in band.mean] == [0.25, 0.5, 0.75]
    assert [round(value, 3) for value in band.low] == [0.2, 0.4, 0.6]
    assert [round(value, 3) for value in band.high] == [0.3, 0.6, 0.9]


def test_a_band_ends_where_the_slowest_seed_is(build):
    first, second = build.seeds(0.6, 0.9)
    lines = (second / "events.jsonl").read_text().splitlines(keepends=True)
    (second / "events.jsonl").write_text("".join(lines[:4]))
    (second / "result.json").unlink()
    assert evaluations(build.subject(first, second).groups[0], "accuracy").rounds == [1, 2]


def test_a_metric_that_nobody_measured_has_no_band(build):
    assert evaluations(build.one(build.usual_events(success=None)).groups[0], "attack_success") is None


def test_a_thousand_rounds_become_two_hundred_means_of_five(build):
    events = [build.round_event(number, honest_norm=float(number)) for number in range(1000)]
    band = over_rounds(build.one([*events, build.evaluation_event(999, 0.5)]).groups[0], "honest_norm")
    assert len(band.mean) == 200
    assert band.mean[:2] == [2.0, 7.0]
    assert band.rounds[-1] == 998.0  # the rounds 996 to 1,000


def test_a_thousand_tests_become_two_hundred_points_and_the_last_one_stays(build):
    events = [
        event for number in range(1000) for event in (build.round_event(number), build.evaluation_event(number, number / 1000))
    ]
    band = evaluations(build.one(events).groups[0], "accuracy")
    assert (len(band.rounds), band.rounds[0], band.rounds[-1], band.mean[-1]) == (200, 1, 1000, 0.999)


def test_thinning_keeps_the_ends_and_repeats_nothing():
    for count in (1, 199, 200, 201, 399, 5000):
        kept = thinned(count)
        assert kept[0] == 0
        assert kept[-1] == count - 1
        assert len(kept) == len(set(kept)) == min(count, 200)
