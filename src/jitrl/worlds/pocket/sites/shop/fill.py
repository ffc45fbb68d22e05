"""Write the content of the shop into its tables."""

from __future__ import annotations

from pathlib import Path

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User

from jitrl.worlds.pocket.accounts import ACCOUNTS, SALT
from jitrl.worlds.pocket.content import goods, slug
from jitrl.worlds.pocket.sites.shop.models import (
    Category,
    Customer,
    Order,
    OrderLine,
    Product,
    Review,
)

__all__ = ["fill"]


def fill(folder: Path) -> None:
    """Write everything; the tables are empty before. Nothing is put into `folder`."""
    admin = ACCOUNTS["shopping_admin"]
    User.objects.create(
        username=admin.username, password=_hidden(admin.password), is_staff=True, is_superuser=True
    )
    shelves = {
        name: Category.objects.create(name=name, slug=slug(name)) for name in goods.CATEGORIES
    }
    products = {product.name: _product(product, shelves) for product in goods.products()}
    customers = {
        customer.email: _customer(customer, ACCOUNTS["shopping"].password)
        for customer in goods.customers()
    }
    for order in goods.orders():
        _order(order, customers, products)
    for review in goods.reviews():
        Review.objects.create(
            product=products[review.product.name],
            nickname=review.nickname,
            rating=review.rating,
            title=review.title,
            text=review.text,
            written=review.written,
            status=review.status,
        )


def _hidden(password: str) -> str:
    return str(make_password(password, salt=SALT))


def _product(product: goods.Product, shelves: dict[str, Category]) -> Product:
    made: Product = Product.objects.create(
        name=product.name,
        slug=slug(product.name),
        sku=product.sku,
        category=shelves[product.category],
        price=product.price,
        maker=product.maker,
        guarantee=product.guarantee,
        colour=product.colour,
        weight=product.weight,
        stock=product.stock,
    )
    return made


def _customer(customer: goods.Customer, password: str) -> Customer:
    made: Customer = Customer.objects.create(
        name=customer.name,
        email=customer.email,
        password=_hidden(password),
        phone=customer.phone,
        street=customer.street,
        city=customer.city,
        postcode=customer.postcode,
        joined=customer.joined,
    )
    return made


def _order(
    order: goods.Order, customers: dict[str, Customer], products: dict[str, Product]
) -> None:
    stored = Order.objects.create(
        number=order.number,
        customer=customers[order.customer.email],
        placed=order.placed,
        status=order.status,
        shipping=order.shipping,
        carrier=order.carrier,
    )
    for product, quantity in order.lines:
        OrderLine.objects.create(
            order=stored, product=products[product.name], quantity=quantity, price=product.price
        )
