"""A wiki with search, history, and editing for those who are signed in."""
