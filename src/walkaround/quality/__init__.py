"""Scores judged by one table of rules, the report page, and the comparison with known truth."""
