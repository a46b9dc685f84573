"""Square patches of raw codes and the cells, in light units, that each code stands for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from calibrate.plumbing.errors import PhotonbitsError
from mi_eval.density.camera_cells import CameraCells

if TYPE_CHECKING:
    from mi_eval.density.camera import CameraTable

FloatArray = NDArray[np.float64]

# A float64 temporary of a chunk is 1 MB: it stays in the cache, and 50 of them are no burden.
CHUNK_PIXELS = 1 << 17


@dataclass(frozen=True)
class PatchSet:
    r"""Patches of codes with what is needed to turn a code into a cell of light.

    A density model sees light, :math:`v = (z - b_i) / g_i`, with :math:`b_i` the pixel's offset and
    :math:`g_i = 1 + \mathrm{prnu}_i` its relative response. The code :math:`z` stands for the cell

    .. math:: [(z - \Delta/2 - b_i)/g_i,\ (z + \Delta/2 - b_i)/g_i)

    with :math:`\Delta` = `lattice_dn`; the outermost codes reach to minus and plus infinity. Nothing is
    subtracted from the codes and rounded again. Edges are computed on demand, chunk by chunk, so a set
    costs its codes and (only with maps) two arrays of the same shape.

    Parameters
    ----------
    codes : (n_patches, p, p)
        Raw codes [DN]: integers for a lattice of 1 DN, multiples of the lattice (up to one common shift)
        otherwise, any real values when `lattice_dn` is None.
    frame_index : (n_patches,) int
        The frame that each patch was cut from.
    noise_variance_dn2 : float
        Mean temporal noise variance in light units [DN^2], rounding included. Floors eigenvalues.
    offset_dn, relative_response : float or (n_patches, p, p)
        :math:`b_i` [DN] and :math:`g_i` (positive).
    black_clip_dn, white_clip_dn : float or None
        The outermost codes, whose cells are open; None: not clipped on that side.
    lattice_dn : float or None
        Distance of neighbouring codes [DN]; None for real-valued measurements.
    camera : CameraTable or None
        Noise at every light, for families that know of it; without it noise is the same at all light.
    place_class : (p, p) int or None
        Number of the channel (colour filter) at each place of a patch, the same in all patches; None for one channel.
    cells : CameraCells or None
        The noise models of all pixels, for families that use the exact probabilities of codes.

    Raises
    ------
    PhotonbitsError
        Patches that are not square, lengths that disagree, values that are not finite, codes outside
        the clip codes, a response that is not positive.
    """

    codes: NDArray[Any]
    frame_index: NDArray[np.int64]
    noise_variance_dn2: float
    offset_dn: float | FloatArray = 0.0
    relative_response: float | FloatArray = 1.0
    black_clip_dn: float | None = None
    white_clip_dn: float | None = None
    lattice_dn: float | None = 1.0
    camera: CameraTable | None = None
    place_class: NDArray[np.int64] | None = None
    cells: CameraCells | None = None

    def __post_init__(self) -> None:
        shape = self.codes.shape
        if len(shape) != 3 or shape[1] != shape[2] or 0 in shape:
            raise PhotonbitsError(
                f"patches have shape {shape}", where="codes", legal="(n_patches, p, p), none of them 0"
            )
        if self.frame_index.shape != shape[:1]:
            raise PhotonbitsError(
                f"{self.frame_index.shape} frame indices for {shape[0]} patches",
                where="frame_index",
                legal="one index for each patch",
            )
        if not (np.isfinite(self.noise_variance_dn2) and self.noise_variance_dn2 >= 0):
            raise PhotonbitsError(
                f"noise variance {self.noise_variance_dn2} DN^2",
                where="noise_variance_dn2",
                legal="0 or more",
            )
        if self.lattice_dn is not None and not self.lattice_dn > 0:
            raise PhotonbitsError(f"lattice {self.lattice_dn} DN", where="lattice_dn", legal="above 0, or None")
        if self.codes.dtype.kind not in "iuf" or not np.all(np.isfinite(self.codes)):
            raise PhotonbitsError(
                f"codes of dtype {self.codes.dtype} that are not all finite real numbers", where="codes"
            )
        for name in ("offset_dn", "relative_response"):
            array = np.asarray(getattr(self, name))
            if array.ndim and array.shape != shape:
                raise PhotonbitsError(
                    f"shape {array.shape}", where=name, legal=f"a number or an array of shape {shape}"
                )
            if not np.all(np.isfinite(array)):
                raise PhotonbitsError("a value that is not finite", where=name)
        if self.place_class is not None and self.place_class.shape != shape[1:]:
            raise PhotonbitsError(f"shape {self.place_class.shape}", where="place_class", legal=f"{shape[1:]}")
        if np.min(self.relative_response) <= 0:
            raise PhotonbitsError(
                f"relative response {np.min(self.relative_response)}",
                where="relative_response",
                legal="above 0",
                remedy="Leave dead pixels out of the patches",
            )
        low, high = self.codes.min(), self.codes.max()
        if (self.black_clip_dn is not None and low < self.black_clip_dn) or (
            self.white_clip_dn is not None and high > self.white_clip_dn
        ):
            raise PhotonbitsError(
                f"codes from {low} to {high}",
                where="codes",
                legal=f"{self.black_clip_dn} to {self.white_clip_dn}, the clip codes of the noise model",
                remedy="Score frames with the model of the camera that took them",
            )

    @property
    def n_patches(self) -> int:
        """Number of patches."""
        return int(self.codes.shape[0])

    @property
    def patch_size(self) -> int:
        """Side of a patch, p [pixels]."""
        return int(self.codes.shape[1])

    @property
    def n_pixels(self) -> int:
        """Pixels in one patch."""
        return self.patch_size**2

    @property
    def discrete(self) -> bool:
        """Whether measurements are codes of a lattice."""
        return self.lattice_dn is not None

    @property
    def rounding_variance_dn2(self) -> float:
        """Variance of the rounding error, lattice^2 / 12 [DN^2]; 0 for real-valued measurements."""
        return 0.0 if self.lattice_dn is None else self.lattice_dn**2 / 12

    @property
    def value_dn(self) -> FloatArray:
        """Finite representative of each code, (n_patches, p, p), in light units: the centre of its cell."""
        return np.asarray((self.codes - self.offset_dn) / self.relative_response, dtype=np.float64)

    @property
    def lower_dn(self) -> FloatArray:
        """Lower edge of each code's cell in light units, minus infinity for the black clip code."""
        return self._edge(-0.5, self.black_clip_dn, -np.inf)

    @property
    def upper_dn(self) -> FloatArray:
        """Upper edge of each code's cell in light units, plus infinity for the white clip code."""
        return self._edge(0.5, self.white_clip_dn, np.inf)

    def _edge(self, side: float, clip_dn: float | None, beyond: float) -> FloatArray:
        if self.lattice_dn is None:
            raise ValueError("real-valued measurements have no cells: ask for value_dn")
        edge = np.asarray(
            (self.codes + side * self.lattice_dn - self.offset_dn) / self.relative_response, dtype=np.float64
        )
        if clip_dn is not None:
            edge[self.codes == clip_dn] = beyond
        return edge

    def is_open(self) -> NDArray[np.bool_]:
        """Where a code's cell is open, (n_patches, p, p)."""
        outside = np.zeros(self.codes.shape, dtype=bool)
        if self.discrete:
            for clip_dn in (self.black_clip_dn, self.white_clip_dn):
                if clip_dn is not None:
                    outside |= self.codes == clip_dn
        return outside

    def log2_response(self) -> FloatArray:
        r""":math:`\log_2 g_i`, (n_patches, p*p): bits to add to those of a density per unit of light."""
        response = np.broadcast_to(np.asarray(self.relative_response, dtype=np.float64), self.codes.shape)
        return np.asarray(np.log2(response).reshape(self.n_patches, -1))

    def take(self, which: slice | NDArray[np.integer[Any]]) -> PatchSet:
        """Return the patches that `which` selects."""
        arrays: dict[str, Any] = {
            name: value[which]
            for name in ("offset_dn", "relative_response")
            if isinstance(value := getattr(self, name), np.ndarray) and value.ndim
        }
        if self.cells is not None:
            arrays["cells"] = self.cells.take(which)
        return replace(self, codes=self.codes[which], frame_index=self.frame_index[which], **arrays)

    def chunks(self) -> Iterator[PatchSet]:
        """Yield the set in pieces of at most `CHUNK_PIXELS` pixels (at least one patch)."""
        size = max(1, CHUNK_PIXELS // self.n_pixels)
        for start in range(0, self.n_patches, size):
            yield self.take(slice(start, start + size))

    def thinned(self, max_pixels: int) -> PatchSet:
        """Return the whole set when it is small enough, else evenly spaced patches of it."""
        keep = max(1, max_pixels // self.n_pixels)
        if self.n_patches <= keep:
            return self
        return self.take(np.linspace(0, self.n_patches - 1, keep).round().astype(np.int64))
