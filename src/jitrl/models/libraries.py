"""torch and transformers, imported when they are needed and not before: opening, and where."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from jitrl.checks import count
from jitrl.errors import InvalidValue, MissingExtra, RequestRejected

__all__ = ["inference", "libraries", "one_line", "placed", "read", "settings", "without_bars"]

_T = TypeVar("_T")
_SETTINGS: dict[str, Callable[[str], object]] = {
    "device": str,
    "dtype": str,
    "end": str,
    "threads": int,
    "batch": int,
}
_NAMED = re.compile(r"(.*?)((?:,\w+=[^,/]*)*)", re.DOTALL)


def settings(which: str) -> tuple[str, dict[str, Any]]:
    """Return the folder that a model's name begins with, and the settings that it ends in.

    >>> settings("models/llama,device=cuda:1,batch=8")
    ('models/llama', {'device': 'cuda:1', 'batch': 8})

    Raises InvalidValue for a setting that there is not, is given twice or is no number.
    """
    found = _NAMED.fullmatch(which)
    assert found is not None
    told: dict[str, Any] = {}
    for name, _, value in (part.partition("=") for part in found[2].split(",")[1:]):
        if name not in _SETTINGS or name in told:
            rule = f"may be, once each: {', '.join(_SETTINGS)}"
            raise InvalidValue(f"setting of {found[1]}", name, rule)
        try:
            told[name] = _SETTINGS[name](value)
        except ValueError as error:
            raise InvalidValue(name, value, "must be a whole number") from error
    return found[1], told


def libraries() -> tuple[Any, Any]:
    """Return torch and transformers; raises MissingExtra where either is not installed."""
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtra(
            "local models need torch and transformers: pip install 'jitrl[local]'"
        ) from error
    return torch, transformers


@contextmanager
def without_bars() -> Iterator[None]:
    """Keep transformers from drawing progress bars of its own."""
    _, transformers = libraries()
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def read(which: str, dtype: str, threads: int | None) -> tuple[Any, Any]:
    """Return a causal language model and its tokenizer; see `jitrl.models.transformers.make`."""
    torch, transformers = libraries()
    if dtype != "auto" and not getattr(getattr(torch, dtype, None), "is_floating_point", False):
        raise InvalidValue("dtype", dtype, "must be one of torch's, such as float32, or auto")
    if threads is not None:
        torch.set_num_threads(count("threads", threads, least=1))
    try:
        with without_bars():
            tokenizer = transformers.AutoTokenizer.from_pretrained(which, local_files_only=True)
            model = transformers.AutoModelForCausalLM.from_pretrained(
                which, local_files_only=True, use_safetensors=True, dtype=dtype
            )
    except (OSError, ValueError, RuntimeError) as error:
        reason = "" if isinstance(error, OSError) else f" ({one_line(error)})"
        raise RequestRejected(
            f"transformers cannot open {which!r}: give the folder of a causal language model with "
            f"its tokenizer, in safetensors{reason}"
        ) from error
    return model, tokenizer


def placed(model: Any, device: str) -> Any:
    """Return the model on a device as torch names it.

    Raises InvalidValue for a device that is not here, or has too little memory.
    """
    try:
        return model.to(device)
    except (AssertionError, RuntimeError) as error:  # torch asserts that it was built for it
        raise InvalidValue(
            "device", device, f"cannot hold the model ({one_line(error)})"
        ) from error


def inference(work: Callable[[], _T]) -> _T:
    """Return what `work` does without gradients.

    Raises RequestRejected where the memory of the device does not suffice.
    """
    torch, _ = libraries()
    try:
        with torch.inference_mode():
            return work()
    except torch.OutOfMemoryError as error:
        reason = one_line(error)
    # Raised out here, so that no traceback keeps the tensors that filled the memory.
    raise RequestRejected(f"lower `batch`, or shorten the prompt: {reason}")


def one_line(error: Exception) -> str:
    """Return what an error says, in one line that is not too long."""
    return " ".join(str(error).split())[:200]
