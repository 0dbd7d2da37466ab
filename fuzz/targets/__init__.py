"""What is fuzzed, one module each: `TARGET` takes bytes and says what became of them."""

from __future__ import annotations

import importlib

from fuzz.target import Target

NAMES = ("archive", "instance", "series", "nifti", "request")


def load(name: str) -> Target:
    """A target by its name; imported only now, so that an engine can watch what it imports."""
    target: Target = importlib.import_module(f"fuzz.targets.{name}").TARGET
    return target
