"""NoiseModel: what one sensor does to light, with the record of how it was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibrate.noise_model import evaluate, tables
from calibrate.noise_model.camera import Camera, Kind, check_charge
from calibrate.noise_model.channels import (
    ChannelModels,
    channel_models,
    combined_document,
    interleaved_maps,
    without_channels,
)
from calibrate.noise_model.credibility import credible_map
from calibrate.noise_model.defect_kinds import unusable_pixels
from calibrate.noise_model.given import READOUT_MAPS, given_values
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.plumbing.hashing import sha256_of_file
from calibrate.response import Response
from calibrate.schema import (
    DifferenceEntry,
    FitEntry,
    NoiseModelDocument,
    NonlinearityEntry,
    ParameterEntry,
)
from calibrate.sections import ChannelLayout, cfa_layout
from calibrate.store import DEFECTS, Maps, read_document, write_document

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class NoiseModel:
    """A camera model with its uncertainties.

    ``y_e`` given to any method is collected charge in electrons: light times photo-response plus dark charge.
    With maps the last two axes of the data must be the maps' (height, width). With channels (colour filters, taps)
    they are a frame, and every pixel is measured by its own channel's camera.

    Parameters
    ----------
    camera : Camera
        The scalars (with maps: their averages over good pixels; with channels: over all of them).
    document : NoiseModelDocument
        Everything the file holds, uncertainties and provenance included.
    maps : dict of ndarray (height, width) or None
        ``offset_dn``, ``read_noise_e``, ``system_gain_dn_per_e``, ``prnu``, ``dark_current_e_per_s`` and, where
        measured, the standard error of each as ``NAME_std``, and ``defects`` (uint8).
    path, sha256
        The file it came from, None before it was saved.
    """

    camera: Camera
    document: NoiseModelDocument
    maps: Maps | None = None
    path: Path | None = None
    sha256: str | None = None
    _pixel_camera: Camera = field(init=False, repr=False, compare=False)
    _channels: ChannelModels | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_channels", channel_models(self.document, self.maps, NoiseModel.from_document))
        pixel: dict[str, Any] = self.readout_maps if self._channels is None else {}
        object.__setattr__(self, "_pixel_camera", replace(self.camera, **pixel) if pixel else self.camera)

    # ---- making, loading, saving -------------------------------------------------------------------------

    @classmethod
    def from_parameters(
        cls,
        *,
        kind: Kind = "poisson-gaussian",
        system_gain_dn_per_e: float,
        read_noise_e: float = 0.0,
        offset_dn: float = 0.0,
        bit_depth: int | None = None,
        white_clip_dn: int | None = None,
        black_clip_dn: int | None = None,
        full_well_e: float | None = None,
        response: Response | Mapping[str, Any] | None = None,
        maps: Mapping[str, ArrayLike] | None = None,
        dark_current_e_per_s: float | None = None,
    ) -> NoiseModel:
        """Noise model of given numbers, flagged ``not_measured``.

        Parameters
        ----------
        kind : {"poisson-gaussian", "poisson", "gaussian"}
        system_gain_dn_per_e : float
            DN per electron, above 0.
        read_noise_e : float
            Electrons, before rounding.
        offset_dn : float
        bit_depth : int or None
            None for real-valued measurements: no rounding, no clipping.
        white_clip_dn, black_clip_dn : int or None
            Default 2^bit_depth - 1 and 0.
        full_well_e : float or None
            Charge at which the response flattens.
        response : Response or mapping, optional
            ``coefficients``, ``scale_dn`` and, polynomial where absent, ``form``. Linear where None.
        maps : mapping of arrays (height, width), optional
            See the class.
        dark_current_e_per_s : float or None

        Raises
        ------
        PhotonbitsError
            For a value outside its legal range, or maps of different shapes.
        """
        camera, document, arrays = given_values(
            kind=kind,
            system_gain_dn_per_e=system_gain_dn_per_e,
            read_noise_e=read_noise_e,
            offset_dn=offset_dn,
            bit_depth=bit_depth,
            white_clip_dn=white_clip_dn,
            black_clip_dn=black_clip_dn,
            full_well_e=full_well_e,
            response=response,
            maps=maps,
            dark_current_e_per_s=dark_current_e_per_s,
        )
        return cls(camera, document, arrays)

    @classmethod
    def from_document(cls, document: NoiseModelDocument, maps: Maps | None = None) -> NoiseModel:
        """Noise model of a checked document."""
        values = document.parameters

        def number(name: str, default: float) -> float:
            entry = values.get(name)
            return entry.value if isinstance(entry, ParameterEntry) else default

        curve = values.get("nonlinearity")
        response = Response()
        if isinstance(curve, NonlinearityEntry):
            response = Response(curve.form, curve.coefficients, curve.scale_dn)
        gain = number("system_gain_dn_per_e", 0.0)
        if "full_well_e" in values:
            response = replace(response, full_well_dn=gain * number("full_well_e", 0.0))
        bit_depth = document.sensor.bit_depth
        camera = Camera(
            kind=document.kind,
            system_gain_dn_per_e=gain,
            read_noise_e=number("read_noise_e", 0.0),
            offset_dn=number("offset_dn", 0.0),
            bit_depth=bit_depth,
            black_clip_dn=round(number("black_clip_dn", 0.0)),
            white_clip_dn=round(number("white_clip_dn", 0.0 if bit_depth is None else 2.0**bit_depth - 1)),
            response=response,
        )
        return cls(camera, document, maps)

    @classmethod
    def from_channels(
        cls,
        models: Mapping[str, NoiseModel],
        layout: ChannelLayout | str,
        *,
        shape: tuple[int, int] | None = None,
        fit: FitEntry | None = None,
        differences: Mapping[str, DifferenceEntry] | None = None,
    ) -> NoiseModel:
        """Noise model of a sensor with channels, from one model for each.

        Parameters
        ----------
        models : mapping of str to NoiseModel
            By channel: R, Gr, Gb and B for a Bayer mosaic, else the layout's names.
        layout : ChannelLayout or str
            A mosaic by its pattern, as ``"RGGB"``.
        shape : (height, width), optional
            Of the frames; needed for maps, and where the layout does not say it.
        fit, differences : optional
            How the whole was found (default: as the first channel), and tests of whether the channels differ.

        Raises
        ------
        PhotonbitsError
            If channels are missing, or are of different kinds or bit depths.
        """
        layout = cfa_layout(layout) if isinstance(layout, str) else layout
        layout.check_cover()
        if set(models) != set(layout.names):
            raise PhotonbitsError(f"models of channels {', '.join(models)}", legal=", ".join(layout.names))
        shape = shape or layout.shape
        documents = {name: models[name].document for name in layout.names}
        entry = fit or documents[layout.names[0]].fit
        document = combined_document(documents, layout, shape, entry, differences)
        maps = None if shape is None else interleaved_maps({n: m.maps for n, m in models.items()}, layout, shape)
        return cls.from_document(document, maps)

    @classmethod
    def load(cls, path: str | Path) -> NoiseModel:
        """Read a noise-model YAML and the maps beside it.

        Raises
        ------
        PhotonbitsError
            If the file or its maps are missing, unreadable, of an unknown version, or hold illegal values.
        """
        path = Path(path)
        document, maps = read_document(path)
        try:
            model = cls.from_document(document, maps)
        except PhotonbitsError as error:
            raise PhotonbitsError(error.what, where=path, legal=error.legal, remedy=error.remedy) from error
        return replace(model, path=path, sha256=sha256_of_file(path))

    def save(
        self, path: str | Path, *, overwrite: bool = True, also: Mapping[Path, bytes] | None = None
    ) -> NoiseModelDocument:
        """Write the YAML, the maps as ``STEM_maps.npz`` beside it, and the files ``also``; all or nothing.

        Returns the record as written.
        """
        return write_document(self.document, Path(path), self.maps, overwrite=overwrite, also=dict(also or {}))

    # ---- numbers -----------------------------------------------------------------------------------------

    def parameter(self, name: str) -> ParameterEntry | None:
        """Value, standard error and unit of a scalar parameter; None where the model does not hold it."""
        entry = self.document.parameters.get(name)
        return entry if isinstance(entry, ParameterEntry) else None

    @property
    def bit_depth(self) -> int | None:
        """Bits per code; None for real-valued measurements."""
        return self.camera.bit_depth

    @property
    def channel_layout(self) -> ChannelLayout | None:
        """Which pixels belong to which channel; None for a sensor without channels."""
        return None if self._channels is None else self._channels.layout

    def channel(self, name: str, *, maps: bool = False) -> NoiseModel:
        """The model of one channel: its scalars, or with ``maps`` those of its own pixels as well.

        Raises
        ------
        PhotonbitsError
            If the model has no channel of that name.
        """
        if self._channels is None or name not in self._channels.models:
            legal = "none: the model has no channels" if self._channels is None else ", ".join(self._channels.models)
            raise PhotonbitsError(f"channel {name!r}", where=self.path, legal=legal)
        model = self._channels.models[name]
        return model if maps else replace(model, maps=None)

    @property
    def readout_maps(self) -> Maps:
        """Maps that the pixels' cameras are made of: each the best guess where the map states its error.

        ``system_gain_dn_per_e`` and ``read_noise_e`` with errors are drawn towards their means (`credible_map`), and
        absent where the scalar is as good; ``offset_dn`` and maps without errors are as measured. With channels each
        is drawn towards its own channel's mean.
        """
        if self._channels is not None:
            return self._channels.readout_maps(self.map_shape)
        maps = self.maps or {}
        out: Maps = {}
        for name in READOUT_MAPS:
            if name not in maps:
                continue
            values, std = maps[name], maps.get(name + "_std")
            if std is None or name == "offset_dn":
                out[name] = values
                continue
            good = None if self.defects is None else self.defects == 0
            scalar = float(getattr(self.camera, name))
            guess, _ = credible_map(values, std, scalar, good, robust=name == "system_gain_dn_per_e")
            if guess is not None:
                out[name] = guess
        return out

    @property
    def defects(self) -> NDArray[np.uint8] | None:
        """Mask of defective pixels (height, width), a bit for each of `DEFECT_KINDS`; None where not looked for."""
        return (self.maps or {}).get(DEFECTS)

    @property
    def unusable_pixels(self) -> NDArray[np.bool_] | None:
        """Pixels whose codes say nothing about the light (cold, stuck); None without a defect map."""
        return None if self.defects is None else unusable_pixels(self.defects)

    @property
    def map_shape(self) -> tuple[int, int] | None:
        """(height, width) of the maps; None without maps."""
        if not self.maps:
            return None
        height, width = next(iter(self.maps.values())).shape
        return height, width

    def with_parameters(self, **changes: float | Response) -> NoiseModel:
        """The same model with other camera scalars, for sensitivities: no maps, no channels, the record kept."""
        camera = replace(self.camera, **changes)  # type: ignore[arg-type]
        return NoiseModel(camera, without_channels(self.document), None)

    # ---- the distribution of a measurement ----------------------------------------------------------------

    def sample(self, y_e: ArrayLike, rng: np.random.Generator) -> NDArray[np.generic]:
        """Measure the charge ``y_e`` once: uint16 codes up to 16 bit, uint32 above, float64 without rounding.

        Raises
        ------
        PhotonbitsError
            If a charge is negative (with shot noise) or not finite, does not fit the maps or the channels, or ``rng``
            is no Generator.
        """
        if not isinstance(rng, np.random.Generator):
            raise PhotonbitsError(f"rng is {rng!r}", legal="a numpy Generator, as numpy.random.default_rng(0)")
        y = np.asarray(y_e, dtype=np.float64)
        self._check(y)
        if self._channels is not None:
            return self._channels.evaluate(lambda model, part: model.sample(part, rng), y.shape, y)
        return self._pixel_camera.sample(y, rng)

    def log_pmf(self, z_dn: ArrayLike, y_e: ArrayLike) -> FloatArray:
        """Natural log of P(Z = z | Y = y); a density per DN where ``bit_depth`` is None.

        ``z_dn`` and ``y_e`` broadcast. Codes that cannot occur (outside the clips, or fractional) give -inf.
        """
        z = np.asarray(z_dn, dtype=np.float64)
        y = np.asarray(y_e, dtype=np.float64)
        self._check(np.broadcast_to(y, np.broadcast_shapes(z.shape, y.shape)), y)
        if self._channels is not None:
            return self._channels.evaluate(NoiseModel.log_pmf, np.broadcast_shapes(z.shape, y.shape), z, y)
        camera = self._pixel_camera
        parameters = (camera.system_gain_dn_per_e, camera.read_noise_e, camera.offset_dn)
        shape = np.broadcast_shapes(z.shape, y.shape, *(np.shape(p) for p in parameters))
        z, y = np.broadcast_to(z, shape), np.broadcast_to(y, shape)
        if camera.bit_depth is None:
            return evaluate.log_density(camera, z, y)
        possible = (z == np.floor(z)) & (z >= camera.black_clip_dn) & (z <= camera.white_clip_dn)
        code = np.where(possible, z, camera.black_clip_dn)
        lower, upper = camera.thresholds_e(code), camera.thresholds_e(code + 1)
        r = np.broadcast_to(np.asarray(camera.read_noise_e, dtype=np.float64), shape)
        flat = [np.broadcast_to(a, shape).ravel() for a in (lower, upper, y, r)]
        out = np.where(possible, evaluate.log_cells(camera.kind, *flat).reshape(shape), -np.inf)
        return np.minimum(out, 0.0)  # at 1e4 electrons the log-gamma function leaves 1e-11

    def mean_dn(self, y_e: ArrayLike) -> FloatArray:
        """E[Z | y] in DN, rounding and clipping in; the shape of ``y_e``."""
        return self._moments(y_e, 0)

    def variance_dn2(self, y_e: ArrayLike) -> FloatArray:
        """Var[Z | y] in DN^2, rounding and clipping in; the shape of ``y_e``."""
        return self._moments(y_e, 1)

    def conditional_entropy_bits(self, y_e: ArrayLike) -> FloatArray:
        """H(Z | Y = y) in bits (differential where ``bit_depth`` is None); the shape of ``y_e``.

        Notes
        -----
        Exact rows up to 4096 different charges; above that a cubic spline through 4096 exact rows in sqrt(y),
        which agrees to better than 1e-5 bit. With maps, pixels of like offset phase, gain and read noise
        share a row: classes of read noise 4 % wide, interpolated within; 1.4e-4 bit at most.
        """
        y = np.asarray(y_e, dtype=np.float64)
        self._check(y)
        if self._channels is not None:
            return self._channels.evaluate(NoiseModel.conditional_entropy_bits, y.shape, y)
        if self._pixel_camera.is_scalar:
            limit = evaluate.row_limit(self.camera, y)
            rows = evaluate.over_charges(y, lambda q: tables.entropies_bits(self.camera, q)[None], limit=limit)
            return np.asarray(rows[0])
        return evaluate.entropies_by_pixel_class(self._pixel_camera, y)

    def code_table(self, y_e: ArrayLike) -> tables.CodeTable:
        """p(z | y) at the charges ``y_e`` (one-dimensional) of the camera's scalars, maps and channels left aside."""
        return tables.code_table(self.camera, np.asarray(y_e, dtype=np.float64))

    # ---- private ------------------------------------------------------------------------------------------

    def _check(self, grid: FloatArray, y: FloatArray | None = None) -> None:
        check_charge(grid if y is None else y, self.camera.kind)
        shape = self.map_shape
        if shape is not None and grid.shape[-2:] != shape:
            raise PhotonbitsError(
                f"data of shape {grid.shape} with maps of shape {shape}",
                legal=f"last two axes {shape}",
                remedy="Use frames of the calibrated size, or a model without maps",
            )

    def _moments(self, y_e: ArrayLike, order: int) -> FloatArray:
        """The mean (``order`` 0) or the variance (1)."""
        y = np.asarray(y_e, dtype=np.float64)
        self._check(y)
        if self._channels is not None:
            return self._channels.evaluate(lambda model, part: model._moments(part, order), y.shape, y)
        camera = self.camera
        if camera.bit_depth is None:
            return evaluate.continuous_moments(self._pixel_camera, y)[order]
        if self._pixel_camera.is_scalar:
            limit = evaluate.row_limit(camera, y)
            both = evaluate.over_charges(y, lambda values: np.stack(tables.moments(camera, values)), limit=limit)
            return np.asarray(both[order])
        return evaluate.pixel_moments(self._pixel_camera, y)[order]
