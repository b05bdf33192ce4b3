"""A reader of plain JSON lines, compiled by Numba: values of known names into arrays, a row per line.

A line is plain if it is one object without blanks, its texts have no escapes, and every known name stands in it once at
most with a value of its kind. What is not plain is told from what is, and left to a reader that knows all of JSON.

Numbers are rounded as `float` rounds them: Lemire, "Number parsing at a gigabyte per second", Software: Practice and
Experience 51 (2021), its fast path and its algorithm for 64-bit significands.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

TEXT, WHOLE, NUMBER, NUMBERS, TEXTS, OBJECT, OTHER = range(7)
"""Kinds of values; OTHER is read over."""

NAME_WORDS = 4
DEEPEST = 16
NOWHERE = UNKNOWN = -1
IN_LIST = -2

QUOTE, PLUS, COMMA, MINUS, DOT, ZERO, COLON = 34, 43, 44, 45, 46, 48, 58
OPEN_LIST, CLOSE_LIST, OPEN, CLOSE, LINE_END = 91, 93, 123, 125, 10

U = np.uint64
ONES, HIGH = U(0x0101010101010101), U(0x8080808080808080)
ZEROS, QUOTES, SLASHES = (ONES * U(byte) for byte in (48, 34, 92))
PRINTABLE, ABOVE_NINE = ONES * U(0x20), ONES * U(0x76)
PAIRS, FOURS = U(0x00FF00FF00FF00FF), U(0x0000FFFF0000FFFF)
TIMES_10, TIMES_100, TIMES_10000 = U(10 << 8 | 1), U(100 << 16 | 1), U(10000 << 32 | 1)
NULL, NULL_MASK = U(int.from_bytes(b"null", "little")), U(0xFFFFFFFF)
TRUE, FALSE = U(int.from_bytes(b"true", "little")), U(int.from_bytes(b"false", "little"))
FALSE_MASK = U(0xFFFFFFFFFF)

TENS = np.array([10**power for power in range(9)], np.uint64)
LARGEST_BEFORE = np.array([(2**64 - 10**power) // 10**power for power in range(9)], np.uint64)
"""What may stand before so many further digits."""

EXACT_TENS = np.array([10.0**power for power in range(23)])
LARGEST_EXACT = U(2**53)
LARGEST_WHOLE = U(2**63 - 1)
LARGEST_POWER = 27
"""Of ten; numbers beyond it are not plain."""


def _fives() -> "np.ndarray[Any, np.dtype[np.uint64]]":
    """The first 128 bits of 5^q as (high, low), q from -LARGEST_POWER to LARGEST_POWER; rounded up below 0."""
    bits = []
    for power in range(-LARGEST_POWER, LARGEST_POWER + 1):
        five = 5 ** abs(power)
        if power < 0:
            bits.append(2 ** ((five - 1).bit_length() + 127) // five + 1)
        else:
            bits.append(five << 128 - five.bit_length())
    return np.array([(five >> 64, five & (2**64 - 1)) for five in bits], np.uint64)


FIVES = _fives()

# Without counting references: nothing is allocated here, and counting takes longer than reading a number.
_options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}
_compiled = njit(cache=True, **_options)
_inlined = njit(forceinline=True, **_options)


@intrinsic
def _word(_, place):
    """The eight bytes at an address."""

    def generate(_, builder, __, arguments):
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.load(pointer, align=1)

    return types.uint64(types.int64), generate


@intrinsic
def _byte(_, place):
    def generate(_, builder, __, arguments):
        pointer = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        return builder.zext(builder.load(pointer), ir.IntType(64))

    return types.int64(types.int64), generate


@intrinsic
def _put_word(_, place, word):
    def generate(_, builder, __, arguments):
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        builder.store(arguments[1], pointer, align=1)
        return ir.Constant(ir.IntType(64), 0)

    return types.int64(types.int64, types.uint64), generate


@intrinsic
def _trailing_zeros(_, word):
    def generate(_, builder, __, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@intrinsic
def _leading_zeros(_, word):
    def generate(_, builder, __, arguments):
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@intrinsic
def _product_high(_, left, right):
    def generate(_, builder, __, arguments):
        wide = [builder.zext(argument, ir.IntType(128)) for argument in arguments]
        product = builder.mul(*wide)
        return builder.trunc(builder.lshr(product, ir.Constant(ir.IntType(128), 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


@intrinsic
def _as_float(_, word):
    def generate(_, builder, __, arguments):
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.uint64), generate


@_inlined
def _digits(place, number):
    """(place after the digits, how many, `number` with them appended, whether that fits into 64 bits)."""
    count, fits = 0, True
    while True:
        eight = _word(place) ^ ZEROS
        others = ((eight + ABOVE_NINE) | eight) & HIGH
        found = np.int64(_trailing_zeros(others) >> U(3)) if others else 8
        if found:
            fits = fits and number <= LARGEST_BEFORE[found]
            eight <<= U(64 - 8 * found)
            eight = ((eight * TIMES_10) >> U(8)) & PAIRS
            eight = ((eight * TIMES_100) >> U(16)) & FOURS
            eight = (eight * TIMES_10000) >> U(32)
            number = number * TENS[found] + eight
            place += found
            count += found
        if found < 8:
            return place, count, number, fits


@_inlined
def _number(place):
    """(place after a number, NOWHERE if none is there; negative?, significand, power of ten, is it whole?)."""
    negative = _byte(place) == MINUS
    place += negative
    first = _byte(place)
    place, count, number, fits = _digits(place, U(0))
    if count == 0 or (first == ZERO and count > 1):
        return NOWHERE, negative, number, 0, False
    power, whole = 0, True
    if _byte(place) == DOT:
        place, count, number, fits_too = _digits(place + 1, number)
        fits = fits and fits_too
        power, whole = -count, False
        if count == 0:
            return NOWHERE, negative, number, 0, False
    if _byte(place) | 0x20 == 101:  # e or E
        place += 1
        sign = _byte(place)
        place += sign in (PLUS, MINUS)
        place, count, exponent, _ = _digits(place, U(0))
        if count == 0 or count > 4:
            return NOWHERE, negative, number, 0, False
        power += -np.int64(exponent) if sign == MINUS else np.int64(exponent)
        whole = False
    return (place if fits else NOWHERE), negative, number, power, whole


@_inlined
def _rounded(number, power):
    """(number · 10^power as the nearest float, whether that could be told)."""
    if number == U(0):
        return 0.0, True
    if number <= LARGEST_EXACT and -22 <= power <= 22:
        exact = np.float64(number)
        return (exact / EXACT_TENS[-power] if power < 0 else exact * EXACT_TENS[power]), True
    if not -LARGEST_POWER <= power <= LARGEST_POWER:
        return 0.0, False
    zeros = _leading_zeros(number)
    number <<= zeros
    five_high, five_low = FIVES[power + LARGEST_POWER]
    low, high = number * five_high, _product_high(number, five_high)
    if high & U(0x1FF) == U(0x1FF):
        second = _product_high(number, five_low)
        low += second
        high += U(1) if low < second else U(0)
    upper = high >> U(63)
    shift = upper + U(64 - 52 - 3)
    mantissa = high >> shift
    exponent = ((217706 * power) >> 16) + 63 + np.int64(upper) - np.int64(zeros) + 1023
    if low <= U(1) and -4 <= power <= 23 and mantissa & U(3) == U(1) and mantissa << shift == high:
        mantissa &= ~U(1)  # halfway between two floats: to the even one
    mantissa = (mantissa + (mantissa & U(1))) >> U(1)
    if mantissa >= U(2 << 52):
        mantissa = U(1 << 52)
        exponent += 1
    return _as_float((mantissa & U((1 << 52) - 1)) | (U(exponent) << U(52))), True


@_inlined
def _text_end(place):
    """Where the closing quote of the text from `place` on stands; NOWHERE if an escape or a control comes before."""
    while True:
        word = _word(place)
        quotes, slashes = word ^ QUOTES, word ^ SLASHES
        stops = ((quotes - ONES) & ~quotes) | ((slashes - ONES) & ~slashes) | ((word - PRINTABLE) & ~word)
        stops &= HIGH
        if stops:
            end = place + np.int64(_trailing_zeros(stops) >> U(3))
            return end if _word(end) & U(0xFF) == U(QUOTE) else NOWHERE
        place += 8


@_inlined
def _is_name(place, slot, names, masks):
    """Whether a slot's name with its quote and colon stands at `place`."""
    different = (_word(place) ^ names[slot, 0]) & masks[slot, 0]
    for word in range(1, NAME_WORDS):
        if masks[slot, word] == U(0):
            break
        different |= (_word(place + 8 * word) ^ names[slot, word]) & masks[slot, word]
    return different == U(0)


