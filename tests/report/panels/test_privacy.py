"""The page's section about privacy: an ε never stands without what it means."""

from phalanx.report.panels import Privacy

BEGUN = {
    "event": "privacy",
    "round": 0,
    "at_end": 3.0,
    "delta": 1e-5,
    "unit": "client",
    "neighbours": "add/remove",
    "sampling": "poisson",
    "accountant": "pld",
    "trusted": "the server",
    "statement": "not read",
}


def spending(build, epsilons):
    """Events of a run that has spent so much after each round."""
    spent = iter(epsilons)
    events = build.usual_events(len(epsilons))
    return [BEGUN, *(event | {"epsilon": next(spent)} if event["event"] == "round" else event for event in events)]


def test_the_line_has_its_statement_in_the_table_below(build):
    plot, table = Privacy().show(build.subject(build.run("private", events=spending(build, [0.5, 0.8, 1.0]))))
    assert plot.alt == "ε over rounds, which ends at what the table below says of each experiment."
    assert table.rows == [
        ["flame", "ε = 1.0 · each client · add/remove · δ = 1e-05 · Poisson sampling · PLD · trusted: the server"]
    ]
    assert list(plot.figure.axes[0].lines[0].get_ydata()) == [0.5, 0.8, 1.0]


def test_runs_that_hide_nobody_have_no_section(build):
    assert Privacy().show(build.subject(build.run("plain", events=build.usual_events(3)))) is None


def test_an_epsilon_beyond_all_bounds_is_infinite(build):
    (table,) = Privacy().show(build.subject(build.run("hardly", events=spending(build, [None, None]))))
    assert table.rows[0][1].startswith("ε = ∞ · each client")
