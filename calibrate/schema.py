"""The noise-model file as a declaration: one place for its keys, units, legal values and versions.

Reader, writer and JSON Schema all come from the classes below, so that no field can be lost between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_NAME = "photonbits/noise-model"
SCHEMA_VERSION = 1

Finite = Annotated[float, Field(allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Range = tuple[Finite, Finite]

#: Unit and meaning of every parameter a file may hold.
PARAMETERS: dict[str, tuple[str, str]] = {
    "system_gain_dn_per_e": ("DN/e-", "system gain K at small signals"),
    "offset_dn": ("DN", "mean code of a dark at zero exposure"),
    "read_noise_e": ("e-", "temporal noise before rounding, without light"),
    "dark_noise_dn": ("DN", "temporal noise of a dark at zero exposure, rounding included"),
    "dark_current_e_per_s": ("e-/s", "mean dark current"),
    "saturation_dn": ("DN", "mean code, offset included, where clipping or roll-off begins"),
    "saturation_e": ("e-", "the saturation code through the inverse response, over K"),
    "full_well_e": ("e-", "charge at which the response flattens below the converter's clip"),
    "black_clip_dn": ("DN", "lowest code"),
    "white_clip_dn": ("DN", "highest code"),
    "prnu_percent": ("%", "photo-response non-uniformity, standard deviation over pixels"),
    "dsnu_e": ("e-", "dark-signal non-uniformity, standard deviation over pixels"),
    "linearity_error_percent": ("%", "mean absolute deviation of the means from the fitted straight line"),
    "light_scatter_percent": ("%", "relative scatter of the light from level to level"),
    "offset_scatter_dn": ("DN", "scatter of the offset from level to level"),
    "nonlinearity": ("1", "coefficients of the response curve"),
    "quantum_efficiency_percent": ("%", "electrons per photon"),
    "brighter_fatter_a00_per_e": (
        "1/e-",
        "brighter-fatter: a pixel's charge on its own, negative; a_00 of Astier 2019",
    ),
    "brighter_fatter_b_per_e": ("1/e-", "brighter-fatter: relative change of all shifts with the charge collected"),
}
REQUIRED = ("system_gain_dn_per_e", "offset_dn", "read_noise_e")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class ParameterEntry(_Strict):
    """A value with its standard error; ``std`` null where nothing was measured."""

    value: Finite
    std: NonNegative | None
    unit: str


class NonlinearityEntry(_Strict):
    """Response curve f.

    ``polynomial``: f(u) = u (1 + sum_k c_k (u / scale_dn)^k). ``two-slope``: f(u) = u up to the knee c_1 scale_dn, and
    of slope c_2 beyond.
    """

    form: Literal["polynomial", "two-slope"]
    coefficients: tuple[Finite, ...]
    std: tuple[NonNegative, ...]
    scale_dn: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    unit: str


class SensorEntry(_Strict):
    """Whose numbers these are."""

    make: str | None = None
    model: str | None = None
    serial: str | None = None
    mode: str | None = None
    gain_setting: str | float | None = None
    temperature_c: Finite | None = None
    bit_depth: Annotated[int, Field(ge=1, le=32)] | None = None
    cfa: str | None = None
    shape: tuple[int, int] | None = None


class MapsEntry(_Strict):
    """Per-pixel arrays in a file beside this one."""

    file: str
    sha256: str
    names: tuple[str, ...]


class CovarianceEntry(_Strict):
    """Covariance of the fitted parameters, in their units."""

    names: tuple[str, ...]
    matrix: tuple[tuple[Finite, ...], ...]

    @model_validator(mode="after")
    def _square(self) -> CovarianceEntry:
        if len(self.matrix) != len(self.names) or any(len(row) != len(self.names) for row in self.matrix):
            raise ValueError(f"covariance.matrix is not {len(self.names)} x {len(self.names)}")
        return self


class ValidityEntry(_Strict):
    """Where the numbers were measured."""

    signal_dn: Range | None = None
    exposure_s: Range | None = None
    temperature_c: Range | None = None


class FlagEntry(_Strict):
    """A doubt about the fit."""

    code: str
    message: str


class CandidateEntry(_Strict):
    """One model that was tried."""

    name: str
    bic: Finite
    system_gain_dn_per_e: Finite
    deviance_per_dof: Finite


class FitEntry(_Strict):
    """How the numbers were found and how well the model describes the data."""

    method: str
    model: str
    deviance_per_dof: Finite | None = None
    dof: int | None = None
    flags: tuple[FlagEntry, ...] = ()
    candidates: tuple[CandidateEntry, ...] = ()


class MeasurementEntry(_Strict):
    """One level of the photon-transfer data, as measured and as fitted.

    ``row_noise_dn2`` and ``column_noise_dn2`` are the temporal variance that a row's or column's pixels share beyond
    what independent pixels give; signed, None for tables.
    """

    kind: Literal["bright", "dark"]
    exposure_s: Finite | None
    photons_per_pixel: Finite | None
    n_frames: int
    n_pixels: int
    mean_dn: Finite
    mean_std_dn: NonNegative
    variance_dn2: Finite
    variance_std_dn2: NonNegative
    clipped_fraction: Finite
    used: bool
    fitted_mean_dn: Finite | None
    fitted_variance_dn2: Finite | None
    row_noise_dn2: Finite | None = None
    column_noise_dn2: Finite | None = None


class ExcessNoiseEntry(_Strict):
    """Stated excess noise factor F^2 of an amplifier, and the parameters in electrons at its input.

    ``parameters`` of the file are in effective electrons, input electrons over F^2.
    """

    factor: Annotated[float, Field(ge=1, allow_inf_nan=False)]
    input_parameters: dict[str, ParameterEntry]


class BrighterFatterEntry(_Strict):
    """Shifts a_ij of pixel borders (Astier et al. 2019), a quadrant: rows over vertical lags, columns over horizontal.

    [0][0] comes from the variances; ``a00_from_neighbours_per_e`` is what all others ask for where charge is conserved.
    ``noise_dn2`` is the covariance without light. ``b_per_e`` is how the shifts change with the charge already there,
    one number for all lags, where the chosen model has it.
    """

    a_per_e: tuple[tuple[Finite, ...], ...]
    a_std_per_e: tuple[tuple[NonNegative, ...], ...]
    noise_dn2: tuple[tuple[Finite, ...], ...]
    a00_from_neighbours_per_e: Finite
    a00_from_neighbours_std_per_e: NonNegative
    b_per_e: Finite | None = None
    b_std_per_e: NonNegative | None = None

    @model_validator(mode="after")
    def _square(self) -> BrighterFatterEntry:
        n = len(self.a_per_e)
        if any(
            len(matrix) != n or {len(row) for row in matrix} != {n}
            for matrix in (self.a_per_e, self.a_std_per_e, self.noise_dn2)
        ):
            raise ValueError("brighter_fatter holds matrices that are not square or of different sizes")
        return self


class NoiseCorrelationEntry(_Strict):
    """Covariance of the temporal noise of different pixels of a dark, without light; all part of the read noise.

    ``row_noise_dn2`` is common to the pixels of a row, ``column_noise_dn2`` to those of a column;
    ``horizontal_neighbour_dn2`` and ``vertical_neighbour_dn2`` are what next neighbours share beyond these.
    """

    row_noise_dn2: ParameterEntry
    column_noise_dn2: ParameterEntry
    horizontal_neighbour_dn2: ParameterEntry
    vertical_neighbour_dn2: ParameterEntry

    @model_validator(mode="after")
    def _in_dn2(self) -> NoiseCorrelationEntry:
        for name in type(self).model_fields:
            if getattr(self, name).unit != "DN^2":
                raise ValueError(f"noise_correlation.{name}.unit is {getattr(self, name).unit!r}, not 'DN^2'")
        return self


class DefectEntry(_Strict):
    """Pixels of one kind in the defect map; ``limit`` null where the kind has none."""

    count: Annotated[int, Field(ge=0)]
    bit: Annotated[int, Field(ge=1, le=128)]
    limit: Finite | None
    unit: str
    expected_false_alarms: NonNegative


class DefectsEntry(_Strict):
    """Defective pixels, and how many of each kind that was looked for; a pixel may be of several."""

    n_pixels: Annotated[int, Field(ge=0)]
    kinds: dict[str, DefectEntry]


class RepeatabilityEntry(_Strict):
    """A map from one half of the frames against that from the other, over good pixels.

    ``variance_ratio`` is that of their difference over what the stated errors expect.
    """

    variance_ratio: NonNegative
    correlation: Finite
    n_pixels: Annotated[int, Field(ge=1)]


class FileEntry(_Strict):
    """A file that went into the fit."""

    path: str
    sha256: str


class ProvenanceEntry(_Strict):
    """What the numbers were made from."""

    files: tuple[FileEntry, ...] = ()
    software: str = ""


class SectionEntry(_Strict):
    """Rows and columns of a channel, each [start, stop, step]; stop null means to the end."""

    rows: tuple[int, int | None, int]
    columns: tuple[int, int | None, int]


class ChannelRecordEntry(_Strict):
    """How one channel's parameters were found."""

    covariance: CovarianceEntry | None = None
    validity: ValidityEntry | None = None
    fit: FitEntry
    measurements: tuple[MeasurementEntry, ...] | None = None
    defects: DefectsEntry | None = None
    repeatability: dict[str, RepeatabilityEntry] | None = None


