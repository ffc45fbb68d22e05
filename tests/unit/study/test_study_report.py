"""What a study's report says, of studies that were really played in a small world."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from plugin_kit import installed

from jitrl.bench.folder import Run
from jitrl.bench.jobs import Processes
from jitrl.errors import BadPlan, BadRun
from jitrl.study import report, tables
from jitrl.study.hindsight import Hindsight
from jitrl.study.plan import parse
from jitrl.study.play import play
from jitrl.study.results import Study, load

PLAN = """
title = "Corridors <b>"
seeds = 3
episodes = 12
steps = 8
[[world]]
name = "corridor:4"
[[world]]
name = "locks:3"
label = "locks"
attempts = 3
episodes = 9
[[world]]
name = "corridor:4"
label = "again"
start = "corridor:4"
frozen = true
replays = "corridor:4"
[[world]]
name = "corridor:5"
start = "corridor:4"
frozen = true
[[world]]
name = "corridor:4"
label = "otherwise"
reorders = "corridor:4"
[[world]]
name = "corridor:3"
start = "corridor:4"
[[arm]]
agent = "static"
[[arm]]
agent = "jitrl"
[[arm]]
agent = "null"
[paper."corridor:4"]
jitrl = 4.5
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    out = tmp_path_factory.mktemp("study")
    with installed():
        assert play(parse(PLAN), out, lambda: Processes(2)).failed == {}
    with pytest.raises(BadPlan):
        parse(PLAN)
    return load(out)  # what is installed no longer: a report needs no world


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_every_figure_follows_from_the_attempts_that_are_told(study: Study) -> None:
    told = rows(report.attempts(study))
    assert len(told) == 3 * 3 * (12 + 9 + 12 + 12 + 12 + 12)
    for entry in study.entries.values():
        ours = [
            float(row["score"])
            for row in told
            if (row["world"], row["arm"]) == (entry.world, entry.arm)
        ]
        scores = [float(s >= 1) for s in ours] if entry.suite else ours
        assert np.nanmean(entry.scores) == pytest.approx(np.mean(scores))


def test_the_scores_of_each_run_and_task_stand_in_a_row(study: Study) -> None:
    told = rows(report.scores(study))
    assert len(told) == 3 * 3 * (1 + 3 + 1 + 1 + 1 + 1)
    for entry in study.entries.values():
        of_entry = [row for row in told if (row["world"], row["arm"]) == (entry.world, entry.arm)]
        numbers = [list(map(float, row["scores"].split())) for row in of_entry]
        assert numbers == entry.scores.reshape(-1, entry.scores.shape[2]).tolist()
    assert {row["task"] for row in told if row["world"] == "again"} == {"corridor:4"}


def test_null_is_identical_to_static_and_has_no_interval(study: Study) -> None:
    found = {(one.world, one.arm): one for one in tables.compared(study)}
    for world in ("corridor:4", "locks", "again", "all worlds"):
        assert found[world, "null"].average.verdict == "identical"
    shown = tables.differences(study, tables.compared(study))
    (row,) = [r for r in shown.rows if r[0] == "locks" and r[1].startswith("null")]
    assert row[3:5] == ("0", "0")


def test_forgetting_and_held_out_worlds_are_told_apart(study: Study) -> None:
    titles = dict(tables.views(study, tables.compared(study)))
    (forgetting,) = [title for title in titles if title.startswith("Forgetting")]
    assert {row[1] for row in titles[forgetting].rows} == {"static", "jitrl", "null"}
    for title, world in (("Held out", "corridor:5"), ("Carried over", "corridor:3")):
        (table,) = [table for told, table in titles.items() if told.startswith(title)]
        assert [row[:3] for row in table.rows] == [
            (world, arm, "corridor:4") for arm in ("jitrl", "null")
        ]


def test_the_order_is_paired_by_seed_and_what_is_played_alike_is_identical(study: Study) -> None:
    titles = dict(tables.views(study, tables.compared(study)))
    (table,) = [table for told, table in titles.items() if told.startswith("Order")]
    assert [row[:2] for row in table.rows] == [("otherwise", arm) for arm in study.plan.arms]
    assert {row[2:] for row in table.rows} == {("0", "identical")}  # the same world, seeds, order


@pytest.mark.parametrize(
    ("apart", "said"), [(0.03, "higher"), (0.307, "higher, but not after Holm's correction")]
)
def test_what_a_view_shows_is_corrected_for_all_of_its_rows(
    study: Study, apart: float, said: str
) -> None:
    gaps = np.array([1.0, 1 + apart, 1 - apart])[:, None, None]  # 0.307: p is 0.03, of three rows
    entries = {
        (world, arm): replace(entry, scores=gaps * (world == "otherwise") * np.ones((1, 1, 12)))
        for (world, arm), entry in study.entries.items()
        if world in ("corridor:4", "otherwise")
    }
    (table,) = [
        table
        for told, table in tables.views(replace(study, entries=entries), [])
        if told.startswith("Order")
    ]
    assert [row[-1] for row in table.rows] == [said] * 3


