"""Django's entry for the wiki."""

from django.apps import AppConfig


class Wiki(AppConfig):
    """The wiki; its tables are called wiki_..."""

    name = "jitrl.worlds.pocket.sites.wiki"
    label = "wiki"
