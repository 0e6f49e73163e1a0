"""Transforms that add data."""

if __name__ != "assay.augmentation":
    raise ImportError(f"import this package as assay.augmentation, not as {__name__}")
