"""Real Caffe, as the tests of networks have it."""

from tests.network.conftest import real_caffe  # noqa: F401
