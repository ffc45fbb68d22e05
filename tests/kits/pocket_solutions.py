"""How each template of the pocket web is done, in at most ten steps.

fill LABEL VALUE, select LABEL OPTION, uncheck LABEL, link NAME, button NAME
follow LABEL   the link that stands beside a label
tell LABEL     the user is told what stands beside a label
list TEXT      the user is told the names of all links after a text
first TEXT     the user is told the name of the first link after a text
say TEXT
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIND_PRODUCT = (("fill", "Search", "{product}"), ("button", "Search"), ("link", "{product}"))
FIND_ARTICLE = (("fill", "Search", "{title}"), ("button", "Search"), ("link", "{title}"))
PROJECT = (("link", "{project}"),)
ISSUE = (*PROJECT, ("link", "Issues"), ("link", "{title}"))

SOLUTIONS = {
    # the shop
    'What is the "{{label}}" of the product "{{product}}"?': (*FIND_PRODUCT, ("tell", "{label}")),
    'What is the "{{label}}" of my order "{{number}}"?': (
        ("link", "My Orders"),
        ("link", "{number}"),
        ("tell", "{label}"),
    ),
    'Which products are in my order "{{number}}"?': (
        ("link", "My Orders"),
        ("link", "{number}"),
        ("list", "Items ordered"),
    ),
    'What is the name of the product with the lowest "Price" in the category "{{category}}"?': (
        ("link", "{category}"),
        ("link", "Price"),
        ("first", "In stock"),
    ),
    'Add the product "{{product}}" to my cart.': (*FIND_PRODUCT, ("button", "Add to Cart")),
    'Put the product "{{product}}" on my wish list.': (
        *FIND_PRODUCT,
        ("button", "Add to Wish List"),
    ),
    'Show me the products of the category "{{category}}", sorted by "{{order}}".': (
        ("link", "{category}"),
        ("link", "{order}"),
    ),
    'Buy one "{{product}}".': (
        *FIND_PRODUCT,
        ("button", "Add to Cart"),
        ("link", "Proceed to Checkout"),
        ("button", "Place Order"),
    ),
    'Change the "{{field}}" of my account to "{{value}}".': (
        ("link", "My Account"),
        ("link", "Edit Account"),
        ("fill", "{field}", "{value}"),
        ("button", "Save"),
    ),
    'Write a review of the product "{{product}}" as "{{nickname}}" with the rating "{{rating}}", '
    'the summary "{{title}}" and the review "{{text}}".': (
        *FIND_PRODUCT,
        ("link", "Write a Review"),
        ("fill", "Nickname", "{nickname}"),
        ("select", "Rating", "{rating}"),
        ("fill", "Summary", "{title}"),
        ("fill", "Review", "{text}"),
        ("button", "Submit Review"),
    ),
    # its admin
    'Set the price of the product "{{product}}" to "{{price}}".': (
        ("link", "Products"),
        ("link", "{product}"),
        ("fill", "Price:", "{price}"),
        ("button", "Save"),
    ),
    'Hide the product "{{product}}" from the shop.': (
        ("link", "Products"),
        ("link", "{product}"),
        ("uncheck", "Enabled"),
        ("button", "Save"),
    ),
    'Mark the order "{{number}}" as "{{status}}".': (
        ("link", "Orders"),
        ("link", "{number}"),
        ("select", "Status:", "{status}"),
        ("button", "Save"),
    ),
    'What is the "{{label}}" of the customer "{{name}}"?': (
        ("link", "Customers"),
        ("link", "{name}"),
        ("tell", "{label}"),
    ),
    'Show me the orders with the status "{{status}}".': (("link", "Orders"), ("link", "{status}")),
    # the wiki
    'According to the wiki, what is the "{{label}}" of "{{title}}"?': (
        *FIND_ARTICLE,
        ("tell", "{label}"),
    ),
    'What is the "{{label}}" of the town at the "Mouth" of the river "{{river}}"?': (
        ("fill", "Search", "{river}"),
        ("button", "Search"),
        ("link", "{river}"),
        ("follow", "Mouth"),
        ("tell", "{label}"),
    ),
    'Show me the "History" of the wiki article "{{title}}".': (*FIND_ARTICLE, ("link", "History")),
    'What does the "Page information" of the wiki article "{{title}}" say is its "{{label}}"?': (
        *FIND_ARTICLE,
        ("link", "Page information"),
        ("tell", "{label}"),
    ),
    'In the wiki, change the "{{label}}" of "{{title}}" to "{{value}}". Your username is '
    '"Robin", your password "heron-heron".': (
        *FIND_ARTICLE,
        ("link", "Edit"),
        ("fill", "Username", "Robin"),
        ("fill", "Password", "heron-heron"),
        ("button", "Log in"),
        ("fill", "{label}", "{value}"),
        ("button", "Save page"),
    ),
    # the Git host
    'Open the file "{{file}}" of the project "{{project}}".': (*PROJECT, ("link", "{file}")),
    'In the project "{{project}}", what is the "{{label}}" of the issue "{{title}}"?': (
        *ISSUE,
        ("tell", "{label}"),
    ),
    'According to "About", what is the "{{label}}" of the project "{{project}}"?': (
        *PROJECT,
        ("link", "About"),
        ("tell", "{label}"),
    ),
    'Create an issue in the project "{{project}}" with the title "{{title}}".': (
        *PROJECT,
        ("link", "Issues"),
        ("link", "New issue"),
        ("fill", "Title", "{title}"),
        ("button", "Create issue"),
    ),
    'Invite "{{user}}" to the project "{{project}}" as a "{{role}}".': (
        *PROJECT,
        ("link", "Members"),
        ("fill", "Username", "{user}"),
        ("select", "Role", "{role}"),
        ("button", "Invite"),
    ),
    'Close the issue "{{title}}" of the project "{{project}}".': (
        *ISSUE,
        ("button", "Close issue"),
    ),
    'Set the "Status" of my profile to "{{status}}".': (
        ("link", "Profile"),
        ("fill", "Status", "{status}"),
        ("button", "Update profile"),
    ),
}
"""intent_template -> steps, with parameters in braces."""

IMPOSSIBLE = (("say", "N/A"),)


def solution(task: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """Return the steps of a task, with parameters in braces."""
    impossible = task["eval"].get("reference_answer_raw_annotation") == "N/A"
    return IMPOSSIBLE if impossible else SOLUTIONS[task["intent_template"]]
