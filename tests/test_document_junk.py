"""What is no text in documents, what they can be without harm, and that nothing takes long."""

from __future__ import annotations

import base64
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tables import each_row

from arena.data.documents.file_passages import cut_file, unpacked
from arena.data.documents.file_text import UnreadableError
from arena.data.documents.files import read_text
from arena.data.documents.load import load_documents
from arena.data.documents.reader_processes import Cutter

BYTES = random.Random(4).randbytes(30_000)
PICTURE = base64.b64encode(BYTES).decode()
URI = f"data:image/png;base64,{PICTURE}"
LINES = "\n".join(PICTURE[start : start + 76] for start in range(0, 1000, 76))
SCRIPT = "function(a,b){for(var c=0;c<b.d;c++){a[c]=b.e(c)>>>0x1F^c}return!a}," * 30
SVG = '<svg viewBox="0 0 9 9">\n\n<path d="M0 0h9v9z"/><text>axis</text></svg>'


def text(content: str, suffix: str = ".md") -> str:
    return read_text(content.encode(), suffix).text


@each_row(
    ("markdown", "left"),
    [
        (f"Before ![a chart]({URI}) after.", "Before a chart after."),
        (f'Before ![a chart]({URI} "Chart") after.', "Before a chart after."),
        (f"[![badge]({URI})](https://x.org) Text.", "[badge](https://x.org) Text."),
        (f"A [file](<{URI}>) to save.", "A file to save."),
        (f"See ![][one].\n\n[one]: <{URI}>\n\nEnd.", "See ![][one].\n\n\nEnd."),
        (f'Text <img alt="x" src="{URI}"> goes on.', "Text  goes on."),
        (f"a {{background: url({URI})}}", "a {background: }"),
        (f"![a]({URI.replace(PICTURE, LINES)}) End.", "a End."),
        (f"![a](data:image/svg+xml,{'%3Csvg%20x%3D1' * 9}) End.", "a End."),
        ("Write data:text/plain,hello to try.", "Write data:text/plain,hello to try."),
        ("Open it: [chart](https://x.org/#R" + PICTURE[:900] + ")", "Open it: chart"),
        (f"Key:\n\n-----BEGIN KEY-----\n{LINES}\n-----END KEY-----\n\nEnd.", "Key:\n\n-----"),
        (f"Token {PICTURE[:300]} given.", "Token  given."),
        (f"Digest {BYTES[:300].hex()} known.", "Digest  known."),
        (f"Script:\n\n{SCRIPT}\n\nEnd.", "Script:\n\n\n\nEnd."),
        ("x" * 1_000_000 + "\n\nEnd.", "\n\nEnd."),
    ],
)
def test_what_machines_wrote_for_machines_leaves_no_text(markdown: str, left: str) -> None:
    found = text(markdown)

    assert found == left or (left.endswith("-----") and len(found) < 60)


@each_row(
    "markdown",
    [
        "| a | b |\n|" + "-" * 1200 + "|---|",
        "=" * 1200,
        "| " + " | ".join(f"cell{i}" for i in range(300)) + " |",
        "https://example.org/search?q=" + "+".join(["retrieval", "arena"] * 12),
        "See /usr/share/" + "documentation/" * 30 + "README.md",
        "sha256 " + "0123456789abcdef" * 4,
        "日本語の文章はこのように空白なしで続きます。" * 100,
        "ภาษาไทยเขียนติดกันโดยไม่เว้นวรรคระหว่างคำ" * 60,
        "བོད་ཡིག་ནི་བར་སྟོང་མེད་པར་འབྲི།" * 80,
        "word " * 2000,
        "1.5\t2.5\t3.5\t" * 200,
        "> quoted\n> " * 40,
        "see `<!-- a comment -->` and `<svg>x</svg>` there",
        "```html\n<!-- kept -->\n<style>p {}</style>\n<a id='x'></a>\n```",
        "    <!-- kept, for it is code -->",
        "use `<!--` to begin and `-->` to end",
        "<!-- never closed",
        "[one](#two) and [→](https://x.org) and {#not-a-heading}",
        "# Braces {in} a heading {and} more }",
    ],
)
def test_what_people_write_stays_as_it_is(markdown: str) -> None:
    assert text(markdown) == markdown


