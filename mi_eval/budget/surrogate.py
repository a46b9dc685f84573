"""Information of the frames' light through any camera, by one pixel's exact law and the correlation of neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel
from mi_eval.budget import copula
from mi_eval.budget.light import SmoothLaw, fit_smooth_law, light_nodes, normal_means
from mi_eval.budget.one_pixel import PixelTable, pixel_table, pooled_table
from mi_eval.budget.parts import NOTHING_KNOWN, PARTS, Known, Sensor, Switches, measured, sensor_of
from mi_eval.charge_grid import group_codes
from mi_eval.measurements import Measurements
from mi_eval.patch_places import crop_to_patches

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_MOST_BLOCKS = 10
_MOST_PATCHES = 20_000
_ABOVE_SATURATION = 1.5  # how far beyond the highest code the law of light is continued where codes are clipped


@dataclass(frozen=True)
class Channel:
    """Pixels with one law of light: their sensor, the law, and their share of the pixels."""

    name: str
    sensor: Sensor
    law: SmoothLaw
    share: float
    highest_e: float


@dataclass(frozen=True)
class Scenes:
    """The light of the frames, as far as one-pixel laws and correlations tell it.

    Parameters
    ----------
    channels : tuple of Channel
    lags : Lags
    light_correlation : ndarray (n_laws, n_labels)
        Of the light's normal scores, for each law of light (`light.SmoothLaw`).
    code_scores : ndarray (n_patches, p*p)
        Normal scores of the codes.
    """

    channels: tuple[Channel, ...]
    lags: copula.Lags
    light_correlation: FloatArray
    code_scores: FloatArray

    @property
    def n_laws(self) -> int:
        """One of all frames, one for each block that is left out, and the non-parametric one."""
        return int(self.light_correlation.shape[0])

    @property
    def parts(self) -> tuple[str, ...]:
        """Imperfections that some channel has."""
        return tuple(name for name in PARTS if any(name in channel.sensor.parts for channel in self.channels))

    def correlation(self, law: int) -> FloatArray:
        """Correlation of the light's normal scores in a patch, (p*p, p*p), without negative eigenvalues."""
        return copula.nearest_correlation(self.lags.matrix(self.light_correlation[law]))


def scenes_of(
    data: Measurements,
    model: NoiseModel,
    known: Known = NOTHING_KNOWN,
    *,
    seed: int = 0,
    like: Scenes | None = None,
) -> Scenes:
    """The light behind patches, with a jackknife over at most ten blocks of frames.

    With ``like``, the scenes by a slightly other model: laws as smooth as there, and no jackknife, for derivatives.
    """
    layout = model.channel_layout
    size = data.patches.patch_size
    if layout is None or layout.kind == "taps":
        # Taps differ little and patches lie across them: one law, pixels of the mean camera.
        whole = model if layout is None else model.with_parameters()
        models, place = {"": whole}, np.zeros((size, size), dtype=np.int64)
        period = (1, 1)
    else:
        models = {name: model.channel(name, maps=True) for name in layout.names}
        period = layout.period
        corner = data.positions[0, 1] % period[0], data.positions[0, 2] % period[1]
        tile = np.empty((size + period[0], size + period[1]), dtype=np.int64)
        for number, section in enumerate(layout.sections.values()):
            tile[section.index] = number
        place = tile[corner[0] : corner[0] + size, corner[1] : corner[1] + size]
    sensors = [sensor_of(own, known) for own in models.values()]
    sensors = [replace(sensor, lowest_e=_lowest_charge(sensor, data)) for sensor in sensors]
    block = np.zeros(data.patches.n_patches, dtype=np.int64) if like else _blocks(data, seed)
    codes = _codes(data, sensors, place, layout if len(sensors) > 1 else None)
    channels, scores = [], np.zeros((data.patches.n_patches, size * size))
    for number, (name, sensor) in enumerate(zip(models, sensors, strict=True)):
        own = np.flatnonzero(place.ravel() == number)
        values = codes[:, own]
        penalty = like.channels[number].law.penalty if like else None
        channels.append(_channel(name, sensor, values, block, own.size / size**2, penalty))
        scores[:, own] = _normal_scores(values)
    lags = copula.Lags.of(size, place, period)
    light = _light_correlation(channels, lags, scores, block)
    return Scenes(tuple(channels), lags, light, scores)


