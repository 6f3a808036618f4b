"""Convert web pages to Markdown: the readable content with headings, lists and tables.

Lexbor parses the page as browsers do (WHATWG's HTML). What is not content is left out, and
markdownify writes the rest. To bound their time, arena limits the depth of nested tags, as browsers
do, and collapses white space first.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from typing import Any, Final

from arena.data.documents.cleaning import is_sign
from arena.optional import needed


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


_LEFT_OUT: Final = _names(
    "script style noscript template nav svg iframe object head title audio video canvas"
    " button select datalist textarea input"
)
"""What a browser shows nothing of, or what is there to act and not to read."""
_LEFT_OUT_ROLES: Final = frozenset({"navigation", "search"})
_NOT_DISPLAYED = re.compile(
    r"(?:^|;)\s*+(?:display\s*+:\s*+none|visibility\s*+:\s*+hidden)", re.IGNORECASE
)

_TOLD: Final = _names(
    "article b blockquote br caption code dd del div dl dt em figcaption h1 h2 h3 h4 h5 h6 hr i kbd"
    " li ol p pre q s samp section strong sub sup table tbody td tfoot th thead tr ul"
)
"""Elements with a meaning of their own. Any other element is only a container."""
_VOID: Final = _names("area base br col embed hr img input link meta source track wbr param")
_SELF_CLOSING: Final = _names(
    "p li dt dd rt rp option optgroup html head body caption colgroup thead tbody tfoot tr td th"
)
"""Elements that end where the next one begins, so that many without an end are not nested."""
_NESTED: Final = 512
"""Elements within each other that a page may have; browsers know no more either."""
_DEEP: Final = 100
"""Of them, those that are told to markdownify, which calls itself for each."""
_INDENTED: Final = {"blockquote": 12, "li": 12, "dd": 12, "table": 8}
"""And those that each line is written again for."""
_MOST_COLUMNS: Final = 100

_TAG_NAME = re.compile(r"<(/?)([a-zA-Z][^\s/<>]*)")
_EMPTY_TAG = re.compile(r"<([a-zA-Z][\w:-]*)([^<>]*)/>")
_BLANKS = re.compile(r"[\t \r\n]+")


def page_text(html: str) -> tuple[str, str]:
    """Return title and Markdown of a page.

    Raises:
        UsageError: a package is not installed.
    """
    lexbor = needed("selectolax.lexbor", "reading HTML")
    page = lexbor.LexborHTMLParser(_bounded(html))
    titles = (node for node in page.css("title") if node.parent is None or node.parent.tag != "svg")
    title = next((node.text() for node in titles), "")
    main = page.css_first("main") or page.css_first('[role="main"]')
    text = _markdown(main) if main is not None else ""
    if not text.strip() and page.root is not None:
        text = _markdown(page.root)
    return " ".join(title.split()), text


def _bounded(html: str) -> str:
    """Return a page without deeper nested tags than a browser would follow; no word is lost.

    ``<a/>`` is an empty element, as in XHTML. Old pages are full of them, and a browser would take
    all that follows as its content.
    """

    def ended(match: re.Match[str]) -> str:
        name = match[1]
        return match[0] if name.lower() in _VOID else f"<{name}{match[2]}></{name}>"

    n_open: Counter[str] = Counter()
    depth = 0

    def named(match: re.Match[str]) -> str:
        nonlocal depth
        name = match[2].lower()
        if name in _VOID or name in _SELF_CLOSING:
            return match[0]
        if match[1]:
            if not n_open[name]:
                return "</wbr"  # closes nothing, and what does need not be looked for
            n_open[name] -= 1
            depth -= 1
        elif depth >= _NESTED:
            return "<wbr"
        else:
            n_open[name] += 1
            depth += 1
        return match[0]

    return _TAG_NAME.sub(named, _EMPTY_TAG.sub(ended, html))


def _markdown(root: Any) -> str:
    """Return an element as Markdown."""
    bs4 = needed("bs4", "reading HTML")
    soup = bs4.BeautifulSoup("", "html.parser")
    soup.reset()
    _copy(root, soup)
    soup.endData()
    while soup.currentTag is not None and soup.currentTag.name != soup.ROOT_TAG_NAME:
        soup.popTag()
    return str(_converter().convert_soup(soup)).replace("\r", "\n")


def _copy(root: Any, soup: Any) -> None:
    """Copy the readable content of an element into a soup, without recursion."""
    depth, n_open = 0, Counter[str]()
    words: list[str] = []  # of text that no element parts

    def end_words() -> None:
        if not (text := "".join(words)):
            return
        words.clear()
        soup.handle_data(text if n_open["pre"] else _BLANKS.sub(_blank, text))

    waiting: list[Any] = [root]  # nodes that come, and names of elements to end
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            end_words()
            soup.handle_endtag(node)
            depth -= 1
            n_open[node] -= 1
            continue
        if node is not root and node.next is not None:
            waiting.append(node.next)
        if node.is_text_node:
            words.append(node.text_content or "")
        elif not node.is_element_node or _is_left_out(node):
            continue
        else:
            name = node.tag if node.tag in _TOLD else "span"
            if depth < _DEEP and n_open[name] < _INDENTED.get(name, _DEEP):
                end_words()
                soup.handle_starttag(name, None, None, _attributes(node, name))
                depth += 1
                n_open[name] += 1
                waiting.append(name)
            if node.first_child is not None:
                waiting.append(node.first_child)
    end_words()


def _blank(found: re.Match[str]) -> str:
    return "\n" if "\n" in found[0] or "\r" in found[0] else " "


def _is_left_out(node: Any) -> bool:
    """Return whether an element is no text of the page: navigation, forms, what is hidden."""
    if node.tag in _LEFT_OUT:
        return True
    attributes = node.attributes
    if not attributes:
        return False
    if node.tag == "a" and (attributes.get("href") or "").startswith("#"):
        return is_sign(node.text())
    if node.tag in ("html", "body"):
        return False  # a script shows it
    if "hidden" in attributes or attributes.get("role") in _LEFT_OUT_ROLES:
        return True
    return bool(_NOT_DISPLAYED.search(attributes.get("style") or ""))


def _attributes(node: Any, name: str) -> dict[str, str]:
    """Return the only attributes that matter: where a list begins, how wide a cell is."""
    key, most = {"ol": ("start", 10**9), "td": ("colspan", _MOST_COLUMNS)}.get(name, ("", 0))
    if name == "th":
        key, most = "colspan", _MOST_COLUMNS
    value = node.attributes.get(key) if key else None
    if not value or not (value.isascii() and value.isdigit()) or len(value) > 10:
        return {}
    return {key: str(min(int(value), most))}


def _number(item: Any) -> int:
    """Return the number of a list's item, and store it for the next item."""
    before = item.find_previous_sibling("li")
    start = item.parent.get("start", "1")
    item["value"] = number = before["value"] + 1 if before is not None else int(start)
    return int(number)


@functools.cache
def _converter() -> Any:
    """Return a markdownify whose time on a long list equals that on many short ones."""
    markdownify = needed("markdownify", "reading HTML")

    class Converter(markdownify.MarkdownConverter):  # type: ignore[misc, name-defined]
        def convert_li(self, element: Any, text: str, parent_tags: Any) -> str:
            """Number items by the previous one; markdownify counts all previous items each time."""
            del parent_tags
            bullet = f"{_number(element)}. " if element.parent.name == "ol" else "- "
            indent = " " * len(bullet)
            first, *others = text.strip().split("\n")
            lines = [bullet + first, *(line and indent + line for line in others)]
            return "\n".join(lines) + "\n" if first else "\n"

        def convert_pre(self, element: Any, text: str, parent_tags: Any) -> str:
            """Remove empty lines around a block of code."""
            del element, parent_tags
            n_blanks = len(text) - len(text.lstrip(" \n"))
            text = text[text.rfind("\n", 0, n_blanks) + 1 :].rstrip(" \n")
            return f"\n\n```\n{text}\n```\n\n" if text else ""

    return Converter(
        heading_style="atx",
        bullets="-",
        strip=["a", "img"],
        escape_asterisks=False,
        escape_underscores=False,
    )
