"""Whatever stands in a file or after `--set`, it becomes a table or one sentence."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phalanx.core.errors import ConfigError
from phalanx.core.toml import override, parse_setting, read_toml


def written(folder, content):
    path = folder / "experiment.toml"
    path.write_bytes(content)
    return path


def test_a_file_becomes_a_table(tmp_path):
    assert read_toml(written(tmp_path, 'a = 1\n[b]\nkind = "µ"\n'.encode())) == {"a": 1, "b": {"kind": "µ"}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = \n", r"is not valid TOML: Invalid value \(at line 1"),
        (b"a = 1\na = 2\n", "is not valid TOML: "),
        (b"\xff\xfe\x00", "is not a text file in UTF-8"),
        (b"a = " + b"9" * 5000, "is not valid TOML: "),
        (b"a = " + b"[" * 100_000, "is not valid TOML: it is nested too deeply"),
    ],
)
def test_a_broken_file_is_one_sentence_with_its_name(content, message, tmp_path):
    with pytest.raises(ConfigError, match=rf"experiment\.toml {message}") as error:
        read_toml(written(tmp_path, content))
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml cannot be read: No such file"):
        read_toml(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigError, match="cannot be read: "):
        read_toml(tmp_path)


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_a_table_or_a_config_error(tmp_path_factory, content):
    path = written(tmp_path_factory.getbasetemp(), content)
    try:
        table = read_toml(path)
    except ConfigError:
        return
    assert isinstance(table, dict)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run.rounds=3", ("run.rounds", 3)),
        ("training.lr = 0.5", ("training.lr", 0.5)),
        ("run.name=a=b", ("run.name", "a=b")),
        ("run.name='3'", ("run.name", "3")),
        ("a.on=true", ("a.on", True)),
        ("a.b=[1, 2]", ("a.b", [1, 2])),
        ("a.b={kind = 'x'}", ("a.b", {"kind": "x"})),
        ("a.b=", ("a.b", "")),
        ("a.b=flame", ("a.b", "flame")),
        ("a.b=1\nc=2", ("a.b", "1\nc=2")),
        (f"a.b={'9' * 5000}", ("a.b", "9" * 5000)),
    ],
)
def test_a_setting_is_a_path_and_a_toml_value_or_a_string(text, expected):
    assert parse_setting(text) == expected


def test_a_setting_without_a_value_is_refused():
    with pytest.raises(ConfigError, match=r"has the form section\.field=value; got 'run\.rounds'"):
        parse_setting("run.rounds")


@given(st.text(max_size=20))
def test_any_text_is_a_setting_or_a_config_error(text):
    with contextlib.suppress(ConfigError):
        path, value = parse_setting(text)
        table = {"a": {"b": 1}, "c": [1]}
        override(table, path, value)
        for name in path.split("."):
            table = table[name]
        assert table == value or value != value  # a NaN is what `nan` means


def test_a_setting_as_deep_as_no_config_is_refused():
    with pytest.raises(ConfigError, match="at most 50 tables before its field; got 2999"):
        override({}, ".".join(["a"] * 3000), 1)


def test_a_setting_reaches_deep_and_makes_the_tables_on_its_way():
    table = {"a": {"b": 1}}
    override(table, "a.c.d", 2)
    override(table, "a.b", 3)
    assert table == {"a": {"b": 3, "c": {"d": 2}}}


def test_the_same_kind_keeps_its_fields_and_another_drops_them():
    table = {"rule": {"kind": "krum", "f": 2}}
    override(table, "rule.kind", "krum")
    assert table == {"rule": {"kind": "krum", "f": 2}}
    override(table, "rule.kind", "mean")
    assert table == {"rule": {"kind": "mean"}}


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b"])
def test_a_path_with_a_hole_is_refused(path):
    with pytest.raises(ConfigError, match=r"has the form section\.field=value"):
        override({}, path, 1)


def test_a_value_has_no_fields():
    with pytest.raises(ConfigError, match=r"a\.b\.c cannot be set: b is a value, not a table"):
        override({"a": {"b": 1}}, "a.b.c", 2)
