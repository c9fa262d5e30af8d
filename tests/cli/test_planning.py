"""`phalanx privacy plan`: three give the fourth, by both accountants, and nothing without its statement."""

import json

import pytest

from phalanx.cli.planning import show_plan
from phalanx.core.errors import ConfigError
from phalanx.privacy import LocalDP, PrivacyStatement, accounting
from phalanx.training import SGD

KNOWN = {"sample_rate": 0.1, "delta": 1e-5, "steps": 50}


def document(capsys, **known):
    show_plan("client", "poisson", None, as_json=True, **known)
    return json.loads(capsys.readouterr().out)


def test_the_table_has_both_accountants_and_a_statement_of_each(capsys):
    show_plan("example", "poisson", None, as_json=False, **KNOWN, noise_multiplier=2.0)
    shown = capsys.readouterr().out
    assert "PLD" in shown.splitlines()[0]
    assert "RDP" in shown.splitlines()[0]
    statements = [line for line in shown.splitlines() if line.startswith("ε = ")]
    assert len(statements) == 2
    assert all("each example · add/remove · δ = 1e-05 · Poisson sampling" in line for line in statements)


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_without_noise_worth_the_name_epsilon_is_infinite_and_said_to_be(noise, capsys):
    show_plan("example", "poisson", None, as_json=False, **KNOWN, noise_multiplier=noise)
    assert "ε = ∞" in capsys.readouterr().out


def test_json_holds_the_plan_its_statement_and_the_curve(capsys):
    by_pld, by_rdp = document(capsys, **KNOWN, noise_multiplier=2.0)
    assert (by_pld["accountant"], by_rdp["accountant"]) == ("pld", "rdp")
    assert by_pld["epsilon"] == accounting.epsilon(2.0, 0.1, 50, 1e-5)
    assert by_pld["curve"][-1] == [50, by_pld["epsilon"]]
    assert [epsilon for _, epsilon in by_pld["curve"]] == sorted(epsilon for _, epsilon in by_pld["curve"])
    assert by_pld["statement"].startswith("ε = ")


def test_the_noise_for_a_budget_is_found(capsys):
    by_pld, by_rdp = document(capsys, **KNOWN, epsilon=1.0)
    assert by_pld["noise_multiplier"] < by_rdp["noise_multiplier"]
    assert accounting.epsilon(by_pld["noise_multiplier"], 0.1, 50, 1e-5) <= 1.0


def test_fixed_size_sampling_is_counted_by_rdp_alone(capsys):
    show_plan("client", "fixed_size", None, as_json=True, **KNOWN, noise_multiplier=8.0)
    [plan] = json.loads(capsys.readouterr().out)
    assert (plan["accountant"], plan["neighbours"]) == ("rdp", "replace-one")


def test_the_curve_is_drawn_into_a_file(tmp_path, capsys):
    show_plan(
        "client", "none", tmp_path / "plan.svg", as_json=False, sample_rate=1.0, delta=1e-5, steps=4, noise_multiplier=5.0
    )
    assert (tmp_path / "plan.svg").read_text().startswith("<?xml")
    assert "Written:" in capsys.readouterr().out


@pytest.mark.parametrize("known", [{}, {"epsilon": 1.0}, {"epsilon": 1.0, "noise_multiplier": 2.0}])
def test_two_too_few_or_one_too_many_are_refused(known):
    with pytest.raises(ConfigError, match="needs exactly three of epsilon, delta, noise multiplier and steps"):
        show_plan(
            "client",
            "poisson",
            None,
            as_json=True,
            **({**KNOWN, **known} if len(known) == 2 else {"sample_rate": 0.1, **known}),
        )


def test_a_plot_of_another_format_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="--plot writes"):
        show_plan(
            "client", "none", tmp_path / "plan.gif", as_json=False, sample_rate=1.0, delta=1e-5, steps=4, noise_multiplier=5.0
        )


def test_local_dp_can_be_planned_and_its_statement_is_the_runs(capsys):
    known = {"sample_rate": 1.0, "delta": 1e-5, "steps": 5, "noise_multiplier": 20.0}
    show_plan("client", "none", None, neighbours="replace-one", as_json=True, **known)
    plan = json.loads(capsys.readouterr().out)[0]
    mechanism = LocalDP(SGD(0.1, steps=1), clip_norm=1.0, noise_multiplier=20.0).mechanism(9)
    expected = accounting.epsilon(20.0, 1.0, 5, 1e-5, sampling="none", neighbours="replace-one")
    assert plan["statement"] == str(PrivacyStatement.of(mechanism, expected, delta=1e-5, accountant="pld"))
    assert plan["statement"].endswith("trusted: whoever knows run.seed")


def test_the_noise_that_is_printed_is_enough(capsys):
    """5.988919 costs ε = 4; 5.9889, to the nearest, would cost more."""
    known = {"sample_rate": 1.0, "delta": 1e-5, "steps": 30}
    exact = accounting.noise_multiplier(4.0, **known)
    show_plan("client", "poisson", None, as_json=False, **known, epsilon=4.0)
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("noise multiplier")]
    printed = float(line.split()[3])
    assert exact <= printed < exact * 1.0001
