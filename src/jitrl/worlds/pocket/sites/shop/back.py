"""The admin of the shop: Django's own, at the root of its site."""

from __future__ import annotations

from typing import ClassVar

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import path

from jitrl.worlds.pocket.sites.shop.models import Category, Customer, Order, Product, Review
from jitrl.worlds.pocket.sites.visitors import leave

__all__ = ["urlpatterns"]


class ProductAdmin(admin.ModelAdmin):
    """Products can be found, filtered, changed and hidden."""

    list_display = ("name", "sku", "category", "price", "stock", "enabled")
    sortable_by = ()
    list_filter = ("category", "enabled")
    search_fields = ("name", "sku")
    prepopulated_fields: ClassVar[dict[str, tuple[str, ...]]] = {"slug": ("name",)}
    fields = (
        "name",
        "slug",
        "sku",
        "category",
        "price",
        "stock",
        "maker",
        "guarantee",
        "colour",
        "weight",
        "enabled",
    )


class OrderAdmin(admin.ModelAdmin):
    """Of an order, only the status and the carrier can be changed."""

    list_display = ("number", "customer", "placed", "status", "total")
    sortable_by = ()
    list_filter = ("status",)
    search_fields = ("number", "customer__name")
    fields = ("number", "customer", "placed", "status", "carrier", "shipping", "total")
    readonly_fields = ("number", "customer", "placed", "shipping", "total")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Orders come from the shop."""
        return False


class CustomerAdmin(admin.ModelAdmin):
    """Customers can be looked at: on a page of ours, a label and a value in each row."""

    change_form_template = "admin/customer.html"
    list_display = ("name", "email", "city")
    sortable_by = ()
    list_filter = ("city",)
    search_fields = ("name", "email")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Customers come from the shop."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Only they themselves can change what is known about them."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """They stay."""
        return False


class ReviewAdmin(admin.ModelAdmin):
    """Reviews are approved or rejected here."""

    list_display = ("title", "product", "nickname", "rating", "status")
    sortable_by = ()
    list_filter = ("status", "rating")
    search_fields = ("title", "text", "nickname", "product__name")
    fields = ("product", "nickname", "rating", "title", "text", "written", "status")
    readonly_fields = ("product", "nickname", "rating", "title", "text", "written")


def dashboard(request: HttpRequest) -> HttpResponseRedirect:
    """Lead to the first page: WebArena's admin has it under this name."""
    return HttpResponseRedirect("/")


admin.site.site_header = "Pocket shop administration"
admin.site.site_title = "Pocket shop"
admin.site.index_title = "Dashboard"
admin.site.site_url = None
admin.site.enable_nav_sidebar = False
admin.site.disable_action("delete_selected")
admin.site.logout = leave  # the session of others goes on
admin.site.unregister([Group, User])  # accounts stay as they are
admin.site.register(Category)
admin.site.register(Product, ProductAdmin)
admin.site.register(Order, OrderAdmin)
admin.site.register(Customer, CustomerAdmin)
admin.site.register(Review, ReviewAdmin)

urlpatterns = [path("dashboard", dashboard), path("", admin.site.urls)]
