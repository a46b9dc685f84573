"""A noise model as a page: its numbers, its doubts, and the pictures that show whether it fits."""

from calibrate.report.page import render_report, write_figures

__all__ = ["render_report", "write_figures"]
