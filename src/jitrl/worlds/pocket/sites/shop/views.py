"""The pages of the shop that everybody sees."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render

from jitrl.worlds.pocket.content import TODAY
from jitrl.worlds.pocket.content.goods import NEW
from jitrl.worlds.pocket.sites.shop.models import Category, Product, Review
from jitrl.worlds.pocket.sites.visitors import inside, visitor

__all__ = ["LOGIN", "category", "context", "home", "product", "review", "search"]

LOGIN = "/customer/account/login/"
SORTS = {"name": "Name", "price": "Price", "stock": "In stock"}
PAGE = 6


def _listed(request: HttpRequest, title: str, found: QuerySet[Product]) -> HttpResponse:
    """Show products, sorted as asked for, a page at a time."""
    order = request.GET.get("order", "name")
    order = order if order in SORTS else "name"
    pages = Paginator(found.order_by(order, "name"), PAGE)
    page = {
        "title": title,
        "page": pages.get_page(request.GET.get("p")),
        "order": order,
        "sorts": [(key, label, _with(request, order=key, p=None)) for key, label in SORTS.items()],
        "numbers": [(n, _with(request, p=str(n))) for n in pages.page_range],
        "query": request.GET.get("q", ""),
    }
    return render(request, "shop/list.html", page)


def _with(request: HttpRequest, **changed: str | None) -> str:
    """Return the query of this page with some parameters set, or taken out."""
    query = request.GET.copy()
    for name, value in changed.items():
        if value is None:
            query.pop(name, None)
        else:
            query[name] = value
    return f"?{query.urlencode()}"


def context(request: HttpRequest) -> dict[str, object]:
    """Return what the head of every page needs."""
    return {"visitor": visitor(request), "categories": Category.objects.all()}


def home(request: HttpRequest) -> HttpResponse:
    """Say hello, and show a few products."""
    new = Product.objects.filter(name__in=NEW, enabled=True)
    return render(request, "shop/home.html", {"products": new})


def category(request: HttpRequest, slug: str) -> HttpResponse:
    """Show a shelf."""
    shelf = get_object_or_404(Category, slug=slug)
    return _listed(request, shelf.name, Product.objects.filter(category=shelf, enabled=True))


def search(request: HttpRequest) -> HttpResponse:
    """Show what has all words of the query in its name, maker, colour or SKU."""
    found = Product.objects.filter(enabled=True)
    words = request.GET.get("q", "").lower().split()
    chosen = [p.pk for p in found if all(word in _words(p) for word in words)]
    title = f"Search results for: '{request.GET.get('q', '')}'"
    return _listed(request, title, Product.objects.filter(pk__in=chosen if words else []))


def _words(product: Product) -> str:
    return f"{product.name} {product.maker} {product.colour} {product.sku}".lower()


def product(request: HttpRequest, slug: str) -> HttpResponse:
    """Show a product, its facts and what was said about it."""
    shown = get_object_or_404(Product, slug=slug, enabled=True)
    page = {"product": shown, "reviews": shown.reviews.filter(status="Approved")}
    return render(request, "shop/product.html", page)


@inside(LOGIN)
def review(request: HttpRequest, slug: str) -> HttpResponse:
    """Write a review; it stands on the page at once."""
    shown = get_object_or_404(Product, slug=slug, enabled=True)
    asked = {name: request.POST.get(name, "").strip() for name in ("nickname", "title", "text")}
    rating = request.POST.get("rating", "")
    if request.method == "POST" and all(asked.values()) and rating in set("12345"):
        Review.objects.create(product=shown, rating=int(rating), written=TODAY, **asked)
        return HttpResponseRedirect(f"/{slug}.html")
    return render(request, "shop/review.html", {"product": shown, "ratings": range(1, 6)})
