"""The runner: algorithms, the population engine, evaluation and suites."""

if __name__ != "assay.baselines":
    raise ImportError(f"import this package as assay.baselines, not as {__name__}")
