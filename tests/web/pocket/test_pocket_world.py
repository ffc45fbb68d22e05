"""The pocket web as a suite: real sites, a real browser, WebArena's own evaluators."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jitrl.errors import InvalidValue
from jitrl.worlds import make
from jitrl.worlds.pocket.world import PocketWeb

# how one product's price is found and told, as it is remembered
PRICE = (
    'fill(searchbox("Search"), task("the product _ $"))',
    'press(searchbox("Search"), "Enter")',
    'click(link(task("the product _ $")))',
    'send_msg_to_user(beside(task("is the _ of the")))',
)
STATUS = (
    'click(link("Profile"))',
    'fill(textbox(task("set the _ of my")), task("profile to _ $"))',
)


@pytest.fixture(scope="module")
def world() -> Iterator[PocketWeb]:
    opened = make("pocket-web:all")
    assert isinstance(opened, PocketWeb)
    yield opened
    opened.close()


def played(world: PocketWeb, number: int, actions: tuple[str, ...]) -> tuple[float, str]:
    shown = world.reset(1, f"pocket-web:{number}", limit=len(actions))
    for action in actions:
        assert not shown.terminated, shown.reason
        shown = world.step(action)
        assert "not executed" not in shown.reason, shown.reason
    return shown.score, shown.reason


def test_there_are_tasks_of_many_templates_on_four_sites(world: PocketWeb) -> None:
    assert len(world.tasks) > 40
    assert len({task.template for task in world.tasks}) > 10
    sites = {site for task in world.tasks for site in task.sites}
    assert sites == {"shopping", "shopping_admin", "wikipedia", "gitlab"}
    with pytest.raises(InvalidValue):
        make("pocket-web:100000")


@pytest.mark.parametrize("number", [0, 1, 2, 6])
def test_what_solved_one_task_solves_the_others_of_its_template(
    world: PocketWeb, number: int
) -> None:
    assert played(world, number, PRICE) == (1.0, "")


def test_a_wrong_answer_is_none(world: PocketWeb) -> None:
    score, _ = played(world, 0, (*PRICE[:3], 'send_msg_to_user("nothing at all")'))
    assert score == 0.0


def test_states_are_known_without_ports_and_ids(world: PocketWeb) -> None:
    shown = world.reset(1, "pocket-web:0")
    assert shown.state["url"] == "shopping/"
    for action in PRICE[:2]:
        shown = world.step(action)
    assert shown.state["url"] == "shopping/catalogsearch/result/?q"
    assert shown.state["history"] == "\n".join(PRICE[:2])


def test_every_attempt_finds_the_same_web(world: PocketWeb) -> None:
    first = world.reset(1, "pocket-web:19").text
    world.step('click(link("My Cart"))')
    again = world.reset(1, "pocket-web:19").text
    assert first == again


def test_a_login_that_expires_is_recorded_and_made_again(world: PocketWeb) -> None:
    world.reset(1, "pocket-web:8")
    world._pocket.expire("shopping")
    shown = world.step('click(link("My Orders"))')
    assert "a login is asked for: shopping" in shown.reason
    assert shown.actions
    world.reset(1, "pocket-web:8")
    assert "asked for" not in world.step('click(link("My Orders"))').reason
