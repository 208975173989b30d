"""Benchmarks: what is measured, and how, so that anyone can measure it again."""
