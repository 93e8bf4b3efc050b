-- Events of rules about tracks say which track and where it was.

ALTER TABLE event ADD COLUMN track INTEGER;                 -- unique for the camera since the start
ALTER TABLE event ADD COLUMN box TEXT;                      -- JSON: [left, top, right, bottom], 0 to 1
