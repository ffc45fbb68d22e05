from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from synthetic import made_up

from jitrl.bench import report
from jitrl.bench.folder import Run
from jitrl.bench.statistics import groups
from jitrl.errors import MissingExtra, RunError

HOSTILE = "corridor:<script>alert('$x')</script>\"&|$5$"
PNG = b"\x89PNG\r\n\x1a\n"


def arms(**choices: object) -> list[Run]:
    static = [made_up([1, 2, 1, 2], seed=s, agent="static", **choices) for s in range(3)]
    return static + [made_up([2 + s / 10, 4, 6, 8], seed=s, **choices) for s in range(3)]


class Page(HTMLParser):
    """Collects what a page refers to, and checks that its elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.references: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.references += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "img", "source"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_is_whole_and_needs_nothing_from_outside() -> None:
    text = report.page(groups(arms()))
    page = Page(text)
    assert page.open == []
    assert page.references
    assert all(one.startswith("data:image/svg+xml;base64,") for one in page.references)
    assert not re.search(r"https?:|url\(|@import|<script|<link", text)
    assert "$" not in re.sub(r"base64,[^\"]*", "", text)


def test_what_a_world_calls_itself_is_shown_and_never_executed() -> None:
    text = report.page(groups(arms(world=HOSTILE)))
    page = Page(text)
    assert "script" not in page.tags
    assert any(HOSTILE in words for words in page.words)


def test_the_page_tells_scores_intervals_differences_and_commands() -> None:
    words = " ".join(" ".join(Page(report.page(groups(arms()))).words).split())
    for said in ("static", "jitrl default", "higher than static", "jitrl run corridor:5"):
        assert said in words
    assert re.search(r"5\.0[23] \[4\.96, 5\.09\]", words)


def test_one_seed_is_said_to_have_no_interval() -> None:
    among = groups([made_up([1, 2, 3])])
    assert "A single seed has no interval" in report.note(among)
    assert "[" not in report.markdown(among).split("## Runs")[0].split("## Scores")[1]


def test_runs_that_share_a_memory_are_said_to_depend_on_each_other() -> None:
    among = groups([made_up([1], seed=s, memory="/m.db") for s in range(2)])
    assert "not independent" in report.note(among)


def test_the_same_runs_give_the_same_page() -> None:
    assert report.page(groups(arms())) == report.page(groups(arms()))


def test_the_plain_table_holds_the_numbers_in_full() -> None:
    rows = list(csv.DictReader(io.StringIO(report.comma_separated(groups(arms())))))
    assert [row["agent"] for row in rows] == ["static", "jitrl"]
    assert rows[0]["seeds"] == "0 1 2"
    assert float(rows[1]["mean"]) == pytest.approx(5.025)
    assert float(rows[1]["difference"]) == pytest.approx(3.525)
    assert rows[0]["difference"] == ""


def test_a_table_cell_cannot_break_the_markdown() -> None:
    text = report.markdown(groups(arms(overrides={"join": "zero"}, world=HOSTILE)))
    widths = {
        len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("| ")
    }
    assert widths <= {6, 7, 10}


@pytest.mark.parametrize("max_score", [None, 9.0, 500.0])
def test_a_report_is_four_files(tmp_path: Path, max_score: float | None) -> None:
    runs = [*arms(max_score=max_score), made_up([1, 2], world="corridor:7")]
    files = report.write(runs, tmp_path / "deep" / "report")
    assert [file.name for file in files] == [*report.FILES]
    assert files[0].read_bytes().startswith(PNG)
    assert "corridor:7" in files[1].read_text()
    assert not list(files[0].parent.glob("*.new"))


def test_a_played_run_is_reported_from_its_folder(tmp_path: Path, play: Callable[..., Run]) -> None:
    files = report.write([play(tmp_path / "run")], tmp_path / "run")
    assert all(file.is_file() for file in files)


def test_without_matplotlib_the_report_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"pip install 'jitrl\[report\]'"):
        report.write(arms(), tmp_path)


def test_a_report_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="file"):
        report.write(arms(), tmp_path / "file" / "report")
