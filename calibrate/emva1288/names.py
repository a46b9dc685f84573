"""Names, symbols and units of the standard's quantities, in the order of its data sheet."""

from __future__ import annotations

#: Name: (symbol, unit, meaning).
QUANTITIES: dict[str, tuple[str, str, str]] = {
    "quantum_efficiency_percent": ("eta", "%", "quantum efficiency"),
    "responsivity_dn_per_photon": ("R", "DN/photon", "responsivity"),
    "responsivity_dn_per_s": ("R", "DN/s", "responsivity"),
    "system_gain_dn_per_e": ("K", "DN/e-", "system gain"),
    "inverse_system_gain_e_per_dn": ("1/K", "e-/DN", "inverse of the system gain"),
    "temporal_dark_noise_dn": ("sigma_y.dark", "DN", "temporal dark noise with rounding"),
    "temporal_dark_noise_e": ("sigma_d", "e-", "temporal dark noise before rounding"),
    "sensitivity_threshold_photons": ("mu_p.min", "photons", "absolute sensitivity threshold"),
    "sensitivity_threshold_e": ("mu_e.min", "e-", "absolute sensitivity threshold"),
    "saturation_capacity_photons": ("mu_p.sat", "photons", "saturation capacity"),
    "saturation_capacity_e": ("mu_e.sat", "e-", "saturation capacity"),
    "snr_max": ("SNR_max", "1", "largest signal-to-noise ratio"),
    "snr_max_db": ("SNR_max", "dB", "largest signal-to-noise ratio"),
    "snr_max_bit": ("SNR_max", "bit", "largest signal-to-noise ratio"),
    "inverse_snr_max_percent": ("1/SNR_max", "%", "noise over signal at saturation"),
    "dynamic_range": ("DR", "1", "dynamic range"),
    "dynamic_range_db": ("DR", "dB", "dynamic range"),
    "dynamic_range_bit": ("DR", "bit", "dynamic range"),
    "linearity_error_percent": ("LE", "%", "linearity error, mean absolute deviation"),
    "linearity_error_min_percent": ("LE_min", "%", "linearity error, lowest deviation"),
    "linearity_error_max_percent": ("LE_max", "%", "linearity error, highest deviation"),
    "dark_current_from_mean_dn_per_s": ("mu_I.y", "DN/s", "dark current from the means"),
    "dark_current_from_mean_e_per_s": ("mu_I.mean", "e-/s", "dark current from the means"),
    "dark_current_from_variance_e_per_s": ("mu_I.var", "e-/s", "dark current from the variances"),
    "dsnu1288_e": ("DSNU_1288", "e-", "dark-signal non-uniformity"),
    "dsnu1288_row_e": ("DSNU_1288.row", "e-", "DSNU from row to row"),
    "dsnu1288_column_e": ("DSNU_1288.col", "e-", "DSNU from column to column"),
    "dsnu1288_pixel_e": ("DSNU_1288.pixel", "e-", "DSNU from pixel to pixel"),
    "dsnu1288_dn": ("DSNU_1288.DN", "DN", "dark-signal non-uniformity"),
    "prnu1288_percent": ("PRNU_1288", "%", "photo-response non-uniformity"),
    "prnu1288_row_percent": ("PRNU_1288.row", "%", "PRNU from row to row"),
    "prnu1288_column_percent": ("PRNU_1288.col", "%", "PRNU from column to column"),
    "prnu1288_pixel_percent": ("PRNU_1288.pixel", "%", "PRNU from pixel to pixel"),
    "spatial_variance_dark_dn2": ("s2_y.dark", "DN^2", "spatial variance of the darks"),
    "spatial_variance_dark_row_dn2": ("s2_y.row.dark", "DN^2", "its part from row to row"),
    "spatial_variance_dark_column_dn2": ("s2_y.col.dark", "DN^2", "its part from column to column"),
    "spatial_variance_dark_pixel_dn2": ("s2_y.pixel.dark", "DN^2", "its part from pixel to pixel"),
    "spatial_variance_50_dn2": ("s2_y.50", "DN^2", "spatial variance of the flats"),
    "spatial_variance_50_row_dn2": ("s2_y.row.50", "DN^2", "its part from row to row"),
    "spatial_variance_50_column_dn2": ("s2_y.col.50", "DN^2", "its part from column to column"),
    "spatial_variance_50_pixel_dn2": ("s2_y.pixel.50", "DN^2", "its part from pixel to pixel"),
    "temporal_variance_stack_dark_dn2": ("sigma2_y.stack.dark", "DN^2", "temporal variance of the darks"),
    "temporal_variance_stack_dn2": ("sigma2_y.stack", "DN^2", "temporal variance of the flats"),
    "spatial_signal_percent": ("", "%", "signal of the flats over saturation"),
    "spatial_frames": ("L", "1", "frames in the smaller spatial stack"),
}

#: What a name of release 3.1 ends in: the same quantity by that release's formulas.
RELEASE_31 = "_r31"


def base_name(name: str) -> str:
    """Key of `QUANTITIES` of an entry's name, without channel and release.

    Examples
    --------
    >>> base_name("snr_max_r31"), base_name("R.snr_max")
    ('snr_max', 'snr_max')
    """
    return name.rpartition(".")[2].removesuffix(RELEASE_31)
