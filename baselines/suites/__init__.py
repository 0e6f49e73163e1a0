"""Suites: standardized experiments written as YAML."""
