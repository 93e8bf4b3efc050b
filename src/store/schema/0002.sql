-- Clips: films that lie as files in a folder of their own. One row per event that was to have one; several events may
-- share a file.
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

CREATE INDEX clip_by_file ON clip (file) WHERE file IS NOT NULL;
CREATE INDEX clip_pending ON clip (event) WHERE state = 'pending';

-- Why the picture that the rule asked for is not kept.
ALTER TABLE event ADD COLUMN picture_refused TEXT;
