"""Measurements: each prints medians and ratios, side by side with other tools on fresh file systems."""
