"""The pages beside the repositories: issues, members, a profile."""

from __future__ import annotations

from django.contrib.auth.hashers import check_password
from django.db.models import Max
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render

from jitrl.worlds.pocket.content import TODAY
from jitrl.worlds.pocket.content.code import LABELS, ROLES
from jitrl.worlds.pocket.sites import visitors
from jitrl.worlds.pocket.sites.forge.models import Comment, Issue, Membership, Project, User
from jitrl.worlds.pocket.sites.visitors import inside

__all__ = [
    "about",
    "comment",
    "context",
    "issue",
    "issues",
    "login",
    "members",
    "mine",
    "new",
    "profile",
    "search",
    "state",
]

LOGIN = "/users/sign_in"
STATES = ("Open", "Closed", "All")


def context(request: HttpRequest) -> dict[str, object]:
    """Return what the head of every page needs."""
    return {"visitor": visitors.visitor(request)}


def me(request: HttpRequest) -> User:
    """Return who is signed in."""
    user: User = get_object_or_404(User, username=visitors.visitor(request))
    return user


def login(request: HttpRequest) -> HttpResponse:
    """Sign somebody in."""

    def known(name: str, password: str) -> str | None:
        found = User.objects.filter(username__iexact=name).first()
        return found.username if found and check_password(password, found.password) else None

    return visitors.sign_in(request, "forge/login.html", "/", known)


@inside(LOGIN)
def profile(request: HttpRequest) -> HttpResponse:
    """Show and change the visitor's name and status."""
    user = me(request)
    if request.method == "POST":
        user.name = request.POST.get("name", user.name).strip()[:80]
        user.status = request.POST.get("status", user.status).strip()[:120]
        user.save()
        return HttpResponseRedirect("/-/profile")
    facts = [("Username", user.username), ("Full name", user.name), ("Status", user.status or "-")]
    return render(request, "forge/profile.html", {"user": user, "facts": facts})


@inside(LOGIN)
def mine(request: HttpRequest) -> HttpResponse:
    """Show the open issues that the visitor is to solve."""
    found = me(request).assigned.filter(state="Open").order_by("project__name", "number")
    return render(request, "forge/mine.html", {"issues": found})


def search(request: HttpRequest) -> HttpResponse:
    """Show the issues of all projects with all words of the query in their title."""
    query = request.GET.get("q", "")
    found = Issue.objects.order_by("project__name", "number")
    for word in query.split():
        found = found.filter(title__icontains=word)
    return render(request, "forge/search.html", {"issues": found[:40], "query": query})


def about(request: HttpRequest, project: str) -> HttpResponse:
    """Show what is known about a project."""
    shown = get_object_or_404(Project, name=project)
    facts = [
        ("Description", shown.description),
        ("Licence", shown.licence),
        ("Commits", shown.commits),
        ("Members", shown.members.count()),
        ("Open issues", shown.issues.filter(state="Open").count()),
    ]
    return render(request, "forge/about.html", {"project": shown, "facts": facts})


def issues(request: HttpRequest, project: str) -> HttpResponse:
    """Show the issues of a project: those of a state, a label, or a word in the title."""
    shown = get_object_or_404(Project, name=project)
    state, label = request.GET.get("state", "Open"), request.GET.get("label", "")
    found = shown.issues.all()
    if state != "All":
        found = found.filter(state=state)
    if label:
        found = found.filter(label=label)
    page = {"project": shown, "issues": found, "state": state, "label": label}
    return render(request, "forge/issues.html", page | {"states": STATES, "labels": LABELS})


def issue(request: HttpRequest, project: str, number: int) -> HttpResponse:
    """Show an issue."""
    shown = get_object_or_404(Issue, project__name=project, number=number)
    facts = [
        ("State", shown.state),
        ("Author", shown.author.name),
        ("Assignee", shown.assignee.name if shown.assignee else "nobody"),
        ("Label", shown.label),
        ("Opened on", f"{shown.opened:%-d %B %Y}"),
    ]
    page = {"project": shown.project, "issue": shown, "facts": facts}
    return render(request, "forge/issue.html", page)


@inside(LOGIN)
def new(request: HttpRequest, project: str) -> HttpResponse:
    """Open an issue."""
    shown = get_object_or_404(Project, name=project)
    title = request.POST.get("title", "").strip()[:120]
    if request.method != "POST" or not title:
        people = User.objects.all()
        page = {"project": shown, "people": people, "labels": LABELS}
        return render(request, "forge/new.html", page)
    number = 1 + (shown.issues.aggregate(last=Max("number"))["last"] or 0)
    label = request.POST.get("label", "")
    Issue.objects.create(
        project=shown,
        number=number,
        title=title,
        text=request.POST.get("text", "").strip(),
        author=me(request),
        assignee=User.objects.filter(username=request.POST.get("assignee", "")).first(),
        label=label if label in LABELS else LABELS[0],
        opened=TODAY,
    )
    return HttpResponseRedirect(f"/{project}/-/issues/{number}")


@inside(LOGIN)
def state(request: HttpRequest, project: str, number: int) -> HttpResponse:
    """Close an issue that is open, and the other way round."""
    shown = get_object_or_404(Issue, project__name=project, number=number)
    if request.method == "POST":
        shown.state = "Closed" if shown.state == "Open" else "Open"
        shown.save()
    return HttpResponseRedirect(f"/{project}/-/issues/{number}")


@inside(LOGIN)
def comment(request: HttpRequest, project: str, number: int) -> HttpResponse:
    """Say something about an issue."""
    shown = get_object_or_404(Issue, project__name=project, number=number)
    text = request.POST.get("text", "").strip()
    if request.method == "POST" and text:
        Comment.objects.create(issue=shown, author=me(request), text=text)
    return HttpResponseRedirect(f"/{project}/-/issues/{number}")


@inside(LOGIN)
def members(request: HttpRequest, project: str) -> HttpResponse:
    """Show the members of a project; invite somebody, or change a role."""
    shown = get_object_or_404(Project, name=project)
    invited = User.objects.filter(username=request.POST.get("username", "").strip()).first()
    role = request.POST.get("role", "")
    if request.method == "POST" and invited and role in ROLES:
        Membership.objects.update_or_create(project=shown, user=invited, defaults={"role": role})
        return HttpResponseRedirect(f"/{project}/-/project_members")
    page = {"project": shown, "roles": ROLES, "error": ""}
    if request.method == "POST":
        page["error"] = "Nobody has that username, or there is no such role."
    return render(request, "forge/members.html", page)
