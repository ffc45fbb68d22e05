from __future__ import annotations

import re
from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitrl.worlds.browser.address import normalised, on_site, outside

SITES = {
    "shopping": "http://127.0.0.1:7770",
    "admin": "http://127.0.0.1:7770/admin/",
    "wiki": "http://Wiki.Example:80/",
    "v6": "http://[::1]:8888",
}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:7770", "shopping/"),
        ("http://127.0.0.1:7770/", "shopping/"),
        ("http://127.0.0.1:7770/orders/000017/?page=2", "shopping/orders/<id>/?page"),
        ("http://127.0.0.1:7770/?q=a&b=&a=1&q=2", "shopping/?a&b&q"),
        ("http://127.0.0.1:7770/cart#top", "shopping/cart"),
        ("http://127.0.0.1:7770/app#/orders/5", "shopping/app#/orders/<id>"),
        ("http://127.0.0.1:7770/app#!5", "shopping/app#!5"),
        ("http://127.0.0.1:7770/cart;jsessionid=1F2A", "shopping/cart"),
        ("http://127.0.0.1:7770/admin/users/3", "admin/users/<id>"),
        ("http://127.0.0.1:7770/administrator", "shopping/administrator"),
        ("http://127.0.0.1:77701/", "127.0.0.1:77701/"),
        ("http://wiki.example/A/Rome", "wiki/A/Rome"),
        ("HTTP://WIKI.example:80/A/Rome", "wiki/A/Rome"),
        ("https://wiki.example/A", "wiki.example/A"),
        ("http://[::1]:8888/x", "v6/x"),
        ("http://[::1]:8889/x", "[::1]:8889/x"),
        ("http://[::1]/x", "[::1]/x"),
        ("http://bob:secret@other.example/x", "other.example/x"),
        ("http://bob:secret@127.0.0.1:7770/x", "shopping/x"),
        ("http://127.0.0.1:7770@evil.example/x", "evil.example/x"),
        ("http://127.0.0.1:7770.evil.example/x", "127.0.0.1:7770.evil.example/x"),
        ("https://other.example:443/", "other.example/"),
        ("file:///home/someone/html/click-test.html?x", "file/click-test.html?x"),
        ("about:blank", "about:blank"),
        ("", ""),
        ("http://[::1", "<invalid address>"),
        ("http://[bad]/", "<invalid address>"),
        ("http://host:port/x", "host:port/x"),
        ("http://127.1:07770/x", "shopping/x"),
        ("http://0x7f.0.0.1:7770/x", "shopping/x"),
        ("http://2130706433:7770/x", "shopping/x"),
        ("http://[0:0::1]:8888/x", "v6/x"),
        ("http://[::ffff:127.0.0.1]/x", "[::ffff:7f00:1]/x"),
        ("http://bücher.example/x", "xn--bcher-kva.example/x"),
        ("http://a..b/x", "a..b/x"),
        ("http://999.1.1.1/x", "999.1.1.1/x"),
        ("http://h/a%20b/%C3%A9", "h/a b/é"),
        ("http://h/2023-01-05/1-2-2023", "h/<date>/<date>"),
        ("http://h/posts-2023-01-05-x", "h/posts-<date>-x"),
        ("http://h/commit/1a2b3c4d5e", "h/commit/<hash>"),
        ("http://h/123e4567-e89b-12d3-a456-426614174000", "h/<id>"),
        ("http://h/product-42.html", "h/product-<id>.html"),
        ("http://h/top10/facade", "h/top10/facade"),
        ("http://h/archive/2023-03", "h/archive/<date>"),
        ("http://h/posts-2023-03", "h/posts-<date>"),
        ("http://h/2023-13/555-2012", "h/2023-<id>/555-<id>"),
        ("http://h/at/20230314T1200", "h/at/<date>"),
        ("http://h/at/2023-03-14T12%3A00%3A05.2Z/x", "h/at/<date>/x"),
        ("http://h/backup-20230314T120000+0100.zip", "h/backup-<date>.zip"),
        ("http://h/blog/12-foo-bar", "h/blog/<id>"),
        ("http://h/blog/12-foo-bar.html", "h/blog/<id>.html"),
        ("http://h/blog/2023-01-05-some-title", "h/blog/<date>"),
        ("http://h/blog/123.html", "h/blog/<id>.html"),
        ("http://h/blog/top-10-lists", "h/blog/top-10-lists"),
        ("http://h/commit/deadbeefcafe", "h/commit/<hash>"),
        ("http://h/commit/1a2b3c4d5e.patch", "h/commit/<hash>.patch"),
        ("http://h/commit/" + "7" * 40, "h/commit/<hash>"),
        ("http://h/patch-1A2B3C4", "h/patch-<hash>"),
        ("http://h/wiki/Fabaceae/defaced/effaced.html", "h/wiki/Fabaceae/defaced/effaced.html"),
        ("http://h/f/books/123/dune", "h/f/books/<id>/<title>"),
        ("http://h/f/books/123/some-title/comment/45", "h/f/books/<id>/<title>/comment/<id>"),
        ("http://h/f/books/123/-/comment/45", "h/f/books/<id>/-/comment/<id>"),
        ("http://h/f/books/123/", "h/f/books/<id>/"),
        ("http://h/questions/123/how-to-foo", "h/questions/<id>/<title>"),
        ("http://h/2023/03/14/how-to-foo", "h/<id>/<id>/<id>/<title>"),
        ("http://h/users/5/edit", "h/users/<id>/edit"),
        ("http://h/users/5/reset-password", "h/users/<id>/reset-password"),
        ("http://h/how-to-foo/for-the-bold", "h/how-to-foo/for-the-bold"),
    ],
)
def test_an_address_is_known_by_its_site_and_kind(url: str, expected: str) -> None:
    assert normalised(url, SITES) == expected


