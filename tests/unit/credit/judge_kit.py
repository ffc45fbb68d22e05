"""What the tests of the judge share."""

from __future__ import annotations

import asyncio
import json
import re

from jitrl.credit.judge import ModelJudge
from jitrl.models import Capabilities, Completion, Reply, Usage
from jitrl.records import Observation, Situation, State, Turn


class Reads:
    """A model that reads which steps it is asked about, and answers by a rule of the test."""

    name = "test/reads"
    capabilities = Capabilities()

    def __init__(self, answer):
        self.answer = answer
        self.requests = []
        self.asked = []  # the steps that each request asks about

    async def complete(self, request):
        self.requests.append(request)
        last = request.messages[-1].content
        listed = re.findall(r"(?:Score these steps|no usable score yet): ([\d, ]+)", last)[-1]
        self.asked.append([int(number) for number in listed.split(", ")])
        said = self.answer(self.asked[-1], request)
        if isinstance(said, Exception):
            raise said
        completion = said if isinstance(said, Completion) else Completion(said)
        return Reply((completion,), Usage(calls=1), self.name)


def true_score(t):
    """What the test's judge thinks of step t: another number for each step."""
    return t / 7 - 3


def scored(steps, score=true_score):
    return json.dumps({"scores": [{"step": t, "why": "so", "score": score(t)} for t in steps]})


def diligent(steps, request):
    return scored(steps)


def seen(text, score=0.0, **changes):
    return Observation(State(room=text), text, ("go",), score=score, **changes)


def episode(length, *, texts=None, terminated=True):
    """An episode whose action t is "act t", which leads to "saw t"."""
    texts = texts or ["the beginning", *(f"saw {t}" for t in range(length))]
    shown = [seen(text, float(i)) for i, text in enumerate(texts)]
    shown[-1] = seen(texts[-1], float(length), terminated=terminated)
    turns = tuple(Turn(shown[t], f"act {t}", shown[t + 1]) for t in range(length))
    return Situation("a task", 3, length, shown[-1], turns)


def assess(answer, end, **options):
    model = Reads(answer)
    return asyncio.run(ModelJudge(model, **options).assess(end)), model


def lines(request):
    """The JSON objects that the judge was shown."""
    text = request.messages[1].content
    inside = text.split("<episode>\n")[1].split("\n</episode>")[0]
    return [json.loads(line) for line in inside.split("\n")]


def shown(request):
    """The numbers of the steps that the judge was shown."""
    return [line["step"] for line in lines(request) if "step" in line]
