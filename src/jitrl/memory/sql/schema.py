"""The tables of a memory, for any SQL database, and what is asked of its transactions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from jitrl.memory.sql.rows import Row, Value

SCHEMA = """
CREATE TABLE memory (
    place      {integer} PRIMARY KEY, -- 1: the only row
    uuid       {text} NOT NULL,
    epoch      {text} NOT NULL,
    revision   {integer} NOT NULL,
    forgot     {integer} NOT NULL,    -- revision at which the epoch began
    episodes   {integer} NOT NULL,    -- rows of `episodes`; of these
    active     {integer} NOT NULL,    --   not rolled back,
    present    {integer} NOT NULL,    --   and not in quarantine
    steps      {integer} NOT NULL,
    states     {integer} NOT NULL,    -- the highest number ever given to a state
    snapshots  {integer} NOT NULL,
    cap        {text},                -- JSON, NULL for none
    unswept    {integer} NOT NULL,    -- 1: what was forgotten may still be in free pages
    seal       {bytes} NOT NULL
);
CREATE TABLE log (
    revision   {integer} PRIMARY KEY, -- 1, 2, 3 ...
    what       {text} NOT NULL,       -- "append": the episode of this number was stored
    changed    {text} NOT NULL,       -- numbers of the others that it changed, JSON: [first, last]s
    gone       {integer},             -- of an episode: the revision that deleted it
    mark       {bytes} NOT NULL,      -- drawn at random: tells histories apart
    seal       {bytes} NOT NULL
);
CREATE TABLE states (
    number     {integer} PRIMARY KEY,
    fields     {text} NOT NULL,       -- JSON: field name -> text
    seal       {bytes} NOT NULL
);
CREATE TABLE episodes (
    number       {integer} PRIMARY KEY,
    id           {text} NOT NULL,
    task         {text} NOT NULL,
    run          {text} NOT NULL,
    source       {text} NOT NULL,
    stored       {text} NOT NULL,     -- ISO 8601, UTC
    terminated   {integer} NOT NULL,
    final_state  {integer},
    provenance   {text} NOT NULL,     -- JSON: name -> text
    length       {integer} NOT NULL,  -- steps
    reward       {real} NOT NULL,     -- their sum
    revision     {integer} NOT NULL,  -- of the last change
    active       {integer} NOT NULL,  -- 0: rolled back
    quarantined  {text},              -- why; NULL: it is not
    digest       {bytes} NOT NULL,    -- of number and steps
    seal         {bytes} NOT NULL
);
CREATE TABLE steps (
    episode            {integer} NOT NULL,
    t                  {integer} NOT NULL,
    state              {integer} NOT NULL,
    action             {text} NOT NULL,
    reward             {real} NOT NULL,
    behaviour_logprob  {real} NOT NULL,
    policy_before      {text} NOT NULL, -- JSON: action -> probability
    policy_after       {text} NOT NULL,
    changed            {integer} NOT NULL,
    preset             {text} NOT NULL,
    seed               {integer} NOT NULL,
    judged             {real},          -- NULL: not scored
    PRIMARY KEY (episode, t)
){clustered};
CREATE TABLE snapshots (
    place      {integer} PRIMARY KEY, -- rises
    name       {text} NOT NULL,
    made       {text} NOT NULL,       -- ISO 8601, UTC
    episodes   {integer} NOT NULL,    -- how many it named then
    members    {text} NOT NULL,       -- JSON: [first, last]s of their numbers
    seal       {bytes} NOT NULL
);
CREATE TABLE directory (
    kind       {integer} NOT NULL,    -- 1: ids of episodes, 2: states
    key        {bytes} NOT NULL,      -- SHA-256; empty: where the circle begins
    following  {bytes} NOT NULL,      -- the next one, empty after the last
    number     {integer} NOT NULL,
    seal       {bytes} NOT NULL,
    PRIMARY KEY (kind, key)
){clustered}
"""
"""To be filled in with the types of a database; statements end in ";" and a line break."""

TABLES = ("memory", "log", "states", "episodes", "steps", "snapshots", "directory")


class Sql(Protocol):
    """A transaction under way. Values are written as `?` in a statement."""

    def execute(self, query: str, values: Sequence[Value] = ()) -> list[Row]:
        """Return the rows that a statement gives."""

    def many(self, query: str, rows: Iterable[Sequence[Value]]) -> None:
        """Execute a statement that gives no rows once for each."""

    def each(self, query: str, rows: Iterable[Sequence[Value]]) -> list[list[Row]]:
        """Return the rows that a statement gives for each; a server is asked all at once."""


def insertion(table: str, columns: int) -> str:
    """Return a statement that inserts a row of so many columns."""
    return f"INSERT INTO {table} VALUES ({', '.join('?' * columns)})"
