# -*- coding: utf-8 -*-
"""Folders and files of this user's own, which no other user of the board can have prepared."""

from __future__ import absolute_import, division, print_function

import errno
import os
import pwd
import stat

from .errors import Refused


def user_cache():
    """The folder of this user for what programs keep: $XDG_CACHE_HOME, or .cache in the home."""
    try:
        home = pwd.getpwuid(os.geteuid()).pw_dir  # not $HOME: sudo may leave another user's there
    except KeyError:
        home = os.environ.get("HOME", "/")
    return os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")


def state_folder():
    """The folder of this user in which the agent keeps what it needs between two starts; made if it is not there.

    It is under the user's cache and nowhere else: in a folder that all can write in, others could take its name first.
    """
    folder = os.path.join(user_cache(), "sitecnn", "agent")
    try:
        return private_folder(folder)
    except (IOError, OSError) as error:
        text = "%s cannot be made (%s): name a folder of your own by XDG_CACHE_HOME"
        raise Refused(text % (folder, error.strerror))


def private_folder(folder):
    """`folder` without links in its path, made with mode 0700 if it is not there.

    Refused if another user owns it, could write into it, or could put another in its place.
    """
    parent = os.path.realpath(os.path.dirname(folder))
    folder, fix = os.path.join(parent, os.path.basename(folder)), "remove it, or name another by XDG_CACHE_HOME"
    before = os.umask(0o077)
    try:
        os.makedirs(folder)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise
    finally:
        os.umask(before)
    status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode):
        raise Refused("%s is a link or a file, not a folder: %s" % (folder, fix))
    if status.st_uid != os.geteuid():
        raise Refused("%s belongs to user %s, not to %s: %s" % (folder, user(status.st_uid), user(os.geteuid()), fix))
    if stat.S_IMODE(status.st_mode) != 0o700:
        text = "%s has mode %04o, so others may have written there, not 0700: %s"
        raise Refused(text % (folder, stat.S_IMODE(status.st_mode), fix))
    while parent != os.path.dirname(parent):
        status = os.lstat(parent)
        if status.st_uid not in (0, os.geteuid()) or writable_by_others(status):
            raise Refused("users other than %s can write in %s: %s" % (user(os.geteuid()), parent, fix))
        parent = os.path.dirname(parent)
    return folder


def writable_by_others(status):
    """Whether users beside its owner and this user's own group can replace what stands in a folder."""
    foreign = stat.S_IWOTH | (stat.S_IWGRP if status.st_gid not in (0, os.getegid()) else 0)
    return bool(status.st_mode & foreign) and not status.st_mode & stat.S_ISVTX


def open_own(path, flags, mode=0o600):
    """A descriptor of a regular file that has no other name and belongs to this user or root.

    Refused for what another user may have put there: a link, a device, a file of theirs.
    """
    try:
        descriptor = os.open(path, flags & ~os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK, mode)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a pipe or socket that nobody reads
            raise Refused("%s is a link or a pipe: it is not used" % path)
        raise
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid in (0, os.geteuid()):
        if flags & os.O_TRUNC:
            os.ftruncate(descriptor, 0)
        return descriptor
    os.close(descriptor)
    raise Refused("%s is no file of user %s alone: it is not used" % (path, user(os.geteuid())))


def user(number):
    """A user's name, or the number if it has none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
