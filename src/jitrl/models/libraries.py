"""torch and transformers, imported when they are needed and not before, and the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from jitrl.errors import InvalidValue, MissingExtra, RequestRejected

__all__ = ["inference", "libraries", "one_line", "placed", "without_bars"]

_T = TypeVar("_T")


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
