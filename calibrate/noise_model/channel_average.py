"""The numbers of a whole sensor from those of its channels: averages over pixels, with their errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from calibrate.schema import (
    PARAMETERS,
    CovarianceEntry,
    DefectEntry,
    DefectsEntry,
    MeasurementEntry,
    NoiseModelDocument,
    NonlinearityEntry,
    ParameterEntry,
    RepeatabilityEntry,
    ValidityEntry,
)

FloatArray = NDArray[np.float64]
Block = dict[str, ParameterEntry | NonlinearityEntry]

#: Noise and non-uniformity: their squares add up over pixels, so the root of the mean square is the average.
ROOT_MEAN_SQUARE = (
    "read_noise_e",
    "dark_noise_dn",
    "prnu_percent",
    "dsnu_e",
    "light_scatter_percent",
    "offset_scatter_dn",
)
_CLIPS: dict[str, Callable[[FloatArray], float]] = {
    "black_clip_dn": lambda codes: float(np.min(codes)),
    "white_clip_dn": lambda codes: float(np.max(codes)),
}


def average_parameters(blocks: Sequence[Block], weights: FloatArray, shared: frozenset[str]) -> Block:
    """Parameters of all pixels together; those that some channel lacks are left out.

    Parameters
    ----------
    blocks : sequence of parameter blocks
        One a channel.
    weights : ndarray (n_channels,)
        Shares of the pixels, sum 1.
    shared : frozenset of str
        Parameters whose errors may be common to all channels: see `shared_errors`.

    Notes
    -----
    For the mean p = sum w_c p_c of independent errors, std^2 = sum w_c^2 std_c^2; errors that may be common are added
    as they are, std = sum w_c std_c, which is the most they can make. The root of a mean square q has
    dq/dp_c = w_c p_c / q. Clips are the outermost. A response is the mean of the channels', written at the smallest
    of their scales: of a two-slope response the mean knee and slope. Curves of different forms have no mean.
    """
    out: Block = {}
    for name, (unit, _) in PARAMETERS.items():
        entries = [block.get(name) for block in blocks]
        numbers = [entry for entry in entries if isinstance(entry, ParameterEntry)]
        if len(numbers) < len(blocks):
            continue
        values = np.array([entry.value for entry in numbers])
        if name in _CLIPS:
            out[name] = ParameterEntry(value=_CLIPS[name](values), std=None, unit=unit)
            continue
        value, slopes = _average(name, values, weights)
        out[name] = ParameterEntry(value=value, std=_error(numbers, slopes, name in shared), unit=unit)
    curve = _average_response([block.get("nonlinearity") for block in blocks], weights)
    if curve is not None:
        out["nonlinearity"] = curve
    return {name: out[name] for name in PARAMETERS if name in out}


def _average(name: str, values: FloatArray, weights: FloatArray) -> tuple[float, FloatArray]:
    """Average and its derivative in each channel's value."""
    if name not in ROOT_MEAN_SQUARE:
        return float(weights @ values), weights
    root = float(np.sqrt(weights @ values**2))
    return root, weights * values / root if root > 0 else np.sqrt(weights)


def _error(entries: Sequence[ParameterEntry], slopes: FloatArray, shared: bool) -> float | None:
    stds = [entry.std for entry in entries]
    if any(std is None for std in stds):
        return None
    parts = np.abs(slopes) * np.array([std or 0.0 for std in stds])
    return float(np.sum(parts)) if shared else float(np.sqrt(np.sum(parts**2)))


def _average_response(
    entries: Sequence[ParameterEntry | NonlinearityEntry | None], weights: FloatArray
) -> NonlinearityEntry | None:
    curves = [entry if isinstance(entry, NonlinearityEntry) else None for entry in entries]
    bent = [curve for curve in curves if curve is not None]
    if not bent:
        return None
    scale = min(curve.scale_dn for curve in bent)
    if any(curve.form == "two-slope" for curve in bent):
        return _average_two_slope(bent, weights, scale) if len(bent) == len(curves) else None
    degree = max(len(curve.coefficients) for curve in bent)
    values, squares = np.zeros(degree), np.zeros(degree)
    for curve, weight in zip(curves, weights, strict=True):
        if curve is None:
            continue
        factor = weight * (scale / curve.scale_dn) ** np.arange(1, len(curve.coefficients) + 1)
        values[: factor.size] += factor * np.array(curve.coefficients)
        squares[: factor.size] += (factor * np.array(curve.std)) ** 2
    return NonlinearityEntry(
        form="polynomial",
        coefficients=tuple(float(c) for c in values),
        std=tuple(float(s) for s in np.sqrt(squares)),
        scale_dn=scale,
        unit="1",
    )


