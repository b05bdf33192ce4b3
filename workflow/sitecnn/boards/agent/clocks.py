# -*- coding: utf-8 -*-
"""Clocks held at their highest while an agent measures."""

from __future__ import absolute_import, division, print_function

import json
import os
import platform
import re
import sys

from .board import GOVERNORS, paths, read_text
from .errors import Refused
from .private import open_own


def pinned_clocks():
    """[(path, value)] that hold this board at its highest clocks: what of it exists, in the order to write it."""
    settings = [(path, "performance") for path in paths(GOVERNORS)]
    settings += [(path, "0") for path in paths("/sys/devices/system/cpu/cpuquiet/tegra_cpuquiet/enable")]
    for pattern in ("/sys/devices/*gpu*/devfreq/*gpu*", "/sys/class/devfreq/*gpu*"):
        for folder in paths(pattern):
            highest = read_text(folder + "/max_freq")
            if highest and folder + "/min_freq" not in dict(settings):
                settings.append((folder + "/min_freq", highest))
    for clock in ("gbus", "emc"):
        for folder in paths("/sys/kernel/debug/clock/override." + clock):
            highest = read_text(os.path.join(os.path.dirname(folder), clock, "max"))
            settings += [(folder + "/rate", highest)] if highest else []
            settings += [(folder + "/state", "1")]
    return settings


# What a setting of `pinned_clocks` may hold: a governor's name, or a number.
CLOCK_VALUE = re.compile(r"[a-z][a-z_]{0,31}\Z|[0-9]{1,20}\Z")


class Clocks(object):
    """Clocks pinned for the life of an agent. What they were stands in a journal, so that a crash loses nothing.

    The journal is named after this boot of this machine: clocks do not outlast it, and boards may share a home.
    """

    def __init__(self, folder):
        boot = re.sub("[^0-9a-f-]", "", read_text("/proc/sys/kernel/random/boot_id") or "")
        self.journal = os.path.join(folder, "clocks-%s.json" % (boot or platform.node().replace("/", "")))

    def pin(self):
        """Write the journal, then the highest clocks; Refused if one cannot be written."""
        settings = pinned_clocks()
        if not settings:
            raise Refused("no clocks to pin were found in sysfs; `clocks: as_found` in the board's file measures as is")
        with os.fdopen(open_own(self.journal, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w") as journal:
            json.dump([(path, read_text(path)) for path, _ in settings if read_text(path) is not None], journal)
            journal.flush()
            os.fsync(journal.fileno())
        for path, value in settings:
            try:
                _write(path, value)
            except (IOError, OSError) as error:
                self.restore()
                raise Refused("cannot pin clocks: %s: %s; root may" % (path, error.strerror))

    def restore(self):
        """Put back what the journal says, last first; nothing if there is none. Entries that `pin` cannot have
        written are left alone and named."""
        try:
            with os.fdopen(open_own(self.journal, os.O_RDONLY)) as journal:
                before = json.load(journal)
        except (IOError, OSError):
            return
        except ValueError:  # cut off while it was written: nothing was pinned yet
            before = []
        names = set(path for path, _ in pinned_clocks())
        for entry in reversed(before if isinstance(before, list) else [before]):
            if not _is_setting(entry, names):
                print("agent: not restored, no clock of this board: %s" % json.dumps(entry)[:200], file=sys.stderr)
                continue
            try:
                _write(*entry)
            except (IOError, OSError) as error:
                print("agent: clock not restored: %s: %s" % (entry[0], error.strerror), file=sys.stderr)
        os.unlink(self.journal)


def _is_setting(entry, names):
    """Whether a journal's entry is [path, value] of one of these paths, the value of a clock's form."""
    texts = isinstance(entry, list) and len(entry) == 2 and all(hasattr(part, "encode") for part in entry)
    return bool(texts and entry[0] in names and CLOCK_VALUE.match(entry[1]))


def _write(path, value):
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_TRUNC), "w") as target:
        target.write(value)
