"""Standard errors from the scatter of the levels themselves, for captures that scatter more than their noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibrate.photon_transfer.data import PhotonTransferData
from calibrate.photon_transfer.gauss_newton import (
    Candidate,
    difference_steps,
    jacobian_of,
    solve_normal,
    stacked_residuals,
    whiten_columns,
)
from calibrate.photon_transfer.likelihood import error_covariance, weights, whiten

FloatArray = NDArray[np.float64]


def sandwich_covariance(fit: Candidate, data: PhotonTransferData, shape: FloatArray) -> FloatArray:
    """Covariance of theta from the residuals of the levels, whatever their scatter is.

    Parameters
    ----------
    fit : Candidate
    data : PhotonTransferData
    shape : ndarray (n_levels,)
        Kurtosis factor of `error_covariance`.

    Returns
    -------
    ndarray (n_parameters, n_parameters)

    Notes
    -----
    ``B (sum_g X_g^T e_g e_g^T X_g) B`` with ``B = (X^T X)^-1``, X and e the whitened derivatives and residuals, and g
    the levels, whose mean and variance go together. The residuals are those of each level about the fit without it,
    ``(1 - H_gg)^-1 e_g``: the jackknife of the levels to first order (MacKinnon and White 1985, HC3,
    doi:10.1016/0304-4076(85)90158-7), which errs to the wide side with few levels.
    """
    jacobian = jacobian_of(stacked_residuals(fit.layout, data), fit.theta, difference_steps(fit.theta, fit.layout))
    w = weights(fit.residuals, *error_covariance(fit.theta, fit.layout, data, fit.nuisance, shape))
    columns, white = whiten_columns(fit.residuals, w, jacobian), whiten(fit.residuals, w)
    bread = solve_normal(columns)
    level = np.concatenate([np.flatnonzero(fit.residuals.has_mean), np.flatnonzero(fit.residuals.has_variance)])
    filling = np.zeros_like(bread)
    for number in np.unique(level):
        rows = np.flatnonzero(level == number)
        own = columns[rows]
        left = np.eye(rows.size) - own @ bread @ own.T
        score = own.T @ (np.linalg.pinv(left, rcond=1e-6) @ white[rows])
        filling += np.outer(score, score)
    return np.asarray(bread @ filling @ bread)


def at_least_as_wide(covariance: FloatArray, other: FloatArray) -> FloatArray:
    """The first covariance, with every standard error that is smaller than the other's widened to it."""
    ours, theirs = np.diag(covariance), np.diag(other)
    factor = np.sqrt(np.maximum(theirs / np.where(ours > 0, ours, np.inf), 1.0))
    return np.asarray(covariance * np.outer(factor, factor))
