"""Tasks in the shop, as its customer."""

from __future__ import annotations

from jitrl.worlds.pocket.content import goods, slug
from jitrl.worlds.pocket.tasks.judging import (
    SHOP,
    Template,
    Values,
    Verdict,
    address,
    answer,
    at,
    content,
    impossible,
    rows,
    said,
    text,
)

__all__ = ["TEMPLATES"]


def _fact(values: Values) -> Verdict:
    for product in goods.products():
        if product.name == values["product"]:
            facts = {
                "Price": goods.money(product.price),
                "SKU": product.sku,
                "Maker": product.maker,
                "Colour": product.colour,
                "Weight": f"{product.weight} g",
                "Guarantee": product.guarantee,
                "In stock": str(product.stock),
            }
            return answer(facts[values["label"]])
    return impossible(f"The shop does not sell a {values['product']}.")


def _order_fact(values: Values) -> Verdict:
    for order in goods.orders():
        if order.number == values["number"] and order.customer is goods.customers()[0]:
            facts = {
                "Status": order.status,
                "Carrier": order.carrier,
                "Shipping": goods.money(order.shipping),
                "Order date": f"{order.placed:%-d %B %Y}",
                "Grand total": goods.money(order.total),
            }
            return answer(facts[values["label"]])
    return impossible(f"The customer has no order {values['number']}.")


def _order_items(values: Values) -> Verdict:
    (order,) = (order for order in goods.orders() if order.number == values["number"])
    names = [product.name for product, _ in order.lines]
    return said(", ".join(names), must_include=names)


def _cheapest(values: Values) -> Verdict:
    shelf = [product for product in goods.products() if product.category == values["category"]]
    return answer(min(shelf, key=lambda product: product.price).name)


def _in_cart(values: Values) -> Verdict:
    return content(f"{at(SHOP)}/checkout/cart/", text(".cart"), values["product"])


def _wished(values: Values) -> Verdict:
    return content(f"{at(SHOP)}/wishlist/", text(".products-grid.wishlist"), values["product"])


def _sorted(values: Values) -> Verdict:
    order = {"Price": "price", "Name": "name", "In stock": "stock"}[values["order"]]
    return address(f"{at(SHOP)}/catalog/{slug(values['category'])}/?order={order}")


def _bought(values: Values) -> Verdict:
    lines = text(".order-details-items.ordered")
    return content("func:shopping_get_latest_order_url()", lines, values["product"])


def _account(values: Values) -> Verdict:
    return content(
        f"{at(SHOP)}/customer/address/",
        f"document.querySelector('.facts tr[data-label=\"{values['field']}\"] td').outerText",
        values["value"],
        exact=True,
    )


def _reviewed(values: Values) -> Verdict:
    parts = (values["title"], f"{values['rating']} of 5", values["nickname"], values["text"])
    return content(f"{at(SHOP)}/{slug(values['product'])}.html", text(".review"), *parts)


TEMPLATES = (
    Template(
        SHOP,
        'What is the "{{label}}" of the product "{{product}}"?',
        _fact,
        rows(
            "label product",
            "Price | Copper Kettle",
            "Weight | Spirit Level",
            "Maker | Desk Lamp",
            "SKU | Tin Whistle",
            "Guarantee | Pocket Compass",
            "Colour | Hemp Twine",
            "Price | Mouth Harp",
            "Price | Silver Samovar",
        ),
    ),
    Template(
        SHOP,
        'What is the "{{label}}" of my order "{{number}}"?',
        _order_fact,
        rows(
            "label number",
            "Grand total | 000000107",
            "Status | 000000119",
            "Carrier | 000000125",
            "Order date | 000000113",
            "Status | 000000777",
        ),
    ),
    Template(
        SHOP,
        'Which products are in my order "{{number}}"?',
        _order_items,
        rows("number", "000000104", "000000116", "000000128"),
    ),
    Template(
        SHOP,
        'What is the name of the product with the lowest "Price" in the category "{{category}}"?',
        _cheapest,
        rows("category", "Kitchen", "Workshop", "Travel"),
    ),
    Template(
        SHOP,
        'Add the product "{{product}}" to my cart.',
        _in_cart,
        rows("product", "Linen Apron", "Coping Saw", "Music Stand", "Wool Travel Blanket"),
    ),
    Template(
        SHOP,
        'Put the product "{{product}}" on my wish list.',
        _wished,
        rows("product", "Stoneware Teapot", "Bench Vice", "Hand Drum"),
    ),
    Template(
        SHOP,
        'Show me the products of the category "{{category}}", sorted by "{{order}}".',
        _sorted,
        rows(
            "category order", "Desk | Price", "Garden | Price", "Music | In stock", "Travel | Name"
        ),
    ),
    Template(
        SHOP,
        'Buy one "{{product}}".',
        _bought,
        rows("product", "Willow Trug", "Fountain Pen", "Folding Stove"),
    ),
    Template(
        SHOP,
        'Change the "{{field}}" of my account to "{{value}}".',
        _account,
        rows(
            "field value",
            "Phone | 01904 555123",
            "City | Alnwick",
            "Street | 7 Weavers Yard",
            "Postcode | K2 8TT",
        ),
    ),
    Template(
        SHOP,
        'Write a review of the product "{{product}}" as "{{nickname}}" with the rating '
        '"{{rating}}", the summary "{{title}}" and the review "{{text}}".',
        _reviewed,
        rows(
            "product nickname rating title text",
            "Oil Stone | Emma | 4 | Sharp again | My chisels cut like new.",
            "Tuning Fork | Lopez | 5 | True to pitch | It agrees with my piano.",
            "Canvas Rucksack | Em | 2 | Not waterproof | It was wet inside after an hour of rain.",
        ),
    ),
)
