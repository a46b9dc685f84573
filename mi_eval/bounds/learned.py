"""InfoNCE with a learned score: two shots of the same scene, or simulated objects and their measurements.

No noise model enters. Two shots of one scene share nothing but the scene, so I(Z1;Z2) <= I(X;Z): any lower bound of the
first is one of the second.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibrate import PhotonbitsError
from mi_eval.bounds.scores import Bound, donsker_varadhan, infonce, nwj
from mi_eval.torch_extra import Tensor, torch

FloatArray = NDArray[np.float64]

_FEWEST_GROUPS = 50
_SMALLEST_BATCH = 16


@dataclass(frozen=True)
class LearnedBound:
    """InfoNCE on pairs that no critic has seen, bits per pixel; the critic is the validation set's choice among seeds.

    Parameters
    ----------
    lower_bits_per_pixel, std_bits_per_pixel : float
        In expectation at most the information that the two members of a pair share.
    cap_bits_per_pixel : float
        log2 of the number of held-out pairs over the pixels of a patch.
    nwj_bits_per_pixel, mine_bits_per_pixel : float
        The same critic's scores in the form of Nguyen et al. and of Donsker and Varadhan (MINE), for comparison.
    per_seed_bits_per_pixel : tuple of float
        InfoNCE on the held-out pairs for each seed.
    seeds : tuple of int
    critic_parameters : int
        Numbers that each critic learned.
    train_pairs, test_pairs : int
    capped : bool
        Above 0.8 of the cap: it tells the number of pairs, not the information.
    """

    lower_bits_per_pixel: float
    std_bits_per_pixel: float
    cap_bits_per_pixel: float
    nwj_bits_per_pixel: float
    mine_bits_per_pixel: float
    per_seed_bits_per_pixel: tuple[float, ...]
    seeds: tuple[int, ...]
    critic_parameters: int
    train_pairs: int
    test_pairs: int
    capped: bool


def learned_bound(
    first: ArrayLike,
    second: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    seeds: Sequence[int] = (0, 1),
    channels: int = 16,
    features: int = 32,
    epochs: int = 60,
    batch: int = 128,
    learning_rate: float = 2e-3,
) -> LearnedBound:
    """Lower bound of what pairs of patches share, by a small convolutional critic.

    Parameters
    ----------
    first, second : ndarray (n_pairs, height, width)
        Two shots of the same scenes, or objects and their measurements. Pairs are independent draws; patches of one
        frame are not, and one patch a frame is what the bound asks for.
    groups : ndarray (n_pairs,) of int, optional
        Pairs that must stay together when some are held out, such as those of one frame. Default: each by itself.
    seeds : sequence of int
        A critic each; the one with the best validation score is reported.
    channels, features : int
        Width of the convolutions, and length of the vector that each patch becomes.
    epochs, batch : int
        Most passes over the training pairs (it stops 10 passes after the best validation score), and pairs a step.
    learning_rate : float

    Returns
    -------
    LearnedBound

    Raises
    ------
    PhotonbitsError
        For other shapes, fewer than 50 groups, or a batch of fewer than 16 or more than the training pairs.

    Notes
    -----
    Score s(a, b) = u(a) . v(b) with two encoders: two 3 x 3 convolutions and a linear layer each. 60 % of the groups
    train, 20 % choose (early stopping, seed, and the baseline of NWJ), 20 % are the value: a critic fixed before it
    sees them makes InfoNCE a lower bound in expectation.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.ndim != 3 or b.ndim != 3 or len(a) != len(b) or a.size == 0:
        raise PhotonbitsError(
            f"pairs of shapes {a.shape} and {b.shape}", legal="(n_pairs, height, width), equally many of both"
        )
    if not seeds:
        raise PhotonbitsError("no seeds", legal="one or more")
    label = np.arange(len(a)) if groups is None else np.asarray(groups)
    parts = _split(label, len(a))
    n_train = int(parts[0].size)
    if not _SMALLEST_BATCH <= batch <= n_train:
        raise PhotonbitsError(f"batch of {batch}", legal=f"{_SMALLEST_BATCH} to {n_train}, the training pairs")
    a, b = (_standardised(values, parts[0]) for values in (a, b))
    pixels = b.shape[1] * b.shape[2]
    per = np.log(2) * pixels
    found = []
    for seed in seeds:
        critic = _train(a, b, parts, seed, channels, features, epochs, batch, learning_rate)
        validation, test = (_scores(critic, a[part], b[part]) for part in parts[1:])
        found.append((infonce(validation).value, infonce(test), validation, test, critic))
    _, bound, validation, test, critic = max(found, key=lambda entry: entry[0])
    cap = float(np.log2(parts[2].size)) / pixels
    value = bound.value / per
    return LearnedBound(
        lower_bits_per_pixel=value,
        std_bits_per_pixel=bound.std / per,
        cap_bits_per_pixel=cap,
        nwj_bits_per_pixel=_nwj_of(validation, test).value / per,
        mine_bits_per_pixel=donsker_varadhan(test).value / per,
        per_seed_bits_per_pixel=tuple(entry[1].value / per for entry in found),
        seeds=tuple(int(seed) for seed in seeds),
        critic_parameters=sum(int(p.numel()) for p in critic.parameters()),
        train_pairs=n_train,
        test_pairs=int(parts[2].size),
        capped=value > 0.8 * cap,
    )


