-- What schema version 4 leaves behind: PRAGMAs, then the shell's .dump.
PRAGMA auto_vacuum = INCREMENTAL; PRAGMA application_id = 1347572815; PRAGMA user_version = 4;
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
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
    bytes             INTEGER NOT NULL, picture_refused TEXT, track INTEGER, box TEXT, boot TEXT,                     -- what this row and its snapshot weigh
    CHECK ((verdict IN ('authorise', 'deny')) = (door IS NOT NULL)),
    CHECK ((verdict = 'alert') = (severity IS NOT NULL))
) STRICT;
INSERT INTO event VALUES(1,'01a0c0de-0000-7000-8000-000000000001',1790000001000000,6000000,'alert',NULL,'warning',1,'someone-there','street','gate','person',4,6,0.97000002861022949218,1790000000000000,5000000,1790000001000000,6000000,17,1790000001000000,6000000,'person-v3','[["person",0.9700000286102295],["empty",0.029999999329447746]]','person 4 of 6, mean 0.97 ≥ 0.80','ab','cd','done',NULL,NULL,500,NULL,7,'[0.25,0.5,0.75,1.0]','1d3f8c52-8b0e-4a55-9d53-1f3f3b7f3c11');
CREATE TABLE snapshot (
    event INTEGER PRIMARY KEY REFERENCES event (row) ON DELETE CASCADE,
    jpeg  BLOB NOT NULL
) STRICT;
INSERT INTO snapshot VALUES(1,X'ffd8ffd9');
CREATE TABLE outbox (
    event    INTEGER PRIMARY KEY REFERENCES event (row) ON DELETE RESTRICT,
    severity TEXT    NOT NULL,
    bytes    INTEGER NOT NULL
) STRICT;
INSERT INTO outbox VALUES(1,'warning',500);
CREATE TABLE clip (
    event         INTEGER PRIMARY KEY REFERENCES event (row) ON DELETE CASCADE,
    state         TEXT NOT NULL CHECK (state IN ('pending', 'written', 'refused', 'failed', 'pruned')),
    detail        TEXT,                                     -- why it is refused, failed or pruned
    file          TEXT,                                     -- its name in the folder of clips
    bytes         INTEGER,
    from_wall_us  INTEGER,                                  -- capture of the first picture and the last
    until_wall_us INTEGER,
    CHECK (state <> 'written' OR (file IS NOT NULL AND bytes IS NOT NULL))
) STRICT;
INSERT INTO clip VALUES(1,'refused','no picture of this time was kept',NULL,NULL,NULL,NULL);
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('event',1);
CREATE INDEX event_by_time ON event (at_wall_us);
CREATE INDEX event_by_verdict ON event (verdict, at_wall_us);
CREATE INDEX event_pending ON event (row) WHERE outcome = 'pending';
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
CREATE INDEX clip_by_file ON clip (file) WHERE file IS NOT NULL;
CREATE INDEX clip_pending ON clip (event) WHERE state = 'pending';
COMMIT;
