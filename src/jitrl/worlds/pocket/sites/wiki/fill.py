"""Write the content of the wiki into its tables."""

from __future__ import annotations

from pathlib import Path

from django.contrib.auth.hashers import make_password

from jitrl.worlds.pocket.accounts import ACCOUNTS, SALT
from jitrl.worlds.pocket.content.land import EDITORS, articles
from jitrl.worlds.pocket.sites.wiki.models import Article, Edit, Fact, Member

__all__ = ["fill"]


def fill(folder: Path) -> None:
    """Write everything; the tables are empty before. Nothing is put into `folder`."""
    password = make_password(ACCOUNTS["wikipedia"].password, salt=SALT)
    for name in EDITORS:
        Member.objects.create(name=name, password=password)
    for article in articles():
        stored = Article.objects.create(
            title=article.title, address=article.address, kind=article.kind, text=article.text
        )
        for label, value in article.facts:
            Fact.objects.create(article=stored, label=label, value=value)
        for edit in article.edits:
            Edit.objects.create(
                article=stored, author=edit.author, made=edit.made, summary=edit.summary
            )
