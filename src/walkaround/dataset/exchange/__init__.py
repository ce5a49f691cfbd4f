"""Scenes in the formats of other tools, and captures with cameras from them (docs/exchange.md)."""
