"""`jitrl doctor` tries the logins in a browser."""

from __future__ import annotations

from arena_kit import stands

from jitrl.worlds.browser.arena.doctor import examine


def test_each_login_is_tried_where_the_site_answers():
    with stands("reddit", "gitlab", "map") as sites:
        variables = {f"WA_{label.upper()}": site.address for label, site in sites.items()}
        variables |= {"WA_SHOPPING": "http://127.0.0.1:1", "WA_GITLAB_PASSWORD": "wrong"}
        found = {f.what: f for f in examine("webarena", environment=variables)}
        assert (sites["reddit"].logged_in, sites["gitlab"].logged_in) == (1, 0)
    assert found["reddit login"].works and found["reddit login"].remedy == ""
    assert found["gitlab login"].works is False
    assert "WA_GITLAB_PASSWORD" in found["gitlab login"].remedy
    assert "shopping login" not in found and found["shopping"].works is False
    assert found["libwebarena"].works and found["NLTK data"].works
    assert "118 of 812" in found["grader"].said and "webarena:all,-graded" in found["grader"].remedy
    assert found["tasks"].said == "168 of 812 can be played without a grader"
    lacking = "-site:shopping,-site:shopping_admin,-site:gitlab,-site:wikipedia"
    assert found["tasks"].remedy == f"jitrl run webarena:all,{lacking},-graded"


def test_without_a_chromium_no_login_is_tried():
    with stands("reddit") as sites:
        variables = {"WA_REDDIT": sites["reddit"].address}
        found = examine("webarena-lite", program="/nowhere/chromium", environment=variables)
        assert sites["reddit"].logged_in == 0
    (last,) = [f for f in found if f.what == "logins"]
    assert any(f.what == "tasks" and f.works for f in found)
    assert last.works is False and "/nowhere/chromium" in last.said
    assert "40 of 165" in next(f.said for f in found if f.what == "grader")