def _average_two_slope(
    curves: Sequence[NonlinearityEntry], weights: FloatArray, scale: float
) -> NonlinearityEntry | None:
    """Mean knee and slope; None among other forms."""
    if any(curve.form != "two-slope" for curve in curves):
        return None
    factor = np.array([[curve.scale_dn / scale, 1.0] for curve in curves]) * weights[:, None]
    values = np.sum(factor * [curve.coefficients for curve in curves], axis=0)
    std = np.sqrt(np.sum((factor * [curve.std for curve in curves]) ** 2, axis=0))
    return NonlinearityEntry(
        form="two-slope",
        coefficients=tuple(float(c) for c in values),
        std=tuple(float(s) for s in std),
        scale_dn=scale,
        unit="1",
    )


def shared_errors(documents: Sequence[NoiseModelDocument]) -> frozenset[str]:
    """Parameters whose errors the channels may have in common, because they saw one lamp and one offset.

    The scatter of the lamp moves every channel's light alike, hence the quantum efficiency; an offset that scatters
    between levels moves offset and dark current; a misfit of the model (``over_dispersed``) may be everybody's.
    """
    if any(entry.code == "over_dispersed" for document in documents for entry in document.fit.flags):
        return frozenset(PARAMETERS)
    names = {"quantum_efficiency_percent"}
    scattered = sum("offset_scatter_dn" in document.parameters for document in documents)
    if 2 * scattered >= len(
        documents
    ):  # one offset for all: a single channel in many that shows some does so by chance
        names |= {"offset_dn", "dark_current_e_per_s"}
    return frozenset(names)


def average_covariance(
    documents: Sequence[NoiseModelDocument],
    average: Mapping[str, ParameterEntry | NonlinearityEntry],
    weights: FloatArray,
) -> CovarianceEntry | None:
    """Covariance of the averages; errors that may be common widen it so that its diagonal is the averages' std."""
    found = [document.covariance for document in documents]
    known = [entry for entry in found if entry is not None]
    if len(known) < len(documents):
        return None
    names = [
        name
        for name in known[0].names
        if all(name in entry.names for entry in known) and isinstance(average.get(name), ParameterEntry)
    ]
    total = np.zeros((len(names), len(names)))
    for position, entry in enumerate(known):
        index = [entry.names.index(name) for name in names]
        slopes = np.array([_slope(name, documents, weights, position) for name in names])
        total += np.outer(slopes, slopes) * np.array(entry.matrix)[np.ix_(index, index)]
    own = np.sqrt(np.maximum(np.diag(total), 0.0))
    wanted = np.array([_std_of(average[name]) for name in names])
    factor = np.divide(wanted, own, out=np.ones_like(own), where=(own > 0) & (wanted > own))
    total *= np.outer(factor, factor)
    return CovarianceEntry(names=tuple(names), matrix=tuple(tuple(float(x) for x in row) for row in total))


def _std_of(entry: ParameterEntry | NonlinearityEntry) -> float:
    return (entry.std or 0.0) if isinstance(entry, ParameterEntry) else 0.0


def _slope(name: str, documents: Sequence[NoiseModelDocument], weights: FloatArray, position: int) -> float:
    entries = [document.parameters[name] for document in documents]
    values = np.array([entry.value if isinstance(entry, ParameterEntry) else 0.0 for entry in entries])
    return float(_average(name, values, weights)[1][position])


def average_validity(documents: Sequence[NoiseModelDocument]) -> ValidityEntry | None:
    """The ranges in which every channel was measured."""
    known = [document.validity for document in documents]
    if any(entry is None for entry in known):
        return None

    def common(name: str) -> tuple[float, float] | None:
        spans = [getattr(entry, name) for entry in known]
        if any(span is None for span in spans):
            return None
        low, high = max(span[0] for span in spans), min(span[1] for span in spans)
        return (low, high) if high >= low else None

    return ValidityEntry(**{name: common(name) for name in ("signal_dn", "exposure_s", "temperature_c")})


