"""Captures at several gain settings, temperatures or read-out modes: a model each, and what they say together."""

from calibrate.series.fit import DarkSetting, FittedSetting, NotFitted, Series, fit_series
from calibrate.series.output import check_series_folder, write_series
from calibrate.series.page import render_series
from calibrate.series.summary import series_summary
from calibrate.series.text import format_series

__all__ = [
    "DarkSetting",
    "FittedSetting",
    "NotFitted",
    "Series",
    "check_series_folder",
    "fit_series",
    "format_series",
    "render_series",
    "series_summary",
    "write_series",
]
