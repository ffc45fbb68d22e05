"""`python -m jitrl.testing`: a language model that knows nothing, on this machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import sys
import threading

from jitrl.testing import Choosing, ScriptedServer, obliging


def main() -> None:
    """Serve, say where, and wait."""
    argparse.ArgumentParser(prog="python -m jitrl.testing", description=__doc__).parse_args()
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
