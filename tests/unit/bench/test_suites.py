"""What runs of suites say, on runs that nobody played."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import episode, made_up

from jitrl.bench import report, suite_tables, suites
from jitrl.bench.folder import Run
from jitrl.bench.statistics import bootstrapped, groups, wilson
from jitrl.errors import BadRun
from jitrl.worlds import Task

TASKS = (
    Task("w:0", ("shop",), "buy"),
    Task("w:1", ("shop",), "buy"),
    Task("w:2", ("wiki",), "find"),
    Task("w:3", ("shop", "wiki"), "find"),
)


def tried(*table: str, seed: int = 0, reasons: dict[int, str] | None = None, **choices) -> Run:
    """A run by passes from a line per task: 1, 0, . for an attempt that is not finished, - for one
    that never began.
    """
    attempts = max(map(len, table))
    choices = {"attempts": attempts, "order": "passes", "world": "w:x"} | choices
    run = made_up([], seed=seed, max_score=1.0, **choices)
    tasks = TASKS[: len(table)]
    found, unbegun = [], []
    for attempt in range(attempts):
        for index, line in enumerate(table):
            number = attempt * len(table) + index
            outcome = line.ljust(attempts, ".")[attempt]
            if outcome == "-":
                why = {"task": tasks[index].name, "reason": "the site is down", "steps": 0}
                unbegun.append(episode(number, 0.0, unbegun=True, **why))
            elif outcome != ".":
                reason = (reasons or {}).get(number, "")
                found.append(episode(number, float(outcome), task=tasks[index].name, reason=reason))
    return Run(run.path, replace(run.manifest, tasks=tasks), found, unbegun=tuple(unbegun))


def of(*runs: Run):
    (group,) = groups(runs)
    return suites.results(suites.of_group(group))


def test_the_definitions_hold_on_a_whole_run():
    found = of(tried("001", "010", "000", "111"))
    assert (found.tasks, found.attempts) == (4, 12)
    assert found.average.mean == pytest.approx(5 / 12)
    assert found.final.mean == pytest.approx(2 / 4)
    assert found.any.mean == pytest.approx(3 / 4)


def test_a_score_between_nothing_and_all_is_no_success():
    run = tried("0", "0")
    run.episodes[0] = replace(run.episodes[0], score=0.99)
    assert of(run).average.mean == 0


def test_final_and_any_are_of_tasks_that_have_finished_all_their_attempts():
    found = of(tried("011", "1", "00", "110"))
    assert found.attempts == 9
    assert found.average.mean == pytest.approx(5 / 9)
    assert (found.final.mean, found.final.n) == (0.5, 2)
    assert found.any.mean == 1


def test_while_no_task_has_finished_final_is_unknown_and_says_so():
    run = tried("1", "0", attempts=3)
    found = of(run)
    assert math.isnan(found.final.mean)
    assert math.isnan(found.any.mean)
    assert suite_tables.scores(groups([run])).rows[0][-2:] == ("?", "?")


def test_attempts_in_a_row_are_told_apart_from_passes():
    run = tried("01", "11", "00")
    numbers = [replace(one, number=n) for n, one in enumerate(run.episodes)]
    what = replace(run.manifest.configuration, order="tasks")
    in_a_row = Run(run.path, replace(run.manifest, configuration=what), numbers)
    # in the order of play: 0 1 | 0 1 | 1 0
    assert suites.outcomes(in_a_row).tolist() == [[0, 1], [0, 1], [1, 0]]


def test_a_run_that_is_cut_short_counts_what_it_played():
    run = tried("01", "1.", "0.")
    short = replace(run.manifest.configuration, episodes=4)
    cut = Run(run.path, replace(run.manifest, configuration=short), run.episodes)
    found = of(cut)
    assert (found.attempts, found.average.mean) == (4, 0.5)
    assert (found.final.mean, found.final.n) == (1.0, 1)


def test_a_task_of_two_sites_counts_once_under_both_names():
    (group,) = groups([tried("0", "1", "1", "1")])
    by_site = dict(suites.by_label(group, suites.site))
    assert list(by_site) == ["shop", "shop + wiki", "wiki"]
    assert sum(found.tasks for found in by_site.values()) == 4
    assert by_site["shop"].average.mean == 0.5
    by_template = dict(suites.by_label(group, suites.template))
    assert by_template["find"].average.mean == 1.0


def test_reasons_are_counted_as_far_as_the_colon():
    run = tried("00", "00", reasons={0: "time-out: 30 s", 1: "crash: x", 3: "time-out: 31 s"})
    assert suites.reasons([run]) == [("time-out", 2), ("crash", 1)]
    assert suite_tables.wrong(groups([run])).rows == [("time-out", "2"), ("crash", "1")]


def test_the_curve_goes_by_attempt():
    (group,) = groups([tried("001", "011", "000", "111")])
    assert suites.by_attempt(group).tolist() == [[0.25, 0.5, 0.75]]
    low, high = suites.bounds(group, 1)
    assert (low < [0.25, 0.5, 0.75]).all()
    assert (high > [0.25, 0.5, 0.75]).all()


def test_where_two_seeds_agree_the_band_of_the_curve_has_a_width():
    (group,) = groups([tried("01", "10", seed=0), tried("01", "10", seed=1)])
    low, high = suites.bounds(group, 1)
    assert (high - low > 0.3).all()


def test_a_single_task_and_seed_have_a_curve_without_a_band():
    (group,) = groups([tried("0110")])
    assert suites.by_attempt(group).tolist() == [[0, 1, 1, 0]]
    assert suites.bounds(group, 1) is None


def test_the_curve_ends_with_the_last_attempt_that_every_seed_has_begun():
    (group,) = groups([tried("011", "000"), tried("01", "1.", seed=1, attempts=3)])
    assert suites.by_attempt(group).tolist() == [[0.0, 0.5], [0.5, 1.0]]
    low, high = suites.bounds(group, 1)
    assert (low <= [0.25, 0.75]).all()
    assert (high >= [0.25, 0.75]).all()


def test_seeds_that_happen_to_agree_do_not_make_an_interval_narrow():
    same = [tried("01", "00", "11", "10", seed=seed) for seed in range(3)]
    found = of(*same)
    assert found.average.n == 3
    assert found.average.high - found.average.low > 0.3
    for estimate in (found.average, found.final, found.any):
        assert 0 <= estimate.low <= estimate.mean <= estimate.high <= 1


def test_a_difference_between_identical_seeds_is_not_claimed():
    runs = [
        tried(*table, seed=seed, agent=agent)
        for seed in range(2)
        for agent, table in (("static", ("0", "0", "0", "0")), ("jitrl", ("1", "0", "0", "0")))
    ]
    (found,) = suites.differences(groups(runs))
    assert found.average.mean == 0.25
    assert found.average.low <= 0


def test_a_difference_is_paired_attempt_by_attempt():
    static = tried("00", "0.", "00", "0.", agent="static")
    ours = tried("11", "11", "1.", "1.")
    (found,) = suites.differences(groups([static, ours]))
    assert found.average.mean == 1.0  # on the five attempts that both have finished
    assert found.average.low > 0
    assert (found.final.mean, found.final.n) == (1.0, 1)


def test_seeds_with_other_tasks_are_not_averaged():
    with pytest.raises(BadRun, match="other tasks"):
        of(tried("0", "1"), tried("0", "1", "1", seed=1))


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (5, 5), (2, 7), (400, 812)])
def test_wilsons_interval_is_the_one_whose_ends_the_share_is_just_compatible_with(successes, n):
    found = wilson(successes, n)
    share = successes / n
    for p in (found.low, found.high):
        if 0 < p < 1:
            assert abs(share - p) == pytest.approx(1.959964 * math.sqrt(p * (1 - p) / n), rel=1e-5)
    assert 0 <= found.low <= share <= found.high <= 1


def test_the_bootstrap_agrees_with_the_normal_interval_on_many_tasks():
    means = np.random.default_rng(1).random(400)
    found = bootstrapped(means * 5, np.full(400, 5.0))
    half = 1.96 * means.std() / 20
    assert found.mean == pytest.approx(means.mean())
    assert found.low == pytest.approx(means.mean() - half, abs=0.004)
    assert found.high == pytest.approx(means.mean() + half, abs=0.004)
    assert bootstrapped(means * 5, np.full(400, 5.0)) == found


@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_where_all_tasks_agree_the_interval_is_wilsons(mean):
    found = bootstrapped(np.full(6, 3 * mean), np.full(6, 3.0))
    expected = wilson(int(6 * mean), 6)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_few_tasks_that_agree_show_no_difference_and_many_do():
    few, many = (bootstrapped(np.ones(n), np.ones(n), within=(-1.0, 1.0)) for n in (3, 12))
    assert few.low < 0 < many.low


@pytest.mark.parametrize("estimate", [wilson(0, 0), bootstrapped(np.zeros(0), np.zeros(0))])
def test_nothing_tells_nothing(estimate):
    assert math.isnan(estimate.mean)
    assert not estimate.known


def test_one_task_has_no_interval():
    found = of(tried("0110"))
    assert (found.average.mean, found.average.known) == (0.5, False)


def test_attempts_that_never_began_count_in_no_share_and_are_named():
    run = tried("0-1", "111", "--0", "---")
    found = of(run)
    assert (found.tasks, found.attempts, found.average.mean) == (3, 6, pytest.approx(4 / 6))
    assert (found.final.mean, found.final.n, found.any.mean) == (1.0, 1, 1.0)
    (group,) = groups([run])
    assert suites.unbegun([run]) == [
        ("w:2", 2, "the site is down"),
        ("w:3", 3, "the site is down"),
        ("w:0", 1, "the site is down"),
    ]
    assert suite_tables.unbegun([group]).rows[0] == ("w:2", "2", "the site is down")
    for table in (suite_tables.scores([group]), suite_tables.each_run([run])):
        assert dict(zip(table.columns, table.rows[0], strict=True))["never began"] == "6"
    assert suites.reasons([run]) == []
    assert [name for name, _ in suites.by_label(group, suites.task)] == ["w:0", "w:1", "w:2"]
    assert suites.UNBEGUN in suite_tables.note([group])
    (whole,) = groups([tried("01", "10")])
    assert "never began" not in suite_tables.scores([whole]).columns
    assert suites.UNBEGUN not in suite_tables.note([whole])
    assert "Never began" not in [title for title, _ in suite_tables.sections([whole])]


def test_a_difference_leaves_out_what_never_began_on_either_side():
    static, ours = tried("0-", "00", "0-", agent="static"), tried("11", "-1", "1-")
    (found,) = suites.differences(groups([static, ours]))
    assert found.average.mean == 1.0
    assert math.isnan(found.final.mean)
    assert suites.differences(groups([tried("-1", agent="static"), tried("1-")])) == []


def test_a_curve_keeps_to_the_attempts_it_is_of():
    (group,) = groups([tried("-01", "-11")])
    assert suites.attempts(group) == [1, 2]
    assert suites.by_attempt(group).tolist() == [[0.5, 1.0]]
    (apart,) = groups([tried("-1", "-1"), tried("1-", "1-", seed=1)])
    assert suites.attempts(apart) == []
    assert suites.by_attempt(apart).shape == (2, 0)


@pytest.mark.parametrize(
    "tables", [[("-01", "-11")], [("-1", "-1"), ("1-", "1-")], [("-1",)], [("0-1",), ("001",)]]
)
def test_what_never_began_can_be_reported_and_drawn(tmp_path: Path, tables: list[tuple[str, ...]]):
    runs = [tried(*lines, seed=seed) for seed, lines in enumerate(tables)]
    static = [tried(*lines, seed=seed, agent="static") for seed, lines in enumerate(tables)]
    report.write([*runs, *static], tmp_path)
    assert "## Never began" in (tmp_path / "report.md").read_text()


def test_a_run_that_never_began_has_nothing_to_report():
    with pytest.raises(BadRun, match=r"none of the attempts.*the site is down.*--resume"):
        groups([tried("--", "--")])


def test_the_command_that_repeats_a_run_repeats_what_never_began_as_well():
    assert not any("--episodes" in line for line in report.commands([tried("0-", "11")]))


def test_a_report_prints_its_definitions_and_tables(tmp_path: Path):
    runs = [tried("001", "011", "000", "111"), tried("000", "010", "000", "100", agent="static")]
    files = report.write(runs, tmp_path)
    assert [file.name for file in files] == [*report.FILES, "attempts.csv"]
    page, text = (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()
    for said in (
        *suites.DEFINITIONS,
        "pass@any",
        "By site",
        "By template",
        "By task",
        "shop + wiki",
    ):
        assert said.replace("'", "&#x27;") in page
        assert said in text
    assert "## Against static" in text
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_where_nobody_judges_no_score_is_told_as_a_verdict(tmp_path: Path):
    run = tried("00", reasons={1: "crash: went"})
    silent = replace(run.manifest, tasks=(replace(TASKS[0], verdict=False),))
    run = replace(run, manifest=silent)
    table = suite_tables.scores(groups([run]))
    assert table.rows[0][-5:] == ("1", "2", "-", "-", "-")
    text = report.markdown(groups([run]))
    assert suites.NO_VERDICT in text
    assert "Final:" not in text
    rows = list(csv.DictReader(io.StringIO(suite_tables.comma_separated([run]))))
    assert [(row["success"], row["score"]) for row in rows] == [("", "")] * 2
    rows = list(csv.DictReader(io.StringIO(report.comma_separated(groups([run])))))
    assert (rows[0]["mean"], rows[0]["last"], rows[0]["any"]) == ("", "", "")
    assert rows[0]["attempts"] == "2"
    report.write([run], tmp_path / "report")


def test_beside_a_verdict_what_has_none_shows_a_dash_in_every_table():
    run, other = tried("01", "11"), tried("00", "00", world="web:x")
    silent = tuple(replace(task, verdict=False) for task in other.manifest.tasks)
    other = replace(other, path=Path("b"), manifest=replace(other.manifest, tasks=silent))
    among = groups([run, other])
    tables = [suite_tables.scores(among), suite_tables.each_run([run, other])]
    tables += [table for heading, table in suite_tables.sections(among) if heading.startswith("By")]
    assert len(tables) == 4
    for table in tables:
        marks = [row[table.columns.index("Avg")] for row in table.rows]
        assert sum(mark == "-" for mark in marks) * 2 == len(marks)
    note = suite_tables.note(among)
    assert suites.NO_VERDICT in note and suites.DEFINITIONS[0] in note
    assert suites.JUDGE not in note


def test_a_single_task_and_seed_speaks_of_no_brackets():
    text = report.markdown(groups([tried("01")]))
    assert "In brackets" not in text
    assert "no interval" in text


def test_many_tasks_get_no_row_each_but_a_line_in_the_plain_file(tmp_path: Path):
    run = tried("01", "11", reasons={3: "crash: went"})
    many = tuple(Task(f"w:{n}") for n in range(21))
    titles = [title for title, _ in suite_tables.sections(groups([run]))]
    assert "By task" in titles
    wide = Run(run.path, replace(run.manifest, tasks=many), run.episodes)
    assert "By task" not in [title for title, _ in suite_tables.sections(groups([wide]))]
    rows = list(csv.DictReader(io.StringIO(suite_tables.comma_separated([run]))))
    assert [(row["task"], row["attempt"], row["success"]) for row in rows] == [
        ("w:0", "0", "0"),
        ("w:1", "0", "1"),
        ("w:0", "1", "1"),
        ("w:1", "1", "1"),
    ]
    assert rows[3]["reason"] == "crash: went"


def test_the_plain_table_holds_avg_final_and_any():
    rows = list(csv.DictReader(io.StringIO(report.comma_separated(groups([tried("01", "10")])))))
    assert (rows[0]["mean"], rows[0]["last"], rows[0]["any"]) == ("0.5", "0.5", "1.0")
    assert (rows[0]["tasks"], rows[0]["attempts"], rows[0]["best"]) == ("2", "4", "")


def test_a_game_and_a_suite_are_reported_side_by_side(tmp_path: Path):
    runs = [made_up([1, 2, 3], world="corridor:5"), tried("01", "10")]
    text = report.markdown(groups(runs))
    assert "mean score" in text
    assert "pass@any" in text
    report.write(runs, tmp_path)


def test_a_hostile_reason_cannot_break_the_page():
    run = tried("00", "00", reasons={0: "<script>|x|</script>: y"})
    assert "<script" not in report.page(groups([run]))
    assert re.search(r"\\\|x\\\|", report.markdown(groups([run])))


@pytest.mark.parametrize("attempts", [1, 5, 30])
def test_curves_of_any_length_can_be_drawn(tmp_path: Path, attempts: int):
    tables = ("01" * attempts)[:attempts], ("1" * attempts)
    report.write([tried(*tables)], tmp_path / "two")
    report.write([tried(*tables), tried(*tables, seed=1)], tmp_path / "seeds")
    report.write([tried(tables[0])], tmp_path / "one")
