"""A sensor whose pixels belong to channels: one noise model for each, and the document that holds them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from calibrate.noise_model import channel_average as average
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.schema import (
    SCHEMA_NAME,
    SCHEMA_VERSION,
    ChannelLayoutEntry,
    ChannelRecordEntry,
    DifferenceEntry,
    FitEntry,
    NoiseModelDocument,
    SectionEntry,
)
from calibrate.sections import ChannelLayout, Section
from calibrate.store import Maps

if TYPE_CHECKING:
    from calibrate.noise_model.model import NoiseModel

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class ChannelModels:
    """The channels of a sensor: where their pixels lie, and the model of each with its pixels' maps."""

    layout: ChannelLayout
    models: Mapping[str, NoiseModel]

    def parts(self, shape: tuple[int, ...]) -> Iterator[tuple[tuple[Any, ...], NoiseModel]]:
        """Index of each channel's pixels in data of ``shape`` and its model; channels without a pixel are left out."""
        self.layout.check_shape(shape)
        for name, section in self.layout.sections.items():
            if min(section.shape_in((shape[-2], shape[-1]))) > 0:
                yield (..., *section.index), self.models[name]

    def evaluate(
        self, function: Callable[..., NDArray[Any]], shape: tuple[int, ...], *arrays: FloatArray
    ) -> NDArray[Any]:
        """``function(model, part of each array)`` put together again; arrays broadcast to ``shape``."""
        out: NDArray[Any] | None = None
        whole = [np.broadcast_to(array, shape) for array in arrays]
        for index, model in self.parts(shape):
            part = function(model, *(array[index] for array in whole))
            if out is None:
                out = np.empty(shape, dtype=part.dtype)
            out[index] = part
        return np.empty(shape) if out is None else out

    def readout_maps(self, shape: tuple[int, int] | None) -> Maps:
        """Readout maps of the whole frame from the channels' own, scalars where a channel has none; {} without maps."""
        if shape is None:
            return {}
        found = {name: model.readout_maps for name, model in self.models.items()}
        out: Maps = {}
        for name in dict.fromkeys(key for maps in found.values() for key in maps):
            out[name] = np.empty(shape)
            for channel, section in self.layout.sections.items():
                scalar = getattr(self.models[channel].camera, name)
                out[name][section.index] = found[channel].get(name, scalar)
        return out


def channel_models(
    document: NoiseModelDocument, maps: Maps | None, make: Callable[..., NoiseModel]
) -> ChannelModels | None:
    """The channels of a document; None for a sensor without any.

    Parameters
    ----------
    document : NoiseModelDocument
    maps : dict of ndarray (height, width) or None
    make : callable
        Noise model of a document and maps.

    Raises
    ------
    PhotonbitsError
        If a pixel lies in no channel or in several.
    """
    if document.channel_layout is None or not document.channels:
        return None
    layout = layout_of(document)
    layout.check_cover()
    models = {}
    for name, section in layout.sections.items():
        own = None if maps is None else {key: array[section.index] for key, array in maps.items()}
        models[name] = make(channel_document(document, name, section), own)
    return ChannelModels(layout, models)


def layout_of(document: NoiseModelDocument) -> ChannelLayout:
    """The layout that a document with channels describes."""
    entry = document.channel_layout
    if entry is None:
        raise PhotonbitsError("the noise model has no channels", legal="a model fitted with --channels")
    sections = {
        name: Section(entry.sections[name].rows, entry.sections[name].columns) for name in document.channels or {}
    }
    bounded = any(section.rows[1] is not None or section.columns[1] is not None for section in sections.values())
    pattern = document.sensor.cfa if entry.kind == "cfa" else None
    return ChannelLayout(entry.kind, sections, document.sensor.shape if bounded else None, pattern)


def channel_document(document: NoiseModelDocument, name: str, section: Section) -> NoiseModelDocument:
    """The document of one channel alone."""
    if document.channel_layout is None or name not in (document.channels or {}):
        raise PhotonbitsError(
            f"channel {name!r}", legal=", ".join(document.channels or {}) or "none: the model has no channels"
        )
    record = document.channel_layout.records[name]
    shape = None if document.sensor.shape is None else section.shape_in(document.sensor.shape)
    return document.model_copy(
        update={
            "sensor": document.sensor.model_copy(update={"cfa": None, "shape": shape}),
            "parameters": (document.channels or {})[name],
            "channels": None,
            "channel_layout": None,
            "maps": None,
            "covariance": record.covariance,
            "validity": record.validity,
            "fit": record.fit,
            "emva1288": None,
            "emva1288_curves": None,
            "measurements": record.measurements,
            "defects": record.defects,
            "repeatability": record.repeatability,
        }
    )


