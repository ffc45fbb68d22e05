"""The engine behind a scripted server: from a request's JSON to the reply's, without the network.

Logits are the brain's log-probabilities; what the brain does not list has FLOOR, so that a bias
can bring it up. Sampling is softmax((logits + bias) / temperature), cut by top_p.
"""

from __future__ import annotations

import json
import math
import threading
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from jitrl.models import Capabilities, Message
from jitrl.seeds import generator
from jitrl.testing.brains import END, Brain, Next

__all__ = ["FLOOR", "Engine", "Refusal"]

FLOOR = -50.0
"""Log-probability of a token that the brain does not list: 2e-22, nothing to double precision."""

_PROMPT = -1.0  # what a prompt's own tokens are reported with: no policy says anything about them
_FILLERS = [chr(code) for code in range(33, 127)]
_TRIES = 200
_PNG = "data:image/png;base64,"
_Reported = tuple[str, float, dict[str, float]]


class Refusal(Exception):
    """The server says no: HTTP status, and the error of the protocol."""

    def __init__(self, status: int, message: str, code: str = "", param: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body = {
            "error": {
                "message": message,
                "type": "invalid_request_error",
                "code": code or None,
                "param": param or None,
            }
        }


class Vocabulary:
    """Token texts and ids: a character's id is its code point; words are numbered as they come."""

    _FIRST = 0x110000

    def __init__(self) -> None:
        self._texts = [END]
        self._ids = {END: self._FIRST}
        self._lock = threading.Lock()

    def id(self, text: str) -> int:
        """Return the id of a token."""
        if len(text) == 1:
            return ord(text)
        with self._lock:
            if text not in self._ids:
                self._ids[text] = self._FIRST + len(self._texts)
                self._texts.append(text)
            return self._ids[text]

    def text(self, id: int) -> str:
        """Return the token of an id; Refusal where there is none."""
        if 0 <= id < self._FIRST:
            return chr(id)
        with self._lock:
            if self._FIRST <= id < self._FIRST + len(self._texts):
                return self._texts[id - self._FIRST]
        raise Refusal(400, f"logit_bias: there is no token {id}", param="logit_bias")


@dataclass(frozen=True, slots=True)
class _Settings:
    """How one completion is drawn and reported."""

    max_tokens: int
    temperature: float
    top_p: float
    stop: tuple[str, ...]
    bias: Mapping[str, float]
    after: bool
    ending: str  # how the end of an answer reads: "" in a chat, a line break in plain text


@dataclass(slots=True)
class _Drawn:
    """One completion: what was said, why it ended, its tokens as reported."""

    text: str
    finish: Literal["stop", "length"]
    tokens: list[_Reported]


def _normalised(logits: Mapping[str, float]) -> dict[str, float]:
    highest = max(logits.values())
    total = highest + math.log(sum(math.exp(z - highest) for z in logits.values()))
    return {token: z - total for token, z in logits.items()}


def _pick(logits: Mapping[str, float], settings: _Settings, rng: np.random.Generator) -> str:
    """Draw a token; temperature 0 takes the most probable one, the first of equals."""
    ranked = sorted(logits, key=lambda token: -logits[token])
    if settings.temperature == 0:
        return ranked[0]
    scaled = _normalised({token: logits[token] / settings.temperature for token in ranked})
    masses = np.exp([scaled[token] for token in ranked])
    before = np.cumsum(masses) - masses
    masses = np.where(before < settings.top_p, masses, 0.0) if settings.top_p < 1 else masses
    return ranked[int(rng.choice(len(ranked), p=masses / masses.sum()))]


def _draw(following: Next, settings: _Settings, rng: np.random.Generator) -> _Drawn:
    """Draw one completion."""
    said: list[str] = []
    reported: list[_Reported] = []
    while len(said) < settings.max_tokens:
        raw = {**dict.fromkeys(settings.bias, FLOOR), **following(said)}
        biased = {token: z + settings.bias.get(token, 0.0) for token, z in raw.items()}
        token = _pick(biased, settings, rng)
        shown = _normalised(biased if settings.after else raw)
        if token == END and not settings.ending:
            return _Drawn("".join(said), "stop", reported)
        text = settings.ending if token == END else token
        reported.append((text, shown[token], shown))
        if token == END:
            return _Drawn("".join(said) + text, "stop", reported)
        said.append(token)
        joined = "".join(said)
        cuts = [joined.index(stop) for stop in settings.stop if stop in joined]
        if cuts:
            return _cut(joined, min(cuts), reported)
    return _Drawn("".join(said), "length", reported)


def _cut(text: str, end: int, tokens: list[_Reported]) -> _Drawn:
    kept, length = [], 0
    for token in tokens:
        if length >= end:
            break
        kept.append(token)
        length += len(token[0])
    return _Drawn(text[:end], "stop", kept)


def _top(shown: Mapping[str, float], count: int) -> dict[str, float]:
    """Return the `count` most probable tokens; characters that nobody would say fill them up."""
    fillers = {token: FLOOR for token in _FILLERS if token not in shown}
    ranked = sorted({**fillers, **shown}.items(), key=lambda item: -item[1])
    return dict(ranked[:count])


class Engine:
    """Answers requests of the protocol as a server with these capabilities would.

    What it cannot do it ignores, as servers do (log-probabilities, bias, n), or refuses
    (`schema`: status 400; more than `top_logprobs`: 400; `sequence` and `tokenize`: 404).
    """

    def __init__(self, brain: Brain, capabilities: Capabilities, seed: int) -> None:
        self.brain = brain
        self.can = capabilities
        self.seed = seed
        self.vocabulary = Vocabulary()
        self._lock = threading.Lock()
        self._number = 0
        self._last: list[str] = []

    def chat(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Answer `/v1/chat/completions`."""
        messages = [_message(m) for m in body["messages"]]
        schema = self._schema(body)
        wanted = body.get("top_logprobs", 0) if body.get("logprobs") else None
        self._check_logprobs(wanted)
        settings = self._settings(body, ending="")
        drawn = [self._valid(messages, settings, schema, rng) for rng in self._generators(body)]
        choices = [self._chat_choice(i, each, wanted) for i, each in enumerate(drawn)]
        prompt = [token for m in messages for token in self.brain.tokens(m.content)]
        usage = self._usage(prompt, sum(len(each.tokens) for each in drawn))
        return self._reply("chat.completion", body, choices, usage)

    def completions(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Answer `/v1/completions`: a prompt or several, `echo` with log-probabilities."""
        if not self.can.sequence:
            raise Refusal(404, "Not Found: /v1/completions")
        prompts = [body["prompt"]] if isinstance(body["prompt"], str) else body["prompt"]
        wanted = body.get("logprobs")
        self._check_logprobs(wanted)
        settings = self._settings(body, ending="\n")
        choices: list[dict[str, Any]] = []
        read, written = [], 0
        for prompt in prompts:
            read += (tokens := self.brain.tokens(prompt))
            echoed = self._echoed(tokens) if body.get("echo") else []
            for rng in self._generators(body):
                drawn = _Drawn("", "length", [])
                if settings.max_tokens:
                    said, line = _last_line(tokens)
                    begun = self.brain.begin([Message("user", said)])
                    drawn = _draw(lambda t, b=begun, s=line: b([*s, *t]), settings, rng)  # type: ignore[misc]
                written += len(drawn.tokens)
                text = (prompt if echoed else "") + drawn.text
                logprobs = None if wanted is None else _listed(echoed + drawn.tokens, wanted)
                choices.append(
                    {
                        "index": len(choices),
                        "text": text,
                        "finish_reason": drawn.finish,
                        "logprobs": logprobs if self.can.logprobs else None,
                    }
                )
        return self._reply("text_completion", body, choices, self._usage(read, written))

    def tokenize(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Answer `/tokenize`."""
        if not self.can.tokenize:
            raise Refusal(404, "Not Found: /tokenize")
        ids = [self.vocabulary.id(token) for token in self.brain.tokens(body["prompt"])]
        return {"tokens": ids, "count": len(ids)}

    def _settings(self, body: Mapping[str, Any], ending: str) -> _Settings:
        bias = body.get("logit_bias") or {} if self.can.logit_bias else {}
        stop = body.get("stop") or ()
        limit = body.get("max_completion_tokens", body.get("max_tokens", 16 if ending else 256))
        return _Settings(
            max_tokens=limit,
            temperature=body.get("temperature", 1.0),
            top_p=body.get("top_p", 1.0),
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            bias={self.vocabulary.text(int(id)): float(b) for id, b in bias.items()},
            after=self.can.bias_shown == "after",
            ending=ending,
        )

    def _generators(self, body: Mapping[str, Any]) -> list[np.random.Generator]:
        """One per completion: of the request's seed, or of its place in the order of arrival."""
        with self._lock:
            self._number += 1
            number = self._number
        seed, purpose = body.get("seed"), "seeded"
        if seed is None:
            seed, purpose = number, "arrival"
        count = body.get("n") or 1 if self.can.several else 1
        return [generator(self.seed, seed, f"{purpose} {i}") for i in range(count)]

    def _schema(self, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        wanted = body.get("response_format")
        if wanted is None:
            return None
        if not self.can.schema:
            raise Refusal(400, "response_format is not supported", param="response_format")
        if wanted.get("type") == "json_schema":
            return wanted["json_schema"]["schema"]  # type: ignore[no-any-return]
        if wanted.get("type") == "json_object":
            return wanted.get("schema") or {}
        raise Refusal(400, f"response_format: unknown type {wanted!r}", param="response_format")

    def _valid(
        self,
        messages: Sequence[Message],
        settings: _Settings,
        schema: Mapping[str, Any] | None,
        rng: np.random.Generator,
    ) -> _Drawn:
        """Draw until the answer satisfies the schema: that is the policy, given that it does."""
        for _ in range(_TRIES):
            drawn = _draw(self.brain.begin(messages), settings, rng)
            if schema is None or drawn.finish == "length" or _satisfies(drawn.text, schema):
                return drawn
        raise Refusal(400, f"the brain says nothing that satisfies the schema: {drawn.text!r}")

    def _check_logprobs(self, wanted: int | None) -> None:
        most = self.can.top_logprobs
        if self.can.logprobs and wanted is not None and most is not None and wanted > most:
            raise Refusal(400, f"top_logprobs must be at most {most}", param="top_logprobs")

    def _echoed(self, tokens: list[str]) -> list[_Reported]:
        """Return a prompt's tokens with log-probabilities: its last line is scored as an answer."""
        ended = tokens[-1:] == ["\n"]
        said, line = _last_line(tokens[:-1] if ended else tokens)
        following = self.brain.begin([Message("user", said)])
        known = len(tokens) - len(line) - ended
        reported = [(token, _PROMPT, {token: _PROMPT}) for token in tokens[:known]]
        for place, token in enumerate([*line, *([END] if ended else [])]):
            shown = dict(following(line[:place]))
            text = "\n" if token == END else token
            if END in shown:
                shown["\n"] = shown.pop(END)
            reported.append((text, shown.get(text, FLOOR), shown))
        return reported

    def _chat_choice(self, index: int, drawn: _Drawn, wanted: int | None) -> dict[str, Any]:
        content = None
        if wanted is not None and self.can.logprobs:
            content = [
                {**_entry(text, logprob), "top_logprobs": [_entry(*e) for e in top.items()]}
                for text, logprob, shown in drawn.tokens
                for top in [_top(shown, wanted)]
            ]
        return {
            "index": index,
            "message": {"role": "assistant", "content": drawn.text, "refusal": None},
            "finish_reason": drawn.finish,
            "logprobs": None if content is None else {"content": content, "refusal": None},
        }

    def _usage(self, prompt: list[str], written: int) -> dict[str, Any]:
        """Count tokens; those are cached that the last prompt began with as well."""
        with self._lock:
            last, self._last = self._last, prompt
        cached = 0
        while cached < min(len(last), len(prompt)) and last[cached] == prompt[cached]:
            cached += 1
        return {
            "prompt_tokens": len(prompt),
            "completion_tokens": written,
            "total_tokens": len(prompt) + written,
            "prompt_tokens_details": {"cached_tokens": cached},
        }

    def _reply(
        self, kind: str, body: Mapping[str, Any], choices: list[dict[str, Any]], usage: object
    ) -> dict[str, Any]:
        return {
            "id": "scripted",
            "object": kind,
            "created": 0,
            "model": body["model"],
            "choices": choices,
            "usage": usage,
        }


def _message(given: Mapping[str, Any]) -> Message:
    """Return a message of the protocol: its text, and the images among its parts."""
    content = given["content"]
    if isinstance(content, str):
        return Message(given["role"], content)
    if not isinstance(content, list):
        raise Refusal(400, "messages: content must be a text or parts", param="messages")
    text = "".join(part["text"] for part in content if part["type"] == "text")
    urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    if not all(url.startswith(_PNG) for url in urls):
        raise Refusal(400, "messages: an image must be a PNG in a data URL", param="messages")
    images = tuple(b64decode(url.removeprefix(_PNG)) for url in urls)
    return Message(given["role"], text, images)


def _last_line(tokens: Sequence[str]) -> tuple[str, list[str]]:
    """Return what stands before the last line of a text, and the tokens of that line."""
    begin = len(tokens)
    while begin and tokens[begin - 1] != "\n":
        begin -= 1
    return "".join(tokens[:begin]), list(tokens[begin:])


def _entry(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def _listed(tokens: list[_Reported], wanted: int) -> dict[str, Any]:
    """Return log-probabilities in the older form: lists side by side."""
    offsets, length = [], 0
    for text, _, _ in tokens:
        offsets.append(length)
        length += len(text)
    return {
        "tokens": [text for text, _, _ in tokens],
        "token_logprobs": [logprob for _, logprob, _ in tokens],
        "top_logprobs": [_top(shown, wanted) for _, _, shown in tokens],
        "text_offset": offsets,
    }


def _satisfies(text: str, schema: Mapping[str, Any]) -> bool:
    """Return whether a text is JSON, and an object with the fields that the schema requires."""
    try:
        value = json.loads(text)
    except ValueError:
        return False
    if schema.get("type") == "object" and not isinstance(value, dict):
        return False
    return all(name in value for name in schema.get("required", ()))
