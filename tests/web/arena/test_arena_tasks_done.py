"""WebArena's own tasks, from its own file, done on real applications and judged by its evaluators.

The shop and its admin are the pocket web's: their pages, forms, logins and interface for programs
are where the tasks and the evaluators look for them. Some of what they hold is given the names and
numbers that the tasks ask for.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from pocket_player_kit import attempt

from jitrl.records import Observation
from jitrl.worlds import make
from jitrl.worlds.pocket.pocket import Pocket
from jitrl.worlds.pocket.server import DATA

TIDE = "Tide PODS Spring Meadow Scent HE Turbo Laundry Detergent Pacs, 81 Count"
TEA = "Elmwood Inn Fine Teas, Orange Vanilla Caffeine-free Fruit Infusion, 16-Ounce Pouch"
TEAS = "elmwood-inn-fine-teas-orange-vanilla-caffeine-free-fruit-infusion-16-ounce-pouch"
LAMP, MATTRESS = "Floor Lamp", "Mattress Foundation B07DFJ5XKH"
PRODUCTS = {  # number -> name, address, SKU
    1: (TIDE, "tide-pods", "B01"),
    2: (TEA, TEAS, "B02"),
    3: (MATTRESS, "mattress-foundation", "B07DFJ5XKH"),
    4: (LAMP, "floor-lamp", "B00J8RZL7I"),
    5: ("Mouth Guard for Jaw Bruxism", "mouth-guard", "B03"),
}
ORDERS = {22: "170", 25: "180", 28: "189"}  # the last cancelled, complete and pending one of Emma's
CUSTOMERS = {  # number -> name, address, phone; the last cancelled order of all is that of 12
    4: ("John Smith", "john.smith.xyz@gmail.com", "2058812302"),
    12: ("Lily Potter", "lily.potter@example.com", "2058812303"),
}

Steps = tuple[tuple[str, ...], ...]


def search(words: str) -> Steps:
    return (("fill", "Search", words), ("button", "Search"))


def order(number: str) -> Steps:
    return (("link", "My Orders"), ("link", number))


def wished(product: str) -> Steps:
    return (*search(product), ("link", product), ("button", "Add to Wish List"))


def bought(product: str) -> Steps:
    cart = (*search(product), ("link", product), ("button", "Add to Cart"))
    return (*cart, ("link", "Proceed to Checkout"), ("button", "Place Order"))


def rated(stars: str) -> Steps:
    fields = (("fill", "Nickname", "Emma Lopez"), ("select", "Rating", stars))
    texts = (("fill", "Summary", "Good"), ("fill", "Review", "It stands."))
    page = (*search(LAMP), ("link", LAMP), ("link", "Write a Review"))
    return (*page, *fields, *texts, ("button", "Submit Review"))


def customer(name: str, said: str) -> Steps:
    return (("link", "Customers"), ("link", name), ("say", said))


LILY = (("link", "Orders"), ("link", "Cancelled"), ("link", "000000130"), ("say", "Lily Potter"))
JOHN = customer("John Smith", "John Smith, john.smith.xyz@gmail.com")
DONE: dict[str, tuple[int, Steps, Steps]] = {  # kind and task -> number, what is right, what is not
    "url search": (274, search("usb wifi"), search("usb")),
    "url search by relevance": (326, search("Canon photo printer"), search("printer")),
    "url complete order": (298, order("180"), order("170")),
    "url cancelled order": (299, order("170"), order("180")),
    "url pending order": (300, order("189"), order("180")),
    "page that is last": (118, search("jaw bruxism"), search("mouth harp")),
    "page of wishes": (465, wished(TIDE), wished(TEA)),
    "page of wishes, begun at a product": (516, (("button", "Add to Wish List"),), wished(TIDE)),
    "page of the latest order": (436, bought(MATTRESS), bought(LAMP)),
    "page whose review is asked for": (585, rated("5"), rated("4")),
    "text in an order": (231, (*order("170"), ("say", "It is 170.")), (("say", "It is 180."),)),
    "texts of a customer": (208, JOHN, customer("John Smith", "John Smith")),
    "text that is exact": (198, LILY, (*LILY[:-1], ("say", "Lily"))),
    "text with a digit": (132, (("link", "Profile"), ("say", "It is 1.")), (("say", "It is 11."),)),
    "text, not available": (313, (("say", "N/A"),), (("say", "911"),)),
}


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Observation]]:
    """Play a task on sites that are as at the beginning."""
    logins = tmp_path_factory.mktemp("logins")
    with Pocket() as web:
        world = make(
            f"webarena:{','.join(str(number) for number, _, _ in DONE.values())}",
            sites=dict(web.addresses),
            logins_folder=str(logins),
            evaluator_pause=0,
            settle=0.02,
        )

        def begin(number: int, steps: Steps) -> Observation:
            web.reset()
            # a new order has a lower number than these, and would not be the latest
            give_names(web.files / "shop" / DATA, {} if number == 436 else ORDERS)
            return attempt(world, f"webarena:{number}", steps, {})

        with closing(world):
            yield begin


def give_names(shop: Path, orders: Mapping[int, str]) -> None:
    """Give products, orders and customers the names that WebArena's tasks know."""
    with closing(sqlite3.connect(shop)) as data, data:
        for number, told in PRODUCTS.items():
            data.execute(f"UPDATE shop_product SET name=?, slug=?, sku=? WHERE id={number}", told)
        for number, name in orders.items():
            data.execute(f"UPDATE shop_order SET number=? WHERE id={number}", [name])
        for number, told in CUSTOMERS.items():
            names = "name=?, email=?, phone=?"
            data.execute(f"UPDATE shop_customer SET {names} WHERE id={number}", told)


@pytest.mark.parametrize("what", DONE)
def test_a_task_of_webarena_is_done_on_a_real_application_and_what_is_nearly_right_is_not(
    play: Callable[..., Observation], what: str
) -> None:
    number, right, wrong = DONE[what]
    shown = play(number, right)
    assert (shown.score, shown.reward, shown.terminated, shown.reason) == (1.0, 1.0, True, "")
    shown = play(number, wrong)
    assert (shown.score, shown.terminated) == (0.0, True)
    assert shown.reason == ("needs a grader: name one with --grader" if number == 313 else "")
