"""Django's entry for the Git host."""

from django.apps import AppConfig


class Forge(AppConfig):
    """Issues and members; the tables are called forge_..."""

    name = "jitrl.worlds.pocket.sites.forge"
    label = "forge"
