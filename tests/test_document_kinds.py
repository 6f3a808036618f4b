"""Office files, tables, notebooks, books and mails as documents: what is kept of each."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import pytest
from office_makers import (
    bullet,
    claiming,
    docx,
    epub,
    notebook,
    ods,
    odt,
    paragraph,
    pptx,
    word_table,
    xlsx,
    zipped,
)
from pdf_file import pdf
from tables import each_row

from arena.config.datasets import DatasetConfig
from arena.data.documents.load import load_documents
from arena.data.documents.reader_commands import ReaderCommands
from arena.data.documents.splitting import count_words
from arena.data.load import load_dataset
from arena.errors import UsageError
from arena.records import Dataset
from arena.site.secrets import publishable

PICTURE = "data:image/png;base64," + "iVBORw0KGgoAAAANSUhEUgAAAAUA" * 4000


pytestmark = pytest.mark.usefixtures("one_reader")


def load(folder: Path, files: dict[str, bytes | str], words: int = 200) -> Dataset:
    for name, content in files.items():
        raw = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(raw)
    return load_documents(folder, "docs", passage_words=words)


def passages(dataset: Dataset) -> list[tuple[str, str]]:
    return [(document.title, document.text) for document in dataset.corpus.values()]


def test_a_word_file_keeps_headings_lists_and_tables_in_their_order(tmp_path: Path) -> None:
    file = docx(
        paragraph("Leave", "Heading1"),
        paragraph("Ask your manager &amp; wait."),
        bullet("paid"),
        bullet("twice a year", 1),
        paragraph("Days", "Heading2"),
        word_table([["Grade", "Days"], ["A", "30"], ["B", "25"]]),
    )

    assert passages(load(tmp_path, {"leave.docx": file})) == [
        (
            "Leave",
            (
                "# Leave\n\nAsk your manager & wait.\n\n- paid\n\n  - twice a year\n\n## Days\n\n"
                "| Grade | Days |\n| --- | --- |\n| A | 30 |\n| B | 25 |"
            ),
        )
    ]


@each_row(
    ("name", "file", "expected"),
    [
        (
            "talk.pptx",
            pptx([("Why", "Because it works."), ("How", "With care.")]),
            "## Why\n\nBecause it works.\n\n## How\n\nWith care.",
        ),
        ("letter.odt", odt("Hello", "It rains."), "# Hello\n\nIt rains."),
        (
            "book.epub",
            epub(["<h1>One</h1><p>First.</p><ul><li>a</li></ul>", "<h1>Two</h1><p>Second.</p>"]),
            "# Book\n\n# One\n\nFirst.\n\n- a\n\n# Two\n\nSecond.",
        ),
        ("old.rtf", rb"{\rtf1\ansi One \b bold\b0  word.\par Two.}", "One **bold** word.\n\nTwo."),
    ],
)
def test_slides_letters_and_books_become_markdown(
    tmp_path: Path, name: str, file: bytes, expected: str
) -> None:
    assert [text for _, text in passages(load(tmp_path, {name: file}))] == [expected]


FAQ = [["Question", "Answer"], ["How?", "So."], ["", ""], ["Why?", ""]]


@each_row(
    ("name", "file", "title"),
    [
        ("faq.csv", "Question,Answer\r\nHow?,So.\r\n,\r\nWhy?,\r\n", "faq"),
        ("faq.tsv", "Question\tAnswer\nHow?\tSo.\nWhy?\n", "faq"),
        ("faq.csv", "sep=;\nQuestion;Answer\nHow?;So.\nWhy?;", "faq"),
        ("faq.csv", 'Question|Answer\nHow?|"So."\nWhy?|\n'.encode("utf-16"), "faq"),
        ("faq.xlsx", xlsx({"Help": FAQ, "Secret": FAQ}, hidden=["Secret"]), "faq > Help"),
        ("faq.ods", ods("Help", FAQ), "faq > Help"),
    ],
)
def test_a_row_of_a_table_is_a_passage_that_names_its_columns(
    tmp_path: Path, name: str, file: bytes | str, title: str
) -> None:
    assert passages(load(tmp_path, {name: file})) == [
        (title, "Question: How?\nAnswer: So."),
        (title, "Question: Why?"),
    ]


def test_lines_above_a_table_are_no_header(tmp_path: Path) -> None:
    rows = [
        ["Prices of 2026"],
        [],
        ["Item", "Price", "Since"],
        ["Pen", 2.5, 46023.0],
        ["Ink", 9, ""],
    ]

    assert [text for _, text in passages(load(tmp_path, {"a.xlsx": xlsx({"S": rows})}))] == [
        "Prices of 2026",
        "Item: Pen\nPrice: 2.5\nSince: 2026-01-01",
        "Item: Ink\nPrice: 9",
    ]


@each_row(
    ("table", "rows"),
    [
        ("1,2\n3,4\n", ["1\n2", "3\n4"]),
        ("alone\nanother line\n", ["alone", "another line"]),
        ("name,price\n", ["name\nprice"]),
        ("a,b\n1,2,3\n4\n", ["a: 1\nb: 2\n3", "a: 4"]),
        ('a,b\n"two\nlines",x\n', ["a: two\nlines\nb: x"]),
    ],
)
def test_no_row_of_an_odd_table_is_lost(tmp_path: Path, table: str, rows: list[str]) -> None:
    assert [text for _, text in passages(load(tmp_path, {"a.csv": table}))] == rows


def test_a_row_longer_than_a_passage_is_cut_and_each_part_names_its_column(tmp_path: Path) -> None:
    answer = " ".join(f"word{n}." for n in range(100))

    found = passages(load(tmp_path, {"faq.csv": f"Question,Answer\nHow?,{answer}\n"}, words=30))

    texts = [text for _, text in found]
    assert texts[0].startswith("Question: How?")
    assert all("Answer: word" in text for text in texts[1:])
    assert all(count_words(text) <= 30 for text in texts)
    lines = [line for text in texts for line in text.split("\n") if line.startswith("Answer: ")]
    assert " ".join(line.removeprefix("Answer: ") for line in lines) == answer


def test_a_notebook_keeps_its_words_its_code_and_what_it_prints(tmp_path: Path) -> None:
    picture = {"data": {"image/png": PICTURE.partition(",")[2], "text/plain": "<Figure>"}}
    bar = {"output_type": "stream", "text": ["10%\r", "100%\r\n", "\x1b[31mdone\x1b[0m\n"]}
    file = notebook(
        {"cell_type": "markdown", "source": ["# Load\n", f"![plot]({PICTURE})"]},
        {"cell_type": "code", "source": "# no heading\nload()", "outputs": [picture, bar]},
        {"cell_type": "code", "source": "fail()", "outputs": [{"output_type": "error"}]},
    )

    assert passages(load(tmp_path, {"a.ipynb": file})) == [
        (
            "Load",
            (
                "# Load\nplot\n\n```\n# no heading\nload()\n```\n\n```\n<Figure>\n```\n\n"
                "```\n100%\ndone\n```\n\n```\nfail()\n```"
            ),
        )
    ]


RST = """
=====
Guide
=====

