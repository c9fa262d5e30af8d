"""A figure as SVG inside a page: without a size of its own, in the page's colours and font, with ids that nobody else has."""

import io
import re

from matplotlib import rc_context
from matplotlib.figure import Figure

from phalanx.report.style import TOKENS, style

DETERMINISTIC = {"Date": None, "Creator": None, "Format": None, "Type": None}


def inline_svg(figure: Figure, name: str, alt: str) -> str:
    """The figure's `<svg>` element. The same figure and name give the same characters; `alt` must be escaped already."""
    buffer = io.StringIO()
    with style(), rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata=DETERMINISTIC)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style type=\"text/css\">.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>',
        lambda found: f'<svg viewBox="{found[1]}" role="img" aria-label="{alt}">',  # no template: `alt` may hold a backslash
        svg,
        count=1,
    )
    svg = svg.replace("xlink:href=", "href=")
    svg = _with_own_ids(svg, name)
    for colour, token in TOKENS.items():
        svg = re.sub(colour, f"var(--{token})", svg, flags=re.IGNORECASE)
    svg = re.sub(r' transform="rotate\(-0 [^"]*"|font-family: \'DejaVu Sans\'; |<g/>|<defs>\s*</defs>', "", svg)
    return re.sub(r"\s*\n\s*", "\n", svg).strip()


def _with_own_ids(svg: str, name: str) -> str:
    """Ids that something refers to get the plot's name in front; the others go."""
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", svg)
    return re.sub(r'(href="#|url\(#)', lambda found: f"{found[1]}{name}-", svg)
