"""The shop: products, customers, orders and reviews."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import cache

from jitrl.worlds.pocket.content import choose, day, draw, slug

__all__ = [
    "CATEGORIES",
    "FIRST_ORDER",
    "NEW",
    "STATUSES",
    "Customer",
    "Order",
    "Product",
    "Review",
    "customers",
    "money",
    "orders",
    "products",
    "reviews",
]

CATEGORIES = {
    "Kitchen": (
        "Copper Kettle, Oak Chopping Board, Enamel Milk Pan, Stoneware Teapot, Linen Apron, "
        "Brass Kitchen Scales, Cast Iron Skillet, Walnut Pepper Mill"
    ),
    "Garden": (
        "Ash Handled Spade, Willow Trug, Zinc Watering Can, Cedar Nest Box, Hemp Twine, "
        "Pruning Shears, Terracotta Pot, Folding Garden Saw"
    ),
    "Desk": (
        "Fountain Pen, Cork Notice Board, Leather Notebook, Brass Paper Clip Tin, Desk Lamp, "
        "Wooden Pencil Tray, Wall Calendar, Rubber Stamp Set"
    ),
    "Travel": (
        "Canvas Rucksack, Wool Travel Blanket, Tin Lunch Box, Folding Stove, Pocket Compass, "
        "Waxed Rain Hat, Luggage Strap, Steel Water Bottle"
    ),
    "Music": (
        "Tin Whistle, Beech Metronome, Tuning Fork, Mouth Harp, Music Stand, Bamboo Flute, "
        "Violin Rosin, Hand Drum"
    ),
    "Workshop": (
        "Smoothing Plane, Marking Gauge, Ratchet Screwdriver, Bench Vice, Spirit Level, "
        "Coping Saw, Folding Rule, Oil Stone"
    ),
}
NEW = ("Cork Notice Board", "Tin Lunch Box", "Ratchet Screwdriver")
MAKERS = (
    "Harrow & Pike",
    "Northlight",
    "Old Quay Works",
    "Tamsin Bell",
    "Penhallow",
    "Brightwater",
)
GUARANTEES = ("1 year", "2 years", "5 years", "10 years", "none")
COLOURS = ("green", "dark blue", "natural", "grey", "red", "cream", "black", "ochre")
PEOPLE = (
    "Emma Lopez, Oskar Lind, Maya Fielding, Tomas Brandt, Ruth Okafor, Jonas Weaver, "
    "Clara Novak, Idris Morgan, Lena Hartley, Pavel Stone, Nora Quill, Hugo Marsh"
)
STREETS = ("Mill Lane", "Harbour Street", "Chapel Row", "Station Road", "Orchard Close")
CITIES = ("Whitby", "Kendal", "Totnes", "Ludlow", "Hexham", "Rye")
STATUSES = ("Pending", "Processing", "Shipped", "Complete", "Cancelled")
FIRST_ORDER = 101
WORDS = (
    ("Works well", "It does what it should, and feels solid."),
    ("Very pleased", "Better than the one I had before."),
    ("Good value", "At this price there is nothing to complain about."),
    ("A little heavy", "Well made, but heavier than I expected."),
    ("Arrived late", "The thing itself is fine; it took two weeks to come."),
    ("Not for me", "The handle is too small for my hand."),
    ("A fine present", "My brother was delighted with it."),
    ("Broke too soon", "It came apart after a month of daily use."),
)


@dataclass(frozen=True, slots=True)
class Product:
    """One article of the shop; weight in grams, `stock` >= 0."""

    name: str
    category: str
    sku: str
    price: Decimal
    maker: str
    guarantee: str
    colour: str
    weight: int
    stock: int

    @property
    def address(self) -> str:
        """Return the last part of the address of its page."""
        return f"{slug(self.name)}.html"


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody with an account."""

    name: str
    email: str
    phone: str
    street: str
    city: str
    postcode: str
    joined: date


@dataclass(frozen=True, slots=True)
class Order:
    """An order: lines are (product, quantity)."""

    number: str
    customer: Customer
    placed: date
    status: str
    shipping: Decimal
    carrier: str
    lines: tuple[tuple[Product, int], ...]

    @property
    def total(self) -> Decimal:
        """Return what was paid, shipping included."""
        return self.shipping + sum(
            (product.price * quantity for product, quantity in self.lines), Decimal(0)
        )


