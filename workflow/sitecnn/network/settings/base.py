"""What every layer type's settings are."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """A layer type that has no settings that matter to its shapes or its cost."""
