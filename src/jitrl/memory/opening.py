"""Opening a memory wherever it is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from jitrl.memory.address import remote
from jitrl.memory.contract import Governed
from jitrl.memory.redaction import DEFAULT, Redaction
from jitrl.memory.sql.sqlite import Durability, SqliteMemory


def open(
    address: str | os.PathLike[str] | None = None,
    *,
    durability: Durability = "process",
    readonly: bool = False,
    clock: Callable[[], float] = time.time,
    redaction: Redaction | None = DEFAULT,
) -> Governed:
    """Open the memory at an address; close it in the end.

    address  path of a file, created if it is missing; postgresql://user@host/database (see
             `jitrl.memory.sql.postgres.PostgresMemory`, which needs the extra `postgres`); None
             for a memory in RAM

    The rest is as for `jitrl.memory.SqliteMemory`. Raises NotAMemory, NewerMemory,
    MemoryUnavailable or MissingExtra.
    """
    if remote(address):
        from jitrl.memory.sql.postgres import PostgresMemory

        return PostgresMemory(
            address, durability=durability, readonly=readonly, clock=clock, redaction=redaction
        )
    return SqliteMemory(
        address, durability=durability, readonly=readonly, clock=clock, redaction=redaction
    )
