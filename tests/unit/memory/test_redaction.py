"""Secrets are taken out of what is stored; prose stays as it is."""

from __future__ import annotations

import copy
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlite_kit import episode, step

from jitrl.errors import InvalidValue
from jitrl.memory.redaction import DEFAULT, DEFAULT_PATTERNS, Redaction
from jitrl.records import State

B64 = "MIIEpAIBAAKCAQEA7rSWkTn0" * 3
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{B64}\n{B64}\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
ALNUM = "aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA3bC5dE7f"

SECRETS = {  # text -> the secret in it
    f"the key is {PEM}.": B64,
    PEM.replace("RSA ", "").replace("\n", "\\n"): B64,
    f"-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: 2-1\n\n{B64}\n=ab\n-----END PGP PRIVATE": B64,
    f"-----BEGIN PRIVATE KEY-----\n{B64}\n{B64[:20]}": B64[:20],
    "id AKIAIOSFODNN7EXAMPLE.": "AKIAIOSFODNN7EXAMPLE",
    "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEX": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEX",
    "AWS Secret Access Key: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEX": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEX",
    f"see sk-ant-api03-{ALNUM}-AA": f"sk-ant-api03-{ALNUM}-AA",
    f"see sk-proj-{ALNUM} there": f"sk-proj-{ALNUM}",
    f"(sk-{ALNUM})": f"sk-{ALNUM}",
    f"git clone https://ghp_{ALNUM[:36]}@github.com/a/b": f"ghp_{ALNUM[:36]}",
    f"github_pat_{ALNUM}_x": f"github_pat_{ALNUM}_x",
    "use glpat-x1Y2z3A4b5C6d7E8f9G0 now": "glpat-x1Y2z3A4b5C6d7E8f9G0",
    "SLACK xoxb-123456789012-abcdefABCDEF": "xoxb-123456789012-abcdefABCDEF",
    "https://hooks.slack.com/services/T000/B000/XXXXyyyyZZZZ": "T000/B000/XXXXyyyyZZZZ",
    "key=AIzaSyA1234567890abcdefghijklmnopqrstu&x=1": "AIzaSyA1234567890abcdefghijklmnopqrstu",
    "ya29.a0AfH6SMBx_yz-1234567890abcdef": "ya29.a0AfH6SMBx_yz-1234567890abcdef",
    "charge with sk_live_4eC39HqLyjWDarjtT1zdp7dc": "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
    f"login hf_{ALNUM[:34]}": f"hf_{ALNUM[:34]}",
    f"cookie {JWT};": JWT,
    "Authorization: Basic dXNlcjpwYXNzd29yZA==": "dXNlcjpwYXNzd29yZA==",
    "authorization: Bearer abc.def-ghi_1": "abc.def-ghi_1",
    '{"Authorization": "Token 9944b09199c62bcf9418"}': "9944b09199c62bcf9418",
    "Proxy-Authorization: 9944b09199c62bcf9418ad846dd0e4bb": "9944b09199c62bcf9418ad846dd0e4bb",
    "send bearer 9944b09199c62bcf9418ad846dd0e4bb along": "9944b09199c62bcf9418ad846dd0e4bb",
    "postgresql://bob:s3cr@t!@db.example.com:5432/x": "s3cr@t!",
    "redis://:opensesame@localhost": "opensesame",
    "https://shop.example/login?user=bob&password=hunter2&next=/": "hunter2",
    "password=x": "x",
    "DB_PASSWORD='correct horse'; go": "correct horse",
    'password = "cor\\"rect"; go': 'cor\\"rect',
    "Server=db;Passwd=hunter;Port=1": "hunter",
    "Password: hunter2": "hunter2",
    "User: bob\nPassword: swordfish\nRole: admin": "swordfish",
    "passphrase: opensesame": "opensesame",
    '{"user": "bob", "password": "correct horse", "age": 3}': "correct horse",
    r"{\"token\": \"abc def\", \"age\": 3}": "abc def",
    "token: 'abcd'": "abcd",
    "api key: 12345678": "12345678",
    "X-Api-Key: a1b2c3d4e5": "a1b2c3d4e5",
    "apiKey=zzzzzz": "zzzzzz",
    "client_secret: 0a1b2c3d": "0a1b2c3d",
    "csrf_token=Ab-_9&x=1": "Ab-_9",
}

