"""Every reader on small files of its format, good and hostile."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from tasks.sources import archives, bbc_news, boolq, conll2003, documents, headlines, movie_reviews
from tasks.sources.archive import Archive
from tasks.sources.base import Source
from tasks.sources.bbc_news import BBCNews
from tasks.sources.boolq import BoolQ
from tasks.sources.conll2003 import Conll2003
from tasks.sources.documents import NewsArticles, WikipediaPassages
from tasks.sources.headlines import SarcasticHeadlines
from tasks.sources.movie_reviews import MovieReviews
from tasks.sources.orange_tab import OrangeTab
from tasks.sources.parsing import read_lines
from tasks.sources.squad import Squad
from tasks.sources.squadshifts import SquadShifts
from tests.source_files import ANY, complaint, lines, put

# --- what all readers share ----------------------------------------------------------------------------


def test_lines_end_at_line_ends_only(tmp_path: Path) -> None:
    put(tmp_path, "f", "a\x0cb\x85c\u2028d\r\ne\n\n")
    assert read_lines(tmp_path, "f") == ["a\x0cb\x85c\u2028d", "e", ""]


@pytest.mark.parametrize(
    "source",
    [
        MovieReviews(ANY, "imdb"),
        BBCNews(ANY),
        OrangeTab(ANY, "a.tab", "b.tab"),
        Conll2003(ANY),
        Squad(ANY, "a.json", "b.json"),
        SquadShifts(ANY, "a.json", "passage"),
        SarcasticHeadlines(ANY),
        BoolQ(ANY),
        NewsArticles(ANY),
        WikipediaPassages(ANY),
    ],
    ids=lambda source: type(source).__name__,
)
def test_a_missing_file_is_named(source: Source, tmp_path: Path) -> None:
    assert str(tmp_path) in complaint(source, tmp_path)


def test_every_archive_is_pinned_completely() -> None:
    found = [value for value in vars(archives).values() if isinstance(value, Archive)]
    assert len(found) == 11
    for archive in found:
        hashes = [archive.sha256, *(member.sha256 for member in archive.members)]
        assert archive.members and len(set(hashes)) == len(hashes)
        assert all(len(value) == 64 and int(value, 16) for value in hashes)


# --- film reviews --------------------------------------------------------------------------------------


def reviews(tmp_path: Path, *lines: str, header: str = "text,label,source") -> MovieReviews:
    put(tmp_path, movie_reviews.MEMBER, "\n".join([header, *lines, ""]))
    return MovieReviews(ANY, "imdb")


def test_movie_reviews(tmp_path: Path) -> None:
    source = reviews(
        tmp_path,
        '"Fine,<br /><br />""really""\nfine",1,imdb',
        "bad,0,imdb",
        "bad,0,imdb",
        "torn,0,imdb",
        "torn ,1,imdb",
        "other,1,rotten_tomatoes",
    )
    splits = source.read(tmp_path)
    assert splits["test"] == []
    assert sorted(splits["train"], key=str) == [
        {"text": 'Fine,  "really"\nfine', "label": "positive"},
        {"text": "bad", "label": "negative"},
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("good,2,imdb", "row 2: label '2'"),
        ("good,positive,imdb", "row 2: label 'positive'"),
        ("good,1", "row 2: has 2 fields"),
        ("good,1,imdb,more", "row 2: has 4 fields"),
        ("  ,1,imdb", "row 2: 'text' is blank"),
        ('"never closed,1,imdb', "row 2: is not valid CSV"),
    ],
)
def test_movie_reviews_name_a_bad_row(tmp_path: Path, line: str, problem: str) -> None:
    assert problem in complaint(reviews(tmp_path, "fine,1,imdb", line), tmp_path)


def test_movie_reviews_need_their_columns_and_their_source(tmp_path: Path) -> None:
    source = reviews(tmp_path, "fine,1", header="text,sentiment")
    assert "no column label, source; its columns are text, sentiment" in complaint(source, tmp_path)
    assert "no row whose source is imdb" in complaint(reviews(tmp_path), tmp_path)
    put(tmp_path, movie_reviews.MEMBER, "")
    assert "no column" in complaint(source, tmp_path)


def test_bad_utf8_is_an_error_with_its_line(tmp_path: Path) -> None:
    put(tmp_path, movie_reviews.MEMBER, b"text,label,source\nfine,1,imdb\ncaf\xe9,1,imdb\n")
    message = complaint(MovieReviews(ANY, "imdb"), tmp_path)
    assert "row 3: byte 0xe9 is not utf-8" in message


# --- BBC -----------------------------------------------------------------------------------------------


def test_bbc_news(tmp_path: Path) -> None:
    for number in range(5):
        put(tmp_path, f"{bbc_news.ROOT}/tech/{number}.txt", f"Title {number}\n\nBody\n")
    put(tmp_path, f"{bbc_news.ROOT}/tech/copy.txt", "Title 0\n\nBody")
    put(tmp_path, f"{bbc_news.ROOT}/sports/199.txt", b"Mutu, a \xa315.8m signing")
    splits = BBCNews(ANY).read(tmp_path)
    assert len(splits["test"]) == 1
    rows = splits["train"] + splits["test"]
    assert Counter(row["label"] for row in rows) == {"tech": 5, "sports": 1}
    assert {"text": "Mutu, a £15.8m signing", "label": "sports"} in rows
    assert {"text": "Title 1\n\nBody\n", "label": "tech"} in rows


def test_bbc_news_expects_the_older_encoding_in_one_file_only(tmp_path: Path) -> None:
    put(tmp_path, f"{bbc_news.ROOT}/sports/200.txt", b"a \xa315.8m signing")
    assert "sports/200.txt, row 1: byte 0xa3 is not utf-8" in complaint(BBCNews(ANY), tmp_path)
    put(tmp_path, f"{bbc_news.ROOT}/sports/200.txt", " \n")
    assert "sports/200.txt: is blank" in complaint(BBCNews(ANY), tmp_path)


# --- Orange --------------------------------------------------------------------------------------------

TAB = "Category\tText\nd\tstring\nclass\t\n"


def orange(tmp_path: Path, train: str, test: str = TAB + "\nearn\tprofit up\n") -> OrangeTab:
    put(tmp_path, "train.tab", train)
    put(tmp_path, "test.tab", test)
    return OrangeTab(ANY, "train.tab", "test.tab")


@pytest.mark.parametrize("blank", ["\n", "\t\n", ""])
def test_orange_tab(tmp_path: Path, blank: str) -> None:
    source = orange(tmp_path, f'{TAB}{blank}acq\tbuys "all\nacq\tbuys "all\nearn\tnet loss \n')
    assert source.read(tmp_path) == {
        "train": [
            {"text": 'buys "all', "label": "acq"},
            {"text": 'buys "all', "label": "acq"},
            {"text": "net loss ", "label": "earn"},
        ],
        "test": [{"text": "profit up", "label": "earn"}],
    }


@pytest.mark.parametrize(
    ("train", "problem"),
    [
        ("acq\tbuys\n", "three header lines"),
        ("Text\tCategory\nstring\td\n\tclass\n", "three header lines"),
        ("", "three header lines"),
        (TAB + "\nacq buys\n", "row 5: has 1 columns"),
        (TAB + "\nacq\tbuys\tmore\n", "row 5: has 3 columns"),
        (TAB + "\nacq\t \n", "row 5: its category or its text is blank"),
        (TAB + "\nacq\tbuys\n\nearn\tup\n", "row 6: has 1 columns"),
    ],
)
def test_orange_tab_names_what_is_wrong(tmp_path: Path, train: str, problem: str) -> None:
    assert problem in complaint(orange(tmp_path, train), tmp_path)


def test_orange_tab_can_read_some_categories_only(tmp_path: Path) -> None:
    both = f"{TAB}\nacq\tbuys all\nearn\tnet loss\nship\tsails\n"
    orange(tmp_path, both, f"{TAB}\nship\tsank\nearn\tup\n")
    splits = OrangeTab(ANY, "train.tab", "test.tab", ("earn", "ship")).read(tmp_path)
    assert [row["label"] for row in splits["train"]] == ["earn", "ship"]
    assert [row["label"] for row in splits["test"]] == ["ship", "earn"]
    lacking = OrangeTab(ANY, "train.tab", "test.tab", ("tin", "earn", "acq"))
    assert complaint(lacking, tmp_path) == "train.tab: has no text of category tin"
    assert "test.tab: has no text of category acq" in complaint(
        OrangeTab(ANY, "train.tab", "test.tab", ("acq", "ship")), tmp_path
    )


# --- CoNLL-2003 ----------------------------------------------------------------------------------------

SENTENCES = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O

-DOCSTART- -X- -X- O

Peter NNP B-NP B-PER"""


