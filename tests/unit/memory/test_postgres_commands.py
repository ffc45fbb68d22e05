"""`jitrl memory` on a server: the same commands, an address in place of a path."""

from __future__ import annotations

import pytest
from cli_kit import complaint
from memory_cli_kit import command_line, fill, ids, present, told


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    fill(tmp_path / "m.db")
    return command_line(monkeypatch, capsys, tmp_path)


def test_a_memory_on_a_server_is_governed_like_one_in_a_file(cli, server, schema):
    address = server.address(schema)
    cli("export", "m.db", "p.zip")
    assert "4 episodes stored" in cli("import", address, "p.zip", "--source", "team B")[1]
    found = told(cli("stats", address, "--json"))
    assert (found["present"], found["states"], found["bytes"] > 0) == (4, 4, True)
    cli("snapshot", address, "all")
    cli("quarantine", address, "--run", "a", "--why", "doubt", "--yes")
    assert ids(cli("show", address, "--json")) == ["b-0", "c-0"]
    cli("release", address, "--source", "team B", "--yes")
    assert "1 episode forgotten" in cli("forget", address, "--id", "a-0", "--yes")[1]
    assert told(cli("diff", address, "all", "--json")) == {"added": [], "removed": []}
    assert told(cli("neighbours", address, "--of", "a-1", "--step", 1, "--json"))
    assert cli("cap", address, 2, "--yes")[0] == 0
    assert cli("rollback", address, "all", "--yes")[0] == 0
    assert cli("vacuum", address)[0] == 0
    assert "sound" in cli("verify", address)[1]
    code, out, err = cli("merge", "m.db", address)
    assert (code, out.startswith("0 episodes stored"), err) == (0, True, "")
    assert "restore a backup" in complaint(cli("repair", address), 2)
    assert present("m.db") == ["a-0", "a-1", "b-0", "c-0"]


def test_no_memory_is_made_on_a_server_by_a_look_or_a_change(cli, server, schema):
    address = server.address(schema)
    for words in (("stats",), ("forget", "--run", "a", "--yes"), ("snapshot", "x")):
        complaint(cli(words[0], address, *words[1:]), 1)
    assert server.sql(schema, "SELECT count(*) FROM pg_tables WHERE schemaname = %s", schema) == [
        (0,)
    ]


def test_no_password_is_shown(cli, server, schema):
    address = server.address(schema, password="xyzzy")
    cli("export", "m.db", "p.zip")
    said = [cli("import", address, "p.zip"), cli("stats", address)]
    cli("snapshot", address, "all")
    said += [cli("rollback", address, "all", "--keep", "now", "--yes")]
    said += [cli("forget", address, "--run", "a", "--yes"), cli("show", address, "--episode", "x")]
    assert "xyzzy" not in "".join(out + err for _, out, err in said)
