"""The causal-neighbourhood network: each pixel from its 40 nearest earlier neighbours."""

from __future__ import annotations

from dataclasses import dataclass, field

from mi_eval.density.network.fitted import FittedNetwork, fit_network
from mi_eval.density.network.training import Schedule
from mi_eval.density.network.trunk import CausalTrunk
from mi_eval.density.patches import PatchSet
from mi_eval.density.scale_mixture import FittedScaleMixture


@dataclass(frozen=True)
class CausalNetwork:
    r"""Two layers of 64 over 40 earlier neighbours within 4 pixels; noise-aware at low counts.

    .. math:: q(z_i|z_{<i}) = (1-\epsilon)\,q_\mathrm{head}(z_i|f(z_{<i})) + \epsilon\,h(z_i)

    Inputs are the neighbours on a scale where the noise is 1, relative to the Gaussian's prediction, their Gaussian
    innovations, the prediction and its sd, and running energies. At low counts the head is a softmax over
    intensities seen through the camera's p(z|y); elsewhere three Gaussians, none narrower than the noise, integrated
    over the code's cell. h is the code histogram.

    Parameters
    ----------
    schedule : Schedule
        Budget in pixel visits, never in seconds.
    noise_aware : bool
        False: three Gaussians at low counts too.
    learnt_by_chance : float
        Share of the cost of all parameters that is left after the finite-sample correction, at most (measured).
    """

    name: str = "causal_network"
    schedule: Schedule = field(default_factory=Schedule)
    noise_aware: bool = True
    learnt_by_chance: float = 0.1

    def fit(
        self, train: PatchSet, validation: PatchSet, seed: int, base: FittedScaleMixture | None = None
    ) -> FittedNetwork:
        """Fit to `train`, stopping on `validation`; `base`, if fitted already to the same, is not refitted."""
        return fit_network(
            self.name, CausalTrunk, self.schedule, train, validation, seed, base, noise_aware=self.noise_aware
        )
