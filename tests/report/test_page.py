import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from phalanx.experiments import RunRecord
from phalanx.report.group import of_runs
from phalanx.report.page import page, plots, sections
from phalanx.report.panel import Code, Grid, Panel, Plot, Text, panels
from phalanx.report.style import TOKENS, figure_with_axes

VOID = {"meta", "br", "img", "link", "input", "hr"}
LOADING = {"src", "srcset", "data", "action", "poster", "background", "ping", "formaction", "cite"}


class Structure(HTMLParser):
    """What a browser would build: every element closed, every id once, everything that could load something."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.ids, self.links, self.text = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, name, attributes):
        self.tags.append((name, dict(attributes)))
        self.ids += [value for key, value in attributes if key == "id"]
        self.links += [value for key, value in attributes if key in LOADING | {"href", "xlink:href"}]
        if name not in VOID:
            self.open.append(name)

    def handle_startendtag(self, name, attributes):
        self.handle_starttag(name, attributes)
        self.open.pop()

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        self.text.append(data)


def made(subject):
    found = sections(subject, [panel for panel in panels() if type(panel).__module__.startswith("phalanx.report.panels.")])
    assert [section.failure for section in found if section.failure] == []
    return page(subject, found)


def test_strings_that_no_file_takes_are_shown_without_what_is_wrong_with_them(build):
    subject = build.one()
    folder = subject.groups[0].runs[0].folder
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"platform": "Linux\ud800"}))
    assert "Linux?" in made(of_runs([RunRecord.read(folder)])).encode().decode()


@pytest.fixture(scope="module")
def subjects(build_in, rules, tmp_path_factory):
    build = build_in(tmp_path_factory.mktemp("runs"))
    mean = replace(build.attacked, aggregator=rules["mean"])
    runs = build.subject(*build.seeds(0.8, 0.9, name="flame"), *build.seeds(0.7, 0.8, name="mean", experiment=mean))
    sweep = build.sweep({(rule, attack): (0.8, 0.2) for rule in ("mean", "krum") for attack in ("none", "backdoor")})
    return {
        "one": build.one(),
        "several": runs,
        "sweep": sweep,
        "empty": build.subject(build.run("empty", mean, [], finished=False)),
    }


@pytest.fixture(scope="module")
def pages(subjects):
    return {name: made(subject) for name, subject in subjects.items()}


@pytest.mark.parametrize("name", ["one", "several", "sweep", "empty"])
def test_the_page_is_whole_and_loads_nothing(pages, name):
    text = pages[name]
    found = Structure(text)
    assert found.open == []
    assert len(found.ids) == len(set(found.ids)) > 0
    for link in found.links:
        assert link.startswith(("#", "data:image/png;base64,"))
        assert not link.startswith("#") or link[1:] in found.ids
    for target in re.findall(r"url\(([^)]*)\)", text):
        assert target.startswith("#")
        assert target[1:] in found.ids
    assert not {"script", "link", "iframe", "object", "embed", "base"} & {tag for tag, _ in found.tags}
    assert "@import" not in text
    assert "http://" not in text
    assert "https://" not in text


def test_the_page_has_a_strict_policy_a_language_and_a_viewport(pages):
    found = Structure(pages["one"])
    metas = {
        attributes.get("http-equiv") or attributes.get("name"): attributes.get("content")
        for tag, attributes in found.tags
        if tag == "meta"
    }
    assert metas["Content-Security-Policy"].startswith("default-src 'none'; ")
    assert "script" not in metas["Content-Security-Policy"]
    assert metas["viewport"] == "width=device-width, initial-scale=1"
    assert ("html", {"lang": "en"}) in found.tags


@pytest.mark.parametrize("name", ["one", "several", "sweep"])
def test_every_picture_says_what_it_shows(pages, name):
    drawn = [attributes for tag, attributes in Structure(pages[name]).tags if tag == "svg"]
    assert drawn
    assert all(attributes["role"] == "img" and len(attributes["aria-label"]) > 20 for attributes in drawn)


@pytest.mark.parametrize("name", ["one", "several", "sweep"])
def test_no_colour_is_fixed_in_a_plot_so_that_the_dark_page_has_its_own(pages, name):
    drawn = "".join(re.findall(r"<svg.*?</svg>", pages[name], flags=re.DOTALL))
    fixed = set(re.findall(r"#[0-9a-f]{6}", re.sub(r"data:image/png[^\"]*", "", drawn)))
    assert fixed == set()
    css = pages[name].split("</style>")[0]
    assert all(css.count(f"--{token}:") >= 3 for token in TOKENS.values())  # light, dark, printed


def test_the_same_runs_give_the_same_bytes(subjects, pages):
    again = of_runs([RunRecord.read(run.folder) for group in subjects["several"].groups for run in group.runs])
    assert made(again) == pages["several"]
    assert made(subjects["sweep"]) == pages["sweep"]


def test_names_and_values_are_text_and_never_markup(build):
    evil = '<script>alert("x")</script>'
    manifest = build.manifest | {"platform": evil, "data": build.manifest["data"] | {"name": evil, "checksums": {evil: evil}}}
    events = build.usual_events(rejected={evil: [1]})
    for event in events:
        event["seconds"] = {evil: 1.0}
    folder = build.run("<script>", events=events, manifest=manifest)
    text = made(build.subject(folder))
    found = Structure(text)
    assert "<script" not in text
    assert "script" not in [tag for tag, _ in found.tags]
    assert "<script>" in "".join(found.text)
    assert evil in "".join(found.text)


def test_a_sweep_with_markup_in_its_names_is_text_too(build):
    subject = build.sweep({("mean", "none"): (0.8, 0.2)}, failures={"rule krum, attack none, seed 1": "<b>bold</b> & more"})
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; more" in made(subject)


class Breaks(Panel):
    title = "Breaks"
    explains = "Never works."
    place = 1

    def show(self, subject):
        raise ValueError("no <masks> here")


class Shows(Panel):
    title = "Shows"
    explains = "One of each."
    place = 2

    def show(self, subject):
        figure, axes = figure_with_axes()
        axes.plot([1, 2])
        return [
            Text("a & b"),
            Plot("mine", figure, alt='a "line"', title="Mine", caption="Below."),
            Grid(["x", "y"], [["one", "1.0"], ["two", "–"]], "Numbers.", frozenset({(0, 1)}), frozenset({(1, 1)})),
            Code("Open", "x < 1", is_open=True),
        ]


def test_a_panel_that_raises_loses_its_own_section_only(build):
    subject = build.one()
    found = sections(subject, [Breaks(), Shows()])
    text = page(subject, found)
    assert "This section could not be made: ValueError: no &lt;masks&gt; here" in text
    assert "a &amp; b" in text
    assert [plot.name for plot in plots(found)] == ["mine"]


def test_two_plots_with_one_name_get_names_and_ids_of_their_own(build):
    subject = build.one()
    found = sections(subject, [Shows(), Shows()])
    assert [plot.name for plot in plots(found)] == ["mine", "mine-2"]
    ids = Structure(page(subject, found)).ids
    assert len(ids) == len(set(ids))


class Odd(Panel):
    title = "Odd"
    explains = "Names that are code elsewhere."

    def show(self, subject):
        figure, axes = figure_with_axes()
        axes.plot([1, 2])
        axes.text(1, 1, "from $a to $b_")
        return [Plot("odd", figure, alt=r"\g<0> and \1 and \x")]


def test_backslashes_and_dollars_in_names_are_written_as_they_are(build):
    subject = build.one()
    found = sections(subject, [Odd()])
    assert found[0].failure is None
    text = page(subject, found)
    assert r'aria-label="\g&lt;0&gt; and \1 and \x"' in text
    assert "from $a to $b_" in text


def test_every_piece_is_written(build):
    subject = build.one()
    found = Structure(page(subject, sections(subject, [Shows()])))
    assert ("details", {"open": None}) in found.tags
    assert [attributes["aria-label"] for tag, attributes in found.tags if tag == "svg"] == ['a "line"']
    assert [attributes["class"] for tag, attributes in found.tags if tag == "td"] == ["number best", "number tied"]
    assert {"Mine", "Below.", "Numbers.", " (best)", " (not shown to be worse)", "x < 1"} <= set(found.text)


def test_panels_are_found_through_the_entry_point_in_the_order_of_their_places(build):
    assert [panel.title for panel in build.own_panels()] == [
        "Robustness",
        "Leaderboards",
        "Results",
        "Without a score",
        "Over rounds",
        "Privacy",
        "Refused answers",
        "What the update gives away",
        "Influence",
        "How the rule saw the clients",
        "Detection",
        "Rejected updates",
        "Norms",
        "Partition",
        "Times",
        "Configuration",
        "Run it again",
    ]


def test_someone_elses_panel_is_found_once_it_is_imported():
    assert {Breaks, Shows} <= {type(panel) for panel in panels()}


def test_the_page_of_a_thousand_rounds_and_ten_thousand_clients_stays_small(build):
    manifest = json.loads(json.dumps(build.manifest))
    manifest["client_samples"] = [3] * 10_000
    manifest["client_classes"] = {"step": 5, "counts": ["1 2"] * 2000}
    events = []
    for number in range(1000):
        clients = [(number * 37 + place * 97) % 10_000 for place in range(100)]
        events.append(build.round_event(number, clients=clients, influence=[0.01] * 100, malicious=clients[:10]))
        events.append(build.evaluation_event(number, number / 1000, 0.1))
    assert len(made(build.one(events, manifest=manifest))) < 400_000


def test_a_sweep_that_has_not_begun_has_a_page(build):
    text = made(build.sweep({}, failures={"rule mean, attack none, seed 1": "no room"}))
    assert "0 of 8 cells are finished, 1 failed." in text
    assert "0 begun, but not finished; 7 not begun." in text
