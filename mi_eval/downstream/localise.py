"""Position and brightness of one source in a frame, by maximum likelihood, beside the Cramer-Rao bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from calibrate import PhotonbitsError
from mi_eval.design.audit import Simulation
from mi_eval.downstream.fisher import even_noise_e2, fisher_table
from mi_eval.downstream.interface import Decoder, Examples, FloatArray, Metric, Setting, Trained
from mi_eval.objects.points import PointSource
from mi_eval.torch_extra import Tensor, torch

RMSE = Metric("rmse_px", "px", "root mean squared error of a coordinate, object pixels", False, "root_mean")
BOUND = Metric(
    "bound_px", "px", "its Cramer-Rao bound, root mean square over test frames", False, "root_mean", ranked=False
)
FLUX = Metric("flux_rmse", "1", "root mean squared error of the flux over the true flux", False, "root_mean")
FLUX_BOUND = Metric(
    "flux_bound", "1", "its Cramer-Rao bound, root mean square over test frames", False, "root_mean", ranked=False
)
PLANE = Metric(
    "plane_accuracy", "1", "share of test frames whose source was put in its own plane", True, "share", ranked=False
)

_CHUNK = 256
_LONGEST_STEP_PX = 0.5


@dataclass(frozen=True)
class Localiser(Decoder):
    r"""Finds one isolated source, the metered case; objects are `PointSource`.

    The best of the light patterns of a source on every whole pixel and plane is the start (weighted matched filter);
    Fisher scoring from there in every plane, and the most likely plane. The likelihood is that of electrons plus the
    even part N of the noise as a Poisson number,

    .. math:: \ln L = \sum_i (e_i + N) \ln(\mu_i + N) - (\mu_i + N),

    (Huang et al. 2013, doi:10.1038/nmeth.2488); least squares for noise without shot noise. The light
    :math:`\mu(\text{row}, \text{column}, \text{flux})` is the design's own forward model, its slopes by automatic
    differentiation. The bound is the inverse of :math:`\sum_i j(\mu_i) \nabla\mu_i \nabla\mu_i^T` at the true source,
    with j the exact Fisher information of a code (`fisher_table`); the plane counts as known in it. Nothing is learned
    from training frames.

    Parameters
    ----------
    steps : int
        Of Fisher scoring.
    """

    name: ClassVar[str] = "localiser"
    title: ClassVar[str] = "Localisation of one source"

    steps: int = 12

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise PhotonbitsError(f"steps {self.steps}", where=self.name, legal="1 or more")

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Position first; each with its bound."""
        return (RMSE, BOUND, FLUX, FLUX_BOUND, PLANE)

    def targets(self, seen: Simulation, setting: Setting) -> FloatArray:
        """Row, column (object pixels), plane and flux (peak relative to the prior's scale), (n, 4)."""
        return _prior(setting).locate(seen.objects / setting.problem.scale)

    def train(self, training: Examples, validation: Examples, setting: Setting, seed: int) -> Trained:
        """Make the patterns to start from."""
        return _TrainedLocaliser(_Model(setting, _prior(setting)), self.steps)

    def score(self, decoded: FloatArray, examples: Examples, setting: Setting) -> dict[str, FloatArray]:
        """Squared errors, and squared bounds at the true sources."""
        model, truth = _Model(setting, _prior(setting)), examples.targets
        sides = np.array(setting.design.system.object_shape[1:])
        apart = (decoded[:, :2] - truth[:, :2] + sides / 2) % sides - sides / 2
        bound = model.bound(truth)
        return {
            RMSE.name: np.mean(apart**2, axis=1),
            BOUND.name: np.mean(bound[:, :2], axis=1),
            FLUX.name: (decoded[:, 3] / truth[:, 3] - 1) ** 2,
            FLUX_BOUND.name: bound[:, 2] / truth[:, 3] ** 2,
            PLANE.name: (decoded[:, 2] == truth[:, 2]).astype(np.float64),
        }


def _prior(setting: Setting) -> PointSource:
    prior = setting.problem.objects
    if not isinstance(prior, PointSource):
        raise PhotonbitsError(
            f"objects {prior.kind}", where=Localiser.name, legal="point: one isolated source in each frame"
        )
    return prior


