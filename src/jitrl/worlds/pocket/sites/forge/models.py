"""The tables of the Git host: what is not in the repositories themselves."""

from __future__ import annotations

from django.db import models

from jitrl.worlds.pocket.content.code import LABELS, ROLES


class User(models.Model):
    """Somebody with an account."""

    username = models.CharField(max_length=40, unique=True)
    name = models.CharField(max_length=80)
    status = models.CharField(max_length=120, blank=True)
    password = models.CharField(max_length=120)

    class Meta:
        """In which order they come."""

        ordering = ("username",)


class Project(models.Model):
    """A repository by its name."""

    name = models.CharField(max_length=40, unique=True)
    description = models.CharField(max_length=120)
    licence = models.CharField(max_length=40)
    commits = models.PositiveIntegerField()

    class Meta:
        """In which order they come."""

        ordering = ("name",)


class Membership(models.Model):
    """What somebody may do in a project."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="members")
    user = models.ForeignKey(User, models.CASCADE)
    role = models.CharField(max_length=20, choices=[(role, role) for role in ROLES])

    class Meta:
        """In which order they come."""

        ordering = ("id",)


class Issue(models.Model):
    """Something to be done in a project; `number` counts from 1 in each."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="issues")
    number = models.PositiveIntegerField()
    title = models.CharField(max_length=120)
    text = models.TextField(blank=True)
    author = models.ForeignKey(User, models.CASCADE, related_name="written")
    assignee = models.ForeignKey(User, models.CASCADE, null=True, related_name="assigned")
    label = models.CharField(max_length=20, choices=[(label, label) for label in LABELS])
    state = models.CharField(max_length=8, default="Open")
    opened = models.DateField()

    class Meta:
        """In which order they come."""

        ordering = ("-number",)


class Comment(models.Model):
    """What somebody said about an issue."""

    issue = models.ForeignKey(Issue, models.CASCADE, related_name="comments")
    author = models.ForeignKey(User, models.CASCADE)
    text = models.TextField()

    class Meta:
        """In which order they come."""

        ordering = ("id",)
