# -*- coding: utf-8 -*-
"""What ends a task or an agent."""

from __future__ import absolute_import, division, print_function


class Refused(Exception):
    """A task or a call that cannot be done here; its text is the reason that is recorded."""


class HostGone(Exception):
    """Nobody waits for records any more."""
