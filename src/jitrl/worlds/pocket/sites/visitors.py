"""Who is signed in on a site: a name in the session, and a page that asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme, urlencode

__all__ = ["inside", "leave", "sign_in", "visitor"]

View = Callable[..., HttpResponse]
_KEY = "visitor"


def visitor(request: HttpRequest) -> str:
    """Return the name under which somebody is signed in, or ""."""
    return str(request.session.get(_KEY, ""))


def inside(login: str) -> Callable[[View], View]:
    """Send whoever is not signed in to the page `login` first, and back afterwards."""

    def decorate(view: View) -> View:
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if visitor(request):
                return view(request, *args, **kwargs)
            back = request.get_full_path() if request.method == "GET" else request.POST.get("back")
            return HttpResponseRedirect(f"{login}?{urlencode({'next': back or '/'})}")

        return guarded

    return decorate


def sign_in(
    request: HttpRequest,
    template: str,
    home: str,
    known: Callable[[str, str], str | None],
) -> HttpResponse:
    """Ask for a name and a password; `known` returns the name to sign in, or None."""
    target = request.POST.get("next") or request.GET.get("next") or home
    if not url_has_allowed_host_and_scheme(target, {request.get_host()}):
        target = home
    page = {"next": target, "error": "", "name": request.POST.get("name", "")}
    if request.method == "POST":
        name = known(request.POST.get("name", "").strip(), request.POST.get("password", ""))
        if name is not None:
            request.session.create()  # a new key; whoever has the old one keeps it
            request.session[_KEY] = name
            return HttpResponseRedirect(target)
        page["error"] = "The name or the password is not right."
    return render(request, template, page)


def leave(request: HttpRequest) -> HttpResponse:
    """Sign this browser out. Others that were given the same cookie, as is done with logins that
    are prepared once, stay signed in.
    """
    answer = HttpResponseRedirect("/")
    answer.delete_cookie(settings.SESSION_COOKIE_NAME)
    return answer
