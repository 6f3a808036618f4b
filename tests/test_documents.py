"""Folders of documents: what is read, where it is cut, and what passages are called."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pdf_file import pdf
from tables import each_row

from arena.config.datasets import DatasetConfig
from arena.data.corpus import corpus_hash
from arena.data.documents.load import load_documents
from arena.data.documents.splitting import count_words, split_text
from arena.data.load import load_dataset
from arena.errors import DataError, UsageError
from arena.records import Dataset

GUIDE = """---
title: "The guide"
tags: [a, b]
---

# Install

Get the package.

## On Debian

Use apt. It takes a minute.

```
# no heading, but a comment
```

### From source

Run make.

## On Windows

Use the installer.
"""

ARABIC = b"/Encoding << /Type /Encoding /Differences [48 /afii57445] >>"
"""The digit 0 stands for the letter meem, by its name in Adobe's list of glyphs."""

PAGE = """<!doctype html><html><head><meta charset="utf-8"><title>Travel
 rules</title><style>body {color: red}</style></head><body>
<nav><a href="/">Home</a> | <a href="/x">Everything</a></nav>
<main><h1>Travel</h1><p>Book <a href="https://example.org/long">two weeks</a> before.</p>
<script>alert("never read")</script>
<h2>بدل السفر</h2>
<p>يصرف البدل قبل السفر، ولا يصرف بعده، إلا بإذن من المدير.</p>
<ul><li>one</li><li>two</li></ul></main>
<footer>© 2024</footer></body></html>"""


pytestmark = pytest.mark.usefixtures("one_reader")


def load(folder: Path, words: int = 200) -> Dataset:
    return load_documents(folder, "docs", passage_words=words)


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def titles(dataset: Dataset) -> dict[str, str]:
    return {doc_id: document.title for doc_id, document in dataset.corpus.items()}


def texts(dataset: Dataset) -> list[str]:
    return [document.text for document in dataset.corpus.values()]


def test_markdown_is_cut_along_its_headings_and_passages_say_where_they_stand(
    tmp_path: Path,
) -> None:
    guide = GUIDE.replace(
        "Run make.", "Run make, then install as the administrator of the machine or of the group."
    )

    dataset = load(write(tmp_path, {"guide.md": guide}), words=21)

    assert titles(dataset) == {
        "guide.md#1": "Install",
        "guide.md#2": "Install > On Debian",
        "guide.md#3": "Install > On Debian > From source",
        "guide.md#4": "Install > On Windows",
    }
    assert texts(dataset)[1].startswith("## On Debian\n\nUse apt.")
    assert "# no heading, but a comment" in texts(dataset)[1]
    assert dataset.notes == ()


def test_a_passage_over_two_sections_is_called_by_what_both_are_under(tmp_path: Path) -> None:
    dataset = load(write(tmp_path, {"guide.md": GUIDE}), words=21)

    assert texts(dataset)[-1].startswith("### From source")
    assert texts(dataset)[-1].endswith("## On Windows\n\nUse the installer.")
    assert list(titles(dataset).values())[-1] == "Install"


@pytest.mark.parametrize(
    ("name", "content", "title"),
    [
        ("a b/year plan.txt", "First line.\nSecond line.", "year plan"),
        ("plan.md", "---\ntitle: Plans\n---\n\n## Spring\n\nSow.", "Plans > Spring"),
        ("plan.md", "Sow.", "plan"),
        ("plan.md", "Sow and reap\n============\n\nText.", "Sow and reap"),
        ("plan.html", "<title>Plans</title><p>Sow.</p>", "Plans"),
        ("plan.pdf", pdf([["Sow."]], title="Plans"), "Plans"),
        ("plan.pdf", pdf([["Sow."]]), "plan"),
    ],
)
def test_a_passage_without_a_first_heading_is_called_as_its_file_is(
    tmp_path: Path, name: str, content: str | bytes, title: str
) -> None:
    assert list(titles(load(write(tmp_path, {name: content}))).values()) == [title]


def test_a_web_page_leaves_its_words_and_headings(tmp_path: Path) -> None:
    dataset = load(write(tmp_path, {"travel.html": PAGE}), words=20)

    assert texts(dataset) == [
        "# Travel\n\nBook two weeks before.",
        "## بدل السفر\n\nيصرف البدل قبل السفر، ولا يصرف بعده، إلا بإذن من المدير.\n\n- one\n- two",
    ]
    assert list(titles(dataset).values()) == ["Travel", "Travel > بدل السفر"]


