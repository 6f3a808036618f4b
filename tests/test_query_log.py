"""Queries from logs of searches: messy exports, spellings, personal data, the sample and clicks."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row

from arena.cli import main
from arena.config.datasets import DatasetConfig
from arena.data.load import load_dataset
from arena.data.queries import query_id_of, read_queries
from arena.errors import DataError, UsageError
from arena.progress import reporter
from arena.querying.from_log import LogOptions, LogResult, queries_from_log
from arena.querying.log_counts import Counted
from arena.querying.log_sample import PARTS, draw, split_evenly
from arena.querying.personal_data import masked
from arena.querying.query_log import LoggedSearch, QueryLog
from arena.querying.settings import GenerationOptions
from arena.querying.spelling_variants import normal_form, respelt, spellings

QUIET = reporter(quiet=True)
PAGE = Path(__file__).resolve().parents[1] / "docs" / "data.md"

EXPORT = """\ufeffSearch Term;Total Searches;Date;Clicked IDs
reset password;120;2026-01-03;d1 d2
Reset Password?;30;2026-01-05T10:00:00Z;d1
reset pasword;2;2026-02-01;
"how do I ""mute"" it; now";1,204;1767225600;[""d3"", 4]
;7;2026-01-01;
call me +49 30 1234567;1;2026-01-01;d9
torn row;3
vpn;many;2026-01-01;
vpn;-1;2026-01-01;
vpn;5;no day;d2|d2
"""


def read(path: Path, **columns: str) -> tuple[list[LoggedSearch], QueryLog]:
    log = QueryLog(path, columns)
    return list(log.searches(QUIET)), log


def from_log(folder: Path, text: str, name: str = "log.csv", **options: object) -> LogResult:
    path = folder / name
    path.write_text(text)
    known = {"min_clicks", "since", "columns"}
    log = LogOptions(path, **{k: v for k, v in options.items() if k in known})
    rest = {k: v for k, v in options.items() if k not in known}
    asked = GenerationOptions(folder / "arena.toml", out=folder / "out", **rest)
    config = folder / "arena.toml"
    if not config.exists():
        asked = GenerationOptions(Path("arena.toml"), out=folder / "out", **rest)
    return queries_from_log(asked, log, QUIET)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_messy_export_is_read_and_what_is_bad_is_counted_by_its_first_line(
    tmp_path: Path,
) -> None:
    path = tmp_path / "export.csv"
    path.write_text(EXPORT)

    searches, log = read(path)

    assert searches == [
        LoggedSearch("reset password", 120, "2026-01-03", ("d1", "d2")),
        LoggedSearch("Reset Password?", 30, "2026-01-05", ("d1",)),
        LoggedSearch("reset pasword", 2, "2026-02-01", ()),
        LoggedSearch('how do I "mute" it; now', 1204, "2026-01-01", ("d3", "4")),
        LoggedSearch("call me +49 30 1234567", 1, "2026-01-01", ("d9",)),
        LoggedSearch("vpn", 5, "", ("d2",)),
    ]
    assert log.n_rows == 10
    assert log.bad == {
        "without a query": (1, 6),
        "with another number of cells than the header": (1, 8),
        "with a count that is no whole number above 0": (2, 9),
    }
    assert log.found["clicks"] == "Clicked IDs"


def test_json_lines_may_differ_in_their_fields(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl.gz"
    rows = [
        '{"@timestamp": "2026-01-02", "q": "vpn"}',
        "",
        '{"q": "vpn", "n": 3, "clicked": ["a", 5, null, "b c"]}',
        '{"q": 7}',
        "[1]",
        '{"q": "half \\ud83d"}',
        "{broken",
        '{"q": "' + "x" * 2_000_000 + '"}',
        '{"q": "last"}',
    ]
    path.write_bytes(gzip.compress("\n".join(rows).encode()))

    searches, log = read(path)

    assert searches == [
        LoggedSearch("vpn", 1, "2026-01-02", ()),
        LoggedSearch("vpn", 3, "", ("a", "5")),
        LoggedSearch("last", 1, "", ()),
    ]
    assert log.bad == {"without a query": (1, 4), "not a JSON object": (4, 5)}


def test_bytes_that_are_no_utf_8_and_a_row_without_end_cost_their_rows(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(b'query,count\nna\xefve,1\ngood,2\n"open ' + b"x," * 60_000 + b"\nfine,1\n")

    searches, log = read(path)

    assert [search.text for search in searches] == ["good", "fine"]
    assert log.bad == {
        "not UTF-8": (1, 2),
        "with another number of cells than the header": (1, 4),
    }


def test_quotation_marks_that_quote_nothing_are_part_of_a_query(tmp_path: Path) -> None:
    path = tmp_path / "log.tsv"
    path.write_text(
        'Query\tCount\n"open quote\t1\n"how to" fix\t2\n"a\nb"\t3\n5" disk\t4\nlast\t"5\n'
    )

    searches, log = read(path)

    assert [(search.text, search.n_searches) for search in searches] == [
        ('"open quote', 1),
        ('"how to" fix', 2),
        ("a b", 3),
        ('5" disk', 4),
    ]
    assert log.bad == {"with a count that is no whole number above 0": (1, 7)}


@each_row(
    ("text", "columns", "error"),
    [
        ("a,b\n1,2\n", {}, r"log.csv:1: no column of queries is found; its columns are a, b; name"),
        ("query\nx\n", {"clicks": "url"}, r"no column 'url'; its columns are query$"),
        ("", {}, r"no column of queries is found; its columns are none"),
    ],
)
def test_a_column_that_is_missing_is_named(
    tmp_path: Path, text: str, columns: dict[str, str], error: str
) -> None:
    path = tmp_path / "log.csv"
    path.write_text(text)

    with pytest.raises(UsageError, match=error):
        read(path, **columns)


def test_a_log_without_any_query_says_what_was_wrong_with_its_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no query \(2 rows\); 2 without a query"):
        from_log(tmp_path, "query,count\n?,1\n!,2\n")


# Spellings


@each_row(
    ("one", "other"),
    [
        ("Reset  Password?", "reset password"),
        ("e-mail", "E mail"),
        ("ＶＰＮ", "vpn"),
        ("“naïve”", "nai\u0308ve"),
        ("Straße", "STRASSE"),
    ],
)
def test_case_marks_and_width_make_no_other_query(one: str, other: str) -> None:
    assert normal_form(one) == normal_form(other)


@each_row(
    ("one", "other"),
    [("c", "c++"), ("c", "c#"), ("python 2", "python 3"), ("दिन", "दीन"), ("a < b", "a > b")],
)
def test_symbols_numbers_and_vowel_signs_make_another_query(one: str, other: str) -> None:
    assert normal_form(one) != normal_form(other)


def respelling(one: str, other: str) -> bool:
    near = spellings(word for query in (one, other) for word in query.split())
    return other in set(respelt(one, near))


@each_row(
    ("one", "other", "same"),
    [
        ("reset password", "reset pasword", True),
        ("recieve mail", "receive mail", True),
        ("running shoe", "running shoes", False),  # a word of four letters
        ("سياسة المدرسة", "سياسة المدرسه", True),
        ("black dress", "blank dress", False),
        ("install java", "uninstall java", False),
        ("import contacts", "export contacts", False),
        ("affect", "effect", False),
        ("flights london paris", "flights paris london", False),
        ("order 1234567", "order 1234568", False),
        ("如何修改我的密码", "如何修改我的号码", False),
        ("chnage pasword", "change password", False),  # two words differ
    ],
)
def test_a_slip_in_one_long_word_is_another_spelling_and_nothing_else(
    one: str, other: str, *, same: bool
) -> None:
    assert respelling(one, other) is same
    assert respelling(other, one) is same


@given(word=st.text("abcdefgh", min_size=6, max_size=12), data=st.data())
def test_every_edit_of_a_long_word_is_found(word: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(1, len(word) - 1))
    letter = data.draw(st.sampled_from("abcdefgh"))
    edited = data.draw(
        st.sampled_from(
            [
                word[:place] + letter + word[place:],
                word[:place] + letter + word[place + 1 :],
                *([word[:place] + word[place + 1 :]] if len(word) > 6 else []),
                word[:place] + word[place : place + 2][::-1] + word[place + 2 :],
            ]
        )
    )

    assert word == edited or edited in spellings([word, edited]).get(word, ())


def test_spellings_count_together_under_the_most_frequent_one(tmp_path: Path) -> None:
    result = from_log(tmp_path, EXPORT)

    by_text = {query.text: query for query in result.queries}
    reset = by_text["reset password"]
    assert reset.drawn.n_searches == 152
    assert reset.n_forms == 2
    assert dict(reset.clicks) == {"d1": 150, "d2": 120}
    assert result.n_spellings == 1
    assert "reset pasword" not in by_text
    assert result.days == ("2026-01-01", "2026-02-01")


# Personal data


@given(
    email=st.emails(),
    before=st.text(max_size=20),
    after=st.text(max_size=20),
)
def test_no_e_mail_address_survives(email: str, before: str, after: str) -> None:
    counts: Counter[str] = Counter()

    text = masked(f"{before}{email}{after}", counts)

    assert email not in text
    assert counts["email"] >= 1


@given(
    digits=st.lists(st.integers(0, 9), min_size=12, max_size=17),
    first=st.sampled_from("23456"),
    gap=st.sampled_from(["", " ", "-"]),
)
def test_every_card_number_with_its_check_digit_is_masked(
    digits: list[int], first: str, gap: str
) -> None:
    number = first + "".join(map(str, digits))
    check = next(d for d in range(10) if luhn(number + str(d)))
    card = gap.join(re.findall("....|.+", number + str(check)))

    assert masked(f"pay {card} now", Counter()) == "pay [card] now"


def luhn(number: str) -> bool:
    """Return whether the check digit is right: the sum by the definition, digit by digit."""
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit) * (1 + place % 2)
        total += value if value < 10 else value - 9
    return total % 10 == 0


@each_row(
    ("text", "expected"),
    [
        ("mail anna.b+x@example.co.uk now", "mail [email] now"),
        ("user=anna%40example.com", "[email]"),
        ("iban DE89 3704 0044 0532 0130 00 kaufen", "iban [iban] kaufen"),
        ("gb82west12345698765432", "[iban]"),
        ("call (212) 555-0123", "call [phone]"),
        ("+49 (0)30 1234567 berlin", "[phone] berlin"),
        ("0049301234567", "[phone]"),
        ("tel 07911 123456", "tel [phone]"),
        ("01 23 45 67 89", "[phone]"),
        ("visa 4111 1111 1111 1111", "visa [card]"),
    ],
)
def test_what_has_the_form_of_personal_data_is_masked(text: str, expected: str) -> None:
    assert masked(text, Counter()) == expected


@each_row(
    "text",
    [
        "@types/node",
        "react@18.2.0",
        "isbn 978-3-16-148410-0",
        "2026-01-31 10:00:00",
        "05.01.2026",
        "order 4111111111111112",
        "192.168.100.200",
        "DE89370400440532013001",
        "error 0x80070005",
        "1 000 000 000",
        "iphone 15 vs 16",
    ],
)
def test_other_numbers_and_signs_stay(text: str) -> None:
    counts: Counter[str] = Counter()

    assert masked(text, counts) == text
    assert not counts


def test_what_is_written_holds_masks_and_the_counts_of_them(tmp_path: Path) -> None:
    text = "query\nmail anna@example.com\nmail bob@example.com\n+49 30 1234567\n"

    result = from_log(tmp_path, text)

    written = "".join(path.read_text() for path in (tmp_path / "out").iterdir())
    assert "example.com" not in written
    assert "1234567" not in written
    assert result.masked["email"] == 2
    assert result.masked["phone"] == 1
    assert {q.text: q.drawn.n_searches for q in result.queries}["mail [email]"] == 2


# The sample


def zipf(n_queries: int) -> list[Counted]:
    return [Counted(f"q{n}", max(1, 600 // n)) for n in range(1, n_queries + 1)]


@given(
    sizes=st.dictionaries(st.sampled_from(PARTS), st.integers(1, 40), min_size=1),
    n_drawn=st.integers(0, 130),
)
def test_parts_share_a_sample_evenly_and_none_gives_more_than_it_has(
    sizes: dict[str, int], n_drawn: int
) -> None:
    drawn = split_evenly(sizes, n_drawn)

    assert sum(drawn.values()) == min(n_drawn, sum(sizes.values()))
    assert all(drawn[name] <= sizes[name] for name in sizes)
    full = {name for name in sizes if drawn[name] == sizes[name]}
    others = [drawn[name] for name in sizes if name not in full]
    assert max(others, default=0) - min(others, default=0) <= 1
    assert all(drawn[name] <= min(others, default=130) + 1 for name in full)


@given(
    counts=st.lists(st.integers(1, 50), min_size=1, max_size=60),
    n_drawn=st.integers(1, 70),
    seed=st.integers(0, 1000),
)
def test_probabilities_add_up_to_the_sample_and_weights_are_horvitz_thompsons(
    counts: list[int], n_drawn: int, seed: int
) -> None:
    totals = [Counted(f"q{n}", c) for n, c in enumerate(sorted(counts, reverse=True))]

    drawn, parts = draw(lambda: iter(totals), n_drawn, seed)

    assert len(drawn) == min(n_drawn, len(counts)) == sum(part.n_drawn for part in parts)
    assert sum(part.n_queries for part in parts) == len(counts)
    assert sum(part.n_searches for part in parts) == sum(counts)
    expected = sum(part.probability * part.n_queries for part in parts)
    assert expected == pytest.approx(len(drawn))
    for each in drawn:
        part = each.part
        assert each.weight(100) == pytest.approx(
            each.n_searches * part.n_queries / part.n_drawn / 100
        )
    for part in parts:
        assert len({each.key for each in drawn if each.part == part}) == part.n_drawn


def test_each_query_of_a_part_is_drawn_as_often_as_its_probability_says() -> None:
    totals = zipf(300)
    n_searches = sum(total.n_searches for total in totals)
    n_seeds = 400
    times: Counter[str] = Counter()
    estimates = []
    for seed in range(n_seeds):
        drawn, parts = draw(lambda: iter(totals), 30, seed)
        times.update(each.key for each in drawn)
        estimates.append(sum(each.weight(n_searches) for each in drawn))

    everyone, _ = draw(lambda: iter(totals), len(totals), 0)
    for part in parts:
        keys = [each.key for each in everyone if each.part.name == part.name]
        rates = [times[key] / n_seeds for key in keys]
        assert sum(rates) == pytest.approx(part.n_drawn)
        spread = (part.probability * (1 - part.probability) / n_seeds) ** 0.5
        assert max(abs(rate - part.probability) for rate in rates) <= 4.5 * spread + 1e-9
    assert sum(estimates) / n_seeds == pytest.approx(1, abs=0.02)


def test_a_larger_sample_holds_a_smaller_one_and_the_seed_decides() -> None:
    totals = zipf(300)

    def keys(n_drawn: int, seed: int) -> set[str]:
        return {each.key for each in draw(lambda: iter(totals), n_drawn, seed)[0]}

    assert keys(30, 1) <= keys(60, 1)
    assert keys(30, 1) == keys(30, 1) != keys(30, 2)


def test_head_and_tail_are_thirds_of_the_traffic() -> None:
    totals = [Counted("a", 100), *(Counted(f"b{n}", 10) for n in range(10))]
    totals += [Counted(f"c{n}", 1) for n in range(100)]

    _, parts = draw(lambda: iter(totals), 9, 1)

    assert [(p.name, p.n_queries, p.n_searches, p.n_drawn) for p in parts] == [
        ("head", 1, 100, 1),
        ("torso", 10, 100, 4),
        ("tail", 100, 100, 4),
    ]


# The command


CONFIG = """
[experiment]
name = "x"
[[datasets]]
name = "help"
path = "data"
queries = "queries/queries.jsonl"
qrels = "queries/qrels.tsv"
[[models]]
name = "a"
provider = "bm25"
[[models]]
name = "b"
run = "b.trec"
[judge]
kind = "qrels"
"""


def corpus(folder: Path) -> None:
    (folder / "data").mkdir()
    texts = {"d1": "Reset your password here.", "d2": "Password rules.", "d3": "Mute the bell."}
    rows = [json.dumps({"_id": doc_id, "text": text}) for doc_id, text in texts.items()]
    (folder / "data" / "corpus.jsonl").write_text("\n".join(rows))
    (folder / "arena.toml").write_text(CONFIG)


def invoke(*arguments: str) -> tuple[int, str]:
    ended = CliRunner().invoke(main, list(arguments))
    return ended.exit_code, ended.output


def test_a_log_becomes_a_data_set_whose_metrics_say_that_they_are_from_clicks(
    tmp_path: Path,
) -> None:
    corpus(tmp_path)
    (tmp_path / "log.csv").write_text(EXPORT)

    status, output = invoke("queries", "--from-log", "log.csv", "-q")

    assert status == 0, output
    assert "log.csv: 10 rows; text from 'Search Term', count from 'Total Searches'" in output
    assert "the corpus has no document with the id of 2 clicked ids, such as 4, d9" in output
    assert "4 weak grades from clicks, for 3 queries: queries/qrels.tsv" in output
    assert re.search("masked: 0 e-mail addresses, .* 1 phone numbers;", output)
    assert "to use them" not in output
    lines = (tmp_path / "queries" / "qrels.tsv").read_text().splitlines()
    assert lines[0] == "query-id\tcorpus-id\tfrom-clicks"
    assert f"{query_id_of('reset password')}\td1\t1" in lines
    queries, _ = read_queries(tmp_path / "queries" / "queries.jsonl")
    assert "call me [phone]" in {query.text for query in queries.values()}

    lines = [
        f"{query_id} Q0 {doc_id} 0 {score} b\n"
        for query_id in queries
        for score, doc_id in enumerate(("d1", "d2", "d3"))
    ]
    (tmp_path / "b.trec").write_text("".join(lines))
    status, output = invoke("battle", "-q")
    assert status == 0, output
    status, output = invoke("rate", "runs/x")
    assert "the metrics of help are from clicks: people" in " ".join(output.split())
    status, output = invoke("audit", "runs/x")
    assert "agrees with the relevance grades, from clicks" in " ".join(output.split())
    status, output = invoke("report", "runs/x", "--out", "site")
    assert status == 0, output
    example = re.search(r"```python\n(import pandas.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert example
    names: dict[str, object] = {}
    exec(example[1], names)
    shares_won = dict(names["share"])  # type: ignore[call-overload]
    assert shares_won["a", "b"] == pytest.approx(1 - shares_won["b", "a"])
    pages = [page.read_text() for page in (tmp_path / "site").rglob("*.html")]
    assert len(pages) > 5
    assert all("the metrics of help are from clicks: people click" in page for page in pages)


def test_clicks_are_noted_where_a_data_set_is_loaded_and_only_there(tmp_path: Path) -> None:
    corpus(tmp_path)
    (tmp_path / "q.txt").write_text("reset\n")
    query_id = query_id_of("reset")
    notes = []
    for header in ("from-clicks", "score"):
        (tmp_path / "g.tsv").write_text(f"query-id\tcorpus-id\t{header}\n{query_id}\td1\t1\n")
        config = DatasetConfig(
            name="x", path=Path("data"), queries=Path("q.txt"), qrels=Path("g.tsv")
        )
        dataset = load_dataset(config.anchored(tmp_path))
        notes.append((dataset.from_clicks, dataset.notes))

    assert notes == [
        (True, ("g.tsv: grades are from clicks, which favour what was shown first",)),
        (False, ()),
    ]


def test_a_click_on_a_file_is_one_on_its_only_passage(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "one.txt").write_text("A short text.")
    (docs / "many.csv").write_text("name,price\npen,1\nink,2\n")
    (tmp_path / "log.csv").write_text("query,doc_id\npens,one.txt|many.csv|many.csv#2\n")

    status, output = invoke("queries", "--from-log", "log.csv", "--documents", "docs", "-q")

    assert status == 0, output
    grades = [line.split("\t")[1] for line in Path("queries/qrels.tsv").read_text().splitlines()]
    assert grades[1:] == ["many.csv#2", "one.txt#1"]
    assert "the corpus has no document with the id of 1 clicked id, such as many.csv" in output


def test_a_dry_run_writes_nothing_and_edited_queries_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(EXPORT)

    status, output = invoke("queries", "--from-log", "log.csv", "--dry-run")
    assert (status, list(tmp_path.iterdir())) == (0, [tmp_path / "log.csv"])
    assert "searches of" in output

    assert invoke("queries", "--from-log", "log.csv", "-q")[0] == 0
    assert invoke("queries", "--from-log", "log.csv", "-q", "--n", "2")[0] == 0
    (tmp_path / "queries" / "queries.jsonl").write_text("mine")
    status, output = invoke("queries", "--from-log", "log.csv", "-q")
    assert status == 2
    assert "edited since" in output


def test_grades_of_an_earlier_log_go_where_the_next_one_has_no_clicks(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(EXPORT)
    invoke("queries", "--from-log", "log.csv", "-q")
    (tmp_path / "log.csv").write_text("query\nvpn\n")

    status, _ = invoke("queries", "--from-log", "log.csv", "-q")

    assert status == 0
    assert not (tmp_path / "queries" / "qrels.tsv").exists()


def test_days_and_few_clicks_can_be_left_out(tmp_path: Path) -> None:
    result = from_log(tmp_path, EXPORT, since="2026-01-04", min_clicks=31)

    assert result.n_outside == 4
    assert [(q.text, dict(q.clicks)) for q in result.queries] == [("Reset Password?", {})]


@each_row(
    ("arguments", "message"),
    [
        (["--from-log", "log.csv", "--model", "m"], "--model has no effect here: no model is"),
        (["--min-clicks", "2", "--model", "m"], "--min-clicks has no effect here: there is no log"),
        (["--from-log", "no.csv"], "no.csv: no such file; give a CSV or JSONL file"),
        (["--from-log", "log.xlsx"], "logs cannot be read from '.xlsx'; export it as .csv"),
    ],
)
def test_options_that_mean_nothing_together_are_refused(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "log.csv").write_text("query\nvpn\n")

    status, output = invoke("queries", *arguments)

    assert status == 2
    assert message in output


@settings(max_examples=30)
@given(
    rows=st.lists(
        st.tuples(st.text(max_size=30), st.text(max_size=6), st.text(max_size=12)), max_size=15
    )
)
def test_no_row_of_any_text_breaks_the_reading(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    path = tmp_path_factory.mktemp("logs") / "log.csv"
    with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
        csv.writer(file).writerows([("query", "count", "clicked_ids"), *rows])

    searches, log = read(path)

    assert len(searches) + sum(n for n, _ in log.bad.values()) == log.n_rows
    assert all(search.n_searches >= 1 and search.text.strip() for search in searches)