def conll(tmp_path: Path, train: str = SENTENCES) -> None:
    for split_name, member in conll2003.MEMBERS.items():
        put(tmp_path, member, train if split_name == "train" else SENTENCES)


@pytest.mark.parametrize(
    ("column", "first"), [("ner", ["B-ORG", "O"]), ("pos", ["NNP", "VBZ"]), ("chunk", ["B-NP", "B-VP"])]
)
@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_conll2003(tmp_path: Path, column: str, first: list[str], end: str) -> None:
    conll(tmp_path, SENTENCES + end)
    splits = Conll2003(ANY, column).read(tmp_path)
    assert list(splits) == ["train", "validation", "test"]
    assert splits["train"] == splits["test"]
    assert splits["train"][0] == {"words": ["EU", "rejects"], "tags": first}
    assert splits["train"][1]["words"] == ["Peter"]


@pytest.mark.parametrize(
    ("train", "problem"),
    [
        ("EU NNP B-NP\n", "row 1: is not 4 columns"),
        ("EU NNP B-NP B-ORG\nrejects\tVBZ\tB-VP\tO\n", "row 2: is not 4 columns"),
        ("EU NNP  B-ORG\n", "row 1: is not 4 columns"),
        (" \n", "row 1: is not 4 columns"),
        ("\n\n", "holds no sentence"),
    ],
)
def test_conll2003_names_what_is_wrong(tmp_path: Path, train: str, problem: str) -> None:
    conll(tmp_path, train)
    assert problem in complaint(Conll2003(ANY), tmp_path)


