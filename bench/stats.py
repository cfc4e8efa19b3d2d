# SPDX-License-Identifier: Apache-2.0
"""Paired ratios and what can be said about them. Pure: no files, no processes.

The interval of a median is taken from order statistics: of n independent values the median of
their distribution lies between the k-th smallest and the k-th largest with a probability that the
binomial distribution gives exactly, whatever the values' distribution is. No random numbers are
drawn, so one set of figures gives one interval, and nothing is assumed that nine rounds could not
show. A bootstrap of the median would be no better here: with nine values it can only return some
of these nine again, and for so few it is known to come out too narrow.
"""

import math
import statistics

CONFIDENCE = 0.95
ROUNDS_MIN = 6  # from five values no interval of 95 % can be had: 1 - 2 / 2**5 is 93.75 %

MET = "met"
MET_WITHIN = "met (the interval includes it)"
TOO_FEW = "too few rounds to say"
NOT_MEASURED = "not measured"


def coverage(count, rank):
    """Chance that the median lies between the rank-th smallest and the rank-th largest value."""
    outside = sum(math.comb(count, i) for i in range(rank))
    return 1 - 2 * outside / 2**count


def interval_rank(count, confidence=CONFIDENCE):
    """The largest rank whose interval still has the confidence; 0 if there is none."""
    rank = 0
    while 2 * (rank + 1) <= count and coverage(count, rank + 1) >= confidence:
        rank += 1
    return rank


class Estimate:
    """A median and the interval that holds the true one with at least 95 %.

    With fewer than ROUNDS_MIN values there is no such interval: then low and high are None.
    """

    def __init__(self, values):
        if not values:
            raise ValueError("no values")
        self.values = sorted(values)
        self.median = statistics.median(self.values)
        rank = interval_rank(len(self.values))
        self.low = self.values[rank - 1] if rank > 0 else None
        self.high = self.values[-rank] if rank > 0 else None

    def __str__(self):
        if self.low is None:
            return f"**{self.median:.2f}**"
        return f"**{self.median:.2f}** ({self.low:.2f}–{self.high:.2f})"


def values_of(cells, field):
    """The field of each round that was measured; rounds that failed are None or lack it."""
    return [cell[field] for cell in cells or [] if cell and cell.get(field) is not None]


def median_of(cells, field):
    values = values_of(cells, field)
    return statistics.median(values) if values else None


def paired_ratios(cells, other_cells, field):
    """One ratio per round in which both were measured."""
    ratios = []
    for cell, other in zip(cells or [], other_cells or []):
        if cell and other and cell.get(field) is not None and other.get(field):
            ratios.append(cell[field] / other[field])
    return ratios


def verdict(ratios, limit):
    """What the ratios say about a target of at most `limit`: met when the interval includes it or
    lies below it."""
    if not ratios:
        return NOT_MEASURED
    estimate = Estimate(ratios)
    if estimate.low is None:
        return TOO_FEW
    if estimate.high <= limit:
        return MET
    if estimate.low <= limit:
        return MET_WITHIN
    return f"**missed** by {100 * (estimate.median / limit - 1):.0f} %"
