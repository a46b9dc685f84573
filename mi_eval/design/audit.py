"""The audit: information in simulated raw frames of a design, by an estimator that the optimiser never saw."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate import PhotonbitsError
from mi_eval.design.determinism import deterministic_torch
from mi_eval.design.problem import DesignProblem
from mi_eval.design.second_opinion import SecondOpinion, second_opinion
from mi_eval.estimate import estimate_information
from mi_eval.objects.prior import Part
from mi_eval.systems import ImagingSystem, SystemDesign
from mi_eval.torch_extra import torch

FloatArray = NDArray[np.float64]

_CHUNK = 256
_MOST_ABOVE_WELL = 1e-3


@dataclass(frozen=True)
class AuditSettings:
    """How a design is audited.

    Parameters
    ----------
    frames : int
        Simulated frames, of objects that the optimiser did not see.
    patch_size : int
        Of `mi_eval.estimate_information`; systems with ``whole_frames`` take the frame's.
    seed : int
        Of objects, noise and estimate.
    i_mmse : bool
        Bound the information by the errors of denoisers as well.
    """

    frames: int = 1500
    patch_size: int = 8
    seed: int = 1
    i_mmse: bool = False

    def __post_init__(self) -> None:
        if self.frames < 32:
            raise PhotonbitsError(f"{self.frames} frames for the audit", legal="32 or more")

    def patch_of(self, system: ImagingSystem) -> int:
        """The patch size of a system's frames; PhotonbitsError if they do not hold it."""
        size, most = system.patch_size(self.patch_size), min(system.frame_shape)
        if not 2 <= size <= most:
            raise PhotonbitsError(
                f"patch_size {size} of the audit with frames of {system.frame_shape}", legal=f"2 to {most}"
            )
        return size


@dataclass(frozen=True)
class LightUse:
    """How much of light and full well frames of a design use.

    Parameters
    ----------
    mean_light_e : float
        Charge of a pixel, electrons; for signed frames its root-mean-square value.
    high_charge_e, above_full_well_fraction : float
        Charge exceeded by one pixel in a thousand; share of pixels above the full well (0 without one).
    """

    mean_light_e: float
    high_charge_e: float
    above_full_well_fraction: float

    @classmethod
    def of(cls, charge_e: FloatArray, problem: DesignProblem, above: float = _MOST_ABOVE_WELL) -> LightUse:
        """Of the expected charge of simulated frames; ``above`` is the share of pixels beyond the high charge."""
        well = problem.full_well_e
        return cls(
            float(np.sqrt(np.mean(charge_e**2))) if problem.system.signed else float(charge_e.mean()),
            float(np.quantile(charge_e, 1 - above)),
            0.0 if well is None else float(np.mean(charge_e > well)),
        )

    @property
    def keeps_full_well(self) -> bool:
        """Whether at most one pixel in a thousand exceeds the full well."""
        return self.above_full_well_fraction <= _MOST_ABOVE_WELL


