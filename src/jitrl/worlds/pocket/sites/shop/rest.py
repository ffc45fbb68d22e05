"""The three calls of a shop's interface for programs that WebArena's evaluators make."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from jitrl.worlds.pocket.accounts import ACCOUNTS
from jitrl.worlds.pocket.sites.shop.models import Order, Review

__all__ = ["orders", "reviews", "token"]

_TOKEN = "pocket-token"


@csrf_exempt
def token(request: HttpRequest) -> HttpResponse:
    """Exchange the name and password of the admin, as JSON, for a token."""
    admin = ACCOUNTS["shopping_admin"]
    try:
        asked = json.loads(request.body)
    except ValueError:
        return JsonResponse({"message": "not JSON"}, status=400)
    if asked != {"username": admin.username, "password": admin.password}:
        return JsonResponse({"message": "The name or the password is not right."}, status=401)
    return JsonResponse(_TOKEN, safe=False)


def _trusted(
    view: Callable[..., HttpResponse],
) -> Callable[..., HttpResponse]:
    def guarded(request: HttpRequest, **kwargs: str) -> HttpResponse:
        if not hmac.compare_digest(request.headers.get("Authorization", ""), f"Bearer {_TOKEN}"):
            return JsonResponse({"message": "A token is needed."}, status=401)
        return view(request, **kwargs)

    return guarded


@_trusted
def orders(request: HttpRequest) -> HttpResponse:
    """Return the newest orders first, as many as `searchCriteria[pageSize]` says."""
    size = request.GET.get("searchCriteria[pageSize]", "20")
    found = Order.objects.order_by("-number")[: int(size) if size.isdigit() else 20]
    items = [{"increment_id": order.number, "status": order.status} for order in found]
    return JsonResponse({"items": items})


@_trusted
def reviews(request: HttpRequest, sku: str) -> HttpResponse:
    """Return the reviews of a product, oldest first; a rating in percent."""
    found = [
        {
            "nickname": review.nickname,
            "title": review.title,
            "ratings": [{"rating_name": "Rating", "percent": review.rating * 20}],
        }
        for review in Review.objects.filter(product__sku=sku).order_by("written", "id")
    ]
    return JsonResponse(found, safe=False)
