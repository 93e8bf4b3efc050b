"""Persons in whole pictures, by YOLOX-Nano: boxes that label loose crops, and photos in which nobody is."""

import json

import numpy as np
import onnxruntime as ort
from PIL import Image

SIDE = 416
STRIDES = (8, 16, 32)


class Detector:
    """Boxes `x0, y0, x1, y1, confidence` of persons, in pixels."""

    def __init__(self, model):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self.name = self.session.get_inputs()[0].name
        grid, stride = [], []
        for step in STRIDES:
            cells = SIDE // step
            y, x = np.mgrid[:cells, :cells]
            grid.append(np.stack([x, y], -1).reshape(-1, 2))
            stride.append(np.full((cells * cells, 1), step))
        self.grid = np.concatenate(grid).astype(np.float32)
        self.stride = np.concatenate(stride).astype(np.float32)

    def once(self, picture, least):
        """Boxes of one pass over the whole picture."""
        width, height = picture.size
        factor = min(SIDE / width, SIDE / height)
        small = int(width * factor), int(height * factor)
        canvas = np.full((SIDE, SIDE, 3), 114, np.float32)
        # The network takes blue first.
        canvas[: small[1], : small[0]] = np.asarray(picture.resize(small, Image.BILINEAR), np.float32)[:, :, ::-1]
        raw = self.session.run(None, {self.name: np.ascontiguousarray(canvas.transpose(2, 0, 1)[None])})[0][0]
        centre = (raw[:, :2] + self.grid) * self.stride
        size = np.exp(raw[:, 2:4]) * self.stride
        score = raw[:, 4] * raw[:, 5]
        keep = score >= least
        centre, size, score = centre[keep], size[keep], score[keep]
        corners = (centre - size / 2) / factor, (centre + size / 2) / factor
        return np.concatenate([*corners, score[:, None]], 1)

    def find(self, picture, tiles, least=0.1):
        """Boxes of the whole picture and, where `tiles` is set, of its four overlapping quarters."""
        picture = picture.convert("RGB")
        width, height = picture.size
        found = [self.once(picture, least)]
        if tiles:
            wide, high = int(width * 0.58), int(height * 0.6)
            for x in (0, width - wide):
                for y in (0, height - high):
                    boxes = self.once(picture.crop((x, y, x + wide, y + high)), least)
                    # A box that touches a tile's inner edge is cut.
                    whole = boxes[:, 0] > 3 if x > 0 else boxes[:, 2] < wide - 3
                    whole &= boxes[:, 1] > 3 if y > 0 else boxes[:, 3] < high - 3
                    boxes = boxes[whole]
                    boxes[:, [0, 2]] += x
                    boxes[:, [1, 3]] += y
                    found.append(boxes)
        return np.round(suppressed(np.concatenate(found)), 3).tolist()


def suppressed(boxes, most=0.5):
    """Non-maximum suppression; a box that lies mostly within another one goes too."""
    boxes = boxes[np.argsort(-boxes[:, 4])]
    kept = []
    while len(boxes):
        best = boxes[0]
        kept.append(best)
        wide = np.minimum(best[2], boxes[:, 2]) - np.maximum(best[0], boxes[:, 0])
        high = np.minimum(best[3], boxes[:, 3]) - np.maximum(best[1], boxes[:, 1])
        common = np.clip(wide, 0, None) * np.clip(high, 0, None)
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        overlap = common / (area + area[0] - common)
        overlap = np.maximum(overlap, common / np.minimum(area, area[0]) > 0.8)
        boxes = boxes[overlap < most]
    return np.array(kept).reshape(-1, 5)


class Boxes:
    """Boxes by name, kept in a file because the detector takes minutes."""

    def __init__(self, model, path):
        self.model, self.path, self.detector = model, path, None
        self.known = json.loads(path.read_text()) if path.exists() else {}

    def of(self, name, picture, tiles):
        """The boxes of `picture`, whose name is `name`."""
        key = f"{name} tiles" if tiles else name
        if key not in self.known:
            self.detector = self.detector or Detector(self.model)
            self.known[key] = self.detector.find(picture, tiles)
        return self.known[key]

    def save(self):
        self.path.write_text(json.dumps(self.known))