def information_bits(scenes: Scenes, off: Switches) -> FloatArray:
    """Bits per pixel through the cameras with ``off`` switched off, for each law; (n_laws,)."""
    tables = [
        [(m.weight, pixel_table(m, c.law.light_e)) for m in measured(c.sensor, off, c.highest_e)]
        for c in scenes.channels
    ]
    return _information(scenes, tables)


def photon_limit_bits(scenes: Scenes) -> FloatArray:
    """Bits per pixel that the photon counts behind the frames carry, for each law; (n_laws,).

    Counts of the light alone: no dark charge, no read-out at all.
    """
    tables = []
    for channel in scenes.channels:
        top = int(channel.highest_e + 10 * np.sqrt(channel.highest_e) + 60)
        counter = NoiseModel.from_parameters(kind="poisson", system_gain_dn_per_e=1.0, bit_depth=32, white_clip_dn=top)
        table = counter.code_table(channel.law.light_e)
        nothing = np.zeros(channel.law.light_e.size)
        group = np.arange(table.pmf.shape[1])
        tables.append([(1.0, PixelTable(table.pmf, table.first_code, group, nothing, nothing))])
    return _information(scenes, tables)


def _information(scenes: Scenes, tables: Sequence[Sequence[tuple[float, PixelTable]]]) -> FloatArray:
    """One pixel's information less what neighbours say twice."""
    alone = sum(
        channel.share * sum(weight * table.information_bits(channel.law.weights) for weight, table in own)
        for channel, own in zip(scenes.channels, tables, strict=True)
    )
    alone = np.asarray(alone, dtype=np.float64)
    together = np.empty(scenes.n_laws)
    for law in range(scenes.n_laws - 1):
        reliability, shared = _reliability(scenes.channels, tables, law)
        noise = _shared_noise(scenes.lags, shared)
        light = scenes.correlation(law)
        codes = np.zeros_like(light)
        for row in copula.product_of(scenes.lags, reliability)[::-1]:
            codes = (codes + row[scenes.lags.label]) * light
        codes += (_noise_share(scenes.lags, reliability) * noise)[scenes.lags.label]
        codes[np.diag_indices_from(codes)] = 1.0
        together[law] = 0.5 * copula.log2_determinant(codes)
        if np.any(noise):
            together[law] -= 0.5 * copula.log2_determinant(scenes.lags.matrix(noise))
    # Spikes have no normal scores worth the name: the non-parametric law counts for single pixels alone.
    together[-1] = together[0]
    return np.asarray(alone + together)


def _reliability(
    channels: Sequence[Channel], tables: Sequence[Sequence[tuple[float, PixelTable]]], law: int
) -> tuple[FloatArray, FloatArray]:
    """Hermite coefficients (n_channels, order), and the noise's share that rows and frames have in common (n, 2)."""
    coefficients, shared = [], []
    for channel, own in zip(channels, tables, strict=True):
        weights, hermite = channel.law.weights[:, law], channel.law.hermite(law)
        coefficients.append(sum(weight * table.reliability(weights, hermite) for weight, table in own))
        shared.append(
            sum(
                weight * np.array([weights @ table.noise_share_row, weights @ table.noise_share_frame])
                for weight, table in own
            )
        )
    return np.array(coefficients), np.array(shared)


def _shared_noise(lags: copula.Lags, shared: FloatArray) -> FloatArray:
    """Correlation of the noise of each kind of pair, (n_labels,)."""
    row, frame = (np.sqrt(shared[lags.first, k] * shared[lags.second, k]) for k in (0, 1))
    return np.asarray(np.where(lags.row_step == 0, row, 0.0) + frame)


