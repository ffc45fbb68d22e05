"""Where step rewards come from: the environment, a judge model, or both."""
