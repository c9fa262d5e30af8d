import tomllib

import pytest
import tomli_w

from phalanx.aggregators import Krum, Mean, TrimmedMean
from phalanx.config import Experiment
from phalanx.core.errors import ConfigError
from phalanx.experiments import Sweep

BASE = {"data": {"kind": "synthetic"}, "run": {"rounds": 3}}
FILE = """
[run]
rounds = 3
[aggregator]
kind = "krum"
num_byzantine = 2
[sweep]
seeds = [4, 5]
[sweep.cross]
training.lr = [0.1, 0.3]
[sweep.attack]
none = {}
flip = { adversary.who = { kind = "first_clients", count = 1 }, adversary.update.kind = "sign_flip" }
[sweep.rule]
"the base's" = {}
mean = { aggregator.kind = "mean" }
"""


def sweep(**crossed) -> Sweep:
    return Sweep.from_tables(BASE, crossed)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "some.toml"
    path.write_text(FILE)
    return path


def test_cells_are_the_product_of_all_axes_in_the_order_of_the_file_with_seeds_innermost(file):
    found = Sweep.load(file)
    assert [axis.name for axis in found.axes] == ["training.lr", "attack", "rule"]
    assert len(found.cells) == 2 * 2 * 2 * 2
    assert [cell.name for cell in found.cells[:3]] == [
        "training.lr 0.1, attack none, rule the base's, seed 4",
        "training.lr 0.1, attack none, rule the base's, seed 5",
        "training.lr 0.1, attack none, rule mean, seed 4",
    ]
    last = found.cells[-1].experiment
    assert (last.training.lr, last.aggregator, last.run.seed, last.run.rounds) == (0.3, Mean(), 5, 3)
    assert last.adversary.update.kind == "sign_flip"
    assert found.cells[0].experiment.adversary.who is None


def test_a_new_kind_drops_the_fields_of_the_old_one_and_the_same_kind_keeps_them():
    base = BASE | {"aggregator": {"kind": "krum", "num_byzantine": 2}}
    found = Sweep.from_tables(
        base, {"rule": {"a": {}, "b": {"aggregator.kind": "mean"}, "c": {"aggregator": {"num_byzantine": 1}}}}
    )
    assert [cell.experiment.aggregator for cell in found.cells] == [Krum(2), Mean(), Krum(1)]


def test_values_that_are_tables_replace_a_section_as_a_whole():
    found = sweep(cross={"aggregator": [{"kind": "mean"}, {"kind": "trimmed_mean", "num_byzantine": 1}]})
    assert [cell.experiment.aggregator for cell in found.cells] == [Mean(), TrimmedMean(1)]
    assert [cell.place["aggregator"] for cell in found.cells] == ["mean", "trimmed_mean num_byzantine=1"]


def test_without_seeds_the_seed_of_the_base_is_the_only_one():
    found = Sweep.from_tables({"run": {"seed": 7}}, {"cross": {"training": {"lr": [0.1, 0.2]}}})
    assert [cell.seed for cell in found.cells] == [7, 7]


def test_a_base_that_needs_its_variants_is_no_mistake():
    base = {"adversary": {"who": {"kind": "first_clients", "count": 1}}}
    found = Sweep.from_tables(base, {"attack": {"flip": {"adversary.update.kind": "sign_flip"}}})
    assert found.cells[0].experiment.adversary.update is not None


def test_overrides_change_the_base_and_what_is_crossed(file):
    found = Sweep.load(file, {"run.rounds": 9, "sweep.seeds": [1], "sweep.cross.training.lr": [0.5]})
    assert {cell.experiment.run.rounds for cell in found.cells} == {9}
    assert [cell.seed for cell in found.cells] == [1, 1, 1, 1]
    assert {cell.experiment.training.lr for cell in found.cells} == {0.5}


