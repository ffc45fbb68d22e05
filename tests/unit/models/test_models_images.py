"""Images beside a message: sent to servers, told apart in recordings, refused where unseen."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from jitrl.errors import ModelError, NotRecorded, RequestRejected
from jitrl.models import Message, Model, Purpose, Request, calls, make
from jitrl.models.recording import Recorder, Replay
from jitrl.models.scripted import ScriptedModel
from jitrl.testing import Choosing, Fault, Fixed, ScriptedServer

PNG = b"\x89PNG\r\n\x1a\n one picture"
OTHER = b"\x89PNG\r\n\x1a\n another"


def asking(*images: bytes) -> Request:
    turn = Message("user", "What is it?", images)
    return Request((Message("system", "Look."), turn), max_tokens=9)


def complete(server: ScriptedServer, request: Request, **given: object) -> str:
    async def use() -> str:
        model = make("llamacpp/scripted", base_url=server.url, **given)
        try:
            return (await model.complete(request)).text
        finally:
            await model.close()

    return asyncio.run(use())


def test_images_reach_the_server_as_parts_of_the_users_turn() -> None:
    seen: list[Message] = []

    def look(messages):
        seen.extend(messages)
        return {"two pictures": 1.0}

    with ScriptedServer(Choosing(look)) as server:
        assert complete(server, asking(PNG, OTHER)) == "two pictures"
        system, user = server.requests[0].body["messages"]
    assert system == {"role": "system", "content": "Look."}
    assert [part["type"] for part in user["content"]] == ["text", "image_url", "image_url"]
    assert seen[1] == Message("user", "What is it?", (PNG, OTHER))


def test_a_message_without_images_is_sent_and_recorded_as_ever() -> None:
    with ScriptedServer(Fixed(["yes"])) as server:
        complete(server, asking())
        assert server.requests[0].body["messages"][1]["content"] == "What is it?"
    call = calls.completion(asking())
    assert call.request["messages"] == [["system", "Look."], ["user", "What is it?"]]


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (500, "image input is not supported - hint: you may need to provide the mmproj"),
        (500, 'Failed to parse messages: Unsupported content part type: "image_url"'),
        (400, "Invalid content type. image_url is only supported by certain models."),
        (400, "scripted is not a multimodal model"),
    ],
)
def test_a_server_that_sees_nothing_is_a_refusal_and_not_tried_again(status, says) -> None:
    with ScriptedServer(Fixed(["yes"])) as server:
        server.faults.extend([Fault("status", status, message=says)] * 9)
        with pytest.raises(RequestRejected, match="leave the screenshot out"):
            complete(server, asking(PNG))
        assert len(server.requests) == 1


def test_a_server_does_not_score_texts_after_an_image() -> None:
    async def use(server: ScriptedServer) -> None:
        model = make("openai/scripted", base_url=server.url)
        try:
            await model.score(asking(PNG).messages, ["a cat"], Purpose())
        finally:
            await model.close()

    with ScriptedServer(Fixed(["yes"])) as server:
        with pytest.raises(RequestRejected, match="texts alone"):
            asyncio.run(use(server))
        assert not server.requests


def replies(model: Model, *requests: Request) -> list[str]:
    async def use() -> list[str]:
        try:
            return [(await model.complete(request)).text for request in requests]
        finally:
            await model.close()

    return asyncio.run(use())


def test_a_recording_tells_images_apart_and_does_not_hold_them(tmp_path: Path) -> None:
    path = tmp_path / "calls"
    said = replies(Recorder(ScriptedModel(["cat", "dog"]), path), asking(PNG), asking(OTHER))
    assert said == ["cat", "dog"]
    assert replies(Replay(path), asking(OTHER), asking(PNG)) == ["dog", "cat"]
    assert b"picture" not in path.read_bytes()
    failed: type[ModelError] = NotRecorded
    for unlike in (asking(), asking(PNG, OTHER), asking(PNG[:-1])):
        with pytest.raises(failed, match="another messages"):
            replies(Replay(path), unlike)
