"""Transforms that fill in missing labels."""

if __name__ != "assay.relabeling":
    raise ImportError(f"import this package as assay.relabeling, not as {__name__}")
