"""A real Chromium on a real page: what the world shows and takes."""

from __future__ import annotations

from http.server import ThreadingHTTPServer

import pytest
from web_site_kit import GOAL, address, open_world

from jitrl.errors import InvalidValue, UnknownName, WorldError
from jitrl.worlds import make
from jitrl.worlds.browser.world import BrowserWorld

# --- what is shown


def test_an_observation_tells_the_page_the_task_and_the_actions(world: BrowserWorld) -> None:
    shown = world.reset(1)
    assert dict(shown.state) == {"url": "site/", "history": "", "task": GOAL}
    assert 'button "Hang"' in shown.text
    assert 'click(button("Change"))' in shown.actions
    assert 'fill(textbox("Name"), task("and type _ as the"))' in shown.actions
    assert 'send_msg_to_user(beside("Price"))' in shown.actions
    assert not any('"Off"' in action for action in shown.actions)
    assert (shown.reward, shown.score, shown.reason) == (0.0, 0.0, "")


def test_what_a_model_writes_with_ids_is_the_same_action(world: BrowserWorld) -> None:
    shown = world.reset(1)
    (line,) = [line for line in shown.text.splitlines() if 'button "Change"' in line]
    bid = line.strip()[1:].partition("]")[0]
    assert shown.reader is not None
    assert shown.reader.read(f"click('{bid}')") == 'click(button("Change"))'
    after = world.step(f'click("{bid}")')
    assert after.state["history"] == 'click(button("Change"))'
    assert "Changed" in after.text


def test_of_elements_that_are_alike_the_one_that_was_meant_is_found_again(
    server: ThreadingHTTPServer,
) -> None:
    world = open_world(server, "/mugs")
    try:
        shown = world.reset(1)
        _, second = [line for line in shown.text.splitlines() if 'link "Edit"' in line]
        bid = second.strip()[1:].partition("]")[0]
        meant = world.step(f'click("{bid}")').state["history"]
        assert meant == 'click(link("Edit", within=row(task("price of _ and type"))))'
        shown = world.step('goto(site("site") + "/mugs/turned")')
        assert 'click(link("Edit"))' not in shown.actions
        assert "names no single element" in world.step('click(link("Edit"))').reason
        world.step(meant)
        items = ("/item/1", "/item/2", "/item/3")
        assert [path for path in server.visited if path in items] == 2 * ["/item/2"]
    finally:
        world.close()


def test_only_actions_that_changed_the_page_are_in_the_history(world: BrowserWorld) -> None:
    world.reset(1)
    world.step('click(button("Nothing"))')
    world.step('click(button("Change"))')
    again = world.step('click(button("Change"))')
    assert again.state["history"] == 'click(button("Change"))'


def test_addresses_are_known_without_ids_and_values(world: BrowserWorld) -> None:
    world.reset(1)
    assert world.step('click(link("Item"))').state["url"] == "site/item/<id>?colour"


def test_a_value_from_the_task_is_typed_and_remembered_as_a_slot(world: BrowserWorld) -> None:
    world.reset(1)
    after = world.step('fill(textbox("Name"), task("and type _ as the"))')
    assert 'value="Ann"' in after.text
    assert "Ann" not in after.state["history"]


# --- what cannot be done


@pytest.mark.parametrize(
    "action",
    [
        "",
        "look around",
        'click("9999")',
        'click(button("Off"))',
        'click(button("No such"))',
        'goto("file:///etc/passwd")',
        'goto("javascript:alert(1)")',
        "__import__('os')",
        'upload_file("1", "/etc/passwd")',
        'fill(button("Change"), "x")',
    ],
)
def test_what_cannot_be_executed_changes_nothing_and_says_why(
    world: BrowserWorld, server: ThreadingHTTPServer, action: str
) -> None:
    before = world.reset(1)
    after = world.step(action)
    assert after.reason
    assert after.state == before.state
    assert after.actions == before.actions
    assert not after.terminated


def test_wrong_calls_are_refused(server: ThreadingHTTPServer, world: BrowserWorld) -> None:
    with pytest.raises(WorldError, match="no episode"):
        open_world(server).step("go_back()")
    with pytest.raises(UnknownName):
        world.reset(1, "web:elsewhere")
    with pytest.raises(InvalidValue, match="goal"):
        make(f"web:{address(server)}/")
    with pytest.raises(InvalidValue, match="""in quotes: --option 'goal="123"'"""):
        make(f"web:{address(server)}/", goal=123)
    with pytest.raises(InvalidValue, match="colour"):
        open_world(server, colour="red")
    with pytest.raises(InvalidValue, match="address"):
        make("web:file:///etc/passwd", goal="x")
    for wrong in ("http://[::1", "http://h:99999/", "http://h:abc/", "http://a b/"):
        with pytest.raises(InvalidValue, match="address"):
            make(f"web:{wrong}", goal="x")
    with pytest.raises(InvalidValue, match="password"):
        make("web:http://user:secret@127.0.0.1/", goal="x")
    for option, value in (
        *(("visible", "yes"), ("screenshot", 1), ("guarded", "no"), ("step_timeout", 0)),
        *(("uploads", "/no/such/folder"), ("uploads", ""), ("uploads", 5), ("uploads", "n" * 5000)),
    ):
        with pytest.raises(InvalidValue, match=option):
            open_world(server, **{option: value})
    with pytest.raises(WorldError, match="--chromium"):
        open_world(server, chromium="/no/such/chromium")


# --- the end


def test_a_message_to_the_user_ends_the_attempt_with_its_content(world: BrowserWorld) -> None:
    world.reset(1)
    after = world.step("send_msg_to_user(\"It's $12.50, isn't it?\\n1) yes, 2) no\")")
    assert after.terminated and not after.actions


def test_the_last_step_of_the_limit_is_truncated(world: BrowserWorld) -> None:
    world.reset(1, limit=2)
    assert not world.step('click(button("Change"))').truncated
    last = world.step('click(button("Nothing"))')
    assert last.truncated and not last.terminated
    with pytest.raises(WorldError, match="over"):
        world.step("go_back()")


def test_a_picture_comes_where_it_is_wanted(server: ThreadingHTTPServer) -> None:
    world = open_world(server, screenshot=True)
    try:
        image = world.reset(1).image
        assert image is not None and image.startswith(b"\x89PNG")
    finally:
        world.close()
