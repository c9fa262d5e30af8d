"""The page in a real browser: no error, no request, nothing wider than a phone, and a dark page that is dark."""

import http.server
import json
import re
import shutil
import subprocess
import tempfile
import threading
from html import unescape

import pytest
from PIL import Image

from phalanx.report.page import page, sections

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install it to test the page in a real browser")
SWITCHED_OFF = ("gpu", "quic", "background-networking", "component-update", "sync")
FLAGS = [f"--disable-{name}" for name in SWITCHED_OFF]
FLAGS += ["--headless", "--no-sandbox", "--no-first-run", "--hide-scrollbars", "--enable-logging=stderr"]
# Runs in a page around it, for headless windows are never narrower than 500 px. The report itself stays without a script.
MEASURE = """<!doctype html><body style="margin:0"><iframe id="phone" src="page.html" style="width:360px;height:800px;border:0">
</iframe><script>
document.getElementById("phone").onload = event => {
  const page = event.target.contentDocument, window = event.target.contentWindow;
  const scrolled = element => element.closest(".scroll, pre, svg") !== null;
  const wide = [...page.querySelectorAll("body *")].filter(
    element => !scrolled(element) && element.getBoundingClientRect().right > 360.5);
  const letters = [...page.querySelectorAll("svg text")].map(element => element.getBoundingClientRect().height);
  const beside = [...page.querySelectorAll("svg")].flatMap(svg => [...svg.querySelectorAll("text")].filter(
    text => !text.closest(".scroll") && text.getBoundingClientRect().right > 361 || text.getBoundingClientRect().left < -1));
  document.body.innerHTML = "<output>" + JSON.stringify({
    width: page.documentElement.scrollWidth, wide: wide.map(element => element.tagName + "." + element.className),
    smallest: Math.min(...letters), beside: beside.map(text => text.textContent),
    requests: window.performance.getEntriesByType("resource").map(entry => entry.name),
  }).replaceAll("<", "&lt;") + "</output>";
};</script>"""


@pytest.fixture(scope="module")
def folder(build_in, tmp_path_factory):
    """A folder with the page of runs that have every section, and the page around it that measures."""
    folder = tmp_path_factory.mktemp("page")
    build = build_in(folder)
    subject = build.subject(*build.seeds(0.8, 0.9))
    (folder / "page.html").write_text(page(subject, sections(subject, build.own_panels())), encoding="utf-8")
    (folder / "measure.html").write_text(MEASURE)
    return folder


def browse(address, folder, *options):
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tempfile.mkdtemp(dir=folder)}", *options, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == []
    return done.stdout


def test_on_a_phone_nothing_is_cut_off_and_letters_are_legible(folder):
    options = ("--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom")
    shown = browse(f"file://{folder}/measure.html", folder, *options)
    found = json.loads(unescape(re.search(r"<output>(.*?)</output>", shown, re.DOTALL)[1]))
    assert found["width"] <= 360
    assert found["wide"] == []
    assert found["beside"] == []
    assert found["requests"] == []
    assert found["smallest"] >= 8


def test_the_page_asks_for_nothing_but_itself(folder):
    asked = []

    class Listening(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, format, *arguments):
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listening) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        shown = browse(f"http://127.0.0.1:{server.server_port}/page.html", folder, "--dump-dom")
        server.shutdown()
    assert "Run it again" in shown
    assert set(asked) <= {"/page.html", "/favicon.ico"}  # a browser asks for a site's icon by itself


@pytest.mark.parametrize("scheme, is_dark", [(0, True), (1, False)])
def test_the_page_follows_the_readers_colours(folder, scheme, is_dark):
    shot = folder / "shot.png"
    options = (f"--blink-settings=preferredColorScheme={scheme}", "--window-size=1000,800", f"--screenshot={shot}")
    browse(f"file://{folder}/page.html", folder, *options)
    with Image.open(shot) as image:
        grey = image.convert("L")
        paper = grey.getpixel((5, 5))
        histogram = grey.histogram()
    assert (paper < 40) if is_dark else (paper > 240)
    readable = sum(histogram[200:]) if is_dark else sum(histogram[:80])
    assert readable > 3000  # letters that stand out from the paper


def test_it_prints(folder):
    browse(f"file://{folder}/page.html", folder, "--no-pdf-header-footer", f"--print-to-pdf={folder / 'page.pdf'}")
    assert (folder / "page.pdf").read_bytes().startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", (folder / "page.pdf").read_bytes())) >= 3
