"""What should be the same at every setting, tested: nothing is pooled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from calibrate.agreement import agreement_of
from calibrate.captures import Setting
from calibrate.series.quantity import Quantity

#: What one sensor has once, whatever its amplifier does, and what its electronics have once, whatever the temperature.
ACROSS_GAINS = ("dark_current_e_per_s", "full_well_e", "quantum_efficiency_percent")
ACROSS_TEMPERATURES = ("system_gain_dn_per_e", "full_well_e", "quantum_efficiency_percent")
#: Probability below which settings are said to disagree.
DISAGREE = 1e-3

Point = tuple[Setting, str, dict[str, Quantity]]


@dataclass(frozen=True)
class SharedQuantity:
    """A quantity that several settings measured, its weighted mean, and whether they agree.

    Parameters
    ----------
    quantity : str
    across : {"gain settings", "temperatures"}
        What varies.
    at : Setting
        What is the same for all.
    names : tuple of str
        The settings.
    mean : Quantity
        Weighted by 1/std^2; its error holds if they agree.
    chi2, dof, p_value
        Sum of squared deviations over variances.
    """

    quantity: str
    across: Literal["gain settings", "temperatures"]
    at: Setting
    names: tuple[str, ...]
    mean: Quantity
    chi2: float
    dof: int
    p_value: float

    @property
    def agree(self) -> bool:
        """Whether chance explains the differences."""
        return self.p_value >= DISAGREE


def shared_quantities(points: Sequence[Point]) -> tuple[SharedQuantity, ...]:
    """Chi-square tests of what should not depend on the gain setting or on the temperature.

    Dark current in e-/s, full well and quantum efficiency belong to the pixels and should agree across gain settings;
    system gain, full well and quantum efficiency should hardly move with temperature. Read-out modes may change all of
    them and are never compared.
    """
    out = []
    for across, names in (("gain settings", ACROSS_GAINS), ("temperatures", ACROSS_TEMPERATURES)):
        groups: dict[Setting, list[Point]] = {}
        for point in points:
            setting = point[0]
            varied = setting.gain_setting if across == "gain settings" else setting.temperature_c
            if varied is None:
                continue
            key = (
                replace(setting, gain_setting=None)
                if across == "gain settings"
                else replace(setting, temperature_c=None)
            )
            groups.setdefault(key, []).append(point)
        for key, members in groups.items():
            for name in names:
                tested = _test(name, across, key, members)  # type: ignore[arg-type]
                if tested is not None:
                    out.append(tested)
    return tuple(out)


def _test(
    name: str, across: Literal["gain settings", "temperatures"], at: Setting, members: Sequence[Point]
) -> SharedQuantity | None:
    known = [(label, quantities[name]) for _, label, quantities in members if name in quantities]
    known = [(label, quantity) for label, quantity in known if quantity.std is not None and quantity.std > 0]
    found = agreement_of([q.value for _, q in known], [q.std or 0.0 for _, q in known])
    if found is None:
        return None
    mean = Quantity(found.mean, found.std, known[0][1].unit)
    return SharedQuantity(
        name, across, at, tuple(label for label, _ in known), mean, found.chi2, found.dof, found.p_value
    )
