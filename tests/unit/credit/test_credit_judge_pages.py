"""The judge of an episode on pages: told the task, what went wrong, and where it ended."""

from __future__ import annotations

from dataclasses import replace

from judge_kit import assess, diligent, lines
from pages_kit import ELSEWHERE, FILL, OK, SEEN, TASK, on_form

from jitrl.credit.judge import LONGEST
from jitrl.records import Turn

FAILED = replace(SEEN, reason="no element is called 'Buy'")
SENT = replace(SEEN, text="Thank you, Ada.", actions=(), terminated=True)
TURNS = (Turn(SEEN, FILL, SEEN), Turn(SEEN, ELSEWHERE, FAILED), Turn(FAILED, OK, SENT))


def shown(turns=TURNS):
    scores, model = assess(diligent, on_form(turns=turns))
    assert len(scores) == len(turns) and None not in scores
    return model.requests[0]


def test_the_judge_is_told_the_task_of_the_attempt_and_not_the_name_of_the_suite() -> None:
    text = shown().messages[1].content
    assert "The task: " in text and TASK.replace('"', '\\"') in text
    assert "a suite" not in text


def test_it_sees_what_went_wrong_and_what_the_last_action_led_to() -> None:
    before, *steps = lines(shown())
    assert before["observation"] == SEEN.text
    assert [step["action"] for step in steps] == [FILL, ELSEWHERE, OK]
    assert [step.get("problem") for step in steps] == [None, FAILED.reason, None]
    assert steps[-1]["observation"] == "Thank you, Ada."


def test_long_pages_are_cut_and_say_so() -> None:
    long = replace(SENT, text="p" * (LONGEST + 7))
    request = shown((*TURNS[:2], Turn(long, OK, long)))
    assert lines(request)[-1]["observation"] == "p" * LONGEST + " ... (7 more characters)"
    whole = replace(SENT, text="p" * LONGEST)
    assert lines(shown((Turn(SEEN, OK, whole),)))[-1]["observation"] == whole.text
