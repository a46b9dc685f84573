"""What one pixel tells about its light: exact tables, many laws of light at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import entr

from mi_eval.budget.light import normal_means
from mi_eval.budget.parts import Measured
from mi_eval.charge_grid import class_tables, group_codes

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_MANY_CODES = 6000
_GROUP_WIDTH = 1 / 20  # standard deviations of the blur: 0.0002 bit


@dataclass(frozen=True)
class PixelTable:
    """p(group of codes | light) of one camera.

    Parameters
    ----------
    pmf : csr_array (n_nodes, n_groups)
    first_code : int
        Code of the first entry of ``group``.
    group : ndarray (n_codes,)
    noise_share_row, noise_share_frame : ndarray (n_nodes,)
        Share of the codes' variance, given the light, that rows and frames have in common.
    """

    pmf: sparse.csr_array
    first_code: int
    group: IntArray
    noise_share_row: FloatArray
    noise_share_frame: FloatArray

    def information_bits(self, weights: FloatArray) -> FloatArray:
        """I(Y;Z) of one pixel under each law, bits, (n_laws,); weights (n_nodes, n_laws)."""
        marginal = self.pmf.T @ weights
        noise = np.asarray(_row_entropies(self.pmf) @ weights)
        return np.asarray(np.sum(entr(marginal), axis=0) / np.log(2) - noise)

    def scores(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Normal score of each group under one law, (n_groups,), with unit variance, and the groups' probabilities."""
        mass = np.asarray(self.pmf.T @ weights)
        score = normal_means(mass, 1)[0]
        spread = float(np.sqrt(mass @ score**2))
        return (score / spread if spread > 0 else score), mass

    def reliability(self, weights: FloatArray, hermite: FloatArray) -> FloatArray:
        """Mean products of the code's normal score with Hermite polynomials of the latent one, (order,)."""
        score, _ = self.scores(weights)
        return np.asarray(hermite @ (weights * (self.pmf @ score)))


def pixel_table(camera: Measured, light_e: FloatArray) -> PixelTable:
    """Tabulate a camera at the light ``light_e`` (n_nodes,), electrons, increasing."""
    model, charge = camera.model, light_e * camera.response + camera.dark_e
    kind, read = model.camera.kind, float(model.camera.read_noise_e)
    black, white = int(model.camera.black_clip_dn), int(model.camera.white_clip_dn)
    group = np.arange(white - black + 1)
    if group.size > _MANY_CODES:
        codes = black + np.arange(group.size, dtype=np.float64)
        response = model.camera.response
        u = response.inverse(codes - float(model.camera.offset_dn))
        top = response.full_well_dn
        u = np.where(np.isfinite(u), u, 0.0 if top is None else top)
        seen = u / float(model.camera.system_gain_dn_per_e)
        seen[[0, -1]] = -np.inf, np.inf
        group = group_codes(seen, read**2, poisson=kind != "gaussian", width=_GROUP_WIDTH)
    tables, _ = class_tables(
        [model], [0], [1.0], charge, black, group.astype(np.int64), response_error=camera.response_error
    )
    shot = np.zeros_like(charge) if kind == "gaussian" else charge + (camera.response_error * charge) ** 2
    variance = np.maximum(shot + read**2, 1e-12)
    # Rounding is the reader's: 1/12 DN^2 beside the noise of the pixel.
    variance = variance + 1 / 12 / float(model.camera.system_gain_dn_per_e) ** 2
    return PixelTable(
        tables[0],
        black,
        group.astype(np.int64),
        camera.shared_row_e**2 / variance,
        camera.shared_frame_e**2 / variance,
    )


def pooled_table(cameras: list[Measured], light_e: FloatArray, first_code: int, group: IntArray) -> sparse.csr_array:
    """p(group | light) of a pixel drawn from all, for codes of one axis and given groups of them."""
    total: sparse.csr_array | None = None
    for camera in cameras:
        charge = light_e * camera.response + camera.dark_e
        tables, _ = class_tables(
            [camera.model], [0], [camera.weight], charge, first_code, group, response_error=camera.response_error
        )
        total = tables[0] if total is None else sparse.csr_array(total + tables[0])
    if total is None:
        raise ValueError("no camera")
    return total


def _row_entropies(pmf: sparse.csr_array) -> FloatArray:
    row = np.repeat(np.arange(pmf.shape[0]), np.diff(pmf.indptr))
    return np.asarray(np.bincount(row, weights=entr(pmf.data), minlength=pmf.shape[0]) / np.log(2))
