import dataclasses
import subprocess
import sys
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phalanx.aggregators import Flame, Krum, PaperNoise, ParameterStdNoise
from phalanx.config import Experiment, RunSettings
from phalanx.core.errors import ConfigError
from phalanx.core.toml import override
from phalanx.data import Digits, Dirichlet, HorizontalFlip, Synthetic
from phalanx.training import SGD, Adam, CleanHardening, Exponential, Flip, StepDecay, TriggerInversion, WorkerMomentum

FULL = Experiment(aggregator=Krum(2), partition=Dirichlet(num_clients=20, alpha=0.5))


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    path = tmp_path_factory.mktemp("empty") / "e.toml"
    path.write_text("")
    return path


def test_every_default_is_there_and_the_file_comes_back_equal(tmp_path):
    path = tmp_path / "e.toml"
    path.write_text(FULL.to_toml())
    assert Experiment.load(path) == FULL
    assert set(tomllib.loads(FULL.to_toml())) == {
        *("run", "data", "root", "partition", "participation", "model", "training"),
        *("server", "screening", "aggregator", "adversary", "privacy", "evaluation", "tracking"),
    }


@pytest.mark.parametrize(
    "text, message",
    [
        ("[agregator]\nkind='krum'", "agregator: unknown field; did you mean 'aggregator'?"),
        ("[aggregator]\nkind='krumm'", "aggregator: kind = 'krumm' is unknown; did you mean 'krum'?"),
        ("[aggregator]\nkind='krum'\nnum_byzantin=2", "aggregator.num_byzantin: unknown field; did you mean 'num_byzantine'?"),
        ("[aggregator]\nkind='krum'", "aggregator.num_byzantine: this field is required."),
        ("[aggregator]\nkind='krum'\nnum_byzantine=-1", "aggregator.num_byzantine: input should be greater than or equal to 0"),
        ("[aggregator]\nkind='krum'\nnum_byzantine=1.5", "aggregator.num_byzantine: input should be a valid integer; got 1.5."),
        ("[run]\nrounds=true", "run.rounds: input should be a valid integer; got True."),
        ("[run]\ndevice='cuda'", "run.device: unknown field; did you mean 'devices'?"),
        ("[run]\ndevices=['cuda:128']", "cuda or cuda:N, N at most 127; got 'cuda:128'."),
        ("[run]\ndevices=['mps']", "run.devices.0: a device is auto, cpu, cuda or cuda:N, N at most 127; got 'mps'."),
        ("[run]\ndevices='cpu'", "run.devices: input should be a valid tuple; got 'cpu'."),
        ("[run]\ndevices=[]", "run: devices must name at least one"),
        ("[run]\ndevices=['cuda', 'cuda:0']", "run: devices names one twice: cuda, cuda:0. Several processes on one are"),
        ("[run]\ndevices=['cpu', 'cuda:0']", "run: devices must be GPUs only where they are several"),
        ("[run]\ndevices=['auto', 'cuda:1']", "run: devices must be GPUs only where they are several"),
        ("aggregator = 'krum'", "aggregator: expected a table with kind = one of the aggregator family; got 'krum'."),
        ("[training]\nlr=0.1", "training: kind is missing. Allowed: "),
        ("[training]\nkind='sgd'\nlr='0.1'", "training.lr: input should be a valid number; got '0.1'."),
        ("[training]\nkind='sgd'\nlr=nan\nepochs=1", "training.lr: input should be a finite number; got nan."),
        (
            "[aggregator]\nkind='pipeline'\nstages=[{kind='clip_norm', max_norm=1.0}, {kind='krum', f=1}]",
            "aggregator.stages.1.f: unknown field.",
        ),
        ("[run\n", "is not valid TOML"),
    ],
)
def test_a_wrong_config_names_path_value_and_nearest_name(tmp_path, text, message):
    path = tmp_path / "e.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        Experiment.load(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        Experiment.load(tmp_path / "none.toml")


def test_a_file_that_is_no_text_is_one_sentence(tmp_path):
    (tmp_path / "e.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not a text file in UTF-8"):
        Experiment.load(tmp_path / "e.toml")


def test_an_override_sets_one_value_and_a_new_kind_drops_the_old_fields(tmp_path):
    path = tmp_path / "e.toml"
    path.write_text(FULL.to_toml())
    changed = Experiment.load(path, {"run.rounds": 7, "aggregator.kind": "flame"})
    assert changed.run == RunSettings(rounds=7)
    assert changed.aggregator == Flame()
    assert Experiment.load(path, {"aggregator.kind": "krum"}).aggregator == Krum(2)


SETTINGS = {
    "data.kind": "synthetic",
    "data.seed": 3,
    "training.kind": "adam",
    "training.lr": 0.01,
    "training.steps": 2,
    "training.schedule.kind": "exponential",
    "training.schedule.gamma": 0.5,
}


@given(st.permutations(list(SETTINGS.items())))
def test_the_order_of_overrides_does_not_matter(empty, items):
    changed = Experiment.load(empty, dict(items))
    assert changed.data == Synthetic(seed=3)
    assert changed.training == Adam(0.01, steps=2, schedule=Exponential(0.5))


def test_a_table_is_set_before_what_lies_in_it(empty):
    changed = Experiment.load(empty, {"data.seed": 3, "data": {"kind": "synthetic", "seed": 5, "num_samples": 9}})
    assert changed.data == Synthetic(9, seed=3)