def test_a_memory_of_another_model_is_told_with_its_model(study: Study) -> None:
    other = {
        (world, arm): replace(entry, runs={s: played_by(run) for s, run in entry.runs.items()})
        for (world, arm), entry in study.entries.items()
        if world == "corridor:4"
    }
    mixed = replace(study, entries=study.entries | other)
    titles = dict(tables.views(mixed, tables.compared(mixed)))
    for title, table in titles.items():
        if title.startswith(("Held out", "Carried over")):
            assert {row[2] for row in table.rows} == {"corridor:4, by openai/other"}


def played_by(run: Run) -> Run:
    configuration = replace(run.configuration, model="openai/other", scores="labels")
    return replace(run, manifest=replace(run.manifest, configuration=configuration))


def test_no_share_of_successes_is_told_to_lie_outside_of_what_a_share_can_be(study: Study) -> None:
    rows = [row for row in tables.scores(study).rows if row[0] == "locks"]
    assert len(rows) == 3
    for row in rows:
        for cell in row[4:6]:
            low, high = map(float, cell.split("[")[1].rstrip("]").split(","))
            assert 0 <= low <= high <= 1


def test_the_papers_figure_stands_beside_ours(study: Study) -> None:
    table = tables.scores(study)
    assert table.columns[-1] == "paper"
    assert [row[-1] for row in table.rows if row[:2] == ("corridor:4", "jitrl")] == ["4.5"]


def test_decisions_are_told_right_or_wrong_by_what_all_runs_have_seen(study: Study) -> None:
    entries = study.of_world("corridor:4")
    seen = Hindsight(run for entry in entries for run in entry.runs.values())
    jitrl = study.entries["corridor:4", "jitrl"]
    for run in jitrl.runs.values():
        found = seen.turned(run)
        changed = sum(played.changed for played in run.episodes)
        assert found.right + found.wrong + found.equal + found.untold == changed
    static = study.entries["corridor:4", "static"]
    assert all(seen.turned(run).right == 0 for run in static.runs.values())


def test_hindsight_is_the_mean_of_all_other_returns(study: Study) -> None:
    """Computed again from the lines, for one decision after another."""
    entries = study.of_world("corridor:4")
    every: dict[tuple[str, str], list[float]] = {}
    turned = []
    for entry in entries:
        for run in entry.runs.values():
            steps = [
                json.loads(one) for one in (run.path / "steps.jsonl").read_bytes().splitlines()
            ]
            gamma = run.manifest.preset["gamma"]
            for step in steps:
                later = [
                    s for s in steps if s["episode"] == step["episode"] and s["t"] >= step["t"]
                ]
                value = sum(s["reward"] * gamma ** (s["t"] - step["t"]) for s in later)
                state = json.dumps({k: v for k, v in step["state"].items() if k != "history"})
                every.setdefault((state, step["action"]), []).append(value)
                if entry.arm == "jitrl" and step["changed"]:
                    turned.append((state, step["action"], step["without"], value))
    gaps = []
    for state, action, without, value in turned:
        others = list(every[state, action])
        others.remove(value)
        base = every.get((state, without), [])
        gaps.append(np.mean(others) - np.mean(base) if others and base else np.nan)
    seen = Hindsight(run for entry in entries for run in entry.runs.values())
    found = [seen.turned(run) for run in study.entries["corridor:4", "jitrl"].runs.values()]
    close = np.abs(np.array(gaps)) < 1e-9
    assert sum(one.untold for one in found) == int(np.isnan(gaps).sum())
    assert sum(one.right for one in found) == pytest.approx(
        int((np.array(gaps) > 0).sum()), abs=int(close.sum())
    )


def test_the_report_is_its_files_and_the_same_each_time(study: Study, tmp_path: Path) -> None:
    files = report.write(report.findings(study), tmp_path / "one")
    assert [file.name for file in files] == list(report.FILES)
    again = report.write(report.findings(study), tmp_path / "two")
    assert [f.read_bytes() for f in files] == [f.read_bytes() for f in again]
    page = (tmp_path / "one" / "report.html").read_text()
    assert "Corridors &lt;b&gt;" in page and "<script" not in page
    text = (tmp_path / "one" / "report.md").read_text()
    for said in ("## Scores", "## Against static", "## What it cost", "```toml", "jitrl bench"):
        assert said in text
    found = rows((tmp_path / "one" / "differences.csv").read_text())
    assert {row["verdict"] for row in found if row["arm"] == "null"} == {"identical"}


def test_what_is_no_study_or_has_not_begun_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadRun, match="is no study"):
        load(tmp_path)
    (tmp_path / "plan.toml").write_text(PLAN)
    with pytest.raises(BadRun, match="no episode of"):
        load(tmp_path)
