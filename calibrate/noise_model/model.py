"""NoiseModel: what one sensor does to light, with the record of how it was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibrate.flags import flag
from calibrate.noise_model import evaluate, tables
from calibrate.noise_model.camera import Camera, Kind, check_charge
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.plumbing.hashing import sha256_of_file
from calibrate.response import Response
from calibrate.schema import (
    PARAMETERS,
    SCHEMA_NAME,
    SCHEMA_VERSION,
    FitEntry,
    NoiseModelDocument,
    NonlinearityEntry,
    ParameterEntry,
)
from calibrate.store import Maps, read_document, write_document

FloatArray = NDArray[np.float64]

#: Maps that the measurement itself needs; `prnu` and `dark_current_e_per_s` act before charge is collected.
READOUT_MAPS = ("system_gain_dn_per_e", "read_noise_e", "offset_dn")


@dataclass(frozen=True)
class NoiseModel:
    """A camera model with its uncertainties.

    ``y_e`` given to any method is collected charge in electrons: light times photo-response plus dark charge.
    With maps the last two axes of the data must be the maps' (height, width).

    Parameters
    ----------
    camera : Camera
        The scalars (with maps: their averages over good pixels).
    document : NoiseModelDocument
        Everything the file holds, uncertainties and provenance included.
    maps : dict of ndarray (height, width) or None
        ``offset_dn``, ``read_noise_e``, ``system_gain_dn_per_e``, ``prnu``, ``dark_current_e_per_s`` and, where
        measured, the standard error of each as ``NAME_std``.
    path, sha256
        The file it came from, None before it was saved.
    """

    camera: Camera
    document: NoiseModelDocument
    maps: Maps | None = None
    path: Path | None = None
    sha256: str | None = None
    _pixel_camera: Camera = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        pixel: dict[str, Any] = {name: self.maps[name] for name in READOUT_MAPS if self.maps and name in self.maps}
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
        response : Response or mapping with ``coefficients`` and ``scale_dn``, optional
            Linear where None.
        maps : mapping of arrays (height, width), optional
            See the class.
        dark_current_e_per_s : float or None

        Raises
        ------
        PhotonbitsError
            For a value outside its legal range, or maps of different shapes.
        """
        if response is None:
            response = Response()
        elif isinstance(response, Mapping):
            missing = [key for key in ("coefficients", "scale_dn") if key not in response]
            if missing:
                raise PhotonbitsError(
                    f"response has no {missing[0]}", legal="a Response, or a mapping with coefficients and scale_dn"
                )
            response = Response("polynomial", tuple(response["coefficients"]), float(response["scale_dn"]))
        elif not isinstance(response, Response):
            raise PhotonbitsError(
                f"response is {response!r}", legal="a Response, or a mapping with coefficients and scale_dn"
            )
        if full_well_e is not None:
            if not 0 < full_well_e < np.inf:
                raise PhotonbitsError(f"full_well_e is {full_well_e:g}", legal="a positive number of electrons")
            if not system_gain_dn_per_e > 0:
                raise PhotonbitsError(
                    f"system_gain_dn_per_e is {system_gain_dn_per_e:g}", legal="a finite number above 0, in DN/e-"
                )
            response = replace(response, full_well_dn=system_gain_dn_per_e * full_well_e)
        _check_given(bit_depth, white_clip_dn, black_clip_dn, dark_current_e_per_s)
        top = 0 if bit_depth is None else max(0, 2**bit_depth - 1)
        camera = Camera(
            kind=kind,
            system_gain_dn_per_e=float(system_gain_dn_per_e),
            read_noise_e=float(read_noise_e),
            offset_dn=float(offset_dn),
            bit_depth=bit_depth,
            black_clip_dn=0 if black_clip_dn is None else int(black_clip_dn),
            white_clip_dn=top if white_clip_dn is None else int(white_clip_dn),
            response=response,
        )
        values = {
            "system_gain_dn_per_e": camera.system_gain_dn_per_e,
            "offset_dn": camera.offset_dn,
            "read_noise_e": camera.read_noise_e,
        }
        if bit_depth is not None:
            values["black_clip_dn"] = camera.black_clip_dn
            values["white_clip_dn"] = camera.white_clip_dn
        if full_well_e is not None:
            values["full_well_e"] = full_well_e
        if dark_current_e_per_s is not None:
            values["dark_current_e_per_s"] = dark_current_e_per_s
        parameters: dict[str, Any] = {
            name: ParameterEntry(value=float(value), std=None, unit=PARAMETERS[name][0])
            for name, value in values.items()
        }
        if response.form == "polynomial":
            parameters["nonlinearity"] = NonlinearityEntry(
                form="polynomial",
                coefficients=response.coefficients,
                std=tuple(0.0 for _ in response.coefficients),
                scale_dn=response.scale_dn,
                unit="1",
            )
        arrays = _checked_maps(maps)
        shape = None if arrays is None else next(iter(arrays.values())).shape
        fit = FitEntry(method="given values", model="given", flags=(flag("not_measured"),))
        document = NoiseModelDocument.model_validate(
            {
                "schema": SCHEMA_NAME,
                "schema_version": SCHEMA_VERSION,
                "kind": kind,
                "sensor": {"bit_depth": bit_depth, "shape": shape},
                "parameters": parameters,
                "fit": fit,
            }
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
            response = Response("polynomial", curve.coefficients, curve.scale_dn)
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

    def save(self, path: str | Path, *, overwrite: bool = True, also: Mapping[Path, bytes] | None = None) -> None:
        """Write the YAML, the maps as ``STEM_maps.npz`` beside it, and the files ``also``; all or nothing."""
        write_document(self.document, Path(path), self.maps, overwrite=overwrite, also=dict(also or {}))

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
    def map_shape(self) -> tuple[int, int] | None:
        """(height, width) of the maps; None without maps."""
        if not self.maps:
            return None
        height, width = next(iter(self.maps.values())).shape
        return height, width

    def with_parameters(self, **changes: float | Response) -> NoiseModel:
        """The same model with other camera scalars, for sensitivities; maps are dropped, the record is kept."""
        return NoiseModel(replace(self.camera, **changes), self.document, None)  # type: ignore[arg-type]

    # ---- the distribution of a measurement ----------------------------------------------------------------

    def sample(self, y_e: ArrayLike, rng: np.random.Generator) -> NDArray[np.generic]:
        """Measure the charge ``y_e`` once: uint16 codes up to 16 bit, uint32 above, float64 without rounding.

        Raises
        ------
        PhotonbitsError
            If a charge is negative (with shot noise) or not finite, does not fit the maps, or ``rng`` is no Generator.
        """
        if not isinstance(rng, np.random.Generator):
            raise PhotonbitsError(f"rng is {rng!r}", legal="a numpy Generator, as numpy.random.default_rng(0)")
        y = np.asarray(y_e, dtype=np.float64)
        self._check(y)
        return self._pixel_camera.sample(y, rng)

    def log_pmf(self, z_dn: ArrayLike, y_e: ArrayLike) -> FloatArray:
        """Natural log of P(Z = z | Y = y); a density per DN where ``bit_depth`` is None.

        ``z_dn`` and ``y_e`` broadcast. Codes that cannot occur (outside the clips, or fractional) give -inf.
        """
        z = np.asarray(z_dn, dtype=np.float64)
        y = np.asarray(y_e, dtype=np.float64)
        self._check(np.broadcast_to(y, np.broadcast_shapes(z.shape, y.shape)), y)
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
        return self._moments(y_e)[0]

    def variance_dn2(self, y_e: ArrayLike) -> FloatArray:
        """Var[Z | y] in DN^2, rounding and clipping in; the shape of ``y_e``."""
        return self._moments(y_e)[1]

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
        if self._pixel_camera.is_scalar:
            limit = evaluate.row_limit(self.camera, y)
            rows = evaluate.over_charges(y, lambda q: tables.entropies_bits(self.camera, q)[None], limit=limit)
            return np.asarray(rows[0])
        return evaluate.entropies_by_pixel_class(self._pixel_camera, y)

    def code_table(self, y_e: ArrayLike) -> tables.CodeTable:
        """p(z | y) at the charges ``y_e`` (one-dimensional) of the camera's scalars, maps left aside."""
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

    def _moments(self, y_e: ArrayLike) -> tuple[FloatArray, FloatArray]:
        y = np.asarray(y_e, dtype=np.float64)
        self._check(y)
        camera = self.camera
        if camera.bit_depth is None:
            camera = self._pixel_camera
            return evaluate.continuous_moments(camera, y)
        if self._pixel_camera.is_scalar:
            limit = evaluate.row_limit(camera, y)
            both = evaluate.over_charges(y, lambda values: np.stack(tables.moments(camera, values)), limit=limit)
            return both[0], both[1]
        return evaluate.pixel_moments(self._pixel_camera, y)


def _check_given(
    bit_depth: object, white_clip_dn: float | None, black_clip_dn: float | None, dark_current_e_per_s: float | None
) -> None:
    """Raise PhotonbitsError for given values that neither the camera nor the file's schema would name clearly."""
    if bit_depth is not None and (isinstance(bit_depth, bool) or not isinstance(bit_depth, int | np.integer)):
        raise PhotonbitsError(f"bit_depth is {bit_depth!r}", legal="a whole number, 1 to 32, or None for real values")
    for name, code in (("white_clip_dn", white_clip_dn), ("black_clip_dn", black_clip_dn)):
        if code is None:
            continue
        if not float(code).is_integer():
            raise PhotonbitsError(f"{name} is {code:g}", legal="a whole number: a code of the converter")
        if bit_depth is None:
            raise PhotonbitsError(
                f"{name} is {code:g} without a bit_depth", legal="None: real-valued measurements do not clip"
            )
    if dark_current_e_per_s is not None and not 0 <= dark_current_e_per_s < np.inf:
        raise PhotonbitsError(
            f"dark_current_e_per_s is {dark_current_e_per_s:g}", legal="a finite number 0 or more, in e-/s"
        )


def _checked_maps(maps: Mapping[str, ArrayLike] | None) -> Maps | None:
    if not maps:
        return None
    arrays = {name: np.asarray(value, dtype=np.float64) for name, value in maps.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) != 1 or any(len(shape) != 2 for shape in shapes.values()):
        raise PhotonbitsError(f"maps have shapes {shapes}", legal="one (height, width) for all maps")
    known = (*READOUT_MAPS, "prnu", "dark_current_e_per_s")
    for name, array in arrays.items():
        if name.removesuffix("_std") not in known:
            raise PhotonbitsError(f"unknown map {name!r}", legal=", ".join(known) + " and NAME_std")
        if not np.all(np.isfinite(array)):
            raise PhotonbitsError(
                f"map {name} holds {int(np.sum(~np.isfinite(array)))} values that are NaN or infinite",
                legal="finite numbers",
            )
    return arrays
