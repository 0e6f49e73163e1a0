"""From run folders to statistics, figures and a report."""

if __name__ != "assay.analysis":
    raise ImportError(f"import this package as assay.analysis, not as {__name__}")
