"""Lower and upper bounds of information beside the estimate: contrastive, learned, and through estimation error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibrate.plumbing.lazy import lazy_exports

if TYPE_CHECKING:
    from mi_eval.bounds.contrastive import Bracket, known_channel_bracket, log_likelihood_matrix
    from mi_eval.bounds.denoisers import example_denoiser, linear_denoiser, pixel_denoiser
    from mi_eval.bounds.estimation import EstimationBound, gaussian_noise_bound, photon_count_bound
    from mi_eval.bounds.learned import LearnedBound, learned_bound

__all__ = [
    "Bracket",
    "EstimationBound",
    "LearnedBound",
    "example_denoiser",
    "gaussian_noise_bound",
    "known_channel_bracket",
    "learned_bound",
    "linear_denoiser",
    "log_likelihood_matrix",
    "photon_count_bound",
    "pixel_denoiser",
]

# Loaded at first use (PEP 562), so that a command's help imports no numerical package.
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Bracket": "mi_eval.bounds.contrastive",
        "EstimationBound": "mi_eval.bounds.estimation",
        "LearnedBound": "mi_eval.bounds.learned",
        "example_denoiser": "mi_eval.bounds.denoisers",
        "gaussian_noise_bound": "mi_eval.bounds.estimation",
        "known_channel_bracket": "mi_eval.bounds.contrastive",
        "learned_bound": "mi_eval.bounds.learned",
        "linear_denoiser": "mi_eval.bounds.denoisers",
        "log_likelihood_matrix": "mi_eval.bounds.contrastive",
        "photon_count_bound": "mi_eval.bounds.estimation",
        "pixel_denoiser": "mi_eval.bounds.denoisers",
    },
)