@pytest.mark.parametrize(
    "base, crossed",
    [
        (BASE, {"seeds": [2, 1], "cross": {"training.lr": [0.1, 0.2], "aggregator": [{"kind": "mean"}]}, "x": {"a": {}}}),
        (  # a table of the base's own kind replaces it; laid over it, the base's fields would stay
            {"training": {"kind": "sgd", "lr": 0.5, "steps": 3}},
            {"cross": {"training": [{"kind": "sgd", "lr": 0.1, "epochs": 1}, {"kind": "sgd", "lr": 0.2, "epochs": 1}]}},
        ),
        ({}, {"x": {"a": {"aggregator": {"kind": "krum", "num_byzantine": 1}}, "b": {}}, "cross": {"run": {"rounds": [1, 2]}}}),
    ],
)
def test_what_is_written_down_makes_the_same_cells_again(base, crossed):
    found = Sweep.from_tables(base, crossed)
    table = tomllib.loads(tomli_w.dumps(found.to_tables()))
    again = Sweep.from_tables(table, table.pop("sweep"))
    assert [(cell.place, cell.experiment) for cell in again.cells] == [(cell.place, cell.experiment) for cell in found.cells]
    assert [cell.folder_name for cell in again.cells] == [cell.folder_name for cell in found.cells]


def test_axes_stay_in_their_order_whatever_they_are_called():
    crossed = {"a": {"a1": {}, "a2": {"run.rounds": 4}}}
    crossed["training.lr"] = {"0.1": {"training.lr": 0.1}, "0.3": {"training.lr": 0.3}}
    crossed["b"] = {"b1": {}, "b2": {"training.epochs": 2}}
    crossed["cross"] = {"evaluation.every": [1, 2], "aggregator": [{"kind": "mean"}]}
    found = sweep(**crossed)
    again = Sweep.from_tables(BASE, tomllib.loads(tomli_w.dumps(found.to_tables()))["sweep"])
    assert again.axes == found.axes
    assert [axis.name for axis in again.axes] == ["a", "training.lr", "b", "evaluation.every", "aggregator"]


def test_the_saved_file_of_a_sweep_is_overridden_like_the_user_s(file, tmp_path):
    saved = tmp_path / "sweep.toml"
    saved.write_text(tomli_w.dumps(Sweep.load(file).to_tables()))
    overrides = {"sweep.cross.training.lr": [0.5], "sweep.cross.run.rounds": [1, 2]}
    overrides["sweep.attack.flip.adversary.update.kind"] = "min_max"
    for path in (file, saved):
        found = Sweep.load(path, overrides)
        assert [axis.name for axis in found.axes] == ["training.lr", "run.rounds", "attack", "rule"]
        assert {cell.experiment.training.lr for cell in found.cells} == {0.5}
        assert found.cells[-1].experiment.adversary.update.kind == "min_max"


@pytest.mark.parametrize("setting", [{"run.seed": 5}, {"run": {"seed": 5}}])
def test_a_seed_that_would_have_no_effect_is_refused(file, tmp_path, setting):
    with pytest.raises(ConfigError, match=r"some.toml: run.seed would have no effect beside sweep.seeds; set sweep"):
        Sweep.load(file, setting)
    (tmp_path / "none.toml").write_text("[sweep.cross]\ntraining.lr = [0.1]\n")
    assert [cell.seed for cell in Sweep.load(tmp_path / "none.toml", setting).cells] == [5]


def test_folder_names_are_readable_and_hold_the_experiment_s_digest():
    (cell,) = sweep(rule={"Trimmed mean (1)": {"aggregator": {"kind": "trimmed_mean", "num_byzantine": 1}}}).cells
    assert cell.folder_name == f"trimmed-mean-1-0-{cell.experiment.digest()}"


