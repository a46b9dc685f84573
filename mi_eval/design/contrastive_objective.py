"""Information as InfoNCE on simulated pairs of light and measurement, with the known channel as the critic."""

from __future__ import annotations

import numpy as np

from calibrate import PhotonbitsError
from mi_eval.bounds import known_channel_bracket
from mi_eval.design.objectives import Objective, well_penalty
from mi_eval.design.problem import DesignProblem
from mi_eval.systems.protocol import Parameters
from mi_eval.torch_extra import Tensor, torch

_BATCH = 512  # pairs of one step
_REPORT_PAIRS = 1024
_PLACES = 4
#: A value this near to its cap says how many pairs there were, in bits per patch.
NEAR_CAP_BITS = 1.0


class ContrastiveObjective(Objective):
    r"""How well a measurement tells which of N objects it came from.

    .. math:: I \ge E\left[\log_2 \frac{p(z_i|y_i)}{\frac1N \sum_j p(z_i|y_j)}\right] \le \log_2 N

    One patch is cut from each object, at one of four places of the frame. A step has the exact channel where noise is
    Gaussian and values are real; else a normal of the camera's variance at each light, on measurements before
    rounding: any critic gives a lower bound, and this one has gradients. What is reported uses raw codes and the
    camera's exact probabilities.

    A lower bound rewards no hiding. Its cap of log2 N bits a patch makes it useless for rich objects.
    """

    name = "infonce"
    noisy = True

    def __init__(self, problem: DesignProblem, n_objects: int, seed: int, patch_size: int) -> None:
        system = problem.system
        patch_size = system.patch_size(patch_size)
        if patch_size < 1 or patch_size > min(system.frame_shape):
            raise PhotonbitsError(
                f"patch_size {patch_size} with frames of {system.frame_shape}",
                legal="1 or more, within the frame",
            )
        self._problem, self._seed, self._patch = problem, seed, patch_size
        rng = np.random.default_rng([seed, 17])
        self._pool = problem.draw(n_objects, rng)
        # Each patch begins at a multiple of the system's period.
        most = [(side - patch_size) // system.period_px + 1 for side in system.frame_shape]
        self._places = np.stack([rng.integers(m, size=_PLACES) for m in most], axis=1) * system.period_px
        self._objects = self._pool[:_BATCH]
        self._noise_seed = 0
        self._generator = torch.Generator()
        self._reports: dict[bytes, float] = {}

    @property
    def cap_bits_per_pixel(self) -> float:
        """log2 of the pairs of a report, over the pixels of a patch."""
        return float(np.log2(_REPORT_PAIRS)) / self._patch**2

    def prepare(self, step: int, parameters: Parameters) -> None:
        """Draw the objects and the noise of the step."""
        rng = np.random.default_rng([self._seed, 18, step])
        self._objects = self._pool[torch.from_numpy(rng.permutation(len(self._pool))[:_BATCH])]
        self._noise_seed = int(rng.integers(2**62))

    def _charge(self, objects: Tensor, parameters: Parameters) -> Tensor:
        """Charge of one patch of each object, (n, pixels): a quarter of them at each place."""
        problem, p = self._problem, self._patch
        charge = problem.charge_e(problem.system.forward(objects, parameters), parameters)
        parts = [charge[k::_PLACES, r : r + p, c : c + p] for k, (r, c) in enumerate(self._places.tolist())]
        return torch.cat(parts).reshape(-1, p * p)

    def bits(self, parameters: Parameters) -> Tensor:
        """InfoNCE of this step's pairs, bits per pixel; with gradients."""
        channel = self._problem.channel
        charge = self._charge(self._objects, parameters)
        generator = self._generator.manual_seed(self._noise_seed)
        measured = channel.sample(charge, generator, rounded=False)
        camera = self._problem.noise_model.camera
        gain = float(camera.system_gain_dn_per_e)
        mean = float(camera.offset_dn) + channel.response_dn(gain * charge)
        slope = gain * channel.response_slope(gain * charge)
        variance = torch.clamp(channel.noise_variance_e2(charge) * slope**2, min=1e-9)
        scores = _normal_scores(measured, mean, variance)
        own = torch.diagonal(scores)
        nats = own - torch.logsumexp(scores, dim=1) + np.log(len(scores))
        return nats.mean() / (np.log(2) * self._patch**2)

    def penalty(self, parameters: Parameters) -> Tensor:
        """For pixels whose charge plus 3 standard deviations of shot noise lies above the full well."""
        return well_penalty(self._problem, self._objects, parameters)

    def report(self, parameters: Parameters) -> float:
        """InfoNCE of 1024 pairs of new objects and raw codes, with the camera's exact probabilities; bits per pixel."""
        key = b"".join(parameters[name].detach().numpy().tobytes() for name in sorted(parameters))
        if key not in self._reports:
            problem, p = self._problem, self._patch
            rng = np.random.default_rng([self._seed, 19])
            objects = problem.draw(_REPORT_PAIRS, rng)
            with torch.no_grad():
                charge = self._charge(objects, parameters).numpy().reshape(-1, p, p)
            codes = problem.noise_model.sample(charge, rng)
            bracket = known_channel_bracket(problem.noise_model, codes, charge)
            self._reports[key] = bracket.lower_bits_per_pixel
        return self._reports[key]


def _normal_scores(measured: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """log N(z_i; m_j, v_j) summed over pixels, up to a constant; (n, n) for (n, D) each."""
    weight = 1 / variance
    squares = measured**2 @ weight.T - 2 * measured @ (mean * weight).T + (mean**2 * weight).sum(dim=1)
    return -0.5 * (squares + torch.log(variance).sum(dim=1))
