from dataclasses import replace

from phalanx.attacks import Adversary, FirstClients, MinMax
from phalanx.report.outcome import clean_groups, is_harmed, outcome, state


def said(subject):
    return " ".join(outcome(subject)).replace("\N{NO-BREAK SPACE}", " ")


def test_one_run_that_held_the_attack(build):
    assert said(build.one()) == (
        "Flame reached 90.0 % accuracy and held the attack (backdoor with model replacement) at 20.0 % success after 3 rounds. "
        "Left as they are, the same samples are taken for the attacker's class in 10.0 % of the cases."
    )


def test_one_run_that_did_not(build):
    sentence = said(build.one(build.usual_events(success=0.97)))
    assert "let the attack (backdoor with model replacement) succeed on 97.0 % of the samples that it aims at" in sentence


def test_several_seeds_are_told_as_mean_and_deviation(build):
    sentence = said(build.subject(*build.seeds(0.8, 0.9)))
    assert "Flame reached 85.0 ± 7.1 % accuracy" in sentence
    assert "the mean ± deviation over 2 seeds" in sentence


def test_without_an_attack_it_says_so(build):
    clean = replace(build.attacked, adversary=Adversary())
    sentence = said(build.one(build.usual_events(success=None, malicious=[]), experiment=clean))
    assert sentence == "Flame reached 90.0 % accuracy after 3 rounds, with no attack."


def test_an_attack_without_a_target_promises_nothing_about_harm(build):
    untargeted = replace(build.attacked, adversary=Adversary(who=FirstClients(count=2), update=MinMax()))
    subject = build.one(build.usual_events(success=None), experiment=untargeted)
    assert "What the attack cost shows only beside the same run without it." in said(subject)
    assert is_harmed(subject.groups[0], None) is None


def test_a_run_that_goes_on_is_reported_as_it_stands(build):
    subject = build.one(build.usual_events(2), finished=False)
    assert said(subject).startswith("Still not finished: 2 of 3 rounds. So far: Flame reached 90.0 % accuracy")
    assert state(subject.groups[0]) == "not finished: 2 of 3 rounds"


def test_a_run_before_its_first_test_says_that_nothing_was_tested(build):
    assert said(build.one([], finished=False)) == "Flame is not finished: 0 of 3 rounds; nothing has been tested yet."


def test_several_experiments_are_judged_one_by_one(build, rules):
    flame = build.run("flame")
    mean = build.run("mean", replace(build.attacked, aggregator=rules["mean"]), build.usual_events(accuracy=0.95, success=0.99))
    sentence = said(build.subject(flame, mean))
    assert sentence == (
        "2 experiments in 2 runs. The highest accuracy is 95.0 %, with mean. The attack did harm to mean, and none to flame."
    )


def test_lost_accuracy_is_harm_only_beside_the_same_rule_without_the_attack(build):
    untargeted = replace(build.attacked, adversary=Adversary(who=FirstClients(count=2), update=MinMax()))
    attacked = build.run("attacked", untargeted, build.usual_events(accuracy=0.8, success=None))
    clean = build.run(
        "clean", replace(build.attacked, adversary=Adversary()), build.usual_events(accuracy=0.9, success=None, malicious=[])
    )
    subject = build.subject(attacked, clean)
    assert clean_groups(subject) == {0: subject.groups[1]}
    assert is_harmed(subject.groups[0], subject.groups[1]) is True
    assert is_harmed(subject.groups[0], None) is None


def test_a_sweep_says_how_far_it_is_who_is_best_and_who_stood(build):
    finals = {("mean", "none"): (0.90, 0.1), ("mean", "backdoor"): (0.90, 0.98), ("krum", "none"): (0.7, 0.1)}
    sentence = said(build.sweep(finals | {("krum", "backdoor"): (0.7, 0.1)}))
    assert sentence.startswith("8 of 8 cells are finished. The highest accuracy in all 2 columns: mean.")
    assert "Attacks stood without harm: Krum 1 of 1, Mean 0 of 1." in sentence
    unfinished = said(build.sweep(finals, failures={"rule krum, attack backdoor, seed 1": "too few"}, name="other"))
    assert unfinished.startswith("6 of 8 cells are finished, 1 failed.")
