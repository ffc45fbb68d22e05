"""Episodes on their way from one memory to another: packs, and merging."""