def _split(label: NDArray[Any], n: int) -> tuple[NDArray[np.int64], ...]:
    """Pairs that train, choose and test: 60, 20 and 20 % of the groups, always the same ones."""
    if label.shape != (n,):
        raise PhotonbitsError(f"groups of shape {label.shape}", legal=f"({n},), one for each pair")
    names = np.unique(label)
    if names.size < _FEWEST_GROUPS:
        raise PhotonbitsError(
            f"{names.size} independent pairs", legal=f"{_FEWEST_GROUPS} or more", remedy="Shoot more scenes"
        )
    order = np.random.default_rng(names.size).permutation(names)
    ends = (round(0.6 * names.size), round(0.8 * names.size))
    chosen = (order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] :])
    return tuple(np.flatnonzero(np.isin(label, part)) for part in chosen)


def _standardised(values: FloatArray, train: NDArray[np.int64]) -> FloatArray:
    known = values[train]
    return np.asarray((values - known.mean()) / max(float(known.std()), 1e-12))


def _encoder(shape: tuple[int, int], channels: int, features: int) -> Any:
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(channels * shape[0] * shape[1], features),
    )


def _train(
    a: FloatArray,
    b: FloatArray,
    parts: tuple[NDArray[np.int64], ...],
    seed: int,
    channels: int,
    features: int,
    epochs: int,
    batch: int,
    learning_rate: float,
) -> Any:
    """Two encoders by Adam on symmetric InfoNCE, stopped where the validation score was best."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(seed))
        critic = torch.nn.ModuleList([_encoder(v.shape[1:], channels, features) for v in (a, b)])
    optimiser = torch.optim.AdamW(critic.parameters(), lr=learning_rate, weight_decay=1e-2)
    rng = np.random.default_rng([seed, 1])
    data = [torch.as_tensor(v[:, None], dtype=torch.float32) for v in (a, b)]
    best, since = -np.inf, 0
    kept = copy.deepcopy(critic.state_dict())
    for _ in range(epochs):
        order = rng.permutation(parts[0])
        for start in range(0, order.size - batch + 1, batch):
            index = torch.as_tensor(order[start : start + batch])
            scores = _pair_scores(critic, data[0][index], data[1][index])
            target = torch.arange(batch)
            loss = torch.nn.functional.cross_entropy(scores, target)
            loss = (loss + torch.nn.functional.cross_entropy(scores.T, target)) / 2
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        value = infonce(_scores(critic, a[parts[1]], b[parts[1]])).value
        since += 1
        if value > best:
            best, since, kept = value, 0, copy.deepcopy(critic.state_dict())
        if since >= 10:
            break
    critic.load_state_dict(kept)
    return critic


def _pair_scores(critic: Any, a: Tensor, b: Tensor) -> Tensor:
    """Score of every member of one side with every member of the other, (n, n)."""
    return critic[0](a) @ critic[1](b).T


def _scores(critic: Any, a: FloatArray, b: FloatArray) -> FloatArray:
    with torch.no_grad():
        pair = [torch.as_tensor(v[:, None], dtype=torch.float32) for v in (a, b)]
        return np.asarray(_pair_scores(critic, *pair).numpy(), dtype=np.float64)


def _nwj_of(validation: FloatArray, test: FloatArray) -> Bound:
    """NWJ on the test pairs with one baseline from the validation pairs."""
    others = validation[~np.eye(len(validation), dtype=bool)]
    baseline = float(np.logaddexp.reduce(others) - np.log(others.size))
    return nwj(test, np.full(len(test), baseline))
