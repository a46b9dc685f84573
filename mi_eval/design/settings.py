"""Settings of an ascent on information."""

from __future__ import annotations

from dataclasses import dataclass

from calibrate import PhotonbitsError
from mi_eval.design.ascent import SAVE_EVERY
from mi_eval.design.objectives import Objective, make_objective
from mi_eval.design.problem import DesignProblem

#: A race takes one in so many of the steps. In 48 starts of a mask the ascent that won was first or second after that
#: share in four seeds of four, where the starting points themselves say nothing.
_RACE_SHARE = 8


@dataclass(frozen=True)
class OptimiserSettings:
    """How a design is looked for.

    Parameters
    ----------
    objective : {"spectral", "full", "density", "infonce"}
    steps, restarts : int
        Steps of each ascent; the first restart begins at the conventional design, the others at random.
    starts : int or None
        Starts, ``restarts`` or more, that ascend for an eighth of the steps; the ``restarts`` best of them go on. For
        objectives whose values do not scatter. None: all starts go on.
    learning_rate : float
        Times the rate of each parameter: the size of the first step.
    objects : int
        Objects that the surrogate is measured on.
    patch_size : int
        Of all objectives but the spectral one.
    refit_every : int
        Steps between two fits of the density objective's density.
    seed : int
    """

    objective: str = "spectral"
    steps: int = 300
    restarts: int = 3
    learning_rate: float = 1.0
    objects: int = 512
    patch_size: int = 8
    refit_every: int = 5
    seed: int = 0
    starts: int | None = None

    def __post_init__(self) -> None:
        if self.steps < 0 or self.restarts < 1 or not self.learning_rate > 0 or self.seed < 0:
            raise PhotonbitsError(
                f"steps {self.steps}, restarts {self.restarts}, learning_rate {self.learning_rate}, seed {self.seed}",
                legal="steps 0 or more, restarts 1 or more, learning_rate above 0, seed 0 or more",
            )
        if self.starts is not None and self.starts < self.restarts:
            raise PhotonbitsError(
                f"starts {self.starts} with restarts {self.restarts}", legal="as many starts as restarts, or more"
            )
        if self.refit_every < 1 or SAVE_EVERY % self.refit_every:
            raise PhotonbitsError(
                f"refit_every {self.refit_every}", legal=f"a divisor of {SAVE_EVERY}, the steps between checkpoints"
            )

    @property
    def race(self) -> tuple[int, int] | None:
        """Starts that are raced, and the steps that each takes before the best go on; None where all go on."""
        if self.starts is None or self.starts == self.restarts:
            return None
        return self.starts, min(self.steps, max(1, self.steps // _RACE_SHARE))

    def objective_for(self, problem: DesignProblem, seed: int) -> Objective:
        """The surrogate on the objects of a seed."""
        return make_objective(
            problem,
            self.objective,
            n_objects=self.objects,
            seed=seed,
            patch_size=self.patch_size,
            refit_every=self.refit_every,
        )