@each_row(
    ("markdown", "left"),
    [
        ("One.\n\n<!-- TODO\n\nlater -->\n\nTwo.", "One.\n\n\nTwo."),
        (f"One.\n\n{SVG}\n\nTwo.", "One.\n\n\nTwo."),
        ("One <STYLE>p {x: y}</STYLE>two.", "One two."),
        ("One <script>if (a < b) c()</script> two.", "One two."),
        ("<noscript>Switch it on</noscript>One.", "One."),
        ("## Sorting [¶](#sorting)\n\nText.", "## Sorting \n\nText."),
        ('## Sorting [🔗](#sorting "Permalink")', "## Sorting "),
        ("## <a name='sort'></a> Sorting", "## Sorting"),
        ('## Sorting <a class="anchor" href="#sort">#</a>', "## Sorting "),
        ("## Sorting {#sorting-how-to}\n\nText.", "## Sorting\n\nText."),
        ("## Sorting {: #sorting } ##\n\nText.", "## Sorting\n\nText."),
        ("+++\ntitle = 'Plans'\n+++\nText.", "Text."),
    ],
)
def test_what_a_browser_does_not_show_leaves_no_text(markdown: str, left: str) -> None:
    assert text(markdown) == left


@each_row(
    ("front", "title"),
    [
        ("---\ntitle: Plans\n---\n", "Plans"),
        ('---\ntitle: "Plans: all"\n---\n', "Plans: all"),
        ("+++\ntitle = 'Plans'\n+++\n", "Plans"),
        ("---\ntitle: |\n  Plans\n---\n", ""),
        ("---\ntitle: a" + " " * 60_000 + "b\n---\n", "a" + " " * 60_000 + "b"),
        ("---\ntags: [a]\n---\n", ""),
    ],
)
def test_front_matter_gives_the_title_alone(front: str, title: str) -> None:
    found = read_text(f"{front}Sow.".encode(), ".md")

    assert (found.title, found.text) == (title, "Sow.")


@each_row(
    "link",
    [
        '<a class="headerlink" href="#x" title="Link to this heading">¶</a>',
        '<a class="anchor" href="#x"><svg><title>Link</title></svg></a>',
        '<a class="hash-link" href="#x" aria-label="Direct link to X">&#8203;</a>',
        '<a href="#x">🔗</a>',
        '<span><a class="mark" href="#x" id="x">#</a></span>',
        "<button>Copy</button>",
        f'<img src="{URI}" alt="">',
        '<span style="display: none">secret</span>',
        "<span hidden>secret</span>",
    ],
)
def test_signs_and_pictures_in_a_heading_leave_its_words(link: str) -> None:
    found = text(f"<h1 id='x'>Sorting HOW TO{link}</h1><p>Text.</p>", ".html")

    assert found == "# Sorting HOW TO\n\nText."


def test_links_with_words_and_to_elsewhere_keep_what_they_say() -> None:
    page = '<h2><a href="#a">1.</a> <a href="#a">Sorting</a> <a href="/next">→</a></h2><p>T'

    assert text(page, ".html") == "## 1. Sorting →\n\nT"


def test_a_page_of_elements_without_ends_is_read_as_browsers_read_it() -> None:
    items = "".join(f"<li>item {number}" for number in range(3000))
    page = f"<p>one<p>two<ol start=5>{items}</ol><table><tr><td>a<td>b<tr><td>c<td>d</table>"

    found = text(page, ".html")

    assert found.startswith("one\n\ntwo\n\n5. item 0\n6. item 1\n")
    assert "\n3004. item 2999\n" in found
    assert found.endswith("| a | b |\n| c | d |")


def test_xhtml_elements_without_content_swallow_nothing() -> None:
    page = '<?xml version="1.0"?><html><head><title/><script src="a"/></head><p>One <a id="x"/>two.'

    assert text(page, ".html") == "One two."


def test_a_page_whose_main_part_is_empty_is_read_whole() -> None:
    assert text("<main></main><div>Text.</div>", ".html") == "Text."


@each_row("name", ["soup", "list", "h" + "9" * 5000, "x:y"])
def test_an_element_of_any_name_only_holds_what_is_in_it(name: str) -> None:
    assert text(f"<p>a <{name}>b</{name}> c", ".html") == "a b c"


@each_row("value", ["²", "9" * 5000, "-1", "x", ""])
def test_an_attribute_that_is_no_number_counts_as_none(value: str) -> None:
    page = f'<ol start="{value}"><li>a<li>b</ol><table><tr><td colspan="{value}">c</table>'

    assert text(page, ".html").startswith(("1. a\n2. b", "1000000000. a"))


@each_row("digits", ["9" * 5000, "x" + "f" * 5000, "0" * 5000 + "65"])
@each_row("end", ["", ";"])
def test_a_character_reference_of_any_length_is_read(digits: str, end: str) -> None:
    found = text(f"<p>before &#{digits}{end} after", ".html")

    assert found in ("before \ufffd after", "before A after")


