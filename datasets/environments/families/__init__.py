"""One file for each family of environments; see `assay.datasets.environments.record`."""
