from dataclasses import replace

from phalanx.attacks import Adversary, FirstClients, MinMax, Never
from phalanx.report.harm import clean_groups, is_harmed
from phalanx.report.outcome import outcome, state


def said(subject):
    return " ".join(outcome(subject)).replace("\N{NO-BREAK SPACE}", " ")


def test_one_run_says_what_the_attack_reached_and_what_only_a_second_run_could_tell(build):
    assert said(build.one()) == (
        "Flame reached 90.0 % accuracy after 3 rounds, and the attack (backdoor with model replacement) succeeded on 20.0 % of "
        "the samples that it aims at. "
        "Left as they are, the same samples are taken for the attacker's class in 10.0 % of the cases. "
        "What the attack cost shows only beside the same run without an attack."
    )


def test_a_destroyed_model_is_never_said_to_be_unharmed(build, rules):
    destroyed = build.run("flame", events=build.usual_events(accuracy=0.1, success=0.0))
    alone = build.subject(destroyed)
    assert is_harmed(alone.groups[0], None) is None
    mean = build.run("mean", replace(build.attacked, aggregator=rules["mean"]), build.usual_events(accuracy=0.138, success=0.1))
    sentence = said(build.subject(destroyed, mean))
    assert "no harm" not in sentence
    assert "What it cost flame and mean shows only beside the same run without an attack." in sentence


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
    assert "What the attack cost shows only beside the same run without an attack." in said(subject)
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
        "2 experiments in 2 runs. The highest accuracy is 95.0 %, with mean. The attack did harm to mean. "
        "What it cost flame shows only beside the same run without an attack."
    )


def test_all_who_share_the_highest_mean_are_named(build, rules):
    flame = build.seeds(0.7, 0.9, name="flame")
    mean = build.seeds(0.8, 0.8, name="mean", experiment=replace(build.attacked, aggregator=rules["mean"]))
    assert "The highest mean accuracy is 80.0 %, with flame and mean." in said(build.subject(*flame, *mean))


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


def test_a_run_is_compared_only_when_both_are_finished(build):
    clean_experiment = replace(build.attacked, adversary=replace(build.attacked.adversary, when=Never()))
    late = build.run("late", clean_experiment, build.usual_events(1, accuracy=0.2, malicious=[]), finished=False)
    subject = build.subject(build.run("attacked", events=build.usual_events(accuracy=0.3)), late)
    assert clean_groups(subject) == {}


ALL = {
    ("mean", "none"): (0.90, 0.1),
    ("mean", "backdoor"): (0.90, 0.98),
    ("krum", "none"): (0.7, 0.1),
    ("krum", "backdoor"): (0.7, 0.1),
}


def test_a_sweep_says_how_far_it_is_who_is_best_and_who_stood(build):
    sentence = said(build.sweep(ALL))
    assert sentence.startswith("8 of 8 cells are finished. The highest accuracy in all 2 columns: mean.")
    assert "Attacks stood without harm: krum 1 of 1, mean 0 of 1." in sentence
    finals = {place: final for place, final in ALL.items() if place != ("krum", "backdoor")}
    unfinished = said(build.sweep(finals, failures={"rule krum, attack backdoor, seed 1": "too few"}, name="other"))
    assert unfinished.startswith("6 of 8 cells are finished, 1 failed.")


def test_two_rows_with_one_rule_are_counted_apart(build):
    rules = {f"f={f}": {"aggregator": {"kind": "trimmed_mean", "num_byzantine": f}} for f in (1, 2)}
    finals = {
        ("f=1", "none"): (0.9, 0.1),
        ("f=1", "backdoor"): (0.5, 0.1),
        ("f=2", "none"): (0.9, 0.1),
        ("f=2", "backdoor"): (0.9, 0.1),
    }
    assert "Attacks stood without harm: f=2 1 of 1, f=1 0 of 1." in said(build.sweep(finals, rules=rules))


def test_of_many_rows_only_the_number_that_stood_is_told(build):
    rules = {f"f={f}": {"aggregator": {"kind": "trimmed_mean", "num_byzantine": f}} for f in range(17)}
    finals = {
        (rule, attack): (0.9, 0.9 if rule == "f=0" and attack == "backdoor" else 0.1)
        for rule in rules
        for attack in ("none", "backdoor")
    }
    assert "16 of 17 rows stood all attacks without harm." in said(build.sweep(finals, rules=rules, seeds=(1,)))


def test_a_place_that_lacks_a_seed_is_not_judged(build):
    subject = build.sweep(ALL, without={"rule krum, attack backdoor, seed 2"})
    assert "Attacks stood without harm: mean 0 of 1." in said(subject)
    subject = build.sweep(ALL, without={"rule krum, attack none, seed 2"}, name="no-twin")
    assert "Attacks stood without harm: mean 0 of 1. What the attacks cost 1 of 2 rows shows only" in said(subject)


def test_a_row_that_is_not_shown_to_be_worse_is_not_called_the_highest(build):
    finals = {("mean", "none"): [0.9, 0.8, 0.7], ("krum", "none"): [0.8, 0.85, 0.7]}
    subject = build.sweep(finals, seeds=(1, 2, 3), attacks={"none": {"adversary.when": {"kind": "never"}}})
    assert "The highest accuracy: mean; not shown to be worse: krum." in said(subject)


def test_a_row_without_all_seeds_is_no_rival_and_the_sentence_says_so(build):
    subject = build.sweep(ALL, without={"rule krum, attack none, seed 2"})
    assert "The highest accuracy in all 2 columns among the rows with all seeds: mean." in said(subject)
