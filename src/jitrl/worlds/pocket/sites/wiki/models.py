"""The tables of the wiki."""

from __future__ import annotations

from django.db import models


class Member(models.Model):
    """Somebody who may edit."""

    name = models.CharField(max_length=40, unique=True)
    password = models.CharField(max_length=120)


class Article(models.Model):
    """A page; `address` is its title with underscores."""

    title = models.CharField(max_length=80, unique=True)
    address = models.CharField(max_length=80, unique=True)
    kind = models.CharField(max_length=40)
    text = models.TextField()

    class Meta:
        """In which order they come."""

        ordering = ("title",)


class Fact(models.Model):
    """A row of the table on a page."""

    article = models.ForeignKey(Article, models.CASCADE, related_name="facts")
    label = models.CharField(max_length=40)
    value = models.CharField(max_length=80)

    class Meta:
        """In which order they come."""

        ordering = ("id",)


class Edit(models.Model):
    """Who changed a page, and when."""

    article = models.ForeignKey(Article, models.CASCADE, related_name="edits")
    author = models.CharField(max_length=40)
    made = models.DateField()
    summary = models.CharField(max_length=120)

    class Meta:
        """In which order they come."""

        ordering = ("-id",)
