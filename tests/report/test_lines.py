from phalanx.report.lines import colours_of, lines, spread
from phalanx.report.series import Band
from phalanx.report.style import LINES, style

BAND = Band([1, 2], [0.5, 0.6], [0.4, 0.6], [0.6, 0.6])


def drawn(bands, **options):
    with style():
        return lines(bands, **options)


def test_short_names_stand_beside_their_lines_and_long_ones_in_a_legend():
    beside = drawn({"mean": BAND, "krum": BAND})
    assert [text.get_text() for text in beside.axes[0].texts] == ["mean", "krum"]
    assert beside.legends == []
    above = drawn({"mean": BAND, "a much longer name of it": BAND})
    assert not above.axes[0].texts
    assert [text.get_text() for text in above.legends[0].get_texts()] == ["mean", "a much longer name of it"]


def test_a_band_is_filled_where_seeds_differ_and_left_out_where_they_do_not():
    assert len(drawn({"a": BAND}).axes[0].collections) == 1
    assert not drawn({"a": Band([1, 2], [0.5, 0.6], [0.5, 0.6], [0.5, 0.6])}).axes[0].collections


def test_a_single_point_is_a_dot():
    assert drawn({"a": Band([3], [0.5], [0.5], [0.5])}).axes[0].lines[0].get_marker() == "o"


def test_lines_are_told_apart_by_dashes_as_well():
    figure = drawn({"a": BAND, "b": BAND, "c": BAND})
    assert len({line.get_linestyle() + str(line._dash_pattern) for line in figure.axes[0].lines}) == 3


def test_names_are_moved_apart_and_stay_in_order():
    placed = spread([0.5, 0.5, 0.5, 0.99, 1.0], gap=0.08, top=0.99)
    assert all(above - below >= 0.079 for below, above in zip(sorted(placed), sorted(placed)[1:]))
    assert max(placed) <= 0.99
    assert placed[3] < placed[4]


def test_the_users_own_matplotlib_settings_are_neither_used_nor_changed():
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 33, "axes.facecolor": "red"}):
        figure = drawn({"a": BAND})
        assert figure.axes[0].xaxis.label.get_size() == 9
        assert mpl.rcParams["font.size"] == 33


def test_a_name_keeps_its_colour_where_another_has_no_line():
    assert colours_of(["mean"], ["flame", "krum", "mean"]) == [LINES[2]]
    many = [f"rule {place}" for place in range(20)]
    assert colours_of(many[12:], many) == list(LINES)
