from phalanx.report.labels import differing, labels, leaves


def table(rule, *, alpha=1.0, attack=True, **fields):
    adversary = (
        {"who": {"kind": "first_clients", "count": 2}, "when": {"kind": "always"}} if attack else {"when": {"kind": "always"}}
    )
    return {"aggregator": {"kind": rule, **fields}, "partition": {"alpha": alpha}, "adversary": adversary}


def test_the_rule_alone_names_runs_that_differ_in_it():
    assert labels([table("mean"), table("flame", noise={"kind": "paper"}, space="model")]) == ["mean", "flame"]


def test_a_field_is_named_where_the_same_rule_has_two_values_of_it():
    found = labels([table("krum", num_byzantine=1), table("krum", num_byzantine=2), table("mean")])
    assert found == ["krum, aggregator.num_byzantine 1", "krum, aggregator.num_byzantine 2", "mean"]


def test_a_kind_below_a_kind_is_named_where_it_tells_two_apart():
    found = labels([table("flame", noise={"kind": "paper"}), table("flame", noise={"kind": "none"})])
    assert found == ["aggregator.noise paper", "aggregator.noise none"]


def test_settings_of_a_table_without_a_kind_are_named_with_their_path():
    assert labels([table("mean", alpha=0.1), table("mean", alpha=10.0)]) == ["partition.alpha 0.1", "partition.alpha 10.0"]


def test_without_attackers_it_says_no_attack_and_nothing_else_of_the_adversary():
    assert labels([table("mean"), table("mean", attack=False)])[1] == "no attack"


def test_an_adversary_that_never_attacks_is_no_attack():
    idle = table("mean")
    idle["adversary"]["when"]["kind"] = "never"
    assert labels([idle, table("krum")])[0] == "mean, no attack"


def test_equal_configs_have_empty_labels():
    assert labels([table("mean"), table("mean")]) == ["", ""]


def test_differing_paths_come_in_the_order_of_the_file():
    assert differing([table("mean", alpha=1.0), table("krum", alpha=2.0)]) == ["aggregator.kind", "partition.alpha"]
    assert leaves({"a": {"b": {"c": 1}}}) == {"a.b.c": 1}