FIXED = (
    "/catalog/product/view",
    "/dashboard/todos",
    "/-/merge_requests",
    "/customer/account/",
    "/sales/order_create/start",
    "/checkout/onepage/success",
    "/users/sign_in",
    "/explore/projects/starred",
    "/f/all/top",
    "/-/user_settings/personal_access_tokens",
    "/wiki/Special:Random",
    "/video-games/accessories.html",
)


@pytest.mark.parametrize("path", FIXED)
def test_the_fixed_paths_of_a_site_stay_as_they_are(path: str) -> None:
    assert normalised(SITES["shopping"] + path, SITES) == "shopping" + path


numbers = st.integers(0, 10**12).map(str)
words = st.text("ghijklmnop", min_size=1, max_size=8)
dates = st.dates(min_value=date(1900, 1, 1), max_value=date(2099, 12, 31))
moments = st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2099, 12, 31))
hashes = (
    st.text("0123456789abcdef", min_size=7, max_size=64).filter(
        lambda text: any(c.isdigit() for c in text) and any(c.isalpha() for c in text)
    )
    | st.text("abcdef", min_size=8, max_size=64)
    | st.text("0123456789abcdef", min_size=40, max_size=40)
).filter(lambda text: len(text) != 32)  # as long as a UUID, which is an id
KINDS = {
    "number": numbers,
    "uuid": st.uuids().map(str) | st.uuids().map(lambda uuid: uuid.hex),
    "date": dates.map(lambda day: f"{day:%Y-%m-%d}"),
    "month": dates.map(lambda day: f"{day:%Y-%m}"),
    "moment": moments.map(lambda moment: f"{moment:%Y%m%dT%H%M}"),
    "exact": moments.map(lambda moment: f"{moment:%Y-%m-%dT%H:%M:%SZ}"),
    "hash": hashes | hashes.map(str.upper),
    "titled": st.tuples(numbers, st.lists(words, min_size=1)).map(
        lambda both: "-".join([both[0], *both[1]])
    ),
}
PLACES = ["/orders/{}", "/orders/{}/view?id={}", "/x-{}.html", "/{}.html", "/-/x/{}/edit", "/#/{}"]


