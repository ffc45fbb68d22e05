"""`python -m jitrl.cli`: the same as `jitrl`."""

from jitrl.cli import main

if __name__ == "__main__":
    main()
