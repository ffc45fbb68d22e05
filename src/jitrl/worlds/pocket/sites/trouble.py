"""Pages that go wrong on purpose: what a browser, and who drives it, must survive."""

from __future__ import annotations

import time

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path

__all__ = ["urls"]

SLOWEST = 600
"""The longest that an answer is held back, in seconds."""


def index(request: HttpRequest) -> HttpResponse:
    """Offer all of them."""
    return render(request, "trouble/index.html")


def slow(request: HttpRequest) -> HttpResponse:
    """Answer after `?seconds=`: 5 unless said otherwise."""
    asked = request.GET.get("seconds", "")
    time.sleep(min(int(asked), SLOWEST) if asked.isascii() and asked.isdigit() else 5)
    return render(request, "trouble/done.html", {"what": "A slow answer"})


def done(request: HttpRequest) -> HttpResponse:
    """Show a quiet page, for a new tab and for what leads somewhere."""
    return render(request, "trouble/done.html", {"what": request.GET.get("what", "Here you are")})


def busy(request: HttpRequest) -> HttpResponse:
    """Send a page whose script never ends, from the moment it is opened."""
    return HttpResponse(
        "<!doctype html><html lang=en><title>Busy</title><h1>Busy</h1>"
        "<script>for (;;) {}</script></html>"
    )


def download(request: HttpRequest) -> HttpResponse:
    """Send a file to be kept."""
    answer = HttpResponse("name,value\nrow1,1\n", content_type="text/csv")
    answer["Content-Disposition"] = 'attachment; filename="pocket.csv"'
    return answer


def broken(request: HttpRequest) -> HttpResponse:
    """Fail as a server does."""
    return HttpResponse("<h1>Something broke in here</h1>", status=500)


urls = [
    path("trouble/", index),
    path("trouble/slow/", slow),
    path("trouble/done/", done),
    path("trouble/busy/", busy),
    path("trouble/pocket.csv", download),
    path("trouble/broken/", broken),
]
