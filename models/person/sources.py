"""The pictures that the person model is trained on, with what is known of them. Reads `shared/`, changes nothing."""

import random
import subprocess

import numpy as np
from PIL import Image

from scenes import Scene, cut_out

# vtest.avi: 768x576, 795 frames. The second half belongs to the hand-checked crops and is never trained on.
STREET = (768, 576)
FIRST_HALF = 398
# Frames from here to the half's end are val.
STREET_VAL = 374
# Boxes of this confidence are persons; weaker ones are neither person nor nobody.
SURE = 0.45
# Frames of bottle-detection.mp4 in which no hand is to be seen, chosen by eye.
BOTTLES = (0, 60, 120, 240, 300, 420, 540, 600, 660, 780, 900, 960, 1020, 1140)
# Photos with crowds that COCO's boxes do not cover (the last digits of their numbers): nobody is never cut from these.
CROWDS = ("544", "564", "395", "389", "315")
FOLDS = 5


def picture(path):
    with Image.open(path) as opened:
        return opened.convert("RGB")


def photo(path):
    """The number of the COCO photo that a file is or was cut from."""
    return path.stem.split("_")[0]


def frames(video, size, wanted):
    """The frames of `video` whose numbers are in `wanted`, by number."""
    wide, high = size
    command = ["ffmpeg", "-v", "error", "-nostdin", "-i", str(video), "-vsync", "passthrough"]
    command += ["-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    found, last = {}, max(wanted)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        for number in range(last + 1):
            pixels = child.stdout.read(wide * high * 3)
            if len(pixels) < wide * high * 3:
                raise SystemExit(f"{video} ends before frame {number}, {last} is wanted")
            if number in wanted:
                found[number] = Image.frombytes("RGB", size, pixels)
        # What comes after is not wanted; a closed pipe would make it complain.
        child.kill()
    return found


class Coco:
    """COCO's photos with their person boxes, the tight crops of them, and how they are dealt out."""

    def __init__(self, shared, boxes):
        tight = shared / "datasets/coco_person_crops/train2017"
        self.person = sorted((tight / "person").glob("*.jpg"))
        self.background = sorted((tight / "background").glob("*.jpg"))
        self.photos = sorted((shared / "datasets/coco128_train2017/images").glob("*.jpg"))
        self.boxes = boxes
        with_person = {photo(path) for path in self.person}
        ids = sorted({photo(path) for path in self.person + self.background})
        self.groups = [i for i in ids if i in with_person], [i for i in ids if i not in with_person]

    def folds(self, seed=7):
        """The fold of each photo; photos with and without persons are dealt out apart."""
        rng, fold = random.Random(seed), {}
        for group in self.groups:
            group = list(group)
            rng.shuffle(group)
            fold.update((name, place % FOLDS) for place, name in enumerate(group))
        return fold

    def val(self, without, seed=8):
        """One in ten photos, of those that are not in `without`."""
        rng, chosen = random.Random(seed), set()
        for group in self.groups:
            left = [name for name in group if name not in without]
            chosen.update(rng.sample(left, max(1, len(left) // 10)))
        return chosen

    def scene(self, path):
        """The photo at `path`; None where its labels are missing."""
        labels = path.parent.parent / "labels" / f"{path.stem}.txt"
        if not labels.exists():
            return None
        whole = picture(path)
        width, height = whole.size
        persons = []
        for line in labels.read_text().splitlines():
            kind, *numbers = line.split()
            if kind == "0":
                x, y, w, h = map(float, numbers[:4])
                corners = x - w / 2, y - h / 2, x + w / 2, y + h / 2
                persons.append(tuple(c * side for c, side in zip(corners, (width, height) * 2)))
        weak = [box[:4] for box in self.boxes.of(path.name, whole, tiles=True) if box[4] > 0.15]
        if photo(path).endswith(CROWDS):
            weak.append((0, 0, width, height))
        return Scene(whole, persons, weak)

    def scenes(self, keep):
        """The photos whose numbers `keep` accepts."""
        found = (self.scene(path) for path in self.photos if keep(photo(path)))
        return [scene for scene in found if scene is not None]


def is_sign(box):
    """The blue sign that the detector takes for a person."""
    return abs((box[0] + box[2]) / 2 - 39) < 15 and abs(box[3] - 142) < 12


class Street:
    """The first half of the street clip; every `step`-th frame to train on, `how` its crops are cut."""

    def __init__(self, shared, boxes, step=3, **how):
        train = range(0, STREET_VAL - 2, step)
        val = range(STREET_VAL, FIRST_HALF, 3)
        pictures = frames(shared / "media/vtest.avi", STREET, {*train, *val})
        found = {n: boxes.of(f"vtest {n}", whole, tiles=True) for n, whole in pictures.items()}
        # What stands still and the detector calls a person (poles, signs) stays nobody through the empty scene.
        empty = np.median(np.stack([np.asarray(pictures[n]) for n in train][::2]), 0)
        self.empty = Scene(Image.fromarray(empty.astype(np.uint8)), [], areas=(0.02, 0.7), least_height=70)

        def scene(number):
            known = [box for box in found[number] if not is_sign(box)]
            sure = [box[:4] for box in known if box[4] >= SURE]
            weak = [box[:4] for box in known if box[4] < SURE]
            return Scene(pictures[number], sure, weak, areas=(0.02, 0.6), least_height=70, **how)

        self.train = [scene(number) for number in train]
        self.val = [scene(number) for number in val]
        apart = empty.astype(np.float32)
        self.persons = [cut for n in train for cut in cut_out(pictures[n], found[n], apart)]


class Sources:
    """All of it. `without` are the COCO photos that are tested on, `val` those that choose, `street` for `Street`."""

    def __init__(self, shared, boxes, without, val, street):
        self.coco = Coco(shared, boxes)
        fitted = {name for group in self.coco.groups for name in group} - without - val
        data = shared / "datasets"

        def held(paths, share, group):
            """`paths` without the last groups, and these groups."""
            names = sorted({group(path) for path in paths})
            last = set(names[-max(1, len(names) * share // 100) :])
            return [p for p in paths if group(p) not in last], [p for p in paths if group(p) in last]

        positive, negative = (sorted((data / "inria_person" / k).glob("*.png")) for k in ("positive", "negative"))
        # crop001001a.png and crop001001d.png show one person, 00000011a.png and 00000011b.png one place.
        positive, self.inria_val_person = held(positive, 5, lambda p: p.stem[:-1])
        negative, self.inria_val_nobody = held(negative, 5, lambda p: p.stem[:-1])
        faces = sorted((data / "orl_faces").glob("*/*.pgm"))
        faces, self.faces_val = held(faces, 5, lambda p: p.parent.name)
        self.inria_person = [picture(path) for path in positive]
        self.inria_nobody = [picture(path) for path in negative]
        self.faces = [picture(path) for path in faces]
        self.person = [picture(path) for path in self.coco.person if photo(path) in fitted]
        self.background = [picture(path) for path in self.coco.background if photo(path) in fitted]
        insects = [(path.name, picture(path)) for path in sorted((data / "hymenoptera_224").glob("*/*/*.jpg"))]
        self.insects = [p for name, p in insects if all(b[4] <= 0.25 for b in boxes.of(name, p, tiles=False))]
        bottles = frames(shared / "media/bottle-detection.mp4", (640, 360), set(BOTTLES))
        self.bottles = list(bottles.values())
        self.photos = self.coco.scenes(lambda name: name not in without and name not in val)
        self.photos_val = self.coco.scenes(lambda name: name in val)
        self.peopled = [scene for scene in self.photos if scene.boxes]
        self.street = Street(shared, boxes, **street)
