"""HTML as values: text is escaped where it enters, so nothing that a config or a folder's name holds becomes markup."""

from collections.abc import Sequence
from html import escape


class Html(str):
    """Markup that is safe to put into a page. Plain strings are not: `tag` escapes them."""

    __slots__ = ()


def tag(name: str, *children: str, **attributes: str | bool) -> Html:
    """An element. Attributes are written `class_` and `aria_label`; True stands alone, False is left out.

    >>> tag("p", "1 < 2 ", tag("b", "yes"), class_="note")
    '<p class="note">1 &lt; 2 <b>yes</b></p>'
    """
    given = ((key.strip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not False)
    written = "".join(f" {key}" if value is True else f' {key}="{escape(str(value))}"' for key, value in given)
    return Html(f"<{name}{written}>{join(children)}</{name}>")


def join(children: Sequence[str], between: str = "") -> Html:
    """Children in a row, the plain ones escaped."""
    return Html(between.join(child if isinstance(child, Html) else escape(child) for child in children))
