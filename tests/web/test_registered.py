"""Any task of BrowserGym's registry: judged by its own `validate`, after each step."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import pytest

from jitrl.errors import InvalidValue, MissingExtra
from jitrl.worlds import make

_PACKAGE = '''
import os

from browsergym.core.registration import register_task
from browsergym.core.task import AbstractBrowserTask


class Press(AbstractBrowserTask):
    """Press the button that the seed names."""

    @classmethod
    def get_task_id(cls):
        return "doors.press"

    def __init__(self, seed, doors=2):
        super().__init__(seed)
        self.doors = doors

    def setup(self, page):
        self.right = int(self.random.randint(self.doors))
        buttons = "".join(
            f"<button onclick='document.title = {i}'>Door {i}</button>" for i in range(self.doors)
        )
        page.set_content(f"<title>none</title><h1>Doors</h1>{buttons}")
        return f'Press "Door {self.right}".', {}

    def validate(self, page, chat_messages):
        said = page.title()
        return float(said == str(self.right)), said != "none", "", {}

    def teardown(self):
        pass


class Keys(Press):
    """Tell which keys to language models a task finds."""

    def setup(self, page):
        super().setup(page)
        names = sorted(name for name in os.environ if name.upper().endswith("_KEY"))
        return f"Keys: {', '.join(names)}.", {}


register_task("doors.press", Press, task_kwargs={"doors": 3})
register_task("doors.keys", Keys)
'''


@pytest.fixture
def doors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "browsergym" / "doors"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(_PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)
    browsergym = sys.modules.get("browsergym")
    if browsergym is not None:  # a namespace that was looked up before
        monkeypatch.setattr(
            browsergym, "__path__", [*browsergym.__path__, str(tmp_path / "browsergym")]
        )


@pytest.mark.usefixtures("doors")
def test_a_registered_task_is_played_with_its_arguments_and_its_own_verdict() -> None:
    world = make("browsergym:doors.press")
    try:
        shown = world.reset(4)
        assert sum(action.startswith("click") for action in shown.actions) == 3
        after = world.step('click(button(task("press _ $")))')
        assert (after.score, after.terminated) == (1.0, True)
        shown = world.reset(4)
        wrong = next(a for a in shown.actions if a.startswith('click(button("'))
        assert world.step(wrong).score == 0.0
    finally:
        world.close()


@pytest.mark.usefixtures("doors")
def test_a_task_that_is_not_registered_is_told_with_those_that_are() -> None:
    with closing(make("browsergym:doors.pres")) as world:
        assert "BrowserGym task must be one of: doors.keys, doors.press" in world.reset(1).reason


def test_what_has_a_world_of_its_own_is_named_and_so_is_what_is_not_installed() -> None:
    for name, ours in (
        ("miniwob.click-test", "miniwob:NAME"),
        ("openended", "web:ADDRESS"),
        ("webarena.3", "webarena:NUMBER"),
        ("webarenalite.3", "webarena-lite:NUMBER"),
        ("webarena_verified.257.470.2", "webarena-verified:NUMBER"),
    ):
        with pytest.raises(InvalidValue, match=ours):
            make(f"browsergym:{name}")
    with pytest.raises(MissingExtra, match="browsergym-nothing"):
        make("browsergym:nothing.3")
    with pytest.raises(InvalidValue, match="name"):
        make("browsergym:../x")


@pytest.mark.parametrize("name", ["visualwebarena.0", "safearena.1", "timewarp.2,doors.press"])
def test_tasks_that_ask_a_language_model_nobody_has_named_are_refused(name: str) -> None:
    with pytest.raises(InvalidValue, match="asks a language model for verdicts") as error:
        make(f"browsergym:{name}")
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("doors")
def test_no_task_finds_the_key_to_a_language_model(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "JITRL_API_KEY", "DOOR_KEY"):
        monkeypatch.setenv(name, "secret")
    with closing(make("browsergym:doors.keys")) as world:
        assert world.reset(1).state["task"] == "Keys: DOOR_KEY."
