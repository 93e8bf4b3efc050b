"""The fine-tune that `portero-train finetune` does, in plain PyTorch, timed: finetune.py WEIGHTS DATA

The same network, weights, pictures, batch, unfrozen stages, optimiser and number of threads. Pictures are decoded once
and kept at the same size; each epoch draws a random resized crop, mirrors it and changes its colours, in as many
loader processes as are asked for. Prints the seconds of each epoch's training steps, and the share that the loop
waited for data. Needs Debian's python3-torch and python3-torchvision.
"""

import argparse
import pathlib
import sys
import time

import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision import transforms

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests/trainer"))
from torchvision_logits import load, pad_as_tensorflow  # noqa: E402


class Pictures(torch.utils.data.Dataset):
    """A folder per class, decoded once, the shorter side 252 pixels."""

    def __init__(self, folder):
        classes = sorted(p for p in pathlib.Path(folder).iterdir() if p.is_dir())
        self.items = [(self.open(p), i) for i, c in enumerate(classes) for p in sorted(c.iterdir())]
        self.vary = transforms.Compose([
            transforms.RandomResizedCrop(224, scale=(0.35, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.ColorJitter(0.4, 0.4, 0.4),
            transforms.ToTensor(),
            transforms.Normalize([0.5] * 3, [0.5] * 3),
        ])

    @staticmethod
    def open(path):
        picture = Image.open(path).convert("RGB")
        factor = min(1.0, 252 / min(picture.size))
        size = [max(1, round(side * factor)) for side in picture.size]
        return picture.resize(size, Image.BILINEAR)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        picture, label = self.items[index]
        return self.vary(picture), label


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weights")
    parser.add_argument("data")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--unfreeze", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    model = torchvision.models.mobilenet_v3_small(weights=None)
    model.load_state_dict(load(arguments.weights), strict=False)
    pad_as_tensorflow(model)
    pictures = Pictures(arguments.data)
    model.classifier[3] = nn.Linear(1024, 1 + max(label for _, label in pictures.items))
    for stage in model.features[: len(model.features) - arguments.unfreeze]:
        stage.requires_grad_(False)
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    last = model.classifier[3].parameters()
    before = [p for n, p in model.named_parameters() if p.requires_grad and not n.startswith("classifier.3")]
    optimiser = torch.optim.AdamW([{"params": before, "lr": 1e-4}, {"params": last, "lr": 1e-3}])
    loader = torch.utils.data.DataLoader(
        pictures, arguments.batch, shuffle=True, num_workers=arguments.workers,
        persistent_workers=arguments.workers > 0,
    )
    for epoch in range(arguments.epochs):
        begun, waited = time.perf_counter(), 0.0
        asked = begun
        for batch, labels in loader:
            waited += time.perf_counter() - asked
            loss = nn.functional.cross_entropy(model(batch), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss.item()
            asked = time.perf_counter()
        seconds = time.perf_counter() - begun
        print(f"epoch {epoch + 1}: {seconds:.2f} s, {100 * waited / seconds:.0f} % waiting for data", flush=True)


main()
