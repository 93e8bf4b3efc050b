"""Makes the folders of pictures that `portero-train` trains the person model on. `scripts/train-person` calls it.

usage: prepare.py crops  SHARED WORK NAME CROPS [FOLD]   WORK/NAME/{train,val,test}: CROPS crops to train on; with a FOLD
                                                       (0 to 4) test are that fold's COCO crops and WORK/NAME-loose has
                                                       loose crops of its photos; without one test is WORK/street/day
       prepare.py late   SHARED WORK NAME CROPS [FOLD]   the same for the last stage: other crops, two fifths of the street
       prepare.py street SHARED WORK ZONES.csv         WORK/street/{day,grey,dark,dark-grey}: the hand-checked crops

The framing is drawn here, once: every crop is a zone that a camera may have. Light, focus, noise and compression are
drawn by the trainer, anew each time it meets a crop. The same arguments give the same bytes. Needs ffmpeg, numpy, pillow
and onnxruntime. What the labels mean stands in scenes.py.
"""

import csv
import random
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from detector import Boxes
from scenes import paste, part, shape
from sources import FIRST_HALF, STREET, Coco, Sources, frames, photo, picture

LABELS = ("no_person", "person")
SEED = 2
# The trainer's input is 224 pixels wide and high; what is larger than this is of no use to it.
LARGEST = 256

# Of so many crops, how many are of which kind, and whether a person is in them.
KINDS = {
    "tight-person": (420, 1),
    "tight-nobody": (450, 0),
    "loose-person": (520, 1),
    "loose-nobody": (420, 0),
    "inria-person": (250, 1),
    "inria-nobody": (250, 0),
    "street-person": (360, 1),
    "street-nobody": (150, 0),
    "street-empty": (150, 0),
    "pasted-person": (240, 1),
    "pasted-shape": (180, 0),
    "insects": (70, 0),
    "bottles": (20, 0),
    "faces": (25, 1),
}

# For the last stage: more of the street, and of persons whom the crop's edge cuts.
LATE_KINDS = {
    **KINDS,
    "tight-person": (300, 1),
    "tight-nobody": (330, 0),
    "loose-person": (380, 1),
    "loose-nobody": (330, 0),
    "inria-person": (120, 1),
    "inria-nobody": (120, 0),
    "street-person": (800, 1),
    "street-nobody": (320, 0),
    "street-empty": (160, 0),
    "pasted-shape": (130, 0),
    "insects": (40, 0),
    "bottles": (15, 0),
    "faces": (15, 1),
}
# The last stage's crops have numbers from here, so that they are others.
LATE = 100_000


