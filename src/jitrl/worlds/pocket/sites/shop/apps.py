"""Django's entry for the shop."""

from django.apps import AppConfig


class Shop(AppConfig):
    """The shop; its tables are called shop_..."""

    name = "jitrl.worlds.pocket.sites.shop"
    label = "shop"
    verbose_name = "Shop"
