"""Random draws that leave nothing out: cards from shuffled decks, and values spread evenly over their range."""

import random
from collections import Counter
from collections.abc import Mapping
from typing import Generic, TypeVar

Card = TypeVar("Card")


class Deck(Generic[Card]):
    """Cards in the proportions of their weights, drawn without replacement, shuffled anew once none is left."""

    def __init__(self, generator: random.Random, weights: Mapping[Card, float]) -> None:
        self.generator, self.weights = generator, weights
        self.left: list[Card] = []

    def draw(self) -> Card:
        """The next card."""
        while not self.left:
            for card, weight in self.weights.items():
                copies = int(weight) + (self.generator.random() < weight % 1)
                self.left += [card] * copies
            self.generator.shuffle(self.left)
        return self.left.pop()


class EvenDraws:
    """Numbers between 0 and 1, evenly spread for each purpose: van der Corput's sequence, shifted at random.

    Source: Niederreiter, Random Number Generation and Quasi-Monte Carlo Methods (1992), definition 3.2.
    """

    def __init__(self, generator: random.Random) -> None:
        self.generator = generator
        self.drawn: Counter[str] = Counter()
        self.shift: dict[str, float] = {}

    def draw(self, purpose: str) -> float:
        """The next number for `purpose`, in [0, 1)."""
        self.drawn[purpose] += 1
        value, digit = 0.0, 0.5
        index = self.drawn[purpose]
        while index:
            value += digit * (index % 2)
            index //= 2
            digit /= 2
        return (value + self.shift.setdefault(purpose, self.generator.random())) % 1

    def log_uniform(self, purpose: str, low: float, high: float) -> float:
        """The next number for `purpose` between `low` and `high`, even in its logarithm."""
        return float(low * (max(high, low) / low) ** self.draw(purpose))
