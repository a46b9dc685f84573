"""A fit for every colour filter or tap, and the test of whether they differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from calibrate.agreement import agreement_of
from calibrate.captures import load_captures
from calibrate.captures.capture_set import CaptureSet
from calibrate.flags import FLAGS, flag
from calibrate.noise_model import NoiseModel
from calibrate.photon_transfer import fit_noise_model
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.schema import (
    DifferenceEntry,
    FitEntry,
    FlagEntry,
    NoiseModelDocument,
    ParameterEntry,
)
from calibrate.sections import CHANNELS_LEGAL, MOSAICS, ChannelLayout, Section, is_channels_option, parse_layout

__all__ = ["choose_layout", "fit_channels"]

#: What the channels of one sensor might share, and is tested; quantum efficiency differs between colours by design.
TESTED = ("system_gain_dn_per_e", "offset_dn", "read_noise_e", "dark_current_e_per_s", "full_well_e")

FitOne = Callable[[CaptureSet], NoiseModel]


def choose_layout(captures: CaptureSet, channels: str) -> tuple[ChannelLayout | None, str]:
    """The channels that an option means for these captures, None for one; and a sentence that says why.

    Parameters
    ----------
    captures : CaptureSet
    channels : str
        ``auto`` (the colour-filter pattern that manifest or headers state, else one channel), ``mono``, a pattern
        such as ``RGGB``, ``taps:RxC`` or ``interleaved:RxC``.

    Raises
    ------
    PhotonbitsError
        If the option is none of these, the captures have no pixels, or a channel would have none.
    """
    if not is_channels_option(channels):
        raise PhotonbitsError(f"channels {channels!r}", legal=CHANNELS_LEGAL)
    stated = captures.sensor.get("cfa")
    if channels.lower() == "auto":
        if captures.points:
            return None, "one channel: a table has no pixels"
        if stated in MOSAICS:
            return parse_layout(str(stated), _shape(captures)), f"colour filters {stated}, as the captures state"
        if stated:
            return None, f"one channel: the colour filters {stated} are no Bayer mosaic"
        return None, "one channel: the captures state no colour filters"
    if channels.lower() == "mono":
        return None, "one channel, as asked" + (f", though the captures state {stated}" if stated else "")
    if captures.points:
        raise PhotonbitsError(
            f"channels {channels} of a table", where=captures.root, legal="mono", remedy="Fit the frames themselves"
        )
    layout = parse_layout(channels, _shape(captures))
    reason = "" if layout is None else f"{layout.words}, as asked"
    if layout is not None and layout.kind == "cfa" and stated not in (None, layout.pattern):
        reason += f", though the captures state {stated}"
    return layout, reason


def _shape(captures: CaptureSet) -> tuple[int, int]:
    if captures.shape is None:
        raise PhotonbitsError("the captures do not say how large a frame is", where=captures.root)
    return captures.shape


def fit_channels(
    captures: str | Path | CaptureSet,
    *,
    channels: str = "auto",
    maps: bool = False,
    seed: int = 0,
    fit: FitOne | None = None,
) -> NoiseModel:
    """Fit a noise model with a set of parameters for every channel.

    Every channel is fitted on its own pixels as if they were a sensor (`calibrate.fit_noise_model`), one pass over the
    frames each. The parameters of the whole are averages over pixels.

    Parameters
    ----------
    captures : path or CaptureSet
        Of one setting.
    channels : str
        See `choose_layout`.
    maps : bool
        Also measure per-pixel maps; each channel's map averages to its own scalar.
    seed : int
    fit : callable, optional
        What fits one capture set. Default: `calibrate.fit_noise_model` with ``maps`` and ``seed``.

    Returns
    -------
    NoiseModel
        Without channels where there is only one. ``document.channel_layout.differences`` holds the tests, and the
        flag ``channels_differ`` is raised where one of them fails.

    Raises
    ------
    PhotonbitsError
        As `calibrate.fit_noise_model` and `choose_layout`; a channel's name stands in the message.
    """
    captures = captures if isinstance(captures, CaptureSet) else load_captures(captures)
    layout, _ = choose_layout(captures, channels)

    def fit_default(found: CaptureSet) -> NoiseModel:
        return fit_noise_model(found, maps=maps, seed=seed)

    fit_one = fit or fit_default
    if layout is None:
        return fit_one(captures)
    models = {name: _fit_channel(captures, layout, name, fit_one) for name in layout.names}
    models = _with_common_bit_depth(captures, layout, models, fit_one)
    documents = {name: model.document for name, model in models.items()}
    differences = difference_tests(documents)
    entry = _merged_fit(documents, differences)
    return NoiseModel.from_channels(models, layout, shape=_shape(captures), fit=entry, differences=differences)


def section_of_captures(captures: CaptureSet, section: Section) -> CaptureSet:
    """The same captures, with the pixels of one section alone."""
    levels = tuple(
        replace(level, frames=tuple(replace(frame, section=section) for frame in level.frames))
        for level in captures.levels
    )
    sensor = {name: value for name, value in captures.sensor.items() if name != "cfa"}
    return replace(captures, levels=levels, shape=section.shape_in(_shape(captures)), sensor=sensor)


def _fit_channel(captures: CaptureSet, layout: ChannelLayout, name: str, fit: FitOne) -> NoiseModel:
    try:
        return fit(section_of_captures(captures, layout.sections[name]))
    except PhotonbitsError as error:
        where = f"channel {name}" if error.where is None else f"channel {name}, {error.where}"
        raise PhotonbitsError(error.what, where=where, legal=error.legal, remedy=error.remedy) from error


def _with_common_bit_depth(
    captures: CaptureSet, layout: ChannelLayout, models: Mapping[str, NoiseModel], fit: FitOne
) -> dict[str, NoiseModel]:
    """The channels share a converter: where each guessed its bits from its own codes, the most of them hold for all."""
    depths = {name: model.bit_depth for name, model in models.items()}
    known = [bits for bits in depths.values() if bits is not None]
    if len(set(depths.values())) == 1 or len(known) < len(depths):
        return dict(models)
    stated = replace(captures, bit_depth=max(known))
    return {
        name: model if depths[name] == max(known) else _fit_channel(stated, layout, name, fit)
        for name, model in models.items()
    }


def difference_tests(documents: Mapping[str, NoiseModelDocument]) -> dict[str, DifferenceEntry]:
    """Chi-square tests that each parameter is the same in all channels.

    Notes
    -----
    sum over channels of (p_c - mean)^2 / std_c^2 with the weighted mean, channels less one degrees of freedom: the
    channels' pixels, hence their noise, are independent. What a drifting lamp or offset does to all of them alike
    cancels, and makes the test milder.
    """
    out = {}
    for name in TESTED:
        entries = [document.parameters.get(name) for document in documents.values()]
        numbers = [entry for entry in entries if isinstance(entry, ParameterEntry)]
        if len(numbers) < len(entries) or any(entry.std is None for entry in numbers):
            continue
        found = agreement_of([entry.value for entry in numbers], [entry.std or 0.0 for entry in numbers])
        if found is not None and found.dof == len(entries) - 1:
            out[name] = DifferenceEntry(chi2=found.chi2, dof=found.dof, p_value=found.p_value)
    return out


def _merged_fit(documents: Mapping[str, NoiseModelDocument], differences: Mapping[str, DifferenceEntry]) -> FitEntry:
    fits = {name: document.fit for name, document in documents.items()}
    first = next(iter(fits.values()))
    models = {fit.model for fit in fits.values()}
    dofs = [fit.dof for fit in fits.values() if fit.dof is not None]
    deviance = None
    if len(dofs) == len(fits) and sum(dofs) > 0 and all(fit.deviance_per_dof is not None for fit in fits.values()):
        total = sum((fit.deviance_per_dof or 0.0) * (fit.dof or 0) for fit in fits.values())
        deviance = total / sum(dofs)
    return FitEntry(
        method=f"each channel on its own pixels: {first.method}",
        model=first.model if len(models) == 1 else "by channel",
        deviance_per_dof=deviance,
        dof=sum(dofs) if len(dofs) == len(fits) else None,
        flags=(*_differ_flag(documents, differences), *_merged_flags(fits)),
    )


def _merged_flags(fits: Mapping[str, FitEntry]) -> list[FlagEntry]:
    """Each doubt once, with the channels that have it where not all do; figures are the first such channel's."""
    raised: dict[str, dict[str, FlagEntry]] = {}
    for name, fit in fits.items():
        for entry in fit.flags:
            raised.setdefault(entry.code, {})[name] = entry
    out = []
    for code, by_channel in raised.items():
        messages = {entry.message for entry in by_channel.values()}
        text = next(iter(by_channel.values())).message
        if len(by_channel) < len(fits) or len(messages) > 1:
            text = f"Channel {next(iter(by_channel))}: {text}"
        others = list(by_channel)[1:]
        if len(by_channel) < len(fits) and others:
            text += f" Likewise {', '.join(others)}."
        elif len(messages) > 1:
            text += " The other channels have it too."
        out.append(FlagEntry(code=code, message=text))
    return out


def _differ_flag(
    documents: Mapping[str, NoiseModelDocument], differences: Mapping[str, DifferenceEntry]
) -> list[FlagEntry]:
    limit = (FLAGS["channels_differ"].threshold or 0.0) / max(len(differences), 1)
    failed = sorted(
        (name for name, entry in differences.items() if entry.p_value < limit),
        key=lambda name: differences[name].p_value,
    )
    if not failed:
        return []
    parts = []
    for name in failed:
        values = {channel: document.parameters[name] for channel, document in documents.items()}
        low, high = (pick(values, key=lambda channel: getattr(values[channel], "value", 0.0)) for pick in (min, max))
        unit = values[low].unit
        span = " to ".join(f"{getattr(values[channel], 'value', 0.0):.4g} ({channel})" for channel in (low, high))
        parts.append(f"{name} {span} {unit}")
    return [flag("channels_differ", listing="; ".join(parts))]