@dataclass(frozen=True, slots=True)
class Review:
    """What somebody said about a product; rating 1 to 5."""

    product: Product
    nickname: str
    rating: int
    title: str
    text: str
    written: date
    status: str


def money(amount: Decimal) -> str:
    """Return an amount as the shop shows it.

    >>> money(Decimal("1204.5"))
    '$1,204.50'
    """
    return f"${amount:,.2f}"


@cache
def products() -> tuple[Product, ...]:
    """Return all products, by category; names, SKUs and prices occur once."""
    found: list[Product] = []
    taken: set[Decimal] = set()
    for category, names in CATEGORIES.items():
        for position, name in enumerate(names.split(", "), 1):
            price = (
                Decimal(draw(8, 180, "price", name) * 100 + choose((25, 50, 75, 95), name)) / 100
            )
            while price in taken:
                price += 1
            taken.add(price)
            found.append(
                Product(
                    name=name,
                    category=category,
                    sku=f"{category[:2].upper()}-{position:02d}{draw(10, 99, 'sku', name)}",
                    price=price,
                    maker=choose(MAKERS, "maker", name),
                    guarantee=choose(GUARANTEES, "guarantee", name),
                    colour=choose(COLOURS, "colour", name),
                    weight=draw(4, 240, "weight", name) * 10,
                    stock=draw(0, 60, "stock", name),
                )
            )
    return tuple(found)


@cache
def customers() -> tuple[Customer, ...]:
    """Return all customers; the first is the one whose account visitors use."""
    found: list[Customer] = []
    for name in PEOPLE.split(", "):
        first, last = name.split()
        found.append(
            Customer(
                name=name,
                email=f"{first}.{last}@{'gmail.com' if not found else 'example.com'}".lower(),
                phone=f"0{draw(1200, 1990, 'area', name)} {draw(100000, 999999, 'phone', name)}",
                street=f"{draw(1, 99, 'house', name)} {choose(STREETS, 'street', name)}",
                city=choose(CITIES, "city", name),
                postcode=f"{choose('ABDEHK', 'post', name)}{draw(1, 9, 'code', name)} 4RT",
                joined=day(400, 1500, "joined", name),
            )
        )
    return tuple(found)


@cache
def orders() -> tuple[Order, ...]:
    """Return all orders, oldest first; every third is the first customer's."""
    found = []
    for index in range(30):
        others = customers()[1:]
        customer = customers()[0] if index % 3 == 0 else choose(others, "customer", index)
        start = draw(0, len(products()) - 1, "start", index)
        chosen = [products()[(start + 7 * n) % len(products())] for n in range(1 + index // 3 % 3)]
        found.append(
            Order(
                number=f"{FIRST_ORDER + index:09d}",
                customer=customer,
                placed=day(0, 5, "placed", index) - timedelta(days=6 * (30 - index)),
                status=choose(STATUSES, "status", index),
                shipping=Decimal(draw(3, 9, "shipping", index)),
                carrier=choose(("Red Van", "Parcel Post", "Night Mail"), "carrier", index),
                lines=tuple((product, draw(1, 3, index, product.sku)) for product in chosen),
            )
        )
    return tuple(found)


@cache
def reviews() -> tuple[Review, ...]:
    """Return all reviews, oldest first; nobody reviews a product twice."""
    found = []
    for product in products():
        for customer in customers()[1:]:
            if draw(1, 6, "reviews", product.name, customer.name) > 1:
                continue
            which = draw(0, len(WORDS) - 1, "words", product.name, customer.name)
            title, text = WORDS[which]
            found.append(
                Review(
                    product=product,
                    nickname=customer.name.split()[0],
                    rating=(5, 5, 4, 3, 3, 2, 5, 1)[which],
                    title=title,
                    text=text,
                    written=day(1, 300, "written", product.name, customer.name),
                    status=("Approved", "Approved", "Pending")[draw(0, 2, product.sku, which)],
                )
            )
    return tuple(sorted(found, key=lambda review: (review.written, review.product.sku)))