PROSE = [
    "West of House. You are standing in an open field west of a white house, with a boarded door.",
    "The troll says the password is swordfish, and that nobody may pass without it.",
    'A note reads: "The password is XYZZY. Tell no one."',
    "What is the password? You do not know the password: nobody told you.",
    "Password: please enter your password.",
    "Password: required",
    "textbox 'Password:' required focused",
    "[14] LabelText '' [15] StaticText 'Password:' [16] textbox 'Password' required: True",
    '<input type="password" name="password" placeholder="Password" autocomplete="new-password">',
    "Forgot your password? Reset it. Passwords must have 8-16 characters.",
    "Password: must contain at least 8 characters, one digit and one symbol.",
    "The secret: never trust a grue in the dark.",
    "Secret: the lamp is hidden under the rug.",
    "A secret passage opens behind the bookcase! The secret is out.",
    "Token: a small brass token lies here. You insert the token.",
    "It costs one token: five coins. Token = price in coins? No.".replace("= ", "is "),
    "The key: brass, worn, and it opens the cellar door. An API key is needed: ask the admin.",
    "The herald, a bearer of bad news, enters. Pall-bearers follow the bearer.",
    "Authorization: you are not permitted to view this page.",
    "Authorization: Basic training is required for all members.",
    "Visit https://example.com:8080/path?x=1 or mail bob@example.com at 10:30.",
    "See http://localhost:7770/catalog and git@github.com:owner/name.git for more.",
    "The risk-averse task-oriented desk-bound clerk, class sk-fading-circle-container-element.",
    "The file begins with -----BEGIN PRIVATE KEY----- and ends with -----END PRIVATE KEY-----.",
    "-----BEGIN CERTIFICATE-----\n" + B64 + "\n-----END CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----\n" + B64 + "\n-----END PUBLIC KEY-----",
    "if password == stored and token != None: max_tokens: 512",
    "commit 9944b09199c62bcf9418ad846dd0e4bb9944b091, order no. 000000189, price $3.50",
    "Slovakia and ASIA, in AKIAK, Alaska; eyJ is how such things begin.",
    "Token: 2026-11-24. Secret: 10:30. Password: p. 12",
    "[redacted:password] stands where a password was; so does password: [redacted:password]",
    "",
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_replaced_and_nothing_of_it_is_left(text):
    before, secret, after = text.rpartition(SECRETS[text])
    redacted = DEFAULT.text(text)
    assert secret not in redacted
    if B64[:20] not in secret:
        around = re.escape(before), re.escape(after)
        assert re.fullmatch(r"\[redacted:[a-z-]+\]".join(around), redacted)
    else:
        assert redacted.startswith(text[: text.index("KEY")])


@pytest.mark.parametrize("text", PROSE)
def test_prose_stays_as_it_is(text):
    assert DEFAULT.text(text) == text


def test_every_default_pattern_finds_something():
    found = {
        name for text in SECRETS for name in re.findall(r"\[redacted:(.*?)\]", DEFAULT.text(text))
    }
    assert found == set(DEFAULT_PATTERNS)


def test_no_address_is_taken_out_unless_the_user_says_so():
    text = "write to bob@example.com"
    assert DEFAULT.text(text) == text
    own = DEFAULT.with_patterns(email=r"[\w.+-]+@[\w-]+\.[\w.]+")
    assert own.text(text) == "write to [redacted:email]"
    assert own.text("password=x") == DEFAULT.text("password=x")
    assert DEFAULT.text(text) == text


def test_a_pattern_of_the_same_name_replaces_the_default():
    own = DEFAULT.with_patterns(password="swordfish")
    assert own.text("swordfish password=x") == "[redacted:password] password=x"


def test_the_group_named_secret_is_replaced_and_all_of_a_match_without_it():
    own = Redaction({"pin": r"pin (?P<secret>\d+)|room \d+"})
    assert own.text("pin 12, room 34") == "pin [redacted:pin], [redacted:pin]"


@pytest.mark.parametrize(
    "pattern", ["(", "a{99999999999}", "(?P<x>a)(?P<x>b)", "*", "\ud800", 3, None]
)
def test_what_is_no_regular_expression_is_refused_with_the_reason(pattern):
    with pytest.raises(InvalidValue) as caught:
        DEFAULT.with_patterns(mine=pattern)
    assert "mine" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "x]", "ü"])
def test_a_name_that_cannot_stand_in_a_mark_is_refused(name):
    with pytest.raises(InvalidValue, match="letters, digits"):
        Redaction({name: "x"})


# --- properties ---------------------------------------------------------------------------------

SPLINTERS = [
    *(
        "password",
        "token",
        "secret",
        "api_key",
        ":",
        "=",
        " ",
        '"',
        "'",
        '\\"',
        "\n",
        "a1",
        "x",
        ",",
    ),
    *("://", "@", "bearer ", "Authorization: ", "-----BEGIN PRIVATE KEY-----", "-----END", "eyJ"),
    *("sk-", "[redacted:", "]", "[redacted:jwt]", ALNUM, JWT, B64, "hunter2", "İ", "K", "ſecret"),
]
texts = st.lists(st.sampled_from([*SPLINTERS, *SECRETS]) | st.text(max_size=3), max_size=12).map(
    "".join
)
GREEDY = DEFAULT.with_patterns(
    a="redacted", b=r"[\w:]+", c=r"^.", d=r"(?<=\])(?P<secret>.)", e="", f=r"\]"
)