class Crops:
    """Crops to train on, by kind and number."""

    def __init__(self, sources):
        self.sources = sources
        self.pools = {
            "tight-person": sources.person,
            "tight-nobody": sources.background,
            "loose-person": sources.peopled,
            "loose-nobody": sources.photos,
            "inria-person": sources.inria_person,
            "inria-nobody": sources.inria_nobody,
            "street-person": sources.street.train,
            "street-nobody": sources.street.train,
            "street-empty": [sources.street.empty],
            "pasted-person": sources.street.persons,
            "pasted-shape": sources.insects + sources.background,
            "insects": sources.insects,
            "bottles": sources.bottles,
            "faces": sources.faces,
        }
        self.orders = {}
        for kind, pool in self.pools.items():
            self.orders[kind] = list(range(len(pool)))
            random.Random(f"{SEED} {kind}").shuffle(self.orders[kind])

    def make(self, kind, number):
        """Crop `number` of a kind; passes through the whole pool before anything comes again."""
        pool, order = self.pools[kind], self.orders[kind]
        rng = random.Random(f"{SEED} {kind} {number}")
        for attempt in range(100):
            source = pool[order[(number + attempt) % len(order)]]
            crop = self.draw(kind, rng, source)
            if crop is not None:
                return crop
        raise SystemExit(f"no crop of the kind {kind} could be found")

    def draw(self, kind, rng, source):
        if kind in ("loose-person", "loose-nobody", "street-person", "street-nobody", "street-empty"):
            return source.draw(rng, KINDS[kind][1])
        if kind == "pasted-person":
            return paste(rng, self.back(rng), lambda height: self.walker(rng, source, height))
        if kind == "pasted-shape":
            return paste(rng, self.back(rng), lambda height: self.thing(rng, source, height))
        least, aspect = {
            "tight-person": (0.5, 1.4),
            "tight-nobody": (0.35, 1.8),
            "inria-person": (0.65, 1.3),
            "inria-nobody": (0.5, 1.6),
            "insects": (0.2, 1.8),
            "bottles": (0.1, 1.8),
            "faces": (0.7, 1.4),
        }[kind]
        return part(source, rng, least, aspect)

    def back(self, rng):
        """A background with nobody in it."""
        sources, dice = self.sources, rng.random()
        if dice < 0.3:
            return sources.street.empty.draw(rng, 0)
        if dice < 0.5:
            return part(rng.choice(sources.background), rng, 0.4, 1.8)
        if dice < 0.62:
            return part(rng.choice(sources.insects), rng, 0.2, 1.8)
        if dice < 0.72:
            small = part(rng.choice(sources.inria_nobody), rng, 0.5, 1.6)
            return small.resize((rng.randint(90, 200), rng.randint(110, 240)), Image.BILINEAR)
        while True:
            crop = rng.choice(sources.photos).draw(rng, 0)
            if crop is not None:
                return crop

    @staticmethod
    def walker(rng, person, height):
        """A person cut out of the street, in another size and light."""
        wide = height * person.size[0] / person.size[1] * rng.uniform(0.85, 1.2)
        if rng.random() < 0.5:
            person = person.transpose(Image.FLIP_LEFT_RIGHT)
        person = person.resize((max(6, int(wide)), max(14, int(height))), Image.BICUBIC)
        gain, lift = rng.uniform(0.7, 1.5), rng.uniform(-10, 35)
        light = [int(min(255, max(0, value * gain + lift))) for value in range(256)]
        return person.convert("RGB").point(light * 3), person.getchannel("A")

    @staticmethod
    def thing(rng, texture, height):
        size = max(8, int(height * rng.uniform(0.25, 1.3))), max(12, int(height))
        return shape(rng, part(texture, rng, 0.1, 1.8), size)


def write_crop(crop, folder, name):
    if max(crop.size) > LARGEST:
        crop.thumbnail((LARGEST, LARGEST), Image.BILINEAR)
    crop.save(folder / f"{name}.jpg", quality=95, subsampling=0)


def loose(coco, names, folder):
    """The same eight crops with a person and four without of each photo."""
    rng = random.Random(5)
    for path in coco.photos:
        scene = coco.scene(path) if photo(path) in names else None
        if scene is None:
            continue
        for wanted in (1, 0) if scene.boxes else (0,):
            for number in range(8 if wanted else 4):
                crop = scene.draw(rng, wanted)
                if crop is not None:
                    crop.save(folder / LABELS[wanted] / f"loose-{photo(path)}-{number}.png")


def folders(root):
    shutil.rmtree(root, ignore_errors=True)
    for name in LABELS:
        (root / name).mkdir(parents=True)
    return root


def copy(paths, folder, prefix):
    for path in paths:
        shutil.copyfile(path, folder / f"{prefix}-{path.name}")


def tight(coco, names, root):
    copy([p for p in coco.person if photo(p) in names], root / "person", "tight")
    copy([p for p in coco.background if photo(p) in names], root / "no_person", "tight")


