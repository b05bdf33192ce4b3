# -*- coding: utf-8 -*-
"""Inputs like photographs: how often a pooling window's maximum changes hands decides its branches."""

from __future__ import absolute_import, division, print_function


def like_an_image(numpy, values):
    """Noise whose amplitudes fall as 1/f, as those of photographs do (Field 1987), of variance 1."""
    fft = numpy.fft
    rows, columns = fft.fftfreq(values.shape[2])[:, None], fft.fftfreq(values.shape[3])[None, :]
    frequency = numpy.maximum((rows**2 + columns**2) ** 0.5, 1.0 / max(values.shape[2:]))
    image = fft.ifft2(fft.fft2(values) / frequency).real
    return image / max(image.std(), 1e-12)