def average_measurements(
    documents: Sequence[NoiseModelDocument], weights: FloatArray
) -> tuple[MeasurementEntry, ...] | None:
    """Levels with means and variances averaged over pixels; None where the channels' levels do not pair up.

    The variance is that within channels: differences of their means are no noise.
    """
    tables = [document.measurements for document in documents]
    if any(table is None for table in tables):
        return None
    sorted_rows = [_by_level(table or ()) for table in tables]
    if len({frozenset(rows) for rows in sorted_rows}) != 1:
        return None
    return tuple(_average_level([table[key] for table in sorted_rows], weights) for key in sorted_rows[0])


_LevelKey = tuple[object, ...]


def _by_level(rows: Sequence[MeasurementEntry]) -> dict[_LevelKey, MeasurementEntry]:
    """Rows by kind, light and number among their like, so that channels' rows meet whatever their order."""
    out: dict[_LevelKey, MeasurementEntry] = {}
    seen: dict[_LevelKey, int] = {}
    for row in rows:
        key = (row.kind, row.exposure_s, row.photons_per_pixel, row.n_frames)
        seen[key] = seen.get(key, 0) + 1
        out[(*key, seen[key])] = row
    return out


def _average_level(rows: Sequence[MeasurementEntry], weights: FloatArray) -> MeasurementEntry:
    def mean(name: str) -> float | None:
        values = [getattr(row, name) for row in rows]
        return None if any(value is None for value in values) else float(weights @ np.array(values, dtype=np.float64))

    def error(name: str) -> float:
        return float(np.sqrt(np.sum((weights * np.array([getattr(row, name) for row in rows])) ** 2)))

    first = rows[0]
    return first.model_copy(
        update={
            "n_pixels": sum(row.n_pixels for row in rows),
            "mean_dn": mean("mean_dn"),
            "mean_std_dn": error("mean_std_dn"),
            "variance_dn2": mean("variance_dn2"),
            "variance_std_dn2": error("variance_std_dn2"),
            "clipped_fraction": mean("clipped_fraction"),
            "used": all(row.used for row in rows),
            "fitted_mean_dn": mean("fitted_mean_dn"),
            "fitted_variance_dn2": mean("fitted_variance_dn2"),
        }
    )


def all_defects(documents: Sequence[NoiseModelDocument]) -> DefectsEntry | None:
    """Defective pixels of all channels; a limit that they do not share is left out, each stands in its own record."""
    found = [document.defects for document in documents]
    known = [entry for entry in found if entry is not None]
    if len(known) < len(found):
        return None
    kinds: dict[str, DefectEntry] = {}
    for name, first in known[0].kinds.items():
        entries = [entry.kinds[name] for entry in known if name in entry.kinds]
        if len(entries) < len(known) or len({(entry.bit, entry.unit) for entry in entries}) > 1:
            continue
        kinds[name] = DefectEntry(
            count=sum(entry.count for entry in entries),
            bit=first.bit,
            limit=first.limit if len({entry.limit for entry in entries}) == 1 else None,
            unit=first.unit,
            expected_false_alarms=sum(entry.expected_false_alarms for entry in entries),
        )
    return DefectsEntry(n_pixels=sum(entry.n_pixels for entry in known), kinds=kinds)


def average_repeatability(documents: Sequence[NoiseModelDocument]) -> dict[str, RepeatabilityEntry] | None:
    """Split-half figures of the maps that all channels have, averaged over their pixels."""
    found = [document.repeatability for document in documents]
    known = [entry for entry in found if entry is not None]
    if len(known) < len(found):
        return None
    out = {}
    for name in known[0]:
        entries = [entry[name] for entry in known if name in entry]
        if len(entries) == len(known):
            n = np.array([entry.n_pixels for entry in entries], dtype=np.float64)
            out[name] = RepeatabilityEntry(
                variance_ratio=float(n @ [entry.variance_ratio for entry in entries] / n.sum()),
                correlation=float(n @ [entry.correlation for entry in entries] / n.sum()),
                n_pixels=int(n.sum()),
            )
    return out or None
