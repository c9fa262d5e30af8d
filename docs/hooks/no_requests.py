"""The built site asks no other machine for anything: a page or style sheet that would load something fails the build."""

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

TAGS = r"<(?:script|img|iframe|source|video|audio)[^>]*\bsrc=|<link(?![^>]*canonical)[^>]*\bhref="
LOADS = re.compile(rf"""(?:{TAGS}|@import\s|url\()["']?(?:https?:)?//[^"')>\s]+""")


def on_post_build(config: Any, **_: Any) -> None:
    """mkdocs calls this when the site is written."""
    site = Path(config["site_dir"])
    for path in sorted([*site.rglob("*.html"), *site.rglob("*.css")]):
        if found := LOADS.search(path.read_text(encoding="utf-8")):
            raise PluginError(f"{path.relative_to(site)} would load from another machine: {found[0]}")
