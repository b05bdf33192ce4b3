# -*- coding: utf-8 -*-
"""Cache state: what a kernel finds, and what it does not."""

from __future__ import absolute_import, division, print_function

import ctypes

from .board import cache_bytes

# Between two runs of one layer a network touches all its other memory, so as much is touched here (the plan says
# how much): by the other kernels of the block, measured in turn, and by copying what is missing through buffers.
# Twice the last cache level does the same; below 16 MiB before each call the TLB would keep its entries.
EVICT_LEVELS, LEAST_EVICT_BYTES, MOST_EVICT_BYTES = 2, 16 << 20, 1 << 30
# Copied in pieces that stay in the private cache.
EVICT_PIECE_BYTES = 1 << 20


class Evictor(object):
    """Copies through buffers that nobody else reads, so that what was in the caches no longer is."""

    def __init__(self):
        enough = max(EVICT_LEVELS * max(list(cache_bytes().values()) + [0]), LEAST_EVICT_BYTES)
        self.pool_bytes = min(enough, MOST_EVICT_BYTES)
        self.pieces, self.position = [], 0

    def evict(self, wanted_bytes):
        """Read half of `wanted_bytes` (at least LEAST_EVICT_BYTES) and write the other half."""
        if not self.pieces:
            count = max(self.pool_bytes // EVICT_PIECE_BYTES, 2)
            self.pieces = [(ctypes.c_char * EVICT_PIECE_BYTES)() for _ in range(count)]
        for _ in range(max(wanted_bytes, LEAST_EVICT_BYTES) // (2 * EVICT_PIECE_BYTES)):
            source, target = self.pieces[self.position], self.pieces[self.position - 1]
            ctypes.memmove(target, source, EVICT_PIECE_BYTES)
            self.position = (self.position + 2) % len(self.pieces)
