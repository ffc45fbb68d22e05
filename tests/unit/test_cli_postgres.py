"""`jitrl run --memory postgresql://...`"""

from __future__ import annotations

import json

from test_cli import SHORT, complaint
from test_cli import cli as cli  # a fixture


def test_a_run_takes_the_address_of_a_server(cli, tmp_path, server, schema):
    address = server.address(schema)
    code, out, err = cli("run", "corridor:5", *SHORT, "--memory", address, "--out", "run")
    assert code == 0, err
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert manifest["configuration"]["memory"] == address
    assert not (tmp_path / "run" / "memory.db").exists()
    assert server.sql(schema, "SELECT count(*) FROM episodes") == [(3,)]


def test_a_password_in_the_address_is_refused_and_not_written(cli, tmp_path):
    address = "postgresql://ann:hush-hush@host/zork"
    said = complaint(cli("run", "corridor:5", "--memory", address), 2)
    assert "PGPASSWORD" in said
    assert "hush" not in said
    assert not list(tmp_path.iterdir())


def test_a_server_that_does_not_answer_is_told(cli, tmp_path):
    said = complaint(
        cli("run", "corridor:5", "--memory", f"postgresql://ann@/x?host={tmp_path}"), 1
    )
    assert "see whether its server is up" in said
