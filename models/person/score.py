"""What `portero classify --json` said of labelled crops, as the tables of a model card.

usage: score.py folds  OUT ANSWERS...    out-of-fold answers with temperature 1; writes the temperature to OUT
       score.py street ANSWERS...        one file of answers per light, named like it

A line of answers is what `portero classify --json` prints; the crop's true label is the name of the folder it lies in. What
counts as right is the more probable label, that is a decision at 0.5 without `unknown`. Intervals are 95 %: Wilson's for
shares, Newcombe's combination of two of them for balanced accuracy. They take the crops for independent.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np

PERSON = "person"
THRESHOLDS = (0.5, 0.6, 0.65, 0.7, 0.8, 0.9)


class Answers:
    """Probability of `person`, truth and rejection of some crops."""

    def __init__(self, rows):
        self.p = np.array([p for p, _, _ in rows])
        self.truth = np.array([truth for _, truth, _ in rows], bool)
        self.rejected = np.array([rejected for _, _, rejected in rows], bool)
        self.logit = np.log(np.clip(self.p, 1e-7, 1 - 1e-7) / np.clip(1 - self.p, 1e-7, 1 - 1e-7))

    def __add__(self, other):
        return Answers([*self.rows(), *other.rows()])

    def rows(self):
        return zip(self.p, self.truth, self.rejected)

    def counts(self):
        """Persons right and all, empty crops right and all."""
        said = self.p >= 0.5
        return (said & self.truth).sum(), self.truth.sum(), (~said & ~self.truth).sum(), (~self.truth).sum()

    def at(self, temperature):
        return 1 / (1 + np.exp(-self.logit / temperature))

    def loss(self, temperature):
        p = np.clip(self.at(temperature), 1e-7, 1 - 1e-7)
        return -np.where(self.truth, np.log(p), np.log(1 - p)).mean()

    def calibration_error(self, temperature, bins=10):
        p = self.at(temperature)
        sure, right = np.maximum(p, 1 - p), (p >= 0.5) == self.truth
        place = np.minimum(((sure - 0.5) * 2 * bins).astype(int), bins - 1)
        parts = [place == b for b in range(bins)]
        return sum(m.mean() * abs(right[m].mean() - sure[m].mean()) for m in parts if m.any())

    def beyond(self, temperature, threshold):
        """Percent unknown, and percent wrong of the rest."""
        p = self.at(temperature)
        known = np.maximum(p, 1 - p) >= threshold
        wrong = ((p >= 0.5) != self.truth)[known]
        return 100 * (1 - known.mean()), 100 * wrong.mean()


def read(path):
    rows = []
    for line in Path(path).read_text().splitlines():
        answer = json.loads(line)
        p = next(top["p"] for top in answer["top"] if top["label"] == PERSON)
        rows.append((p, Path(answer["path"]).parent.name == PERSON, answer["rejected"]))
    return Answers(rows)


def wilson(right, of, z=1.96):
    share, scale = right / of, 1 + z * z / of
    middle = share + z * z / 2 / of
    half = z * math.sqrt(share * (1 - share) / of + z * z / 4 / of / of)
    return (middle - half) / scale, (middle + half) / scale


def balanced(counts):
    """Balanced accuracy with its interval."""
    tp, persons, tn, empty = counts
    recall, special = tp / persons, tn / empty
    (a, b), (c, d) = wilson(tp, persons), wilson(tn, empty)
    middle = (recall + special) / 2
    low = middle - math.hypot(recall - a, special - c) / 2
    high = middle + math.hypot(b - recall, d - special) / 2
    return middle, low, high


def share(right, of):
    low, high = wilson(right, of)
    return f"{right}/{of} = {100 * right / of:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def table(named):
    lines = ["| crops | person / none | balanced accuracy | person recall | empty recognised |", "|---|---|---|---|---|"]
    for name, answers in named:
        tp, persons, tn, empty = counts = answers.counts()
        middle, low, high = balanced(counts)
        lines.append(
            f"| {name} | {persons} / {empty} | **{100 * middle:.1f}** ({100 * low:.1f}–{100 * high:.1f}) | "
            f"{share(tp, persons)} | {share(tn, empty)} |"
        )
    return "\n".join(lines)


def folds(out, paths):
    tight = [read(path) for path in paths if "loose" not in Path(path).stem]
    loose = [read(path) for path in paths if "loose" in Path(path).stem]
    each = [100 * balanced(answers.counts())[0] for answers in tight]
    tight, loose = sum(tight[1:], tight[0]), sum(loose[1:], loose[0])
    both = tight + loose
    print(table([("tight crops, out of fold", tight), ("loose crops of the same photos, out of fold", loose)]))
    print("\nbalanced accuracy per fold on the tight crops: " + ", ".join(f"{value:.1f}" for value in each))
    temperature = min((round(0.4 + 0.05 * i, 2) for i in range(53)), key=both.loss)
    print(f"\ntemperature {temperature}: log loss {both.loss(1):.3f} → {both.loss(temperature):.3f}, expected calibration error ", end="")
    parts = [("both", both), ("tight", tight), ("loose", loose)]
    errors = [f"{n} {a.calibration_error(1):.3f} → {a.calibration_error(temperature):.3f}" for n, a in parts]
    print("; ".join(errors) + "\n")
    print("| reject below | tight: unknown % | tight: wrong among the rest % | loose: unknown % | loose: wrong among the rest % |")
    print("|---|---|---|---|---|")
    for threshold in THRESHOLDS:
        cells = [*tight.beyond(temperature, threshold), *loose.beyond(temperature, threshold)]
        print(f"| {threshold:.2f} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |")
    Path(out).write_text(f"{temperature}\n")


def street(paths):
    named = [(Path(path).stem.replace("-", " and "), read(path)) for path in paths]
    print(table(named))
    print("\n| crops | person: right / unknown / wrong | nobody: right / unknown / wrong |\n|---|---|---|")
    for name, answers in named:
        right = (answers.p >= 0.5) == answers.truth
        cells = []
        for of in (answers.truth, ~answers.truth):
            known = of & ~answers.rejected
            cells.append(f"{(known & right).sum()} / {(of & answers.rejected).sum()} / {(known & ~right).sum()}")
        print(f"| {name} | {cells[0]} | {cells[1]} |")


def main():
    match sys.argv[1:]:
        case ["folds", out, *paths] if paths:
            folds(out, paths)
        case ["street", *paths] if paths:
            street(paths)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
