"""Domains: which changes of a transition the dynamics of a task allow, and what progress is. One file for each."""

__all__: list[str] = []