def _noise_share(lags: copula.Lags, reliability: FloatArray) -> FloatArray:
    """Share of noise in the variance of the codes' normal scores, of each kind of pair."""
    noise = np.maximum(1 - np.sum(reliability**2, axis=1), 0.0)
    return np.asarray(np.sqrt(noise[lags.first] * noise[lags.second]))


def _light_correlation(
    channels: Sequence[Channel], lags: copula.Lags, scores: FloatArray, block: IntArray
) -> FloatArray:
    """Correlation of the light's normal scores, from all blocks and with each left out; (n_laws, n_labels)."""
    blocks = np.unique(block)
    sums = np.stack([lags.sums(scores[block == b].T @ scores[block == b]) for b in blocks])
    sizes = np.array([np.count_nonzero(block == b) for b in blocks], dtype=np.float64)
    totals = np.stack([scores[block == b].sum(axis=0) for b in blocks])
    tables = [
        [(m.weight, pixel_table(m, c.law.light_e)) for m in measured(c.sensor, (), c.highest_e)] for c in channels
    ]
    out = []
    for law in range(channels[0].law.weights.shape[1] - 1):
        kept = (np.arange(1, blocks.size + 1) != law) | (blocks.size == 1)
        # Scores have mean 0 and variance 1 over all frames, and not without some of them.
        mean = totals[kept].sum(axis=0) / sizes[kept].sum()
        level = np.array([mean[lags.place == c].mean() for c in range(len(channels))])
        codes = sums[kept].sum(axis=0) / (sizes[kept].sum() * lags.counts) - level[lags.first] * level[lags.second]
        own = lags.self_pair
        power = np.array([codes[own & (lags.first == c)].mean() for c in range(len(channels))])
        codes = codes / np.sqrt(power[lags.first] * power[lags.second])
        reliability, shared = _reliability(channels, tables, law)
        codes = codes - _noise_share(lags, reliability) * _shared_noise(lags, shared)
        light = copula.light_from_codes(copula.product_of(lags, reliability), codes)
        out.append(np.where(lags.self_pair, 1.0, light))
    return np.stack([*out, out[0]])


def _lowest_charge(sensor: Sensor, data: Measurements) -> float:
    """Below every charge that the codes stand for; 0 with shot noise."""
    camera = sensor.camera
    if camera.kind != "gaussian":
        return 0.0
    darkest = float(np.min(data.patches.codes)) - float(camera.offset_dn)
    return min(darkest / float(camera.system_gain_dn_per_e), 0.0) - 8 * float(camera.read_noise_e)


def _blocks(data: Measurements, seed: int) -> IntArray:
    """Block of every patch: whole frames together."""
    _, member = np.unique(data.patches.frame_index, return_inverse=True)
    n_groups = int(member.max()) + 1
    order = np.random.default_rng([seed, 4]).permutation(n_groups)
    return np.asarray((order % min(_MOST_BLOCKS, n_groups))[member], dtype=np.int64)


def _codes(data: Measurements, sensors: Sequence[Sensor], place: IntArray, layout: Any) -> IntArray:
    """Codes on one axis for all pixels of a channel, (n_patches, p*p)."""
    patches, size = data.patches, data.patches.patch_size
    out = np.empty(patches.codes.shape, dtype=np.int64)
    for number, sensor in enumerate(sensors):
        shift = sensor.shift_dn
        here = np.broadcast_to(place == number, patches.codes.shape)
        if np.ndim(shift):
            plane = np.asarray(shift)
            if layout is not None:
                section = list(layout.sections.values())[number]
                whole = np.zeros(tuple(np.max(data.positions[:, 1:], axis=0) + size))
                whole[section.index] = plane[: whole[section.index].shape[0], : whole[section.index].shape[1]]
                plane = whole
            shift = crop_to_patches(plane, data.positions, size)
        camera = sensor.camera
        if camera.bit_depth is None:
            scale = measured(sensor, (), 1.0)[0]
            moved = np.floor((patches.codes - shift) * scale.codes_per_dn + float(scale.model.camera.offset_dn) + 0.5)
        else:
            inside = (patches.codes > camera.black_clip_dn) & (patches.codes < camera.white_clip_dn)
            moved = patches.codes.astype(np.int64) - np.where(inside, shift, 0.0)
            moved = np.clip(moved, camera.black_clip_dn, camera.white_clip_dn)
        out[here] = moved.astype(np.int64)[here]
    return out.reshape(patches.n_patches, -1)