@pytest.mark.parametrize("kind", sorted(KINDS))
@given(data=st.data())
def test_pages_that_differ_in_an_id_a_date_or_a_hash_are_one_page(
    kind: str, data: st.DataObject
) -> None:
    one, other = data.draw(KINDS[kind]), data.draw(KINDS[kind])
    places = [place for place in PLACES if kind != "titled" or not place.startswith("/x-")]
    path = data.draw(st.sampled_from([*places, *(fixed.rstrip("/") + "/{}" for fixed in FIXED)]))
    told = {normalised(SITES["shopping"] + path.format(i, i), SITES) for i in (one, other)}
    assert len(told) == 1
    assert one not in re.sub("<[a-z]+>", "", told.pop()) or len(one) < 3


@given(numbers, numbers, st.lists(words, min_size=1), st.lists(words, min_size=1))
def test_two_posts_of_a_forum_share_the_state_whatever_their_titles(
    one: str, other: str, title: list[str], another: list[str]
) -> None:
    posts = (one, "-".join(title)), (other, "-".join(another))
    told = {normalised(f"http://h/f/books/{number}/{named}", {}) for number, named in posts}
    assert told == {"h/f/books/<id>/<title>"}


@given(st.text(max_size=40) | st.text(st.sampled_from("http:/[]@#?&=.;%20a1-"), max_size=30))
def test_any_text_has_a_normal_form_and_keeps_it(text: str) -> None:
    for url in (text, "http://127.0.0.1:7770/" + text):
        normal = normalised(url, SITES)
        assert isinstance(normal, str)
        path = normal.removeprefix("shopping").partition("?")[0]
        if normal.startswith("shopping/") and not set("%#?;\\ ") & set(path) and path.isascii():
            assert normalised("http://127.0.0.1:7770" + path, SITES).startswith("shopping" + path)


@given(st.text(max_size=30), st.sampled_from(sorted(SITES)))
def test_a_site_and_what_follows_it_make_the_address_again(rest: str, label: str) -> None:
    address = SITES[label].rstrip("/") + "/" + rest
    found = on_site(address, SITES)
    if found is not None:
        assert on_site(SITES[found[0]].rstrip("/") + found[1], SITES) == found


def test_a_site_is_told_by_the_longest_match_in_any_order() -> None:
    backwards = dict(reversed(SITES.items()))
    for sites in (SITES, backwards):
        assert on_site("http://127.0.0.1:7770/admin", sites) == ("admin", "")
        assert on_site("http://127.0.0.1:7770/admin?x", sites) == ("admin", "?x")
        assert on_site("http://127.0.0.1:7770/admins", sites) == ("shopping", "/admins")
        assert on_site("http://127.0.0.1:777/", sites) is None


@pytest.mark.parametrize("address", ["", "/", "http://[bad", "about:blank"])
def test_an_address_that_is_none_matches_no_page(address: str) -> None:
    assert on_site("http://h/x", {"a": address}) is None
    assert normalised("http://h/x", {"a": address}) == "h/x"


@pytest.mark.parametrize(
    ("url", "left"),
    [
        ("http://127.0.0.1:7770/anywhere?x", False),
        ("http://LOCALHOST/x", False),
        ("http://localhost:80/", False),
        ("about:blank", False),
        ("blob:http://127.0.0.1:7770/5f", False),
        ("data:text/html,x", False),
        ("", False),
        ("http://127.0.0.1:7771/", True),
        ("http://127.0.0.1/", True),
        ("http://127.0.0.1:7770.evil.org/", True),
        ("http://127.0.0.1:7770@evil.org/", True),
        ("chrome-error://chromewebdata/", True),
        ("http://[broken", True),
    ],
)
def test_a_page_on_no_host_of_the_sites_is_outside(url: str, left: bool) -> None:
    sites = {"shop": "http://127.0.0.1:7770/start", "wiki": "http://localhost"}
    assert outside(["http://127.0.0.1:7770/", url], sites) == (url if left else None)
