"""The addresses of what stands beside the repositories; called as in GitLab where it has them."""

from django.urls import path

from jitrl.worlds.pocket.sites.forge import views
from jitrl.worlds.pocket.sites.visitors import leave

urlpatterns = [
    path("users/sign_in", views.login),
    path("users/sign_out", leave),
    path("-/profile", views.profile),
    path("-/search", views.search),
    path("dashboard/issues", views.mine),
    path("<project>/-/issues/", views.issues),
    path("<project>/-/issues/new", views.new),
    path("<project>/-/issues/<int:number>", views.issue),
    path("<project>/-/issues/<int:number>/state", views.state),
    path("<project>/-/issues/<int:number>/comment", views.comment),
    path("<project>/-/project_members", views.members),
    path("<project>/-/about", views.about),
]
