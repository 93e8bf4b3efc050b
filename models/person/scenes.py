"""Crops: what a zone of a camera may show, cut at random from whole pictures whose persons are known.

The rule: a crop is `person` when it holds 60 % or more of a person's box and that part is 22 % or more of the crop's
height, or when half of the crop is one person. It is `no_person` when it touches no box. All else is left out.
"""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

LEAST_SHARE, LEAST_HEIGHT, LEAST_PIXELS = 0.6, 0.22, 28


def shares(box, crop):
    """The share of `box` that lies in `crop`, and the share of `crop` that `box` covers."""
    wide = max(0, min(box[2], crop[2]) - max(box[0], crop[0]))
    high = max(0, min(box[3], crop[3]) - max(box[1], crop[1]))
    area = (box[2] - box[0]) * (box[3] - box[1])
    return wide * high / max(area, 1e-6), wide * high / ((crop[2] - crop[0]) * (crop[3] - crop[1]))


def label(boxes, weak, crop, least_share=LEAST_SHARE):
    """1 person, 0 nobody, None neither. `weak` boxes forbid `nobody` and prove no person."""
    height, touched = crop[3] - crop[1], False
    for box in boxes:
        inside, covers = shares(box, crop)
        visible = min(box[3], crop[3]) - max(box[1], crop[1])
        tall = visible >= LEAST_HEIGHT * height and box[3] - box[1] >= LEAST_PIXELS
        if inside >= least_share and tall:
            return 1
        if covers >= 0.5 and inside >= 0.3:
            return 1
        touched |= inside > 0.01 or covers > 0.01
    for box in weak:
        inside, covers = shares(box, crop)
        touched |= inside > 0.05 or covers > 0.2
    return None if touched else 0


class Scene:
    """A whole picture with its persons. `cut` is the share of the crops about a person whose side may cut it."""

    def __init__(
        self, picture, boxes, weak=(), areas=(0.12, 1.0), least_height=60, least_share=LEAST_SHARE, cut=0.25
    ):
        self.picture, self.boxes, self.weak = picture, boxes, list(weak)
        self.areas, self.least_height = areas, least_height
        self.least_share, self.cut = least_share, cut

    def around(self, rng, aspect):
        """A frame that holds a person, or most of one."""
        width, height = self.picture.size
        box = rng.choice(self.boxes)
        tall, broad = box[3] - box[1], box[2] - box[0]
        high = min(tall / math.exp(rng.uniform(math.log(0.24), math.log(1.05))), height)
        wide = min(max(high * aspect, broad * 0.9), width)
        if rng.random() < self.cut:
            x = rng.uniform(box[0] + broad * 0.35 - wide, box[2] - broad * 0.35)
        else:
            x = rng.uniform(min(box[2] - wide, box[0]), max(box[2] - wide, box[0]))
        if rng.random() < self.cut * 0.8:
            y = rng.uniform(box[1] + tall * 0.35 - high, box[3] - tall * 0.35)
        else:
            y = rng.uniform(min(box[3] - high, box[1]), max(box[3] - high, box[1]))
        return x, y, wide, high

    def anywhere(self, rng, aspect):
        width, height = self.picture.size
        side = rng.uniform(self.areas[0] ** 0.5, self.areas[1] ** 0.5) * min(width, height)
        high = min(height, max(self.least_height, side / aspect**0.5))
        wide = min(width, max(self.least_height * 0.6, side * aspect**0.5))
        return rng.uniform(0, width - wide), rng.uniform(0, height - high), wide, high

    def draw(self, rng, wanted):
        """A crop with the label `wanted`; None when sixty attempts found none."""
        width, height = self.picture.size
        for _ in range(60):
            aspect = math.exp(rng.uniform(math.log(0.4), math.log(2.2)))
            near = wanted and self.boxes and rng.random() < 0.85
            x, y, wide, high = (self.around if near else self.anywhere)(rng, aspect)
            x, y = min(max(0, x), width - wide), min(max(0, y), height - high)
            crop = int(x), int(y), int(x + wide), int(y + high)
            if crop[2] - crop[0] < 24 or crop[3] - crop[1] < 32:
                continue
            if label(self.boxes, self.weak, crop, self.least_share) == wanted:
                return self.picture.crop(crop)
        return None


def part(picture, rng, least=0.6, aspect=1.4):
    """A random part with at least `least` of the area, stretched by at most `aspect`: zones are stretched too."""
    width, height = picture.size
    area = rng.uniform(least, 1)
    ratio = math.exp(rng.uniform(-math.log(aspect), math.log(aspect)))
    wide, high = min(1, (area * ratio) ** 0.5), min(1, (area / ratio) ** 0.5)
    x, y = rng.uniform(0, 1 - wide) * width, rng.uniform(0, 1 - high) * height
    return picture.crop((int(x), int(y), max(int(x) + 8, int(x + wide * width)), max(int(y) + 8, int(y + high * height))))


def cut_out(picture, boxes, empty):
    """Persons of `picture` with their outlines as transparency, by their difference from the `empty` scene."""
    width, height = picture.size
    found = []
    for box in boxes:
        inside = box[0] >= 4 and box[1] >= 4 and box[2] <= width - 4 and box[3] <= height - 4
        if box[4] < 0.6 or box[3] - box[1] < 62 or not inside:
            continue
        if any(other is not box and shares(other, box)[0] > 0.08 for other in boxes):
            continue
        crop = int(box[0]) - 4, int(box[1]) - 4, int(box[2]) + 4, int(box[3]) + 4
        person = picture.crop(crop)
        apart = np.abs(np.asarray(person, np.float32) - empty[crop[1] : crop[3], crop[0] : crop[2]]).max(2)
        mask = Image.fromarray(((apart > 26) * 255).astype(np.uint8))
        mask = mask.filter(ImageFilter.MedianFilter(5)).filter(ImageFilter.MinFilter(3))
        if 0.18 < np.asarray(mask).mean() / 255 < 0.7:
            person.putalpha(mask.filter(ImageFilter.GaussianBlur(0.8)))
            found.append(person)
    return found


def shape(rng, texture, size):
    """A textured shape that is no person: `texture` within an ellipse, a rectangle or a polygon."""
    wide, high = size
    mask = Image.new("L", size, 0)
    pen = ImageDraw.Draw(mask)
    if rng.random() < 0.4:
        pen.ellipse((0, 0, wide, high), fill=255)
    elif rng.random() < 0.4:
        pen.rectangle((0, 0, wide, high), fill=255)
    else:
        pen.polygon([(rng.uniform(0, wide), rng.uniform(0, high)) for _ in range(rng.randint(3, 8))], fill=255)
    return texture.resize(size, Image.BILINEAR), mask.filter(ImageFilter.GaussianBlur(0.8))


def paste(rng, back, make):
    """One thing, or two, that `make(height)` gives with their masks, on the background `back`."""
    aspect = math.exp(rng.uniform(math.log(0.55), math.log(1.9)))
    side = rng.randint(150, 300)
    back = back.convert("RGB").resize((int(side * aspect**0.5), int(side / aspect**0.5)), Image.BILINEAR)
    width, height = back.size
    for _ in range(1 if rng.random() < 0.7 else 2):
        thing, mask = make(height * math.exp(rng.uniform(math.log(0.28), math.log(0.95))))
        wide, high = thing.size
        x = rng.uniform(-0.3 * wide, width - 0.7 * wide)
        y = rng.uniform(min(-0.1 * high, height - high), max(height - high * 0.8, 0))
        back.paste(thing, (int(x), int(y)), mask)
    return back
