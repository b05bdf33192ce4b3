# -*- coding: utf-8 -*-
"""One board, one agent, whoever starts it."""

from __future__ import absolute_import, division, print_function

import errno
import fcntl
import os
import socket
import struct
import sys
import time

from .errors import Refused
from .private import open_own, user

LOCK_SECONDS = 60


def lock_board(name, folder, check):
    """Hold the board's lock for the life of this process and its worker; Refused if another keeps it for a minute.

    The lock is the name of an abstract Unix socket: every user can take it, it goes with its last holder, and there
    is no file that somebody could have prepared (unix(7)). Only Linux has them; elsewhere it is a file in `folder`.
    """
    end, named_owner = time.time() + LOCK_SECONDS, False
    while True:
        lock = take_socket(name) if sys.platform.startswith("linux") else take_file(folder)
        if lock:
            break
        if time.time() > end:
            raise Refused("%s has measured on this board for over %d s" % (lock_owner(name), LOCK_SECONDS))
        if not named_owner:
            print("agent: waiting for %s on this board" % lock_owner(name), file=sys.stderr)
            named_owner = True
        check()
        time.sleep(0.5)
    # The worker inherits it: a supervisor that is killed leaves the board locked until its worker has ended too.
    getattr(os, "set_inheritable", lambda *_: None)(lock.fileno(), True)  # novm: Python 2's always are
    return lock


def take_socket(name):
    """A listening socket of this abstract name; None if another process has it."""
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        lock.bind("\0" + name)
        lock.listen(1)
    except socket.error as error:
        lock.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise Refused("cannot take the board's lock: %s" % error.strerror)
    return lock


def take_file(folder):
    """A locked file of this user's, where sockets have no abstract names; None if another process has locked it."""
    lock = os.fdopen(open_own(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT), "r+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (IOError, OSError) as error:
        lock.close()
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return None
        raise Refused("cannot lock %s: %s" % (lock.name, error.strerror))
    return lock


def lock_owner(name):
    """Who holds the board's lock, for a message: the kernel says which process and user listen."""
    asking = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    asking.setblocking(False)
    try:
        asking.connect("\0" + name)
        credentials = asking.getsockopt(socket.SOL_SOCKET, getattr(socket, "SO_PEERCRED", 17), struct.calcsize("3i"))
    except socket.error:
        return "another agent"
    finally:
        asking.close()
    pid, uid, _ = struct.unpack("3i", credentials)
    return "the agent with pid %d of user %s" % (pid, user(uid))
