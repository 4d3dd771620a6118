"""The arithmetic of chance: how far a count is from what was expected, and how likely that is.

Scores are log-likelihood ratios in nats: 0 where nothing is odd. Counts scatter more than a Poisson's, since people come in
groups: negative binomials, and beta-binomials for shares.
"""

from math import exp, lgamma, log, tau
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

LEAST_P: Final = 1e-15
_MOST_TERMS: Final = 100_000
_HALF_LOG_TAU: Final = log(tau) / 2


def surplus(counted: Any, expected: Any, size: Any) -> Floats:
    """Return by how much a negative binomial of this mean and size was exceeded; 0 where it was not."""
    n, mu, r = np.maximum(counted, 1e-9), np.maximum(expected, 1e-12), np.maximum(size, 1e-12)
    score = n * np.log(n / mu) - (n + r) * np.log((n + r) / (mu + r))
    return np.where(n > mu, np.maximum(score, 0.0), 0.0)


def excess(part: Any, whole: Any, share: Any) -> Floats:
    """Return by how much the part of a whole exceeds a share, as a binomial deviance; 0 where it does not."""
    whole = np.maximum(whole, 1e-9)
    seen, usual = np.clip(part / whole, 0.0, 1.0), np.clip(share, 1e-6, 1 - 1e-6)
    rest = 1 - seen
    with np.errstate(divide="ignore", invalid="ignore"):
        high = np.where(seen > 0, seen * np.log(seen / usual), 0.0)
        low = np.where(rest > 0, rest * np.log(rest / (1 - usual)), 0.0)
    return np.where(seen > usual, np.maximum(whole * (high + low), 0.0), 0.0)


def log_gamma(x: Any) -> Floats:
    """Return the logarithm of the gamma function of what is above 0: Stirling's series, from 8 up, to 12 digits."""
    if isinstance(x, float | int):
        return np.float64(lgamma(x))  # type: ignore[return-value]
    below = np.log(x * (x + 1) * (x + 2) * (x + 3)) + np.log((x + 4) * (x + 5) * (x + 6) * (x + 7))
    y = x + 8
    series = (1 / 12 - (1 / 360 - (1 / 1260 - 1 / (1680 * y * y)) / (y * y)) / (y * y)) / y
    found: Floats = (y - 0.5) * np.log(y) - y + _HALF_LOG_TAU + series - below
    return found


def log_negative_binomial(n: Any, mean: float, size: float) -> Floats:
    """Return the log-likelihoods of counts."""
    mean, size = max(mean, 1e-12), max(size, 1e-12)
    chosen = log_gamma(n + size) - log_gamma(size) - log_gamma(n + 1)
    found: Floats = chosen + size * log(size / (size + mean)) + n * log(mean / (size + mean))
    return found


def tail(n: int, mean: float, size: float) -> float:
    """Return the probability that a negative binomial reaches `n`."""
    mean, size = max(mean, 1e-12), max(size, 1e-12)
    if n <= mean:
        return 1.0
    term, sum_, ratio = exp(float(log_negative_binomial(n, mean, size))), 0.0, mean / (mean + size)
    for k in range(n, n + _MOST_TERMS):
        sum_ += term
        term *= (k + size) / (k + 1) * ratio
        if term < sum_ * 1e-9:
            break
    return min(1.0, max(sum_, LEAST_P))


def log_dirichlet_multinomial(counts: Ints, weights: Floats) -> Floats:
    """Return the log-likelihoods of counts of kinds in an order, whose shares are Dirichlet with each row of weights."""
    of_all = log_gamma(weights.sum(-1)) - log_gamma(weights.sum(-1) + counts.sum())
    found: Floats = of_all + (log_gamma(weights + counts) - log_gamma(weights)).sum(-1)
    return found


def log_others(others: Any, counted: int, a: float, b: float) -> Floats:
    """Return the log-likelihoods of so many other votes beside `counted`, in a crowd whose share of these is Beta(a, b)."""
    chosen = log_gamma(counted + others) - log_gamma(others + 1) - log_gamma(counted)
    found: Floats = chosen + _log_beta(counted + a, others + b) - _log_beta(a, b)
    return found


def log_beta_binomial(part: float, whole: float, a: float, b: float) -> float:
    """Return the log-likelihood of a part of a whole, in an order, whose share is Beta(a, b)."""
    return float(_log_beta(part + a, whole - part + b) - _log_beta(a, b))


def _log_beta(a: Any, b: Any) -> Floats:
    found: Floats = log_gamma(a) + log_gamma(b) - log_gamma(a + b)
    return found


def evenness(spacings: Floats) -> Floats:
    """Return how much better a gamma distribution that is more even than an exponential one fits the spacings of each row.

    The shape is T. P. Minka's closed form (Estimating a Gamma distribution, 2002).
    """
    gaps = np.maximum(spacings, 1e-3)
    s = np.maximum(np.log(gaps.mean(axis=-1)) - np.log(gaps).mean(axis=-1), 1e-6)
    shape = np.minimum((3 - s + np.sqrt((s - 3) ** 2 + 24 * s)) / (12 * s), 1e4)
    score = gaps.shape[-1] * (shape * np.log(shape) - log_gamma(shape) - (shape - 1) * s - shape + 1)
    return np.where(shape > 1, np.maximum(score, 0.0), 0.0)


def extrapolated(seen: float, drawn: Floats) -> float:
    """Return the probability of reaching what was seen, by what chance drew; beyond the draws by an exponential tail.

    After T. A. Knijnenburg et al., Fewer permutations, more accurate P-values, 2009: a log-likelihood ratio's tail is so.
    """
    reached = int((drawn >= seen).sum())
    if reached >= len(drawn) // 20:
        return (reached + 1) / (len(drawn) + 1)
    top = np.sort(drawn)[-(len(drawn) // 10) :]
    scale = max(1.0, float((top - top[0]).mean()))
    return max(LEAST_P, len(top) / len(drawn) * exp(-max(0.0, seen - float(top[0])) / scale))


def together(one: float, other: float) -> float:
    """Return the probability of two independent ones as small as these (R. A. Fisher, 1932)."""
    product = max(one * other, LEAST_P * LEAST_P)
    return min(1.0, max(LEAST_P, product * (1 - log(product))))


def discoveries(ps: Floats, tests: int, rate: float) -> float:
    """Return the largest probability that is a find among so many tests (Y. Benjamini, Y. Hochberg, 1995); 0 for none."""
    ordered = np.sort(ps)
    passed = np.nonzero(ordered <= rate * np.arange(1, len(ps) + 1) / max(tests, 1))[0]
    return float(ordered[passed[-1]]) if len(passed) else 0.0