def _normal_scores(codes: IntArray) -> FloatArray:
    """Normal scores of codes, variance 1 over all of them; ties share their mean."""
    first = int(codes.min())
    mass = np.bincount(codes.ravel() - first).astype(np.float64)
    score = normal_means(mass, 1)[0]
    spread = float(np.sqrt(mass @ score**2 / mass.sum()))
    return np.asarray((score / spread if spread > 0 else score)[codes - first])


def _channel(
    name: str, sensor: Sensor, codes: IntArray, block: IntArray, share: float, penalty: float | None
) -> Channel:
    """The law of light of one channel from its codes, (n_patches, n_pixels)."""
    camera = sensor.camera
    base = measured(sensor, (), 1.0)[0] if camera.bit_depth is None else None
    offset = float(base.model.camera.offset_dn) if base else float(np.mean([p.offset_dn for p in sensor.pixels]))
    fine = base.codes_per_dn if base else 1
    first, last = int(codes.min()), int(codes.max())
    gain = float(camera.system_gain_dn_per_e)
    ends = camera.response.inverse((np.array([first, last]) - offset) / fine) / gain
    top = camera.response.full_well_dn
    high = float(ends[1]) if np.isfinite(ends[1]) else float(top or 0.0) / gain
    clipped = camera.bit_depth is not None and last >= camera.white_clip_dn
    read = max(float(np.mean([p.read_noise_e for p in sensor.pixels])), 0.3)
    shot = camera.kind != "gaussian"
    high *= _ABOVE_SATURATION if clipped or (top is not None and high >= top / gain) else 1.0
    high += 3.0 * float(np.sqrt((max(high, 0.0) if shot else 0.0) + read**2))
    dark = min(p.dark_e for p in sensor.pixels)
    low = float(ends[0]) - 4 * float(np.sqrt((max(float(ends[0]), 0.0) if shot else 0.0) + read**2)) - dark
    low = max(low, 0.0) if shot else low
    nodes = light_nodes(low, max(high, low + 4.0), shot=shot, read_noise_e=read)
    cameras = measured(sensor, (), high)
    blocks = np.unique(block)
    counts = np.stack(
        [np.bincount(codes[block == b].ravel() - first, minlength=last - first + 1) for b in blocks]
    ).astype(np.float64)
    group = _law_groups(cameras[0].model.camera, first, last)
    grouped = np.stack([np.bincount(group, weights=row, minlength=int(group[-1]) + 1) for row in counts]).astype(
        np.float64
    )
    table = pooled_table(cameras, nodes, first, group)
    law = fit_smooth_law(grouped, table, nodes, shot=shot, noise_variance_e2=max(read**2, 0.05), penalty=penalty)
    return Channel(name, sensor, law, share, high)


def _law_groups(camera: Any, first: int, last: int) -> IntArray:
    """Codes together within a sixth of the noise: enough for the law of light."""
    codes = np.arange(first, last + 1, dtype=np.float64)
    if codes.size < 500:
        return np.arange(codes.size)
    own = camera
    u = own.response.inverse(codes - float(own.offset_dn))
    top = own.response.full_well_dn
    charge = np.where(np.isfinite(u), u, 0.0 if top is None else top) / float(own.system_gain_dn_per_e)
    charge[(codes <= own.black_clip_dn) | (codes >= own.white_clip_dn)] = np.inf
    return group_codes(charge, float(own.read_noise_e) ** 2, poisson=own.kind != "gaussian", width=1 / 6)
