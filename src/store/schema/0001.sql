-- The first schema. Columns that end in _wall_us are microseconds since 1970-01-01 UTC, those in _mono_us
-- microseconds since boot; scores are probabilities, 0 to 1.

-- One row per decision. `row` is the order of commitment; it is never used twice.
CREATE TABLE event (
    row               INTEGER PRIMARY KEY AUTOINCREMENT,
    id                TEXT    NOT NULL UNIQUE,              -- UUID version 7, with hyphens
    at_wall_us        INTEGER NOT NULL,                     -- when the rules decided
    at_mono_us        INTEGER NOT NULL,
    verdict           TEXT    NOT NULL CHECK (verdict IN ('authorise', 'deny', 'alert', 'log')),
    door              TEXT,                                 -- authorise, deny
    severity          TEXT,                                 -- alert
    wants_snapshot    INTEGER NOT NULL DEFAULT 0,           -- alert: the rule asked for the picture
    rule              TEXT,                                 -- NULL: the default denial
    camera            TEXT    NOT NULL,
    zone              TEXT,                                 -- NULL: the whole picture
    answer            TEXT    NOT NULL,                     -- a label, or 'unknown'
    agreed            INTEGER NOT NULL,                     -- so many ...
    agreed_of         INTEGER NOT NULL,                     -- ... of so many predictions
    mean              REAL    NOT NULL,
    first_wall_us     INTEGER NOT NULL,
    first_mono_us     INTEGER NOT NULL,
    last_wall_us      INTEGER NOT NULL,
    last_mono_us      INTEGER NOT NULL,
    frame_seq         INTEGER NOT NULL,
    frame_wall_us     INTEGER NOT NULL,
    frame_mono_us     INTEGER NOT NULL,
    model             TEXT    NOT NULL,
    top               TEXT    NOT NULL,                     -- JSON: [["person", 0.97], ...]
    reason            TEXT    NOT NULL,
    model_sha256      TEXT    NOT NULL,
    config_sha256     TEXT    NOT NULL,
    outcome           TEXT    NOT NULL,
    outcome_detail    TEXT,
    delivered_wall_us INTEGER,                              -- alert: when the broker acknowledged it
    bytes             INTEGER NOT NULL,                     -- what this row and its snapshot weigh
    CHECK ((verdict IN ('authorise', 'deny')) = (door IS NOT NULL)),
    CHECK ((verdict = 'alert') = (severity IS NOT NULL))
) STRICT;

CREATE INDEX event_by_time ON event (at_wall_us);
CREATE INDEX event_by_verdict ON event (verdict, at_wall_us);
CREATE INDEX event_pending ON event (row) WHERE outcome = 'pending';

-- Pictures go when their event goes.
CREATE TABLE snapshot (
    event INTEGER PRIMARY KEY REFERENCES event (row) ON DELETE CASCADE,
    jpeg  BLOB NOT NULL
) STRICT;

-- Alerts that the broker has not acknowledged, in the order of their events. While a row stands here, its
-- event cannot be deleted.
CREATE TABLE outbox (
    event    INTEGER PRIMARY KEY REFERENCES event (row) ON DELETE RESTRICT,
    severity TEXT    NOT NULL,
    bytes    INTEGER NOT NULL
) STRICT;

-- For people with the sqlite3 shell: the newest first, local time.
CREATE VIEW journal AS
SELECT strftime('%Y-%m-%d %H:%M:%S', at_wall_us / 1000000, 'unixepoch', 'localtime') AS time,
       verdict || coalesce(' ' || coalesce(door, severity), '') AS verdict,
       camera || coalesce('/' || zone, '') AS place,
       answer,
       rule,
       outcome || coalesce(': ' || outcome_detail, '') AS outcome,
       reason,
       id
FROM event
ORDER BY at_wall_us DESC, row DESC;
