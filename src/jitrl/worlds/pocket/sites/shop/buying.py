"""The pages of the shop for whoever is signed in: cart, orders, wish list, account."""

from __future__ import annotations

from decimal import Decimal

from django.contrib.auth.hashers import check_password
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render

from jitrl.worlds.pocket.content import TODAY
from jitrl.worlds.pocket.content.goods import FIRST_ORDER, money
from jitrl.worlds.pocket.sites import visitors
from jitrl.worlds.pocket.sites.shop.models import (
    CartLine,
    Customer,
    Order,
    OrderLine,
    Product,
    Wish,
)
from jitrl.worlds.pocket.sites.shop.views import LOGIN
from jitrl.worlds.pocket.sites.visitors import inside

__all__ = [
    "account",
    "add",
    "cart",
    "checkout",
    "edit",
    "history",
    "login",
    "order",
    "placed",
    "remove",
    "unwish",
    "wish",
    "wishes",
]

SHIPPING = Decimal(5)
ADDRESS = ("phone", "street", "city", "postcode")


def me(request: HttpRequest) -> Customer:
    """Return the customer who is signed in."""
    customer: Customer = get_object_or_404(Customer, email=visitors.visitor(request))
    return customer


def login(request: HttpRequest) -> HttpResponse:
    """Sign a customer in."""

    def known(name: str, password: str) -> str | None:
        found = Customer.objects.filter(email__iexact=name).first()
        return found.email if found and check_password(password, found.password) else None

    return visitors.sign_in(request, "shop/login.html", "/customer/account/", known)


def _number(request: HttpRequest) -> int:
    """Return the quantity that was asked for, 1 to 99."""
    asked = request.POST.get("quantity", "1").strip()
    return min(99, max(1, int(asked))) if asked.isascii() and asked.isdigit() else 1


@inside(LOGIN)
def add(request: HttpRequest, slug: str) -> HttpResponse:
    """Put a product into the cart."""
    if request.method == "POST":
        chosen = get_object_or_404(Product, slug=slug, enabled=True)
        line, new = CartLine.objects.get_or_create(
            customer=me(request), product=chosen, defaults={"quantity": _number(request)}
        )
        if not new:
            line.quantity = min(99, line.quantity + _number(request))
            line.save()
    return HttpResponseRedirect("/checkout/cart/")


@inside(LOGIN)
def remove(request: HttpRequest, line: int) -> HttpResponse:
    """Take a line out of the cart."""
    if request.method == "POST":
        me(request).cart.filter(pk=line).delete()
    return HttpResponseRedirect("/checkout/cart/")


def _total(lines: list[CartLine]) -> str:
    return money(SHIPPING + sum((line.cost for line in lines), Decimal(0)))


@inside(LOGIN)
def cart(request: HttpRequest) -> HttpResponse:
    """Show the cart."""
    lines = list(me(request).cart.order_by("pk"))
    page = {"lines": lines, "shipping": money(SHIPPING), "total": _total(lines)}
    return render(request, "shop/cart.html", page)


@inside(LOGIN)
def checkout(request: HttpRequest) -> HttpResponse:
    """Show where the cart will be sent to; place the order."""
    lines = list(me(request).cart.order_by("pk"))
    if not lines:
        return HttpResponseRedirect("/checkout/cart/")
    if request.method == "POST":
        number = _place(me(request), lines)
        return HttpResponseRedirect(f"/checkout/onepage/success/{number}/")
    page = {"customer": me(request), "lines": lines, "total": _total(lines)}
    return render(request, "shop/checkout.html", page)


def _place(customer: Customer, lines: list[CartLine]) -> str:
    """Turn the lines of a cart into an order; return its number."""
    with transaction.atomic():
        made = Order.objects.create(
            number=f"{FIRST_ORDER + Order.objects.count():09d}",
            customer=customer,
            placed=TODAY,
            status="Pending",
            shipping=SHIPPING,
            carrier="Red Van",
        )
        for line in lines:
            OrderLine.objects.create(
                order=made, product=line.product, quantity=line.quantity, price=line.product.price
            )
            line.delete()
    return str(made.number)


@inside(LOGIN)
def placed(request: HttpRequest, number: str) -> HttpResponse:
    """Say that an order was placed."""
    shown = get_object_or_404(Order, number=number, customer=me(request))
    return render(request, "shop/placed.html", {"order": shown})


@inside(LOGIN)
def history(request: HttpRequest) -> HttpResponse:
    """Show the orders of the customer, newest first."""
    return render(request, "shop/history.html", {"orders": me(request).order_set.all()})


@inside(LOGIN)
def order(request: HttpRequest, number: str) -> HttpResponse:
    """Show one order, by its number with or without leading zeros."""
    shown = get_object_or_404(Order, number=number.zfill(9), customer=me(request))
    facts = [
        ("Order", f"# {shown.number}"),
        ("Status", shown.status),
        ("Order date", f"{shown.placed:%-d %B %Y}"),
        ("Carrier", shown.carrier),
        ("Shipping", money(shown.shipping)),
        ("Grand total", shown.total),
    ]
    return render(request, "shop/order.html", {"order": shown, "facts": facts})


@inside(LOGIN)
def wishes(request: HttpRequest) -> HttpResponse:
    """Show the wish list."""
    return render(request, "shop/wishes.html", {"wishes": me(request).wishes.order_by("pk")})


@inside(LOGIN)
def wish(request: HttpRequest, slug: str) -> HttpResponse:
    """Put a product on the wish list."""
    if request.method == "POST":
        chosen = get_object_or_404(Product, slug=slug, enabled=True)
        Wish.objects.get_or_create(customer=me(request), product=chosen)
    return HttpResponseRedirect("/wishlist/")


@inside(LOGIN)
def unwish(request: HttpRequest, wish: int) -> HttpResponse:
    """Take a product off the wish list."""
    if request.method == "POST":
        me(request).wishes.filter(pk=wish).delete()
    return HttpResponseRedirect("/wishlist/")


@inside(LOGIN)
def account(request: HttpRequest) -> HttpResponse:
    """Show what is known about the customer."""
    customer = me(request)
    facts = [
        ("Name", customer.name),
        ("Email address", customer.email),
        ("Phone", customer.phone),
        ("Street", customer.street),
        ("City", customer.city),
        ("Postcode", customer.postcode),
        ("Newsletter", "subscribed" if customer.newsletter else "not subscribed"),
    ]
    return render(request, "shop/account.html", {"customer": customer, "facts": facts})


@inside(LOGIN)
def edit(request: HttpRequest) -> HttpResponse:
    """Change the address, the phone number, the newsletter."""
    customer = me(request)
    if request.method == "POST":
        for name in ADDRESS:
            field = Customer._meta.get_field(name)
            setattr(customer, name, request.POST.get(name, "").strip()[: field.max_length])
        customer.newsletter = "newsletter" in request.POST
        customer.save()
        return HttpResponseRedirect("/customer/account/")
    fields = [(name, name.capitalize(), getattr(customer, name)) for name in ADDRESS]
    return render(request, "shop/edit.html", {"customer": customer, "fields": fields})