def test_deep_nesting_loses_no_word() -> None:
    found = text("<div>" * 20_000 + "deep " + "<blockquote><ul><li>" * 500 + "deeper", ".html")

    assert "deep" in found
    assert found.endswith("deeper")
    assert len(found) < 1000


HARD = {
    ".html": (
        *('<p a="', "< ", "<!--", "<ul><li>", "<a><b></a>", "&#", "<ol><li>x", "<script ", "<i> "),
        *("<meta charset=", "<pre>x  \n", " ", "<thead><tr><td>x", "<blockquote>", "<?xml x="),
    ),
    ".md": (
        *(
            "> ",
            "- ",
            "*a ",
            "[",
            "[a](#",
            "`a``",
            "<a ",
            "<!--",
            "data:;a",
            "# {#",
            "[a\n",
            "Ab1/",
        ),
        *("data:a/b,", "title: "),
    ),
    ".txt": (" ", "\n", "\u0301", "中", "ก"),
}
"""What could take a reader time that grows with the square of how often it is there."""


@pytest.fixture(scope="module")
def cutter() -> Iterator[Cutter]:
    with pytest.MonkeyPatch.context() as patch, Cutter() as cutter:
        patch.setattr(
            "arena.data.documents.reader_processes.BASE_S", 2.0
        )  # of computing, whatever else runs
        patch.setattr("arena.data.documents.reader_processes.PER_MB_S", 0.0)
        yield cutter


@pytest.mark.parametrize("suffix", HARD)
def test_repeated_marks_take_no_more_time_than_there_are_of_them(
    cutter: Cutter, suffix: str
) -> None:
    slow = []
    for unit in HARD[suffix]:
        content = f"---\n{unit * (60_000 // len(unit))}y\n---\nx"
        cut = unpacked(cutter.cut(content.encode(), suffix, 200)[0])
        if cut is None or cut.problem:
            slow.append(unit)

    assert slow == []


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(
    units=st.lists(st.sampled_from([u for units in HARD.values() for u in units]), min_size=2),
    suffix=st.sampled_from([".html", ".md", ".txt"]),
)
def test_any_mixture_of_marks_is_cut(units: list[str], suffix: str) -> None:
    content = "".join(units) * (10_000 // sum(map(len, units)) + 1)

    assert not cut_file(content.encode(), suffix, 200).problem


@each_row(
    ("raw", "reason"),
    [
        ("words".encode("utf-16-le"), "holds NUL bytes"),
        (b"\x7fELF\0\0\0\0\1\2\3", "holds NUL bytes"),
        (b"caf\xe9 " + "café".encode(), "not UTF-8 at byte 4"),
        (b"\xff\xfea", "not UTF-16"),
    ],
)
def test_what_is_no_text_is_refused_with_its_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(UnreadableError, match=f"^{reason}.*; save the file as UTF-8$"):
        read_text(raw, ".txt")


@each_row("encoding", ["utf-32", "utf-16", "utf-8-sig"])
def test_every_byte_order_mark_is_known(encoding: str) -> None:
    assert read_text("naïve 你好".encode(encoding), ".txt").text == "naïve 你好"


@pytest.mark.usefixtures("one_reader")
def test_a_picture_makes_no_passage_and_a_rule_none_either(tmp_path: Path) -> None:
    rules = "\n\n".join(["-" * 3] * 5)
    (tmp_path / "a.md").write_text(f"# Chart\n\n![the chart]({URI})\n\nIt rises.\n")
    (tmp_path / "b.md").write_text(rules)

    dataset = load_documents(tmp_path, "d", passage_words=200)

    assert [document.text for document in dataset.corpus.values()] == [
        "# Chart\n\nthe chart\n\nIt rises."
    ]
    assert "without text, as a scan is before it is recognised: 1 (b.md)" in dataset.notes[0]


@pytest.mark.skipif(sys.platform == "darwin", reason="links and pipes as Linux has them")
@pytest.mark.usefixtures("one_reader")
def test_links_in_circles_and_what_is_no_file_are_counted(tmp_path: Path) -> None:
    (tmp_path / "good.md").write_text("Text.")
    (tmp_path / "self.md").symlink_to(tmp_path / "self.md")
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    os.mkfifo(tmp_path / "pipe.txt")

    dataset = load_documents(tmp_path, "d", passage_words=200, leave_out=[tmp_path / "self.md"])

    assert list(dataset.corpus) == ["good.md#1"]
    assert dataset.notes[0] == "files that are symbolic links, not followed: 2 (a, b)"
