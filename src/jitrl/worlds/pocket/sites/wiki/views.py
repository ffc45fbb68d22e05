"""The pages of the wiki."""

from __future__ import annotations

import re

from django.contrib.auth.hashers import check_password
from django.core.paginator import Paginator
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from jitrl.worlds.pocket.content import TODAY
from jitrl.worlds.pocket.content.land import KINDS
from jitrl.worlds.pocket.sites import visitors
from jitrl.worlds.pocket.sites.visitors import inside
from jitrl.worlds.pocket.sites.wiki.models import Article, Edit, Member

__all__ = [
    "article",
    "context",
    "edit",
    "history",
    "home",
    "info",
    "kind",
    "login",
    "recent",
    "search",
]

LOGIN = "/login/"
PAGE = 8


def context(request: HttpRequest) -> dict[str, object]:
    """Return what the head of every page needs."""
    return {"visitor": visitors.visitor(request), "kinds": KINDS}


def login(request: HttpRequest) -> HttpResponse:
    """Sign a member in."""

    def known(name: str, password: str) -> str | None:
        found = Member.objects.filter(name__iexact=name).first()
        return found.name if found and check_password(password, found.password) else None

    return visitors.sign_in(request, "wiki/login.html", "/", known)


def home(request: HttpRequest) -> HttpResponse:
    """Show what there is."""
    rows = [(name, Article.objects.filter(kind=name).count()) for name in KINDS]
    return render(request, "wiki/home.html", {"rows": rows})


def kind(request: HttpRequest, name: str) -> HttpResponse:
    """Show all articles of a kind."""
    return _listed(request, name, Article.objects.filter(kind=name))


def search(request: HttpRequest) -> HttpResponse:
    """Show the articles that have all words of the query in title or text; titles come first."""
    words = request.GET.get("q", "").lower().split()
    titled, others = [], []
    for found in Article.objects.all() if words else []:
        if all(word in found.title.lower() for word in words):
            titled.append(found)
        elif all(word in f"{found.title} {found.text}".lower() for word in words):
            others.append(found)
    return _listed(request, f"Search results for {request.GET.get('q', '')}", titled + others)


def _listed(request: HttpRequest, title: str, found: object) -> HttpResponse:
    pages = Paginator(found, PAGE)
    page = {"title": title, "page": pages.get_page(request.GET.get("p"))}
    return render(request, "wiki/list.html", page | {"query": request.GET.get("q", "")})


def article(request: HttpRequest, address: str) -> HttpResponse:
    """Show an article."""
    shown = get_object_or_404(Article, address=address)
    return render(request, "wiki/article.html", {"article": shown, "text": linked(shown.text)})


def linked(text: str) -> SafeString:
    """Return the text of an article as HTML: paragraphs, and [[links]]."""

    def link(match: re.Match[str]) -> str:
        return str(format_html('<a href="/wiki/{}">{}</a>', match[1].replace(" ", "_"), match[1]))

    paragraphs = re.sub(r"\[\[([^\[\]]+)\]\]", link, escape(text)).split("\n\n")
    return mark_safe("".join(f"<p>{paragraph}</p>" for paragraph in paragraphs))


def history(request: HttpRequest, address: str) -> HttpResponse:
    """Show who changed an article, newest first."""
    return render(
        request, "wiki/history.html", {"article": get_object_or_404(Article, address=address)}
    )


def info(request: HttpRequest, address: str) -> HttpResponse:
    """Show what is known about the page itself."""
    shown = get_object_or_404(Article, address=address)
    last, first = shown.edits.first(), shown.edits.last()
    facts = [
        ("Page creator", first.author),
        ("Created on", f"{first.made:%-d %B %Y}"),
        ("Latest editor", last.author),
        ("Latest edit on", f"{last.made:%-d %B %Y}"),
        ("Number of edits", shown.edits.count()),
    ]
    return render(request, "wiki/info.html", {"article": shown, "facts": facts})


def recent(request: HttpRequest) -> HttpResponse:
    """Show the latest changes of all articles."""
    return render(
        request, "wiki/recent.html", {"edits": Edit.objects.order_by("-made", "-id")[:20]}
    )


@inside(LOGIN)
def edit(request: HttpRequest, address: str) -> HttpResponse:
    """Change the facts and the text of an article."""
    shown = get_object_or_404(Article, address=address)
    if request.method == "POST":
        with transaction.atomic():
            for fact in shown.facts.all():
                fact.value = request.POST.get(f"fact{fact.pk}", fact.value).strip()[:80]
                fact.save()
            shown.text = request.POST.get("text", shown.text).replace("\r\n", "\n").strip()
            shown.save()
            Edit.objects.create(
                article=shown,
                author=visitors.visitor(request),
                made=TODAY,
                summary=request.POST.get("summary", "").strip()[:120],
            )
        return HttpResponseRedirect(f"/wiki/{address}")
    return render(request, "wiki/edit.html", {"article": shown})