@_inlined
def _find_name(place, space, spaces, names, masks):
    """The slot whose name stands at `place`; NOWHERE if none has it."""
    for slot in range(len(spaces)):
        if spaces[slot] == space and _is_name(place, slot, names, masks):
            return slot
    return NOWHERE


@_inlined
def _over_scalar(place):
    """The place after a text, number, true, false or null; NOWHERE if none is there."""
    if _byte(place) == QUOTE:
        end = _text_end(place + 1)
        return end + 1 if end >= 0 else NOWHERE
    word = _word(place)
    if word & NULL_MASK == NULL or word & NULL_MASK == TRUE:
        return place + 4
    if word & FALSE_MASK == FALSE:
        return place + 5
    return _number(place)[0]


@_inlined
def _numbers(place, values, column, count):
    """(place after a list of numbers, how many values its column has with them); NOWHERE if it is none."""
    if _byte(place + 1) == CLOSE_LIST:
        return place + 2, count
    while True:
        place, negative, number, power, _ = _number(place + 1)
        if place < 0:
            return NOWHERE, count
        value, known = _rounded(number, power)
        if not known:
            return NOWHERE, count
        values[column, count] = -value if negative else value
        count += 1
        if _byte(place) == CLOSE_LIST:
            return place + 1, count
        if _byte(place) != COMMA:
            return NOWHERE, count