@given(texts)
def test_to_redact_twice_is_to_redact_once(text):
    for redaction in (DEFAULT, GREEDY, Redaction({})):
        once = redaction.text(text)
        assert redaction.text(once) == once


@given(texts)
def test_the_hints_spare_time_and_change_nothing(text):
    plain = Redaction({name: f"(?:{pattern})" for name, pattern in DEFAULT_PATTERNS.items()})
    assert not plain._hints
    assert DEFAULT._hints.keys() == DEFAULT_PATTERNS.keys()
    assert DEFAULT.text(text) == plain.text(text)


HOSTILE = [
    *(f"{key}{sep}" for key in ("password", "token", "secret", "api_key") for sep in "=:'\" "),
    *(
        'password:"',
        "password: ",
        'password="',
        "password:aaaa ",
        "password:\t",
        'token:\\"',
        "token:a",
    ),
    *(
        "token: a1 ",
        "secretkey",
        "eyJ-",
        "eyJaaaaaaaa.",
        "sk-",
        "sk-a",
        "sk-ant-",
        "k_live_",
        "xoxb-",
    ),
    *("-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\n", "-----BEGIN ", "-"),
    *("-----BEGIN PRIVATE KEY-----" + "a" * 16, "://", "://a:", "://a@", ":a://", "a@", "whsec_"),
    *(
        "authorization:",
        "authorization: basic ",
        "authorization: basic aaaaaa",
        "bearer ",
        "bearer a",
    ),
    *("hooks.slack.com/a/", "AKIA", "ghp_", "glpat-", "glpat-aaaaaaaaaaaaaaaa.", "AIza", "ya29."),
    *(
        "[redacted:",
        "[redacted:x]",
        "password:[redacted:x]",
        "password=a [redacted:x]",
        "\\",
        "aaaa:",
    ),
]


@pytest.mark.timeout(60)  # it takes 0.2 s; with a time that grows faster than the text, minutes
@pytest.mark.parametrize("unit", HOSTILE)
def test_a_long_text_comes_to_an_end_whatever_it_says(unit):
    for end in ("", "x", "!", "@", '"', "\n", "-----END", "0"):
        DEFAULT.text(unit * (100_000 // len(unit)) + end)


# --- states and episodes ------------------------------------------------------------------------


def test_a_state_is_redacted_field_by_field():
    state = State(page="password=x", **{"password=": "y"}, url="http://a:b@c")
    assert DEFAULT.state(state) == State(
        page="password=[redacted:password]",
        **{"password=": "y"},
        url="http://a:[redacted:url-password]@c",
    )


def test_what_holds_no_secret_is_returned_as_it_is():
    plain = episode("e", step(0), final_state=State(end="x"), provenance={"run": "r"})
    assert DEFAULT.episode(plain) is plain
    assert DEFAULT.state(plain.steps[0].state) is plain.steps[0].state


def test_an_episode_is_redacted_everywhere_but_in_its_id():
    one, two, other = "fill(token=aa1)", "fill(token=bb2)", "wait"
    told = episode(
        "e",
        step(
            state=State(page="token=aa1"),
            action=one,
            before={one: 0.125, other: 0.5, two: 0.375},
            after={one: 0.25, two: 0.5, other: 0.25},
        ),
        task="log in with password=x",
        final_state=State(page="token=cc3"),
        provenance={"run": "r", "token": "token=dd4"},
    )
    done = DEFAULT.episode(told)
    mark = "token=[redacted:secret]"
    assert done.task == "log in with password=[redacted:password]"
    assert done.final_state == State(page=mark)
    assert done.provenance == {"run": "r", "token": mark}
    assert done.steps == (
        replace(
            told.steps[0],
            state=State(page=mark),
            action=f"fill({mark}",
            before={f"fill({mark}": 0.5, other: 0.5},
            after={f"fill({mark}": 0.75, other: 0.25},
        ),
    )
    assert DEFAULT.episode(done) == done


def test_an_id_that_holds_a_secret_is_refused_and_not_shown():
    with pytest.raises(InvalidValue) as caught:
        DEFAULT.episode(episode("run token=aa1bb2"))
    assert "aa1bb2" not in str(caught.value)
    assert "token=[redacted:secret]" in str(caught.value)


def test_redactions_are_equal_if_they_take_out_the_same_and_can_be_sent_to_other_processes():
    own = DEFAULT.with_patterns(x="y")
    assert copy.deepcopy(own) == own != DEFAULT
    assert hash(copy.deepcopy(own)) == hash(own)
    assert copy.deepcopy(own).text("y") == "[redacted:x]"
    assert Redaction() == DEFAULT