def test_a_section_that_the_file_leaves_out_is_overridden_from_its_default(empty):
    assert Experiment.load(empty, {"training.lr": 0.5}).training == dataclasses.replace(Experiment().training, lr=0.5)
    assert Experiment.load(empty, {"training.kind": "sgd"}) == Experiment()
    assert Experiment.load(empty, {"data.normalize": False}).data == Digits(normalize=False)
    with pytest.raises(ConfigError, match=r"aggregator\.num_byzantine: unknown field"):
        Experiment.load(empty, {"aggregator.num_byzantine": 1})
    with pytest.raises(ConfigError, match="agregator: unknown field; did you mean 'aggregator'"):
        Experiment.load(empty, {"agregator.kind": "krum"})


def test_a_table_inside_of_a_section_is_overridden_from_its_default_too(empty):
    flame = {"aggregator.kind": "flame", "aggregator.noise.level": 0.5}
    assert Experiment.load(empty, flame).aggregator == Flame(noise=PaperNoise(level=0.5))
    other = {"aggregator.kind": "flame", "aggregator.noise.kind": "parameter_std"}
    assert Experiment.load(empty, other).aggregator == Flame(noise=ParameterStdNoise())
    assert Experiment.load(empty, {**other, "aggregator.noise.level": 0.5}).aggregator == Flame(noise=ParameterStdNoise(0.5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"aggregator.noise.level": 0.5}, "aggregator.noise: unknown field"),  # the default rule has no noise
        ({"adversary.who.count": 2}, "adversary.who: kind is missing"),
        ({"training.lr.x": 2}, "training.lr.x cannot be set: lr is a value"),
        ({"aggregator.kind": "flam", "aggregator.noise.level": 0.5}, "kind = 'flam' is unknown; did you mean 'flame'"),
        ({"aggregator.kind": ["flame"], "aggregator.noise.level": 0.5}, "kind = "),
    ],
)
def test_a_table_without_a_default_is_not_made_up(empty, settings, message):
    with pytest.raises(ConfigError, match=message):
        Experiment.load(empty, settings)


def test_a_section_of_the_file_is_not_filled_up_from_the_default(tmp_path):
    path = tmp_path / "e.toml"
    path.write_text('[training]\nkind = "sgd"\nsteps = 3\n')
    assert Experiment.load(path, {"training.lr": 0.5}).training == SGD(0.5, steps=3)


@pytest.mark.parametrize("dotted", ["", "a.", ".a", "a..b"])
def test_an_override_needs_a_path(dotted):
    with pytest.raises(ConfigError, match="has the form section"):
        override({}, dotted, 1)


def test_an_override_does_not_walk_through_a_value():
    with pytest.raises(ConfigError, match="run is a value, not a table"):
        override({"run": 3}, "run.rounds", 1)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["kind", "rounds", "x"]), st.integers() | st.text(max_size=4), max_size=2),
)


def paths(table: dict, prefix: tuple = ()) -> list[tuple]:
    found = []
    for key, value in table.items():
        found.append((*prefix, key))
        if isinstance(value, dict):
            found += paths(value, (*prefix, key))
    return found


def mutate(data: st.DataObject) -> dict:
    """A valid config with one to three random changes: a value, a name, a removal, an extra field."""
    table = tomllib.loads(FULL.to_toml())
    for _ in range(data.draw(st.integers(1, 3))):
        *parents, key = data.draw(st.sampled_from(paths(table)))
        holder = table
        for parent in parents:
            holder = holder[parent]
        match data.draw(st.sampled_from(["value", "rename", "remove", "extra"])):
            case "value":
                holder[key] = data.draw(VALUES)
            case "rename":
                holder[data.draw(st.text(max_size=6))] = holder.pop(key)
            case "remove":
                holder.pop(key)
            case "extra":
                holder[data.draw(st.text(max_size=6))] = data.draw(VALUES)
    return table


def check_mutation(data: st.DataObject) -> None:
    table = mutate(data)
    message = None
    try:
        experiment = Experiment.from_table(table)
    except ConfigError as error:
        message = str(error)
    if message is None:
        assert Experiment.from_table(tomllib.loads(experiment.to_toml())) == experiment
    else:
        assert message
        assert not any(inside in message for inside in ("Traceback", "functools", "function-", "pydantic"))


@settings(max_examples=100)
@given(st.data())
def test_a_mutated_config_is_refused_in_a_sentence_or_valid(data):
    check_mutation(data)


@pytest.mark.slow
@settings(max_examples=1000)
@given(st.data())
def test_a_thousand_mutated_configs_are_refused_in_a_sentence_or_valid(data):
    check_mutation(data)


def test_a_config_of_a_module_given_in_python_loads_before_anyone_imported_the_experiments(tmp_path):
    path = tmp_path / "e.toml"
    path.write_text('[model]\nkind = "custom"\ndigest = "a"\n[data]\nkind = "custom"\ndigest = "b"\n')
    script = "import sys; from phalanx.config import Experiment; print(Experiment.load(sys.argv[1]).model)"
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    assert done.stdout == "CustomModel(digest='a')\n", done.stderr


def test_a_field_that_came_later_changes_the_digest_only_where_it_is_used():
    """The digests are those of before local schedules, short searches of known pairs, stalled ones, augmented hardening."""
    assert Experiment().digest() == "34b3e018ba"
    momentum = WorkerMomentum(SGD(0.1, epochs=1))
    assert Experiment(training=momentum).digest() == "b00face972"
    assert Experiment(training=Flip()).digest() == "36a11923cf"
    assert Experiment(training=CleanHardening()).digest() == "803e9695cb"
    used = (
        WorkerMomentum(SGD(0.1, epochs=1, local_schedule=StepDecay((2,)))),
        Flip(known="repeat"),
        Flip(augment=(HorizontalFlip(),)),
    )
    stalling = Flip(pair=TriggerInversion(200, stall=20))
    assert len({Experiment(training=training).digest() for training in (momentum, Flip(), *used, stalling)}) == 6