@_inlined
def _texts(place, values, column, count):
    """The same of a list of texts: where each begins and how long it is."""
    if _byte(place + 1) == CLOSE_LIST:
        return place + 2, count
    while True:
        if _byte(place + 1) != QUOTE:
            return NOWHERE, count
        end = _text_end(place + 2)
        if end < 0:
            return NOWHERE, count
        values[column, count, 0], values[column, count, 1] = place + 2, end - place - 2
        count += 1
        place = end + 1
        if _byte(place) == CLOSE_LIST:
            return place + 1, count
        if _byte(place) != COMMA:
            return NOWHERE, count


@_inlined
def _copy(place, length, target):
    """Copy bytes, up to seven more than asked for."""
    for offset in range(0, length, 8):
        _put_word(target + offset, _word(place + offset))


@_compiled
def read(place, lines, slots, out, follows, stack):
    """Fill `out` from `lines` lines at the address `place`; zeros stand after them.

    `slots`: (space, name, mask, kind, column, length) of each known name. `out` as `sitecnn.dataset.lines` makes it.
    `follows` and `stack` are for our own use.
    """
    plain, starts, there, _, text_ends, _, _, _, number_ends, _, list_ends = out
    begin = place
    for row in range(lines):
        starts[row] = place - begin
        for ends in (text_ends, number_ends, list_ends):
            for column in range(len(ends)):
                ends[column, row + 1] = ends[column, row]
        end = _line(place, row, slots, out, follows, stack)
        plain[row] = end >= 0
        if end < 0:
            for slot in range(len(there)):
                there[slot, row] = 0
            for ends in (text_ends, number_ends, list_ends):
                for column in range(len(ends)):
                    ends[column, row + 1] = ends[column, row]
            end = place
            while _byte(end) != LINE_END:
                end += 1
        place = end + 1
    starts[lines] = place - begin