def val(sources, names, root):
    """What chooses: photos, persons and street frames that are in no crop to train on."""
    tight(sources.coco, names, root)
    loose(sources.coco, names, root)
    copy(sources.inria_val_person, root / "person", "inria")
    copy(sources.inria_val_nobody, root / "no_person", "inria")
    for path in sources.faces_val:
        picture(path).save(root / "person" / f"face-{path.parent.name}-{path.stem}.png")
    rng = random.Random(6)
    for place, scene in enumerate(sources.street.val):
        for number in range(16):
            wanted = number % 2
            crop = scene.draw(rng, wanted)
            if crop is not None:
                crop.save(root / LABELS[wanted] / f"street-{place}-{number}.png")


def crops(shared, work, name, count, fold, late=False):
    work.mkdir(parents=True, exist_ok=True)
    boxes = Boxes(shared / "models/yolox_nano.onnx", work / "boxes.json")
    coco = Coco(shared, boxes)
    tested = {i for i, f in coco.folds().items() if f == fold}
    choosing = coco.val(tested)
    street = {"step": 2, "least_share": 0.5, "cut": 0.4} if late else {}
    sources = Sources(shared, boxes, tested, choosing, street)
    boxes.save()
    root = work / name
    shutil.rmtree(root, ignore_errors=True)
    val(sources, choosing, folders(root / "val"))
    if fold is None:
        shutil.copytree(work / "street/day", root / "test")
    else:
        tight(coco, tested, folders(root / "test"))
        loose(coco, tested, folders(work / f"{name}-loose"))
    boxes.save()
    made, train = Crops(sources), folders(root / "train")
    kinds, first = (LATE_KINDS, LATE) if late else (KINDS, 0)
    total = sum(share for share, _ in kinds.values())
    for kind, (share, wanted) in kinds.items():
        for number in range(first, first + round(share * count / total)):
            write_crop(made.make(kind, number), train / LABELS[wanted], f"{kind}-{number:05}")
    print(f"{root}: " + ", ".join(f"{len(list(p.iterdir()))} {p.parent.name}/{p.name}" for p in sorted(root.glob("*/*"))))


def variants(pixels, seed):
    """By day; grey; dark (a quarter of the light, noise of sigma 4); both."""
    grey = np.rint(pixels @ np.array([0.299, 0.587, 0.114], np.float32))
    rng = np.random.default_rng(seed)
    dark = np.clip(np.rint(pixels * 0.25 + rng.normal(0, 4, pixels.shape)), 0, 255)
    dark_grey = np.clip(np.rint(grey * 0.25 + rng.normal(0, 4, grey.shape)), 0, 255)
    triple = lambda plane: np.repeat(plane[..., None], 3, 2)
    return {"day": pixels, "grey": triple(grey), "dark": dark, "dark-grey": triple(dark_grey)}


def street(shared, work, zones):
    """The hand-checked crops of the second half, in four lights."""
    lines = [line for line in zones.read_text().splitlines() if not line.startswith("#")]
    rows = list(csv.DictReader(lines))
    whole = frames(shared / "media/vtest.avi", STREET, {int(row["frame"]) for row in rows})
    assert min(whole) >= FIRST_HALF, "a crop of the first half"
    roots = {light: folders(work / "street" / light) for light in ("day", "grey", "dark", "dark-grey")}
    for number, row in enumerate(rows):
        box = [round(float(row[key]) * side) for key, side in zip(("x0", "y0", "x1", "y1"), STREET * 2)]
        pixels = np.asarray(whole[int(row["frame"])].crop(box), np.float32)
        for light, changed in variants(pixels, 10000 + number).items():
            path = roots[light] / row["label"] / f"{number:03}.png"
            Image.fromarray(changed.astype(np.uint8)).save(path)
    print(f"{work / 'street'}: {len(rows)} crops in four lights")


def main():
    match sys.argv[1:]:
        case ["crops", shared, work, name, count, *fold]:
            crops(Path(shared), Path(work), name, int(count), int(fold[0]) if fold else None)
        case ["late", shared, work, name, count, *fold]:
            crops(Path(shared), Path(work), name, int(count), int(fold[0]) if fold else None, late=True)
        case ["street", shared, work, zones]:
            street(Path(shared), Path(work), Path(zones))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
