"""The pages: Django applications, imported only in the process of a server, which configures them.

shop      a shop, and its admin
wiki      a wiki
forge     issues and members beside the repositories that klaus shows
visitors  who is signed in; `trouble`: pages that go wrong on purpose
"""
