"""The addresses of the shop; where WebArena's shop has such a page, it is called the same."""

from django.urls import path

from jitrl.worlds.pocket.sites import trouble
from jitrl.worlds.pocket.sites.shop import buying, rest, views
from jitrl.worlds.pocket.sites.visitors import leave

urlpatterns = [
    path("", views.home),
    path("catalog/<slug:slug>/", views.category),
    path("catalogsearch/result/", views.search),
    path("<slug:slug>.html", views.product),
    path("<slug:slug>.html/review/", views.review),
    path("<slug:slug>.html/cart/", buying.add),
    path("<slug:slug>.html/wish/", buying.wish),
    path("checkout/cart/", buying.cart),
    path("checkout/cart/remove/<int:line>/", buying.remove),
    path("checkout/", buying.checkout),
    path("checkout/onepage/success/<number>/", buying.placed),
    path("customer/account/", buying.account),
    path("customer/account/login/", buying.login),
    path("customer/account/logout/", leave),
    path("customer/account/edit/", buying.edit),
    path("customer/address/", buying.account),
    path("sales/order/history/", buying.history),
    path("sales/order/view/order_id/<number>/", buying.order),
    path("wishlist/", buying.wishes),
    path("wishlist/remove/<int:wish>/", buying.unwish),
    path("rest/default/V1/integration/admin/token", rest.token),
    path("rest/V1/orders", rest.orders),
    path("rest/V1/products/<sku>/reviews", rest.reviews),
    *trouble.urls,
]
