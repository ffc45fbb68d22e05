"""Tasks in the admin of the shop."""

from __future__ import annotations

from jitrl.worlds.pocket.content import goods
from jitrl.worlds.pocket.tasks.judging import (
    ADMIN,
    Template,
    Values,
    Verdict,
    address,
    at,
    content,
    rows,
    said,
)

__all__ = ["TEMPLATES"]


def _record(table: str, number: int) -> str:
    return f"{at(ADMIN)}/shop/{table}/{number}/change/"


def _product_page(name: str) -> str:
    names = [product.name for product in goods.products()]
    return _record("product", 1 + names.index(name))


def _priced(values: Values) -> Verdict:
    value = "document.querySelector('[name=\"price\"]').value"
    return content(_product_page(values["product"]), value, values["price"], exact=True)


def _hidden(values: Values) -> Verdict:
    value = "document.querySelector('[name=\"enabled\"]').checked.toString()"
    return content(_product_page(values["product"]), value, "false", exact=True)


def _marked(values: Values) -> Verdict:
    number = int(values["number"]) - goods.FIRST_ORDER + 1
    value = "document.querySelector('[name=\"status\"]').value"
    return content(_record("order", number), value, values["status"], exact=True)


def _customer(values: Values) -> Verdict:
    (found,) = (customer for customer in goods.customers() if customer.name == values["name"])
    facts = {"Email": found.email, "Phone": found.phone, "City": found.city}
    fact = (facts | {"Postcode": found.postcode})[values["label"]]
    return said(fact, must_include=[fact])


def _orders(values: Values) -> Verdict:
    return address(f"{at(ADMIN)}/shop/order/?status__exact={values['status']}")


TEMPLATES = (
    Template(
        ADMIN,
        'Set the price of the product "{{product}}" to "{{price}}".',
        _priced,
        rows(
            "product price",
            "Oak Chopping Board | 21.40",
            "Bamboo Flute | 33.10",
            "Zinc Watering Can | 18.60",
            "Leather Notebook | 12.35",
        ),
    ),
    Template(
        ADMIN,
        'Hide the product "{{product}}" from the shop.',
        _hidden,
        rows("product", "Cast Iron Skillet", "Wall Calendar", "Violin Rosin"),
    ),
    Template(
        ADMIN,
        'Mark the order "{{number}}" as "{{status}}".',
        _marked,
        rows(
            "number status",
            "000000103 | Shipped",
            "000000109 | Cancelled",
            "000000114 | Complete",
            "000000120 | Shipped",
        ),
    ),
    Template(
        ADMIN,
        'What is the "{{label}}" of the customer "{{name}}"?',
        _customer,
        rows(
            "label name",
            "Email | Ruth Okafor",
            "Phone | Jonas Weaver",
            "City | Nora Quill",
            "Postcode | Idris Morgan",
        ),
    ),
    Template(
        ADMIN,
        'Show me the orders with the status "{{status}}".',
        _orders,
        rows("status", "Pending", "Shipped", "Cancelled"),
    ),
)