def test_conll2003_has_no_other_columns(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no column 'word'"):
        Conll2003(ANY, "word").read(tmp_path)


TYPES = """EU NNP B-NP B-ORG
met VBD B-VP O
Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER

It PRP B-NP O

New NNP B-NP B-LOC
York NNP I-NP I-LOC
EU NNP I-NP B-ORG"""


def test_conll2003_of_one_type_calls_all_others_outside(tmp_path: Path) -> None:
    for member in conll2003.MEMBERS.values():
        put(tmp_path, member, TYPES)
    person = {"words": ["EU", "met", "Peter", "Blackburn"], "tags": ["O", "O", "B-PER", "I-PER"]}
    splits = Conll2003(ANY, "ner", "PER").read(tmp_path)
    assert splits["train"] == splits["validation"] == [person]  # the other sentences have no such name
    assert splits["test"][0] == person
    assert [row["tags"] for row in splits["test"][1:]] == [["O"], ["O", "O", "O"]]
    organisations = Conll2003(ANY, "ner", "ORG").read(tmp_path)
    assert [row["tags"] for row in organisations["train"]] == [["B-ORG", "O", "O", "O"], ["O", "O", "B-ORG"]]


def test_conll2003_of_one_type_needs_it_in_every_split_and_a_column_that_has_it(tmp_path: Path) -> None:
    for split_name, member in conll2003.MEMBERS.items():
        put(tmp_path, member, SENTENCES if split_name == "test" else TYPES)
    assert "test.txt: holds no entity of type LOC" in complaint(Conll2003(ANY, "ner", "LOC"), tmp_path)
    assert "train.txt: holds no entity of type PERS" in complaint(Conll2003(ANY, "ner", "PERS"), tmp_path)
    with pytest.raises(ValueError, match="column 'pos' of CoNLL-2003 has no entities"):
        Conll2003(ANY, "pos", "PER").read(tmp_path)


# --- sarcastic headlines -------------------------------------------------------------------------------


def asked(headline: object, reply: object) -> dict[str, object]:
    messages = [{"role": "system", "content": "Reply 1 or 0"}, {"role": "user", "content": headline}]
    return {"input": messages, "ideal": reply}


def test_sarcastic_headlines(tmp_path: Path) -> None:
    records = [asked(f"headline {number}", "1") for number in range(5)]
    records += [asked("area man  votes", "0"), asked("area man votes", "0"), asked("both", "0"), asked("both", "1")]
    put(tmp_path, headlines.MEMBER, lines(*records))
    splits = SarcasticHeadlines(ANY).read(tmp_path)
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 5, "test": 1}
    rows = splits["train"] + splits["test"]
    assert Counter(row["label"] for row in rows) == {"sarcastic": 5, "serious": 1}
    assert {"text": "area man  votes", "label": "serious"} in rows
    assert not any("Reply" in str(row["text"]) for row in rows)


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (asked("x", "yes"), "row 2: reply 'yes' is not one of 0, 1"),
        (asked("x", 1), "row 2: has no text under 'ideal'"),
        (asked(" ", "1"), "row 2: 'content' is blank"),
        (asked(None, "1"), "row 2: has no text under 'content'"),
        ({"ideal": "1"}, "row 2: 'input' is not an instruction and a headline"),
        ({"input": ["x", "y"], "ideal": "1"}, "row 2: 'input' is not"),
        ({"input": asked("x", "1")["input"], "more": 1}, "row 2: has no text under 'ideal'"),
        ({"input": [{"role": "user", "content": "x"}], "ideal": "1"}, "row 2: 'input' is not"),
        ({"input": [{"role": "user", "content": "x"}, {"role": "system", "content": "y"}], "ideal": "1"}, "row 2"),
        ([], "row 2: is not a JSON object"),
    ],
)
def test_sarcastic_headlines_name_a_bad_row(tmp_path: Path, record: object, problem: str) -> None:
    put(tmp_path, headlines.MEMBER, lines(asked("fine", "0"), record))
    assert problem in complaint(SarcasticHeadlines(ANY), tmp_path)


