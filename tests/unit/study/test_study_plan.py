from __future__ import annotations

from pathlib import Path

import pytest

from jitrl.errors import BadPlan, InvalidValue, JitrlError, UnknownName
from jitrl.study.plan import Stage, parse, read

WORLD, ARM = '[[world]]\nname = "corridor:5"\n', '[[arm]]\nagent = "static"\n'
SMALL = WORLD + ARM


def test_a_plan_is_worlds_by_arms_by_seeds_paired_by_seed() -> None:
    plan = parse(
        'title = "One"\nseeds = 2\n' + SMALL + '[[world]]\nname = "corridor:7"\n'
        '[[arm]]\nagent = "jitrl"\n',
        "study.toml",
    )
    assert [(cell.world, cell.arm, cell.seed) for cell in plan.cells] == [
        (world, arm, seed)
        for world in ("corridor:5", "corridor:7")
        for arm in ("static", "jitrl")
        for seed in (0, 1)
    ]
    assert (plan.title, plan.baseline, plan.seeds) == ("One", "static", (0, 1))
    assert [cell.configuration.seed for cell in plan.cells] == [0, 1] * 4
    assert plan.cells[1].folder == Path("runs/corridor-5/static-1")


def test_what_an_arm_says_comes_before_its_world_and_that_before_the_plan() -> None:
    plan = parse(
        "episodes = 1\nsteps = 2\nproposals = 3\nset = { beta = 1, gamma = 0.5, k = 3 }\n"
        '[[world]]\nname = "corridor:5"\nsteps = 20\nproposals = 30\nset = { beta = 2, k = 4 }\n'
        '[[arm]]\nagent = "jitrl"\nproposals = 300\nset = { beta = 3 }\n'
    )
    what = plan.cells[0].configuration
    assert (what.episodes, what.steps, what.proposals) == (1, 20, 300)
    assert what.overrides == {"beta": 3, "gamma": 0.5, "k": 4}


def test_what_nobody_says_is_what_is_usual_for_a_run() -> None:
    what = parse(SMALL).cells[0].configuration
    assert (what.steps, what.episodes, what.preset, what.scores) == (50, None, "default", "prior")
    with_model = parse('model = "openai/x"\n' + SMALL).cells[0].configuration
    assert with_model.scores == "labels"


def test_seeds_are_a_number_or_a_list() -> None:
    assert parse("seeds = [7, 3]\n" + SMALL).seeds == (7, 3)
    assert parse(SMALL).seeds == (0,)


def test_a_title_is_by_default_the_name_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "which.toml").write_text(SMALL)
    plan = read(tmp_path / "which.toml")
    assert plan.title == "which"
    assert plan.text == SMALL


def test_labels_name_and_their_folders_are_plain() -> None:
    plan = parse(
        '[[world]]\nname = "corridor:5"\nlabel = "A place / of: its own"\n'
        '[[arm]]\nagent = "jitrl"\nlabel = "../x"\n'
    )
    assert (plan.cells[0].world, plan.cells[0].arm) == ("A place / of: its own", "../x")
    assert plan.cells[0].folder == Path("runs/A-place-of-its-own/x-0")


def test_a_world_begins_with_what_another_left_and_an_arm_without_memory_does_not() -> None:
    plan = parse(
        WORLD
        + '[[world]]\nname = "corridor:7"\nlabel = "held out"\n'
        + 'start = "corridor:5"\nfrozen = true\n'
        + ARM
        + '[[arm]]\nagent = "jitrl"\n'
    )
    static, jitrl = [cell for cell in plan.cells if cell.world == "held out"]
    assert (static.after, static.configuration.start) == (None, None)
    assert jitrl.after == Path("runs/corridor-5/jitrl-0")
    assert jitrl.configuration.start == "runs/corridor-5/jitrl-0"
    assert jitrl.configuration.frozen
    assert plan.worlds[1] == Stage("held out", "corridor:5", True)


def test_an_arm_may_play_some_of_the_worlds_alone() -> None:
    plan = parse(
        WORLD + '[[world]]\nname = "corridor:7"\n' + ARM + 'only = ["corridor:7"]\n'
        '[[arm]]\nagent = "jitrl"\n'
    )
    assert [(cell.world, cell.arm) for cell in plan.cells] == [
        ("corridor:5", "jitrl"),
        ("corridor:7", "static"),
        ("corridor:7", "jitrl"),
    ]


def test_games_are_where_the_command_says(tmp_path: Path) -> None:
    assert parse(SMALL, games=tmp_path).cells[0].configuration.games == str(tmp_path)


def test_figures_of_the_paper_stand_beside_an_arm_of_a_world() -> None:
    plan = parse(SMALL + '[paper."corridor:5"]\nstatic = 5.5\n')
    assert plan.paper == {"corridor:5": {"static": 5.5}}