@pytest.mark.parametrize(
    "crossed, message",
    [
        ({"seeds": []}, "sweep.seeds must be a list of different integers from 0 to 2^63 - 1; got []."),
        ({"seeds": [1, 1]}, "sweep.seeds must be a list of different integers from 0 to 2^63 - 1; got [1, 1]."),
        ({"seeds": [2**63]}, "from 0 to 2^63 - 1; got [9223372036854775808]."),
        ({"seeds": [-1]}, "from 0 to 2^63 - 1; got [-1]."),
        ({"cross": 3}, "sweep.cross must be a table of variants; got 3."),
        ({"cross": {"run": [{"rounds": 1, "seed": 5}, {"rounds": 2, "seed": 6}]}}, "run.seed is no axis; write sweep.seeds"),
        ({"rule": {"a\nb": {}}}, "sweep: axes and variants need names of one line; got 'a\\nb'."),
        ({"ru\tle": {"a": {}}}, "sweep: axes and variants need names of one line; got 'ru\\tle'."),
        ({"cross": {"partition.path": ["a\x00"]}}, "sweep: axes and variants need names of one line; got 'a\\x00'."),
        ({"seeds": [True]}, "sweep.seeds must be a list of different integers"),
        ({"seds": [1, 2]}, "sweep.seds must be a table of variants; got [1, 2]; did you mean 'seeds'?"),
        ({"rule": {}}, "sweep.rule must be a table of variants; got {}"),
        ({"rule": {"mean": "mean"}}, "sweep.rule.mean must be a table of settings such as"),
        ({"cross": {"training": {"lr": 0.1}}}, "sweep.cross.training.lr must be a list of values; got 0.1."),
        ({"cross": {"training.lr": [0.1, 0.1]}}, "sweep.cross.training.lr holds a value twice: [0.1, 0.1]."),
        ({"cross": {"run.seed": [1, 2]}}, "run.seed is no axis; write sweep.seeds"),
        ({"rule": {"a": {"run": {"seed": 1}}}}, "run.seed is no axis; write sweep.seeds"),
        ({"training.lr": {"a": {}}, "cross": {"training.lr": [0.1]}}, "two axes are called 'training.lr'."),
    ],
)
def test_a_wrong_sweep_table_is_one_sentence(crossed, message):
    with pytest.raises(ConfigError) as error:
        sweep(**crossed)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"aggregator.kind": "krun"}, "'krum'"),
        (
            {"aggregator": {"kind": "krum", "num_byzantin": 1}},
            "aggregator.num_byzantin: unknown field; did you mean 'num_byzantine'?",
        ),
        ({"agregator.kind": "krum"}, "agregator: unknown field; did you mean 'aggregator'?"),
        ({"training.lr": -1.0}, "training.lr: "),
    ],
)
def test_a_mistake_in_a_variant_names_the_file_the_cell_the_path_and_the_nearest_name(settings, message):
    found = Sweep.from_tables(BASE, {"rule": {"fine": {}, "wrong": settings}}, source="my.toml")
    with pytest.raises(ConfigError) as error:
        _ = found.cells
    assert str(error.value).startswith("my.toml: cell (rule wrong): ")
    assert message in str(error.value)


def test_two_cells_that_are_the_same_experiment_are_named():
    found = sweep(rule={"a": {"aggregator.kind": "mean"}, "b": {}})
    with pytest.raises(ConfigError, match=r"the cells \(rule a, seed 0\) and \(rule b, seed 0\) are the same experiment\."):
        _ = found.cells


def test_a_file_without_a_sweep_says_what_to_do_with_it_and_a_sweep_is_no_experiment(file, tmp_path):
    (tmp_path / "single.toml").write_text("[run]\nrounds = 3\n")
    with pytest.raises(ConfigError, match=r"single.toml: there is no \[sweep\]; run a single experiment with: phalanx run\."):
        Sweep.load(tmp_path / "single.toml")
    with pytest.raises(ConfigError, match=r"is a sweep; run it with: phalanx sweep"):
        Experiment.load(file)


