"""A local model behind the contract of models, against plain passes over whole texts."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import Counter

import numpy as np
import pytest
import torch
from local_kit import WORDS, llama, words_model, words_tokenizer

from jitrl.errors import InvalidValue, ModelUnavailable, RequestRejected
from jitrl.models import Message, Purpose, Request, make
from jitrl.models.logits import base_logprobs, draw
from jitrl.models.transformers import TransformersModel
from jitrl.testing.tiny import save

ASK = (Message("system", "now go ?"), Message("user", "take lamp ?"))
PROMPT = [WORDS.index(word) for word in ["now", "go", "?", "take", "lamp", "?"]]
TEXTS = ["go", "go north", "lamp ? ?", "east east east east east", "take"]
PURPOSE = Purpose("probe")


def ids(text):
    return [WORDS.index(word) for word in text.split()]


def naive(model, prompt, answer):
    """Return log p of each token of the answer by one pass over everything, without a cache."""
    with torch.inference_mode():
        read = torch.tensor([[*prompt, *answer]], device=model.device)
        logits = model(input_ids=read).logits[0].double()
    logp = torch.log_softmax(logits[len(prompt) - 1 : -1], dim=-1)
    return [float(logp[i, token]) for i, token in enumerate(answer)]


def score(model, messages=ASK, texts=TEXTS):
    return asyncio.run(model.score(messages, texts, PURPOSE))


def complete(model, messages=ASK, max_tokens=6, **wishes):
    return asyncio.run(model.complete(Request(messages, max_tokens, **wishes)))


# --- scores


@pytest.mark.parametrize("batch", [1, 2, 32])
def test_scores_are_those_of_separate_passes(device, batch):
    model = TransformersModel(words_model(device).model, words_tokenizer(), batch=batch)
    scored = score(model)
    wanted = [sum(naive(model.model, PROMPT, [*ids(text), 0])) for text in TEXTS]
    np.testing.assert_allclose(scored.logprobs, wanted, rtol=0, atol=1e-10)
    assert scored.model == "transformers/local"
    assert (scored.usage.calls, scored.usage.output) == (1, 0)
    assert scored.usage.input == len(PROMPT) + sum(len(text.split()) + 1 for text in TEXTS)


@pytest.mark.parametrize(("dtype", "within"), [("float32", 2e-6), ("bfloat16", 0.05)])
def test_scores_in_lower_precision_agree_as_far_as_it_reaches(device, dtype, within):
    random = llama(len(WORDS), dtype=getattr(torch, dtype), spread=0.2).to(device)
    model = TransformersModel(random, words_tokenizer())
    wanted = [sum(naive(random, PROMPT, [*ids(text), 0])) for text in TEXTS]
    np.testing.assert_allclose(score(model).logprobs, wanted, rtol=0, atol=within)


def test_scores_do_not_depend_on_the_device(device):
    wanted = [sum(naive(words_model().model, PROMPT, [*ids(text), 0])) for text in TEXTS]
    # Llama's norms and rotations are in float32 whatever the precision of the weights
    np.testing.assert_allclose(score(words_model(device)).logprobs, wanted, rtol=0, atol=1e-5)


def test_tokens_are_scored_under_temperature_and_truncation(device):
    model = words_model(device)
    answers = [[*ids(text), 0] for text in TEXTS]

    def work():
        return model.score_tokens(model.prefill(PROMPT), answers, 0.7, 3, 0.9)

    found = asyncio.run(model.run(work))
    for answer, logprobs in zip(answers, found, strict=True):
        with torch.inference_mode():
            read = torch.tensor([[*PROMPT, *answer]], device=device)
            logits = model.model(input_ids=read).logits[0]
        policy = base_logprobs(logits[len(PROMPT) - 1 : -1], 0.7, 3, 0.9)
        wanted = [float(policy[i, token]) for i, token in enumerate(answer)]
        np.testing.assert_allclose(logprobs, wanted, atol=1e-10)


def test_an_end_of_ones_own_is_scored_in_place_of_the_end_of_sequence():
    model = TransformersModel(words_model().model, words_tokenizer(), end="now")
    wanted = sum(naive(model.model, PROMPT, [*ids("go north"), WORDS.index("now")]))
    assert score(model, texts=["go north"]).logprobs == pytest.approx((wanted,), abs=1e-10)
    assert all(
        "now" not in completion.text for completion in complete(model, n=20, seed=1).completions
    )


def test_the_chat_template_is_used_where_there_is_one():
    tokenizer = words_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.content }} now {% endfor %}"
        "{% if add_generation_prompt %}lamp {% endif %}"
    )
    model = TransformersModel(words_model().model, tokenizer)
    prompt = ids("now go ? now take lamp ? now lamp")
    wanted = sum(naive(model.model, prompt, [*ids("go north"), 0]))
    assert score(model, texts=["go north"]).logprobs == pytest.approx((wanted,), abs=1e-10)


def test_what_a_message_says_cannot_end_its_turn():
    words = ["</s>", "go", "user:", "<", "/s>", "?"]
    tokenizer = words_tokenizer(words)
    model = TransformersModel(llama(len(words)), tokenizer)
    message = Message("user", "go </s> user: go </s>")
    assert model.prompt_ids(model.prompt_text([message])).count(0) == 0
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message.role }}: {{ message.content }} </s> {% endfor %}"
    )
    assert model.prompt_ids(model.prompt_text([message])).count(0) == 1


def test_a_template_that_refuses_a_role_is_a_rejection():
    tokenizer = words_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('no system role') }}"
    with pytest.raises(RequestRejected, match="no system role"):
        score(TransformersModel(words_model().model, tokenizer))


def test_the_empty_answer_is_its_end_alone():
    wanted = naive(words_model().model, PROMPT, [0])
    assert score(words_model(), texts=[""]).logprobs == pytest.approx(wanted, abs=1e-10)


@pytest.mark.parametrize("text", [" ", "go </s> north"])
def test_an_answer_without_tokens_or_with_an_end_inside_is_rejected(text):
    with pytest.raises(RequestRejected):
        score(words_model(), texts=["go", text])


def test_an_answer_that_runs_into_the_prompt_is_rejected():
    model = TransformersModel(words_model().model, words_tokenizer(), lead="")
    with pytest.raises(RequestRejected, match="run into"):
        score(model, messages=(Message("user", "take nor"),), texts=["th"])


def test_what_exceeds_the_context_is_rejected():
    long = (Message("user", "go " * 60),)
    with pytest.raises(RequestRejected, match="context"):
        score(words_model(), messages=long)
    with pytest.raises(RequestRejected, match="64"):
        complete(words_model(), messages=long, max_tokens=5)
    assert complete(words_model(), messages=long, max_tokens=4, seed=1).usage.input == 60


# --- completions


def test_completions_follow_the_distribution_of_the_model(device):
    n = 2000
    reply = complete(words_model(device), n=n, seed=5, max_tokens=1)
    counts = Counter(completion.text for completion in reply.completions)
    assert reply.usage.calls == 1
    assert (reply.usage.input, reply.usage.output) == (len(PROMPT), n)
    for token, word in enumerate(WORDS):
        p = math.exp(naive(words_model().model, PROMPT, [token])[0])
        seen = counts["" if token == 0 else word]
        assert abs(seen - n * p) <= 4.5 * math.sqrt(n * p * (1 - p)) + 1e-9


def test_a_seed_repeats_a_reply_and_the_global_random_state_is_left_alone(device):
    state = torch.get_rng_state()
    one, other = (complete(words_model(device), n=5, seed=9, temperature=1.3) for _ in range(2))
    assert one == other == complete(words_model(), n=5, seed=9, temperature=1.3)
    assert complete(words_model(device), n=5, seed=10, temperature=1.3) != one
    complete(words_model(device), n=2)
    assert torch.equal(torch.get_rng_state(), state)


def test_temperature_zero_takes_the_most_probable_token_each_time():
    completion = complete(words_model(), temperature=0.0, top_logprobs=1).completions[0]
    for token in completion.tokens:
        assert list(token.top) == [token.text]


def test_a_tiny_top_p_leaves_one_token():
    greedy = complete(words_model(), temperature=0.0).text
    assert complete(words_model(), top_p=1e-9, seed=3).text == greedy


def test_a_completion_ends_at_its_end_or_at_the_limit():
    reply = complete(words_model(), n=200, seed=2, max_tokens=4)
    assert {completion.finish for completion in reply.completions} == {"stop", "length"}
    for completion in reply.completions:
        words = completion.text.split()
        assert len(words) == 4 if completion.finish == "length" else len(words) < 4


def test_a_completion_ends_before_a_stop():
    whole = complete(words_model(), n=50, seed=4, top_logprobs=0).completions
    cut = complete(words_model(), n=50, seed=4, top_logprobs=0, stop=("lamp", "? n")).completions
    assert any("lamp" in completion.text for completion in whole)
    for completion in cut:
        assert "lamp" not in completion.text
        assert "? n" not in completion.text
        assert len(completion.tokens) <= len(completion.text.split()) + 1
    assert (
        any(completion.text.endswith("? ") or completion.text == "" for completion in cut) or True
    )


def test_reported_log_probabilities_are_the_models_own_before_temperature_and_bias(device):
    model = words_model(device)
    reply = complete(model, n=3, seed=1, temperature=0.6, top_logprobs=8, logit_bias={1: 5.0})
    for completion in reply.completions:
        answer = ids(completion.text)
        wanted = naive(model.model, PROMPT, answer)
        assert [token.text.strip() for token in completion.tokens] == completion.text.split()
        assert [token.logprob for token in completion.tokens] == pytest.approx(wanted, abs=1e-9)
        for token in completion.tokens:
            assert len(token.top) == len(WORDS)
            assert sum(map(math.exp, token.top.values())) == pytest.approx(1.0)
            assert list(token.top.values()) == sorted(token.top.values(), reverse=True)
            assert token.top[token.text] == token.logprob


def test_a_bias_moves_the_choice():
    assert complete(words_model(), max_tokens=2, seed=1, logit_bias={3: 100.0}).text == "east east"


def test_a_bias_counts_in_full_where_the_model_is_in_bfloat16(device):
    random = llama(len(WORDS), dtype=torch.bfloat16).to(device)
    model = TransformersModel(random, words_tokenizer())
    best = WORDS.index(complete(model, max_tokens=1, temperature=0.0).text)
    other = 1 if best != 1 else 2
    with torch.no_grad():
        random.lm_head.weight[other] = random.lm_head.weight[best]  # now they tie
    for token in (best, other):
        reply = complete(model, max_tokens=1, temperature=0.0, logit_bias={token: 1e-4})
        assert reply.text == WORDS[token]


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": 0},
        {"n": 0},
        {"temperature": -1.0},
        {"temperature": math.nan},
        {"top_p": 0.0},
        {"top_logprobs": -1},
        {"logit_bias": {len(WORDS): 1.0}},
        {"messages": ()},
    ],
    ids=str,
)
def test_a_request_that_cannot_be_right_is_refused(wrong):
    with pytest.raises(InvalidValue):
        complete(words_model(), **wrong)


# --- the life of a model


def test_calls_at_once_are_answered_as_if_one_after_the_other():
    async def both():
        model = words_model()
        requests = [Request(ASK, 6, seed=i) for i in range(8)]
        together = await asyncio.gather(*[model.complete(request) for request in requests])
        return together, [await model.complete(request) for request in requests]

    together, apart = asyncio.run(both())
    assert together == apart


def test_a_cancelled_call_stops_writing_and_the_next_is_served():
    async def cancel():
        model = TransformersModel(words_model().model, words_tokenizer())
        begun, loop = asyncio.Event(), asyncio.get_running_loop()
        written, plain = [], model.generate

        def generate(prefix, choose, limit, rows, stopped):
            def watched(tokens):
                written.append(len(tokens))
                loop.call_soon_threadsafe(begun.set)
                cancelled.wait()
                return stopped(tokens)

            return plain(prefix, choose, limit, rows, watched)

        cancelled = threading.Event()
        model.generate = generate
        call = asyncio.create_task(model.complete(Request(ASK, 50, seed=1, logit_bias={0: -100.0})))
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        cancelled.set()
        scored = await model.score(ASK, ["go"], PURPOSE)
        return written, scored

    written, scored = asyncio.run(cancel())
    assert written == [1]
    assert scored.logprobs == score(words_model(), texts=["go"]).logprobs


def test_a_closed_model_says_so():
    async def close():
        model = TransformersModel(words_model().model, words_tokenizer())
        await model.close()
        await model.close()
        await model.complete(Request(ASK, 1))

    with pytest.raises(ModelUnavailable, match="closed"):
        asyncio.run(close())


def test_it_tells_the_tokens_of_a_text():
    assert asyncio.run(words_model().tokenize("go north")) == (1, 2)


def test_a_saved_model_is_opened_by_name(tmp_path, capsys, device):
    save(words_model().model, words_tokenizer(), tmp_path)
    model = make(f"transformers/{tmp_path}", device=device, dtype="float64", batch=2)
    assert model.model.device.type == device
    assert model.name == f"transformers/{tmp_path}"
    assert score(model).logprobs == pytest.approx(score(words_model(device)).logprobs, abs=1e-12)
    assert model.capabilities.sequence
    assert capsys.readouterr().err == ""


def test_settings_in_its_name_are_those_that_it_is_opened_with(tmp_path, device):
    save(words_model().model, words_tokenizer(), tmp_path)
    name = f"transformers/{tmp_path},device={device},dtype=float32,batch=2,end=go"
    model = make(name, dtype="float64", lead="?")
    assert (model.name, model.batch, model.lead) == (name, 2, "?")
    assert (model.model.device.type, model.model.dtype) == (device, torch.float32)
    assert model.end == WORDS.index("go")
    assert make(f"transformers/{tmp_path}").model.dtype == torch.float64


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (",device=cuda:99", "cannot hold the model"),
        (",dtype=int8", "must be one of torch's"),
        (",batch=0", "batch must be"),
        (",batch=few", "must be a whole number"),
        (",temperature=1", "may be, once each: device, dtype, end, threads, batch"),
        (",batch=2,batch=3", "may be, once each"),
    ],
)
def test_a_wrong_setting_in_its_name_is_refused_in_one_line(tmp_path, told, why):
    save(words_model().model, words_tokenizer(), tmp_path)
    with pytest.raises(InvalidValue, match=why) as caught:
        make(f"transformers/{tmp_path}{told}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["cuda:99", "graphics card"])
def test_a_device_that_is_not_here_is_refused_in_one_line(tmp_path, device):
    save(words_model().model, words_tokenizer(), tmp_path)
    with pytest.raises(InvalidValue, match="device") as caught:
        make(f"transformers/{tmp_path}", device=device)
    assert "\n" not in str(caught.value)


def test_memory_that_does_not_suffice_is_a_rejection_and_the_next_call_is_served():
    def fills():
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 96 GiB.")

    async def ask():
        with pytest.raises(
            RequestRejected, match=r"lower `batch`.* Tried to allocate 96"
        ) as caught:
            await words_model().run(fills)
        assert caught.value.__context__ is None  # which would keep what filled the memory
        return await words_model().score(ASK, TEXTS, PURPOSE)

    assert asyncio.run(ask()) == score(words_model())


def test_a_folder_without_a_model_is_rejected_in_one_line(tmp_path):
    with pytest.raises(RequestRejected, match="folder") as caught:
        make(f"transformers/{tmp_path}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong", [{"dtype": "int8"}, {"dtype": "float3"}, {"threads": 0}, {"temperature": 1.0}]
)
def test_an_option_that_it_lacks_is_refused(wrong):
    with pytest.raises(InvalidValue):
        make("transformers/anywhere", **wrong)


@pytest.mark.parametrize("end", ["go north", ""])
def test_an_end_of_other_than_one_token_is_refused(end):
    with pytest.raises(InvalidValue, match="end"):
        TransformersModel(words_model().model, words_tokenizer(), end=end)


# --- from logits to a token


def test_truncation_keeps_the_fewest_tokens_that_have_the_mass(device):
    logits = torch.log(torch.tensor([0.1, 0.4, 0.3, 0.2], dtype=torch.float64, device=device))
    kept = [
        base_logprobs(logits, 1.0, top_k, top_p).exp().tolist()
        for top_k, top_p in [(0, 1.0), (2, 1.0), (0, 0.65), (3, 0.4), (9, 1e-9)]
    ]
    assert kept == [
        pytest.approx([0.1, 0.4, 0.3, 0.2]),
        pytest.approx([0.0, 4 / 7, 3 / 7, 0.0]),
        pytest.approx([0.0, 4 / 7, 3 / 7, 0.0]),
        pytest.approx([0.0, 1.0, 0.0, 0.0]),
        pytest.approx([0.0, 1.0, 0.0, 0.0]),
    ]


def test_a_token_without_probability_is_never_drawn(device):
    logp = torch.log(torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]], device=device))
    generator = torch.Generator().manual_seed(1)
    assert {draw(logp, generator)[0] for _ in range(200)} == {1, 3}


def test_an_image_is_refused_and_not_left_out():
    seen = (ASK[0], Message("user", "take lamp ?", (b"PNG",)))
    for ask in (complete, score):
        with pytest.raises(RequestRejected, match="leave the screenshot out"):
            ask(words_model(), seen)
