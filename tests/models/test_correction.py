"""What is learnt of errors beside countable work: it interpolates, fades, and tells how sure it is."""

import numpy as np
import pytest

from sitecnn.models.correction import AMPLITUDE, Correction, fit_correction
from sitecnn.workload.kernels import SIZE_NAMES


def sizes(**columns):
    count = len(next(iter(columns.values())))
    given = {name: np.asarray(columns.get(name, np.full(count, np.nan)), dtype=float) for name in SIZE_NAMES}
    return given


def test_a_ratio_that_was_measured_is_found_again_and_fades_with_distance():
    channels = np.array([16, 32, 64, 128, 256])
    seen = sizes(channels=channels, out_channels=channels, out_height=[28] * 5)
    correction = fit_correction(seen, np.full(5, 0.2))
    at, sd = correction.log_factor(seen)
    assert at == pytest.approx(0.2, abs=0.02) and (sd < 0.01).all()
    between, sd_between = correction.log_factor(sizes(channels=[48], out_channels=[48], out_height=[28]))
    distant, sd_distant = correction.log_factor(sizes(channels=[2**30], out_channels=[2**30], out_height=[28]))
    assert 0.1 < between[0] < 0.21 and 0 < sd_between[0] < sd_distant[0]
    assert abs(distant[0]) < 0.02 and sd_distant[0] == pytest.approx(AMPLITUDE, rel=0.02)


def test_equal_kernels_count_as_one_with_their_median():
    same = sizes(channels=[8] * 5, out_channels=[8] * 5)
    correction = fit_correction(same, np.array([0.1, 0.1, 0.1, 0.1, 3.0]))
    assert len(correction.points) == 1
    assert correction.log_factor(same)[0] == pytest.approx(0.1, abs=0.001)


def test_it_is_the_posterior_mean_of_the_process():
    """Two points in closed form: a = K(x, X)·(K + noise)⁻¹·y with one size alone."""
    correction = fit_correction(sizes(m=[1, 16]), np.array([0.3, -0.1]))
    near = np.exp(-4 / 4)
    k = AMPLITUDE**2 * np.array([[1, near], [near, 1]])
    goal = k @ np.linalg.solve(k + 0.03**2 * np.eye(2), [0.3, -0.1])
    assert correction.log_factor(sizes(m=[1, 16]))[0] == pytest.approx(goal, abs=1e-4)
    assert isinstance(correction, Correction)
