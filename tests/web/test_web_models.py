"""A model that writes its actions, on real pages: ids are read, remembered, and written again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jitrl.bench.configuration import Configuration
from jitrl.bench.runner import run
from jitrl.testing import Choosing, ScriptedServer, obliging
from jitrl.worlds import make


@pytest.mark.parametrize("source", ["labels-direct", "stated"])
def test_a_model_writes_ids_and_the_memory_holds_none(tmp_path: Path, source: str) -> None:
    with ScriptedServer(Choosing(obliging)) as server:
        configuration = Configuration(
            "miniwob:login-user",
            episodes=3,
            steps=4,
            model="vllm/scripted",
            scores=source,
            base_url=server.url,
            preset="web",
        )
        world = make(configuration.world)
        try:
            run(configuration, tmp_path / "run", world)
        finally:
            world.close()
        asked = [received.body["messages"] for received in server.requests]
    log = tmp_path / "run" / "steps.jsonl"
    steps = [json.loads(line) for line in log.read_text().splitlines()]
    taken = {step["action"] for step in steps}
    assert taken <= {
        'fill(textbox("Username"), task("the username _ and the"))',
        'fill(textbox("Password"), task("the password _ into the"))',
        'click(button("Login"))',
    }
    assert len(asked) == 2 * len(steps)
    for proposing, choosing in zip(asked[::2], asked[1::2], strict=True):
        page = proposing[-1]["content"].split("\n<page>\n")[1]
        assert "textbox" in page and "[" in page
        listed = choosing[-1]["content"].split("each behind its label:\n")[1].split("\n\n")[0]
        for line in listed.splitlines():
            id = line.split("'")[1]
            assert f"[{id}] " in page and "task(" not in line