See :ref:`the usage <usage>` of :class:`~arena.Thing` and :odd:`words`.

.. versionadded:: 3.2
   The *new* way.

.. tab-set::

   .. tab-item:: Linux
      :sync: linux

      Use apt.

.. code-block:: python
   :linenos:

   # no heading
   run()

.. include:: SECRET
.. raw:: html
   :file: SECRET
.. csv-table:: Rows
   :file: SECRET

Usage
=====

+---+---+
| A | B |
+===+===+
| 1 | 2 |
+---+---+
"""


def test_restructured_text_keeps_unknown_directives_and_reads_no_other_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("hunter2,hunter2\n")
    folder = tmp_path / "docs"
    folder.mkdir()

    ((title, text),) = passages(load(folder, {"a.rst": RST.replace("SECRET", str(secret))}))

    assert title == "Guide"
    assert "hunter2" not in text
    for words in (
        "See the usage of Thing and words.",
        "3.2\nThe *new* way.",
        "Linux\n\nUse apt.",
        "```\n# no heading\nrun()\n```",
        "## Usage\n\n| A | B |\n| --- | --- |\n| 1 | 2 |",
    ):
        assert words in text


def mail(subject: str, text: str, html: str = "") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Anna <anna@example.com>"
    message["Subject"] = subject
    message.set_content(text)
    if html:
        message.add_alternative(html, subtype="html")
    return message


def test_a_mail_is_its_plain_text_with_the_mails_within_and_attachments_by_name(
    tmp_path: Path,
) -> None:
    outer = mail("Grüße", "Hello.\n", f"<p>Hello <img src='{PICTURE}'></p>")
    outer.add_attachment(mail("Inner", "Forwarded."))
    outer.add_attachment(pdf([["never read"]]), "application", "pdf", filename="bill.pdf")

    assert passages(load(tmp_path, {"a.eml": bytes(outer)})) == [
        (
            "Grüße",
            (
                "From: Anna <anna@example.com>\n\nHello.\n\nAttachments: bill.pdf\n\n"
                "Subject: Inner\nFrom: Anna <anna@example.com>\n\nForwarded."
            ),
        )
    ]


def test_each_mail_of_a_mailbox_has_passages_of_its_own(tmp_path: Path) -> None:
    page = EmailMessage()
    page["Subject"] = "News"
    page.set_content("<h1>Big</h1><p>It <b>rains</b>.</p>", subtype="html")
    start = b"From anna@example.com Mon Jan  5 10:00:00 2026\n"
    box = start + bytes(mail("One", "From me\n")).replace(b"\nFrom me", b"\n>From me")
    box += b"\n" + start + bytes(page)

    assert passages(load(tmp_path, {"a.mbox": box})) == [
        ("a > One", "From: Anna <anna@example.com>\n\nFrom me"),
        ("a > News > Big", "# Big\n\nIt **rains**."),
    ]


@each_row("form", ["![chart]({})", "<img alt='chart' src='{}'>", "![chart][1]\n\n[1]: {}"])
def test_markdown_with_pictures_makes_one_passage_and_not_fifty(tmp_path: Path, form: str) -> None:
    body = "\n\n".join(f"Step {n}.\n\n{form.format(PICTURE)}" for n in range(10))

    assert len(load(tmp_path, {"a.md": f"# Guide\n\n{body}\n"}).corpus) == 1


def hostile_mail() -> bytes:
    message = mail("0", "deep")
    for number in range(1, 60):
        outer = mail(str(number), "level")
        outer.add_attachment(message)
        message = outer
    return bytes(message)


ENTITY = (
    '<!DOCTYPE d [<!ENTITY e SYSTEM "file://{}"><!ENTITY a "lol"><!ENTITY b "'
    + "&a;" * 50
    + '"><!ENTITY c "'
    + "&b;" * 50
    + '">]>'
)
SHEET = "xl/worksheets/sheet1.xml"
FAR = '<row r="1048576"><c r="XFD1048576"><v>7</v></c></row>'


@pytest.mark.parametrize(
    ("name", "file", "reason"),
    [
        (
            "a.docx",
            lambda: docx(paragraph("a " * 70_000_000)),
            "unpacks to more than a document may hold",
        ),
        (
            "a.xlsx",
            claiming(xlsx({"S": FAQ}), "xl/worksheets/sheet1.xml", 2**31),
            "unpacks to more than 1024 MB",
        ),
        ("a.xlsx", claiming(xlsx({"S": FAQ}), SHEET, 10), "is no whole workbook .* declared"),
        ("a.xlsx", xlsx({"S": [["a"]]}, extra=FAR), "ends its reader|takes more memory"),
        ("a.docx", docx(paragraph("Text. " * 100))[:-300], "is no .docx file|is no whole .docx"),
        ("a.xlsx", xlsx({"S": FAQ})[:-300], "is no whole workbook"),
        ("a.docx", xlsx({"S": FAQ}), "is a .xlsx file; rename it"),
        ("a.docx", b"<html>saved as Word</html>", "is no .docx file"),
        ("a.xlsx", docx(paragraph("Text.")), "is no whole workbook"),
        ("a.pptx", zipped({"x": "y"}), "is no .pptx file"),
        ("a.epub", b"PK\x03\x04", "is no .epub file"),
        ("a.ipynb", '{"cells": [', "is no notebook"),
        ("a.ipynb", "[]", "is no notebook"),
        ("a.eml", "no mail at all", "is no mail"),
        ("a.mbox", "no mailbox", "is no mailbox"),
        ("a.csv", b"caf\xe9,1\n", "not UTF-8 at byte 4"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 40 else "",
)
def test_a_hostile_or_broken_file_is_named_and_harms_no_other(
    tmp_path: Path, name: str, file: bytes | str | Callable[[], bytes], reason: str
) -> None:
    content = file() if callable(file) else file

    dataset = load(tmp_path, {name: content, "good.md": "Text."})

    assert list(dataset.corpus) == ["good.md#1"]
    assert re.search(rf"cannot be read, ignored: 1 \({name} \(({reason})", dataset.notes[0])


def test_an_encrypted_workbook_or_word_file_asks_for_one_without_a_password(tmp_path: Path) -> None:
    files = {name: compound("EncryptedPackage") for name in ("a.docx", "a.xlsx")}

    dataset = load(tmp_path, {**files, "good.md": "Text."})

    assert dataset.notes[0].count("is protected by a password") == 2


def compound(stream: str) -> bytes:
    """Return a compound file (MS-CFB) with one empty stream, as Office encrypts into."""
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + b"\x3e\0\x03\0\xfe\xff\x09\0\x06\0"
    free, end = b"\xff\xff\xff\xff", b"\xfe\xff\xff\xff"
    head += bytes(10) + (1).to_bytes(4, "little") + (1).to_bytes(4, "little") + bytes(4)
    head += (4096).to_bytes(4, "little") + end + bytes(4) + end + bytes(4)
    head += bytes(4) + free * 108

    def entry(name: str, kind: int, child: int) -> bytes:
        raw = name.encode("utf-16-le") + b"\0\0" if name else b""
        named = raw.ljust(64, b"\0") + len(raw).to_bytes(2, "little")
        return (
            (named + bytes([kind, 1]) + free * 2 + child.to_bytes(4, "little")).ljust(116, b"\0")
            + end
            + bytes(8)
        )

    table = b"\xfd\xff\xff\xff" + end + free * 126
    none = 0xFFFFFFFF
    directory = entry("Root Entry", 5, 1) + entry(stream, 2, none)
    return head + table + directory.ljust(512, b"\0")


def test_entities_of_xml_are_not_resolved(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("hunter2")
    folder = tmp_path / "docs"
    folder.mkdir()
    doctype = ENTITY.replace("{}", str(secret))
    files = {
        "a.docx": docx(paragraph("Plain &e; &c;"), doctype=doctype),
        "b.epub": epub(["<p>Plain &e;</p>"]),
    }

    dataset = load(folder, {**files, "good.md": "Text."})

    assert "good.md#1" in dataset.corpus
    everything = str(passages(dataset)) + str(dataset.notes)
    assert "hunter2" not in everything
    assert "lollol" not in everything


def test_mails_within_mails_are_read_a_few_deep(tmp_path: Path) -> None:
    ((_, text),) = passages(load(tmp_path, {"a.eml": hostile_mail()}))

    assert text.count("level") == 6
    assert "deep" not in text


# Commands


PYTHON = sys.executable


def load_with(folder: Path, **commands: str) -> Dataset:
    readers = ReaderCommands({f".{suffix}" if suffix else "": c for suffix, c in commands.items()})
    return load_documents(folder, "docs", passage_words=200, readers=readers)


def test_a_command_reads_what_nothing_else_does_and_no_shell_sees_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "$(touch hacked); a.xyz").write_text("# Odd\n\nwords")
    (folder / "LICENSE").write_text("free")
    (folder / "b.md").write_text("# Own")
    (folder / "c.txt").write_text("plain")
    config = DatasetConfig(
        name="mine",
        documents=Path("docs"),
        queries=Path("q.txt"),
        reader="sh -c 'cat \"$1\"; echo; echo $1' x {file}",
    )
    (tmp_path / "q.txt").write_text("what?")

    dataset = load_dataset(config.anchored(tmp_path))

    texts = {doc_id: document.text for doc_id, document in dataset.corpus.items()}
    assert texts["$(touch%20hacked);%20a.xyz#1"].startswith("# Odd\n\nwords")
    assert "hacked" not in texts["$(touch%20hacked);%20a.xyz#1"]
    assert texts["LICENSE#1"].startswith("free")
    assert texts["b.md#1"] == "# Own"
    assert not list(tmp_path.rglob("hacked"))


def test_a_command_may_replace_a_reader_of_arena(tmp_path: Path) -> None:
    (tmp_path / "a.MD").write_text("own")
    (tmp_path / "b.txt").write_text("plain")

    dataset = load_with(tmp_path, md="echo replaced {file}")

    assert [text.split()[0] for _, text in passages(dataset)] == ["replaced", "plain"]


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import sys; sys.exit('no \\x1b[2J idea')", "ends with status 1: no [2J idea"),
        ("import subprocess; subprocess.run(['sleep', '99'])", "takes more than 0.3 s to read it"),
        ("while True: print('y' * 10**6)", "writes more than 1 MB about it"),
        ("import os; os.kill(os.getpid(), 11)", "ends with status -11"),
        ("import sys; sys.stdout.buffer.write(b'caf\\xe9')", "not UTF-8 at byte 4"),
    ],
    ids=["fails", "hangs", "floods", "crashes", "other encoding"],
)
def test_a_command_that_fails_costs_that_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, problem: str
) -> None:
    if "sleep" in code:
        monkeypatch.setattr("arena.data.documents.reader_commands.LONGEST_S", 0.3)
    monkeypatch.setattr("arena.data.documents.reader_commands.MOST_BYTES", 2**20)
    (tmp_path / "a.xyz").write_text("x")
    (tmp_path / "b.md").write_text("good")
    script = tmp_path.parent / f"{tmp_path.name}.py"
    script.write_text(code)

    dataset = load_with(tmp_path, xyz=f"{PYTHON} {script} {{file}}")

    assert list(dataset.corpus) == ["b.md#1"]
    assert problem in dataset.notes[0]
    assert dataset.notes[0].isprintable()


def test_what_a_command_wrote_is_cached_until_the_command_changes(tmp_path: Path) -> None:
    script, count = tmp_path / "read.py", tmp_path / "count"
    script.write_text(f"open({str(count)!r}, 'a').write('x'); print('one')")
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.xyz").write_text("x")
    command = f"{PYTHON} {script} {{file}}"

    load_with(folder, xyz=command)
    first = load_with(folder, xyz=command)
    script.write_text(f"open({str(count)!r}, 'a').write('x'); print('another')")
    second = load_with(folder, xyz=command)

    assert count.read_text() == "xx"
    assert [text for _, text in passages(first) + passages(second)] == ["one", "another"]


def test_a_command_that_is_not_there_is_an_error_before_any_file_is_read() -> None:
    with pytest.raises(UsageError, match=r"^reader 'no-such-program' is not found; install it"):
        ReaderCommands({"": "no-such-program {file}"})


@each_row(
    ("reader", "problem"),
    [
        ("pandoc -t markdown", "does not name the file that it reads"),
        ({"odt": "pandoc 'x {file}"}, "No closing quotation"),
        ({"odt": "{file}"}, "does not name the file that it reads"),
    ],
)
def test_a_reader_that_cannot_work_is_refused(reader: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        DatasetConfig.model_validate(
            {"name": "x", "documents": "docs", "queries": "q.txt", "reader": reader}
        )


def test_a_published_configuration_hides_what_a_reader_may_hold() -> None:
    text = publishable('reader = "ocr --token abc123 -k s3cret {file}"')

    assert text == 'reader = "ocr --token (hidden) -k (hidden) {file}"'