def without_channels(document: NoiseModelDocument) -> NoiseModelDocument:
    """The same document with the averages of its channels alone."""
    return document.model_copy(update={"channels": None, "channel_layout": None})


def combined_document(
    documents: Mapping[str, NoiseModelDocument],
    layout: ChannelLayout,
    shape: tuple[int, int] | None,
    fit: FitEntry,
    differences: Mapping[str, DifferenceEntry] | None = None,
) -> NoiseModelDocument:
    """One document of all channels; its parameters are averages over pixels (`channel_average`).

    Parameters
    ----------
    documents : mapping
        Each channel's own, in the layout's order.
    layout : ChannelLayout
    shape : (height, width) or None
        Of the whole frame.
    fit : FitEntry
    differences : mapping, optional

    Raises
    ------
    PhotonbitsError
        If the channels are cameras of different kinds or bit depths.
    """
    ordered = [documents[name] for name in layout.names]
    first = ordered[0]
    for what in ("kind", "bit_depth"):
        found = {getattr(document, what, None) or getattr(document.sensor, what, None) for document in ordered}
        if len(found) > 1:
            raise PhotonbitsError(
                f"the channels have {what} {', '.join(sorted(map(str, found)))}",
                legal=f"one {what} for all channels of a sensor",
                remedy="State bit_depth in the captures' manifest" if what == "bit_depth" else None,
            )
    weights = pixel_shares(layout, shape)
    shared = average.shared_errors(ordered)
    parameters = average.average_parameters([document.parameters for document in ordered], weights, shared)
    records = {
        name: ChannelRecordEntry(
            covariance=document.covariance,
            validity=document.validity,
            fit=document.fit,
            measurements=document.measurements,
            defects=document.defects,
            repeatability=document.repeatability,
        )
        for name, document in zip(layout.names, ordered, strict=True)
    }
    entry = ChannelLayoutEntry(
        kind=layout.kind,
        sections={name: SectionEntry(rows=s.rows, columns=s.columns) for name, s in layout.sections.items()},
        records=records,
        differences=None if differences is None else dict(differences),
    )
    sensor = first.sensor.model_copy(update={"cfa": layout.pattern or first.sensor.cfa, "shape": shape})
    return NoiseModelDocument.model_validate(
        {
            "schema": SCHEMA_NAME,
            "schema_version": SCHEMA_VERSION,
            "kind": first.kind,
            "sensor": sensor,
            "parameters": parameters,
            "channels": {name: dict(documents[name].parameters) for name in layout.names},
            "channel_layout": entry,
            "covariance": average.average_covariance(ordered, parameters, weights),
            "validity": average.average_validity(ordered),
            "fit": fit,
            "measurements": average.average_measurements(ordered, weights),
            "defects": average.all_defects(ordered),
            "repeatability": average.average_repeatability(ordered),
            "provenance": first.provenance,
        }
    )


def pixel_shares(layout: ChannelLayout, shape: tuple[int, int] | None) -> FloatArray:
    """Share of the frame's pixels in each channel."""
    extent = shape or layout.shape or layout.period
    sizes = np.array([np.prod(section.shape_in(extent)) for section in layout.sections.values()], dtype=np.float64)
    return np.asarray(sizes / sizes.sum())


def interleaved_maps(maps: Mapping[str, Maps | None], layout: ChannelLayout, shape: tuple[int, int]) -> Maps | None:
    """Maps of the whole frame from those of the channels: those that every channel has."""
    parts = [maps[name] or {} for name in layout.names]
    names = [name for name in parts[0] if all(name in part for part in parts)]
    out: Maps = {}
    for name in names:
        out[name] = np.empty(shape, dtype=parts[0][name].dtype)
        for section, part in zip(layout.sections.values(), parts, strict=True):
            out[name][section.index] = part[name]
    return out or None
