"""`python -m jitrl.testing`: a language model that knows nothing, on this machine, until Ctrl-C."""

from __future__ import annotations

import sys
import threading

from jitrl.testing import Choosing, ScriptedServer, obliging


def main() -> None:
    """Serve, say where, and wait."""
    with ScriptedServer(Choosing(obliging)) as server:
        sys.stdout.write(
            f"vllm/scripted at {server.url}; for instance:\n"
            f"  jitrl run textworld:easy-1 --model vllm/scripted --base-url {server.url}\n"
            "Ctrl-C ends it.\n"
        )
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
