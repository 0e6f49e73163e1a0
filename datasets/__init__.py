"""What a dataset is, how it is read, written, checked, sampled and collected."""

if __name__ != "assay.datasets":
    raise ImportError(f"import this package as assay.datasets, not as {__name__}")
