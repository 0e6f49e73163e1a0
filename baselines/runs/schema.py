"""What run folders look like on disk: schema version and the columns of their tables."""

from __future__ import annotations

__all__ = ["CURVES", "RETURNS", "SCHEMA_VERSION"]

SCHEMA_VERSION = 1
CURVES = {"update": "Int64", "metric": "String", "value": "Float64"}
RETURNS = {
    "update": "Int64",
    "episode": "Int64",
    "seed": "Int64",
    "return": "Float64",
    "length": "Int64",
    "final": "Boolean",
}
