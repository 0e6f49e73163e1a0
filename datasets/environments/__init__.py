"""Environments: simulators on worker processes, tasks of Assay's own, and planners that solve some of them."""