WRONG = [
    ("seeds =", InvalidValue, "is no TOML"),
    ("", BadPlan, "needs at least one [[world]]"),
    (WORLD, BadPlan, "needs at least one [[arm]]"),
    ("world = 3\n" + ARM, BadPlan, "needs at least one [[world]]"),
    ("episode = 3\n" + SMALL, BadPlan, "there is no 'episode': did you mean episodes"),
    ("xyzzy = 3\n" + SMALL, BadPlan, "there is no 'xyzzy': it may have arm, attempts"),
    ("seed = 3\n" + SMALL, BadPlan, "there is no 'seed': did you mean seeds"),
    ("workers = 3\n" + SMALL, BadPlan, "there is no 'workers'"),
    ("frozen = true\n" + SMALL, BadPlan, "there is no 'frozen'"),
    ('[[world]]\nnmae = "corridor:5"\n' + ARM, BadPlan, "world 1: there is no 'nmae': did you"),
    (WORLD + '[[arm]]\nagnet = "static"\n', BadPlan, "arm 1: there is no 'agnet': did you mean"),
    ("[[world]]\nsteps = 5\n" + ARM, BadPlan, "each needs name, which is a text: None"),
    (WORLD + "[[arm]]\nsteps = 5\n", BadPlan, "each needs agent, which is a text: None"),
    (WORLD + WORLD + ARM, BadPlan, "two are called 'corridor:5': give one another label"),
    (SMALL + ARM, BadPlan, "two are called 'static': give one another label"),
    (
        WORLD + ARM + 'label = "a b"\n[[arm]]\nagent = "static"\nlabel = "a-b"\n',
        BadPlan,
        "two cells have the folder 'runs/corridor-5/a-b-0': label them apart",
    ),
    (WORLD + ARM + 'label = ""\n', InvalidValue, "label must be a text, and not empty"),
    ("title = 3\n" + SMALL, InvalidValue, "title must be a text"),
    ("seeds = 0\n" + SMALL, InvalidValue, "seeds must"),
    ("seeds = []\n" + SMALL, InvalidValue, "at least one, none twice"),
    ("seeds = [1, 1]\n" + SMALL, InvalidValue, "at least one, none twice"),
    ("seeds = [-1]\n" + SMALL, InvalidValue, "seeds must"),
    ("seeds = true\n" + SMALL, InvalidValue, "seeds must"),
    ('episodes = "3"\n' + SMALL, InvalidValue, "episodes must be a whole number"),
    ("episodes = true\n" + SMALL, InvalidValue, "episodes must be a whole number"),
    ("summarise = 1\n" + SMALL, InvalidValue, "summarise must be true or false"),
    ("model = 1\n" + SMALL, InvalidValue, "model must be a text"),
    ("set = 1\n" + SMALL, InvalidValue, "overrides must be a table"),
    ("episodes = 0\n" + SMALL, BadPlan, "corridor:5, static: episodes must"),
    (WORLD + '[[arm]]\nagent = "jitr"\n', BadPlan, "corridor:5, jitr: "),
    (WORLD + '[[arm]]\nagent = "reflexion"\n', BadPlan, "needs a model to tell"),
    (WORLD + 'start = "x"\n' + ARM, BadPlan, "start must be the label of an earlier world: 'x'"),
    (WORLD + 'replays = "corridor:5"\n' + ARM, BadPlan, "replays must be the label of an earlier"),
    (WORLD + 'reorders = "corridor:5"\n' + ARM, BadPlan, "reorders must be the label of an earl"),
    (WORLD + "frozen = true\n" + ARM, BadPlan, "frozen needs a start"),
    (
        WORLD + '[[world]]\nname = "corridor:7"\nstart = "corridor:5"\n'
        '[[arm]]\nagent = "jitrl"\nonly = ["corridor:7"]\n',
        BadPlan,
        "corridor:7, jitrl: it begins with what is not played: see `only`",
    ),
    (SMALL + "[paper]\nx = 3\n", UnknownName, "world of the paper"),
    ("paper = 3\n" + SMALL, InvalidValue, "paper must be a table"),
    (SMALL + '[paper]\n"corridor:5" = 3\n', InvalidValue, "paper must be a table: arm, figure"),
    (SMALL + '[paper."corridor:5"]\nx = 3\n', UnknownName, "arm of the paper"),
    (SMALL + '[paper."corridor:5"]\nstatic = "much"\n', InvalidValue, "figure of the paper"),
]


@pytest.mark.parametrize(("text", "kind", "told"), WRONG, ids=range(len(WRONG)))
def test_a_plan_that_cannot_be_says_what_is_wrong_in_one_line(
    text: str, kind: type[JitrlError], told: str
) -> None:
    with pytest.raises(kind) as raised:
        parse(text, "study.toml")
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_arm_that_plays_an_unknown_world_is_told() -> None:
    with pytest.raises(BadPlan, match=r"static: only names 'x', which is no world of the plan"):
        parse(WORLD + ARM + 'only = ["x"]\n')
    with pytest.raises(BadPlan, match=r"static: only must be a list of labels of worlds"):
        parse(WORLD + ARM + 'only = "corridor:5"\n')


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="name a TOML file"):
        read(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"title = '\xe9'")
    with pytest.raises(InvalidValue, match="cannot be read"):
        read(tmp_path / "latin.toml")