def test_sarcastic_headlines_are_needed(tmp_path: Path) -> None:
    put(tmp_path, headlines.MEMBER, "")
    assert "holds no headline" in complaint(SarcasticHeadlines(ANY), tmp_path)


# --- BoolQ and plain documents -------------------------------------------------------------------------


ASKED = {"question": "is it red", "passage": "Cat -- It is.", "label": True}
ALSO_ASKED = {"question": "is it blue", "passage": "Cat -- It is.", "label": False}
UNLABELLED = {"question": "is it old", "passage": "Dog -- It is not."}
DEV = {"question": "is it red", "title": "Cat", "answer": "True", "passage": "It is."}


def test_boolq(tmp_path: Path) -> None:
    put(tmp_path, boolq.COMBINED, lines(ASKED, ALSO_ASKED, UNLABELLED))
    put(tmp_path, boolq.DEV, lines(DEV).rstrip("\n"))
    assert BoolQ(ANY).read(tmp_path) == {
        "train": [{"text": "is it blue", "text_pair": "Cat -- It is.", "label": "no"}],
        "test": [{"text": "is it red", "text_pair": "Cat -- It is.", "label": "yes"}],
    }


@pytest.mark.parametrize(
    ("combined", "dev", "problem"),
    [
        (lines(ALSO_ASKED), lines(DEV | {"answer": "true"}), "dev.jsonl, row 1: its label is neither"),
        (lines(ALSO_ASKED), lines(DEV | {"answer": True}), "dev.jsonl, row 1: has no text under 'answer'"),
        (lines(ALSO_ASKED | {"label": 1}), lines(DEV), "combined.jsonl, row 1: its label is neither"),
        (lines(ALSO_ASKED, []), lines(DEV), "combined.jsonl, row 2: is not a JSON object"),
        ("\n", lines(DEV), "combined.jsonl, row 1: is not valid JSON"),
        (lines({"label": True, "passage": "x"}), lines(DEV), "row 1: has no text under 'question'"),
        (lines(ASKED), lines(DEV), "combined.jsonl: holds no question of its split"),
        (lines(ASKED), "", "dev.jsonl: holds no question of its split"),
    ],
)
def test_boolq_names_what_is_wrong(tmp_path: Path, combined: str, dev: str, problem: str) -> None:
    put(tmp_path, boolq.COMBINED, combined)
    put(tmp_path, boolq.DEV, dev)
    assert problem in complaint(BoolQ(ANY), tmp_path)


def test_wikipedia_passages(tmp_path: Path) -> None:
    put(tmp_path, boolq.COMBINED, lines(ASKED, ALSO_ASKED, UNLABELLED))
    splits = WikipediaPassages(ANY).read(tmp_path)
    assert splits == {"test": [{"text": "Cat -- It is."}, {"text": "Dog -- It is not."}]}


def news(folder: Path, table: str | None) -> NewsArticles:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        if table is not None:
            file.writestr(documents.NEWS_CSV, table)
    put(folder, documents.NEWS_ZIP, buffer.getvalue())
    return NewsArticles(ANY)


def test_news_articles(tmp_path: Path) -> None:
    source = news(tmp_path, 'title,text\na,"One,\ntwo."\nb,\nc,"One, two."\nd,-1\ne,Naïve\n')
    assert source.read(tmp_path) == {"test": [{"text": "One,\ntwo."}, {"text": "Naïve"}]}


def test_news_articles_name_what_is_wrong(tmp_path: Path) -> None:
    assert "is not a zip file with NewsArticles.csv" in complaint(news(tmp_path, None), tmp_path)
    assert "no column text" in complaint(news(tmp_path, "title\na\n"), tmp_path)
    assert "holds no text" in complaint(news(tmp_path, "text\n-1\n"), tmp_path)
    put(tmp_path, documents.NEWS_ZIP, b"PK no zip")
    assert "is not a zip file with NewsArticles.csv" in complaint(NewsArticles(ANY), tmp_path)
