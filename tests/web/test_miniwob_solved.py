"""Tasks of MiniWoB++ of many kinds, done by reading: what is asked, and what the page shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from pocket_player_kit import act

from jitrl.worlds import Suite, make

SEED = 11
"""Of every attempt; the first that was tried."""
_SHOWN = re.compile(r'^ *\[(\w+)\] (\w+)(?: \(?"([^"]*)"\)?)?', re.MULTILINE)


class Hand:
    """Plays one attempt as a model would, by the ids that it is shown.

    slips  it is wrong once: it types another text, or chooses another element of the same kind
    """

    def __init__(self, world: Suite, task: str, *, slips: bool = False) -> None:
        self._world, self.slips = world, slips
        self.shown = world.reset(SEED, task)

    def asked(self, pattern: str) -> tuple[str, ...]:
        """Return what the instruction says in the groups of a pattern."""
        found = re.search(pattern, self.shown.state["task"])
        assert found is not None, self.shown.state["task"]
        return found.groups()

    def read(self, pattern: str) -> list[str]:
        """Return all that the page says in the one group of a pattern."""
        return re.findall(pattern, self.shown.text.partition("\n\n")[2], re.MULTILINE)

    def names(self, role: str) -> dict[str, str]:
        """Return the elements of a role: id -> name."""
        return {bid: name for bid, kind, name in _SHOWN.findall(self.shown.text) if kind == role}

    def find(self, role: str, name: str | None = None) -> str:
        """Return the first element of that role, and that name."""
        return next(bid for bid, n in self.names(role).items() if name in (None, n))

    def do(self, action: str) -> None:
        self.shown = act(self._world, self.shown, action)
        assert not self.shown.reason, self.shown.reason

    def click(self, role: str, name: str | None = None) -> None:
        self.do(f'click("{self.find(role, name)}")')

    def choose(self, bid: str, role: str) -> None:
        """Click one of several elements of a role."""
        if self.slipped():
            bid = next(other for other in self.names(role) if other != bid)
        self.do(f'click("{bid}")')

    def fill(self, bid: str, text: str, wrong: str = "another") -> None:
        self.do(f'fill("{bid}", "{wrong if self.slipped() else text}")')

    def slipped(self) -> bool:
        """Say whether this is what goes wrong."""
        now, self.slips = self.slips, False
        return now


def login_user(hand: Hand) -> None:
    username, password = hand.asked('username "(.*)" and the password "(.*)" into')
    hand.fill(hand.find("textbox", "Username"), username)
    hand.fill(hand.find("textbox", "Password"), password)
    hand.click("button", "Login")


def enter_date(hand: Hand) -> None:
    month, day, year = hand.asked(r"Enter (\d+)/(\d+)/(\d+) as")
    hand.fill(hand.find("Date"), f"{year}-{month}-{day}", wrong="1999-01-01")
    hand.click("button", "Submit")


def simple_arithmetic(hand: Hand) -> None:
    does = {"+": int.__add__, "-": int.__sub__, "x": int.__mul__}
    ((left, sign, right),) = hand.read(r"^(\d+) ([-+x]) (\d+) =$")
    hand.fill(hand.find("textbox"), str(does[sign](int(left), int(right))))
    hand.click("button", "Submit")


def copy_paste(hand: Hand) -> None:
    (full,) = hand.read(r"\[(\w+)\] textbox value")
    empty = next(bid for bid in hand.names("textbox") if bid != full)
    keys = [(full, "a"), (full, "c"), (empty, "v")]
    for bid, key in keys[:2] if hand.slipped() else keys:
        hand.do(f'press("{bid}", "ControlOrMeta+{key}")')
    hand.click("button", "Submit")


def choose_list(hand: Hand) -> None:
    (wanted,) = hand.asked("Select (.*) from the list")
    select(hand, hand.find("combobox"), [wanted])


def click_scroll_list(hand: Hand) -> None:
    (wanted,) = hand.asked("Select (.*) from the scroll list")
    select(hand, hand.find("listbox"), wanted.split(", "))


def select(hand: Hand, bid: str, wanted: list[str]) -> None:
    others = [name for name in hand.names("option").values() if name not in wanted]
    hand.do(f'select_option("{bid}", {others[:1] if hand.slipped() else wanted})')
    hand.click("button", "Submit")


def click_checkboxes(hand: Hand) -> None:
    """A page that is mostly right is success to BrowserGym: who slips has every box wrong."""
    (wanted,) = hand.asked("Select (.*) and click Submit")
    slipped = hand.slipped()
    for bid, name in hand.names("checkbox").items():
        if (name in wanted.split(", ")) != slipped:
            hand.do(f'click("{bid}")')
    hand.click("button", "Submit")


def click_option(hand: Hand) -> None:
    (wanted,) = hand.asked("Select (.*) and click Submit")
    hand.choose(hand.find("radio", wanted), "radio")
    hand.click("button", "Submit")


def click_dialog(hand: Hand) -> None:
    (wanted,) = hand.asked('labeled "(.*)"')
    hand.choose(hand.find("button", wanted), "button")


def find_link(hand: Hand) -> None:
    """Open one tab after the other until the link is there."""
    (wanted,) = hand.asked('link "(.*)"')
    for tab in hand.names("tab"):
        hand.do(f'click("{tab}")')
        if wanted in hand.names("generic").values():
            return hand.choose(hand.find("generic", wanted), "generic")
    raise AssertionError(f"no tab holds {wanted!r}")


def form_sequence(hand: Hand) -> None:
    number, nth = hand.asked(r"Select (-?\d+) with the slider, click the (\d)\w+ checkbox")
    hand.click("generic")  # the slider: its handle goes to the middle, and takes keys
    while (at := int(hand.read(r"^(-?\d+)$")[0])) != int(number):
        hand.do(f'keyboard_press("Arrow{"Left" if at > int(number) else "Right"}")')
    hand.choose(list(hand.names("checkbox"))[int(nth) - 1], "checkbox")
    hand.click("button", "Submit")


def use_autocomplete(hand: Hand) -> None:
    start, end = hand.asked('starts with "(.*)" and ends with "(.*)"')
    field, value = hand.find("textbox"), ""
    if hand.slipped():
        hand.fill(field, "nowhere")
    else:
        hand.fill(field, start)
        while not (value.startswith(start) and value.endswith(end)):
            hand.do(f'press("{field}", "ArrowDown")')  # opens the list, then goes down in it
            (value,) = hand.read(r'textbox .*value="(.*)"')
        hand.do(f'press("{field}", "Enter")')
    hand.click("button", "Submit")


def navigate_tree(hand: Hand) -> None:
    """Open folders until what is sought is there."""
    (wanted,) = hand.asked('named "(.*)"')
    opened: set[str] = set()
    while wanted not in (names := hand.names("listitem")).values():
        name = next(n for n in hand.names("generic").values() if n and n not in opened)
        opened.add(name)
        hand.click("generic", name)
    hand.choose(next(bid for bid, name in names.items() if name == wanted), "listitem")


def click_menu(hand: Hand) -> None:
    """Open one menu from the other."""
    (path,) = hand.asked("Select (.*)$")
    *menus, last = path.split(">")
    for name in menus:
        hand.do(f'hover("{hand.find("menuitem", name)}")')
        hand.do("noop(wait_ms=400)")
    hand.choose(hand.find("menuitem", last), "menuitem")


def email_forward(hand: Hand) -> None:
    sender, to = hand.asked("the email by (.*) and forward that email to (.*)[.]")
    hand.click("generic", sender)
    hand.click("generic", "Forward")
    hand.fill(hand.find("textbox", "to:"), to)
    hand.do(f'click("{list(hand.names("image"))[-1]}")')


POLICIES: dict[str, Callable[[Hand], None]] = {
    "login-user": login_user,
    "enter-date": enter_date,
    "simple-arithmetic": simple_arithmetic,
    "copy-paste": copy_paste,
    "choose-list": choose_list,
    "click-scroll-list": click_scroll_list,
    "click-checkboxes": click_checkboxes,
    "click-option": click_option,
    "click-dialog-2": click_dialog,
    "click-tab-2": find_link,
    "form-sequence": form_sequence,
    "use-autocomplete": use_autocomplete,
    "navigate-tree": navigate_tree,
    "click-menu": click_menu,
    "email-inbox-forward": email_forward,
}


@pytest.fixture(scope="module")
def world() -> Iterator[Suite]:
    opened = make(f"miniwob:{','.join([*POLICIES, 'search-engine'])}")
    assert isinstance(opened, Suite)
    yield opened
    opened.close()


@pytest.mark.parametrize("name", POLICIES)
def test_a_task_that_is_done_ends_with_success_and_a_slip_with_none(
    world: Suite, name: str
) -> None:
    for slips in (False, True):
        hand = Hand(world, f"miniwob:{name}", slips=slips)
        POLICIES[name](hand)
        assert hand.shown.terminated
        assert not hand.shown.actions
        assert not hand.slips
        assert (hand.shown.score, hand.shown.reward) == ((0.0, 0.0) if slips else (1.0, 1.0))


def test_a_result_of_the_search_engine_is_another_address_to_browsergym_and_no_success(
    world: Suite,
) -> None:
    """The verdict is BrowserGym's, also where it takes a link to "#" for leaving the page."""
    hand = Hand(world, "miniwob:search-engine")
    word, nth = hand.asked(r'enter "(.*)" and press "Search", then .* the (\d)st search')
    hand.fill(hand.find("textbox"), word)
    hand.click("button", "Search")
    shown = world.step(f'click("{list(hand.names("link"))[int(nth) - 1]}")')
    assert (shown.score, shown.terminated) == (0.0, True)
    assert "invalid url" in shown.reason
