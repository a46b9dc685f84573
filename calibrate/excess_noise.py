"""Numbers in input electrons behind an amplifier whose excess noise factor is known."""

from __future__ import annotations

from dataclasses import replace

from calibrate.flags import flag
from calibrate.noise_model import NoiseModel
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.schema import ExcessNoiseEntry, ParameterEntry

#: Powers of F^2 that turn a parameter into its value in input electrons.
_POWERS = {
    "system_gain_dn_per_e": -1,
    "read_noise_e": 1,
    "dark_current_e_per_s": 1,
    "saturation_e": 1,
    "full_well_e": 1,
    "dsnu_e": 1,
    "quantum_efficiency_percent": 1,
    "brighter_fatter_a00_per_e": -1,
    "brighter_fatter_b_per_e": -1,
}
_LARGEST = 100.0


def with_excess_noise(model: NoiseModel, excess_noise_factor: float) -> NoiseModel:
    r"""The model with its numbers in input electrons beside it, for a stated excess noise factor F^2.

    Parameters
    ----------
    model : NoiseModel
        Whose gain comes from variances over means, as every photon-transfer fit's does.
    excess_noise_factor : float
        F^2, 1 or more: 2 for electron multiplication at high gain. With 1 the model comes back as it is.

    Raises
    ------
    PhotonbitsError
        If the factor is below 1 or not finite, or the model has one already.

    Notes
    -----
    y electrons that an amplifier multiplies by independent g of mean G have the mean K y and the variance K^2 F^2
    y, with F^2 = E[g^2]/E[g]^2 and K = k G in DN per input electron (Robbins and Hadwen 2003,
    doi:10.1109/TED.2003.813462). Means and variances tell K F^2 alone. In effective electrons y/F^2 at the gain K
    F^2 both are those of shot noise, so that the noise model stays as it is; K is its gain over F^2, and the read
    noise, which arises behind the amplifier, is :math:`\sigma/K`, F^2 times as many electrons.
    """
    if not 1 <= excess_noise_factor <= _LARGEST:
        raise PhotonbitsError(
            f"excess noise factor {excess_noise_factor:g}",
            legal=f"F^2 from 1 to {_LARGEST:g}: 2 for electron multiplication at high gain",
        )
    document = model.document
    if document.excess_noise is not None:
        raise PhotonbitsError(
            f"the noise model has an excess noise factor of {document.excess_noise.factor:g} already",
            legal="one stated factor",
        )
    if excess_noise_factor == 1:
        return model
    inputs = {}
    for name, entry in document.parameters.items():
        if name in _POWERS and isinstance(entry, ParameterEntry):
            times = excess_noise_factor ** _POWERS[name]
            std = None if entry.std is None else entry.std * times
            inputs[name] = ParameterEntry(value=entry.value * times, std=std, unit=entry.unit)
    stated = flag(
        "excess_noise_stated",
        factor=excess_noise_factor,
        gain=inputs["system_gain_dn_per_e"].value,
        read=inputs["read_noise_e"].value,
    )
    kept = tuple(entry for entry in document.fit.flags if entry.code != "excess_noise_suspected")
    changes = {
        "excess_noise": ExcessNoiseEntry(factor=excess_noise_factor, input_parameters=inputs),
        "fit": document.fit.model_copy(update={"flags": (stated, *kept)}),
    }
    return replace(model, document=document.model_copy(update=changes))
