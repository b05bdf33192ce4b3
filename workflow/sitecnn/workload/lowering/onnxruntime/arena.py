"""ONNX Runtime's arena: best fit with coalescing, in regions that double in size (bfc_arena.cc and its defaults)."""

from bisect import bisect_left, insort

UNIT_BYTES = 256
"""Sizes are multiples of it."""

FIRST_REGION_BYTES = 1 << 20
DEAD_BYTES = 128 << 20
"""A chunk is split if it is twice as large as what was asked for, or larger by so much."""

REGIONS_APART = 1 << 48
"""Of addresses, so that chunks of two regions are never neighbours."""


class Arena:
    """Addresses of what is allocated and released, and `touched_bytes`, the pages that are resident for it."""

    def __init__(self) -> None:
        self.next_region_bytes = FIRST_REGION_BYTES
        self.regions = 0
        self.sizes: dict[int, int] = {}
        """Of chunks in use, by address."""
        self.free: list[tuple[int, int]] = []
        """(bytes, address) of free chunks, in order."""
        self.free_sizes: dict[int, int] = {}
        self.free_ends: dict[int, int] = {}
        self.touched: list[tuple[int, int]] = []

    def allocate(self, count: int, is_touched: bool = True) -> int:
        """The address of a chunk of at least `count` bytes; they are resident from now on if they `is_touched`."""
        wanted = rounded(count)
        place = bisect_left(self.free, (wanted, 0))
        if place == len(self.free):
            self._extend(wanted)
            place = bisect_left(self.free, (wanted, 0))
        size, address = self.free[place]
        self._take(size, address)
        if size >= 2 * wanted or size - wanted >= DEAD_BYTES:
            self._give(size - wanted, address + wanted)
            size = wanted
        self.sizes[address] = size
        if is_touched:
            self.touch(address, count)
        return address

    def touch(self, address: int, count: int) -> None:
        """`count` bytes from an address on are written."""
        self.touched.append((address, address + count))

    def release(self, address: int) -> None:
        """Free a chunk; free neighbours are one with it."""
        size = self.sizes.pop(address)
        if (following := self.free_sizes.get(address + size)) is not None:
            self._take(following, address + size)
            size += following
        if (before := self.free_ends.get(address)) is not None:
            self._take(address - before, before)
            size, address = size + address - before, before
        self._give(size, address)

    def touched_bytes(self) -> int:
        """Bytes that were ever written."""
        total, reached = 0, -1
        for start, end in sorted(self.touched):
            total += max(end - max(start, reached), 0)
            reached = max(reached, end)
        return total

    def _extend(self, wanted: int) -> None:
        if wanted <= self.next_region_bytes:
            size, self.next_region_bytes = self.next_region_bytes, 2 * self.next_region_bytes
        else:
            while self.next_region_bytes < wanted:
                self.next_region_bytes *= 2
            size = self.next_region_bytes
        self.regions += 1
        self._give(size, self.regions * REGIONS_APART)

    def _give(self, size: int, address: int) -> None:
        insort(self.free, (size, address))
        self.free_sizes[address] = size
        self.free_ends[address + size] = address

    def _take(self, size: int, address: int) -> None:
        del self.free[bisect_left(self.free, (size, address))]
        del self.free_sizes[address]
        del self.free_ends[address + size]


def rounded(count: int) -> int:
    """Bytes as the arena allocates them."""
    return max(-(-count // UNIT_BYTES), 1) * UNIT_BYTES
