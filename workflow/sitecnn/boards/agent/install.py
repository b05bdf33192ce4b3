# -*- coding: utf-8 -*-
"""Puts an agent's file where a board starts it from."""

from __future__ import absolute_import, division, print_function

import os
import tempfile

from .errors import Refused
from .private import open_own, state_folder


def install(name, content):
    """The path of a file of this name and content in this user's own folder; written only if it is not there yet.

    A file that is there is whole, because it gets its name last, and nobody else can have put it there.
    """
    folder = state_folder()
    path = os.path.join(folder, name)
    try:
        with os.fdopen(open_own(path, os.O_RDONLY), "rb") as present:
            if present.read() == content:
                return path
    except (IOError, OSError):
        pass
    try:
        descriptor, temporary = tempfile.mkstemp(dir=folder)
        with os.fdopen(descriptor, "wb") as target:
            target.write(content)
        os.rename(temporary, path)
    except (IOError, OSError) as error:
        raise Refused("%s cannot be written: %s" % (path, error.strerror))
    return path