def test_a_page_in_another_encoding_is_read_as_it_declares(tmp_path: Path) -> None:
    page = '<meta charset="windows-1256"><p>حمزة بن عبد المطلب</p>'.encode("windows-1256")

    assert texts(load(write(tmp_path, {"page.htm": page}))) == ["حمزة بن عبد المطلب"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_is_read_by_its_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    text = "שלום\r\nمرحبا\r\n你好 👩‍👩‍👧"

    assert texts(load(write(tmp_path, {"hello.txt": text.encode(encoding)}))) == [
        "שלום\nمرحبا\n你好 👩‍👩‍👧"
    ]


def test_a_pdf_is_read_across_its_pages(tmp_path: Path) -> None:
    pages = [["Leave is granted", "by the manager."], ["It is paid in full."]]

    dataset = load(write(tmp_path, {"leave.PDF": pdf(pages)}))

    assert texts(dataset) == ["Leave is granted\nby the manager.\n\nIt is paid in full."]
    assert list(dataset.corpus) == ["leave.PDF#1"]


def test_pdf_files_are_read_by_several_threads_at_once(
    own_readers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arena.data.documents.passages._n_processors", lambda: 1)  # of each
    write(tmp_path, {f"{i}.pdf": pdf([[f"Page {j}."] for j in range(15)]) for i in range(5)})

    with ThreadPoolExecutor(2) as threads:
        corpora = list(threads.map(lambda _: load(tmp_path).corpus, range(2)))

    assert all(corpus_hash(corpus) == corpus_hash(corpora[0]) for corpus in corpora)


def test_a_pdf_with_a_password_is_told_of(tmp_path: Path) -> None:
    write(tmp_path, {"a.md": "Text.", "locked.pdf": pdf([["secret"]], encrypted=True)})

    dataset = load(tmp_path)

    assert list(dataset.corpus) == ["a.md#1"]
    assert "locked.pdf (is protected by a password; leave it out" in dataset.notes[0]


def test_a_pdf_with_right_to_left_text_is_told_of(tmp_path: Path) -> None:
    arabic = pdf([["000"]]).replace(b"/Encoding /WinAnsiEncoding", ARABIC)

    dataset = load(write(tmp_path, {"arabic.pdf": arabic}))

    assert "م" in texts(dataset)[0]
    assert dataset.notes == (
        "files with right-to-left text in PDF, which does not keep its order: 1 (arabic.pdf)",
    )


def test_what_is_left_aside_is_counted_and_named(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "good.md": "Text.",
        "scan.pdf": pdf([[], []]),
        "torn.pdf": b"%PDF-1.7\nnothing",
        "latin.txt": b"na\xefve",
        "empty.md": " \n",
        "logo.png": b"\x89PNG",
        "data/table.ZIP": "a,b",
        "data/other.zip": "a,b",
        "LICENSE": "...",
        ".hidden.md": "Hidden.",
        ".git/notes.md": "Hidden.",
    }

    dataset = load(write(tmp_path, files))

    assert list(dataset.corpus) == ["good.md#1"]
    assert dataset.notes == (
        (
            "files that cannot be read, ignored: 2 (latin.txt (not UTF-8 at byte 3; save the "
            "file as UTF-8), torn.pdf (is no whole PDF; leave it out, or save it again))"
        ),
        "files without text, as a scan is before it is recognised: 2 (empty.md, scan.pdf)",
        "files of other kinds, ignored: 4 (2 .zip, 1 without a suffix, 1 .png)",
    )


def test_links_are_not_followed(tmp_path: Path) -> None:
    folder = write(tmp_path / "docs", {"a/good.md": "Text.", "../secret.md": "Secret."})
    (folder / "loop").symlink_to(folder)
    (folder / "a" / "out.md").symlink_to(tmp_path / "secret.md")
    os.mkfifo(folder / "pipe.md")

    dataset = load(folder)

    assert list(dataset.corpus) == ["a/good.md#1"]
    assert dataset.notes == (
        "files that are symbolic links, not followed: 2 (loop, a/out.md)",
        "files of other kinds, ignored: 1 (1 .md)",
    )


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has names in Unicode alone")
def test_ids_hold_no_white_space_and_keep_other_letters(tmp_path: Path) -> None:
    names = ["a b#1.md", "50%\t.md", "دليل.md", "e\u0301.md", os.fsdecode(b"\xff.md")]

    dataset = load(write(tmp_path, dict.fromkeys(names, "Text.")))

    assert sorted(dataset.corpus) == sorted(
        ["a%20b%231.md#1", "50%25%09.md#1", "دليل.md#1", "é.md#1", "%FF.md#1"]
    )


def test_a_name_that_is_no_utf_8_is_shown_without_its_odd_bytes(tmp_path: Path) -> None:
    for name in (b"caf\xe9.md", b"\xff.txt", b"picture.\xfe", b"clear\x1b[2J.txt"):
        text = b"words" if name.startswith(b"caf") else b"\xff"
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(text)

    dataset = load_documents(tmp_path, "docs", passage_words=200)

    (document,) = dataset.corpus.values()
    assert (document.doc_id, document.title) == ("caf%E9.md#1", "caf\ufffd")
    for note in dataset.notes:
        assert note.isprintable()
        note.encode()


def test_the_same_folder_is_the_same_corpus_wherever_it_is(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"z.md": GUIDE, "a/t.html": PAGE, "b.pdf": pdf([["One."]])}
    one = load(write(tmp_path / "one", files))
    other = load(write(tmp_path / "two", dict(reversed(files.items()))))

    assert list(one.corpus) == list(other.corpus)
    assert corpus_hash(one.corpus) == corpus_hash(other.corpus)


@each_row(
    ("files", "message"),
    [
        ({}, r"docs: no text in it; expected .md, .markdown, .txt, .rst, .html, .* files"),
        ({"a.one": "x"}, r"docs: no text in it; files of other kinds, ignored: 1 \(1 .one\)"),
        ({"a.pdf": pdf([[]])}, r"docs: no text in it; files without text, .*: 1 \(a.pdf\)"),
    ],
)
def test_a_folder_without_text_says_why(
    tmp_path: Path, files: dict[str, str | bytes], message: str
) -> None:
    (tmp_path / "docs").mkdir()

    with pytest.raises(DataError, match=message):
        load(write(tmp_path / "docs", files))


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, {"a.md": "Text."})

    with pytest.raises(DataError, match=r"nowhere: no such folder; expected a folder with .md"):
        load(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"a.md: is a file; expected a folder with .md"):
        load(tmp_path / "a.md")


def test_queries_and_results_among_the_documents_are_none_of_them(tmp_path: Path) -> None:
    files = ["docs/queries.txt", "docs/guide.txt", "docs/runs/x/report.html", "docs/arena.toml"]
    write(tmp_path, dict.fromkeys([*files, "docs/deeper/runs/log.txt"], "Text."))
    config = DatasetConfig(name="mine", documents=Path("docs"), queries=Path("docs/queries.txt"))

    dataset = load_dataset(config.anchored(tmp_path))

    assert list(dataset.corpus) == ["guide.txt#1", "deeper/runs/log.txt#1"]


def test_a_text_that_is_marked_as_a_heading_is_no_title(tmp_path: Path) -> None:
    dataset = load(write(tmp_path, {"odd.md": "# " + "word " * 5000}))

    assert len(dataset.corpus) > 20
    assert all(len(title) <= 200 for title in titles(dataset).values())


@pytest.mark.parametrize("charset", ["unicode_escape", "utf-7", "rot13", "nonsense"])
def test_a_page_that_declares_an_odd_encoding_breaks_nothing(tmp_path: Path, charset: str) -> None:
    page = f"<meta charset={charset}><p>\\ud800 +2AA- na\xefve".encode("latin-1")

    dataset = load(write(tmp_path, {"page.html": page, "good.md": "Text."}))

    assert "good.md#1" in dataset.corpus
    assert corpus_hash(dataset.corpus)


def test_a_missing_package_is_named_with_its_extra(
    own_readers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = 'raise ModuleNotFoundError(name="semantic_text_splitter")'
    write(tmp_path, {"docs/a.md": "Text.", "packages/semantic_text_splitter.py": missing})
    monkeypatch.syspath_prepend(tmp_path / "packages")

    with pytest.raises(UsageError, match=r'pip install "retrieval-arena\[documents\]"$'):
        load(tmp_path / "docs")


def test_documents_are_asked_by_queries_of_ones_own(tmp_path: Path) -> None:
    write(tmp_path, {"docs/guide.md": GUIDE, "queries.txt": "how do I install it?\n"})
    config = DatasetConfig(name="mine", documents=Path("docs"), queries=Path("queries.txt"))

    dataset = load_dataset(config.anchored(tmp_path))

    assert dataset.name == "mine"
    assert list(dataset.corpus) == ["guide.md#1"]
    assert [query.text for query in dataset.queries.values()] == ["how do I install it?"]
    assert dataset.qrels == {}


ANY_TEXT = st.text(
    st.sampled_from("ab .\n#`>-*[](){}<>|\t中文の ทไ مرحبا\u202e\u200f👩‍👧\x00\u2028\ufeff"),
    max_size=600,
)


@given(text=ANY_TEXT, markdown=st.booleans(), words=st.integers(20, 60))
def test_every_word_is_in_one_passage_and_no_passage_is_too_long(
    *, text: str, markdown: bool, words: int
) -> None:
    passages = list(split_text(text, markdown=markdown, words=words))

    assert all(count_words(passage.text) <= words for passage in passages)
    assert "".join("".join(p.text for p in passages).split()) == "".join(text.split())


def test_a_long_text_is_cut_in_blocks_without_losing_a_word() -> None:
    text = "".join(f"# Part {i}\n\n{'word ' * 150}\n\n" for i in range(1500))

    passages = list(split_text(text, markdown=True, words=200))

    assert "".join("".join(p.text for p in passages).split()) == "".join(text.split())
    assert all(p.headings == (p.text.partition("\n")[0].removeprefix("# "),) for p in passages)


@each_row(
    ("text", "words"),
    [
        ("three plain words", 3),
        ("", 0),
        ("你好世界", 2),
        ("สวัสดี", 3),
        ("حمزة بن عبد المطلب", 4),
        ("x" * 50, 3),
        ("mixed 你好 text", 3),
    ],
)
def test_words_are_counted_in_every_script(text: str, words: int) -> None:
    assert count_words(text) == words