@dataclass(frozen=True)
class Audit:
    """What simulated frames of a design say.

    Parameters
    ----------
    value, std, ci95
        Information, bits per pixel, of `mi_eval.estimate_information` on the frames: held-out code length under
        several density families, less the noise entropy of the sensor's exact model.
    undecided_bits_per_pixel : (down, up)
        How far ``ci95`` reaches beyond sampling error, 0 or more: estimated misfit of the density models (down only),
        H(Z|Y) that the codes do not determine, and a finite-sample correction too large to be believed (up only). These
        do not average out over frames.
    upper_bound_bits_per_pixel : float
    closed_form_bits_per_pixel : float or None
        Exact, for Gaussian objects and noise through a transfer function, at the same patch size.
    mean_light_e : float
        Light that reached a pixel; for signed frames their root-mean-square value.
    high_charge_e, above_full_well_fraction : float
        Charge exceeded by one pixel in a thousand; share of pixels above the full well (0 without one).
    density_models : tuple of str
        Families with a weight above 1 %, heaviest first.
    warnings : tuple of (code, message)
    frames, patch_size, seed : int
    cpu_seconds : float
    second_opinion : SecondOpinion or None
        Upper bound from estimation errors, where it was asked for.
    """

    value: float
    std: float
    ci95: tuple[float, float]
    undecided_bits_per_pixel: tuple[float, float]
    upper_bound_bits_per_pixel: float
    closed_form_bits_per_pixel: float | None
    mean_light_e: float
    high_charge_e: float
    above_full_well_fraction: float
    density_models: tuple[str, ...]
    warnings: tuple[tuple[str, str], ...]
    frames: int
    patch_size: int
    seed: int
    cpu_seconds: float
    second_opinion: SecondOpinion | None = None

    def to_dict(self, *, timed: bool = True) -> dict[str, Any]:
        """Plain values for JSON."""
        out = asdict(self)
        out["ci95"] = list(self.ci95)
        out["undecided_bits_per_pixel"] = list(self.undecided_bits_per_pixel)
        out["density_models"] = list(self.density_models)
        out["warnings"] = [{"code": code, "message": message} for code, message in self.warnings]
        if self.second_opinion is not None:
            out["second_opinion"]["denoisers"] = list(self.second_opinion.denoisers)
        if not timed:
            del out["cpu_seconds"]
        return out

    @property
    def light(self) -> LightUse:
        """What was used of light and full well."""
        return LightUse(self.mean_light_e, self.high_charge_e, self.above_full_well_fraction)


def audit_design(design: SystemDesign, problem: DesignProblem, settings: AuditSettings | None = None) -> Audit:
    """Audit a design: simulate raw frames of new objects, and estimate their information.

    Parameters
    ----------
    design : SystemDesign
    problem : DesignProblem
        Objects, light and sensor; ``design.system`` is what images them.
    settings : AuditSettings, optional
    """
    settings = settings or AuditSettings()
    began = time.process_time()
    patch_size = settings.patch_of(design.system)
    seen = simulate(design, problem, settings.frames, settings.seed)
    charge = seen.charge_e
    estimate = estimate_information(
        seen.frames, problem.noise_model, patch_size=patch_size, seed=settings.seed, deterministic=True
    )
    opinion = second_opinion(problem.noise_model, charge, patch_size, settings.seed) if settings.i_mmse else None
    information = estimate.mutual_information_bits_per_pixel
    light = LightUse.of(charge, problem)
    heavy = sorted((m for m in estimate.models if m.weight > 0.01), key=lambda m: -m.weight)
    return Audit(
        value=information.value,
        std=information.std,
        ci95=information.ci95,
        undecided_bits_per_pixel=estimate.undecided_bits_per_pixel,
        upper_bound_bits_per_pixel=estimate.upper_bound_bits_per_pixel,
        closed_form_bits_per_pixel=closed_form_bits(design, problem, patch_size),
        **vars(light),
        density_models=tuple(m.name for m in heavy),
        warnings=tuple((w.code, w.message) for w in estimate.warnings if w.code not in ("not_measured", "no_maps")),
        frames=settings.frames,
        patch_size=patch_size,
        seed=settings.seed,
        cpu_seconds=time.process_time() - began,
        second_opinion=opinion,
    )


@dataclass(frozen=True)
class Simulation:
    """Objects, the charge they give, and raw frames: what a decoder is trained and tested on.

    Parameters
    ----------
    objects : ndarray (n, planes, height, width)
        In the system's units.
    charge_e : ndarray (n, height, width)
        Expected charge of every pixel, electrons.
    frames : ndarray (n, height, width)
        Codes, or real values without a bit depth.
    labels : ndarray (n,) or None
        Number of each object's class, where the objects have classes.
    """

    objects: FloatArray
    charge_e: FloatArray
    frames: NDArray[np.generic]
    labels: NDArray[np.int64] | None = None


