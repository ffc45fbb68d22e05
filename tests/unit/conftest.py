"""One PostgreSQL server for all tests of a worker that need one, a schema for each test."""

from __future__ import annotations

import itertools

import pytest

_COUNT = itertools.count()


@pytest.fixture(scope="session")
def server():
    from postgres_kit import Server

    server = Server()
    yield server
    server.remove()


@pytest.fixture
def schema(server, monkeypatch, tmp_path):
    """The name of a schema that is empty; what is kept beside a memory goes to a new folder."""
    monkeypatch.setenv("JITRL_CACHE", str(tmp_path / "cache"))
    name = f"s{next(_COUNT)}"
    server.sql("public", f"CREATE SCHEMA {name}")
    return name
