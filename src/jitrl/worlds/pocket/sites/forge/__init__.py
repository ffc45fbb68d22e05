"""A Git host: klaus shows the repositories, Django the issues and members beside them."""
