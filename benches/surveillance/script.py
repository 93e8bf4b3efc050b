"""What one writes instead in an hour: a camera, OpenCV, onnxruntime, a rule, SQLite and MQTT. It is what we measure against.

usage: python3 benches/surveillance/script.py VIDEO MODEL DATABASE BROKER_PORT FPS LOOKS

Plays VIDEO again and again at FPS pictures a second, as a camera would send them, and classifies LOOKS of them a second.
"""

import sqlite3
import sys
import time
from collections import deque

import cv2
import numpy as np
import onnxruntime as ort
import paho.mqtt.client as mqtt

video, model, database, port = sys.argv[1:5]
fps, looks = float(sys.argv[5]), float(sys.argv[6])
every = round(fps / looks)

cv2.setNumThreads(1)
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
wanted = 0  # any class will do: the rule must have something to wait for

db = sqlite3.connect(database, isolation_level=None)
db.execute("PRAGMA journal_mode=WAL")
db.execute("CREATE TABLE IF NOT EXISTS events (time REAL, label INTEGER, probability REAL)")
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
client.connect("127.0.0.1", int(port))
client.loop_start()


def classify(picture):
    small = cv2.cvtColor(cv2.resize(picture, (224, 224), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
    x = (small.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]
    logits = session.run(None, {"input": x})[0][0]
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


recent = deque(maxlen=5)
number, last_event = 0, 0.0
begun = time.monotonic()
while True:
    capture = cv2.VideoCapture(video)
    while capture.grab():
        due = begun + number / fps
        time.sleep(max(0.0, due - time.monotonic()))
        number += 1
        if number % every:
            continue
        probabilities = classify(capture.retrieve()[1])
        recent.append(probabilities[wanted])
        if sum(p > 0.8 for p in recent) >= 4 and time.time() - last_event > 60:
            last_event = time.time()
            db.execute("INSERT INTO events VALUES (?, ?, ?)", (last_event, wanted, float(probabilities[wanted])))
            client.publish("script/alert", str(float(probabilities[wanted])), qos=1)
