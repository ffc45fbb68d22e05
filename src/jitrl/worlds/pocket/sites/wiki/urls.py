"""The addresses of the wiki."""

from django.urls import path

from jitrl.worlds.pocket.sites.visitors import leave
from jitrl.worlds.pocket.sites.wiki import views

urlpatterns = [
    path("", views.home),
    path("login/", views.login),
    path("logout/", leave),
    path("search/", views.search),
    path("recent/", views.recent),
    path("category/<name>/", views.kind),
    path("wiki/<address>", views.article),
    path("wiki/<address>/edit", views.edit),
    path("wiki/<address>/history", views.history),
    path("wiki/<address>/info", views.info),
]
