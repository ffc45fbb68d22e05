"""A language model that compares an answer with a reference, where a benchmark asks for that."""

from __future__ import annotations

from dataclasses import dataclass

from jitrl.checks import count, text
from jitrl.models import Model, Purpose, Request
from jitrl.models.jsonreply import ask_json
from jitrl.prompts import load, quoted

__all__ = ["ModelGrader"]

_VERDICTS = ("correct", "partially correct", "incorrect")


@dataclass(frozen=True)
class ModelGrader:
    """Grades answers at temperature 0: WebArena's fuzzy matches, and reasons for infeasible tasks.

    model       who grades: better not the one that gave the answer
    max_tokens  >= 1: of a reply, what the model thinks before it answers included
    """

    model: Model
    max_tokens: int = 1024

    def __post_init__(self) -> None:
        count("max_tokens", self.max_tokens, least=1)

    async def grade(self, question: str, reference: str, answer: str) -> float:
        """Return 1.0 for a correct answer, 0.0 for another; partially correct is not correct.

        question   or the task, in words
        reference  the right answer; or why the task cannot be done

        Raises BadReply where the verdict cannot be read, also when it was asked for again, and
        ModelError where there is none: neither is a grade.
        """
        parts = {"question": question, "reference": reference, "answer": answer}
        request = Request(
            load("grade").render(
                **{name: quoted(text(name, part)) for name, part in parts.items()}
            ),
            max_tokens=self.max_tokens,
            temperature=0.0,
            schema=_SCHEMA,
            purpose=Purpose("grade"),
        )
        verdict, _ = await ask_json(self.model, request, _read)
        return 1.0 if verdict == "correct" else 0.0


def _read(value: object) -> str:
    verdict = value.get("verdict") if isinstance(value, dict) else None
    if verdict not in _VERDICTS:
        raise ValueError(f'"verdict" must be one of {", ".join(_VERDICTS)}, it is {verdict!r}')
    return str(verdict)


_SCHEMA = {
    "type": "object",
    "properties": {
        "why": {"type": "string"},
        "verdict": {"type": "string", "enum": list(_VERDICTS)},
    },
    "required": ["why", "verdict"],
    "additionalProperties": False,
}
