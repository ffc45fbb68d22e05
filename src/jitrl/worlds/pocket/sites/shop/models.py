"""The tables of the shop."""

from __future__ import annotations

from decimal import Decimal

from django.db import models

from jitrl.worlds.pocket.content.goods import STATUSES, money

REVIEWED = ("Pending", "Approved", "Rejected")


def _choices(values: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(value, value) for value in values]


class Category(models.Model):
    """A shelf."""

    name = models.CharField(max_length=40)
    slug = models.SlugField(unique=True)

    class Meta:
        """How Django calls them."""

        verbose_name_plural = "categories"

    def __str__(self) -> str:
        return str(self.name)


class Product(models.Model):
    """One article; weight in grams."""

    name = models.CharField(max_length=80)
    slug = models.SlugField(unique=True)
    sku = models.CharField("SKU", max_length=20, unique=True)
    category = models.ForeignKey(Category, models.CASCADE)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    maker = models.CharField(max_length=40)
    guarantee = models.CharField(max_length=40)
    colour = models.CharField(max_length=40)
    weight = models.PositiveIntegerField()
    stock = models.PositiveIntegerField()
    enabled = models.BooleanField(default=True)

    class Meta:
        """In which order they come."""

        ordering = ("name",)

    def __str__(self) -> str:
        return str(self.name)

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Return what the page of the product shows beside labels."""
        return [
            ("Price", money(self.price)),
            ("SKU", self.sku),
            ("Maker", self.maker),
            ("Colour", self.colour),
            ("Weight", f"{self.weight} g"),
            ("Guarantee", self.guarantee),
            ("In stock", str(self.stock)),
        ]


class Customer(models.Model):
    """Somebody with an account."""

    name = models.CharField(max_length=80)
    email = models.EmailField(unique=True)
    password = models.CharField(max_length=120)
    phone = models.CharField(max_length=30)
    street = models.CharField(max_length=80)
    city = models.CharField(max_length=40)
    postcode = models.CharField(max_length=12)
    joined = models.DateField()
    newsletter = models.BooleanField(default=False)

    class Meta:
        """In which order they come."""

        ordering = ("name",)

    def __str__(self) -> str:
        return str(self.name)

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Return what the admin sees beside labels."""
        return [
            ("Name", self.name),
            ("Email", self.email),
            ("Phone", self.phone),
            ("Street", self.street),
            ("City", self.city),
            ("Postcode", self.postcode),
            ("Joined", f"{self.joined:%-d %B %Y}"),
            ("Orders", str(self.order_set.count())),
        ]


class Order(models.Model):
    """What a customer has bought."""

    number = models.CharField(max_length=12, unique=True)
    customer = models.ForeignKey(Customer, models.CASCADE)
    placed = models.DateField()
    status = models.CharField(max_length=20, choices=_choices(STATUSES))
    shipping = models.DecimalField(max_digits=6, decimal_places=2)
    carrier = models.CharField(max_length=40)

    class Meta:
        """In which order they come."""

        ordering = ("-number",)

    def __str__(self) -> str:
        return f"#{self.number}"

    @property
    def total(self) -> str:
        """Return what was paid, shipping included."""
        lines = sum((line.cost for line in self.lines.all()), Decimal(0))
        return money(self.shipping + lines)


class OrderLine(models.Model):
    """A product in an order, at the price it was sold for."""

    order = models.ForeignKey(Order, models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, models.CASCADE)
    quantity = models.PositiveIntegerField()
    price = models.DecimalField(max_digits=8, decimal_places=2)

    @property
    def cost(self) -> Decimal:
        """Return the price of all of them."""
        return Decimal(self.price * self.quantity)


class CartLine(models.Model):
    """A product that a customer is about to buy."""

    customer = models.ForeignKey(Customer, models.CASCADE, related_name="cart")
    product = models.ForeignKey(Product, models.CASCADE)
    quantity = models.PositiveIntegerField()

    @property
    def cost(self) -> Decimal:
        """Return the price of all of them."""
        return Decimal(self.product.price * self.quantity)


class Wish(models.Model):
    """A product on a wish list."""

    customer = models.ForeignKey(Customer, models.CASCADE, related_name="wishes")
    product = models.ForeignKey(Product, models.CASCADE)


class Review(models.Model):
    """What somebody said about a product."""

    product = models.ForeignKey(Product, models.CASCADE, related_name="reviews")
    nickname = models.CharField(max_length=40)
    rating = models.PositiveIntegerField(choices=[(n, f"{n} of 5") for n in range(1, 6)])
    title = models.CharField(max_length=80)
    text = models.TextField()
    written = models.DateField()
    status = models.CharField(max_length=12, choices=_choices(REVIEWED), default="Approved")

    class Meta:
        """In which order they come."""

        ordering = ("-written", "-id")

    def __str__(self) -> str:
        return f"{self.title} ({self.product})"