class DifferenceEntry(_Strict):
    """Chi-square test that a parameter is the same in all channels."""

    chi2: NonNegative
    dof: Annotated[int, Field(ge=1)]
    p_value: Annotated[float, Field(ge=0, le=1)]


class ChannelLayoutEntry(_Strict):
    """Which pixels belong to which channel, and what is known of each besides its parameters."""

    kind: Literal["cfa", "taps", "interleaved"]
    sections: dict[str, SectionEntry]
    records: dict[str, ChannelRecordEntry]
    differences: dict[str, DifferenceEntry] | None = None


class EmvaEntry(_Strict):
    """A quantity of EMVA 1288."""

    value: Finite
    std: NonNegative | None
    unit: str
    symbol: str
    release: str


class EmvaCurveEntry(_Strict):
    """Numbers behind a picture of EMVA 1288: columns of one length, and the unit of each."""

    columns: dict[str, tuple[Finite, ...]]
    units: dict[str, str]

    @model_validator(mode="after")
    def _even(self) -> EmvaCurveEntry:
        if set(self.columns) != set(self.units):
            raise ValueError(f"columns {', '.join(self.columns)} and units of {', '.join(self.units)}")
        if len({len(column) for column in self.columns.values()}) > 1:
            raise ValueError("columns of different lengths")
        return self