def test_a_path_that_leads_nowhere_is_a_mistake_of_its_cell():
    found = sweep(rule={"a": {"run.rounds.deep": 1}})
    with pytest.raises(ConfigError, match=r"cell \(rule a\): .*run\.rounds"):
        _ = found.cells


def test_variants_share_values_by_name():
    base = BASE | {"adversary": {"who": {"kind": "first_clients", "count": 1}, "update": {"kind": "sign_flip"}}}
    axes = {
        "let": {"scale": 3.0},
        "attackers": {"few": {"let.f": 1}, "more": {"let": {"f": 3}, "adversary.who.count": "$f"}},
        "rule": {"krum": {"aggregator": {"kind": "krum", "num_byzantine": "$f"}}, "mean": {"adversary.update.scale": "$scale"}},
    }
    found = Sweep.from_tables(base, axes)
    assert [cell.experiment.aggregator for cell in found.cells] == [Krum(1), Mean(), Krum(3), Mean()]
    assert [cell.experiment.adversary.who.count for cell in found.cells] == [1, 1, 3, 3]
    assert [cell.experiment.adversary.update.scale for cell in found.cells] == [1.0, 3.0, 1.0, 3.0]
    table = tomllib.loads(tomli_w.dumps(found.to_tables()))
    again = Sweep.from_tables(table, table.pop("sweep"))
    assert [cell.experiment for cell in again.cells] == [cell.experiment for cell in found.cells]


def test_a_shared_value_may_be_a_table_and_stand_in_a_list():
    noise = {"kind": "paper"}
    stages = [{"kind": "nearest_neighbor_mixing", "num_byzantine": "$f"}, {"kind": "flame", "noise": "$noise"}]
    found = sweep(let={"noise": noise, "f": 1}, rule={"x": {"aggregator": {"kind": "pipeline", "stages": stages}}})
    assert found.cells[0].experiment.aggregator.stages[0].num_byzantine == 1
    assert found.cells[0].experiment.aggregator.stages[1].noise.kind == "paper"


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"let.f": 2, "run.rounds": "$g", "training.steps": "$f"}, "cell (x a): '$g' has no value in let. Allowed: f."),
        ({"run.rounds": "$g"}, "cell (x a): '$g' has no value in let. Allowed: nothing."),
        ({"let": 3}, "let must be a table of values such as { f = 2 }; got 3."),
        ({"let.f": 2.5, "run.rounds": "$f"}, "cell (x a): run.rounds: "),
        ({"aggregator.kind": "$my-rule"}, "cell (x a): '$my-rule' has no value in let. Allowed: nothing."),
    ],
)
def test_a_mistake_with_values_names_the_cell_and_the_name(settings, message):
    with pytest.raises(ConfigError) as error:
        _ = sweep(x={"a": settings}).cells
    assert message in str(error.value)


def test_shared_values_are_a_table():
    with pytest.raises(ConfigError, match=r"sweep\.let must be a table of values such as \{ f = 2 \}; got 3\."):
        sweep(let=3, x={"a": {}})


@pytest.mark.parametrize(
    "let, settings, message",
    [
        (
            {"f": 1},
            {"let.ff": 2, "run.rounds": "$f"},
            "let.ff is used nowhere, that is, no variant says \"$ff\"; did you mean 'f'?",
        ),
        ({"f": 1, "g": "$f"}, {"run.rounds": "$g"}, "let.g must be a value, not the name of another."),
        ({"f": 1}, {"run.rounds": 3}, "let.f is used nowhere"),
    ],
)
def test_a_value_that_would_stand_nowhere_is_no_silent_default(let, settings, message):
    with pytest.raises(ConfigError) as error:
        sweep(let=let, x={"a": settings})
    assert message in str(error.value)


def test_names_in_text_are_text():
    found = sweep(x={"a": {"partition": {"kind": "from_file", "path": "a $name"}}})
    assert found.cells[0].experiment.partition.path == "a $name"
