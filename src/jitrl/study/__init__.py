"""Studies: worlds x arms x seeds, paired by seed, and what they say of the arms."""
