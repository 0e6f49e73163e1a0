"""Numbers that describe a dataset: plain functions, and one that runs them all."""

if __name__ != "assay.metrics":
    raise ImportError(f"import this package as assay.metrics, not as {__name__}")