def simulate(
    design: SystemDesign, problem: DesignProblem, n_frames: int, seed: int, *, part: Part | None = None
) -> Simulation:
    """Draw objects, image them with a design, and measure them with the numpy noise model.

    The same seed draws the same objects, whatever the design, where its system takes objects of one shape. ``part``
    takes them from one part of the prior: see `ObjectPrior.part`.
    """
    rng = np.random.default_rng([seed, 31])
    drawn, charges, classes = [], [], []
    for objects, charge, labels in _imaged(design, problem, n_frames, rng, part):
        drawn.append(objects)
        classes += [] if labels is None else [labels]
        charges.append(charge)
    charge = np.concatenate(charges)
    frames = problem.noise_model.sample(charge, rng)
    return Simulation(np.concatenate(drawn), charge, frames, np.concatenate(classes) if classes else None)


def simulated_light(
    design: SystemDesign, problem: DesignProblem, n_frames: int, seed: int, above: float = _MOST_ABOVE_WELL
) -> LightUse:
    """What frames of a design use of light and full well, without noise and without an audit."""
    rng = np.random.default_rng([seed, 33])
    charges = [charge for _, charge, _ in _imaged(design, problem, n_frames, rng)]
    return LightUse.of(np.concatenate(charges), problem, above)


def _imaged(
    design: SystemDesign, problem: DesignProblem, n_frames: int, rng: np.random.Generator, part: Part | None = None
) -> Iterator[tuple[FloatArray, FloatArray, NDArray[np.int64] | None]]:
    """Objects, the charge that they give and their classes, some at a time."""
    with deterministic_torch(), torch.no_grad():
        parameters = design.tensors()
        for first in range(0, n_frames, _CHUNK):
            objects, labels = problem.draw_labelled(min(_CHUNK, n_frames - first), rng, part)
            design.system.check_objects(objects)
            charge = problem.charge_e(design.system.forward(objects, parameters), parameters)
            yield objects.numpy(), charge.numpy(), labels


def closed_form_bits(design: SystemDesign, problem: DesignProblem, patch_size: int) -> float | None:
    """Exact information of a patch, bits per pixel, where objects and noise are Gaussian; else None.

    Written in numpy from the covariance in space, apart from the optimiser's surrogates.
    """
    spectrum = problem.known_spectrum()
    camera = problem.noise_model.camera
    with torch.no_grad():
        transfer = design.system.transfer(design.tensors())
    linear = camera.kind == "gaussian" and camera.response.is_linear and problem.objects.signed
    if spectrum is None or not linear:
        return None
    if transfer is not None:
        power = np.sum(np.abs(transfer.numpy()) ** 2, axis=0) * spectrum
        matrix = _stationary(power, patch_size)
    elif design.system.whole_frames:
        matrix = _of_whole_frames(design, spectrum)
    else:
        return None
    gain = float(camera.system_gain_dn_per_e)
    noise = float(camera.read_noise_e) ** 2 + (0.0 if camera.bit_depth is None else 1 / 12 / gain**2)
    _, nats = np.linalg.slogdet(np.eye(patch_size**2) + matrix / noise)
    return float(nats / (2 * np.log(2) * patch_size**2))


def _stationary(power: FloatArray, patch_size: int) -> FloatArray:
    """Covariance of a patch of a field on the torus, from its power spectrum."""
    covariance = np.fft.ifft2(power).real
    row, column = np.divmod(np.arange(patch_size**2), patch_size)
    return np.asarray(
        covariance[np.subtract.outer(row, row) % power.shape[0], np.subtract.outer(column, column) % power.shape[1]]
    )


def _of_whole_frames(design: SystemDesign, spectrum: FloatArray) -> FloatArray:
    """Covariance of frames of a linear system of one plane: what each mode of the objects gives, times its power."""
    height, width = spectrum.shape
    with torch.no_grad():
        points = torch.eye(height * width, dtype=torch.float64).reshape(-1, 1, height, width)
        response = design.system.forward(points, design.tensors()).numpy().reshape(height, width, -1)
    modes = np.fft.fft2(response, axes=(0, 1), norm="ortho").reshape(height * width, -1)
    return np.asarray((modes.T * spectrum.ravel() @ modes.conj()).real)