class NoiseModelDocument(_Strict):
    """The whole file."""

    schema_: Literal["photonbits/noise-model"] = Field(alias="schema")
    schema_version: Literal[1]
    kind: Literal["poisson-gaussian", "poisson", "gaussian"]
    sensor: SensorEntry
    parameters: dict[str, ParameterEntry | NonlinearityEntry]
    channels: dict[str, dict[str, ParameterEntry | NonlinearityEntry]] | None = None
    channel_layout: ChannelLayoutEntry | None = None
    maps: MapsEntry | None = None
    defects: DefectsEntry | None = None
    repeatability: dict[str, RepeatabilityEntry] | None = None
    covariance: CovarianceEntry | None = None
    validity: ValidityEntry | None = None
    fit: FitEntry
    brighter_fatter: BrighterFatterEntry | None = None
    excess_noise: ExcessNoiseEntry | None = None
    noise_correlation: NoiseCorrelationEntry | None = None
    emva1288: dict[str, EmvaEntry] | None = None
    emva1288_curves: dict[str, EmvaCurveEntry] | None = None
    measurements: tuple[MeasurementEntry, ...] | None = None
    provenance: ProvenanceEntry = ProvenanceEntry()

    @model_validator(mode="after")
    def _known_channels(self) -> NoiseModelDocument:
        channels = self.channels or {}
        for channel, block in channels.items():
            check_parameters(block, f"channels.{channel}", () if self.channel_layout is None else REQUIRED)
        if self.channel_layout is not None:
            for name in ("sections", "records"):
                if set(getattr(self.channel_layout, name)) != set(channels):
                    raise ValueError(f"channel_layout.{name} does not name the channels {', '.join(channels)}")
        return self

    @model_validator(mode="after")
    def _known_parameters(self) -> NoiseModelDocument:
        check_parameters(self.parameters, "parameters", REQUIRED)
        if self.excess_noise is not None:
            check_parameters(self.excess_noise.input_parameters, "excess_noise.input_parameters", ())
        return self

    def to_plain(self) -> dict[str, Any]:
        """Plain lists, dicts and numbers, keys as in the file; absent optional blocks left out."""
        plain = self.model_dump(mode="json", by_alias=True)
        for key in (
            "channels",
            "channel_layout",
            "maps",
            "defects",
            "repeatability",
            "covariance",
            "validity",
            "brighter_fatter",
            "excess_noise",
            "noise_correlation",
            "emva1288",
            "emva1288_curves",
            "measurements",
        ):
            if plain[key] is None:
                del plain[key]
        return plain


def check_parameters(
    block: Mapping[str, ParameterEntry | NonlinearityEntry], where: str, required: tuple[str, ...]
) -> None:
    """Raise ValueError unless a block holds known parameters in their units, and all that are required."""
    for name, entry in block.items():
        if name not in PARAMETERS:
            raise ValueError(f"{where}.{name} is not a known parameter: {', '.join(PARAMETERS)}")
        if entry.unit != PARAMETERS[name][0]:
            raise ValueError(f"{where}.{name}.unit is {entry.unit!r}, not {PARAMETERS[name][0]!r}")
        if isinstance(entry, NonlinearityEntry) != (name == "nonlinearity"):
            raise ValueError(f"{where}.{name} has the wrong keys")
    for name in required:
        if name not in block:
            raise ValueError(f"{where}.{name} is missing")


def json_schema() -> dict[str, Any]:
    """JSON Schema of the noise-model file."""
    return NoiseModelDocument.model_json_schema(by_alias=True)