@dataclass(frozen=True)
class _Model:
    """Light and noise of a source, as functions of where it is."""

    setting: Setting
    prior: PointSource

    @property
    def noise_e2(self) -> float:
        return even_noise_e2(self.setting.problem.noise_model)

    @property
    def shot(self) -> bool:
        return bool(self.setting.problem.noise_model.camera.kind != "gaussian")

    def charge(self, row: Tensor, column: Tensor, flux: Tensor, plane: FloatArray) -> Tensor:
        """Expected charge (n, height, width) of sources (n,)."""
        setting, shape = self.setting, self.setting.design.system.object_shape
        offsets = []
        for place, side in ((row, shape[1]), (column, shape[2])):
            pixels = torch.arange(side, dtype=torch.float64)
            offsets.append(torch.remainder(pixels - place[:, None] + side / 2, side) - side / 2)
        square = offsets[0][:, :, None] ** 2 + offsets[1][:, None, :] ** 2
        spot = flux[:, None, None] * torch.exp(-0.5 * square / self.prior.width_px**2)
        mine = torch.from_numpy((plane[:, None] == np.arange(shape[0])).astype(np.float64))
        objects = mine[:, :, None, None] * spot[:, None] + self.prior.background / shape[0]
        design, problem = setting.design, setting.problem
        parameters = design.tensors()
        light = design.system.forward(problem.scale * objects, parameters)
        return problem.charge_e(light, parameters)

    def charge_and_slopes(self, state: FloatArray, plane: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Charge (n, pixels), and its slopes (n, 3, pixels) in row, column and flux; ``state`` is (n, 3)."""
        values, slopes = [], []
        for first in range(0, len(state), _CHUNK):
            parts = [torch.from_numpy(np.array(v)).requires_grad_(True) for v in state[first : first + _CHUNK].T]
            row, column, flux = parts
            charge = self.charge(row, column, flux, plane[first : first + _CHUNK])
            # Forward derivatives by two backward passes: the gradient of <weight, charge> is linear in the weight, and
            # frames do not see each other, so one tangent of ones moves the source of every frame at once.
            weight = torch.zeros_like(charge, requires_grad=True)
            linear = torch.autograd.grad(charge, parts, weight, create_graph=True)
            found = [torch.autograd.grad(g.sum(), weight, retain_graph=True)[0].flatten(1) for g in linear]
            values.append(charge.detach().flatten(1).numpy())
            slopes.append(torch.stack(found, dim=1).numpy())
        return np.concatenate(values), np.concatenate(slopes)

    def bound(self, truth: FloatArray) -> FloatArray:
        """Variances (n, 3) that no unbiased estimate of row, column and flux is below."""
        charge, slopes = self.charge_and_slopes(truth[:, [0, 1, 3]], truth[:, 2])
        table = fisher_table(self.setting.problem.noise_model, float(charge.min()), float(charge.max()))
        information = np.einsum("nap,nbp,np->nab", slopes, slopes, table(charge), optimize=True)
        return np.stack([np.diag(v) for v in _inverse(information)])

    def log_likelihood(self, e: FloatArray, charge: FloatArray) -> FloatArray:
        """Of frames (n, pixels) in electrons, up to what does not depend on the source; (n,)."""
        if not self.shot:
            return np.asarray(-0.5 * np.sum((e - charge) ** 2, axis=1) / max(self.noise_e2, 1e-12))
        rate = np.maximum(charge, 0.0) + max(self.noise_e2, 1e-9)
        return np.asarray(np.sum((e + self.noise_e2) * np.log(rate) - rate, axis=1))

    def score_and_information(
        self, e: FloatArray, charge: FloatArray, slopes: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Gradient (n, 3) of the log likelihood and its expected curvature (n, 3, 3)."""
        variance = max(self.noise_e2, 1e-9) + (np.maximum(charge, 0.0) if self.shot else 0.0 * charge)
        gradient = np.einsum("nap,np->na", slopes, (e - charge) / variance, optimize=True)
        return gradient, np.einsum("nap,nbp,np->nab", slopes, slopes, 1 / variance, optimize=True)


def _inverse(information: FloatArray) -> FloatArray:
    """Inverses of (n, 3, 3), scaled first; what the frames say nothing about gets a very large variance."""
    size = np.sqrt(np.maximum(np.einsum("naa->na", information), 1e-300))
    scaled = information / size[:, :, None] / size[:, None, :] + 1e-12 * np.eye(3)
    return np.asarray(np.linalg.inv(scaled) / size[:, :, None] / size[:, None, :])


@dataclass(frozen=True)
class _TrainedLocaliser(Trained):
    model: _Model
    steps: int

    def decode(self, frames: FloatArray) -> FloatArray:
        camera = self.model.setting.problem.noise_model.camera
        e = (frames.reshape(len(frames), -1) - float(camera.offset_dn)) / float(camera.system_gain_dn_per_e)
        planes = self.model.setting.design.system.object_shape[0]
        tried = [self._in_plane(e, np.full(len(e), float(plane))) for plane in range(planes)]
        best = np.argmax([likelihood for _, likelihood in tried], axis=0)
        state = np.stack([state for state, _ in tried])[best, np.arange(len(e))]
        return np.stack([state[:, 0], state[:, 1], best.astype(np.float64), state[:, 2]], axis=1)

    def _in_plane(self, e: FloatArray, plane: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Most likely row, column and flux (n, 3) in a plane, and the log likelihood (n,)."""
        model = self.model
        state = self._start(e, plane[0])
        charge, slopes = model.charge_and_slopes(state, plane)
        likelihood, damping = model.log_likelihood(e, charge), np.full(len(e), 1e-3)
        for _ in range(self.steps):
            gradient, information = model.score_and_information(e, charge, slopes)
            diagonal = np.einsum("naa->na", information)
            damped = information + (damping[:, None] * diagonal + 1e-300)[:, :, None] * np.eye(3)
            step = np.linalg.solve(damped, gradient[:, :, None])[:, :, 0]
            length = np.max(np.abs(step[:, :2]), axis=1, keepdims=True)
            step = step * np.minimum(1.0, _LONGEST_STEP_PX / np.maximum(length, 1e-300))
            moved = state + step
            moved[:, 2] = np.maximum(moved[:, 2], 0.1 * state[:, 2])
            new_charge, new_slopes = model.charge_and_slopes(moved, plane)
            new_likelihood = model.log_likelihood(e, new_charge)
            better = new_likelihood >= likelihood
            state = np.where(better[:, None], moved, state)
            charge = np.where(better[:, None], new_charge, charge)
            slopes = np.where(better[:, None, None], new_slopes, slopes)
            likelihood = np.where(better, new_likelihood, likelihood)
            damping = np.where(better, damping * 0.2, damping * 10)
        return state, likelihood

    def _start(self, e: FloatArray, plane: float) -> FloatArray:
        """The whole pixel whose pattern fits best, and the flux of that fit."""
        model, prior = self.model, self.model.prior
        _, height, width = model.setting.design.system.object_shape
        inset = int(np.floor(prior.border_px))
        rows, columns = np.arange(inset, height - inset), np.arange(inset, width - inset)
        row, column = (v.ravel().astype(np.float64) for v in np.meshgrid(rows, columns, indexing="ij"))
        middle = 0.5 * (prior.faintest + 1 - prior.background)
        state = np.stack([row, column, np.full(row.size, middle)], axis=1)
        dark, patterns = self._patterns(state, plane)
        typical = np.maximum(dark + patterns.mean(axis=0), 0.0) if model.shot else 0.0 * dark
        weight = 1 / (model.noise_e2 + typical + 1e-9)
        overlap = (weight * (e - dark)) @ patterns.T
        power = np.maximum(patterns**2 @ weight, 1e-300)
        best = np.argmax(np.maximum(overlap, 0.0) ** 2 / power, axis=1)
        number = np.arange(len(e))
        flux = middle * np.clip(overlap[number, best] / power[best], 0.1, 10.0)
        return np.stack([row[best], column[best], flux], axis=1)

    def _patterns(self, state: FloatArray, plane: float) -> tuple[FloatArray, FloatArray]:
        """Charge without a source (pixels,), and what a source at each place adds (places, pixels)."""
        found = []
        with torch.no_grad():
            for first in range(0, len(state), _CHUNK):
                row, column, flux = (torch.from_numpy(v.copy()) for v in state[first : first + _CHUNK].T)
                found.append(self.model.charge(row, column, flux, np.full(len(row), plane)).flatten(1).numpy())
            nothing = torch.zeros(1, dtype=torch.float64)
            dark = self.model.charge(nothing, nothing, nothing, np.full(1, plane)).flatten().numpy()
        return dark, np.concatenate(found) - dark
