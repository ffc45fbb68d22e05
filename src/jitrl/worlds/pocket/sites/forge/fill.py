"""Make the repositories, and write what stands around them into the tables."""

from __future__ import annotations

from calendar import timegm
from pathlib import Path

from django.contrib.auth.hashers import make_password
from dulwich.objects import Blob, Commit, Tree
from dulwich.refs import Ref
from dulwich.repo import Repo

from jitrl.worlds.pocket.accounts import ACCOUNTS, SALT
from jitrl.worlds.pocket.content.code import PEOPLE, Repository, repositories
from jitrl.worlds.pocket.sites.forge.models import Issue, Membership, Project, User

__all__ = ["REPOSITORIES", "fill"]

REPOSITORIES = "repositories"


def fill(folder: Path) -> None:
    """Write everything; the tables are empty before. Repositories go to `folder`."""
    password = make_password(ACCOUNTS["gitlab"].password, salt=SALT)
    users = {
        username: User.objects.create(username=username, name=name, password=password)
        for username, name in PEOPLE.items()
    }
    for repository in repositories():
        _repository(folder / REPOSITORIES / repository.name, repository)
        _project(repository, users)


def _project(repository: Repository, users: dict[str, User]) -> None:
    project = Project.objects.create(
        name=repository.name,
        description=repository.description,
        licence=repository.licence,
        commits=len(repository.commits),
    )
    for username, role in repository.members:
        Membership.objects.create(project=project, user=users[username], role=role)
    for issue in repository.issues:
        Issue.objects.create(
            project=project,
            number=issue.number,
            title=issue.title,
            author=users[issue.author],
            assignee=users[issue.assignee],
            label=issue.label,
            state=issue.state,
            opened=issue.opened,
        )


def _repository(folder: Path, repository: Repository) -> None:
    """Make a bare repository with its commits on one branch: the same hashes everywhere."""
    folder.mkdir(parents=True)
    made = Repo.init_bare(folder)
    tree, last = Tree(), None
    for change in repository.commits:
        for name, text in change.files:
            blob = Blob.from_string(text.encode())
            made.object_store.add_object(blob)
            tree.add(name.encode(), 0o100644, blob.id)
        made.object_store.add_object(tree)
        commit = Commit()
        commit.tree = tree.id
        commit.parents = [last] if last else []
        commit.author = commit.committer = _signature(change.author)
        commit.author_time = commit.commit_time = timegm(change.made.timetuple())
        commit.author_timezone = commit.commit_timezone = 0
        commit.encoding = b"UTF-8"
        commit.message = change.message.encode()
        made.object_store.add_object(commit)
        last = commit.id
    main = Ref(b"refs/heads/main")
    if last is not None:
        made.refs[main] = last
    made.refs.set_symbolic_ref(Ref(b"HEAD"), main)
    (folder / "description").write_text(repository.description)
    made.close()


def _signature(username: str) -> bytes:
    return f"{PEOPLE[username]} <{username}@example.com>".encode()