@_inlined
def _line(place, row, slots, out, follows, stack):
    """Read one line; returns where its end stands, NOWHERE if it is not plain."""
    spaces, names, masks, kinds, columns, lengths = slots
    _, _, there, texts, text_ends, wholes, numbers, number_lists, number_ends, text_lists, list_ends = out
    if _byte(place) != OPEN:
        return NOWHERE
    place += 1
    stack[0], depth, last = 0, 0, len(spaces)
    while True:
        # A value is to be read at `place`, its name before it unless it stands in a list.
        slot, kind, column = NOWHERE, OTHER, 0
        if stack[depth] != IN_LIST:
            if _byte(place) != QUOTE:
                return NOWHERE
            place += 1
            if stack[depth] >= 0:
                slot = follows[last]
                if slot < 0 or spaces[slot] != stack[depth] or not _is_name(place, slot, names, masks):
                    slot = _find_name(place, stack[depth], spaces, names, masks)
            if slot >= 0:
                kind, column = kinds[slot], columns[slot]
                place += lengths[slot]
                if there[slot, row]:
                    return NOWHERE
                follows[last] = slot
                last = slot
            else:
                place = _text_end(place)
                if place < 0 or _byte(place + 1) != COLON:
                    return NOWHERE
                place += 2
        first = _byte(place)
        if kind == OTHER:
            if first in (OPEN, OPEN_LIST):
                if _byte(place + 1) != (CLOSE if first == OPEN else CLOSE_LIST):
                    depth += 1
                    if depth == DEEPEST:
                        return NOWHERE
                    stack[depth] = UNKNOWN if first == OPEN else IN_LIST
                    place += 1
                    continue
                place += 2
            else:
                place = _over_scalar(place)
        elif _word(place) & NULL_MASK == NULL:
            place += 4
        else:
            there[slot, row] = 1
            if kind == TEXT:
                end = _text_end(place + 1) if first == QUOTE else NOWHERE
                if end < 0:
                    return NOWHERE
                length = end - place - 1
                before = text_ends[column, row]
                _copy(place + 1, length, texts[column] + before)
                text_ends[column, row + 1] = before + length
                place = end + 1
            elif kind in (WHOLE, NUMBER):
                place, negative, number, power, whole = _number(place)
                if kind == WHOLE:
                    if not whole or number > LARGEST_WHOLE:
                        return NOWHERE
                    wholes[column, row] = -np.int64(number) if negative else np.int64(number)
                else:
                    value, known = _rounded(number, power)
                    if not known:
                        return NOWHERE
                    numbers[column, row] = -value if negative else value
            elif kind == OBJECT:
                if first != OPEN:
                    return NOWHERE
                if _byte(place + 1) != CLOSE:
                    depth += 1
                    stack[depth] = column
                    place += 1
                    continue
                place += 2
            elif first != OPEN_LIST:
                return NOWHERE
            elif kind == NUMBERS:
                place, count = _numbers(place, number_lists, column, number_ends[column, row])
                number_ends[column, row + 1] = count
            else:
                place, count = _texts(place, text_lists, column, list_ends[column, row])
                list_ends[column, row + 1] = count
        if place < 0:
            return NOWHERE
        while _byte(place) != COMMA:
            if _byte(place) != (CLOSE_LIST if stack[depth] == IN_LIST else CLOSE):
                return NOWHERE
            place += 1
            depth -= 1
            if depth < 0:
                return place if _byte(place) == LINE_END else NOWHERE
        place += 1


@_compiled
def gather(places, ends, joined):
    """Texts one after the other, `places` being (address, length) of each; where each ends."""
    for row in range(len(places)):
        for byte in range(places[row, 1]):
            joined[ends[row] + byte] = _byte(places[row, 0] + byte)
        ends[row + 1] = ends[row] + places[row, 1]
